/* The float32 filter under l1: what is packed, and the proof that it never drops an answer.
 *
 * Notation as in bound_f32.h. A pair's exact distance is D = sum |q_i - x_i|.
 *
 * 1. Packing. Q = (q - m) s and X = (x - m) s with s = 2^-e, m any fixed float64 vector (a mean:
 *    it makes the numbers, and so their errors, small), computed in float64 and then rounded to
 *    float32. With v = u (1 + 2^-20)
 *      |Q^_i - Q_i| <= v |Q_i| + tau,    likewise X^.
 *    e is chosen so that |X_i| <= 1. A query with some |Q_i| > 2^100 is not packed; its threshold
 *    keeps everything.
 * 2. The tile adds d_i = |Q^_i - X^_i|, whose subtraction errs by at most u relative and tau
 *    absolute, one after the other: at most n additions of numbers of one sign, so
 *      t <= (1 + g(n)) sum (|Q^_i - X^_i| + tau).
 *    Sums are below 2^21 2^101 and do not overflow.
 * 3. By the triangle inequality, with |Q| = sum |Q_i|, |X| likewise, and |X| <= |Q| + s D,
 *      t <= (1 + g(n)) (s D + v (|Q| + |X|) + 3 n tau)
 *        <= (1 + g(n)) ((1 + v) s D + 2 v |Q| + 3 n tau)
 *        <= (1 + E) (s D + 3 u |Q|) + T,    E = g(n + 8), T = 8 (n + 8) tau.
 *    Seven u to spare cover the float64 errors of the canonical key (2^-34 is 2^-10 u), of |Q| and
 *    of the threshold itself, each a few 2^-53 or, for |Q|, n 2^-53 relative.
 *    Rows need no term of their own.
 * 4. An answer has canonical key <= K, so t <= (1 + E) (s K + 3 u |Q|) + T, rounded up to float32.
 *    The tile sums -d_i; it keeps what is not below minus that. */
#ifndef ENGRAM_SEARCH_BOUND_L1_H
#define ENGRAM_SEARCH_BOUND_L1_H

#include "search/bound_f32.h"

/* (row - mean) s, rounded to float32, into `dense`: dim values. For a query `query` is filled:
 * its norm2 is |Q|, infinite when it is not packed. For a base row it is NULL. */
void engram_l1_project(const struct engram_f32_bound *bound, const double *mean, const double *row,
                       struct engram_projected *query, float *dense);

/* The threshold of l1_tile for pairs with key <= max_key. */
float engram_l1_threshold(const struct engram_f32_bound *bound,
                          const struct engram_projected *query, double max_key);

#endif
