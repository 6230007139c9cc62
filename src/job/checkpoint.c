#include "job/checkpoint.h"

#include "job/state.h"

/* Work that is not kept yet: all units are one. */
enum engram_status engram_checkpoint_open(struct engram_job_state *job,
                                          const struct engram_checkpoint_kind *kind)
{
    job->checkpoint.kind = kind;
    return ENGRAM_OK;
}

bool engram_units_next(struct engram_job_state *job, const struct engram_unit *within, bool grains,
                       struct engram_unit *unit)
{
    (void)grains;
    return engram_done_left(&job->done, within, unit);
}

enum engram_status engram_units_finished(struct engram_job_state *job,
                                         const struct engram_unit *unit, bool mirrored)
{
    const struct engram_unit mirror = {.queries = {unit->base[0], unit->base[1]},
                                       .base = {unit->queries[0], unit->queries[1]}};
    enum engram_status status = engram_done_add(&job->done, unit, &job->options->log);
    return status != ENGRAM_OK || !mirrored
               ? status
               : engram_done_add(&job->done, &mirror, &job->options->log);
}

enum engram_status engram_checkpoint_save(struct engram_job_state *job)
{
    (void)job;
    return ENGRAM_OK;
}

void engram_checkpoint_close(struct engram_job_state *job, enum engram_status status)
{
    (void)status;
    engram_done_free(&job->done);
}
