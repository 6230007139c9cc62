/* A sorted run of pairs: what leaves the search while it goes on, because all pairs of a unit may
 * be more than memory holds. */
#ifndef ENGRAM_SEARCH_RUN_H
#define ENGRAM_SEARCH_RUN_H

#include "search/hits.h"

struct engram_run {
    struct engram_hit *hits; /* sorted by (query, key, row); tag: both, from the numbers below on */
    size_t count;
    size_t bytes;        /* of the memory: engram_pages_free */
    int64_t first_query; /* global row of query 0 */
    int64_t first_row;   /* global row of base row 0 */
};

/* Who takes the runs of a search. Every pair is in one run. */
struct engram_spill {
    /* Called between rounds by the calling thread. It may keep run->hits and set it to NULL; what
     * it leaves is freed. What it returns ends the search, unless OK. */
    enum engram_status (*take)(void *context, struct engram_run *run);
    void *context;
    size_t memory; /* bytes that pairs may take in the search, the run that is handed over included;
                      a few bytes an item and a query come on top */
};

#endif
