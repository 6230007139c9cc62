/* Pairs within a threshold, of which nobody knows how many there will be: units whose pairs leave
 * in runs, through the spool into OUTPUT. */
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

static const struct engram_checkpoint_kind CHECKPOINT = {load, save};

static enum engram_status answer(struct engram_job_state *job,
                                 const struct engram_prepared *prepared, int64_t base_first_row,
                                 const struct engram_unit *unit, struct engram_request *request)
{
    struct engram_partial none; /* all pairs leave in runs */
    int64_t first = unit->queries[0] - job->queries.first_row;
    int64_t last = unit->queries[1] - job->queries.first_row;
    engram_spooling_request(job, request);
    engram_spool_unit(job->answers.spool, unit);
    enum engram_status status =
        engram_unit_search(prepared, base_first_row, &job->queries, first, last, request, NULL,
                           &none, &job->report->search);
    engram_partial_free(&none);
    if (status == ENGRAM_OK) {
        engram_spool_unit(job->answers.spool, NULL);
    }
    return status;
}

enum engram_status engram_job_pairs(struct engram_job_state *job)
{
    const struct engram_unit_search search = {is_mirrored(job), answer};
    enum engram_status status = engram_spooling_start(job);
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
