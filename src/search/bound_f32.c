/* Names and steps follow the proof in bound_f32.h. */
#include "search/bound_f32.h"

#include <math.h>

#include "search/bound_l1.h"

/* The mutation test builds with a factor below 1 and expects the suite to fail. */
#ifndef ENGRAM_MUTATE_F32_BOUND
#define ENGRAM_MUTATE_F32_BOUND 1.0
#endif

struct engram_f32_bound engram_f32_bound_make(enum engram_metric metric, size_t dim, double largest)
{
    const double u = 0x1p-24;
    bool l1 = metric == ENGRAM_L1;
    size_t extra = metric == ENGRAM_COSINE || l1 ? 0 : metric == ENGRAM_IP ? 1 : 2;
    size_t depth = dim + extra;
    double mu = (double)(depth + 8) * u;
    return (struct engram_f32_bound){
        .metric = metric,
        .dim = dim,
        .depth = depth,
        .exponent = metric == ENGRAM_COSINE ? 0 : engram_dot_exponent(largest, l1 ? 1 : dim),
        .error = mu / (1 - mu) * ENGRAM_MUTATE_F32_BOUND,
        .tiny = 8 * (double)(depth + 8) * 0x1p-126,
    };
}

float engram_f32_norm_up(double norm2, double factor)
{
    return engram_round_up(sqrt(norm2) * factor * (1 + 0x1p-30));
}

void engram_f32_extend_query(const struct engram_f32_bound *bound,
                             const struct engram_projected *query, float *values)
{
    size_t at = 0;
    if (bound->depth - bound->dim == 2) {
        values[at++] = (float)ldexp(1, bound->exponent - query->exponent);
    }
    if (bound->depth > bound->dim) {
        values[at] = engram_f32_norm_up(query->norm2, 2 * bound->error);
    }
}

void engram_f32_extend_row(const struct engram_f32_bound *bound, double norm2, float *values)
{
    size_t at = 0;
    if (bound->depth - bound->dim == 2) {
        values[at++] = engram_round_up(-norm2 / 2 * (1 - 2 * bound->error));
    }
    if (bound->depth > bound->dim) {
        values[at] = engram_f32_norm_up(norm2, 1);
    }
}

float engram_f32_threshold(const struct engram_f32_bound *bound,
                           const struct engram_projected *query, double max_key, double min_score)
{
    if (bound->metric == ENGRAM_L1) {
        return engram_l1_threshold(bound, query, max_key);
    }
    double limit =
        engram_dot_limit(bound->metric, bound->dim, bound->exponent, query, max_key, min_score);
    if (bound->metric == ENGRAM_COSINE) {
        limit -= bound->error; /* elsewhere the last coordinates hold it */
    }
    return engram_round_down(limit - bound->tiny);
}
