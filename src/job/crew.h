/* Rank 0 and its crew: which units were given to whom, and the answers that came back and wait for
 * the thread that runs the job. */
#ifndef ENGRAM_JOB_CREW_H
#define ENGRAM_JOB_CREW_H

#include "job/ranks.h"
#include "job/units.h"

struct engram_crew;

/* Where there are other ranks: from now on they are heard, but get no work yet. Sets job->crew.
 * RESOURCE. */
enum engram_status engram_crew_start(struct engram_job_state *job);

/* They get units of this search, all but those that are done. */
enum engram_status engram_crew_open(struct engram_job_state *job,
                                    const struct engram_unit_search *search);

/* Whether it was; NULL is allowed. Jobs that rank 0 does alone never open it. */
bool engram_crew_is_open(const struct engram_crew *crew);

/* engram_units_next for rank 0 itself. */
bool engram_crew_take(struct engram_crew *crew, const struct engram_unit *within, bool grains,
                      struct engram_unit *unit);

/* Whether some of `within` was given to nobody. */
bool engram_crew_left(struct engram_crew *crew, const struct engram_unit *within);

/* Takes over what has come back: notes the content of rows that others read, calls
 * engram_units_note. Errors: as those; CANT_CREATE: two ranks read different rows; what ended
 * another rank. */
enum engram_status engram_crew_gather(struct engram_job_state *job);

/* Gathers until all units that were given are answered; CANCELLED. */
enum engram_status engram_crew_wait(struct engram_job_state *job);

/* No more units; waits for the others to leave. Frees job->crew; NULL is allowed. Errors: as
 * engram_crew_gather. */
enum engram_status engram_crew_close(struct engram_job_state *job, enum engram_status status);

#endif
