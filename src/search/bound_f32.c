/* Names and steps follow the proof in bound_f32.h. */
#include "search/bound_f32.h"

#include <float.h>
#include <math.h>

/* The mutation test builds with a factor below 1 and expects the suite to fail. */
#ifndef ENGRAM_MUTATE_F32_BOUND
#define ENGRAM_MUTATE_F32_BOUND 1.0
#endif

/* Exponents stay where 2^e and 2^-e are normal doubles. A row beyond is packed as (nearly) zero,
 * which the absolute term covers. */
#define EXPONENT_MAX 1000

static float round_down(double value)
{
    float rounded = (float)value;
    return (double)rounded > value ? nextafterf(rounded, -INFINITY) : rounded;
}

static float round_up(double value)
{
    return -round_down(-value);
}

struct engram_f32_bound engram_f32_bound_make(enum engram_metric metric, size_t dim, double largest)
{
    const double u = 0x1p-24;
    size_t extra = metric == ENGRAM_COSINE ? 0 : metric == ENGRAM_IP ? 1 : 2;
    size_t depth = dim + extra;
    double mu = (double)(depth + 8) * u;
    return (struct engram_f32_bound){
        .metric = metric,
        .dim = dim,
        .depth = depth,
        .exponent = metric == ENGRAM_COSINE ? 0 : engram_f32_exponent(largest, dim),
        .error = mu / (1 - mu) * ENGRAM_MUTATE_F32_BOUND,
        .tiny = 8 * (double)(depth + 8) * 0x1p-126,
    };
}

int engram_f32_exponent(double largest, size_t dim)
{
    int exponent = 0;
    if (largest == 0) {
        return -EXPONENT_MAX;
    }
    (void)frexp(largest, &exponent); /* largest < 2^exponent */
    int root = 0;                    /* sqrt(dim) <= 2^root */
    while (root < 16 && ((size_t)1 << (2 * root)) < dim) {
        root++;
    }
    exponent += root;
    return exponent < -EXPONENT_MAX  ? -EXPONENT_MAX
           : exponent > EXPONENT_MAX ? EXPONENT_MAX
                                     : exponent;
}

float engram_f32_norm_up(double norm2, double factor)
{
    return round_up(sqrt(norm2) * factor * (1 + 0x1p-30));
}

void engram_f32_extend_query(const struct engram_f32_bound *bound,
                             const struct engram_f32_query *query, float *values)
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
        values[at++] = round_up(-norm2 / 2 * (1 - 2 * bound->error));
    }
    if (bound->depth > bound->dim) {
        values[at] = engram_f32_norm_up(norm2, 1);
    }
}

static double cosine_limit(const struct engram_f32_bound *bound, double max_key, double min_score)
{
    double least = 1 - max_key - 0x1p-52 * (1 + fabs(max_key));
    if (least < min_score) {
        least = min_score;
    }
    return least - bound->error;
}

static double ip_limit(const struct engram_f32_bound *bound, const struct engram_f32_query *query,
                       double max_key, double min_score)
{
    double least = -max_key < min_score ? min_score : -max_key;
    double underflow = ldexp((double)bound->dim, -1072 - bound->exponent - query->exponent);
    return ldexp(least, -(bound->exponent + query->exponent)) - underflow;
}

static double l2_limit(const struct engram_f32_bound *bound, const struct engram_f32_query *query,
                       double max_key)
{
    double squared = bound->metric == ENGRAM_L2 ? max_key * max_key * (1 + 0x1p-50) : max_key;
    squared = squared * (1 + 0x1p-33) + ldexp((double)bound->dim, -1072);
    double own = ldexp(query->norm2 / 2, query->exponent - bound->exponent);
    own *= 1 - (double)(bound->dim + 16) * 0x1p-52;
    return own - ldexp(squared / 2, -(bound->exponent + query->exponent)) * (1 + 0x1p-50);
}

float engram_f32_threshold(const struct engram_f32_bound *bound,
                           const struct engram_f32_query *query, double max_key, double min_score)
{
    double limit;
    switch (bound->metric) {
    case ENGRAM_COSINE:
        limit = cosine_limit(bound, max_key, min_score);
        break;
    case ENGRAM_IP:
        limit = ip_limit(bound, query, max_key, min_score);
        break;
    default:
        /* A negative limit admits nothing; zero admits more, and its square is right. */
        limit = l2_limit(bound, query, max_key < 0 ? 0 : max_key);
        break;
    }
    limit -= bound->tiny;
    /* inf - inf: the limit says nothing. */
    return isnan(limit) ? -INFINITY : round_down(limit);
}
