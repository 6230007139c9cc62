/* What inspect tries on a sample of the rows: the filter, and the time. */
#ifndef ENGRAM_CLI_INSPECT_SEARCH_H
#define ENGRAM_CLI_INSPECT_SEARCH_H

#include "job/plan.h"

/* Which filter, and why, how much work it is and how long all will take. */
void engram_cli_print_search(const struct engram_inputs *inputs,
                             const struct engram_job_options *job, const struct engram_plan *plan);

#endif
