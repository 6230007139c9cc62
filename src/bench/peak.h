/* The yardstick: float32 multiply-adds a second, and bytes read a second. */
#ifndef ENGRAM_BENCH_PEAK_H
#define ENGRAM_BENCH_PEAK_H

#include "kernels/kernels.h"

/* GFLOP/s of the set's peak loop on `threads` threads, over about 50 ms. */
double engram_bench_f32_peak(const struct engram_kernels *kernels, int threads);

#endif
