/* Principal axes of a sample of rows: nearly orthonormal vectors, the ones along which the rows
 * are longest first. */
#ifndef ENGRAM_SEARCH_AXES_H
#define ENGRAM_SEARCH_AXES_H

#include <stddef.h>

#include "engram/status.h"

/* Axes a filter may use. */
#define ENGRAM_AXES_MAX ((size_t)255)

struct engram_kernels;

struct engram_axes {
    float *packed; /* [groups][dim][16]; NULL: none */
    size_t bytes;
    size_t count;
    size_t groups; /* count / 16, rounded up */
    size_t dim;
    double defect; /* e of bound_prefix.h, of all that were found */
    double excess; /* c of bound_prefix.h, kept here to be computed once */
};

/* Up to `count` axes of the second moment of `sample` ([rows][dim] floats, finite, of norm at most
 * about 1), by subspace iteration: close to the best, in order, deterministic whatever `team` is.
 * There are fewer when the sample has a lower rank. RESOURCE when memory fails. */
ENGRAM_MUST_CHECK enum engram_status engram_axes_find(const struct engram_kernels *kernels,
                                                      const float *sample, size_t rows, size_t dim,
                                                      size_t count, int team,
                                                      struct engram_axes *axes);

/* The axes that are given, `stride` floats apart; none when they are far from orthonormal. RESOURCE
 * when memory fails. */
ENGRAM_MUST_CHECK enum engram_status engram_axes_take(const struct engram_kernels *kernels,
                                                      const float *values, size_t stride,
                                                      size_t count, size_t dim,
                                                      struct engram_axes *axes);

/* Keeps the first `count`; the rest stays in memory. */
void engram_axes_cut(struct engram_axes *axes, size_t count);

void engram_axes_free(struct engram_axes *axes);

#endif
