/* Scores as the values that people ask for: distances or similarities, float64 or float32. */
#ifndef ENGRAM_SEARCH_VALUES_H
#define ENGRAM_SEARCH_VALUES_H

#include "search/metric.h"

/* An array of values. */
struct engram_values {
    void *data; /* float or double */
    bool float32;
    bool similarity;
};

/* To the nearest float32; beyond the largest is infinity, which C leaves open. */
static inline float engram_narrow(double value)
{
    const double limit = 0x1.ffffffp127; /* halfway between FLT_MAX and 2^128 */
    if (value >= limit) {
        return (float)INFINITY;
    }
    return value <= -limit ? -(float)INFINITY : (float)value;
}

/* The value of a score. A similarity of -0 counts as +0, as a distance does; NaN stays NaN. */
static inline double engram_value(bool similarity, struct engram_order order, double score)
{
    return similarity ? score + 0.0 : engram_key(order, score);
}

/* values[at, at + count) = those of the scores; NaN: no value. `order` is the metric's. */
void engram_values_put(const struct engram_values *values, struct engram_order order, size_t at,
                       size_t count, const double *scores);

#endif
