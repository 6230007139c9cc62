#include "bench/queries.h"

#include <math.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "engram/arena.h"
#include "kernels/kernels.h"

#define QUERIES ((size_t)1000)
#define DIM ((size_t)768)
#define ARENA_SIZE ((size_t)64 << 10)

enum { ROUNDS = 31 };

struct run {
    const struct engram_kernels *kernels;
    float *queries; /* QUERIES x DIM */
    float *base;    /* rows x DIM */
    double *best;   /* QUERIES: what the kernel found, so that nothing can be left out */
    size_t rows;
    int threads;
    bool failed;
};

/* The buffers of one query. */
struct buffers {
    float *unit;
    double *wide;
    double *scores;
};

static bool all_there(const struct buffers *buffers)
{
    return buffers->unit != NULL && buffers->wide != NULL && buffers->scores != NULL;
}

/* Normalises, widens, scores; the same code whoever gave the memory. */
__attribute__((noinline)) static void work(const struct run *run, size_t query,
                                           const struct buffers *buffers)
{
    const float *values = run->queries + query * DIM;
    double sum = 0.0;

    for (size_t i = 0; i < DIM; i++) {
        sum += (double)values[i] * (double)values[i];
    }
    float scale = (float)(1.0 / sqrt(sum));
    for (size_t i = 0; i < DIM; i++) {
        buffers->unit[i] = values[i] * scale;
    }
    for (size_t i = 0; i < DIM; i++) {
        buffers->wide[i] = (double)buffers->unit[i];
    }
    const struct engram_wide_rows wide = {buffers->wide, DIM};
    const struct engram_base_rows base = {(const unsigned char *)run->base, DIM * sizeof(float)};
    run->kernels->canonical_tile[ENGRAM_OP_DOT][ENGRAM_WORK_F32](&wide, 1, &base, run->rows, DIM,
                                                                 buffers->scores);
    double best = buffers->scores[0];
    for (size_t r = 1; r < run->rows; r++) {
        best = buffers->scores[r] > best ? buffers->scores[r] : best;
    }
    run->best[query] = best;
}

enum source { FROM_MALLOC, FROM_ARENA, FROM_SCRATCH };

/* One query with its buffers from malloc. `compute` false: the allocations alone. */
static inline bool query_by_malloc(const struct run *run, size_t query, bool compute)
{
    struct buffers buffers = {
        .unit = engram_bench_keep(malloc(DIM * sizeof(float))),
        .wide = engram_bench_keep(malloc(DIM * sizeof(double))),
        .scores = engram_bench_keep(malloc(run->rows * sizeof(double))),
    };
    bool good = all_there(&buffers);
    if (compute && good) {
        work(run, query, &buffers);
    }
    engram_bench_barrier();
    free(buffers.unit);
    free(buffers.wide);
    free(buffers.scores);
    return good;
}

static inline bool query_by_arena(const struct run *run, struct engram_arena *arena, size_t query,
                                  bool compute)
{
    struct buffers buffers = {
        .unit = engram_bench_keep(ENGRAM_ARENA_NEW(arena, float, DIM)),
        .wide = engram_bench_keep(ENGRAM_ARENA_NEW(arena, double, DIM)),
        .scores = engram_bench_keep(ENGRAM_ARENA_NEW(arena, double, run->rows)),
    };
    bool good = all_there(&buffers);
    if (compute && good) {
        work(run, query, &buffers);
    }
    engram_bench_barrier();
    engram_arena_reset(arena);
    return good;
}

static inline bool query_by_scratch(const struct run *run, struct engram_arena *arena, size_t query,
                                    bool compute)
{
    ENGRAM_SCRATCH_SCOPE(scratch, arena, NULL, 0);
    struct buffers buffers = {
        .unit = engram_bench_keep(ENGRAM_SCRATCH_NEW(&scratch, float, DIM)),
        .wide = engram_bench_keep(ENGRAM_SCRATCH_NEW(&scratch, double, DIM)),
        .scores = engram_bench_keep(ENGRAM_SCRATCH_NEW(&scratch, double, run->rows)),
    };
    bool good = all_there(&buffers);
    if (compute && good) {
        work(run, query, &buffers);
    }
    engram_bench_barrier();
    return good;
}

/* Wall time of all queries, `repeat` times over, per repetition. */
static double run_queries(struct run *run, enum source source, bool compute, size_t repeat)
{
    uint64_t start = 0;
    uint64_t end = 0;
    bool good = true;

#pragma omp parallel num_threads(run->threads) reduction(&& : good)
    {
        struct engram_arena arena;
        good = engram_bench_warm_arena(&arena, ARENA_SIZE);
#pragma omp barrier
#pragma omp master
        start = engram_bench_now();
        for (size_t again = 0; again < repeat; again++) {
#pragma omp for schedule(static) nowait
            for (size_t query = 0; query < QUERIES; query++) {
                switch (source) {
                case FROM_MALLOC:
                    good = query_by_malloc(run, query, compute) && good;
                    break;
                case FROM_ARENA:
                    good = query_by_arena(run, &arena, query, compute) && good;
                    break;
                case FROM_SCRATCH:
                    good = query_by_scratch(run, &arena, query, compute) && good;
                    break;
                }
            }
        }
#pragma omp barrier
#pragma omp master
        end = engram_bench_now();
        engram_arena_destroy(&arena);
    }
    run->failed = run->failed || !good;
    return (double)(end - start) / (double)repeat;
}

static double with_malloc(void *context)
{
    return run_queries(context, FROM_MALLOC, true, 1);
}

static double with_arena(void *context)
{
    return run_queries(context, FROM_ARENA, true, 1);
}

/* The allocations of all queries without the work between them. */
static double allocations_alone(struct run *run, enum source source)
{
    double rounds[ROUNDS];
    (void)run_queries(run, source, false, 10);
    for (size_t i = 0; i < ROUNDS; i++) {
        rounds[i] = run_queries(run, source, false, 100);
    }
    return engram_bench_median(rounds, ROUNDS);
}

static float *random_rows(size_t rows, uint64_t seed)
{
    float *values = malloc(rows * DIM * sizeof *values);
    for (size_t i = 0; values != NULL && i < rows * DIM; i++) {
        values[i] = engram_bench_random(&seed);
    }
    return values;
}

bool engram_bench_queries_run(size_t rows, int threads, struct engram_bench_queries *result)
{
    struct run run = {
        .queries = random_rows(QUERIES, 42),
        .base = random_rows(rows, 43),
        .best = malloc(QUERIES * sizeof(double)),
        .rows = rows,
        .threads = threads,
    };
    const struct engram_log silent = {NULL, NULL};
    bool good = run.queries != NULL && run.base != NULL && run.best != NULL &&
                engram_kernels_select(NULL, &silent, &run.kernels) == ENGRAM_OK;

    if (good) {
        struct engram_bench_pair pair =
            engram_bench_paired(with_arena, &run, with_malloc, &run, ROUNDS);
        result->arena_ns = pair.a;
        result->malloc_ns = pair.b;
        result->ratio = pair.ratio;
        result->arena_share = 100.0 * allocations_alone(&run, FROM_ARENA) / pair.a;
        result->scratch_share = 100.0 * allocations_alone(&run, FROM_SCRATCH) / pair.a;
        result->malloc_share = 100.0 * allocations_alone(&run, FROM_MALLOC) / pair.b;
        good = !run.failed;
    }
    free(run.queries);
    free(run.base);
    free(run.best);
    return good;
}
