#ifndef CKERNELS_H
#define CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Pure functions over memory, chosen at run time by processor. Each has a Swift twin in Checkpoint
// (Kernels.swift), which is its oracle in the tests.

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `length` bytes, continued from `crc` (0 to begin).
uint32_t ckernels_crc32c(uint32_t crc, const void *bytes, size_t length);

/// True if all `length` bytes are zero. `length` is a multiple of 64, `bytes` is 8-aligned.
bool ckernels_is_zero(const void *bytes, size_t length);

#endif
