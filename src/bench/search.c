/* engram-bench search: k nearest neighbours in memory against the machine's multiply-add peak.
 *
 * Packing, selection and rescoring are inside the measured time; peak and search are measured in
 * turns, and the ratio is the median over the rounds. */
#define _GNU_SOURCE
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/peak.h"
#include "engram/search.h"

#define ROUNDS 5

struct workload {
    const char *name;
    int64_t base;
    int64_t queries;
    int64_t dim;
    int64_t k;
};

static const struct workload WORKLOADS[] = {
    {"gaussian_768", 100000, 2000, 768, 10},
    {"gaussian_128", 200000, 2000, 128, 10},
};
#define WORKLOAD_COUNT (sizeof WORKLOADS / sizeof WORKLOADS[0])

struct data {
    float *base;
    float *queries;
    int64_t *neighbors;
    double *distances;
};

/* What one round measured. */
struct round {
    double peak; /* GFLOP/s */
    double seconds;
    double prepare_seconds;
};

/* Box and Muller; two uniform numbers give two normal ones. */
static void fill_gaussian(float *values, size_t count, uint64_t seed)
{
    const size_t block = 65536;
#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < (count + block - 1) / block; b++) {
        uint64_t state = (seed + b + 1) * 0x9E3779B97F4A7C15U | 1;
        size_t end = (b + 1) * block < count ? (b + 1) * block : count;
        for (size_t i = b * block; i < end; i += 2) {
            double u = ((double)engram_bench_random(&state) + 1) / 2;
            double v = (double)engram_bench_random(&state);
            double radius = sqrt(-2 * log(u > 1e-12 ? u : 1e-12));
            values[i] = (float)(radius * cos(3.14159265358979 * v));
            if (i + 1 < end) {
                values[i + 1] = (float)(radius * sin(3.14159265358979 * v));
            }
        }
    }
}

static bool make_data(const struct workload *w, struct data *data)
{
    size_t base = (size_t)(w->base * w->dim);
    size_t queries = (size_t)(w->queries * w->dim);
    size_t answers = (size_t)(w->queries * w->k);
    data->base = malloc(base * sizeof *data->base);
    data->queries = malloc(queries * sizeof *data->queries);
    data->neighbors = malloc(answers * sizeof *data->neighbors);
    data->distances = malloc(answers * sizeof *data->distances);
    if (data->base == NULL || data->queries == NULL || data->neighbors == NULL ||
        data->distances == NULL) {
        return false;
    }
    fill_gaussian(data->base, base, 1);
    fill_gaussian(data->queries, queries, 1u << 20);
    return true;
}

static void free_data(struct data *data)
{
    free(data->base);
    free(data->queries);
    free(data->neighbors);
    free(data->distances);
}

static bool run_once(const struct workload *w, const struct data *data,
                     const struct engram_search_options *options, struct round *round,
                     struct engram_search_stats *stats)
{
    const struct engram_set base = {data->base, ENGRAM_F32, w->base, w->dim, 0};
    const struct engram_set queries = {data->queries, ENGRAM_F32, w->queries, w->dim, 0};
    struct engram_prepared *prepared = NULL;
    uint64_t start = engram_bench_now();
    bool ok = engram_prepare(&base, options, &prepared) == ENGRAM_OK;
    round->prepare_seconds = (double)(engram_bench_now() - start) * 1e-9;
    ok = ok && engram_search_knn(prepared, &queries, options, data->neighbors, data->distances,
                                 NULL, stats) == ENGRAM_OK;
    engram_prepared_free(prepared);
    round->seconds = (double)(engram_bench_now() - start) * 1e-9;
    return ok;
}

static void report(const struct workload *w, bool json, const struct round *rounds,
                   const struct engram_search_stats *stats)
{
    double peaks[ROUNDS];
    double rates[ROUNDS];
    double ratios[ROUNDS];
    double packing[ROUNDS];
    double flops = 2e-9 * (double)w->base * (double)w->queries * (double)w->dim;
    char name[96];

    for (int r = 0; r < ROUNDS; r++) {
        peaks[r] = rounds[r].peak;
        rates[r] = flops / rounds[r].seconds;
        ratios[r] = rates[r] / peaks[r];
        packing[r] = rounds[r].prepare_seconds / rounds[r].seconds;
    }
    double rate = engram_bench_median(rates, ROUNDS);
    double ratio = engram_bench_median(ratios, ROUNDS);
    double survivors = (double)stats->rescored / (double)w->queries;
    if (json) {
        (void)snprintf(name, sizeof name, "search_%s_gflops", w->name);
        engram_bench_json(name, rate, "GFLOP/s");
        (void)snprintf(name, sizeof name, "search_%s_of_peak", w->name);
        engram_bench_json(name, ratio, "ratio");
        (void)snprintf(name, sizeof name, "search_%s_survivors", w->name);
        engram_bench_json(name, survivors, "pairs a query");
        return;
    }
    printf("%-13s %6lld x %-7lld k %-4lld %8.1f GF/s %8.1f GF/s %7.2f %8.0f %% %10.0f\n", w->name,
           (long long)w->queries, (long long)w->base, (long long)w->k,
           engram_bench_median(peaks, ROUNDS), rate, ratio,
           100 * engram_bench_median(packing, ROUNDS), survivors);
}

static bool measure(const struct workload *w, const struct engram_bench_options *options,
                    const struct engram_kernels *kernels)
{
    struct engram_search_options search = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_search_stats stats = {0};
    struct data data = {0};
    struct round rounds[ROUNDS];
    bool ok = make_data(w, &data);

    search.metric = ENGRAM_IP;
    search.k = w->k;
    search.threads = options->threads;
    search.isa = kernels->name;
    struct round warm_up;
    ok = ok && run_once(w, &data, &search, &warm_up, &stats);
    for (int r = 0; r < ROUNDS && ok; r++) {
        double before = engram_bench_f32_peak(kernels, options->threads);
        ok = run_once(w, &data, &search, &rounds[r], &stats);
        double after = engram_bench_f32_peak(kernels, options->threads);
        rounds[r].peak = (before + after) / 2;
    }
    if (ok) {
        report(w, options->json, rounds, &stats);
    }
    free_data(&data);
    return ok;
}

int engram_bench_search(int argc, char **argv)
{
    struct engram_bench_options options;
    const struct engram_kernels *kernels;
    const struct engram_log quiet = {NULL, NULL};
    int code = engram_bench_parse(argc, argv, "k nearest neighbours in memory, packing included",
                                  NULL, &options);

    if (code != ENGRAM_BENCH_GO_ON) {
        return code;
    }
    if (engram_kernels_select(NULL, &quiet, &kernels) != ENGRAM_OK) {
        fprintf(stderr, "engram-bench: ENGRAM_ISA names a set that cannot run here\n");
        return 64;
    }
    if (!options.json) {
        printf("ip, kernel set %s, %d threads, median of %d rounds\n", kernels->name,
               options.threads, ROUNDS);
        printf("%-31s %-6s %13s %13s %7s %10s %10s\n", "workload", "", "peak", "search", "of peak",
               "packing", "rescored/q");
    }
    for (size_t i = 0; i < WORKLOAD_COUNT; i++) {
        if (!measure(&WORKLOADS[i], &options, kernels)) {
            fprintf(stderr, "engram-bench: %s failed\n", WORKLOADS[i].name);
            return 71;
        }
    }
    return 0;
}
