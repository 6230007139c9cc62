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
    uint64_t rows_bytes;     /* base and queries, all of them */
    uint64_t packed_bytes;   /* the filter's copy of the base, norms and flags, all of it */
    uint64_t answer_bytes;   /* answers until they are written; 0 where nobody can know (pairs) */
    uint64_t answer_room;    /* of them in memory; the others are kept in the checkpoint alone */
    size_t part_room;        /* of answer_room, for parts; SIZE_MAX: all stay there */
    uint64_t budget_bytes;   /* what the job may take */
    uint64_t smallest_bytes; /* what it cannot do without */
    uint64_t kept_bytes;     /* of it what is there from the beginning to the end */
    uint64_t need_bytes;     /* what it will take, with the slabs below */
    size_t reading_bytes;    /* of it for buffers of reading */
    size_t block_bytes;      /* for a block of a dense result, or for pairs on their way to disk */
    size_t pair_bytes;       /* pairs that engram_plan_spools are held in so much; then on disk */
    int threads;             /* sure to start */
    const char *isa;
    enum engram_filter filter;
    bool open_filter;        /* a look at the data may choose another one */
    int64_t base_slab_rows;  /* base rows in memory at a time; INT64_MAX: all */
    int64_t base_slab_least; /* where a look at the data chooses the largest of the copies */
    int64_t query_slab_rows; /* likewise */
    bool read_ahead;         /* the next slab of the base is read while one is searched */
    bool base_outer;         /* each slab of the base meets all queries, not the other way round */
    int64_t unit_queries;    /* queries that are searched at a time */
    uint64_t pairs;
    double gflop; /* 2 x pairs x dim, in 10^9 */
};

/* Starts nothing but, for a moment, the threads, to see that they can be started. USAGE, RESOURCE.
 */
enum engram_status engram_plan_make(const struct engram_inputs *inputs,
                                    const struct engram_job_options *options,
                                    struct engram_plan *plan);

/* How often the base or the queries are read. */
uint64_t engram_plan_readings(const struct engram_plan *plan, bool base);

/* Whether nobody can know how many answers there will be: pairs without a k, or one that cuts
 * nothing off. What memory does not hold of them goes to temporary files. */
bool engram_plan_spools(const struct engram_inputs *inputs);

/* For tests: plan.pair_bytes; 0: what the budget leaves. */
extern size_t engram_plan_pair_bytes;

/* Of --memory, what a rank of several plans with; the rest is for what they say to each other. */
uint64_t engram_plan_part(uint64_t memory);

/* RESOURCE, naming the smallest that works, when the plan does not fit into its budget, or a set
 * into what one search takes. */
enum engram_status engram_plan_check(const struct engram_plan *plan, const struct engram_log *log);

/* Likewise once the ids of a set are known: reading them takes `bytes`. */
enum engram_status engram_plan_check_ids(const struct engram_plan *plan, uint64_t bytes,
                                         const char *what, const struct engram_log *log);

#endif
