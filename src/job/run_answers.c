/* Neighbours, labels and pairs with a k: partials of units, merged; then OUTPUT. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "job/spooling.h"
#include "job/stream.h"

static enum engram_status load(struct engram_job_state *job, struct engram_journal *journal)
{
    engram_parts_load(&job->answers.parts, journal);
    return ENGRAM_OK;
}

static enum engram_status save(struct engram_job_state *job, struct engram_journal *journal)
{
    return engram_parts_save(&job->answers.parts, &job->checkpoint.unsaved, &job->done, journal);
}

static const struct engram_checkpoint_kind CHECKPOINT = {load, save};

/* What is known of a unit's queries from other base rows, to tighten the search; all zero when
 * nothing is. */
static enum engram_status known_of(struct engram_job_state *job, const struct engram_unit *unit,
                                   struct engram_partial *known)
{
    const struct engram_unit whole = {.queries = {unit->queries[0], unit->queries[1]},
                                      .base = {job->inputs.base.first, job->inputs.base.last}};
    *known = (struct engram_partial){0};
    return engram_done_pairs(&job->done, &whole) == 0
               ? ENGRAM_OK
               : engram_parts_copy(&job->answers.parts, unit->queries, known);
}

/* One unit: its partial is merged into what is known of the same queries. */
static enum engram_status run_unit(struct engram_job_state *job,
                                   const struct engram_prepared *prepared, int64_t base_first_row,
                                   const struct engram_unit *unit, struct engram_request *request)
{
    struct engram_partial found = {0};
    struct engram_partial known = {0};
    int64_t first = unit->queries[0] - job->queries.first_row;
    int64_t last = unit->queries[1] - job->queries.first_row;
    enum engram_status status = known_of(job, unit, &known);
    if (status == ENGRAM_OK) {
        request->rows[0] = unit->base[0] - base_first_row;
        request->rows[1] = unit->base[1] - base_first_row;
        status =
            engram_unit_search(prepared, base_first_row, &job->queries, first, last, request,
                               known.indptr == NULL ? NULL : &known, &found, &job->report->search);
    }
    engram_partial_free(&known);
    if (status == ENGRAM_OK) {
        status = engram_parts_add(&job->answers.parts, &found);
    }
    engram_partial_free(&found);
    return status;
}

/* Makes room for more answers, where what is there was saved. */
static enum engram_status trim(struct engram_job_state *job)
{
    struct engram_parts *parts = &job->answers.parts;
    enum engram_status status = ENGRAM_OK;
    if (engram_parts_full(parts)) {
        status = engram_checkpoint_save(job);
        engram_parts_trim(parts);
    }
    return status;
}

/* The queries in memory against the slab of the base in memory, as far as that is not done. */
static enum engram_status search_slab(struct engram_job_state *job,
                                      const struct engram_prepared *prepared, int64_t first_row,
                                      struct engram_request *request)
{
    const int64_t first = job->queries.first_row;
    const struct engram_unit slab = {.queries = {first, first + job->queries.set.rows},
                                     .base = {first_row, first_row + prepared->rows}};
    struct engram_unit unit;
    uint64_t start = engram_clock_ns();
    enum engram_status status = ENGRAM_OK;
    while (status == ENGRAM_OK && engram_units_next(job, &slab, false, &unit)) {
        if (unit.queries[1] - unit.queries[0] > job->plan.unit_queries) {
            unit.queries[1] = unit.queries[0] + job->plan.unit_queries;
        }
        status = run_unit(job, prepared, first_row, &unit, request);
        if (status == ENGRAM_OK) {
            job->searching.before += (uint64_t)(unit.queries[1] - unit.queries[0]) *
                                     (uint64_t)(unit.base[1] - unit.base[0]);
            status = engram_spooling_check_count(job);
        }
        if (status == ENGRAM_OK) {
            status = engram_units_finished(job, &unit, false);
        }
        if (status == ENGRAM_OK) {
            status = trim(job);
        }
    }
    job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

/* All slabs of the base past the queries in memory, unless an earlier run did that. */
static enum engram_status search_queries(struct engram_job_state *job, struct engram_stream *stream)
{
    struct engram_unit all = engram_units_all(job);
    const struct engram_prepared *prepared;
    struct engram_request request;
    struct engram_unit left;
    int64_t first_row;
    enum engram_status status;
    all.queries[0] = job->queries.first_row;
    all.queries[1] = all.queries[0] + job->queries.set.rows;
    if (job->done.count > 0 && !engram_done_left(&job->done, &all, &left)) {
        return ENGRAM_OK;
    }
    do {
        status = engram_stream_base(stream, &prepared, &first_row, &request);
        if (status == ENGRAM_OK && prepared != NULL) {
            status = search_slab(job, prepared, first_row, &request);
        }
    } while (status == ENGRAM_OK && prepared != NULL);
    return status;
}

static enum engram_status search_all(struct engram_job_state *job, struct engram_stream *stream)
{
    bool more = true;
    enum engram_status status = ENGRAM_OK;
    while (status == ENGRAM_OK && more) {
        status = engram_stream_queries(stream, &more);
        if (status == ENGRAM_OK && more) {
            status = search_queries(job, stream);
        }
    }
    return status == ENGRAM_OK ? engram_stream_finish(stream) : status;
}

enum engram_status engram_job_answers(struct engram_job_state *job)
{
    const int64_t queries[2] = {job->inputs.queries.first, job->inputs.queries.last};
    struct engram_stream *stream = NULL;
    enum engram_status status =
        engram_parts_create(job->inputs.metric, job->inputs.k, queries, SIZE_MAX,
                            &job->options->log, &job->answers.parts);
    if (status == ENGRAM_OK) {
        status = engram_checkpoint_open(job, &CHECKPOINT);
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
