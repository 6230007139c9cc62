/* Names follow the proof in bound_prefix.h. */
#include "search/bound_prefix.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "search/limit.h"

/* The mutation test builds with factors below 1 and expects the suite to fail. */
#ifndef ENGRAM_MUTATE_PREFIX_BOUND
#define ENGRAM_MUTATE_PREFIX_BOUND 1.0
#endif

double engram_prefix_excess(const struct engram_axes *axes)
{
    const double u = 0x1p-24;
    const double v = 4 * u;
    double e = axes->count == 0 ? 0 : axes->defect;
    double terms = 65 + ceil((double)axes->dim / (double)ENGRAM_PRODUCT_BLOCK);
    if (!(e < 0.5) || !(terms * u < 0.5)) {
        return INFINITY;
    }
    double g = terms * u / (1 - terms * u);
    double d = sqrt(1 + e) * (g * sqrt((double)axes->count) * (1 + v) + v);
    double r = sqrt(1 + e) + d;
    return (4 * d * r + e) * (1 + 0x1p-40) + 0x1p-30;
}

float engram_prefix_tail(const struct engram_axes *axes, double computed, double head2)
{
    double e = axes->count == 0 ? 0 : axes->defect;
    double norm2 = computed * (1 + 0x1p-16) + (double)axes->dim * 0x1p-148;
    double rest = norm2 - head2 / (1 + e);
    double tail2 = (rest > 0 ? rest : 0) + axes->excess * norm2;
    return engram_round_up(sqrt(tail2) * (1 + 0x1p-40) * ENGRAM_MUTATE_PREFIX_BOUND);
}

void engram_prefix_rows(const struct engram_kernels *kernels, const struct engram_axes *axes,
                        const float *rows, const double *norm2, size_t count, float *heads,
                        float *out)
{
    const struct engram_f32_products args = {
        .rows = rows,
        .row_count = count,
        .stride = axes->dim,
        .axes = axes->packed,
        .groups = axes->groups,
        .dim = axes->dim,
    };
    size_t width = axes->groups * ENGRAM_PRODUCT_GROUP;
    if (axes->dim > 0 && axes->groups > 0) {
        kernels->f32_products(&args, heads);
    }
    for (size_t r = 0; r < count; r++) {
        const float *from = heads + r * width;
        float *to = out + r * (axes->count + 1);
        double head2[4] = {0, 0, 0, 0};
        for (size_t i = 0; i < axes->count; i++) {
            to[i] = from[i];
            head2[i & 3] += (double)from[i] * (double)from[i];
        }
        to[axes->count] =
            engram_prefix_tail(axes, norm2[r], (head2[0] + head2[1]) + (head2[2] + head2[3]));
    }
}
