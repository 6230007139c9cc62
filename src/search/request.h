/* What is asked of a unit; the internal form of struct engram_search_options. */
#ifndef ENGRAM_SEARCH_REQUEST_H
#define ENGRAM_SEARCH_REQUEST_H

#include "search/metric.h"
#include "search/run.h"

struct engram_request {
    enum engram_metric metric;
    int64_t k;        /* INT64_MAX: no limit */
    double max_key;   /* answers have key <= max_key .. */
    double min_score; /* .. and score >= min_score */
    bool self;        /* a row never matches the query with the same global row number */
    /* Rows of one group never match: by row of the prepared set, by row of the queries; negative:
     * no group. Both or neither. */
    const int64_t *base_groups;
    const int64_t *query_groups;
    /* Of the prepared set, only rows [rows[0], rows[1]) are looked at, fastest where rows[0] is a
     * multiple of 64. {0, 0}: all. */
    int64_t rows[2];
    /* With self, pairs without a k and components: each pair is looked at once and counts for both
     * of its rows, so the answers are those of queries x rows and of rows x queries. All rows of
     * the set may be answers, and groups are the same on both sides. */
    bool mirror;
    const uint8_t *allowed_queries; /* bit r & 7 of byte r >> 3: query row r counts; NULL: all */
    enum engram_filter filter;
    int64_t max_pairs;    /* more pairs end the search with DATA; 0: no limit. Not with a k .. */
    int64_t pairs_before; /* .. so many were found by earlier units */
    /* Pairs without a k leave by runs, and the partial holds none; NULL: all pairs in memory. */
    const struct engram_spill *spill;
    int threads;
    const int *cancel;
    void (*progress)(void *context, uint64_t pairs_done, uint64_t pairs_total);
    void *progress_context;
    struct engram_log log;
};

static inline bool engram_request_cancelled(const struct engram_request *request)
{
    return request->cancel != NULL && __atomic_load_n(request->cancel, __ATOMIC_RELAXED) != 0;
}

#endif
