/* What scripts/bench.py calls in libengram-bench.so: plain functions over plain structs, so that
 * the script need not know the layout of the public options. Not installed, not an interface.
 *
 * The searches go through the public functions of libengram.so, as any program's would. */
#ifndef ENGRAM_BENCH_SHARED_H
#define ENGRAM_BENCH_SHARED_H

#include <stdint.h>

#include "engram/search.h"

/* A search over dense float32 rows. scripts/benchlib/ours.py has the same members in this order. */
struct engram_bench_problem {
    const float *base;
    const float *queries;
    int64_t rows;
    int64_t query_count;
    int64_t dim;
    int64_t k;
    double max_distance;
    double min_similarity;
    const char *isa; /* NULL: the best, or ENGRAM_ISA */
    int32_t metric;
    int32_t filter;
    int32_t self;
    int32_t threads;
};

struct engram_bench_report {
    double prepare_seconds;
    double seconds; /* the search, and preparing where it was part of the call */
    double rescored;
    double canonical;
    int32_t threads;
    int32_t filter;
    char isa[16];
};

/* Kernel sets of this machine, slowest first; NULL past the last. */
ENGRAM_API const char *engram_bench_set_name(int32_t index);
/* The set that NULL stands for (ENGRAM_ISA is heeded); NULL when it cannot run. */
ENGRAM_API const char *engram_bench_set_chosen(void);
/* GFLOP/s or GOP/s over about `ns`; 0 for an unknown set or where there is no such loop. */
ENGRAM_API double engram_bench_rate(const char *isa, int32_t integer, int32_t threads, double ns);
/* Seconds of one pass over the bytes. */
ENGRAM_API double engram_bench_read_seconds(const void *data, int64_t bytes, int32_t threads);

/* All of these return the enum engram_status. `*prepared` and `*pairs` are the caller's to free. */
ENGRAM_API int32_t engram_bench_prepare(const struct engram_bench_problem *problem,
                                        struct engram_prepared **prepared);
ENGRAM_API void engram_bench_release(struct engram_prepared *prepared);
/* `prepared` NULL: preparing is part of it. */
ENGRAM_API int32_t engram_bench_knn(const struct engram_bench_problem *problem,
                                    const struct engram_prepared *prepared, int64_t *neighbors,
                                    double *distances, struct engram_bench_report *report);
ENGRAM_API int32_t engram_bench_pairs(const struct engram_bench_problem *problem,
                                      const struct engram_prepared *prepared,
                                      struct engram_pairs *pairs,
                                      struct engram_bench_report *report);
ENGRAM_API void engram_bench_pairs_release(struct engram_pairs *pairs);

#endif
