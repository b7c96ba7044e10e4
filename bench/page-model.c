/* Usage: page-model TRACE...
 * The yardstick for how remusd sends a dirty page: what simple encodings make of the pages of each trace
 * (bench/tracefile.py says what is in one). It shares nothing with remusd, so that neither can be wrong with the other.
 *
 * Prints one JSON object a line and trace: the workload; epochs; the pages that changed in all of them; `pages`, how many
 * of these the trace has; `zero`, how many of those are all zero now; and bytes a page, the mean over `pages`:
 *   raw    4104: the page, and the 8 bytes of its pfn, as PAGE_DATA of Xen's stream v2 has them
 *   rle8   the words that changed: see rle8()
 *   lz4    the page as one LZ4 block (LZ4_compress_default)
 *   model  the smaller of rle8 and lz4, and nothing for a page that is all zero
 * rle8, lz4 and model are for the content alone, without pfn, kind or length, and at most 4096: what does not get smaller
 * goes as it is. `by` counts the pages for which the model takes each.
 * Exit: 0 done, 1 a file that is no whole trace, 64 usage. */
#include <inttypes.h>
#include <lz4.h>
#include <stdio.h>
#include <string.h>

enum { PAGE = 4096, WORDS = PAGE / 8, RAW = PAGE + 8 };

struct header {
    char magic[8];
    uint32_t version, page_size;
    uint64_t guest_pages, epochs;
};
struct epoch {
    uint64_t changed, pages;
};
struct page {
    uint64_t pfn, flags, before[WORDS], after[WORDS];
};
_Static_assert(sizeof(struct header) == 32 && sizeof(struct page) == 16 + 2 * PAGE, "as in the file");

enum { ZERO, RLE8, LZ4, WHOLE, KINDS };
struct sums {
    uint64_t changed, pages, rle8, lz4, model, by[KINDS];
};

/* The bytes of a number below 2^14 in LEB128 (DWARF, section 7.6): 7 bits a byte. */
static unsigned leb128(unsigned number) { return number < 128 ? 1 : 2; }

/* The size of run-length coded differences in words of 8 bytes: for each run of words that changed, how many unchanged
 * ones precede it since the run before or the page's beginning (LEB128), how many it has (LEB128), and the words
 * themselves. Nothing tells the end, and unchanged words at the end cost nothing. */
static unsigned rle8(const uint64_t *before, const uint64_t *after) {
    unsigned size = 0;
    for (unsigned word = 0, end = 0; word < WORDS; end = word) {
        while (word < WORDS && before[word] == after[word]) word++;
        const unsigned begin = word;
        while (word < WORDS && before[word] != after[word]) word++;
        if (word > begin) size += leb128(begin - end) + leb128(word - begin) + 8 * (word - begin);
    }
    return size < PAGE ? size : PAGE;
}

static unsigned lz4(const uint64_t *after) {
    char packed[PAGE];
    const int size = LZ4_compress_default((const char *)after, packed, PAGE, PAGE - 1);
    return size > 0 ? (unsigned)size : PAGE;
}

static void add(struct sums *sums, const struct page *page) {
    static const uint64_t zero[WORDS];
    const unsigned difference = rle8(page->before, page->after), compressed = lz4(page->after);
    unsigned least = difference <= compressed ? difference : compressed;
    int kind = least == PAGE ? WHOLE : difference <= compressed ? RLE8 : LZ4;
    if (!memcmp(page->after, zero, PAGE)) least = 0, kind = ZERO;
    sums->pages++;
    sums->rle8 += difference;
    sums->lz4 += compressed;
    sums->model += least;
    sums->by[kind]++;
}

/* Reads a whole trace; 0, or -1 when it is none. */
static int judge(FILE *file, struct header *header, struct sums *sums) {
    struct epoch epoch;
    struct page page;
    if (fread(header, sizeof *header, 1, file) != 1 || memcmp(header->magic, "RMSTRACE", 8)) return -1;
    if (header->version != 1 || header->page_size != PAGE) return -1;
    for (uint64_t number = 0; number < header->epochs; number++) {
        if (fread(&epoch, sizeof epoch, 1, file) != 1) return -1;
        sums->changed += epoch.changed;
        for (uint64_t i = 0; i < epoch.pages; i++) {
            if (fread(&page, sizeof page, 1, file) != 1 || page.pfn >= header->guest_pages) return -1;
            add(sums, &page);
        }
    }
    return fgetc(file) == EOF ? 0 : -1;
}

int main(int count, char **words) {
    if (count < 2) {
        fprintf(stderr, "Usage: page-model TRACE...\n");
        return 64;
    }
    for (int i = 1; i < count; i++) {
        struct header header;
        struct sums sums = {0};
        FILE *file = fopen(words[i], "rb");
        if (!file || judge(file, &header, &sums)) {
            fprintf(stderr, "page-model: %s is no whole trace\n", words[i]);
            return 1;
        }
        fclose(file);
        const char *slash = strrchr(words[i], '/'), *name = slash ? slash + 1 : words[i];
        const double pages = sums.pages ? (double)sums.pages : 1;
        printf("{\"workload\":\"%.*s\",\"epochs\":%" PRIu64 ",\"changed\":%" PRIu64 ",\"pages\":%" PRIu64 ",\"zero\":%" PRIu64,
               (int)strcspn(name, "."), name, header.epochs, sums.changed, sums.pages, sums.by[ZERO]);
        printf(",\"raw\":%d,\"rle8\":%.3f,\"lz4\":%.3f,\"model\":%.3f", RAW, (double)sums.rle8 / pages,
               (double)sums.lz4 / pages, (double)sums.model / pages);
        printf(",\"by\":{\"zero\":%" PRIu64 ",\"rle8\":%" PRIu64 ",\"lz4\":%" PRIu64 ",\"whole\":%" PRIu64 "}}\n", sums.by[ZERO],
               sums.by[RLE8], sums.by[LZ4], sums.by[WHOLE]);
    }
    return 0;
}
