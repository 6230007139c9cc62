/* Stored elements to the element type of a slab. */
#ifndef ENGRAM_IO_WIDEN_H
#define ENGRAM_IO_WIDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/h5type.h"
#include "io/unfilter.h"

/* How elements lie in the file, and what becomes of them. */
struct engram_stored {
    enum engram_dtype dtype;
    enum engram_h5_encoding encoding; /* not CUSTOM */
    size_t bytes;                     /* of an element in the file */
    bool swapped;                     /* not in native byte order */
    bool direct;                      /* in native order it is what the slab has */
    size_t slab_bytes;                /* of an element in the slab */
};

/* Converts `count` elements from `from` (native byte order, aligned) to `to`: float32 for F16,
 * bfloat16 and integers of 8 and 16 bits, float64 for the wider ones, all exact. Returns the index
 * of the first 64-bit integer beyond 2^53, -1 without. On `threads` threads. */
int64_t engram_widen(enum engram_dtype dtype, enum engram_h5_encoding encoding, const void *from,
                     void *to, int64_t count, int threads);

/* Elements [first, first + count) of a chunk, or of some other block in memory whose start is
 * aligned for them, into a slab: shuffle undone, bytes swapped, widened. Returns as engram_widen,
 * counted from `first`. On the calling thread. */
int64_t engram_place(const struct engram_stored *stored, const struct engram_elements *elements,
                     size_t first, size_t count, void *to);

#endif
