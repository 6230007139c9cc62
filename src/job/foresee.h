/* Which filter a job will choose, from a sample of its base: `inspect`. */
#ifndef ENGRAM_JOB_FORESEE_H
#define ENGRAM_JOB_FORESEE_H

#include "job/plan.h"
#include "job/row_sample.h"

/* Fills `choice` as the search will, from a few thousand rows spread over the base that are read
 * for it, in whole chunks where the base is stored in chunks, or from all rows of a small base.
 * Where shapes alone decide, a filter was asked for, or the sample cannot be had (which is no error
 * here: the job will say what is wrong), there are no estimates, and the reason is that of the
 * shapes, or NULL. The sample, if one was read, is left in `sample` (all zero before). */
void engram_job_foresee(const struct engram_inputs *inputs,
                        const struct engram_job_options *options, const struct engram_plan *plan,
                        struct engram_row_sample *sample, struct engram_filter_choice *choice);

/* Why a job uses a filter that AUTO stands for, or another than the one asked for, without having
 * looked at a row. NULL: only a look can tell, or it is the one that was asked for. */
const char *engram_job_filter_reason(enum engram_answer answer, enum engram_filter asked,
                                     enum engram_metric metric, int64_t queries, int64_t rows,
                                     int64_t dim);

#endif
