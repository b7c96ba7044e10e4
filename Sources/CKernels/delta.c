#include "CKernels.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { page_size = 4096, groups = 64, group_size = 64 };

static inline uint64_t load(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

// The eight bits 0 of a word's bytes, as a byte.
static inline uint8_t gather(uint64_t lowest) { return (uint8_t)((lowest * 0x0102040810204080u) >> 56); }

// Bit j: byte j of `word` is not zero.
static inline uint8_t nonzero_bytes(uint64_t word) {
    const uint64_t low = 0x7F7F7F7F7F7F7F7Fu;
    return gather(((((word & low) + low) | word) & ~low) >> 7);
}

// What is looked at next is not at hand: it was written an epoch ago or longer.
struct ahead {
    const uint8_t *next, *later;
};

// Two lines at a time: they come as a pair.
static inline __attribute__((always_inline)) void fetch(struct ahead ahead, int g) {
    if (ahead.next && g % 2 == 0) {
        __builtin_prefetch(ahead.next + g * group_size);
        __builtin_prefetch(ahead.next + (g + 1) * group_size);
    }
    // The translation takes longer than the lines do.
    if (g == groups / 2 && ahead.later) __builtin_prefetch(ahead.later);
}

// Notes which bytes of a group differ. `changed` has bit g: any of group g's does.
static inline __attribute__((always_inline)) void
note(struct ckernels_delta *delta, uint64_t *changed, int g, uint64_t mask) {
    delta->bytes[g] = mask;
    *changed |= (uint64_t)(mask != 0) << g;
}

// What follows from the bytes that differ. A part of each way, as there are instructions to count bits.
static inline __attribute__((always_inline)) void
finish(const uint8_t *page, uint8_t *shadow, uint64_t changed, struct ckernels_delta *delta) {
    uint32_t words = 0, bytes = 0;
    delta->groups = changed;
    for (uint64_t rest = changed; rest; rest &= rest - 1) {
        int g = __builtin_ctzll(rest);
        uint64_t mask = delta->bytes[g], any = mask;
        any |= any >> 4;
        any |= any >> 2;
        any |= any >> 1;
        delta->words[g] = gather(any & 0x0101010101010101u);
        words += (uint32_t)__builtin_popcount(delta->words[g]);
        bytes += (uint32_t)__builtin_popcountll(mask);
        memcpy(shadow + g * group_size, page + g * group_size, group_size);
    }
    uint32_t count = (uint32_t)__builtin_popcountll(changed);
    uint32_t head = count <= CKERNELS_DELTA_LISTED ? 2 * count : 8 + count;
    delta->wide = head + 8 * words;
    delta->narrow = head + words + bytes;
}

static void find_plain(const uint8_t *page, uint8_t *shadow, struct ahead ahead, struct ckernels_delta *delta) {
    uint64_t changed = 0;
    for (int g = 0; g < groups; g++) {
        uint64_t mask = 0;
        fetch(ahead, g);
        for (int w = 0; w < 8; w++) {
            uint64_t word = load(page + g * group_size + w * 8) ^ load(shadow + g * group_size + w * 8);
            mask |= (uint64_t)nonzero_bytes(word) << (8 * w);
        }
        note(delta, &changed, g, mask);
    }
    finish(page, shadow, changed, delta);
}

#if defined(__x86_64__)
__attribute__((target("avx2,popcnt"))) static void
find_avx2(const uint8_t *page, uint8_t *shadow, struct ahead ahead, struct ckernels_delta *delta) {
    uint64_t changed = 0;
    for (int g = 0; g < groups; g++) {
        const uint8_t *a = page + g * group_size, *b = shadow + g * group_size;
        fetch(ahead, g);
        __m256i low = _mm256_cmpeq_epi8(_mm256_loadu_si256((const void *)a), _mm256_loadu_si256((const void *)b));
        __m256i high = _mm256_cmpeq_epi8(
            _mm256_loadu_si256((const void *)(a + 32)), _mm256_loadu_si256((const void *)(b + 32))
        );
        uint64_t same = (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
        note(delta, &changed, g, ~same);
    }
    finish(page, shadow, changed, delta);
}

__attribute__((target("avx512f,avx512bw,popcnt"))) static void
find_avx512(const uint8_t *page, uint8_t *shadow, struct ahead ahead, struct ckernels_delta *delta) {
    uint64_t changed = 0;
    for (int g = 0; g < groups; g++) {
        fetch(ahead, g);
        uint64_t mask =
            _mm512_cmpneq_epi8_mask(_mm512_loadu_si512(page + g * group_size), _mm512_loadu_si512(shadow + g * group_size));
        note(delta, &changed, g, mask);
    }
    finish(page, shadow, changed, delta);
}
#endif

void ckernels_delta_find(
    enum ckernels_way way, const void *page, void *shadow, const void *next, const void *later, struct ckernels_delta *delta
) {
    struct ahead ahead = { next, later };
#if defined(__x86_64__)
    if (way != CKERNELS_PLAIN && __builtin_cpu_supports("popcnt")) {
        bool has512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
        if (way == CKERNELS_BEST && has512) return find_avx512(page, shadow, ahead, delta);
        if (__builtin_cpu_supports("avx2")) return find_avx2(page, shadow, ahead, delta);
    }
#else
    (void)way;
#endif
    find_plain(page, shadow, ahead, delta);
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static uint8_t *pack_words_avx512(const uint8_t *group, uint8_t mask, uint8_t *to) {
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi64(mask, _mm512_loadu_si512(group)));
    return to + 8 * __builtin_popcount(mask);
}

// What is written beyond a word's bytes is overwritten by the next, or has no meaning.
__attribute__((target("bmi,bmi2,popcnt"))) static uint8_t *
pack_bytes_bmi2(const uint8_t *group, uint8_t words, uint64_t bytes, uint8_t *to) {
    for (unsigned rest = words; rest; rest &= rest - 1) {
        int w = __builtin_ctz(rest);
        uint64_t mask = (uint8_t)(bytes >> (8 * w));
        *to++ = (uint8_t)mask;
        uint64_t packed = _pext_u64(load(group + 8 * w), _pdep_u64(mask, 0x0101010101010101u) * 255);
        memcpy(to, &packed, 8);
        to += __builtin_popcountll(mask);
    }
    return to;
}
#endif

static uint8_t *pack_words(const uint8_t *group, uint8_t mask, uint8_t *to) {
    for (unsigned rest = mask; rest; rest &= rest - 1, to += 8) memcpy(to, group + 8 * __builtin_ctz(rest), 8);
    return to;
}

static uint8_t *pack_bytes(const uint8_t *group, uint8_t words, uint64_t bytes, uint8_t *to) {
    for (unsigned rest = words; rest; rest &= rest - 1) {
        int w = __builtin_ctz(rest);
        uint64_t word = load(group + 8 * w);
        unsigned mask = (uint8_t)(bytes >> (8 * w));
        *to++ = (uint8_t)mask;
        for (; mask; mask &= mask - 1) *to++ = (uint8_t)(word >> (8 * __builtin_ctz(mask)));
    }
    return to;
}

size_t ckernels_delta_pack(
    enum ckernels_way way, const void *page, const struct ckernels_delta *delta, bool narrow, void *target
) {
    const uint8_t *from = page;
    uint8_t *to = target;
    bool listed = __builtin_popcountll(delta->groups) <= CKERNELS_DELTA_LISTED;
#if defined(__x86_64__)
    bool compress = way == CKERNELS_BEST && __builtin_cpu_supports("avx512f");
    bool extract = way != CKERNELS_PLAIN && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
#else
    (void)way;
#endif
    if (!listed) {
        for (int i = 0; i < 8; i++) *to++ = (uint8_t)(delta->groups >> (8 * i));
    }
    for (uint64_t rest = delta->groups; rest; rest &= rest - 1) {
        int g = __builtin_ctzll(rest);
        if (listed) *to++ = (uint8_t)g;
        *to++ = delta->words[g];
        if (narrow) {
#if defined(__x86_64__)
            if (extract) {
                to = pack_bytes_bmi2(from + g * group_size, delta->words[g], delta->bytes[g], to);
                continue;
            }
#endif
            to = pack_bytes(from + g * group_size, delta->words[g], delta->bytes[g], to);
            continue;
        }
#if defined(__x86_64__)
        if (compress) {
            to = pack_words_avx512(from + g * group_size, delta->words[g], to);
            continue;
        }
#endif
        to = pack_words(from + g * group_size, delta->words[g], to);
    }
    return (size_t)(to - (uint8_t *)target);
}

ptrdiff_t ckernels_delta_apply(const void *source, size_t length, unsigned listed, bool narrow, void *page) {
    const uint8_t *from = source, *end = from + length;
    uint8_t *to = page;
    uint64_t summary = 0;
    int count = (int)listed, last = -1;
    if (listed > CKERNELS_DELTA_LISTED) return -1;
    if (listed == 0) {
        if (length < 8) return -1;
        for (int i = 0; i < 8; i++) summary |= (uint64_t)*from++ << (8 * i);
        count = __builtin_popcountll(summary);
        if (count <= CKERNELS_DELTA_LISTED) return -1;
    }
    for (; count; count--) {
        int g;
        if (listed) {
            if (end - from < 2) return -1;
            g = *from++;
            if (g <= last || g >= groups) return -1;
            last = g;
        } else {
            if (end - from < 1) return -1;
            g = __builtin_ctzll(summary);
            summary &= summary - 1;
        }
        unsigned words = *from++;
        if (words == 0) return -1;
        if (!narrow && end - from < 8 * __builtin_popcount(words)) return -1;
        for (; words; words &= words - 1) {
            uint8_t *word = to + g * group_size + 8 * __builtin_ctz(words);
            if (!narrow) {
                memcpy(word, from, 8);
                from += 8;
                continue;
            }
            if (end - from < 1) return -1;
            unsigned mask = *from++;
            if (mask == 0 || end - from < __builtin_popcount(mask)) return -1;
            for (; mask; mask &= mask - 1) word[__builtin_ctz(mask)] = *from++;
        }
    }
    return from - (const uint8_t *)source;
}

void ckernels_prefetch_page(const void *page) {
    const uint8_t *p = page;
    for (int g = 0; g < groups; g++) __builtin_prefetch(p + g * group_size, 0);
}
