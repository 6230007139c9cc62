/* How much memory a job may take, and how many rows at a time that allows. */
#ifndef ENGRAM_JOB_BUDGET_H
#define ENGRAM_JOB_BUDGET_H

#include "job/plan.h"

/* Bytes per process that a job takes when nobody says: 80 % of the tightest of the cgroup's limit,
 * SLURM_MEM_PER_NODE or SLURM_MEM_PER_CPU, RLIMIT_AS and the machine's memory, and no more than can
 * be had now. */
uint64_t engram_budget_default(int threads);

/* What the parts of a job take, in bytes; UINT64_MAX: more than can be counted. */
struct engram_demand {
    uint64_t fixed;         /* whatever the slabs: code, stacks, arenas, buffers, tables of rows */
    uint64_t answers;       /* kept until they are written: all of them, .. */
    uint64_t answers_least; /* .. and as few as will do, where the others go to the checkpoint */
    uint64_t answers_unit;  /* queries of a unit, at the most, where not all answers stay */
    uint64_t block;         /* for answers on their way out, the least .. */
    uint64_t block_most;    /* .. and what is of use */
    uint64_t ids;           /* while ids are read, before the slabs are there or after */
    uint64_t packing;       /* to compress answers, once the slabs are gone */
    uint64_t reading;       /* the least that buffers for reading can do with .. */
    uint64_t stored;        /* .. and what they will hold at the most */
    uint64_t base_row;      /* a base row in memory: stored, packed, its norms; at the most .. */
    uint64_t base_lean;     /* .. and where a look at the data chooses the smallest copy */
    uint64_t ahead_row;     /* a base row that is read ahead */
    uint64_t base_chunk;    /* base rows that are stored as one; 1: each on its own */
    uint64_t query_row;     /* a query in memory */
    uint64_t query_state;   /* what a search keeps for each query of a unit */
    bool shared;            /* the queries are the rows of the base, if that is whole */
};

/* Decides on slabs, units and reading buffers of the plan, whose rows and budget are known, so that
 * all fits and the least is read; sets smallest_bytes and need_bytes. Where the budget is below the
 * smallest that works, the slabs are those of the smallest. */
void engram_budget_divide(const struct engram_demand *demand, struct engram_plan *plan);

#endif
