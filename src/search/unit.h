/* A unit: a query range against a base range, answered by all threads. */
#ifndef ENGRAM_SEARCH_UNIT_H
#define ENGRAM_SEARCH_UNIT_H

#include "search/collector.h"
#include "search/prepared.h"

/* Queries in any element type. */
struct engram_query_rows {
    struct engram_set set;
    int64_t first_row; /* global row number of the first */
    const char *what;  /* their name in messages */
};

/* Checks the queries once, before their first unit: dimension, limits on values (DATA, naming the
 * row), and adds the number of those that are not finite to `*skipped`. */
enum engram_status engram_queries_check(const struct engram_prepared *prepared,
                                        const struct engram_query_rows *queries,
                                        const struct engram_request *request, int64_t *skipped);

/* Answers queries [first, last) of `queries` (checked) against the prepared set, whose first row
 * has global number `base_first_row`. `known`, or NULL: a partial of these queries, maybe among
 * others, against other base rows, whose k-th keys tighten the search; it is not merged in. `*out`
 * is the caller's; of a mirrored unit without a spill it has all queries from the lowest row of
 * both sides to the highest. Adds to `*stats`. Errors: USAGE, RESOURCE, CANCELLED. */
enum engram_status engram_unit_search(const struct engram_prepared *prepared,
                                      int64_t base_first_row,
                                      const struct engram_query_rows *queries, int64_t first,
                                      int64_t last, const struct engram_request *request,
                                      const struct engram_partial *known,
                                      struct engram_partial *out,
                                      struct engram_search_stats *stats);

/* Rows in trees: what pairs connect. A root is the lowest row of its tree. */
struct engram_forest {
    uint32_t *parents; /* [rows] atomic while units run */
    int64_t first_row; /* global row of row 0 */
    int64_t rows;
};

/* Rows of a forest, fewer than 2^32. */
#define ENGRAM_FOREST_ROWS_MAX ((int64_t)UINT32_MAX)

/* Every row a tree of its own. RESOURCE. */
enum engram_status engram_forest_create(int64_t first_row, int64_t rows,
                                        const struct engram_log *log, struct engram_forest *forest);
void engram_forest_free(struct engram_forest *forest);

/* Connects two rows; both count from the forest's first, here and below. */
void engram_forest_join(struct engram_forest *forest, int64_t i, int64_t j);

/* The lowest row that is connected with row i. */
int64_t engram_forest_root(const struct engram_forest *forest, int64_t i);

/* Joins the trees of all queries [first, last) and rows of the prepared set that a pair within the
 * request's limits connects; both are rows of the forest. Takes `request->self` for granted; k is
 * not looked at. Errors: RESOURCE, CANCELLED. */
enum engram_status engram_unit_components(const struct engram_prepared *prepared,
                                          int64_t base_first_row,
                                          const struct engram_query_rows *queries, int64_t first,
                                          int64_t last, const struct engram_request *request,
                                          struct engram_forest *forest,
                                          struct engram_search_stats *stats);

/* The value of every pair of queries [first, last) (checked) and rows of the prepared set, to
 * values[query - first][row]; NaN where one of the two is not finite or no answer. Of the request
 * only metric, rows, threads, cancel, progress and log count. Errors: RESOURCE, CANCELLED. */
enum engram_status engram_unit_dense(const struct engram_prepared *prepared,
                                     const struct engram_query_rows *queries, int64_t first,
                                     int64_t last, const struct engram_request *request,
                                     const struct engram_values *values,
                                     struct engram_search_stats *stats);

/* pairwise.c: the value of row i of `left` and row i of `right` to values[i]; NaN where one of them
 * is not finite. Types may differ. The sets were checked by engram_set_check, their values were
 * not. Adds to `*stats`. Errors: DATA (the dimensions differ; limits on values), RESOURCE,
 * CANCELLED. */
enum engram_status engram_unit_pairwise(const struct engram_kernels *kernels,
                                        const struct engram_query_rows *left,
                                        const struct engram_query_rows *right,
                                        const struct engram_request *request,
                                        const struct engram_values *values,
                                        struct engram_search_stats *stats);

/* For the test that proves that compute threads allocate nothing: called by every thread right
 * after it enters (true) and right before it leaves the work-sharing loop. NULL otherwise. */
extern void (*engram_unit_loop_hook)(bool entering);

/* For the tests of the scratch levels: bytes of each thread's arena instead of what is needed;
 * SIZE_MAX: off. */
extern size_t engram_unit_arena_limit;

#endif
