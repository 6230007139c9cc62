/* The prefix filter: rows as their products with a few principal axes and one number for the rest,
 * and the proof that it never drops an answer.
 *
 * Notation as in bound_int.h: Q and X are the projected rows of n elements (norm at most 1),
 * u = 2^-24, g(m) = m u / (1 - m u). V is the p x n matrix of the axes, exactly as stored in
 * float32; any V is right, a nearly orthonormal one is good.
 *
 * 1. Axes. V V^T = I + D with |D| <= e < 1, e the Frobenius norm of D, computed in float64 and
 *    raised. So V has full rank p and a singular value decomposition V = U S Z^T, the diagonal of
 *    S^2 within [1 - e, 1 + e]; |V X| <= sqrt(1 + e) |X|. X = Z Z^T X + P X, with P the projection
 *    on what is orthogonal to the rows of V.
 *        Q.X = (Z^T Q).(Z^T X) + (P Q).(P X),
 *        (V Q).(V X) = (Z^T Q)^T S^2 (Z^T X)  differs from the first term by at most e |Q||X|, so
 *        Q.X <= (V Q).(V X) + |P Q||P X| + e |Q||X|,                                         (a)
 *        |P X|^2 = |X|^2 - |Z^T X|^2 <= |X|^2 - |V X|^2 / (1 + e).                            (b)
 * 2. Heads. F is the row in float32, |F - X| <= v |X|, v = 4 u (at most three roundings). The
 *    kernel f32_products gives h with |h_i - V_i.F| <= g |V_i||F| for g = g(65 + ceil(n / 64))
 *    (65: one for the product). So
 *        |h - V X| <= d |X|,   d = sqrt(1 + e) (g sqrt(p) (1 + v) + v),
 *    and with r = sqrt(1 + e) + d
 *        (V Q).(V X) <= h(Q).h(X) + 2 d r |Q||X|,                                            (c)
 *        |V X|^2 >= |h|^2 - 2 d r |X|^2.                                                      (d)
 * 3. Tails. T(X)^2 = max(0, N - |h|^2 / (1 + e)) + c N, rounded up, with N >= |X|^2 and
 *        c = 4 d r + e + 2^-30.
 *    By (b) and (d) T^2 >= |P X|^2 + (e + 2 d r) |X|^2; so by Cauchy-Schwarz for the pairs
 *    (|P Q|, sqrt(e + 2 d r) |Q|) and the like of X,
 *        T(Q) T(X) >= |P Q||P X| + (e + 2 d r) |Q||X|,
 *    and with (a) and (c)
 *        Q.X <= h(Q).h(X) + T(Q) T(X) = Q~.X~,   Q~ = (h(Q), T(Q)), X~ = (h(X), T(X)).
 *    All errors are relative to |Q||X|: short rows lose nothing, and no limit has to be lowered.
 * 4. So bound_int.h, for Q~ and X~ of p + 1 elements in place of Q and X, drops no answer. Under
 *    l2 and sqeuclidean the row term stays -|X|^2 / 2, of the row itself; here too a centre m~ is
 *    subtracted, from X~ only: Q~.X~ = Q~.(X~ - m~) + Q~.m~, where the last is a query term c. Its
 *    float64 error is below 2^-40 |Q~||m~|, which is added. |X~|^2 <= |h|^2 + T^2 <= (1 + 2^-16)
 *    (1 + e + c) |X|^2, so with c <= ENGRAM_PREFIX_EXCESS_MAX its norm is below 1 + 2^-6, and so
 *    is that of m~. Section 5 there, with these norms: X~ is float32 already, subtracting m~ is
 *    the one rounding, at most 2.1 u; m~.F is a sum of at most 32 terms in a row of which |m~||F|
 *    <= 2.1: 68 u; 2^-17 is 128 u.
 * 5. N of base rows is a float32 sum: at most 2^-18 below |F|^2, and |X|^2 <= |F|^2 (1 + 9 u): it
 *    is raised by 2^-16 of itself. Underflow: squares lose n 2^-150 in all, so n 2^-148 is added.
 *    F loses sqrt(n) 2^-126 and h another sqrt(p) n 2^-148, together below t = 2^-117; in (c) that
 *    makes less than 3 t, which bound_int.h's T is raised by (ENGRAM_PREFIX_TINY); in (d)
 *    2 t |h| |X| <= 2^-30 |X|^2 + 2^-200, the first in c and the second in N. */
#ifndef ENGRAM_SEARCH_BOUND_PREFIX_H
#define ENGRAM_SEARCH_BOUND_PREFIX_H

#include <stddef.h>

#include "search/axes.h"

#define ENGRAM_PREFIX_TINY 0x1p-115

/* Axes that are further from orthonormal are not used. */
#define ENGRAM_PREFIX_EXCESS_MAX 0x1p-7

/* c. */
double engram_prefix_excess(const struct engram_axes *axes);

/* T from the squared norm of the row and |h|^2: `computed` is the float32 sum of a base row, or
 * |Q|^2. */
float engram_prefix_tail(const struct engram_axes *axes, double computed, double head2);

/* (h, T) of `count` rows F, `dim` floats each: `rows` [count][dim], norm2 [count] as `computed`.
 * heads [count][16 axes->groups] is scratch; out [count][axes->count + 1]. */
struct engram_kernels;
void engram_prefix_rows(const struct engram_kernels *kernels, const struct engram_axes *axes,
                        const float *rows, const double *norm2, size_t count, float *heads,
                        float *out);

#endif
