/* What is asked of the sets: the kind of answer, k and thresholds, the metric. */
#ifndef ENGRAM_JOB_QUESTION_H
#define ENGRAM_JOB_QUESTION_H

#include "job/inputs.h"

/* What can be decided before any file is read: answer, k, max_distance, min_similarity and the
 * form of the result; refuses options that contradict each other. USAGE. */
enum engram_status engram_question_limits(const struct engram_job_options *options,
                                          struct engram_inputs *inputs);

/* The metric and the reason for it, once the base is known. USAGE. */
enum engram_status engram_question_metric(const struct engram_job_options *options,
                                          struct engram_inputs *inputs);

/* Whether question and sets fit together, once all is decided. USAGE. */
enum engram_status engram_question_check(const struct engram_job_options *options,
                                         const struct engram_inputs *inputs);

#endif
