/* One parallel iteration: a block of queries against a segment of the base. */
#ifndef ENGRAM_SEARCH_BLOCK_H
#define ENGRAM_SEARCH_BLOCK_H

#include "search/unit.h"

struct engram_filter_ops;

/* What all items of a unit share; read-only in the loop but for `pairs_done`. */
struct engram_block_context {
    const struct engram_prepared *prepared;
    const struct engram_query_rows *queries;
    const struct engram_request *request;
    const struct engram_collector *collector;
    const struct engram_filter_ops *filter; /* NULL: canonical scan */
    int64_t first_query;                    /* of the unit, within `queries` */
    int64_t base_first_row;
    uint64_t pairs_total;
    uint64_t *pairs_done; /* atomic */
};

/* A thread's own counts. */
struct engram_block_counts {
    uint64_t pairs;
    uint64_t rescored;
    uint64_t canonical;
};

/* Bytes of scratch that an item of this tiling takes. */
size_t engram_block_scratch_size(const struct engram_block_context *context);

/* Runs one item with memory from `scratch` only. RESOURCE when it does not suffice (the item then
 * has no answers), CANCELLED. */
enum engram_status engram_block_run(const struct engram_block_context *context,
                                    const struct engram_item *item, struct engram_scratch *scratch,
                                    struct engram_block_counts *counts);

#endif
