#include "job/worker.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "job/ranks.h"
#include "job/stream.h"

/* Rows of a set in memory. */
struct held {
    struct engram_source *source; /* owns the rows */
    struct engram_slab slab;
    int64_t rows[2];
};

struct worker {
    struct engram_job_state *job;
    struct held base;
    struct held queries;
    struct engram_prepared *prepared; /* of the base rows */
    bool checked;                     /* the queries were */
};

static void drop(struct held *held)
{
    engram_source_close(held->source);
    *held = (struct held){0};
}

/* Tells rank 0 what the rows that were read are, before any answer that stands on them. */
static enum engram_status report_content(const struct engram_job_state *job,
                                         const struct held *held, bool queries)
{
    const int64_t count = engram_slab_grains(&held->slab.set);
    const struct engram_set_ref *set = queries ? &job->inputs.queries : &job->inputs.base;
    const int64_t first = (held->rows[0] - set->first) / ENGRAM_ROW_GRAIN;
    struct engram_grain_sum *sums = calloc((size_t)count + 1, sizeof *sums);
    struct engram_grain *grains = calloc((size_t)count + 1, sizeof *grains);
    enum engram_status status = ENGRAM_OK;
    if (sums == NULL || grains == NULL) {
        status = engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                             "not enough memory for content hashes");
    } else {
        engram_content_sum(&held->slab.set, job->plan.threads, sums);
        for (int64_t g = 0; g < count; g++) {
            grains[g] = (struct engram_grain){queries, first + g, sums[g]};
        }
        engram_ranks_report(grains, (size_t)count);
    }
    free(sums);
    free(grains);
    return status;
}

/* Rows [rows[0], rows[1]) of a set into memory. */
static enum engram_status load(struct worker *worker, bool queries, const int64_t rows[2],
                               struct held *held)
{
    struct engram_job_state *job = worker->job;
    struct engram_set_ref set = queries ? job->inputs.queries : job->inputs.base;
    uint64_t start = engram_clock_ns();
    drop(held);
    set.first = rows[0];
    set.last = rows[1];
    memcpy(held->rows, rows, sizeof held->rows);
    enum engram_status status = engram_feed_open(job, &set, INT64_MAX, &held->source);
    if (status == ENGRAM_OK) {
        status = engram_source_next(held->source, &held->slab);
    }
    if (status == ENGRAM_OK) {
        held->slab.set.dim = set.dataset->dims[1];
        status = report_content(job, held, queries);
    }
    job->report->read_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

static bool holds(const struct held *held, const int64_t rows[2])
{
    return held->source != NULL && held->rows[0] <= rows[0] && rows[1] <= held->rows[1];
}

static enum engram_status load_base(struct worker *worker, const struct engram_unit *unit)
{
    struct engram_job_state *job = worker->job;
    int64_t slab[2];
    if (holds(&worker->base, unit->base)) {
        return ENGRAM_OK;
    }
    engram_prepared_free(worker->prepared);
    worker->prepared = NULL;
    engram_units_slab(&job->inputs.base, job->plan.base_slab_least, unit->base[0], slab);
    return load(worker, false, slab, &worker->base);
}

/* Where the queries are the rows of a base that is whole, they are there already. */
static enum engram_status load_queries(struct worker *worker, const struct engram_unit *unit)
{
    struct engram_job_state *job = worker->job;
    const struct held *from = &worker->queries;
    enum engram_status status = ENGRAM_OK;
    if (engram_inputs_shared(&job->inputs) && job->plan.base_slab_rows == INT64_MAX) {
        from = &worker->base;
    } else if (!holds(&worker->queries, unit->queries)) {
        int64_t slab[2];
        engram_units_slab(&job->inputs.queries, job->plan.query_slab_rows, unit->queries[0], slab);
        worker->checked = false;
        status = load(worker, true, slab, &worker->queries);
    }
    job->queries.set = from->slab.set;
    job->queries.first_row = from->slab.first_row;
    job->queries.what = job->query_name;
    return status;
}

static enum engram_status answer(struct worker *worker, const struct engram_unit_search *search,
                                 const struct engram_unit *unit)
{
    struct engram_job_state *job = worker->job;
    struct engram_request request;
    struct engram_search_options options;
    int64_t first = worker->base.slab.first_row;
    engram_slab_question(job, first, &options, &request);
    enum engram_status status = ENGRAM_OK;
    if (worker->prepared == NULL) {
        status = engram_prepare_named(&worker->base.slab.set, job->base_name, first, &options,
                                      &worker->prepared);
    }
    if (status == ENGRAM_OK && !worker->checked) {
        int64_t skipped = 0; /* rank 0 knows */
        worker->checked = true;
        status = engram_queries_check(worker->prepared, &job->queries, &request, &skipped);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    const struct engram_search_stats *stats = &job->report->search;
    const uint64_t before[2] = {stats->pairs, stats->rescored};
    request.rows[0] = unit->base[0] - first;
    request.rows[1] = unit->base[1] - first;
    request.mirror = search->mirrored;
    status = search->answer(job, worker->prepared, first, unit, &request);
    if (status == ENGRAM_OK && search->send != NULL) {
        status = search->send(job, unit);
    }
    if (status == ENGRAM_OK) {
        const int64_t pairs[2] = {(int64_t)(stats->pairs - before[0]),
                                  (int64_t)(stats->rescored - before[1])};
        engram_ranks_finish(unit, pairs);
    }
    return status;
}

enum engram_status engram_worker_run(struct engram_job_state *job,
                                     const struct engram_unit_search *search)
{
    struct worker worker = {.job = job};
    struct engram_unit unit;
    enum engram_status status = ENGRAM_OK;
    while (status == ENGRAM_OK && engram_ranks_ask(worker.base.rows, &unit)) {
        status = load_base(&worker, &unit);
        if (status == ENGRAM_OK) {
            status = load_queries(&worker, &unit);
        }
        if (status == ENGRAM_OK) {
            status = answer(&worker, search, &unit);
        }
    }
    engram_prepared_free(worker.prepared);
    drop(&worker.base);
    drop(&worker.queries);
    return status;
}
