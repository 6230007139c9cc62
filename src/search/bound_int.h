/* The integer filter: rows as small codes, and the proof that it never drops an answer.
 *
 * Notation as in bound_f32.h: Q and X are the projected rows (norm at most 1), u = 2^-24.
 *
 * 1. Centring. m is a fixed vector, the mean of a sample of projected rows (cosine, ip), or zero;
 *    l2 and sqeuclidean have subtracted a mean in the projection already. With X' = X - m and,
 *    for any number k >= 0, Q' = Q - k m:
 *        Q.X = Q'.X' + k (m.X') + Q.m.
 *    k = Q.m / |m|^2, where that is positive, makes Q' short. For l2 and sqeuclidean X' = X,
 *    Q' = Q, and the quantity to bound is Q.X - b |X|^2 / 2. In both cases it has the form
 *        s = Q'.X' + k w + c
 *    with a row term w (m.X' or -|X|^2 / 2), k >= 0 (or b), and a query term c (Q.m or 0).
 * 2. Codes. X' is computed in float32 (called F). One scale p for a panel, one scale y for a
 *    query: F = p C + E, Q' = y D + G, C and D integer vectors within the kernel's limits,
 *    |E| <= R, |G| <= S. Then
 *        Q'.F = p y C.D + Q'.E + G.(p C) <= p y C.D + |Q'| R + S |p C|,
 *    by Cauchy-Schwarz; R, S and norms are computed from the codes actually stored, so clipping,
 *    rounding to codes and any choice of scales are covered.
 * 3. So a pair that may be an answer, s >= L (engram_dot_limit), has
 *        C.D + (k / y) (w / p) >= (L - c) / (y p) - (|Q'| / y) (R / p) - (S' / y) (N / p)
 *    with N = max(|p C|, |F|) and S' = S + 2^-22 |Q|. The kernel computes exactly this, from
 *        level = (L - c) / y, row_error = |Q'| / y, query_error = S' / y, slope = k / y,
 *        scale = 1 / p, error = R / p, norm = N / p (the largest of the panel), bias = w / p.
 *    The term 2^-22 |Q| N covers what F for X' changes under l2 and sqeuclidean: x - m is one
 *    float32 subtraction and the factor a power of two, so |X' - F| <= u |X'| (1 + 2^-20) + T
 *    (float64 rows: one rounding of the float64 difference).
 * 4. Rounding of the kernel's float32 operations, each correctly rounded or fused. |C.D| <=
 *    |C||D|, so its conversion and the two additions it takes part in err by at most 4 u |C||D|:
 *    S' is enlarged by 2^-20 |y D|. row_error, query_error, error and norm are enlarged by 2^-17
 *    of themselves: 4 u for their products and subtractions, 2^-18 for the float32 sums that
 *    error and norm come from (at most 32 additions in a row, then float64). R is also enlarged
 *    by 2^-22 |F| for the rounding of F - p C. A float32 square may underflow: each loses at most
 *    2^-150, a sum of n of them at most sqrt(n) 2^-75 of the norm, and R and |F| are enlarged by
 *    twice that. level is lowered by 2^-20 of its magnitude for
 *    its three roundings. bias is raised by 2^-16 of its magnitude: 5 u for its product and sum,
 *    2^-18 for the float32 sum |F|^2, 2 u for F instead of X'; slope is rounded up (k >= 0).
 *    All are rounded outward.
 * 5. Cosine and ip. F has three float32 roundings, two relative to X: |X' - F| <= 4 u, which
 *    changes s by 2^-22 at most (|Q|, |X| <= 1, |m| <= 1). w = m.F may cancel; its float32 sum
 *    errs by at most 40 u |m||F|, so k w errs by 40 u |Q||F| <= 2^-17.6. c errs by n 2^-50. The
 *    limit is lowered by 2^-17, which is more than all of these. Underflow: T as in bound_f32.h.
 * 6. Range. Scales are at least 2^-60, L - c is cut to [-8, 8] (beyond, everything or nothing
 *    survives, as |s| < 8), so every float32 stays below 2^125. |C.D| < 2^31: 127^2 2^16 < 2^31.
 *    The kernel's intermediate 16-bit sums are the kernel's own proof. */
#ifndef ENGRAM_SEARCH_BOUND_INT_H
#define ENGRAM_SEARCH_BOUND_INT_H

#include "search/prepared.h"

/* The prefix filter codes other rows by the same proof; see bound_prefix.h. */
#define ENGRAM_INT_DIM_MAX ((int64_t)1 << 16)

/* A scale below this would let float32 values overflow later (section 6). */
#define ENGRAM_INT_SCALE_MIN 0x1p-60

/* Section 4: enough for the float32 operations of packing and of the kernel. */
#define ENGRAM_INT_ENLARGE (1 + 0x1p-17)

/* The mutation test builds with factors below 1 and expects the suite to fail. */
#ifndef ENGRAM_MUTATE_INT_BOUND
#define ENGRAM_MUTATE_INT_BOUND 1.0
#endif

/* A query in codes. */
struct engram_int_query {
    struct engram_projected projected;
    double scale;     /* y */
    double constant;  /* c */
    double row_error; /* the rest as in section 3, before rounding to float32 */
    double query_error;
    double slope;
    int64_t code_sum; /* of the codes D: base codes are stored with an offset */
};

/* Codes of a query: `dense` holds Q (projected, float64, pack->dim values; with axes the extended
 * row, engram_prefix_query) and is overwritten; `codes` receives as many. */
void engram_int_query_make(const struct engram_prepared *prepared, double *dense,
                           const struct engram_projected *projected, int8_t *codes,
                           struct engram_int_query *query);

/* level for the limits of this moment. */
float engram_int_level(const struct engram_prepared *prepared, const struct engram_int_query *query,
                       double max_key, double min_score);

#endif
