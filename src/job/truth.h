/* Recall of a result against the truth that the input file holds itself (ann-benchmarks layout). */
#ifndef ENGRAM_JOB_TRUTH_H
#define ENGRAM_JOB_TRUTH_H

#include "io/result.h"
#include "job/inputs.h"

/* Fills has_truth, the recalls and what explains the differences when the queries' file holds
 * /neighbors (and /distances) for them. Recall by distance counts answers no farther than the k-th
 * of the truth, 1e-3 relative, as ann-benchmarks does. Without a truth nothing is filled in. */
enum engram_status engram_truth_recall(const struct engram_inputs *inputs,
                                       const struct engram_result_info *info,
                                       struct engram_result *result,
                                       const struct engram_job_options *options,
                                       struct engram_verify_report *report);

#endif
