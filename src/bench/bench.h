/* What all benchmarks share. A benchmark compares things measured in the same process, close in
 * time and in turns, and reports medians: the machine is rarely quiet. */
#ifndef ENGRAM_BENCH_BENCH_H
#define ENGRAM_BENCH_BENCH_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/arena.h"

/* Options of every benchmark. */
struct engram_bench_options {
    bool json;   /* JSON lines on stdout and nothing else */
    int threads; /* at least 1 */
};

/* Options of one benchmark, beside the common ones. */
struct engram_bench_extra {
    const struct option *options; /* for getopt_long, ended by zeros; `val` from 256 on */
    const char *help;             /* lines for --help */
    bool (*take)(void *context, int value, const char *argument); /* false: a bad argument */
    void *context;
};

#define ENGRAM_BENCH_GO_ON (-1)

/* Parses argv after the subcommand (argv[0] is its name). Returns ENGRAM_BENCH_GO_ON, or the exit
 * code when all is said: after --help, or 64 after a mistake. `extra` may be NULL. */
int engram_bench_parse(int argc, char **argv, const char *summary,
                       const struct engram_bench_extra *extra,
                       struct engram_bench_options *options);

/* The subcommands; each returns an exit code. */
int engram_bench_arena(int argc, char **argv);
int engram_bench_kernels(int argc, char **argv);
int engram_bench_peak(int argc, char **argv);
int engram_bench_search(int argc, char **argv);
int engram_bench_read(int argc, char **argv);

/* Nanoseconds of a clock that never goes back. */
uint64_t engram_bench_now(void);

/* The compiler has to produce this pointer: it cannot drop or merge what made it. */
static inline void *engram_bench_keep(void *pointer)
{
    __asm__ volatile("" : : "r"(pointer));
    return pointer;
}

/* The compiler has to assume that all memory was read and written here. */
static inline void engram_bench_barrier(void)
{
    __asm__ volatile("" : : : "memory");
}

/* Median of `count` > 0 values, which are sorted. */
double engram_bench_median(double *values, size_t count);

/* One measurement of something; the unit is the caller's. */
typedef double (*engram_bench_fn)(void *context);

struct engram_bench_pair {
    double a; /* medians */
    double b;
    double ratio; /* median of the rounds' b / a */
};

#define ENGRAM_BENCH_ROUNDS_MAX 101

/* Measures a b, b a, a b, ... after one round of each to warm up; 1 <= rounds <=
 * ENGRAM_BENCH_ROUNDS_MAX. */
struct engram_bench_pair engram_bench_paired(engram_bench_fn a, void *context_a, engram_bench_fn b,
                                             void *context_b, int rounds);

/* One line {"name":"...","value":...,"unit":"..."} on stdout; name and unit are plain text. */
void engram_bench_json(const char *name, double value, const char *unit);

/* An arena whose pages are there already, as after the first iteration of a job. False: no memory;
 * the arena may be destroyed either way. */
bool engram_bench_warm_arena(struct engram_arena *arena, size_t capacity);

/* Uniform in [-1, 1); `*state` is any seed but 0. */
float engram_bench_random(uint64_t *state);

#endif
