/* What the limits on keys and scores mean for the dot products that filters approximate. The
 * proof is in bound_f32.h, sections 4 to 6. */
#ifndef ENGRAM_SEARCH_LIMIT_H
#define ENGRAM_SEARCH_LIMIT_H

#include <stddef.h>

#include "engram/search.h"

/* One query's side of a projection. */
struct engram_projected {
    int exponent; /* eq */
    double norm2; /* |Q|^2; under l1 the sum of magnitudes */
};

/* The least value of Q.X (cosine, ip) or Q.X - b |X|^2 / 2 (l2, sqeuclidean), in exact
 * arithmetic on the projected rows, that a pair with canonical key <= max_key and score >=
 * min_score can have, up to the absolute error that the filter's own bound allows for. `exponent`
 * is ex. -INFINITY when the limits say nothing, INFINITY when they admit nothing. */
double engram_dot_limit(enum engram_metric metric, size_t dim, int exponent,
                        const struct engram_projected *query, double max_key, double min_score);

/* An exponent e with |row| 2^-e <= 1 for dim elements of magnitude at most `largest`. 2^e and 2^-e
 * are normal doubles; a row beyond becomes (nearly) zero, which the absolute terms cover. */
int engram_dot_exponent(double largest, size_t dim);

/* To float32, never up (down). */
float engram_round_down(double value);
float engram_round_up(double value);

#endif
