/* Stored elements to the element type of a slab. */
#ifndef ENGRAM_IO_WIDEN_H
#define ENGRAM_IO_WIDEN_H

#include <stddef.h>
#include <stdint.h>

#include "io/h5type.h"

/* Converts `count` elements from `from` (native byte order) to `to`: float32 for F16, bfloat16 and
 * integers of 8 and 16 bits, float64 for the wider ones, all exact. Returns the index of the first
 * 64-bit integer beyond 2^53, -1 without. On `threads` threads. */
int64_t engram_widen(enum engram_dtype dtype, enum engram_h5_encoding encoding, const void *from,
                     void *to, int64_t count, int threads);

#endif
