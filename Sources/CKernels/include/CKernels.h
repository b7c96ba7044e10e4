#ifndef CKERNELS_H
#define CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Pure functions over memory, chosen at run time by processor. What computes has a Swift twin in Checkpoint
// (Kernels.swift), which is its oracle in the tests.

/// Which instructions are used; all but the best are for tests.
enum ckernels_way { CKERNELS_BEST, CKERNELS_AVX2, CKERNELS_PLAIN };

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `length` bytes, continued from `crc` (0 to begin).
uint32_t ckernels_crc32c(uint32_t crc, const void *bytes, size_t length);
/// The same by some of the ways there are.
uint32_t ckernels_crc32c_by(enum ckernels_way way, uint32_t crc, const void *bytes, size_t length);

/// True if all `length` bytes are zero. `length` is a multiple of 64.
bool ckernels_is_zero(const void *bytes, size_t length);

/// Bytes of a guest page.
enum { CKERNELS_PAGE = 4096 };

/// Copies a page, whatever the addresses' alignment: memcpy() takes three to eight times as long where a page's target is not
/// aligned (AMD EPYC, glibc 2.36, which leaves 4096 bytes to `rep movsb`).
void ckernels_copy_page(void *target, const void *source);

/// Copies `count` pages, each from its source to its target, and has the next ones fetched meanwhile: of `ahead` pages, `count`
/// at least, the sources are known.
void ckernels_copy_pages(
    enum ckernels_way way, const void *const *sources, void *const *targets, size_t count, size_t ahead
);

// ---- What of a page differs from its last sent copy (docs/protocol.md, "Page encodings").
//
// A page is 64 groups of 8 words of 8 bytes. A packed difference is the groups that differ, each with a byte that says which
// of its words do, and those words: whole (wide), or of each a byte that says which of its bytes differ, and those (narrow).
// Up to CKERNELS_DELTA_LISTED groups stand there by number; of more, a 64-bit word says first which they are.

/// The most groups that are listed by number.
enum { CKERNELS_DELTA_LISTED = 7 };

/// Bytes of memory for a packed difference of any page, and for what is written beyond its end meanwhile.
enum { CKERNELS_DELTA_ROOM = 8 + 64 + 512 + CKERNELS_PAGE + 64 };

struct ckernels_delta {
    /// Bit g: group g differs. 0: nothing does.
    uint64_t groups;
    /// Packed lengths of the two forms, in bytes.
    uint32_t wide, narrow;
    /// Of a group that differs: which words do, which bytes do. Else without meaning.
    uint8_t words[64];
    uint64_t bytes[64];
};

/// Finds what of `page` differs from `shadow`, and brings `shadow` to `page`. Both are 4096 bytes.
/// `next`: the shadow that will be asked for next, which is fetched meanwhile. `later`: one that will be asked for after some more,
/// which has its address translated. NULL for none.
void ckernels_delta_find(
    enum ckernels_way way, const void *page, void *shadow, const void *next, const void *later, struct ckernels_delta *delta
);

/// Packs what `ckernels_delta_find` found in `page`. `target` has CKERNELS_DELTA_ROOM bytes at least.
/// Returns the packed length: `delta->wide` or `delta->narrow`.
size_t ckernels_delta_pack(
    enum ckernels_way way, const void *page, const struct ckernels_delta *delta, bool narrow, void *target
);

/// Brings `page`, which is the copy that was sent last, to what was packed. Looks at no byte beyond `length`, writes
/// nothing but the page. `listed`: how many groups are listed, 0 where a word says which they are.
/// Returns the bytes used, or -1 for what `ckernels_delta_pack` cannot have made; the page is then without meaning.
ptrdiff_t ckernels_delta_apply(const void *source, size_t length, unsigned listed, bool narrow, void *page);

/// Has a page fetched that will be read soon.
void ckernels_prefetch_page(const void *page);

// ---- LZ4's block format (lz4_Block_format.md of the LZ4 project), by the system's liblz4.

/// Packs a page into at most `capacity` bytes. Returns the length, 0 if it does not fit.
size_t ckernels_lz4_encode(const void *page, void *target, size_t capacity);

/// Unpacks exactly one page from exactly `length` bytes; false if they are not that. Looks at no byte beyond them and
/// writes nothing but the page.
bool ckernels_lz4_decode(const void *source, size_t length, void *page);

#endif
