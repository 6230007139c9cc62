/* <engram/search.h> over units and partials. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/size.h"
#include "search/filter.h"
#include "search/team.h"
#include "search/unit.h"

/* Outputs of fewer answers than this are not worth a team. */
#define FILL_ALONE ((int64_t)1 << 15)

/* Checks what the two searches share and makes the internal request. */
static enum engram_status begin(const struct engram_prepared *prepared,
                                const struct engram_set *queries,
                                const struct engram_search_options *options,
                                struct engram_request *request, struct engram_query_rows *rows)
{
    if (prepared == NULL || options == NULL || options->size != sizeof *options) {
        return ENGRAM_ERR_USAGE;
    }
    const struct engram_log *log = &options->log;
    enum engram_status status = engram_set_check(queries, "queries", log, &rows->set);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (options->metric != prepared->metric) {
        return engram_fail(log, ENGRAM_ERR_USAGE, "the base was prepared for metric %s",
                           engram_metric_name(prepared->metric));
    }
    if (options->k <= 0 || isnan(options->max_distance) || isnan(options->min_similarity)) {
        return engram_fail(log, ENGRAM_ERR_USAGE, "k must be positive and limits not NaN");
    }
    if (options->min_similarity > -(double)INFINITY &&
        !engram_metric_is_similarity(options->metric)) {
        return engram_fail(log, ENGRAM_ERR_USAGE, "metric %s has no similarity to limit",
                           engram_metric_name(options->metric));
    }
    status = engram_filter_check(options->filter, options->metric, log);
    if (status != ENGRAM_OK) {
        return status;
    }
    if ((options->base_groups == NULL) != (options->query_groups == NULL)) {
        return engram_fail(log, ENGRAM_ERR_USAGE, "groups are given for one side only");
    }
    rows->first_row = options->self ? options->self_offset : 0;
    rows->what = "queries";
    *request = (struct engram_request){
        .metric = options->metric,
        .k = options->k,
        .max_key = options->max_distance,
        .min_score = options->min_similarity,
        .self = options->self,
        .base_groups = options->base_groups,
        .query_groups = options->query_groups,
        .filter = options->filter,
        .threads = options->threads,
        .cancel = options->cancel,
        .progress = options->progress,
        .progress_context = options->progress_context,
        .log = options->log,
    };
    return ENGRAM_OK;
}

static enum engram_status search(const struct engram_prepared *prepared,
                                 const struct engram_query_rows *rows,
                                 const struct engram_request *request, struct engram_partial *found,
                                 struct engram_search_stats *stats)
{
    struct engram_search_stats own = {.skipped_base = prepared->skipped};
    enum engram_status status = engram_queries_check(prepared, rows, request, &own.skipped_queries);
    if (status == ENGRAM_OK) {
        status =
            engram_unit_search(prepared, 0, rows, 0, rows->set.rows, request, NULL, found, &own);
    }
    if (stats != NULL) {
        *stats = own;
    }
    return status;
}

/* Row q of the outputs: `count` answers, then -1 and +inf. */
static void fill_row(const struct engram_partial *found, int64_t q, int64_t k, int64_t *neighbors,
                     double *distances, int32_t *counts)
{
    struct engram_order order = engram_metric_order(found->metric);
    int64_t first = found->hits == NULL ? 0 : found->indptr[q];
    int64_t count = found->hits == NULL ? 0 : found->indptr[q + 1] - first;
    for (int64_t i = 0; i < k; i++) {
        bool there = i < count;
        neighbors[q * k + i] = there ? found->hits[first + i].tag : -1;
        if (distances != NULL) {
            distances[q * k + i] =
                there ? engram_key(order, found->hits[first + i].score) : (double)INFINITY;
        }
    }
    if (counts != NULL) {
        counts[q] = (int32_t)count;
    }
}

/* All of the outputs; by a team where they are large and the search had one. */
static void fill_rows(const struct engram_partial *found, int64_t rows,
                      const struct engram_request *request, int64_t *neighbors, double *distances,
                      int32_t *counts)
{
    int team = 1;
    if (found->hits != NULL && rows * request->k >= FILL_ALONE &&
        engram_team_size(request->threads, &request->log, &team) != ENGRAM_OK) {
        team = 1;
    }
#pragma omp parallel num_threads(team) if (team > 1)
    {
        fenv_t saved;
        engram_fp_enter(&saved); /* keys may be denormal */
#pragma omp for schedule(static)
        for (int64_t q = 0; q < rows; q++) {
            fill_row(found, q, request->k, neighbors, distances, counts);
        }
        engram_fp_leave(&saved);
    }
}

enum engram_status engram_search_knn(const struct engram_prepared *prepared,
                                     const struct engram_set *queries,
                                     const struct engram_search_options *options,
                                     int64_t *neighbors, double *distances, int32_t *counts,
                                     struct engram_search_stats *stats)
{
    struct engram_request request;
    struct engram_query_rows rows;
    struct engram_partial found = {0};
    size_t cells;

    enum engram_status status = begin(prepared, queries, options, &request, &rows);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (options->k > INT32_MAX ||
        !engram_size_mul((size_t)rows.set.rows, (size_t)options->k, &cells) ||
        cells > (size_t)-1 / 8 || (neighbors == NULL && cells > 0)) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE, "k or the outputs are out of range");
    }
    status = search(prepared, &rows, &request, &found, stats);
    if (neighbors != NULL && (status == ENGRAM_OK || status == ENGRAM_ERR_RESOURCE)) {
        fill_rows(&found, rows.set.rows, &request, neighbors, distances, counts);
    }
    engram_partial_free(&found);
    return status;
}

enum engram_status engram_search_pairs(const struct engram_prepared *prepared,
                                       const struct engram_set *queries,
                                       const struct engram_search_options *options,
                                       struct engram_pairs *pairs,
                                       struct engram_search_stats *stats)
{
    struct engram_request request;
    struct engram_query_rows rows;
    struct engram_partial found = {0};

    if (pairs == NULL) {
        return ENGRAM_ERR_USAGE;
    }
    *pairs = (struct engram_pairs){0};
    enum engram_status status = begin(prepared, queries, options, &request, &rows);
    if (status == ENGRAM_OK) {
        status = search(prepared, &rows, &request, &found, stats);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    struct engram_order order = engram_metric_order(found.metric);
    size_t total = (size_t)found.indptr[found.queries];
    struct engram_pairs made = {.queries = found.queries, .indptr = found.indptr};
    made.rows = malloc((total + 1) * sizeof *made.rows);
    made.distances = malloc((total + 1) * sizeof *made.distances);
    if (made.rows == NULL || made.distances == NULL) {
        free(made.rows);
        free(made.distances);
        engram_partial_free(&found);
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "not enough memory for %zu pairs",
                           total);
    }
    fenv_t saved;
    engram_fp_enter(&saved);
    for (size_t i = 0; i < total; i++) {
        made.rows[i] = found.hits[i].tag;
        made.distances[i] = engram_key(order, found.hits[i].score);
    }
    engram_fp_leave(&saved);
    found.indptr = NULL; /* now the caller's */
    engram_partial_free(&found);
    *pairs = made;
    return ENGRAM_OK;
}

/* The whole of a forest for one set in memory. */
static enum engram_status components_of(const struct engram_prepared *prepared,
                                        const struct engram_query_rows *rows,
                                        const struct engram_request *request, int64_t *component,
                                        struct engram_search_stats *stats)
{
    struct engram_forest forest;
    enum engram_status status =
        engram_forest_create(rows->first_row, rows->set.rows, &request->log, &forest);
    if (status == ENGRAM_OK) {
        status = engram_unit_components(prepared, rows->first_row, rows, 0, rows->set.rows, request,
                                        &forest, stats);
    }
    for (int64_t r = 0; status == ENGRAM_OK && component != NULL && r < rows->set.rows; r++) {
        component[r] = engram_forest_root(&forest, r);
    }
    engram_forest_free(&forest);
    return status;
}

enum engram_status engram_search_components(const struct engram_prepared *prepared,
                                            const struct engram_set *set,
                                            const struct engram_search_options *options,
                                            int64_t *component, struct engram_search_stats *stats)
{
    struct engram_request request;
    struct engram_query_rows rows;

    enum engram_status status = begin(prepared, set, options, &request, &rows);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (!options->self || options->self_offset != 0 || rows.set.rows != prepared->rows ||
        (component == NULL && rows.set.rows > 0)) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "components are those of one set with itself (self, without an offset)");
    }
    struct engram_search_stats own = {.skipped_base = prepared->skipped};
    status = engram_queries_check(prepared, &rows, &request, &own.skipped_queries);
    if (status == ENGRAM_OK) {
        status = components_of(prepared, &rows, &request, component, &own);
    }
    if (stats != NULL) {
        *stats = own;
    }
    return status;
}

enum engram_status engram_search_dense(const struct engram_prepared *prepared,
                                       const struct engram_set *queries,
                                       const struct engram_search_options *options,
                                       double *distances, struct engram_search_stats *stats)
{
    struct engram_request request;
    struct engram_query_rows rows;
    const struct engram_values values = {.data = distances,
                                         .stride = prepared == NULL ? 0 : (size_t)prepared->rows};
    size_t cells;
    size_t bytes;

    enum engram_status status = begin(prepared, queries, options, &request, &rows);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (!engram_size_mul((size_t)rows.set.rows, (size_t)prepared->rows, &cells) ||
        !engram_size_mul(cells, sizeof *distances, &bytes) || (distances == NULL && cells > 0)) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE, "the output is out of range");
    }
    struct engram_search_stats own = {.skipped_base = prepared->skipped};
    status = engram_queries_check(prepared, &rows, &request, &own.skipped_queries);
    if (status == ENGRAM_OK) {
        status = engram_unit_dense(prepared, &rows, 0, rows.set.rows, &request, &values, &own);
    }
    if (stats != NULL) {
        *stats = own;
    }
    return status;
}

enum engram_status engram_search_pairwise(const struct engram_set *queries,
                                          const struct engram_set *base,
                                          const struct engram_search_options *options,
                                          double *distances, struct engram_search_stats *stats)
{
    const struct engram_kernels *kernels;
    struct engram_query_rows left = {.what = "queries"};
    struct engram_query_rows right = {.what = "base"};
    const struct engram_values values = {.data = distances};

    if (options == NULL || options->size != sizeof *options) {
        return ENGRAM_ERR_USAGE;
    }
    const struct engram_log *log = &options->log;
    enum engram_status status = engram_set_check(queries, left.what, log, &left.set);
    if (status == ENGRAM_OK) {
        status = engram_set_check(base, right.what, log, &right.set);
    }
    if (status == ENGRAM_OK && !engram_metric_valid(options->metric)) {
        status = engram_fail(log, ENGRAM_ERR_USAGE, "unknown metric");
    }
    if (status == ENGRAM_OK) {
        status = engram_set_check_metric(&left.set, left.what, options->metric, log);
    }
    if (status == ENGRAM_OK) {
        status = engram_set_check_metric(&right.set, right.what, options->metric, log);
    }
    if (status == ENGRAM_OK &&
        (left.set.rows != right.set.rows || (distances == NULL && left.set.rows > 0))) {
        status = engram_fail(log, ENGRAM_ERR_USAGE,
                             "row by row needs sets of equal length: %lld queries, %lld base rows",
                             (long long)left.set.rows, (long long)right.set.rows);
    }
    if (status == ENGRAM_OK) {
        status = engram_kernels_select(options->isa, log, &kernels);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    const struct engram_request request = {
        .metric = options->metric,
        .threads = options->threads,
        .cancel = options->cancel,
        .log = options->log,
    };
    struct engram_search_stats own = {0};
    status = engram_unit_pairwise(kernels, &left, &right, &request, &values, &own);
    if (stats != NULL) {
        *stats = own;
    }
    return status;
}

void engram_pairs_free(struct engram_pairs *pairs)
{
    if (pairs != NULL) {
        free(pairs->indptr);
        free(pairs->rows);
        free(pairs->distances);
        *pairs = (struct engram_pairs){0};
    }
}
