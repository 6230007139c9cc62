/* The float32 filter: what is packed, and the proof that it never drops an answer. l1 is another
 * sum, with its proof in bound_l1.h; it shares the packing and what is declared here.
 *
 * Notation. u = 2^-24; tau = 2^-126, the smallest normal float32, bounds any single error made by
 * underflow (also in flush-to-zero hardware). q, x are rows of n elements as exact real vectors.
 * g(m) = m u / (1 - m u). "Canonical" values are those of <engram/search.h>; they carry float64
 * errors, at most (n/8 + 13) 2^-53 relative to the sum of the magnitudes of their terms, below
 * 2^-34 for n <= 2^21, and 2^-1074 absolute for each product that underflows.
 *
 * 1. Packing. Both sides become vectors Q, X of norm at most 1:
 *      cosine            Q = q / |q|, X = x / |x|; zero rows stay zero
 *      ip                Q = q 2^-eq, X = x 2^-ex
 *      l2, sqeuclidean   Q = (q - m) 2^-eq, X = (x - m) 2^-ex, m any fixed float64 vector (the
 *                        mean of a sample: it makes the norms, and so the error, small), eq >= ex
 *    in float64 and then rounded to float32. Differences, scalings by powers of two and products
 *    with 1/|x| err by at most a few 2^-53 relative, so with v = u (1 + 2^-20)
 *      |Q^_i - Q_i| <= v |Q_i| + tau,    likewise X^.
 * 2. The tile adds at most n' = depth products in any order, fused or not. By the usual analysis
 *    (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1)
 *      |t - sum Q^_i X^_i| <= g(n') sum |Q^_i X^_i| + n' tau (1 + g(n')).
 *    No product or sum exceeds 4 in magnitude, so nothing overflows and no NaN arises.
 * 3. Together, with Cauchy-Schwarz and the triangle inequality,
 *      |t - Q.X| <= (g(n') (1+v)^2 + 2v + v^2) |Q||X| + T <= g(n' + 3) |Q||X| + T
 *    where T collects the absolute terms: T <= (n' + 3 sqrt(n') + 8) tau < 8 (n' + 8) tau.
 *    We use E = g(n' + 8): the five u to spare cover the float64 errors of the canonical value
 *    (2^-34 is 2^-10 u), of |Q|, |X| and of the threshold itself, each a few 2^-53.
 * 4. Cosine: |Q|, |X| <= 1 + 2^-40, depth n. A pair whose canonical score is at least s has
 *    t >= s - E - T. An answer has score >= min_score and key <= K; key = fl(1 - score) <= K
 *    gives score >= 1 - K - 2^-52 (1 + |K|).
 * 5. ip: depth n + 1. The last coordinate is (a, r), a >= E' |Q|, r >= |X| both rounded up, with
 *    E' = 2 E: in exact arithmetic it adds at least 2 E |Q||X|, the tile's rounding may take back
 *    g(n') (|Q||X| + a r) <= E |Q||X| (1 + 4 E), E <= 1/4, so
 *      t >= S score - T, S = 2^-(eq+ex).
 *    An answer has score >= L = max(-K, min_score).
 *    (Twice the bound costs nothing to speak of; the survivors it adds are fewer than one in a
 *    thousand of those that the threshold lets through.)
 * 6. l2 and sqeuclidean: depth n + 2. |q - x|^2 = |q-m|^2 + |x-m|^2 - 2 (q-m).(x-m), so with
 *    b = 2^(ex-eq) <= 1 and s = Q.X - b |X|^2 / 2:
 *      S |q - x|^2 / 2 = |Q|^2 2^(eq-ex) / 2 - s.
 *    The last coordinates are (b, -(1 - 2 E) |X|^2 / 2 rounded up) and (a, r) as for ip. The
 *    first raises the sum by 2 E b |X|^2 / 2, more than the tile's error on that term; so
 *      t >= s - T.
 *    An answer has canonical squared distance D <= K^2 (1 + 2^-50) (l2; the root is monotone) or
 *    <= K, so its exact |q - x|^2 <= D (1 + 2^-33) + n 2^-1072, and
 *      s >= |Q|^2 2^(eq-ex) / 2 - S |q - x|^2 / 2,
 *    lowered by (n + 16) 2^-52 of the first term and 2^-50 of the second for the rounding of
 *    these float64 values.
 * 7. Thresholds go to float32 rounded down. A comparison with a threshold that is -inf keeps
 *    everything; limits that are not finite, and dimensions above 2^21, give -inf or no filter.
 */
#ifndef ENGRAM_SEARCH_BOUND_F32_H
#define ENGRAM_SEARCH_BOUND_F32_H

#include <stddef.h>

#include "engram/search.h"
#include "search/limit.h"

/* Largest dimension the proof covers: E < 0.15. */
#define ENGRAM_F32_DIM_MAX ((int64_t)1 << 21)

/* One base set's side of the bound. */
struct engram_f32_bound {
    enum engram_metric metric;
    size_t dim;
    size_t depth; /* coordinates of a packed row: dim, dim + 1 or dim + 2 */
    int exponent; /* ex */
    double error; /* E */
    double tiny;  /* T */
};

/* `largest`: an upper bound of the magnitudes of the (centred) base elements, finite. */
struct engram_f32_bound engram_f32_bound_make(enum engram_metric metric, size_t dim,
                                              double largest);

/* Packed norm r (or a, times `factor`) from a squared norm: rounded up. */
float engram_f32_norm_up(double norm2, double factor);

/* The last coordinates: `query` for the (a) or (b, a) side, `row` for the (r) or (bias, r) side;
 * they fill depth - dim values. `norm2` is |Q|^2 or |X|^2 in float64. */
void engram_f32_extend_query(const struct engram_f32_bound *bound,
                             const struct engram_projected *query, float *values);
void engram_f32_extend_row(const struct engram_f32_bound *bound, double norm2, float *values);

/* The float32 threshold below which no pair with key <= max_key and score >= min_score lies. */
float engram_f32_threshold(const struct engram_f32_bound *bound,
                           const struct engram_projected *query, double max_key, double min_score);

#endif
