/* Canonical counts over rows of bits, included by every set's file: the compiler takes that set's
 * instruction for counting bits. Counts are exact, so there is nothing to differ in. */
#ifndef ENGRAM_KERNELS_BITS_LOOPS_H
#define ENGRAM_KERNELS_BITS_LOOPS_H

#include "kernels/bits.h"
#include "kernels/kernels.h"

static inline __attribute__((always_inline)) uint64_t bits_combine(enum engram_bit_op op,
                                                                   uint64_t q, uint64_t x)
{
    return op == ENGRAM_BIT_DIFFERENT ? q ^ x : q & x;
}

static inline __attribute__((always_inline)) double bits_count(enum engram_bit_op op,
                                                               const uint64_t *q,
                                                               const unsigned char *x, size_t dim)
{
    size_t words = dim / 64;
    int64_t count[2] = {0, 0}; /* dim is at most 2^24 */
    for (size_t i = 0; i < words; i++) {
        uint64_t word;
        memcpy(&word, x + 8 * i, sizeof word);
        count[i & 1] += __builtin_popcountll(bits_combine(op, q[i], word));
    }
    if (dim % 64 != 0) {
        count[0] += __builtin_popcountll(bits_combine(op, q[words], engram_bits_tail(x, dim)));
    }
    return (double)(count[0] + count[1]);
}

static inline __attribute__((always_inline)) void bits_pairs(enum engram_bit_op op,
                                                             const struct engram_bit_rows *queries,
                                                             const struct engram_base_rows *base,
                                                             size_t dim,
                                                             const struct engram_candidate *pairs,
                                                             size_t count, double *raw)
{
    for (size_t i = 0; i < count; i++) {
        if (i + 4 < count) {
            __builtin_prefetch(base->data + pairs[i + 4].row * base->stride);
        }
        raw[i] = bits_count(op, queries->data + pairs[i].query * queries->stride,
                            base->data + pairs[i].row * base->stride, dim);
    }
}

static inline __attribute__((always_inline)) void bits_tile(
    enum engram_bit_op op, const struct engram_bit_rows *queries, size_t query_count,
    const struct engram_base_rows *base, size_t row_count, size_t dim, double *raw)
{
    for (size_t q = 0; q < query_count; q++) {
        for (size_t r = 0; r < row_count; r++) {
            raw[q * row_count + r] = bits_count(op, queries->data + q * queries->stride,
                                                base->data + r * base->stride, dim);
        }
    }
}

static void bits_pairs_different(const struct engram_bit_rows *queries,
                                 const struct engram_base_rows *base, size_t dim,
                                 const struct engram_candidate *pairs, size_t count, double *raw)
{
    bits_pairs(ENGRAM_BIT_DIFFERENT, queries, base, dim, pairs, count, raw);
}

static void bits_pairs_common(const struct engram_bit_rows *queries,
                              const struct engram_base_rows *base, size_t dim,
                              const struct engram_candidate *pairs, size_t count, double *raw)
{
    bits_pairs(ENGRAM_BIT_COMMON, queries, base, dim, pairs, count, raw);
}

static void bits_tile_different(const struct engram_bit_rows *queries, size_t query_count,
                                const struct engram_base_rows *base, size_t row_count, size_t dim,
                                double *raw)
{
    bits_tile(ENGRAM_BIT_DIFFERENT, queries, query_count, base, row_count, dim, raw);
}

static void bits_tile_common(const struct engram_bit_rows *queries, size_t query_count,
                             const struct engram_base_rows *base, size_t row_count, size_t dim,
                             double *raw)
{
    bits_tile(ENGRAM_BIT_COMMON, queries, query_count, base, row_count, dim, raw);
}

#define BITS_PAIRS                                                                                 \
    {                                                                                              \
        bits_pairs_different, bits_pairs_common                                                    \
    }
#define BITS_TILES                                                                                 \
    {                                                                                              \
        bits_tile_different, bits_tile_common                                                      \
    }

#endif
