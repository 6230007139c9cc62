/* Names and steps follow the proof in bound_l1.h. */
#include "search/bound_l1.h"

#include <math.h>
#include <string.h>

/* The mutation test builds with a factor below 1 and expects the suite to fail. */
#ifndef ENGRAM_MUTATE_L1_BOUND
#define ENGRAM_MUTATE_L1_BOUND 1.0
#endif

#define QUERY_MAX 0x1p100

void engram_l1_project(const struct engram_f32_bound *bound, const double *mean, const double *row,
                       struct engram_projected *query, float *dense)
{
    double scale = ldexp(1, -bound->exponent);
    double largest = 0;
    double norm = 0;
    for (size_t i = 0; i < bound->dim; i++) {
        double magnitude = fabs((row[i] - mean[i]) * scale);
        largest = magnitude > largest ? magnitude : largest;
        norm += magnitude;
    }
    if (query != NULL) {
        query->norm2 = largest > QUERY_MAX ? (double)INFINITY : norm;
    }
    if (largest > QUERY_MAX) {
        memset(dense, 0, bound->dim * sizeof *dense);
        return;
    }
    for (size_t i = 0; i < bound->dim; i++) {
        dense[i] = (float)((row[i] - mean[i]) * scale);
    }
}

float engram_l1_threshold(const struct engram_f32_bound *bound,
                          const struct engram_projected *query, double max_key)
{
    if (max_key < 0) {
        return INFINITY; /* no key is that small */
    }
    double error = bound->error * ENGRAM_MUTATE_L1_BOUND;
    double size = 3 * 0x1p-24 * ENGRAM_MUTATE_L1_BOUND * query->norm2;
    double most = (1 + error) * (ldexp(max_key, -bound->exponent) + size) + bound->tiny;
    return engram_round_down(-most);
}
