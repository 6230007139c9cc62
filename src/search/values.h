/* Scores as the values that people ask for: distances or similarities, float64 or float32. */
#ifndef ENGRAM_SEARCH_VALUES_H
#define ENGRAM_SEARCH_VALUES_H

#include "search/metric.h"

/* An array of values. */
struct engram_values {
    void *data;    /* float or double */
    size_t stride; /* of a matrix: values from one row to the next */
    bool float32;
    bool similarity;
};

/* Halfway between FLT_MAX and 2^128. */
#define ENGRAM_NARROW_LIMIT 0x1.ffffffp127

/* To the nearest float32; beyond the largest is infinity, which C leaves open. */
static inline float engram_narrow(double value)
{
    if (value >= ENGRAM_NARROW_LIMIT) {
        return (float)INFINITY;
    }
    return value <= -ENGRAM_NARROW_LIMIT ? -(float)INFINITY : (float)value;
}

/* The value of a score. A similarity of -0 counts as +0, as a distance does; NaN stays NaN. */
static inline double engram_value(bool similarity, struct engram_order order, double score)
{
    return similarity ? score + 0.0 : engram_key(order, score);
}

/* values[at, at + count) = those of the scores; NaN: no value. `order` is the metric's. */
void engram_values_put(const struct engram_values *values, struct engram_order order, size_t at,
                       size_t count, const double *scores);

/* engram_score of many sums, in place; xx NULL: the metric needs none. */
void engram_scores(enum engram_metric metric, double *sums, size_t count, double qq,
                   const double *xx);

#endif
