/* A look at a few rows of a set, for people: `inspect`. */
#ifndef ENGRAM_JOB_LOOK_H
#define ENGRAM_JOB_LOOK_H

#include "job/inputs.h"

struct engram_look {
    int64_t rows;                     /* that were looked at */
    int64_t unfit;                    /* with NaN or infinity */
    int64_t zero;                     /* all elements 0 */
    int64_t duplicates;               /* equal to an earlier one that was looked at, to the bit */
    double smallest, median, largest; /* norm of the rows that are finite; bits: ones */
};

/* Reads up to 4096 rows of the range (of huge rows, what 64 MiB hold), in blocks spread evenly over
 * it. As engram_set_open and engram_source_next. */
enum engram_status engram_set_look(const struct engram_set_ref *set,
                                   const struct engram_job_options *options,
                                   struct engram_look *look);

#endif
