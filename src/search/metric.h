/* From canonical sums to scores and keys; see <engram/search.h> for the definitions. */
#ifndef ENGRAM_SEARCH_METRIC_H
#define ENGRAM_SEARCH_METRIC_H

#include <math.h>
#include <stdbool.h>

#include "engram/search.h"
#include "kernels/kernels.h"

/* key = offset + sign * score. Exact but for cosine's one subtraction, monotone, and never -0
 * (0 + -0 = +0). Partials keep the score, from which key and similarity both follow; from the
 * key of a cosine the similarity could not be got back. */
struct engram_order {
    double offset;
    double sign;
};

static inline struct engram_order engram_metric_order(enum engram_metric metric)
{
    switch (metric) {
    case ENGRAM_COSINE:
    case ENGRAM_JACCARD:
        return (struct engram_order){1.0, -1.0};
    case ENGRAM_IP:
        return (struct engram_order){0.0, -1.0};
    default:
        return (struct engram_order){0.0, 1.0};
    }
}

static inline double engram_key(struct engram_order order, double score)
{
    return order.offset + order.sign * score;
}

static inline enum engram_op engram_metric_op(enum engram_metric metric)
{
    return metric == ENGRAM_COSINE || metric == ENGRAM_IP ? ENGRAM_OP_DOT
           : metric == ENGRAM_L1                          ? ENGRAM_OP_ABSDIFF
                                                          : ENGRAM_OP_SQDIFF;
}

/* The metrics of rows of bits, and what they count. */
static inline bool engram_metric_of_bits(enum engram_metric metric)
{
    return metric == ENGRAM_HAMMING || metric == ENGRAM_JACCARD;
}

static inline enum engram_bit_op engram_metric_bit_op(enum engram_metric metric)
{
    return metric == ENGRAM_JACCARD ? ENGRAM_BIT_COMMON : ENGRAM_BIT_DIFFERENT;
}

/* Whether the score rests on a dot product (l2 by expansion). */
static inline bool engram_metric_dots(enum engram_metric metric)
{
    return metric == ENGRAM_COSINE || metric == ENGRAM_IP || metric == ENGRAM_L2 ||
           metric == ENGRAM_SQEUCLIDEAN;
}

/* Whether the score is a similarity: the larger, the nearer. */
static inline bool engram_metric_is_similarity(enum engram_metric metric)
{
    return metric == ENGRAM_COSINE || metric == ENGRAM_IP || metric == ENGRAM_JACCARD;
}

static inline bool engram_metric_valid(enum engram_metric metric)
{
    return (unsigned)metric <= ENGRAM_JACCARD;
}

/* The canonical score from the canonical sum or count. qq and xx are the query's and the row's
 * own: under cosine the canonical self products (sqrt(n * n) is n in IEEE arithmetic, so identical
 * rows score exactly 1), under jaccard how many bits they hold, under hamming qq is the dimension.
 * Counts are exact in float64. */
static inline double engram_score(enum engram_metric metric, double raw, double qq, double xx)
{
    switch (metric) {
    case ENGRAM_COSINE: {
        /* Without branches, so that loops over it vectorise. */
        double product = qq * xx;
        double cosine = raw / sqrt(product == 0 ? 1 : product);
        cosine = cosine > 1 ? 1 : cosine;
        cosine = cosine < -1 ? -1 : cosine;
        return product == 0 ? 0 : cosine;
    }
    case ENGRAM_L2:
        return sqrt(raw);
    case ENGRAM_HAMMING:
        return qq == 0 ? 0 : raw / qq;
    case ENGRAM_JACCARD: {
        double either = qq + xx - raw;
        return either == 0 ? 0 : raw / either;
    }
    default:
        return raw;
    }
}

/* Limits on values and dimension (see Values in <engram/search.h>). Below the dimension limit a
 * float64 row within the magnitude limit cannot overflow a canonical sum:
 * 2^24 * (2e150)^2 < 6.8e307. */
#define ENGRAM_DIM_MAX ((int64_t)1 << 24)
#define ENGRAM_ROWS_MAX (((int64_t)1 << 31) - 64)
#define ENGRAM_MAGNITUDE_MAX 1e150

/* Cosine rows with a magnitude outside [2^-240, 2^240] are scaled: inside, with 2^24 elements at
 * most, qq * xx stays within 2^-960 .. 2^1008. */
#define ENGRAM_COSINE_LARGE 0x1p240
#define ENGRAM_COSINE_SMALL 0x1p-240

/* The exponent e so that a cosine row of largest magnitude `largest` (finite) is to be multiplied
 * by 2^e; 2^e itself need not be a double (e up to 1074), so callers use ldexp. */
static inline int engram_cosine_exponent(double largest)
{
    int exponent = 0;
    if (largest == 0 || (largest <= ENGRAM_COSINE_LARGE && largest >= ENGRAM_COSINE_SMALL)) {
        return 0;
    }
    (void)frexp(largest, &exponent); /* largest = [0.5, 1) * 2^exponent */
    return 1 - exponent;
}

#endif
