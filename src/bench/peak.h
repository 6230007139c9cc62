/* The yardsticks: multiply-adds a second and bytes read a second. */
#ifndef ENGRAM_BENCH_PEAK_H
#define ENGRAM_BENCH_PEAK_H

#include "kernels/kernels.h"

/* GFLOP/s of the set's peak loop on `threads` threads, over about 50 ms. */
double engram_bench_f32_peak(const struct engram_kernels *kernels, int threads);

/* The same over about `ns` nanoseconds, without a warm-up of its own. Every thread counts what it
 * did in its own time: one that starts late or is put aside does not slow the others' figure. */
double engram_bench_f32_rate(const struct engram_kernels *kernels, int threads, double ns);

/* Products of bytes added into wider sums, by the instructions that the set's integer tile is made
 * of: a loop like f32_peak that returns the number of multiplications and additions, or NULL where
 * there is none for this set; and its rate, 10^9 a second, or 0. */
engram_f32_peak_fn engram_bench_int_burst(const struct engram_kernels *kernels);
double engram_bench_int_rate(const struct engram_kernels *kernels, int threads, double ns);

/* Reads `bytes` bytes once, each thread its contiguous share; the number of seconds. `data` is
 * aligned to 16 bytes. */
double engram_bench_stream(const void *data, size_t bytes, int threads);

#endif
