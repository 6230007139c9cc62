/* The pair collector, shared by its two rooms: pairs.c collects, pairs_gather.c sorts. */
#ifndef ENGRAM_SEARCH_PAIRS_H
#define ENGRAM_SEARCH_PAIRS_H

#include "search/collector.h"

/* Answers of a round that is over. */
struct engram_pair_room {
    struct engram_pair_room *next;
    struct engram_hit *hits; /* in any order; tag: query of the unit << 32 | row of the set */
    size_t used;
    size_t bytes;
};

/* The queries that may have answers: under symmetry also rows of the base. */
struct engram_pair_lists {
    int64_t first; /* global row */
    int64_t count;
};
struct engram_pair_lists engram_pairs_lists(const struct engram_collector *collector);

/* All answers in the rooms, both sides under symmetry, as a run or as a partial. RESOURCE. */
enum engram_status engram_pairs_gather_run(const struct engram_pair_collector *pairs,
                                           struct engram_run *run);
enum engram_status engram_pairs_gather_partial(const struct engram_pair_collector *pairs,
                                               struct engram_partial *partial);

#endif
