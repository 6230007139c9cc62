/* AVX2 + FMA. */
#include "kernels/bits_loops.h"
#include "kernels/bits_x86.h"
#include "kernels/pack_x86.h"
#include "kernels/sets.h"

#include <immintrin.h>
#include <string.h>

/* 6 x 16: 12 accumulators, 2 row registers and 1 broadcast fill 15 of the 16 registers, and
 * 12 fused multiply-adds cover the 8 loads of a step. */
#define QUERIES 6
#define ROWS 16

#define INLINE static inline __attribute__((always_inline))

/* Four elements from position i on, widened; `tail` of them when fewer are left. */
typedef __m256d (*load4_fn)(const void *row, size_t i);
typedef __m256d (*load_tail_fn)(const void *row, size_t i, size_t tail);

/* Sliding window: loading at 4 - n gives a mask of n leading lanes. */
static const int32_t MASK32[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
static const int64_t MASK64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};

INLINE __m256d load4_f32(const void *row, size_t i)
{
    return _mm256_cvtps_pd(_mm_loadu_ps((const float *)row + i));
}

INLINE __m256d load4_f64(const void *row, size_t i)
{
    return _mm256_loadu_pd((const double *)row + i);
}

INLINE __m256d load_tail_f32(const void *row, size_t i, size_t tail)
{
    __m128i mask = _mm_loadu_si128((const __m128i *)(const void *)(MASK32 + 4 - tail));
    return _mm256_cvtps_pd(_mm_maskload_ps((const float *)row + i, mask));
}

INLINE __m256d load_tail_f64(const void *row, size_t i, size_t tail)
{
    __m256i mask = _mm256_loadu_si256((const __m256i *)(const void *)(MASK64 + 4 - tail));
    return _mm256_maskload_pd((const double *)row + i, mask);
}

INLINE __m256d add_term(enum engram_op op, __m256d sum, __m256d q, __m256d x)
{
    if (op == ENGRAM_OP_DOT) {
        return _mm256_add_pd(sum, _mm256_mul_pd(q, x));
    }
    __m256d difference = _mm256_sub_pd(q, x);
    if (op == ENGRAM_OP_ABSDIFF) {
        return _mm256_add_pd(sum, _mm256_andnot_pd(_mm256_set1_pd(-0.0), difference));
    }
    return _mm256_add_pd(sum, _mm256_mul_pd(difference, difference));
}

/* s0..s3 in `low`, s4..s7 in `high`: ((s0+s4) + (s2+s6)) + ((s1+s5) + (s3+s7)). */
INLINE double reduce(__m256d low, __m256d high)
{
    __m256d four = _mm256_add_pd(low, high);
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* Canonical sums of query_count x row_count pairs (constants at every call, so that the arrays
 * become registers). Missing elements of the last eight are zeros on both sides: they add +0,
 * and no partial sum is ever -0, so the bits do not change. */
INLINE void canonical_block(enum engram_op op, load4_fn load4, load_tail_fn load_tail,
                            const double *const *q, size_t query_count, const void *const *x,
                            size_t row_count, size_t dim, double *raw, size_t raw_stride)
{
    __m256d low[4][4];
    __m256d high[4][4];
    size_t i = 0;

    for (size_t a = 0; a < query_count; a++) {
        for (size_t b = 0; b < row_count; b++) {
            low[a][b] = _mm256_setzero_pd();
            high[a][b] = _mm256_setzero_pd();
        }
    }
    for (; i + 8 <= dim; i += 8) {
        for (size_t b = 0; b < row_count; b++) {
            __m256d x_low = load4(x[b], i);
            __m256d x_high = load4(x[b], i + 4);
            for (size_t a = 0; a < query_count; a++) {
                low[a][b] = add_term(op, low[a][b], load4_f64(q[a], i), x_low);
                high[a][b] = add_term(op, high[a][b], load4_f64(q[a], i + 4), x_high);
            }
        }
    }
    if (i < dim) {
        size_t tail_low = dim - i < 4 ? dim - i : 4;
        size_t tail_high = dim - i - tail_low;
        for (size_t b = 0; b < row_count; b++) {
            __m256d x_low = load_tail(x[b], i, tail_low);
            __m256d x_high = load_tail(x[b], i + tail_low, tail_high);
            for (size_t a = 0; a < query_count; a++) {
                low[a][b] = add_term(op, low[a][b], load_tail_f64(q[a], i, tail_low), x_low);
                high[a][b] =
                    add_term(op, high[a][b], load_tail_f64(q[a], i + tail_low, tail_high), x_high);
            }
        }
    }
    for (size_t a = 0; a < query_count; a++) {
        for (size_t b = 0; b < row_count; b++) {
            raw[a * raw_stride + b] = reduce(low[a][b], high[a][b]);
        }
    }
}

/* Pairs are scored four at a time: four independent chains hide the latency of the additions.
 * The rows of the next four are fetched meanwhile; they lie anywhere in the base. */
INLINE void pairs_body(enum engram_op op, load4_fn load4, load_tail_fn load_tail, size_t element,
                       const struct engram_wide_rows *queries, const struct engram_base_rows *base,
                       size_t dim, const struct engram_candidate *pairs, size_t count, double *raw)
{
    size_t row_bytes = dim * element;
    size_t i = 0;

    for (; i + 4 <= count; i += 4) {
        for (size_t j = 12; j < 16 && i + j < count; j++) {
            const unsigned char *row = base->data + pairs[i + j].row * base->stride;
            for (size_t byte = 0; byte < row_bytes && byte < 1024; byte += 64) {
                _mm_prefetch((const char *)row + byte, _MM_HINT_T0);
            }
        }
        __m256d low[4];
        __m256d high[4];
        const double *q[4];
        const unsigned char *x[4];
        for (size_t j = 0; j < 4; j++) {
            q[j] = queries->data + pairs[i + j].query * queries->stride;
            x[j] = base->data + pairs[i + j].row * base->stride;
            low[j] = _mm256_setzero_pd();
            high[j] = _mm256_setzero_pd();
        }
        size_t d = 0;
        for (; d + 8 <= dim; d += 8) {
            for (size_t j = 0; j < 4; j++) {
                low[j] = add_term(op, low[j], load4_f64(q[j], d), load4(x[j], d));
                high[j] = add_term(op, high[j], load4_f64(q[j], d + 4), load4(x[j], d + 4));
            }
        }
        size_t tail_low = dim - d < 4 ? dim - d : 4;
        size_t tail_high = dim - d - tail_low;
        for (size_t j = 0; d < dim && j < 4; j++) {
            low[j] = add_term(op, low[j], load_tail_f64(q[j], d, tail_low),
                              load_tail(x[j], d, tail_low));
            high[j] = add_term(op, high[j], load_tail_f64(q[j], d + tail_low, tail_high),
                               load_tail(x[j], d + tail_low, tail_high));
        }
        for (size_t j = 0; j < 4; j++) {
            raw[i + j] = reduce(low[j], high[j]);
        }
    }
    for (; i < count; i++) {
        const double *q = queries->data + pairs[i].query * queries->stride;
        const void *x = base->data + pairs[i].row * base->stride;
        canonical_block(op, load4, load_tail, &q, 1, &x, 1, dim, raw + i, 1);
    }
}

/* 2 queries x 3 rows: 12 accumulators, 2 row registers, the queries straight from memory. */
INLINE void tile_body(enum engram_op op, load4_fn load4, load_tail_fn load_tail,
                      const struct engram_wide_rows *queries, size_t query_count,
                      const struct engram_base_rows *base, size_t row_count, size_t dim,
                      double *raw)
{
    for (size_t r = 0; r < row_count;) {
        const void *x[3] = {base->data + r * base->stride, NULL, NULL};
        size_t rows = row_count - r >= 3 ? 3 : 1;
        for (size_t j = 1; j < rows; j++) {
            x[j] = base->data + (r + j) * base->stride;
        }
        for (size_t a = 0; a < query_count;) {
            const double *q[2] = {queries->data + a * queries->stride, NULL};
            size_t pair = query_count - a >= 2 ? 2 : 1;
            double *to = raw + a * row_count + r;
            if (pair == 2) {
                q[1] = queries->data + (a + 1) * queries->stride;
            }
            if (pair == 2 && rows == 3) {
                canonical_block(op, load4, load_tail, q, 2, x, 3, dim, to, row_count);
            } else if (rows == 3) {
                canonical_block(op, load4, load_tail, q, 1, x, 3, dim, to, row_count);
            } else if (pair == 2) {
                canonical_block(op, load4, load_tail, q, 2, x, 1, dim, to, row_count);
            } else {
                canonical_block(op, load4, load_tail, q, 1, x, 1, dim, to, row_count);
            }
            a += pair;
        }
        r += rows;
    }
}

INLINE void canonical_pairs(enum engram_op op, enum engram_work_type type,
                            const struct engram_wide_rows *queries,
                            const struct engram_base_rows *base, size_t dim,
                            const struct engram_candidate *pairs, size_t count, double *raw)
{
    pairs_body(op, type == ENGRAM_WORK_F32 ? load4_f32 : load4_f64,
               type == ENGRAM_WORK_F32 ? load_tail_f32 : load_tail_f64,
               type == ENGRAM_WORK_F32 ? sizeof(float) : sizeof(double), queries, base, dim, pairs,
               count, raw);
}

INLINE void canonical_tile(enum engram_op op, enum engram_work_type type,
                           const struct engram_wide_rows *queries, size_t query_count,
                           const struct engram_base_rows *base, size_t row_count, size_t dim,
                           double *raw)
{
    tile_body(op, type == ENGRAM_WORK_F32 ? load4_f32 : load4_f64,
              type == ENGRAM_WORK_F32 ? load_tail_f32 : load_tail_f64, queries, query_count, base,
              row_count, dim, raw);
}

#include "kernels/canonical_entries.h"

INLINE unsigned survivors(__m256 left, __m256 right, __m256 threshold)
{
    /* "Not less than", unordered: a NaN would survive. */
    unsigned low = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(left, threshold, _CMP_NLT_UQ));
    unsigned high = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(right, threshold, _CMP_NLT_UQ));
    return low | high << 8;
}

/* Lists the survivors of one panel. Whether a query has any is anybody's guess, so the first is
 * written in any case and then counted or not; that it has a second is rare. There is room: a query
 * without survivors leaves places free. */
static size_t emit(const unsigned *masks, size_t queries, unsigned live, uint32_t first_query,
                   uint32_t first_row, struct engram_candidate *out)
{
    size_t found = 0;
    for (size_t q = 0; q < queries; q++) {
        unsigned left = masks[q] & live;
        out[found].query = first_query + (uint32_t)q;
        out[found].row = first_row + (uint32_t)__builtin_ctz(left | 1U << 31);
        found += left != 0;
        for (left &= left - 1; left != 0; left &= left - 1) {
            out[found].query = first_query + (uint32_t)q;
            out[found].row = first_row + (uint32_t)__builtin_ctz(left);
            found++;
        }
    }
    return found;
}

INLINE __m256 add_float(enum engram_op op, __m256 sum, __m256 q, __m256 x)
{
    if (op == ENGRAM_OP_DOT) {
        return _mm256_fmadd_ps(q, x, sum);
    }
    return _mm256_sub_ps(sum, _mm256_andnot_ps(_mm256_set1_ps(-0.0F), _mm256_sub_ps(q, x)));
}

/* The way through what is fetched ahead: a step with each coordinate. Steps are shorter than a
 * cache line where many strips share the work, and the last may end behind it: prefetching never
 * faults, whatever is there. */
struct ahead {
    uintptr_t at;
    size_t step;
};

INLINE struct ahead start_ahead(const struct engram_f32_strip *args)
{
    size_t steps = args->panel_count * args->depth;
    struct ahead ahead = {(uintptr_t)args->ahead, 0};
    if (steps > 0) {
        ahead.step = (args->ahead_bytes + steps - 1) / steps;
    }
    return ahead;
}

INLINE void fetch_ahead(struct ahead *ahead)
{
    _mm_prefetch((const char *)ahead->at, _MM_HINT_T1);
    ahead->at += ahead->step;
}

/* The sums of one strip against one panel. */
INLINE void float_sums(enum engram_op op, const float *strip, const float *panel, size_t depth,
                       struct ahead *ahead, __m256 sums[QUERIES][2])
{
    for (size_t q = 0; q < QUERIES; q++) {
        sums[q][0] = _mm256_setzero_ps();
        sums[q][1] = _mm256_setzero_ps();
    }
    for (size_t k = 0; k < depth; k++) {
        fetch_ahead(ahead);
        __m256 left = _mm256_load_ps(panel + k * ROWS);
        __m256 right = _mm256_load_ps(panel + k * ROWS + 8);
        for (size_t q = 0; q < QUERIES; q++) {
            __m256 value = _mm256_broadcast_ss(strip + k * QUERIES + q);
            sums[q][0] = add_float(op, sums[q][0], value, left);
            sums[q][1] = add_float(op, sums[q][1], value, right);
        }
    }
}

INLINE size_t float_tile(enum engram_op op, const struct engram_f32_strip *args,
                         struct engram_candidate *out)
{
    size_t found = 0;
    __m256 threshold[QUERIES];

    for (size_t q = 0; q < QUERIES; q++) {
        threshold[q] = _mm256_broadcast_ss(args->threshold + q);
    }
    struct ahead ahead = start_ahead(args);
    for (size_t p = 0; p < args->panel_count; p++) {
        __m256 sums[QUERIES][2];
        unsigned masks[QUERIES];
        unsigned any = 0;

        float_sums(op, args->strip, args->panels + p * args->depth * ROWS, args->depth, &ahead,
                   sums);
        for (size_t q = 0; q < QUERIES; q++) {
            masks[q] = survivors(sums[q][0], sums[q][1], threshold[q]);
            any |= masks[q];
        }
        unsigned live = (unsigned)args->live[2 * p] | (unsigned)args->live[2 * p + 1] << 8;
        if (__builtin_expect((any & live) == 0, 1)) {
            continue;
        }
        found += emit(masks, QUERIES, live, args->first_query,
                      args->first_row + (uint32_t)(p * ROWS), out + found);
    }
    return found;
}

static size_t f32_tile(const struct engram_f32_strip *args, struct engram_candidate *out)
{
    return float_tile(ENGRAM_OP_DOT, args, out);
}

static size_t l1_tile(const struct engram_f32_strip *args, struct engram_candidate *out)
{
    return float_tile(ENGRAM_OP_ABSDIFF, args, out);
}

/* Integer tile, 4 x 16. vpmaddubsw multiplies unsigned base codes by signed query codes and adds
 * neighbours into 16 bits; WIDEN groups fit there before they must be added into 32 bits:
 *     WIDEN * 2 * (2 * 31) * 66 = 32,736 < 32,768.
 * Codes of equal width (7 bits on both sides) would have to be widened every other group, and the
 * multiplications of widening compete for the same ports; this is 6 and 7 bits at 1.25
 * multiplications a group. */
#define INT_QUERIES 4
#define INT_BASE_LIMIT 31
#define INT_QUERY_LIMIT 66
#define WIDEN 4

INLINE __m256i broadcast_codes(const int8_t *codes)
{
    int32_t four;
    memcpy(&four, codes, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Adds `groups` (at most WIDEN) groups of the codes into the 32-bit sums. */
INLINE void int_add_groups(const int8_t *strip, const uint8_t *panel, size_t groups,
                           __m256i sums[INT_QUERIES][2])
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i narrow[INT_QUERIES][2];
    for (size_t g = 0; g < groups; g++) {
        __m256i left = _mm256_load_si256((const __m256i *)(const void *)(panel + g * ROWS * 4));
        __m256i right =
            _mm256_load_si256((const __m256i *)(const void *)(panel + g * ROWS * 4 + 32));
        for (size_t q = 0; q < INT_QUERIES; q++) {
            __m256i query = broadcast_codes(strip + (g * INT_QUERIES + q) * 4);
            __m256i products[2] = {_mm256_maddubs_epi16(left, query),
                                   _mm256_maddubs_epi16(right, query)};
            for (size_t h = 0; h < 2; h++) {
                narrow[q][h] = g == 0 ? products[h] : _mm256_add_epi16(narrow[q][h], products[h]);
                /* Keeps the order of the additions: reassociated into trees, they would need
                 * more registers than there are. */
                __asm__("" : "+x"(narrow[q][h]));
            }
        }
    }
    for (size_t q = 0; q < INT_QUERIES; q++) {
        for (size_t h = 0; h < 2; h++) {
            sums[q][h] = _mm256_add_epi32(sums[q][h], _mm256_madd_epi16(narrow[q][h], ones));
        }
    }
}

/* Bits of the rows of a panel that survive for query q. */
INLINE unsigned int_survivors(const struct engram_int_strip *args, size_t p, size_t q,
                              const __m256i sums[2])
{
    const struct engram_int_head *head = &args->heads[p];
    float right = args->level[q] * head->scale - args->row_error[q] * head->error;
    right -= args->query_error[q] * head->norm;
    __m256 slope = _mm256_broadcast_ss(args->slope + q);
    const float *bias = args->bias + p * ROWS;
    __m256 left[2];
    for (size_t h = 0; h < 2; h++) {
        left[h] =
            _mm256_fmadd_ps(slope, _mm256_loadu_ps(bias + 8 * h), _mm256_cvtepi32_ps(sums[h]));
    }
    return survivors(left[0], left[1], _mm256_set1_ps(right));
}

static size_t int_tile(const struct engram_int_strip *args, struct engram_candidate *out)
{
    size_t found = 0;
    for (size_t p = 0; p < args->panel_count; p++) {
        const uint8_t *panel = args->panels + p * args->groups * ROWS * 4;
        __m256i sums[INT_QUERIES][2];
        unsigned masks[INT_QUERIES];
        unsigned any = 0;
        size_t g = 0;

        for (size_t q = 0; q < INT_QUERIES; q++) {
            sums[q][0] = _mm256_set1_epi32(args->offset[q]);
            sums[q][1] = sums[q][0];
        }
        for (; g + WIDEN <= args->groups; g += WIDEN) {
            int_add_groups(args->strip + g * INT_QUERIES * 4, panel + g * ROWS * 4, WIDEN, sums);
        }
        if (g < args->groups) {
            int_add_groups(args->strip + g * INT_QUERIES * 4, panel + g * ROWS * 4,
                           args->groups - g, sums);
        }
        for (size_t q = 0; q < INT_QUERIES; q++) {
            masks[q] = int_survivors(args, p, q, sums[q]);
            any |= masks[q];
        }
        unsigned live = (unsigned)args->live[2 * p] | (unsigned)args->live[2 * p + 1] << 8;
        if (__builtin_expect((any & live) == 0, 1)) {
            continue;
        }
        found += emit(masks, INT_QUERIES, live, args->first_query,
                      args->first_row + (uint32_t)(p * ROWS), out + found);
    }
    return found;
}

/* Two multiply-adds a cycle with a latency of four or five need at least ten chains. */
static uint64_t f32_peak(uint64_t rounds)
{
    __m256 sums[12];
    const __m256 factor = _mm256_set1_ps(0.999F);
    const __m256 term = _mm256_set1_ps(0.001F);
    for (int i = 0; i < 12; i++) {
        /* Not 1, a fixed point of the step that a compiler may know. */
        sums[i] = _mm256_set1_ps((float)(i + 2));
    }
    for (uint64_t r = 0; r < rounds; r++) {
        for (int i = 0; i < 12; i++) {
            sums[i] = _mm256_fmadd_ps(sums[i], factor, term);
        }
    }
    for (int i = 0; i < 12; i++) {
        __asm__ volatile("" : : "x"(sums[i])); /* the sums are needed, the compiler must believe */
    }
    return rounds * 12 * 8 * 2;
}

const struct engram_kernels engram_kernels_avx2 = {
    .name = "avx2",
    .canonical_pairs = CANONICAL_PAIRS,
    .canonical_tile = CANONICAL_TILES,
    .bits_pairs = BITS_PAIRS,
    .bits_tile = BITS_TILES,
    .bit_tile = engram_avx2_bit_tile,
    .bit_queries = ENGRAM_AVX2_BIT_QUERIES,
    .bit_rows = ENGRAM_X86_BIT_ROWS,
    .f32_tile = f32_tile,
    .l1_tile = l1_tile,
    .f32_queries = QUERIES,
    .f32_rows = ROWS,
    .int_tile = int_tile,
    .int_queries = INT_QUERIES,
    .int_rows = ROWS,
    .int_base_limit = INT_BASE_LIMIT,
    .int_query_limit = INT_QUERY_LIMIT,
    .f32_look = engram_avx2_f32_look,
    .f32_project = engram_avx2_f32_project,
    .int_centre = engram_avx2_int_centre,
    .int_encode = engram_avx2_int_encode,
    .f32_products = engram_avx2_f32_products,
    .f32_peak = f32_peak,
    .int_cost = 0.36,
    .rescore_cost = 7,
};
