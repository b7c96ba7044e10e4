#include "CKernels.h"

#include <lz4.h>

size_t ckernels_lz4_encode(const void *page, void *target, size_t capacity) {
    int room = capacity > LZ4_MAX_INPUT_SIZE ? LZ4_MAX_INPUT_SIZE : (int)capacity;
    int length = LZ4_compress_default(page, target, CKERNELS_PAGE, room);
    return length > 0 ? (size_t)length : 0;
}

bool ckernels_lz4_decode(const void *source, size_t length, void *page) {
    if (length > LZ4_MAX_INPUT_SIZE) return false;
    return LZ4_decompress_safe(source, page, (int)length, CKERNELS_PAGE) == CKERNELS_PAGE;
}
