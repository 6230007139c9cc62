#define _GNU_SOURCE
#include "bench/bench.h"

#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EXIT_USAGE = 64, THREADS_LIMIT = 4096, OPTIONS_LIMIT = 16 };

static void print_help(const char *name, const char *summary,
                       const struct engram_bench_extra *extra)
{
    printf("Usage: engram-bench %s [OPTIONS]\n%s\n\n", name, summary);
    printf("  --json         one JSON object a line: name, value, unit\n"
           "  --threads N    threads where \"all threads\" is meant (default: all)\n");
    if (extra != NULL && extra->help != NULL) {
        fputs(extra->help, stdout);
    }
    printf("  --help         this text\n");
}

static bool parse_threads(const char *text, int *threads)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < 1 || value > THREADS_LIMIT) {
        fprintf(stderr, "engram-bench: --threads %s: not a number from 1 to %d\n", text,
                THREADS_LIMIT);
        return false;
    }
    *threads = (int)value;
    return true;
}

int engram_bench_parse(int argc, char **argv, const char *summary,
                       const struct engram_bench_extra *extra, struct engram_bench_options *options)
{
    struct option all[OPTIONS_LIMIT] = {
        {"json", no_argument, NULL, 'j'},
        {"threads", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
    };
    size_t count = 3;
    int value = 0;

    if (extra != NULL) {
        for (const struct option *o = extra->options; o->name != NULL; o++) {
            if (count < OPTIONS_LIMIT - 1) {
                all[count++] = *o;
            }
        }
    }
    options->json = false;
    options->threads = omp_get_max_threads();
    optind = 1;
    while ((value = getopt_long(argc, argv, "", all, NULL)) != -1) {
        bool good = true;
        switch (value) {
        case 'j':
            options->json = true;
            break;
        case 't':
            good = parse_threads(optarg, &options->threads);
            break;
        case 'h':
            print_help(argv[0], summary, extra);
            return 0;
        case '?':
            good = false; /* getopt_long has said why */
            break;
        default:
            good = extra != NULL && extra->take(extra->context, value, optarg);
            break;
        }
        if (!good) {
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "engram-bench %s: unexpected argument '%s'\n", argv[0], argv[optind]);
        return EXIT_USAGE;
    }
    return ENGRAM_BENCH_GO_ON;
}

uint64_t engram_bench_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

bool engram_bench_warm_arena(struct engram_arena *arena, size_t capacity)
{
    if (engram_arena_create(arena, capacity) != ENGRAM_OK) {
        return false;
    }
    void *all = engram_arena_alloc(arena, capacity);
    if (all == NULL) {
        return false;
    }
    memset(all, 1, capacity);
    engram_arena_reset(arena);
    return true;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

double engram_bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return count % 2 != 0 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

struct engram_bench_pair engram_bench_paired(engram_bench_fn a, void *context_a, engram_bench_fn b,
                                             void *context_b, int rounds)
{
    double as[ENGRAM_BENCH_ROUNDS_MAX];
    double bs[ENGRAM_BENCH_ROUNDS_MAX];
    double ratios[ENGRAM_BENCH_ROUNDS_MAX];
    size_t count = (size_t)rounds;

    (void)a(context_a);
    (void)b(context_b);
    for (size_t i = 0; i < count; i++) {
        if (i % 2 == 0) {
            as[i] = a(context_a);
            bs[i] = b(context_b);
        } else {
            bs[i] = b(context_b);
            as[i] = a(context_a);
        }
        ratios[i] = bs[i] / as[i];
    }
    return (struct engram_bench_pair){
        .a = engram_bench_median(as, count),
        .b = engram_bench_median(bs, count),
        .ratio = engram_bench_median(ratios, count),
    };
}

void engram_bench_json(const char *name, double value, const char *unit)
{
    printf("{\"name\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", name, value, unit);
}

float engram_bench_random(uint64_t *state)
{
    /* xorshift64 (Marsaglia 2003); the top 24 bits fill a float exactly. */
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (float)(*state >> 40) * 0x1p-23F - 1.0F;
}
