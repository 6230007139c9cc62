/* AVX-512 (F, BW, VL, DQ) + VNNI. */
#include "kernels/bits_loops.h"
#include "kernels/bits_x86.h"
#include "kernels/pack_x86.h"
#include "kernels/sets.h"

#include <immintrin.h>
#include <string.h>

/* 12 x 32, both tiles: 24 accumulators, 2 row registers and up to 6 broadcasts fill the 32
 * registers, and 24 multiply-adds cover the 14 loads of a step. */
#define QUERIES 12
#define ROWS 32

#define INLINE static inline __attribute__((always_inline))

/* Eight elements from position i on, widened; the ones outside `mask` are not read and count as
 * +0. */
typedef __m512d (*load8_fn)(const void *row, size_t i);
typedef __m512d (*load_tail_fn)(const void *row, size_t i, __mmask8 mask);

INLINE __m512d load8_f32(const void *row, size_t i)
{
    return _mm512_cvtps_pd(_mm256_loadu_ps((const float *)row + i));
}

INLINE __m512d load8_f64(const void *row, size_t i)
{
    return _mm512_loadu_pd((const double *)row + i);
}

INLINE __m512d load_tail_f32(const void *row, size_t i, __mmask8 mask)
{
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, (const float *)row + i));
}

INLINE __m512d load_tail_f64(const void *row, size_t i, __mmask8 mask)
{
    return _mm512_maskz_loadu_pd(mask, (const double *)row + i);
}

INLINE __m512d add_term(enum engram_op op, __m512d sum, __m512d q, __m512d x)
{
    if (op == ENGRAM_OP_DOT) {
        return _mm512_add_pd(sum, _mm512_mul_pd(q, x));
    }
    __m512d difference = _mm512_sub_pd(q, x);
    if (op == ENGRAM_OP_ABSDIFF) {
        return _mm512_add_pd(sum, _mm512_abs_pd(difference));
    }
    return _mm512_add_pd(sum, _mm512_mul_pd(difference, difference));
}

/* ((s0+s4) + (s2+s6)) + ((s1+s5) + (s3+s7)). */
INLINE double reduce(__m512d sums)
{
    __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(sums), _mm512_extractf64x4_pd(sums, 1));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* Canonical sums of query_count x row_count pairs (constants at every call, so that the arrays
 * become registers); lane j is the partial sum j. Missing elements of the last eight are zeros on
 * both sides: they add +0, and no partial sum is ever -0, so the bits do not change. */
INLINE void canonical_block(enum engram_op op, load8_fn load8, load_tail_fn load_tail,
                            const double *const *q, size_t query_count, const void *const *x,
                            size_t row_count, size_t dim, double *raw, size_t raw_stride)
{
    __m512d sums[4][4];
    size_t i = 0;

    for (size_t a = 0; a < query_count; a++) {
        for (size_t b = 0; b < row_count; b++) {
            sums[a][b] = _mm512_setzero_pd();
        }
    }
    for (; i + 8 <= dim; i += 8) {
        for (size_t b = 0; b < row_count; b++) {
            __m512d row = load8(x[b], i);
            for (size_t a = 0; a < query_count; a++) {
                sums[a][b] = add_term(op, sums[a][b], load8_f64(q[a], i), row);
            }
        }
    }
    if (i < dim) {
        __mmask8 mask = (__mmask8)((1U << (dim - i)) - 1);
        for (size_t b = 0; b < row_count; b++) {
            __m512d row = load_tail(x[b], i, mask);
            for (size_t a = 0; a < query_count; a++) {
                sums[a][b] = add_term(op, sums[a][b], load_tail_f64(q[a], i, mask), row);
            }
        }
    }
    for (size_t a = 0; a < query_count; a++) {
        for (size_t b = 0; b < row_count; b++) {
            raw[a * raw_stride + b] = reduce(sums[a][b]);
        }
    }
}

/* Pairs are scored four at a time: four independent chains hide the latency of the additions.
 * The rows of the next four are fetched meanwhile; they lie anywhere in the base. */
INLINE void pairs_body(enum engram_op op, load8_fn load8, load_tail_fn load_tail, size_t element,
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
        __m512d sums[4];
        const double *q[4];
        const unsigned char *x[4];
        for (size_t j = 0; j < 4; j++) {
            q[j] = queries->data + pairs[i + j].query * queries->stride;
            x[j] = base->data + pairs[i + j].row * base->stride;
            sums[j] = _mm512_setzero_pd();
        }
        size_t d = 0;
        for (; d + 8 <= dim; d += 8) {
            for (size_t j = 0; j < 4; j++) {
                sums[j] = add_term(op, sums[j], load8_f64(q[j], d), load8(x[j], d));
            }
        }
        __mmask8 mask = (__mmask8)((1U << (dim - d)) - 1);
        for (size_t j = 0; d < dim && j < 4; j++) {
            sums[j] = add_term(op, sums[j], load_tail_f64(q[j], d, mask), load_tail(x[j], d, mask));
        }
        for (size_t j = 0; j < 4; j++) {
            raw[i + j] = reduce(sums[j]);
        }
    }
    for (; i < count; i++) {
        const double *q = queries->data + pairs[i].query * queries->stride;
        const void *x = base->data + pairs[i].row * base->stride;
        canonical_block(op, load8, load_tail, &q, 1, &x, 1, dim, raw + i, 1);
    }
}

/* 4 queries x 4 rows: 16 accumulators; what is left over goes one query or one row at a time. */
INLINE void tile_body(enum engram_op op, load8_fn load8, load_tail_fn load_tail,
                      const struct engram_wide_rows *queries, size_t query_count,
                      const struct engram_base_rows *base, size_t row_count, size_t dim,
                      double *raw)
{
    for (size_t r = 0; r < row_count;) {
        const void *x[4];
        size_t rows = row_count - r >= 4 ? 4 : 1;
        for (size_t j = 0; j < rows; j++) {
            x[j] = base->data + (r + j) * base->stride;
        }
        for (size_t a = 0; a < query_count;) {
            const double *q[4];
            size_t wide = query_count - a >= 4 ? 4 : 1;
            double *to = raw + a * row_count + r;
            for (size_t j = 0; j < wide; j++) {
                q[j] = queries->data + (a + j) * queries->stride;
            }
            if (wide == 4 && rows == 4) {
                canonical_block(op, load8, load_tail, q, 4, x, 4, dim, to, row_count);
            } else if (rows == 4) {
                canonical_block(op, load8, load_tail, q, 1, x, 4, dim, to, row_count);
            } else if (wide == 4) {
                canonical_block(op, load8, load_tail, q, 4, x, 1, dim, to, row_count);
            } else {
                canonical_block(op, load8, load_tail, q, 1, x, 1, dim, to, row_count);
            }
            a += wide;
        }
        r += rows;
    }
}

INLINE void canonical_pairs(enum engram_op op, enum engram_work_type type,
                            const struct engram_wide_rows *queries,
                            const struct engram_base_rows *base, size_t dim,
                            const struct engram_candidate *pairs, size_t count, double *raw)
{
    pairs_body(op, type == ENGRAM_WORK_F32 ? load8_f32 : load8_f64,
               type == ENGRAM_WORK_F32 ? load_tail_f32 : load_tail_f64,
               type == ENGRAM_WORK_F32 ? sizeof(float) : sizeof(double), queries, base, dim, pairs,
               count, raw);
}

INLINE void canonical_tile(enum engram_op op, enum engram_work_type type,
                           const struct engram_wide_rows *queries, size_t query_count,
                           const struct engram_base_rows *base, size_t row_count, size_t dim,
                           double *raw)
{
    tile_body(op, type == ENGRAM_WORK_F32 ? load8_f32 : load8_f64,
              type == ENGRAM_WORK_F32 ? load_tail_f32 : load_tail_f64, queries, query_count, base,
              row_count, dim, raw);
}

#include "kernels/canonical_entries.h"

/* Bits of the 32 rows whose value is "not less than" the limit, unordered: a NaN would survive. */
INLINE __mmask32 survivors(__m512 left, __m512 right, __m512 limit)
{
    __mmask16 low = _mm512_cmp_ps_mask(left, limit, _CMP_NLT_UQ);
    __mmask16 high = _mm512_cmp_ps_mask(right, limit, _CMP_NLT_UQ);
    return (__mmask32)low | (__mmask32)high << 16;
}

/* Bits of the rows of panel p that are live. */
INLINE uint32_t live_rows(const uint8_t *live, size_t p)
{
    uint32_t bits;
    memcpy(&bits, live + p * sizeof bits, sizeof bits);
    return bits;
}

/* Lists the survivors of one panel: the first one of every query that has any, all at once, then
 * the second ones, of which there are few. Whether a query has any is anybody's guess: a loop over
 * queries would be predicted wrongly several times. masks[] is zero past QUERIES. */
static size_t emit(const uint32_t masks[16], uint32_t live, uint32_t first_query,
                   uint32_t first_row, struct engram_candidate *out)
{
    const __m512i queries =
        _mm512_add_epi32(_mm512_set1_epi32((int)first_query),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high =
        _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    __m512i left =
        _mm512_and_si512(_mm512_loadu_si512((const void *)masks), _mm512_set1_epi32((int)live));
    size_t found = 0;
    for (uint32_t some; (some = _mm512_test_epi32_mask(left, left)) != 0;) {
        /* The number of the lowest bit is the exponent of its value as a float. */
        __m512i lowest = _mm512_and_si512(left, _mm512_sub_epi32(_mm512_setzero_si512(), left));
        __m512i power = _mm512_castps_si512(_mm512_cvtepi32_ps(lowest));
        power = _mm512_and_si512(_mm512_srli_epi32(power, 23), _mm512_set1_epi32(255));
        __m512i row = _mm512_add_epi32(power, _mm512_set1_epi32((int)(first_row - 127)));
        __m512i query = _mm512_maskz_compress_epi32((__mmask16)some, queries);
        row = _mm512_maskz_compress_epi32((__mmask16)some, row);
        unsigned count = (unsigned)__builtin_popcount(some);
        uint32_t words = (1U << 2 * count) - 1; /* that are stored */
        _mm512_mask_storeu_ps(out + found, (__mmask16)words,
                              _mm512_castsi512_ps(_mm512_permutex2var_epi32(query, low, row)));
        if (count > 8) {
            _mm512_mask_storeu_ps(out + found + 8, (__mmask16)(words >> 16),
                                  _mm512_castsi512_ps(_mm512_permutex2var_epi32(query, high, row)));
        }
        found += count;
        left = _mm512_and_si512(left, _mm512_sub_epi32(left, _mm512_set1_epi32(1)));
    }
    return found;
}

INLINE __m512 add_float(enum engram_op op, __m512 sum, __m512 q, __m512 x)
{
    if (op == ENGRAM_OP_DOT) {
        return _mm512_fmadd_ps(q, x, sum);
    }
    return _mm512_sub_ps(sum, _mm512_abs_ps(_mm512_sub_ps(q, x)));
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
                       struct ahead *ahead, __m512 sums[QUERIES][2])
{
    for (size_t q = 0; q < QUERIES; q++) {
        sums[q][0] = _mm512_setzero_ps();
        sums[q][1] = _mm512_setzero_ps();
    }
    for (size_t k = 0; k < depth; k++) {
        fetch_ahead(ahead);
        __m512 left = _mm512_load_ps(panel + k * ROWS);
        __m512 right = _mm512_load_ps(panel + k * ROWS + 16);
        for (size_t q = 0; q < QUERIES; q++) {
            __m512 value = _mm512_set1_ps(strip[k * QUERIES + q]);
            sums[q][0] = add_float(op, sums[q][0], value, left);
            sums[q][1] = add_float(op, sums[q][1], value, right);
        }
    }
}

INLINE size_t float_tile(enum engram_op op, const struct engram_f32_strip *args,
                         struct engram_candidate *out)
{
    size_t found = 0;
    struct ahead ahead = start_ahead(args);
    for (size_t p = 0; p < args->panel_count; p++) {
        __m512 sums[QUERIES][2];
        uint32_t masks[16] = {0};
        uint32_t any = 0;

        float_sums(op, args->strip, args->panels + p * args->depth * ROWS, args->depth, &ahead,
                   sums);
        for (size_t q = 0; q < QUERIES; q++) {
            masks[q] = survivors(sums[q][0], sums[q][1], _mm512_set1_ps(args->threshold[q]));
            any |= masks[q];
        }
        uint32_t live = live_rows(args->live, p);
        if (__builtin_expect((any & live) == 0, 1)) {
            continue;
        }
        found += emit(masks, live, args->first_query, args->first_row + (uint32_t)(p * ROWS),
                      out + found);
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

/* vpdpbusd adds four products of unsigned base codes and signed query codes to 32 bits without
 * saturating, so both sides have the full width:
 *     |4 * 254 * 127| = 129,032 a group, and the caller keeps the sum below 2^31. */
#define INT_BASE_LIMIT 127
#define INT_QUERY_LIMIT 127

INLINE __m512i broadcast_codes(const int8_t *codes)
{
    int32_t four;
    memcpy(&four, codes, sizeof four);
    return _mm512_set1_epi32(four);
}

/* Holds a sum in one register: gcc 12 otherwise copies every sum before vpdpbusd overwrites it,
 * and there are no registers for the copies. */
INLINE void keep_in_place(__m512i *sum)
{
#if defined(__AVX512F__)
    __asm__("" : "+v"(*sum));
#else
    (void)sum;
#endif
}

/* Offset plus dot product of the codes of one strip and one panel. */
INLINE void int_sums(const struct engram_int_strip *args, const uint8_t *panel,
                     __m512i sums[QUERIES][2])
{
    for (size_t q = 0; q < QUERIES; q++) {
        sums[q][0] = _mm512_set1_epi32(args->offset[q]);
        sums[q][1] = sums[q][0];
    }
    for (size_t g = 0; g < args->groups; g++) {
        const uint8_t *codes = panel + g * ROWS * 4;
        __m512i left = _mm512_load_si512((const void *)codes);
        __m512i right = _mm512_load_si512((const void *)(codes + 64));
        for (size_t q = 0; q < QUERIES; q++) {
            __m512i query = broadcast_codes(args->strip + (g * QUERIES + q) * 4);
            sums[q][0] = _mm512_dpbusd_epi32(sums[q][0], left, query);
            sums[q][1] = _mm512_dpbusd_epi32(sums[q][1], right, query);
            keep_in_place(&sums[q][0]);
            keep_in_place(&sums[q][1]);
        }
    }
}

/* What the sums of panel p are compared with, for all queries at once. */
INLINE void int_limits(const struct engram_int_strip *args, size_t p, float limits[16])
{
    const __mmask16 queries = (1U << QUERIES) - 1;
    const struct engram_int_head *head = &args->heads[p];
    __m512 level = _mm512_maskz_loadu_ps(queries, args->level);
    __m512 row_error = _mm512_maskz_loadu_ps(queries, args->row_error);
    __m512 query_error = _mm512_maskz_loadu_ps(queries, args->query_error);
    __m512 limit = _mm512_mul_ps(level, _mm512_set1_ps(head->scale));
    limit = _mm512_fnmadd_ps(row_error, _mm512_set1_ps(head->error), limit);
    limit = _mm512_fnmadd_ps(query_error, _mm512_set1_ps(head->norm), limit);
    _mm512_storeu_ps(limits, limit);
}

static size_t int_tile(const struct engram_int_strip *args, struct engram_candidate *out)
{
    size_t found = 0;
    for (size_t p = 0; p < args->panel_count; p++) {
        __m512i sums[QUERIES][2];
        uint32_t masks[16] = {0};
        float limits[16];
        uint32_t any = 0;

        int_limits(args, p, limits);
        int_sums(args, args->panels + p * args->groups * ROWS * 4, sums);
        __m512 bias[2] = {_mm512_loadu_ps(args->bias + p * ROWS),
                          _mm512_loadu_ps(args->bias + p * ROWS + 16)};
        for (size_t q = 0; q < QUERIES; q++) {
            __m512 slope = _mm512_set1_ps(args->slope[q]);
            __m512 left = _mm512_fmadd_ps(slope, bias[0], _mm512_cvtepi32_ps(sums[q][0]));
            __m512 right = _mm512_fmadd_ps(slope, bias[1], _mm512_cvtepi32_ps(sums[q][1]));
            masks[q] = survivors(left, right, _mm512_set1_ps(limits[q]));
            any |= masks[q];
        }
        uint32_t live = live_rows(args->live, p);
        if (__builtin_expect((any & live) == 0, 1)) {
            continue;
        }
        found += emit(masks, live, args->first_query, args->first_row + (uint32_t)(p * ROWS),
                      out + found);
    }
    return found;
}

/* Two multiply-adds a cycle with a latency of four or five need at least ten chains. None may start
 * at 1, where 0.999 x + 0.001 stays: clang finds that chain to be a constant and drops it. */
#define PEAK_CHAINS 16

static uint64_t f32_peak(uint64_t rounds)
{
    __m512 sums[PEAK_CHAINS];
    const __m512 factor = _mm512_set1_ps(0.999F);
    const __m512 term = _mm512_set1_ps(0.001F);
    for (int i = 0; i < PEAK_CHAINS; i++) {
        sums[i] = _mm512_set1_ps((float)(i + 2));
    }
    for (uint64_t r = 0; r < rounds; r++) {
        for (int i = 0; i < PEAK_CHAINS; i++) {
            sums[i] = _mm512_fmadd_ps(sums[i], factor, term);
        }
    }
    for (int i = 0; i < PEAK_CHAINS; i++) {
        float kept[16];
        _mm512_storeu_ps(kept, sums[i]);
        __asm__ volatile("" : : "m"(kept)); /* the sums are needed, the compiler must believe */
    }
    return rounds * PEAK_CHAINS * 16 * 2;
}

const struct engram_kernels engram_kernels_avx512 = {
    .name = "avx512",
    .canonical_pairs = CANONICAL_PAIRS,
    .canonical_tile = CANONICAL_TILES,
    .bits_pairs = BITS_PAIRS,
    .bits_tile = BITS_TILES,
    .bit_tile = engram_avx512_bit_tile,
    .bit_queries = ENGRAM_AVX512_BIT_QUERIES,
    .bit_rows = ENGRAM_X86_BIT_ROWS,
    .f32_tile = f32_tile,
    .l1_tile = l1_tile,
    .f32_queries = QUERIES,
    .f32_rows = ROWS,
    .int_tile = int_tile,
    .int_queries = QUERIES,
    .int_rows = ROWS,
    .int_base_limit = INT_BASE_LIMIT,
    .int_query_limit = INT_QUERY_LIMIT,
    .f32_look = engram_avx512_f32_look,
    .f32_project = engram_avx512_f32_project,
    .int_centre = engram_avx512_int_centre,
    .int_encode = engram_avx512_int_encode,
    .f32_products = engram_avx512_f32_products,
    .f32_peak = f32_peak,
    .int_cost = 0.25,
    .rescore_cost = 13,
};
