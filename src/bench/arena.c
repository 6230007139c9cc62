/* engram-bench arena: what an allocation costs, and what share of a kernel's time it is. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/allocators.h"
#include "bench/bench.h"
#include "bench/queries.h"
#include "engram/arena.h"

enum {
    EXIT_RESOURCE = 71,
    OPTION_MALLOC_ONLY = 256,
    ROUNDS = 31,
    /* About the 1.8 us a query of the kernel that the claims are about. */
    TINY_ROWS = 16,
    /* A query of the kernels takes three buffers and gives them back together. */
    PER_STEP = 3
};

#define SIZE_COUNT 3
static const size_t SIZES[SIZE_COUNT] = {64, (size_t)768 * sizeof(float), (size_t)64 << 10};
static const char *const SIZE_NAMES[SIZE_COUNT] = {"64 B", "3 KiB", "64 KiB"};
static const char *const SIZE_KEYS[SIZE_COUNT] = {"64b", "3kib", "64kib"};
#define SIZE_3_KIB 1

/* ---- the cost of one allocation */

struct loop {
    size_t size;
    size_t steps;
    int threads;
    bool touch; /* write all of it, as a kernel would */
    bool failed;
};

static void fill(void *memory, size_t size, size_t step)
{
    memset(memory, (int)(step & 0xFF), size);
    engram_bench_barrier();
}

__attribute__((noinline)) static bool malloc_steps(const struct loop *loop)
{
    bool good = true;
    for (size_t step = 0; step < loop->steps; step++) {
        void *memory[PER_STEP];
        for (int i = 0; i < PER_STEP; i++) {
            memory[i] = engram_bench_keep(malloc(loop->size));
            good = good && memory[i] != NULL;
        }
        if (loop->touch && good) {
            for (int i = 0; i < PER_STEP; i++) {
                fill(memory[i], loop->size, step);
            }
        }
        engram_bench_barrier();
        for (int i = 0; i < PER_STEP; i++) {
            free(memory[i]);
        }
    }
    return good;
}

__attribute__((noinline)) static bool arena_steps(const struct loop *loop,
                                                  struct engram_arena *arena)
{
    bool good = true;
    for (size_t step = 0; step < loop->steps; step++) {
        void *memory[PER_STEP];
        for (int i = 0; i < PER_STEP; i++) {
            memory[i] = engram_bench_keep(engram_arena_alloc(arena, loop->size));
            good = good && memory[i] != NULL;
        }
        if (loop->touch && good) {
            for (int i = 0; i < PER_STEP; i++) {
                fill(memory[i], loop->size, step);
            }
        }
        engram_bench_barrier();
        engram_arena_reset(arena);
    }
    return good;
}

/* Mean over the threads of the nanoseconds per allocation, each thread on its own clock. */
static double run_loop(struct loop *loop, bool use_arena)
{
    double total = 0.0;
    int team = 0;
    bool good = true;

#pragma omp parallel num_threads(loop->threads) reduction(+ : total, team) reduction(&& : good)
    {
        struct engram_arena arena = {0};
        good = !use_arena || engram_bench_warm_arena(&arena, loop->size * PER_STEP);
#pragma omp barrier
        uint64_t start = engram_bench_now();
        if (good) {
            good = use_arena ? arena_steps(loop, &arena) : malloc_steps(loop);
        }
        total = (double)(engram_bench_now() - start);
        team = 1;
        engram_arena_destroy(&arena);
    }
    loop->failed = loop->failed || !good;
    return total / (double)team / (double)(loop->steps * PER_STEP);
}

static double run_arena(void *context)
{
    return run_loop(context, true);
}

static double run_malloc(void *context)
{
    return run_loop(context, false);
}

/* Arena and malloc in turns; a round takes about two milliseconds each. */
static struct engram_bench_pair compare(size_t size, int threads, bool touch, bool *failed)
{
    struct loop loop = {.size = size, .steps = 1000, .threads = threads, .touch = touch};
    double ns = run_malloc(&loop);
    double steps = 2e6 / (ns * PER_STEP);

    loop.steps = steps < 100.0 ? 100 : (size_t)steps;
    struct engram_bench_pair pair =
        engram_bench_paired(run_arena, &loop, run_malloc, &loop, ROUNDS);
    *failed = *failed || loop.failed;
    return pair;
}

/* ---- results */

struct results {
    char malloc_name[64];
    int threads;
    /* by size; alone and with all threads; memory not touched and written */
    struct engram_bench_pair cost[SIZE_COUNT][2][2];
    struct engram_bench_queries small;
    struct engram_bench_queries tiny;
    struct engram_bench_queries team;
    size_t other_count;
    bool other_found[8];
    struct engram_bench_malloc others[8];
};

static bool measure_costs(struct results *results)
{
    bool failed = false;
    for (size_t s = 0; s < SIZE_COUNT; s++) {
        for (int all = 0; all < 2; all++) {
            for (int touch = 0; touch < 2; touch++) {
                results->cost[s][all][touch] =
                    compare(SIZES[s], all != 0 ? results->threads : 1, touch != 0, &failed);
            }
        }
    }
    return !failed;
}

static void measure_others(struct results *results)
{
    size_t limit = sizeof results->others / sizeof results->others[0];
    size_t i = 0;
    while (i < limit && engram_bench_preloaded(i, results->threads, &results->other_found[i],
                                               &results->others[i])) {
        i++;
    }
    results->other_count = i;
}

static void print_json(const struct results *results)
{
    char name[96];
    const struct engram_bench_pair *main_case = results->cost[SIZE_3_KIB][1];

    engram_bench_json("threads", results->threads, "threads");
    engram_bench_json("arena_alloc_ns", results->cost[SIZE_3_KIB][0][0].a, "ns");
    engram_bench_json("malloc_over_arena", main_case[0].ratio,
                      "ratio, 3 KiB, all threads, memory not touched");
    engram_bench_json("malloc_over_arena_touched", main_case[1].ratio,
                      "ratio, 3 KiB, all threads, memory written");
    for (size_t s = 0; s < SIZE_COUNT; s++) {
        for (int all = 0; all < 2; all++) {
            const struct engram_bench_pair *pair = &results->cost[s][all][0];
            const char *suffix = all != 0 ? "_all_threads" : "";
            (void)snprintf(name, sizeof name, "arena_alloc_ns_%s%s", SIZE_KEYS[s], suffix);
            engram_bench_json(name, pair->a, "ns");
            (void)snprintf(name, sizeof name, "malloc_ns_%s%s", SIZE_KEYS[s], suffix);
            engram_bench_json(name, pair->b, "ns");
        }
    }
    for (size_t i = 0; i < results->other_count; i++) {
        if (results->other_found[i]) {
            const struct engram_bench_malloc *other = &results->others[i];
            (void)snprintf(name, sizeof name, "%s_over_arena", other->name);
            engram_bench_json(name, other->over_arena,
                              "ratio, 3 KiB, all threads, memory not touched");
        }
    }
    engram_bench_json("kernel_arena_ms", results->small.arena_ns * 1e-6, "ms, 1000 queries");
    engram_bench_json("kernel_malloc_ms", results->small.malloc_ns * 1e-6, "ms, 1000 queries");
    engram_bench_json("kernel_malloc_over_arena", results->small.ratio, "ratio, paired");
    engram_bench_json("kernel_malloc_over_arena_all_threads", results->team.ratio, "ratio, paired");
    engram_bench_json("arena_share_percent", results->small.arena_share, "% of the kernel's time");
    engram_bench_json("scratch_share_percent", results->small.scratch_share,
                      "% of the kernel's time");
    engram_bench_json("malloc_share_percent", results->small.malloc_share,
                      "% of the kernel's time");
    engram_bench_json("arena_share_percent_tiny", results->tiny.arena_share,
                      "% of the kernel's time");
    engram_bench_json("malloc_share_percent_tiny", results->tiny.malloc_share,
                      "% of the kernel's time");
}

static void print_costs(const struct results *results)
{
    printf("One allocation, in ns: three are made, then all are given back; malloc is that of %s.\n"
           "Medians of %d rounds, arena and malloc in turns.\n\n",
           results->malloc_name, (int)ROUNDS);
    printf("                    memory not touched         all of it written\n");
    printf("  size    threads   arena  malloc   ratio     arena  malloc  ratio\n");
    for (size_t s = 0; s < SIZE_COUNT; s++) {
        for (int all = 0; all < 2; all++) {
            const struct engram_bench_pair *pair = results->cost[s][all];
            printf("  %-7s %6d  %7.2f %7.1f %6.1fx   %7.1f %7.1f %5.2fx\n", SIZE_NAMES[s],
                   all != 0 ? results->threads : 1, pair[0].a, pair[0].b, pair[0].ratio, pair[1].a,
                   pair[1].b, pair[1].ratio);
        }
    }
    printf("\nOther allocators, ns an allocation, not touched (each preloaded in a process of its "
           "own):\n");
    printf("                64 B          3 KiB         64 KiB     3 KiB, %d threads,\n",
           results->threads);
    printf("             1     all      1     all      1     all   over the arena\n");
    for (size_t i = 0; i < results->other_count; i++) {
        const struct engram_bench_malloc *other = &results->others[i];
        if (!results->other_found[i]) {
            printf("  %-8s not installed\n", other->name);
            continue;
        }
        printf("  %-8s", other->name);
        for (size_t s = 0; s < SIZE_COUNT; s++) {
            printf(" %6.1f %6.1f ", other->size_ns[s], other->size_all_ns[s]);
        }
        printf("   %6.1fx\n", other->over_arena);
    }
}

static void print_times(const char *title, const struct engram_bench_queries *queries)
{
    printf("  %-27s %8.3f %9.3f %7.3fx", title, queries->arena_ns * 1e-6, queries->malloc_ns * 1e-6,
           queries->ratio);
}

static void print_shares(const struct engram_bench_queries *queries)
{
    printf("   %6.3f %8.3f %7.3f\n", queries->arena_share, queries->scratch_share,
           queries->malloc_share);
}

static void print_claims(const struct results *results)
{
    const struct engram_bench_pair *one = results->cost[SIZE_3_KIB][0];
    const struct engram_bench_pair *all = results->cost[SIZE_3_KIB][1];
    const struct engram_bench_queries *tiny = &results->tiny;

    printf("\nClaims about the original, and what this machine says:\n");
    printf("  %-38s %-16s %s\n", "claim", "claimed", "measured");
    printf("  %-38s %-16s %.0f ns alone, %.0f ns with %d threads (64 B: %.0f ns)%s\n",
           "malloc, an allocation", "50-100 ns", one[0].b, all[0].b, results->threads,
           results->cost[0][0][0].b, one[0].b < 50.0 ? "; faster than claimed" : "");
    printf("  %-38s %-16s %.2f ns\n", "arena, an allocation", "about 5 ns", one[0].a);
    printf("  %-38s %-16s %.1fx (3 KiB, all threads); %.2fx when it is written\n",
           "arena faster than malloc", "15x", all[0].ratio, all[1].ratio);
    printf("  %-38s %-16s %.3f -> %.3f ms, %.3fx (16 base rows)%s\n",
           "1000 queries x 3 allocations", "2.117 -> 1.809 ms", tiny->malloc_ns * 1e-6,
           tiny->arena_ns * 1e-6, tiny->ratio, tiny->ratio < 1.17 ? "; less than claimed" : "");
    printf("  %-38s %-16s %.2f %% (16 base rows), %.3f %% (256)\n", "share of malloc", "15 %",
           tiny->malloc_share, results->small.malloc_share);
    printf("  %-38s %-16s %.3f %% (16 base rows), %.3f %% (256)\n", "share of the arena",
           "under 1 %", tiny->arena_share, results->small.arena_share);
}

static void print_table(const struct results *results)
{
    print_costs(results);
    printf("\n1000 queries of 768 dimensions, three buffers each: normalised query, the query in "
           "float64,\nscores against a small base by the canonical kernel. Share: the "
           "allocations alone, of the\nkernel's time; \"scratch\" is the arena behind its four "
           "levels.\n\n");
    printf("                                 time, ms          paired    share, %% of the time\n");
    printf("                                arena    malloc    ratio    arena  scratch  malloc\n");
    print_times("16 base rows, 1 thread", &results->tiny);
    print_shares(&results->tiny);
    print_times("256 base rows, 1 thread", &results->small);
    print_shares(&results->small);
    print_times("256 base rows, all threads", &results->team);
    printf("\n");
    print_claims(results);
}

/* ---- the command */

/* In the process that has another malloc preloaded: the numbers of struct engram_bench_malloc. */
static int run_malloc_only(const char *expected, int threads)
{
    char name[64];
    double one[SIZE_COUNT];
    double all[SIZE_COUNT];
    double over_arena = 0.0;
    bool failed = false;

    engram_bench_malloc_name(name, sizeof name);
    if (strcmp(name, expected) != 0) {
        fprintf(stderr, "engram-bench: malloc is that of %s, not %s\n", name, expected);
        return 1;
    }
    for (size_t s = 0; s < SIZE_COUNT; s++) {
        one[s] = compare(SIZES[s], 1, false, &failed).b;
        struct engram_bench_pair pair = compare(SIZES[s], threads, false, &failed);
        all[s] = pair.b;
        if (s == SIZE_3_KIB) {
            over_arena = pair.ratio;
        }
    }
    printf("%.6g %.6g %.6g %.6g %.6g %.6g %.6g\n", one[0], one[1], one[2], all[0], all[1], all[2],
           over_arena);
    return failed ? EXIT_RESOURCE : 0;
}

static bool take_option(void *context, int value, const char *argument)
{
    if (value == OPTION_MALLOC_ONLY) {
        const char **malloc_only = context;
        *malloc_only = argument;
        return true;
    }
    return false;
}

int engram_bench_arena(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        /* how this program calls itself; not in the help */
        {"malloc-only", required_argument, NULL, OPTION_MALLOC_ONLY},
        {NULL, 0, NULL, 0},
    };
    const char *malloc_only = NULL;
    const struct engram_bench_extra extra = {
        .options = OPTIONS, .take = take_option, .context = &malloc_only};
    struct engram_bench_options options;
    static struct results results;

    int code =
        engram_bench_parse(argc, argv, "Measures the arena against malloc.", &extra, &options);
    if (code != ENGRAM_BENCH_GO_ON) {
        return code;
    }
    if (malloc_only != NULL) {
        return run_malloc_only(malloc_only, options.threads);
    }
    results.threads = options.threads;
    engram_bench_malloc_name(results.malloc_name, sizeof results.malloc_name);
    if (!measure_costs(&results) || !engram_bench_queries_run(TINY_ROWS, 1, &results.tiny) ||
        !engram_bench_queries_run(256, 1, &results.small) ||
        !engram_bench_queries_run(256, options.threads, &results.team)) {
        fprintf(stderr, "engram-bench: not enough memory\n");
        return EXIT_RESOURCE;
    }
    measure_others(&results);
    if (options.json) {
        print_json(&results);
    } else {
        print_table(&results);
    }
    return 0;
}
