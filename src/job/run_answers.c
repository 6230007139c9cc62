/* Neighbours, pairs and labels: partials of units, merged; then OUTPUT. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "job/spooling.h"
#include "job/stream.h"

/* A threshold self-join whose rows are all in memory is one unit, so that each pair of rows is
 * looked at once for both. */
static int64_t unit_queries(const struct engram_job_state *job)
{
    bool join = engram_plan_spools(&job->inputs) && engram_inputs_shared(&job->inputs) &&
                job->plan.base_slab_rows == INT64_MAX;
    return join ? INT64_MAX : job->plan.unit_queries;
}

static enum engram_status create_answers(struct engram_job_state *job)
{
    int64_t queries = job->inputs.queries.last - job->inputs.queries.first;
    int64_t unit = unit_queries(job) < queries ? unit_queries(job) : queries;
    job->answers.count = unit == 0 ? 0 : (queries - 1) / unit + 1;
    job->answers.parts = calloc((size_t)job->answers.count + 1, sizeof *job->answers.parts);
    if (job->answers.parts == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the answers");
    }
    for (int64_t i = 0; i < job->answers.count; i++) {
        int64_t first = i * unit;
        int64_t count = queries - first < unit ? queries - first : unit;
        enum engram_status status =
            engram_partial_create(job->inputs.metric, job->inputs.queries.first + first, count,
                                  job->inputs.k, 0, &job->options->log, &job->answers.parts[i]);
        if (status != ENGRAM_OK) {
            return status;
        }
    }
    return ENGRAM_OK;
}

/* One unit: its partial is merged into what is known of the same queries. */
static enum engram_status run_unit(struct engram_job_state *job,
                                   const struct engram_prepared *prepared, int64_t base_first_row,
                                   struct engram_partial *known,
                                   const struct engram_request *request)
{
    struct engram_partial found;
    int64_t first = known->first_query - job->queries.first_row;
    enum engram_status status =
        engram_unit_search(prepared, base_first_row, &job->queries, first, first + known->queries,
                           request, known, &found, &job->report->search);
    if (status != ENGRAM_OK) {
        return status;
    }
    job->searching.before += (uint64_t)known->queries * (uint64_t)prepared->rows;
    if (known->indptr[known->queries] == 0) {
        engram_partial_free(known);
        *known = found;
        return ENGRAM_OK;
    }
    status = engram_partial_merge(known, &found, &job->options->log);
    engram_partial_free(&found);
    return status;
}

/* The queries in memory against the slab of the base in memory; their parts start at `part`. */
static enum engram_status search_slab(struct engram_job_state *job,
                                      const struct engram_prepared *prepared, int64_t first_row,
                                      struct engram_request *request, int64_t part)
{
    int64_t last = job->queries.first_row + job->queries.set.rows;
    uint64_t start = engram_clock_ns();
    enum engram_status status = ENGRAM_OK;
    while (status == ENGRAM_OK && part < job->answers.count &&
           job->answers.parts[part].first_query < last) {
        engram_spooling_request(job, request);
        status = run_unit(job, prepared, first_row, &job->answers.parts[part++], request);
        if (status == ENGRAM_OK) {
            status = engram_spooling_check_count(job);
        }
    }
    job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

/* All slabs of the base past the queries in memory. */
static enum engram_status search_queries(struct engram_job_state *job, struct engram_stream *stream,
                                         int64_t part)
{
    const struct engram_prepared *prepared;
    struct engram_request request;
    int64_t first_row;
    enum engram_status status;
    do {
        status = engram_stream_base(stream, &prepared, &first_row, &request);
        if (status == ENGRAM_OK && prepared != NULL) {
            status = search_slab(job, prepared, first_row, &request, part);
        }
    } while (status == ENGRAM_OK && prepared != NULL);
    return status;
}

static enum engram_status search_all(struct engram_job_state *job, struct engram_stream *stream)
{
    int64_t part = 0;
    bool more = true;
    enum engram_status status = ENGRAM_OK;
    while (status == ENGRAM_OK && more) {
        status = engram_stream_queries(stream, &more);
        if (status == ENGRAM_OK && more) {
            status = search_queries(job, stream, part);
        }
        int64_t last = job->queries.first_row + job->queries.set.rows;
        while (part < job->answers.count && job->answers.parts[part].first_query < last) {
            part++;
        }
    }
    return status == ENGRAM_OK ? engram_stream_finish(stream) : status;
}

enum engram_status engram_job_answers(struct engram_job_state *job)
{
    struct engram_stream *stream = NULL;
    enum engram_status status = create_answers(job);
    if (status == ENGRAM_OK) {
        status = engram_spooling_start(job);
    }
    if (status == ENGRAM_OK) {
        status = engram_stream_open(job, &stream);
    }
    if (status == ENGRAM_OK) {
        status = search_all(job, stream);
    }
    engram_stream_close(stream);
    return status == ENGRAM_OK ? engram_job_publish(job) : status;
}
