/* Lists of answers within one block of queries: selection and sorting in the total order. */
#ifndef ENGRAM_SEARCH_HITS_H
#define ENGRAM_SEARCH_HITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "search/metric.h"

/* An answer. `tag` is query << 32 | row inside a block, or a row number alone (query 0). */
struct engram_hit {
    double score;
    int64_t tag;
};

#define ENGRAM_HIT_TAG(query, row) ((int64_t)(query) << 32 | (int64_t)(row))
#define ENGRAM_HIT_QUERY(tag) ((uint32_t)((tag) >> 32))
#define ENGRAM_HIT_ROW(tag) ((tag)&0xffffffff)

/* (key, tag): the total order of one query's answers. */
static inline bool engram_hit_less(struct engram_order order, const struct engram_hit *a,
                                   const struct engram_hit *b)
{
    double key_a = engram_key(order, a->score);
    double key_b = engram_key(order, b->score);
    return key_a < key_b || (key_a == key_b && a->tag < b->tag);
}

/* Moves the `keep` best of hits[0, count) of one query to the front, in any order; the others are
 * lost. Keys are finite. In place, no allocation, O(count) expected and O(count log count) at
 * worst. */
void engram_hits_select(struct engram_hit *hits, size_t count, size_t keep,
                        struct engram_order order);

/* Sorts hits of one query, best first. In place, no allocation (qsort may allocate). */
void engram_hits_sort(struct engram_hit *hits, size_t count, struct engram_order order);

/* The `keep` best of hits[0, count) of one query into `out`, which does not overlap, best first;
 * how many these are. hits[] is overwritten. Faster than the two above for many hits. Keys are
 * finite. */
size_t engram_hits_best_to(struct engram_hit *hits, size_t count, size_t keep,
                           struct engram_order order, struct engram_hit *out);

#endif
