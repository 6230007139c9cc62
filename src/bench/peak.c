/* engram-bench peak: what this machine can do at most. */
#include "bench/peak.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"

#define TARGET_NS 5e7
#define REPEATS 5

static double run(const struct engram_kernels *kernels, int threads, uint64_t rounds, double *flops)
{
    double total = 0;
    uint64_t start = engram_bench_now();
#pragma omp parallel num_threads(threads) reduction(+ : total)
    total += (double)kernels->f32_peak(rounds);
    *flops = total;
    return (double)(engram_bench_now() - start);
}

double engram_bench_f32_peak(const struct engram_kernels *kernels, int threads)
{
    double flops;
    uint64_t rounds = 100000;
    double ns = run(kernels, threads, rounds, &flops); /* also starts the threads */
    ns = run(kernels, threads, rounds, &flops);
    rounds = (uint64_t)((double)rounds * TARGET_NS / (ns > 1 ? ns : 1)) + 1;
    ns = run(kernels, threads, rounds, &flops);
    return flops / ns;
}

int engram_bench_peak(int argc, char **argv)
{
    struct engram_bench_options options;
    const struct engram_kernels *kernels;
    int code = engram_bench_parse(argc, argv, "float32 multiply-adds in registers", NULL, &options);

    if (code != ENGRAM_BENCH_GO_ON) {
        return code;
    }
    if (!options.json) {
        printf("%-10s %14s %14s\n", "set", "1 thread", "all threads");
    }
    for (size_t i = 0; (kernels = engram_kernels_at(i)) != NULL; i++) {
        double one[REPEATS];
        double all[REPEATS];
        char name[64];
        for (int r = 0; r < REPEATS; r++) {
            one[r] = engram_bench_f32_peak(kernels, 1);
            all[r] = engram_bench_f32_peak(kernels, options.threads);
        }
        double single = engram_bench_median(one, REPEATS);
        double team = engram_bench_median(all, REPEATS);
        if (options.json) {
            (void)snprintf(name, sizeof name, "f32_peak_%s_1_thread", kernels->name);
            engram_bench_json(name, single, "GFLOP/s");
            (void)snprintf(name, sizeof name, "f32_peak_%s", kernels->name);
            engram_bench_json(name, team, "GFLOP/s");
        } else {
            printf("%-10s %9.1f GF/s %9.1f GF/s\n", kernels->name, single, team);
        }
    }
    return 0;
}
