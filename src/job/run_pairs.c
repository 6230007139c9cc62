/* Pairs within a threshold, of which nobody knows how many there will be: units whose pairs leave
 * in runs, through the spool into OUTPUT. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "job/ranks.h"
#include "job/spooling.h"
#include "job/units.h"

/* Each pair of rows of a set with itself is looked at once, for both, unless only some rows may be
 * answers. */
static bool is_mirrored(const struct engram_job_state *job)
{
    const struct engram_inputs *inputs = &job->inputs;
    return engram_inputs_shared(inputs) && inputs->self && inputs->row_data.allowed == NULL &&
           inputs->row_data.base_groups == inputs->row_data.query_groups &&
           inputs->base.last - inputs->base.first <= INT32_MAX;
}

static enum engram_status load(struct engram_job_state *job, struct engram_journal *journal)
{
    enum engram_status status = is_mirrored(job) ? engram_units_mirror(job) : ENGRAM_OK;
    engram_spool_attach(job->answers.spool, journal);
    return status == ENGRAM_OK ? engram_spool_load(job->answers.spool, &job->done) : status;
}

static enum engram_status save(struct engram_job_state *job, struct engram_journal *journal)
{
    (void)journal;
    return engram_spool_save(job->answers.spool);
}

static const struct engram_checkpoint_kind CHECKPOINT = {.load = load, .save = save};

static enum engram_status answer(struct engram_job_state *job,
                                 const struct engram_prepared *prepared, int64_t base_first_row,
                                 const struct engram_unit *unit, struct engram_request *request)
{
    struct engram_partial none; /* all pairs leave in runs */
    int64_t first = unit->queries[0] - job->queries.first_row;
    int64_t last = unit->queries[1] - job->queries.first_row;
    engram_spooling_request(job, request);
    if (job->answers.spool != NULL) {
        engram_spool_unit(job->answers.spool, unit);
    }
    enum engram_status status =
        engram_unit_search(prepared, base_first_row, &job->queries, first, last, request, NULL,
                           &none, &job->report->search);
    engram_partial_free(&none);
    if (status == ENGRAM_OK && job->answers.spool != NULL) {
        engram_spool_unit(job->answers.spool, NULL);
    }
    return status;
}

/* ---- between ranks: a run, as it is in memory, behind three numbers */

enum { RUN_HEAD = 3 };

static enum engram_status send_run(void *context, struct engram_run *run)
{
    struct engram_job_state *job = context;
    const int64_t head[RUN_HEAD] = {run->first_query, run->first_row, (int64_t)run->count};
    size_t bytes = run->count * sizeof *run->hits;
    unsigned char *piece = malloc(sizeof head + bytes);
    if (piece == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to send the pairs");
    }
    memcpy(piece, head, sizeof head);
    memcpy(piece + sizeof head, run->hits, bytes);
    engram_ranks_send(piece, sizeof head + bytes);
    free(piece);
    return ENGRAM_OK;
}

static enum engram_status receive(struct engram_job_state *job, const struct engram_unit *unit,
                                  const void *piece, size_t bytes)
{
    int64_t head[RUN_HEAD];
    struct engram_run run = {0};
    memcpy(head, piece, sizeof head);
    run.first_query = head[0];
    run.first_row = head[1];
    run.count = (size_t)head[2];
    run.bytes = bytes - sizeof head;
    if (run.count == 0) {
        return ENGRAM_OK;
    }
    run.hits = engram_pages_alloc(run.bytes);
    if (run.hits == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the pairs of another rank");
    }
    memcpy(run.hits, (const unsigned char *)piece + sizeof head, run.bytes);
    engram_spool_unit(job->answers.spool, unit);
    enum engram_status status = engram_spool_take(job->answers.spool, &run);
    engram_spool_unit(job->answers.spool, NULL);
    engram_pages_free(run.hits, run.bytes);
    return status == ENGRAM_OK ? engram_spooling_check_count(job) : status;
}

enum engram_status engram_job_pairs(struct engram_job_state *job)
{
    const struct engram_unit_search search = {
        .mirrored = is_mirrored(job), .answer = answer, .receive = receive};
    enum engram_status status = ENGRAM_OK;
    if (engram_ranks_self() > 0) {
        job->spill = (struct engram_spill){send_run, job, job->plan.pair_bytes / 2};
        return engram_units_search(job, &search);
    }
    status = engram_spooling_start(job);
    if (status == ENGRAM_OK) {
        status = engram_checkpoint_open(job, &CHECKPOINT);
    }
    if (status == ENGRAM_OK) {
        engram_spool_attach(job->answers.spool, job->checkpoint.journal);
        status = engram_units_search(job, &search);
    }
    if (status == ENGRAM_OK) {
        status = engram_spooling_check_count(job); /* an earlier run may have had another limit */
    }
    return status == ENGRAM_OK ? engram_job_publish(job) : status;
}
