#include "search/team.h"

#include <omp.h>

#include "base/team.h"

enum engram_status engram_team_size(int threads, const struct engram_log *log, int *team)
{
    *team = threads != 0 ? threads : omp_get_max_threads();
    return engram_team_prove(*team, log);
}
