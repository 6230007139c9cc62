/* Pairs within a threshold, as many as there may be: what the job holds of them, and how many it
 * allows. */
#ifndef ENGRAM_JOB_SPOOLING_H
#define ENGRAM_JOB_SPOOLING_H

#include "job/state.h"

/* Finds out before the search whether --tmpdir takes files. CANT_CREATE, PERMISSION, IO. */
enum engram_status engram_spooling_check_folder(const struct engram_job_state *job);

/* Makes job->answers.spool. */
enum engram_status engram_spooling_start(struct engram_job_state *job);

/* Sets what a unit's request says of pairs: who takes them, and how many more there may be. */
void engram_spooling_request(const struct engram_job_state *job, struct engram_request *request);

/* After a unit: DATA when there are more pairs than --max-pairs already. */
enum engram_status engram_spooling_check_count(struct engram_job_state *job);

/* Before OUTPUT is written: IO when its file system has no room for the pairs. */
enum engram_status engram_spooling_check_output(const struct engram_job_state *job);

#endif
