/* Names and steps follow the proof in bound_f32.h. */
#include "search/limit.h"

#include <math.h>

#define EXPONENT_MAX 1000

float engram_round_down(double value)
{
    float rounded = (float)value;
    return (double)rounded > value ? nextafterf(rounded, -INFINITY) : rounded;
}

float engram_round_up(double value)
{
    return -engram_round_down(-value);
}

int engram_dot_exponent(double largest, size_t dim)
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

static double cosine_limit(double max_key, double min_score)
{
    double least = 1 - max_key - 0x1p-52 * (1 + fabs(max_key));
    return least < min_score ? min_score : least;
}

static double ip_limit(size_t dim, int scale, double max_key, double min_score)
{
    double least = -max_key < min_score ? min_score : -max_key;
    return ldexp(least, -scale) - ldexp((double)dim, -1072 - scale);
}

static double l2_limit(enum engram_metric metric, size_t dim, int exponent,
                       const struct engram_projected *query, double max_key)
{
    double squared = metric == ENGRAM_L2 ? max_key * max_key * (1 + 0x1p-50) : max_key;
    squared = squared * (1 + 0x1p-33) + ldexp((double)dim, -1072);
    double own = ldexp(query->norm2 / 2, query->exponent - exponent);
    own *= 1 - (double)(dim + 16) * 0x1p-52;
    return own - ldexp(squared / 2, -(exponent + query->exponent)) * (1 + 0x1p-50);
}

double engram_dot_limit(enum engram_metric metric, size_t dim, int exponent,
                        const struct engram_projected *query, double max_key, double min_score)
{
    double limit;
    if (max_key == -INFINITY) {
        return INFINITY; /* no key is that small */
    }
    switch (metric) {
    case ENGRAM_COSINE:
        limit = cosine_limit(max_key, min_score);
        break;
    case ENGRAM_IP:
        limit = ip_limit(dim, exponent + query->exponent, max_key, min_score);
        break;
    default:
        /* A negative limit admits nothing; zero admits more, and its square is right. */
        limit = l2_limit(metric, dim, exponent, query, max_key < 0 ? 0 : max_key);
        break;
    }
    return isnan(limit) ? -INFINITY : limit; /* inf - inf says nothing */
}
