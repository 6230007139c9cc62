/* Projection: rows as the filters see them, of norm at most 1 (bound_f32.h, section 1). */
#ifndef ENGRAM_SEARCH_PROJECT_H
#define ENGRAM_SEARCH_PROJECT_H

#include "search/limit.h"
#include "search/rows.h"

struct engram_projection {
    enum engram_metric metric;
    size_t dim;
    int exponent;       /* ex */
    const double *mean; /* l2, sqeuclidean: subtracted first; else NULL */
};

/* The factor f so that (row - mean) f is the projected row. For a query, `query` gets its
 * exponent; for a base row it is NULL. `self_product` is canonical (cosine), `largest` the row's
 * magnitude. */
double engram_projection_factor(const struct engram_projection *projection, const double *row,
                                double self_product, double largest,
                                struct engram_projected *query);

/* (row - mean) f in float64; returns the squared norm. `out` may be `row`. */
double engram_project(const struct engram_projection *projection, double factor, const double *row,
                      double *out);

/* Base rows, widened, whatever their work type. */
struct engram_prepared;
void engram_prepared_row(const struct engram_prepared *prepared, size_t row, double *wide);

/* Mean of a sample of the live base rows: as stored with `projection` NULL, else projected. To be
 * freed by the caller; NULL when memory fails. Any vector is right as a centre, so its own
 * rounding does not matter; it is finite. */
double *engram_sample_mean(const struct engram_prepared *prepared,
                           const struct engram_projection *projection);

#endif
