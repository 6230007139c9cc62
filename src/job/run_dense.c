/* A value for every pair: rectangles of queries x base rows, each written to its place in the
 * result as soon as it is there. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/size.h"
#include "job/ranks.h"
#include "job/stream.h"
#include "job/worker.h"

struct dense {
    struct engram_job_state *job;
    struct engram_stream *stream;
    struct engram_values values; /* room for a rectangle */
    size_t cell;
    size_t room; /* bytes */
};

/* Room for as many rows of a slab of `columns` base rows as the plan has memory for, one at least;
 * `*rows` says how many. */
static enum engram_status make_room(struct dense *dense, int64_t columns, int64_t *rows)
{
    const struct engram_job_state *job = dense->job;
    size_t bytes;
    *rows = engram_matrix_block_rows(job->queries.set.rows, columns, dense->cell == sizeof(double),
                                     job->plan.block_bytes);
    bool fits = engram_size_mul((size_t)*rows, (size_t)columns, &bytes) &&
                engram_size_mul(bytes, dense->cell, &bytes);
    if (fits && bytes <= dense->room) {
        return ENGRAM_OK;
    }
    free(dense->values.data);
    dense->room = 0;
    dense->values.data = fits ? malloc(bytes) : NULL;
    if (dense->values.data == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the answers");
    }
    dense->room = bytes;
    return ENGRAM_OK;
}

/* A unit, whose rows are in the prepared slab that begins at `first_row`. */
static enum engram_status run_unit(struct dense *dense, const struct engram_prepared *prepared,
                                   int64_t first_row, struct engram_request *request,
                                   const struct engram_unit *unit)
{
    struct engram_job_state *job = dense->job;
    const int64_t first = unit->queries[0] - job->queries.first_row;
    const int64_t count = unit->queries[1] - unit->queries[0];
    const size_t skipped = (size_t)(unit->base[0] - first_row) * dense->cell;
    const size_t columns = (size_t)(unit->base[1] - unit->base[0]);
    uint64_t start = engram_clock_ns();
    request->rows[0] = unit->base[0] - first_row;
    request->rows[1] = unit->base[1] - first_row;
    enum engram_status status = engram_unit_dense(prepared, &job->queries, first, first + count,
                                                  request, &dense->values, &job->report->search);
    uint64_t found = engram_clock_ns();
    job->report->search_seconds += (double)(found - start) * 1e-9;
    if (status != ENGRAM_OK) {
        return status;
    }
    job->searching.before += (uint64_t)count * columns;
    status = engram_cells_write(
        &job->cells, (uint64_t)(unit->queries[0] - job->inputs.queries.first), (uint64_t)count,
        (uint64_t)(unit->base[0] - job->inputs.base.first) * dense->cell, columns * dense->cell,
        (const unsigned char *)dense->values.data + skipped, dense->values.stride * dense->cell);
    job->report->write_seconds += (double)(engram_clock_ns() - found) * 1e-9;
    return status == ENGRAM_OK ? engram_units_finished(job, unit, false) : status;
}

/* What is not done of the queries in memory x a slab of the base. */
static enum engram_status search_slab(struct dense *dense, const struct engram_prepared *prepared,
                                      int64_t first_row, struct engram_request *request)
{
    struct engram_job_state *job = dense->job;
    const int64_t end = job->queries.first_row + job->queries.set.rows;
    int64_t rows = 0;
    if (job->queries.set.rows == 0 || prepared->rows == 0) {
        return ENGRAM_OK;
    }
    enum engram_status status = make_room(dense, prepared->rows, &rows);
    dense->values.stride = (size_t)prepared->rows;
    for (int64_t first = job->queries.first_row; status == ENGRAM_OK && first < end;
         first += rows) {
        const struct engram_unit within = {
            .queries = {first, first + rows < end ? first + rows : end},
            .base = {first_row, first_row + prepared->rows}};
        struct engram_unit unit;
        while (status == ENGRAM_OK && engram_units_next(job, &within, false, &unit)) {
            status = run_unit(dense, prepared, first_row, request, &unit);
        }
    }
    return status;
}

/* The queries in memory against all slabs of the base. */
static enum engram_status search_queries(struct dense *dense)
{
    const struct engram_prepared *prepared = NULL;
    struct engram_request request;
    int64_t first_row;
    enum engram_status status = ENGRAM_OK;
    do {
        status = engram_stream_base(dense->stream, &prepared, &first_row, &request);
        if (status == ENGRAM_OK && prepared != NULL) {
            status = search_slab(dense, prepared, first_row, &request);
        }
    } while (status == ENGRAM_OK && prepared != NULL);
    return status;
}

static enum engram_status search(struct dense *dense)
{
    bool more = true;
    enum engram_status status = engram_stream_open(dense->job, &dense->stream);
    while (status == ENGRAM_OK && more) {
        status = engram_stream_queries(dense->stream, &more);
        if (status == ENGRAM_OK && more) {
            status = search_queries(dense);
        }
    }
    engram_stream_close(dense->stream);
    return status;
}

/* ---- each slab of the base past all slabs of queries, where that reads less */

/* The slab's rows, prepared for every query. */
static enum engram_status prepare(struct dense *dense, const struct engram_slab *slab,
                                  struct engram_request *request, struct engram_prepared **prepared)
{
    struct engram_job_state *job = dense->job;
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_set set = slab->set;
    uint64_t start = engram_clock_ns();
    *request = engram_job_request(job);
    set.dim = job->inputs.base.dataset->dims[1];
    options.metric = job->inputs.metric;
    options.expected_rows = (int64_t)job->plan.base_rows;
    options.expected_queries = (int64_t)job->plan.query_rows;
    options.filter = ENGRAM_FILTER_CANONICAL;
    options.isa = job->plan.isa;
    options.threads = job->plan.threads;
    options.cancel = job->options->cancel;
    options.log = job->options->log;
    enum engram_status status =
        engram_prepare_named(&set, job->base_name, slab->first_row, &options, prepared);
    job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

/* All slabs of queries past one slab of the base; `first`: they have not been seen yet. */
static enum engram_status search_base(struct dense *dense, struct engram_source *queries,
                                      const struct engram_slab *base, bool first)
{
    struct engram_job_state *job = dense->job;
    struct engram_prepared *prepared = NULL;
    struct engram_request request;
    enum engram_status status = prepare(dense, base, &request, &prepared);
    while (status == ENGRAM_OK) {
        struct engram_slab slab;
        status = engram_feed_next(job, queries, engram_feed_content(job, true), &slab);
        if (status != ENGRAM_OK || slab.set.rows == 0) {
            break;
        }
        job->queries = (struct engram_query_rows){
            .set = slab.set, .first_row = slab.first_row, .what = job->query_name};
        job->queries.set.dim = job->inputs.queries.dataset->dims[1];
        if (first) {
            int64_t skipped = 0; /* known from reading */
            status = engram_queries_check(prepared, &job->queries, &request, &skipped);
        }
        if (status == ENGRAM_OK) {
            status = search_slab(dense, prepared, base->first_row, &request);
        }
    }
    engram_prepared_free(prepared);
    return status;
}

/* Whether something is left to do of all queries and the base rows from `row` on. */
static bool base_left(struct engram_job_state *job, int64_t row, int64_t rows)
{
    struct engram_unit all = engram_units_all(job);
    all.base[0] = row;
    all.base[1] = rows < all.base[1] - row ? row + rows : all.base[1];
    return engram_units_left(job, &all);
}

static enum engram_status search_by_base(struct dense *dense)
{
    struct engram_job_state *job = dense->job;
    struct engram_source *base = NULL;
    struct engram_source *queries = NULL;
    const int64_t rows = job->plan.base_slab_rows;
    bool first = true;
    enum engram_status status = engram_feed_open(job, &job->inputs.base, rows, &base);
    if (status == ENGRAM_OK) {
        status = engram_feed_open(job, &job->inputs.queries, job->plan.query_slab_rows, &queries);
    }
    for (int64_t row = job->inputs.base.first; status == ENGRAM_OK && row < job->inputs.base.last;
         row += rows) {
        struct engram_slab slab;
        if (!base_left(job, row, rows)) {
            continue;
        }
        engram_source_seek(base, row);
        status = engram_feed_next(job, base, &job->base_content, &slab);
        if (status == ENGRAM_OK) {
            status = search_base(dense, queries, &slab, first);
            engram_source_rewind(queries);
            first = false;
        }
    }
    engram_source_close(base);
    engram_source_close(queries);
    return status;
}

static enum engram_status search_share(void *context)
{
    struct dense *dense = context;
    return dense->job->plan.base_outer ? search_by_base(dense) : search(dense);
}

/* ---- between ranks: the values of a unit, row after row */

static size_t cell_bytes(const struct engram_job_state *job)
{
    return job->inputs.float64 ? sizeof(double) : sizeof(float);
}

static enum engram_status answer(struct engram_job_state *job,
                                 const struct engram_prepared *prepared, int64_t base_first_row,
                                 const struct engram_unit *unit, struct engram_request *request)
{
    const int64_t first = unit->queries[0] - job->queries.first_row;
    const int64_t last = unit->queries[1] - job->queries.first_row;
    const size_t cell = cell_bytes(job);
    struct engram_values values = {.float32 = !job->inputs.float64,
                                   .similarity = job->inputs.similarity,
                                   .stride = (size_t)(unit->base[1] - unit->base[0])};
    /* Values stand at query x stride + row of the slab: what is sent begins at the first row. */
    const size_t skipped = (size_t)(unit->base[0] - base_first_row) * cell;
    size_t bytes;
    bool fits = engram_size_mul((size_t)(last - first), values.stride, &bytes) &&
                engram_size_mul(bytes, cell, &bytes) && bytes <= SIZE_MAX - skipped;
    values.data = fits ? malloc(bytes + skipped) : NULL;
    if (values.data == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the answers");
    }
    enum engram_status status = engram_unit_dense(prepared, &job->queries, first, last, request,
                                                  &values, &job->report->search);
    if (status == ENGRAM_OK) {
        engram_ranks_send((const unsigned char *)values.data + skipped, bytes);
    }
    free(values.data);
    return status;
}

static enum engram_status receive(struct engram_job_state *job, const struct engram_unit *unit,
                                  const void *piece, size_t bytes)
{
    const uint64_t count = (uint64_t)(unit->queries[1] - unit->queries[0]);
    const size_t row = (size_t)(unit->base[1] - unit->base[0]) * cell_bytes(job);
    if (bytes != count * row) {
        return engram_fail(&job->options->log, ENGRAM_ERR_INTERNAL,
                           "another rank sent values of another unit");
    }
    return engram_cells_write(
        &job->cells, (uint64_t)(unit->queries[0] - job->inputs.queries.first), count,
        (uint64_t)(unit->base[0] - job->inputs.base.first) * cell_bytes(job), row, piece, row);
}

enum engram_status engram_job_dense(struct engram_job_state *job)
{
    const struct engram_unit_search shared = {
        .most_pairs = (int64_t)(job->plan.block_bytes / cell_bytes(job)),
        .answer = answer,
        .receive = receive};
    struct dense dense = {
        .job = job,
        .values = {.float32 = !job->inputs.float64, .similarity = job->inputs.similarity},
        .cell = cell_bytes(job)};
    if (engram_ranks_self() > 0) {
        return engram_worker_run(job, &shared);
    }
    enum engram_status status = engram_dense_open(job);
    if (status == ENGRAM_OK) {
        status = engram_units_share(job, &shared, search_share, &dense);
    }
    free(dense.values.data);
    return status == ENGRAM_OK ? engram_dense_finish(job) : status;
}
