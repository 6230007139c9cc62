/* The kernel that the arena was made for: many queries, three short-lived buffers each. */
#ifndef ENGRAM_BENCH_QUERIES_H
#define ENGRAM_BENCH_QUERIES_H

#include <stdbool.h>
#include <stddef.h>

/* Medians over the rounds; times in ns for 1000 queries. */
struct engram_bench_queries {
    double arena_ns;
    double malloc_ns;
    double ratio;         /* malloc / arena, of the rounds' pairs */
    double arena_share;   /* the allocations alone, in percent of arena_ns */
    double scratch_share; /* the same through struct engram_scratch */
    double malloc_share;  /* in percent of malloc_ns */
};

/* 1000 queries of 768 dimensions against `rows` base rows. False when memory is short. */
bool engram_bench_queries_run(size_t rows, int threads, struct engram_bench_queries *result);

#endif
