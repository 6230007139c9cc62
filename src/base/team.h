/* How many OpenMP threads may be asked for. */
#ifndef ENGRAM_BASE_TEAM_H
#define ENGRAM_BASE_TEAM_H

#include "engram/status.h"

/* More than any machine has; keeps a typing mistake from starting a million threads. */
#define ENGRAM_THREADS_MAX 4096

/* Makes sure that a team of `threads` can be started: libgomp would end the process, or crash, when
 * it cannot. To be called before the first parallel region of that size; tries with plain threads,
 * once for each size that is larger than all before. USAGE unless 1 <= threads <=
 * ENGRAM_THREADS_MAX; RESOURCE when they cannot be started. */
ENGRAM_MUST_CHECK enum engram_status engram_team_prove(int threads, const struct engram_log *log);

#endif
