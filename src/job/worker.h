/* A rank other than 0: asks for units, answers them, sends what it found. */
#ifndef ENGRAM_JOB_WORKER_H
#define ENGRAM_JOB_WORKER_H

#include "job/units.h"

/* Works until rank 0 has no more. Base rows stay in memory from unit to unit, as far as they fit;
 * so do queries. Errors: as reading and searching. */
enum engram_status engram_worker_run(struct engram_job_state *job,
                                     const struct engram_unit_search *search);

#endif
