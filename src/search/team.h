/* The team of a call that did not come through a plan. */
#ifndef ENGRAM_SEARCH_TEAM_H
#define ENGRAM_SEARCH_TEAM_H

#include "engram/status.h"

/* `threads`, or OpenMP's default when it is 0; a team that is sure to start (base/team.h). */
ENGRAM_MUST_CHECK enum engram_status engram_team_size(int threads, const struct engram_log *log,
                                                      int *team);

#endif
