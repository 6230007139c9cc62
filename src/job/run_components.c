/* Duplicate groups: search and publication. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "job/stream.h"
#include "search/unit.h"

/* Numbers for the report; `sizes` is zeroed and has room for a number for every row. */
static void count_groups(const int64_t *component, int64_t rows, int32_t *sizes,
                         struct engram_job_report *report)
{
    for (int64_t i = 0; i < rows; i++) {
        int32_t size = ++sizes[component[i]];
        report->kept_rows += size == 1;
        report->groups += size == 2;
        report->largest_group = size > report->largest_group ? size : report->largest_group;
    }
}

/* Trees to rows of the dataset. */
static enum engram_status finish(struct engram_job_state *job, const struct engram_forest *forest)
{
    int64_t rows = forest->rows;
    int64_t *component = job->answers.component;
    int32_t *sizes = calloc((size_t)rows + 1, sizeof *sizes);
    if (sizes == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to count the groups");
    }
    for (int64_t i = 0; i < rows; i++) {
        component[i] = engram_forest_root(forest, i);
    }
    count_groups(component, rows, sizes, job->report);
    free(sizes);
    for (int64_t i = 0; i < rows; i++) {
        component[i] += forest->first_row;
    }
    job->report->answers = (uint64_t)rows;
    return ENGRAM_OK;
}

/* What --subset leaves out takes no part, on neither side: queries are rows of the base, from a
 * whole grain of it on. */
static const uint8_t *allowed_queries(const struct engram_job_state *job)
{
    const uint8_t *allowed = job->inputs.row_data.allowed;
    int64_t first = job->queries.first_row - job->inputs.base.first;
    return allowed == NULL ? NULL : allowed + (size_t)first / 8;
}

/* The queries in memory against all slabs of the base that do not lie before them: the pairs with
 * those have been looked at from the other side. */
static enum engram_status search_queries(struct engram_job_state *job, struct engram_stream *stream,
                                         struct engram_forest *forest)
{
    const struct engram_prepared *prepared;
    struct engram_request request;
    int64_t first_row;
    enum engram_status status = engram_stream_base(stream, &prepared, &first_row, &request);
    while (status == ENGRAM_OK && prepared != NULL) {
        uint64_t start = engram_clock_ns();
        if (first_row + prepared->rows > job->queries.first_row) {
            request.allowed_queries = allowed_queries(job);
            status =
                engram_unit_components(prepared, first_row, &job->queries, 0, job->queries.set.rows,
                                       &request, forest, &job->report->search);
        }
        job->searching.before += (uint64_t)job->queries.set.rows * (uint64_t)prepared->rows;
        job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
        if (status == ENGRAM_OK) {
            status = engram_stream_base(stream, &prepared, &first_row, &request);
        }
    }
    return status;
}

static enum engram_status search_all(struct engram_job_state *job, struct engram_stream *stream,
                                     struct engram_forest *forest)
{
    bool more = true;
    enum engram_status status = ENGRAM_OK;
    while (status == ENGRAM_OK && more) {
        status = engram_stream_queries(stream, &more);
        if (status == ENGRAM_OK && more) {
            status = search_queries(job, stream, forest);
        }
    }
    return status == ENGRAM_OK ? engram_stream_finish(stream) : status;
}

enum engram_status engram_job_components(struct engram_job_state *job)
{
    int64_t rows = job->inputs.base.last - job->inputs.base.first;
    struct engram_stream *stream = NULL;
    struct engram_forest forest = {0};

    job->answers.component = malloc(((size_t)rows + 1) * sizeof *job->answers.component);
    if (job->answers.component == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the groups");
    }
    enum engram_status status =
        engram_forest_create(job->inputs.base.first, rows, &job->options->log, &forest);
    if (status == ENGRAM_OK) {
        status = engram_stream_open(job, &stream);
    }
    if (status == ENGRAM_OK) {
        status = search_all(job, stream, &forest);
    }
    engram_stream_close(stream);
    if (status == ENGRAM_OK) {
        status = finish(job, &forest);
    }
    engram_forest_free(&forest);
    return status == ENGRAM_OK ? engram_job_publish(job) : status;
}
