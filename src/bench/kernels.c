/* engram-bench kernels: every tile alone, on operands that stay in the nearest caches, against the
 * multiply-add peak of its own set. One thread; tile and peak in turns, medians. The clock is that
 * of the thread's CPU time: here, unlike in a search, what others do on the machine can be left
 * out. */
#define _GNU_SOURCE
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "bench/peak.h"

enum { ROUNDS = 9, ROWS = 64, QUERIES = 16, PANELS = 1, PAIRS = 256 };
#define BURST_NS 4e6
#define DIM_MAX ((size_t)768)

static const size_t DIMS[] = {100, 128, 256, 768};
#define DIM_COUNT (sizeof DIMS / sizeof DIMS[0])

/* Operands of all kernels, large enough for every set. */
struct operands {
    float *floats;  /* [DIM_MAX][ROWS + QUERIES]: panels, then a strip */
    uint8_t *codes; /* likewise, in groups of four */
    double *wide;   /* [ROWS + QUERIES][DIM_MAX] */
    double *raw;    /* [ROWS][QUERIES], or one a pair */
    struct engram_candidate *found;
    struct engram_candidate pairs[PAIRS];
    uint8_t live[ROWS / 8];
};

/* A kernel to be measured: a burst of calls and what it comes to. */
struct probe {
    const struct engram_kernels *kernels;
    const struct operands *operands;
    size_t dim;
    enum engram_op op;
    enum engram_work_type type;
    size_t calls;
    size_t found;                        /* pairs that a tile reported; none should */
    double (*call)(struct probe *probe); /* one call: twice the number of products in it */
};

static double call_f32(struct probe *probe)
{
    const struct engram_kernels *kernels = probe->kernels;
    float threshold[ENGRAM_F32_QUERIES_MAX];
    for (size_t q = 0; q < ENGRAM_F32_QUERIES_MAX; q++) {
        threshold[q] = FLT_MAX;
    }
    const struct engram_f32_strip strip = {
        .strip = probe->operands->floats + DIM_MAX * ROWS,
        .panels = probe->operands->floats,
        .threshold = threshold,
        .live = probe->operands->live,
        .depth = probe->dim,
        .panel_count = PANELS,
    };
    probe->found += kernels->f32_tile(&strip, probe->operands->found);
    return 2.0 * (double)(kernels->f32_queries * kernels->f32_rows * PANELS * probe->dim);
}

static double call_int(struct probe *probe)
{
    const struct engram_kernels *kernels = probe->kernels;
    static const struct engram_int_head heads[PANELS] = {{1, 0, 0, 0}};
    static const float bias[PANELS * ENGRAM_INT_ROWS_MAX];
    static const float zero[ENGRAM_INT_QUERIES_MAX];
    static const int32_t offset[ENGRAM_INT_QUERIES_MAX];
    float level[ENGRAM_INT_QUERIES_MAX];
    for (size_t q = 0; q < ENGRAM_INT_QUERIES_MAX; q++) {
        level[q] = 1e30F;
    }
    const struct engram_int_strip strip = {
        .strip = (const int8_t *)(probe->operands->codes + DIM_MAX * ROWS),
        .panels = probe->operands->codes,
        .heads = heads,
        .bias = bias,
        .offset = offset,
        .level = level,
        .row_error = zero,
        .query_error = zero,
        .slope = zero,
        .live = probe->operands->live,
        .groups = (probe->dim + 3) / 4,
        .panel_count = PANELS,
    };
    probe->found += kernels->int_tile(&strip, probe->operands->found);
    return 2.0 * (double)(kernels->int_queries * kernels->int_rows * PANELS * probe->dim);
}

/* Queries are the last rows of `wide`; base rows the first of `wide`, or of `floats` as if it were
 * row-major: any numbers will do. */
static void canonical_operands(const struct probe *probe, struct engram_wide_rows *queries,
                               struct engram_base_rows *base)
{
    const struct operands *operands = probe->operands;
    bool wide = probe->type == ENGRAM_WORK_F64;
    *queries = (struct engram_wide_rows){operands->wide + ROWS * DIM_MAX, probe->dim};
    *base = (struct engram_base_rows){wide ? (const unsigned char *)operands->wide
                                           : (const unsigned char *)operands->floats,
                                      probe->dim * (wide ? sizeof(double) : sizeof(float))};
}

enum { TILE_ROWS = 16, TILE_QUERIES = 4 };

static double call_canonical_tile(struct probe *probe)
{
    struct engram_wide_rows queries;
    struct engram_base_rows base;
    canonical_operands(probe, &queries, &base);
    probe->kernels->canonical_tile[probe->op][probe->type](&queries, TILE_QUERIES, &base, TILE_ROWS,
                                                           probe->dim, probe->operands->raw);
    return 2.0 * (double)((size_t)TILE_ROWS * TILE_QUERIES * probe->dim);
}

static double call_canonical_pairs(struct probe *probe)
{
    struct engram_wide_rows queries;
    struct engram_base_rows base;
    canonical_operands(probe, &queries, &base);
    probe->kernels->canonical_pairs[probe->op][probe->type](
        &queries, &base, probe->dim, probe->operands->pairs, PAIRS, probe->operands->raw);
    return 2.0 * (double)(PAIRS * probe->dim);
}

static double call_peak(struct probe *probe)
{
    return (double)probe->kernels->f32_peak(2000);
}

static double call_int_peak(struct probe *probe)
{
    return (double)engram_bench_int_burst(probe->kernels)(2000);
}

static double cpu_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* GFLOP/s over about BURST_NS. */
static double burst(void *context)
{
    struct probe *probe = context;
    double operations = 0;
    double start = cpu_now();
    for (size_t i = 0; i < probe->calls; i++) {
        operations += probe->call(probe);
    }
    double ns = cpu_now() - start;
    return operations / (ns > 1 ? ns : 1);
}

/* As many calls as take about BURST_NS. */
static void calibrate(struct probe *probe)
{
    double ns = 0;
    probe->calls = 1;
    while (ns < BURST_NS / 8) {
        probe->calls *= 2;
        double start = cpu_now();
        (void)burst(probe);
        ns = cpu_now() - start;
    }
    probe->calls = (size_t)((double)probe->calls * BURST_NS / ns) + 1;
}

/* KiB that one call touches. */
static double footprint(const struct probe *probe)
{
    const struct engram_kernels *kernels = probe->kernels;
    double bytes;
    if (probe->call == call_f32) {
        bytes = 4.0 * (double)(kernels->f32_queries + kernels->f32_rows * PANELS);
    } else if (probe->call == call_int) {
        bytes = (double)(kernels->int_queries + kernels->int_rows * PANELS);
    } else {
        double element = probe->type == ENGRAM_WORK_F64 ? 8 : 4;
        bytes = 8.0 * TILE_QUERIES + element * TILE_ROWS;
    }
    return bytes * (double)probe->dim / 1024;
}

static bool measure(struct probe *probe, const char *name, bool json)
{
    struct probe peak = {.kernels = probe->kernels, .call = call_peak};
    calibrate(&peak);
    calibrate(probe);
    struct engram_bench_pair pair = engram_bench_paired(burst, &peak, burst, probe, ROUNDS);
    if (json) {
        char full[96];
        (void)snprintf(full, sizeof full, "kernels/%s/%s/%zu/gflops", probe->kernels->name, name,
                       probe->dim);
        engram_bench_json(full, pair.b, "GFLOP/s");
        (void)snprintf(full, sizeof full, "kernels/%s/%s/%zu/of_peak", probe->kernels->name, name,
                       probe->dim);
        engram_bench_json(full, pair.ratio, "ratio");
    } else {
        printf("%-9s %-26s %5zu %8.0f %10.1f %10.1f %9.2f\n", probe->kernels->name, name,
               probe->dim, footprint(probe), pair.a, pair.b, pair.ratio);
    }
    if (probe->found != 0) {
        fprintf(stderr, "engram-bench: %s of %s found pairs where there are none\n", name,
                probe->kernels->name);
    }
    return probe->found == 0;
}

static bool measure_set(struct probe *probe, bool json)
{
    static const struct {
        const char *name;
        enum engram_op op;
        enum engram_work_type type;
    } CASES[] = {
        {"dot_f32", ENGRAM_OP_DOT, ENGRAM_WORK_F32},
        {"dot_f64", ENGRAM_OP_DOT, ENGRAM_WORK_F64},
        {"sqdiff_f32", ENGRAM_OP_SQDIFF, ENGRAM_WORK_F32},
        {"sqdiff_f64", ENGRAM_OP_SQDIFF, ENGRAM_WORK_F64},
        {"absdiff_f32", ENGRAM_OP_ABSDIFF, ENGRAM_WORK_F32},
    };
    bool good = true;
    for (size_t d = 0; d < DIM_COUNT; d++) {
        probe->dim = DIMS[d];
        probe->call = call_f32;
        good = measure(probe, "f32_tile", json) && good;
        probe->call = call_int;
        good = measure(probe, "int_tile", json) && good;
    }
    probe->dim = DIMS[0];
    for (size_t c = 0; c < sizeof CASES / sizeof CASES[0]; c++) {
        char name[48];
        probe->op = CASES[c].op;
        probe->type = CASES[c].type;
        probe->call = call_canonical_tile;
        (void)snprintf(name, sizeof name, "canonical_tile_%s", CASES[c].name);
        good = measure(probe, name, json) && good;
        probe->call = call_canonical_pairs;
        (void)snprintf(name, sizeof name, "canonical_pairs_%s", CASES[c].name);
        good = measure(probe, name, json) && good;
    }
    return good;
}

/* The integer instructions alone, for scale. */
static void measure_int_peak(const struct engram_kernels *kernels, bool json)
{
    struct probe peak = {.kernels = kernels, .call = call_peak};
    struct probe probe = {.kernels = kernels, .call = call_int_peak};
    char name[64];

    if (engram_bench_int_burst(kernels) == NULL) {
        return;
    }
    calibrate(&peak);
    calibrate(&probe);
    struct engram_bench_pair pair = engram_bench_paired(burst, &peak, burst, &probe, ROUNDS);
    if (json) {
        (void)snprintf(name, sizeof name, "kernels/%s/int_peak/gops", kernels->name);
        engram_bench_json(name, pair.b, "GOP/s");
    } else {
        printf("%-9s %-26s %5s %8s %10.1f %10.1f %9.2f\n", kernels->name, "integer instructions",
               "", "", pair.a, pair.b, pair.ratio);
    }
}

static bool make_operands(struct operands *operands)
{
    const size_t count = DIM_MAX * (ROWS + QUERIES);
    uint64_t state = 1;
    operands->floats = aligned_alloc(64, count * sizeof(float));
    operands->codes = aligned_alloc(64, count);
    operands->wide = aligned_alloc(64, count * sizeof(double));
    operands->raw = aligned_alloc(64, (size_t)ROWS * QUERIES * sizeof(double));
    operands->found = aligned_alloc(64, (size_t)ROWS * QUERIES * sizeof(struct engram_candidate));
    if (operands->floats == NULL || operands->codes == NULL || operands->wide == NULL ||
        operands->raw == NULL || operands->found == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        operands->floats[i] = engram_bench_random(&state);
        operands->wide[i] = (double)engram_bench_random(&state);
        operands->codes[i] = (uint8_t)(31.0F * (engram_bench_random(&state) + 1.0F));
    }
    for (size_t i = 0; i < PAIRS; i++) {
        operands->pairs[i] = (struct engram_candidate){
            (uint32_t)i % TILE_QUERIES, (uint32_t)(7 * i / TILE_QUERIES) % TILE_ROWS};
    }
    memset(operands->live, 0xff, sizeof operands->live);
    return true;
}

int engram_bench_kernels(int argc, char **argv)
{
    struct engram_bench_options options;
    struct operands operands = {0};
    struct probe probe = {.operands = &operands};
    int code = engram_bench_parse(argc, argv, "each kernel alone, on one thread, against the peak",
                                  NULL, &options);

    if (code != ENGRAM_BENCH_GO_ON) {
        return code;
    }
    code = make_operands(&operands) ? 0 : 71;
    if (code == 0 && !options.json) {
        printf("one thread, GFLOP/s (2 a product), median of %d rounds\n", ROUNDS);
        printf("%-9s %-26s %5s %8s %10s %10s %9s\n", "set", "kernel", "dim", "KiB", "f32 peak",
               "kernel", "of peak");
    }
    for (size_t i = 0; code == 0 && (probe.kernels = engram_kernels_at(i)) != NULL; i++) {
        measure_int_peak(probe.kernels, options.json);
        code = measure_set(&probe, options.json) ? 0 : 70;
    }
    free(operands.floats);
    free(operands.codes);
    free(operands.wide);
    free(operands.raw);
    free(operands.found);
    return code;
}
