/* How many OpenMP threads a call uses. */
#ifndef ENGRAM_SEARCH_TEAM_H
#define ENGRAM_SEARCH_TEAM_H

#include "engram/status.h"

/* `threads`, or OpenMP's default when it is 0. The team is tried first with plain threads: libgomp
 * would end the process when it cannot start one. RESOURCE when they cannot be started. */
ENGRAM_MUST_CHECK enum engram_status engram_team_size(int threads, const struct engram_log *log,
                                                      int *team);

#endif
