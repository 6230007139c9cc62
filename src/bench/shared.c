#include "bench/shared.h"

#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/peak.h"

static void complain(void *context, enum engram_log_level level, const char *message)
{
    (void)context;
    if (level <= ENGRAM_LOG_WARNING) {
        fprintf(stderr, "engram: %s\n", message);
    }
}

static const struct engram_kernels *set_called(const char *name)
{
    const struct engram_kernels *set = NULL;
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        if (name != NULL && strcmp(set->name, name) == 0) {
            break;
        }
    }
    return set;
}

const char *engram_bench_set_name(int32_t index)
{
    const struct engram_kernels *set = index < 0 ? NULL : engram_kernels_at((size_t)index);
    return set == NULL ? NULL : set->name;
}

const char *engram_bench_set_chosen(void)
{
    const struct engram_log log = {complain, NULL};
    const struct engram_kernels *set = NULL;
    return engram_kernels_select(NULL, &log, &set) == ENGRAM_OK ? set->name : NULL;
}

double engram_bench_rate(const char *isa, int32_t integer, int32_t threads, double ns)
{
    const struct engram_kernels *set = set_called(isa);
    if (set == NULL) {
        return 0;
    }
    return integer != 0 ? engram_bench_int_rate(set, threads, ns)
                        : engram_bench_f32_rate(set, threads, ns);
}

double engram_bench_read_seconds(const void *data, int64_t bytes, int32_t threads)
{
    return engram_bench_stream(data, (size_t)bytes, threads);
}

static struct engram_search_options options_of(const struct engram_bench_problem *problem)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    options.metric = (enum engram_metric)problem->metric;
    options.k = problem->k;
    options.max_distance = problem->max_distance;
    options.min_similarity = problem->min_similarity;
    options.self = problem->self != 0;
    options.filter = (enum engram_filter)problem->filter;
    options.isa = problem->isa;
    options.threads = problem->threads;
    options.expected_queries = problem->query_count;
    options.log = (struct engram_log){complain, NULL};
    return options;
}

int32_t engram_bench_prepare(const struct engram_bench_problem *problem,
                             struct engram_prepared **prepared)
{
    const struct engram_search_options options = options_of(problem);
    const struct engram_set base = {problem->base, ENGRAM_F32, problem->rows, problem->dim, 0};
    return (int32_t)engram_prepare(&base, &options, prepared);
}

void engram_bench_release(struct engram_prepared *prepared)
{
    engram_prepared_free(prepared);
}

/* One of the two searches; what only the other needs is NULL. */
static int32_t run(const struct engram_bench_problem *problem,
                   const struct engram_prepared *prepared, int64_t *neighbors, double *distances,
                   struct engram_pairs *pairs, struct engram_bench_report *report)
{
    const struct engram_search_options options = options_of(problem);
    const struct engram_set queries = {problem->queries, ENGRAM_F32, problem->query_count,
                                       problem->dim, 0};
    struct engram_search_stats stats = {0};
    struct engram_prepared *own = NULL;
    int32_t status = ENGRAM_OK;

    uint64_t start = engram_bench_now();
    if (prepared == NULL) {
        status = engram_bench_prepare(problem, &own);
        prepared = own;
    }
    uint64_t ready = engram_bench_now();
    if (status == ENGRAM_OK && pairs != NULL) {
        status = (int32_t)engram_search_pairs(prepared, &queries, &options, pairs, &stats);
    } else if (status == ENGRAM_OK) {
        status = (int32_t)engram_search_knn(prepared, &queries, &options, neighbors, distances,
                                            NULL, &stats);
    }
    engram_prepared_free(own);
    uint64_t end = engram_bench_now();

    *report = (struct engram_bench_report){
        .prepare_seconds = (double)(ready - start) * 1e-9,
        .seconds = (double)(end - start) * 1e-9,
        .rescored = (double)stats.rescored,
        .canonical = (double)stats.canonical,
        .threads = stats.threads,
        .filter = (int32_t)stats.filter,
    };
    (void)snprintf(report->isa, sizeof report->isa, "%s", stats.isa == NULL ? "" : stats.isa);
    return status;
}

int32_t engram_bench_knn(const struct engram_bench_problem *problem,
                         const struct engram_prepared *prepared, int64_t *neighbors,
                         double *distances, struct engram_bench_report *report)
{
    return run(problem, prepared, neighbors, distances, NULL, report);
}

int32_t engram_bench_pairs(const struct engram_bench_problem *problem,
                           const struct engram_prepared *prepared, struct engram_pairs *pairs,
                           struct engram_bench_report *report)
{
    return run(problem, prepared, NULL, NULL, pairs, report);
}

void engram_bench_pairs_release(struct engram_pairs *pairs)
{
    engram_pairs_free(pairs);
}
