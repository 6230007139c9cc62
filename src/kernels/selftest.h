/* Whether a kernel set computes, on this very CPU, what it should. */
#ifndef ENGRAM_KERNELS_SELFTEST_H
#define ENGRAM_KERNELS_SELFTEST_H

#include <stdatomic.h>
#include <stdbool.h>

#include "kernels/kernels.h"

/* Runs every kernel of `set` on small operands, about 0.1 ms: canonical sums must have the bits of
 * portable's, the tiles must list exactly the right pairs where every sum is exact. The CPU must
 * have the instructions. */
bool engram_kernels_selftest(const struct engram_kernels *set);

/* The dispatcher's list. `verdict` starts at ENGRAM_VERDICT_NONE and is filled at first use. */
enum engram_verdict { ENGRAM_VERDICT_NONE = 0, ENGRAM_VERDICT_GOOD, ENGRAM_VERDICT_BAD };
struct engram_kernel_set {
    const struct engram_kernels *kernels;
    bool (*can_run)(void); /* does this machine have the instructions? */
    atomic_int verdict;
};

/* engram_kernels_select over `count` sets, slowest first; the first is trusted, the others must
 * pass the self-test. Threads may call it at the same time. */
ENGRAM_MUST_CHECK enum engram_status engram_kernels_select_from(
    struct engram_kernel_set *sets, size_t count, const char *name, const struct engram_log *log,
    const struct engram_kernels **kernels);

#endif
