/* How long a job will take, from a short calibration on some of its rows: `inspect`. */
#ifndef ENGRAM_JOB_PREDICT_TIME_H
#define ENGRAM_JOB_PREDICT_TIME_H

#include "job/plan.h"
#include "job/row_sample.h"

enum engram_time_kind {
    ENGRAM_TIME_UNKNOWN, /* no rows to measure with */
    ENGRAM_TIME_SHORT,   /* under a second on any machine: nothing was measured */
    ENGRAM_TIME_MEASURED
};

/* Seconds. Searching is with packing, as job reports count it; writing the result is in neither. */
struct engram_time_prediction {
    enum engram_time_kind kind;
    double total; /* less than the sum where rows are read ahead */
    double search;
    double read;
    double calibration;
    bool least; /* the answers are many, and writing them comes on top */
};

/* Runs the search that `choice` stands for over rows of `sample` (read here unless it was already),
 * and reads some rows as the job will. Usually under 0.2 s. What it says holds for this machine as
 * busy as it is, and for a base whose rows are spread like those of the sample. */
void engram_job_predict_time(const struct engram_inputs *inputs,
                             const struct engram_job_options *options,
                             const struct engram_plan *plan,
                             const struct engram_filter_choice *choice,
                             struct engram_row_sample *sample,
                             struct engram_time_prediction *prediction);

#endif
