/* Neighbours, labels and pairs with a k: partials of units, merged; then OUTPUT. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "job/ranks.h"
#include "job/spooling.h"
#include "job/units.h"

static enum engram_status load(struct engram_job_state *job, struct engram_journal *journal)
{
    engram_parts_load(&job->answers.parts, journal);
    return ENGRAM_OK;
}

static enum engram_status save(struct engram_job_state *job, struct engram_journal *journal)
{
    return engram_parts_save(&job->answers.parts, &job->checkpoint.unsaved, &job->done, journal);
}

static const struct engram_checkpoint_kind CHECKPOINT = {.load = load, .save = save};

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

/* One unit: its partial is merged into what is known of the same queries. */
static enum engram_status answer(struct engram_job_state *job,
                                 const struct engram_prepared *prepared, int64_t base_first_row,
                                 const struct engram_unit *unit, struct engram_request *request)
{
    struct engram_partial found = {0};
    struct engram_partial known = {0};
    int64_t first = unit->queries[0] - job->queries.first_row;
    int64_t last = unit->queries[1] - job->queries.first_row;
    enum engram_status status = trim(job);
    if (status == ENGRAM_OK) {
        status = known_of(job, unit, &known);
    }
    if (status == ENGRAM_OK) {
        status =
            engram_unit_search(prepared, base_first_row, &job->queries, first, last, request,
                               known.indptr == NULL ? NULL : &known, &found, &job->report->search);
    }
    engram_partial_free(&known);
    if (status == ENGRAM_OK) {
        status = engram_parts_add(&job->answers.parts, &found);
    }
    engram_partial_free(&found);
    return status == ENGRAM_OK ? engram_spooling_check_count(job) : status;
}

/* ---- between ranks: a serialised partial */

static enum engram_status send(struct engram_job_state *job, const struct engram_unit *unit)
{
    struct engram_partial found;
    enum engram_status status = engram_parts_copy(&job->answers.parts, unit->queries, &found);
    if (status != ENGRAM_OK) {
        return status;
    }
    size_t size = engram_partial_serialized_size(&found);
    unsigned char *bytes = malloc(size);
    if (bytes == NULL) {
        status = engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                             "not enough memory to send the answers");
    } else {
        engram_partial_serialize(&found, bytes);
        engram_ranks_send(bytes, size);
        engram_parts_clear(&job->answers.parts);
    }
    free(bytes);
    engram_partial_free(&found);
    return status;
}

static enum engram_status receive(struct engram_job_state *job, const struct engram_unit *unit,
                                  const void *piece, size_t bytes)
{
    struct engram_partial found;
    (void)unit;
    enum engram_status status = trim(job);
    if (status == ENGRAM_OK) {
        status = engram_partial_deserialize(piece, bytes, &job->options->log, &found);
    }
    if (status == ENGRAM_OK) {
        status = engram_parts_add(&job->answers.parts, &found);
        engram_partial_free(&found);
    }
    return status == ENGRAM_OK ? engram_spooling_check_count(job) : status;
}

enum engram_status engram_job_answers(struct engram_job_state *job)
{
    static const struct engram_unit_search search = {
        .answer = answer, .send = send, .receive = receive};
    const int64_t queries[2] = {job->inputs.queries.first, job->inputs.queries.last};
    enum engram_status status =
        engram_parts_create(job->inputs.metric, job->inputs.k, queries, job->plan.part_room,
                            &job->options->log, &job->answers.parts);
    if (status == ENGRAM_OK) {
        status = engram_checkpoint_open(job, &CHECKPOINT);
    }
    if (status == ENGRAM_OK) {
        status = engram_units_search(job, &search);
    }
    return status == ENGRAM_OK ? engram_job_publish(job) : status;
}
