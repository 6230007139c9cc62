/* How a unit is cut into parallel items and cache-sized blocks. Pure: shapes in, sizes out. The
 * cut changes speed and memory, never an answer. */
#ifndef ENGRAM_SEARCH_TILING_H
#define ENGRAM_SEARCH_TILING_H

#include <stddef.h>
#include <stdint.h>

#include "engram/search.h"

/* Rows that the canonical scan scores at a time; small enough for the scores to stay in L1. */
#define ENGRAM_CANONICAL_ROWS 128

struct engram_tiling_input {
    int64_t queries;
    int64_t rows;
    size_t dim;
    size_t row_bytes; /* of a packed row; 0: canonical scan */
    size_t strip;     /* queries of a strip */
    size_t panel;     /* rows of a panel */
    size_t kept;      /* answers buffered a query */
    int threads;
};

struct engram_tiling {
    size_t block_queries; /* queries of an item, a multiple of the strip */
    int64_t blocks;       /* query blocks */
    size_t block_panels;  /* panels that stay in L2 while all strips pass over them */
    int64_t segment_rows; /* base rows of an item, a multiple of the panel and of 64 */
    int64_t segments;     /* base segments; more than one only when queries are few */
};

struct engram_tiling engram_tiling_make(const struct engram_tiling_input *input);

#endif
