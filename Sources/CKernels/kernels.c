#include "CKernels.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// One table of 8 x 256 entries, made before anything else from the reflected polynomial 0x82F63B78.
static uint32_t table[8][256];

__attribute__((constructor(101))) static void make_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) ? 0x82F63B78u : 0);
        table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++) table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xFF];
}

static uint32_t crc32c_table(uint32_t crc, const uint8_t *p, size_t n) {
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= crc;
        crc = table[7][word & 0xFF] ^ table[6][(word >> 8) & 0xFF] ^ table[5][(word >> 16) & 0xFF]
            ^ table[4][(word >> 24) & 0xFF] ^ table[3][(word >> 32) & 0xFF] ^ table[2][(word >> 40) & 0xFF]
            ^ table[1][(word >> 48) & 0xFF] ^ table[0][word >> 56];
        p += 8;
        n -= 8;
    }
    while (n--) crc = (crc >> 8) ^ table[0][(crc ^ *p++) & 0xFF];
    return crc;
}

#if defined(__x86_64__)
// The instruction gives its result after three cycles and can begin anew in each: three runs over three parts keep it busy. A
// part's result counts as if the parts after it were zeros: `skip` has what that makes of each byte of it.
enum { part = 2048 };
static uint32_t skip[4][256];

__attribute__((constructor(102))) static void make_skip(void) {
    static const uint8_t zeros[part];
    for (int byte = 0; byte < 4; byte++)
        for (int bit = 0; bit < 8; bit++) {
            uint32_t after = crc32c_table((uint32_t)1 << (8 * byte + bit), zeros, part);
            // What many bits make is what each makes, added (which is XOR).
            for (int value = 0; value < 256; value++)
                if (value >> bit & 1) skip[byte][value] ^= after;
        }
}

static inline uint32_t skip_part(uint32_t crc) {
    return skip[0][crc & 0xFF] ^ skip[1][(crc >> 8) & 0xFF] ^ skip[2][(crc >> 16) & 0xFF] ^ skip[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static inline uint64_t crc32c_word(uint64_t crc, const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, 8);
    return __builtin_ia32_crc32di(crc, word);
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *p, size_t n) {
    while (n >= 3 * part) {
        uint64_t first = crc, second = 0, third = 0;
        for (size_t i = 0; i < part; i += 8) {
            first = crc32c_word(first, p + i);
            second = crc32c_word(second, p + part + i);
            third = crc32c_word(third, p + 2 * part + i);
        }
        crc = skip_part(skip_part((uint32_t)first) ^ (uint32_t)second) ^ (uint32_t)third;
        p += 3 * part;
        n -= 3 * part;
    }
    uint64_t wide = crc;
    while (n >= 8) {
        wide = crc32c_word(wide, p);
        p += 8;
        n -= 8;
    }
    crc = (uint32_t)wide;
    while (n--) crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}

// Where there are carry-less multiplications of 64 bytes at once, four blocks of 64 bytes are carried along: each becomes what counts the
// same 256 bytes further on, and the bytes there are added (V. Gopal et al., Fast CRC Computation Using PCLMULQDQ Instruction, Intel 2009).
// A product of two reflected polynomials comes out one place too low, so the factor for n bits further is x^(n-1), and for a block's
// first half, which is 64 bits higher, x^(n+63).
typedef long long quads __attribute__((vector_size(64)));
typedef long long pair __attribute__((vector_size(16)));
enum { block = 64, blocks = 4 };
static pair by_blocks, by_block, by_pair;

// x^n, reflected, in the upper half of a word.
static long long power(unsigned n) {
    uint32_t value = 0x80000000u;
    while (n--) value = (value >> 1) ^ ((value & 1) ? 0x82F63B78u : 0);
    return (long long)((uint64_t)value << 32);
}

static pair factors(unsigned bits) { return (pair){power(bits + 63), power(bits - 1)}; }

__attribute__((constructor(103))) static void make_factors(void) {
    by_blocks = factors(8 * block * blocks);
    by_block = factors(8 * block);
    by_pair = factors(128);
}

#define WIDE "avx512f,avx512dq,vpclmulqdq,pclmul,sse4.2"

__attribute__((target(WIDE))) static inline quads load_quads(const uint8_t *p) {
    quads value;
    memcpy(&value, p, sizeof value);
    return value;
}

__attribute__((target(WIDE))) static inline quads carry_quads(quads value, quads factor) {
    return (quads)_mm512_clmulepi64_epi128((__m512i)value, (__m512i)factor, 0x00)
        ^ (quads)_mm512_clmulepi64_epi128((__m512i)value, (__m512i)factor, 0x11);
}

__attribute__((target(WIDE))) static inline pair carry_pair(pair value) {
    return (pair)_mm_clmulepi64_si128((__m128i)value, (__m128i)by_pair, 0x00)
        ^ (pair)_mm_clmulepi64_si128((__m128i)value, (__m128i)by_pair, 0x11);
}

// At least `blocks` blocks.
__attribute__((target(WIDE))) static uint32_t crc32c_wide(uint32_t crc, const uint8_t *p, size_t n) {
    quads far = (quads)_mm512_broadcast_i64x2((__m128i)by_blocks), near = (quads)_mm512_broadcast_i64x2((__m128i)by_block);
    quads sums[blocks];
    for (int i = 0; i < blocks; i++) sums[i] = load_quads(p + block * i);
    sums[0] ^= (quads){crc};
    for (p += block * blocks, n -= block * blocks; n >= block * blocks; p += block * blocks, n -= block * blocks)
        for (int i = 0; i < blocks; i++) sums[i] = carry_quads(sums[i], far) ^ load_quads(p + block * i);
    quads sum = sums[0];
    for (int i = 1; i < blocks; i++) sum = carry_quads(sum, near) ^ sums[i];
    pair last = {sum[0], sum[1]};
    for (int i = 2; i < 8; i += 2) last = carry_pair(last) ^ (pair){sum[i], sum[i + 1]};
    uint64_t rest = __builtin_ia32_crc32di(__builtin_ia32_crc32di(0, (uint64_t)last[0]), (uint64_t)last[1]);
    return crc32c_sse42((uint32_t)rest, p, n);
}
#endif

uint32_t ckernels_crc32c_by(enum ckernels_way way, uint32_t crc, const void *bytes, size_t length) {
#if defined(__x86_64__)
    bool wide = way == CKERNELS_BEST && length >= block * blocks && __builtin_cpu_supports("vpclmulqdq")
        && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
    if (wide) return ~crc32c_wide(~crc, bytes, length);
    if (way != CKERNELS_PLAIN && __builtin_cpu_supports("sse4.2")) return ~crc32c_sse42(~crc, bytes, length);
#else
    (void)way;
#endif
    return ~crc32c_table(~crc, bytes, length);
}

uint32_t ckernels_crc32c(uint32_t crc, const void *bytes, size_t length) {
    return ckernels_crc32c_by(CKERNELS_BEST, crc, bytes, length);
}

bool ckernels_is_zero(const void *bytes, size_t length) {
    const uint8_t *p = bytes;
    for (size_t i = 0; i < length; i += 64) {
        uint64_t word[8];
        memcpy(word, p + i, 64);
        if (word[0] | word[1] | word[2] | word[3] | word[4] | word[5] | word[6] | word[7]) return false;
    }
    return true;
}

// Half as many steps of 32 bytes as of 16 leave the processor room for more on its way from memory. Without AVX2 it is two steps of
// 16 each.
typedef uint8_t chunk __attribute__((vector_size(32), aligned(1), may_alias));

// Copies a page; of `next` the first lines are fetched meanwhile, after which the processor does so by itself, and of `later` one,
// which has its address translated.
static inline __attribute__((always_inline)) void
copy_page(uint8_t *target, const uint8_t *source, const uint8_t *next, const uint8_t *later) {
    enum { piece = 128, fetched = 1024 };
    for (size_t at = 0; at < CKERNELS_PAGE; at += piece) {
        if (at < fetched) {
            __builtin_prefetch(next + at);
            __builtin_prefetch(next + at + 64);
        }
        if (at == CKERNELS_PAGE / 2) __builtin_prefetch(later);
        chunk bytes[4];
        for (int i = 0; i < 4; i++) bytes[i] = *(const chunk *)(source + at + 32 * i);
        for (int i = 0; i < 4; i++) *(chunk *)(target + at + 32 * i) = bytes[i];
    }
}

static inline __attribute__((always_inline)) void
copy_pages(const void *const *sources, void *const *targets, size_t count, size_t ahead) {
    for (size_t i = 0; i < count; i++) {
        size_t next = i + 1 < ahead ? i + 1 : i, later = i + 3 < ahead ? i + 3 : i;
        copy_page(targets[i], sources[i], sources[next], sources[later]);
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void
copy_pages_avx2(const void *const *sources, void *const *targets, size_t count, size_t ahead) {
    copy_pages(sources, targets, count, ahead);
}
#endif

void ckernels_copy_pages(
    enum ckernels_way way, const void *const *sources, void *const *targets, size_t count, size_t ahead
) {
#if defined(__x86_64__)
    if (way != CKERNELS_PLAIN && __builtin_cpu_supports("avx2")) return copy_pages_avx2(sources, targets, count, ahead);
#else
    (void)way;
#endif
    copy_pages(sources, targets, count, ahead);
}

void ckernels_copy_page(void *target, const void *source) { ckernels_copy_pages(CKERNELS_BEST, &source, &target, 1, 1); }
