#define _GNU_SOURCE
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
    struct engram_grain *grains;      /* content of what was read */
    size_t grain_count;
};

static void drop(struct held *held)
{
    engram_source_close(held->source);
    *held = (struct held){0};
}

/* What the rows that were read hash to. */
static enum engram_status note_content(struct worker *worker, const struct held *held,
                                       uint64_t side)
{
    const struct engram_job_state *job = worker->job;
    const struct engram_log *log = &job->options->log;
    const struct engram_set_ref *set = side == 0 ? &job->inputs.base : &job->inputs.queries;
    struct engram_content_hashes content;
    enum engram_status status = engram_content_create(held->rows[0], held->rows[1], log, &content);
    if (status != ENGRAM_OK) {
        return status;
    }
    (void)engram_content_add(&content, &held->slab.set, held->slab.first_row, job->plan.threads);
    struct engram_grain *all =
        reallocarray(worker->grains, worker->grain_count + (size_t)content.count + 1, sizeof *all);
    if (all == NULL) {
        status = engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for content hashes");
    } else {
        int64_t first = (held->rows[0] - set->first) / ENGRAM_ROW_GRAIN;
        worker->grains = all;
        for (int64_t g = 0; g < content.count; g++) {
            all[worker->grain_count++] =
                (struct engram_grain){side, (uint64_t)(first + g), content.grains[g]};
        }
    }
    engram_content_free(&content);
    return status;
}

/* Rows [rows[0], rows[1]) of a set into memory. */
static enum engram_status load(struct worker *worker, uint64_t side, const int64_t rows[2],
                               struct held *held)
{
    struct engram_job_state *job = worker->job;
    struct engram_set_ref set = side == 0 ? job->inputs.base : job->inputs.queries;
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
        status = note_content(worker, held, side);
    }
    job->report->read_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

/* The slab of `all` rows, on a grid of `rows`, that holds row `row`. */
static void slab_of(const struct engram_set_ref *set, int64_t rows, int64_t row, int64_t slab[2])
{
    slab[0] = set->first;
    slab[1] = set->last;
    if (rows < set->last - set->first) {
        slab[0] += (row - set->first) / rows * rows;
        slab[1] = slab[0] + rows < set->last ? slab[0] + rows : set->last;
    }
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
    slab_of(&job->inputs.base, job->plan.base_slab_least, unit->base[0], slab);
    return load(worker, 0, slab, &worker->base);
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
        slab_of(&job->inputs.queries, job->plan.query_slab_rows, unit->queries[0], slab);
        worker->checked = false;
        status = load(worker, 1, slab, &worker->queries);
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
        int64_t skipped;
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
    if (status == ENGRAM_OK) {
        engram_ranks_report(worker.grains, worker.grain_count);
    }
    engram_prepared_free(worker.prepared);
    drop(&worker.base);
    drop(&worker.queries);
    free(worker.grains);
    return status;
}
