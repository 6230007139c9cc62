/* The tables, one per file; only those of the target architecture are linked. */
#ifndef ENGRAM_KERNELS_SETS_H
#define ENGRAM_KERNELS_SETS_H

#include "kernels/kernels.h"

extern const struct engram_kernels engram_kernels_portable;
#if defined(__x86_64__)
extern const struct engram_kernels engram_kernels_avx2;
extern const struct engram_kernels engram_kernels_avx512;
#endif
#if defined(__aarch64__)
extern const struct engram_kernels engram_kernels_neon;
#endif

#endif
