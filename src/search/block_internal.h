/* A block at work, shared by its two rooms: block.c scores pairs, block_scan.c decides in which
 * order. */
#ifndef ENGRAM_SEARCH_BLOCK_INTERNAL_H
#define ENGRAM_SEARCH_BLOCK_INTERNAL_H

#include "search/block.h"
#include "search/filter.h"

/* The item at work. All arrays lie in its scratch memory. */
struct engram_block {
    const struct engram_block_context *context;
    const struct engram_item *item;
    struct engram_block_counts *counts;
    void *collected; /* the collector's state */
    size_t queries;
    int64_t first_row;     /* of the scan: the item's, or where the other half ends */
    size_t stride;         /* doubles from one wide query to the next */
    double *wide;          /* [queries][stride] widened, under cosine scaled */
    double *self_products; /* [queries] canonical qq; cosine */
    bool *usable;          /* [queries] finite */
    double *limit;         /* [queries] the collector's, a key */
    double *seen;          /* [queries] the limit that `threshold` was made from */
    struct engram_candidate *candidates;
    size_t candidate_room;
    size_t candidate_count;
    double *raw;    /* BATCH, or block queries x ENGRAM_CANONICAL_ROWS */
    bool *awake;    /* [strips] some query of the strip can still have answers */
    void *filtered; /* the filter's state; NULL without */
};

/* The queries of a search over bits: `stride` words each, in the place of `wide`. */
static inline uint64_t *engram_block_words(const struct engram_block *b)
{
    return (uint64_t *)(void *)b->wide;
}

/* Starts a pass over the rows: the filter learns all limits, and strips whose queries are all done
 * are left out. */
void engram_block_start_pass(struct engram_block *b);

/* Every pair of the block with base rows [first, last) by its canonical score. */
void engram_block_score_all(struct engram_block *b, int64_t first, int64_t last);

/* One pass of all strips over `panels` panels; returns how many candidates had to be scored. A few
 * may wait, unless the collector's `step` is to be told of all: engram_block_score_waiting scores
 * these, and has to be called before anything else is scored and at the end of a pass. */
uint64_t engram_block_score_panels(struct engram_block *b, size_t panel, size_t panels);
uint64_t engram_block_score_waiting(struct engram_block *b);

/* Counts rows [first, last) as looked at by all queries. */
void engram_block_report(const struct engram_block *b, int64_t first, int64_t last);

/* The row of the prepared set that the item's first query is, when both count the same rows; below
 * 0 or too large where it is none. */
static inline int64_t engram_block_first_query_row(const struct engram_block *b)
{
    const struct engram_collector *collector = b->context->collector;
    return collector->first_query + b->item->first_query - collector->base_first_row;
}

/* The whole scan of a loaded block, through to what the collector keeps. CANCELLED. */
enum engram_status engram_block_scan(struct engram_block *b);

#endif
