/* What a job will take. Pure but for the default thread count and the choice of kernel set, which
 * ask the machine. */
#ifndef ENGRAM_JOB_PLAN_H
#define ENGRAM_JOB_PLAN_H

#include "job/inputs.h"

/* Sizes and counts that do not fit are UINT64_MAX. */
struct engram_plan {
    uint64_t base_rows; /* of the ranges */
    uint64_t query_rows;
    int64_t dim;
    uint64_t rows_bytes;   /* base and queries in memory */
    uint64_t packed_bytes; /* the filter's copy of the base, norms and flags */
    uint64_t answer_bytes; /* answers until they are written; 0 where nobody can know (pairs) */
    uint64_t need_bytes;   /* the sum of these */
    size_t pair_bytes;     /* pairs that engram_plan_spools are held in so much; then on disk */
    int threads;           /* sure to start */
    const char *isa;
    enum engram_filter filter;
    int64_t base_slab_rows; /* base rows in memory at a time; INT64_MAX: all */
    uint64_t pairs;
    double gflop; /* 2 x pairs x dim, in 10^9 */
};

/* Starts nothing but, for a moment, the threads, to see that they can be started. USAGE, RESOURCE.
 */
enum engram_status engram_plan_make(const struct engram_inputs *inputs,
                                    const struct engram_job_options *options,
                                    struct engram_plan *plan);

/* Whether nobody can know how many answers there will be: pairs without a k, or one that cuts
 * nothing off. What memory does not hold of them goes to temporary files. */
bool engram_plan_spools(const struct engram_inputs *inputs);

/* For tests: plan.pair_bytes; 0: half of the memory that is left. */
extern size_t engram_plan_pair_bytes;

/* RESOURCE, naming both figures, when the plan does not fit into what can be had now, or a set into
 * what one search takes. */
enum engram_status engram_plan_check(const struct engram_plan *plan, const struct engram_log *log);

#endif
