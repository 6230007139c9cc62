/* AVX2 + FMA: loops over single rows, and their products with axes. */
#include "kernels/pack_x86.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#define MAGNITUDE 0x7fffffff /* a float32 without its sign: magnitudes order like their bits */

/* Sliding window: loading at 8 - n gives a mask of n leading lanes. */
static const int32_t MASK[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

INLINE __m256i lanes8(size_t count)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)(MASK + 8 - count));
}

INLINE uint32_t largest8(__m256i tops)
{
    __m128i four = _mm_max_epu32(_mm256_castsi256_si128(tops), _mm256_extracti128_si256(tops, 1));
    __m128i two = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
    __m128i one = _mm_max_epu32(two, _mm_shuffle_epi32(two, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(one);
}

/* s0..s3 in `low`, s4..s7 in `high`: ((s0+s4) + (s2+s6)) + ((s1+s5) + (s3+s7)). */
INLINE double reduce(__m256d low, __m256d high)
{
    __m256d four = _mm256_add_pd(low, high);
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

INLINE __m256d wide_low(__m256 values)
{
    return _mm256_cvtps_pd(_mm256_castps256_ps128(values));
}

INLINE __m256d wide_high(__m256 values)
{
    return _mm256_cvtps_pd(_mm256_extractf128_ps(values, 1));
}

/* Eight float32 sums, added in float64. */
INLINE double reduce_wide(__m256 sums)
{
    return reduce(wide_low(sums), wide_high(sums));
}

struct looked {
    __m256i tops;
    __m256d low;
    __m256d high;
};

INLINE void look_at(__m256 values, bool product, struct looked *looked)
{
    looked->tops = _mm256_max_epu32(
        looked->tops, _mm256_and_si256(_mm256_castps_si256(values), _mm256_set1_epi32(MAGNITUDE)));
    if (product) {
        __m256d low = wide_low(values);
        __m256d high = wide_high(values);
        looked->low = _mm256_add_pd(looked->low, _mm256_mul_pd(low, low));
        looked->high = _mm256_add_pd(looked->high, _mm256_mul_pd(high, high));
    }
}

/* Rows follow each other without a dependency, so their chains of additions overlap. */
INLINE void look_rows(const struct engram_base_rows *rows, size_t count, size_t dim, bool product,
                      uint32_t *tops, double *self_products)
{
    for (size_t r = 0; r < count; r++) {
        const float *row = (const float *)(const void *)(rows->data + r * rows->stride);
        struct looked looked = {_mm256_setzero_si256(), _mm256_setzero_pd(), _mm256_setzero_pd()};
        size_t i = 0;
        for (; i + 8 <= dim; i += 8) {
            look_at(_mm256_loadu_ps(row + i), product, &looked);
        }
        if (i < dim) {
            look_at(_mm256_maskload_ps(row + i, lanes8(dim - i)), product, &looked);
        }
        tops[r] = largest8(looked.tops);
        if (product) {
            self_products[r] = reduce(looked.low, looked.high);
        }
    }
}

void engram_avx2_f32_look(const struct engram_base_rows *rows, size_t count, size_t dim,
                          uint32_t *tops, double *self_products)
{
    if (self_products != NULL) {
        look_rows(rows, count, dim, true, tops, self_products);
    } else {
        look_rows(rows, count, dim, false, tops, self_products);
    }
}

/* Four elements from position i on, and their squares into `sum`. */
INLINE __m128 project4(__m128 row, __m256d mean, __m256d factor, __m256d *sum)
{
    __m256d value = _mm256_mul_pd(_mm256_sub_pd(_mm256_cvtps_pd(row), mean), factor);
    *sum = _mm256_fmadd_pd(value, value, *sum);
    return _mm256_cvtpd_ps(value);
}

INLINE double project_row(const float *row, const double *mean, bool centred, double factor,
                          size_t dim, float *out)
{
    const __m256d factors = _mm256_set1_pd(factor);
    const __m256d zero = _mm256_setzero_pd();
    __m256d sums[2] = {zero, zero};
    size_t i = 0;
    for (; i + 8 <= dim; i += 8) {
        _mm_prefetch((const char *)((uintptr_t)(row + i) + ENGRAM_PACK_AHEAD), _MM_HINT_T0);
        for (size_t h = 0; h < 2; h++) {
            size_t at = i + 4 * h;
            _mm_storeu_ps(out + at,
                          project4(_mm_loadu_ps(row + at),
                                   centred ? _mm256_loadu_pd(mean + at) : zero, factors, &sums[h]));
        }
    }
    double rest = 0;
    for (; i < dim; i++) {
        double value = ((double)row[i] - (centred ? mean[i] : 0)) * factor;
        out[i] = (float)value;
        rest += value * value;
    }
    return reduce(sums[0], sums[1]) + rest;
}

double engram_avx2_f32_project(const float *row, const double *mean, double factor, size_t dim,
                               float *out)
{
    return mean != NULL ? project_row(row, mean, true, factor, dim, out)
                        : project_row(row, mean, false, factor, dim, out);
}

/* Sums of a block. */
struct centred {
    __m256 norms;
    __m256 weights;
    __m256i tops;
};

INLINE __m256 centre8(__m256 row, __m256 mean, __m256 centre, __m256 factor, struct centred *sums)
{
    __m256 value = _mm256_sub_ps(_mm256_mul_ps(_mm256_sub_ps(row, mean), factor), centre);
    sums->norms = _mm256_fmadd_ps(value, value, sums->norms);
    sums->weights = _mm256_fmadd_ps(value, centre, sums->weights);
    sums->tops = _mm256_max_epu32(
        sums->tops, _mm256_and_si256(_mm256_castps_si256(value), _mm256_set1_epi32(MAGNITUDE)));
    return value;
}

void engram_avx2_int_centre(const struct engram_int_centre *args, float *out,
                            struct engram_int_row *row)
{
    __m256i tops = _mm256_setzero_si256();
    __m256 factor = _mm256_set1_ps(args->factor);
    row->norm2 = 0;
    row->weight = 0;
    for (size_t first = 0; first < args->dim; first += ENGRAM_PACK_BLOCK_AVX2) {
        size_t left = args->dim - first;
        size_t last = left < ENGRAM_PACK_BLOCK_AVX2 ? args->dim : first + ENGRAM_PACK_BLOCK_AVX2;
        struct centred sums = {_mm256_setzero_ps(), _mm256_setzero_ps(), tops};
        size_t i = first;
        for (; i + 8 <= last; i += 8) {
            _mm_prefetch((const char *)((uintptr_t)(args->row + i) + ENGRAM_PACK_AHEAD),
                         _MM_HINT_T0);
            _mm256_storeu_ps(out + i, centre8(_mm256_loadu_ps(args->row + i),
                                              _mm256_loadu_ps(args->mean + i),
                                              _mm256_loadu_ps(args->centre + i), factor, &sums));
        }
        if (i < last) {
            /* Missing elements are zeros on all sides, and so is what becomes of them. */
            __m256i mask = lanes8(last - i);
            _mm256_maskstore_ps(out + i, mask,
                                centre8(_mm256_maskload_ps(args->row + i, mask),
                                        _mm256_maskload_ps(args->mean + i, mask),
                                        _mm256_maskload_ps(args->centre + i, mask), factor, &sums));
        }
        row->norm2 += reduce_wide(sums.norms);
        row->weight += reduce_wide(sums.weights);
        tops = sums.tops;
    }
    uint32_t top = largest8(tops);
    memcpy(&row->largest, &top, sizeof row->largest);
}

/* Codes of eight values, 0 .. 2 limit, in the low half. */
INLINE __m128i encode8(const struct engram_int_encode *args, __m256 value, __m256 *errors,
                       __m256 *squares)
{
    __m256 top = _mm256_set1_ps((float)args->limit);
    __m256 wanted = _mm256_mul_ps(value, _mm256_set1_ps(args->inverse));
    wanted = _mm256_max_ps(_mm256_min_ps(wanted, top), _mm256_sub_ps(_mm256_setzero_ps(), top));
    __m256i code = _mm256_cvtps_epi32(wanted);
    __m256 whole = _mm256_cvtepi32_ps(code);
    __m256 error = _mm256_fnmadd_ps(_mm256_set1_ps(args->scale), whole, value);
    *errors = _mm256_fmadd_ps(error, error, *errors);
    *squares = _mm256_fmadd_ps(whole, whole, *squares);
    code = _mm256_add_epi32(code, _mm256_set1_epi32(args->limit));
    __m128i halves =
        _mm_packus_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
    return _mm_packus_epi16(halves, halves);
}

INLINE void put_group(int32_t codes, uint8_t *out)
{
    memcpy(out, &codes, sizeof codes);
}

void engram_avx2_int_encode(const struct engram_int_encode *args, uint8_t *out, double *error2,
                            double *code2)
{
    const size_t stride = args->stride;
    *error2 = 0;
    *code2 = 0;
    for (size_t first = 0; first < args->dim; first += ENGRAM_PACK_BLOCK_AVX2) {
        size_t left = args->dim - first;
        size_t last = left < ENGRAM_PACK_BLOCK_AVX2 ? args->dim : first + ENGRAM_PACK_BLOCK_AVX2;
        __m256 errors = _mm256_setzero_ps();
        __m256 squares = _mm256_setzero_ps();
        size_t i = first;
        for (; i + 8 <= last; i += 8, out += 2 * stride) {
            __m128i codes = encode8(args, _mm256_loadu_ps(args->values + i), &errors, &squares);
            put_group(_mm_extract_epi32(codes, 0), out);
            put_group(_mm_extract_epi32(codes, 1), out + stride);
        }
        if (i < last) {
            uint8_t codes[16];
            __m256 value = _mm256_maskload_ps(args->values + i, lanes8(last - i));
            _mm_storeu_si128((__m128i *)(void *)codes, encode8(args, value, &errors, &squares));
            for (size_t j = 0; i + j < last; j += 4, out += stride) {
                memcpy(out, codes + j, last - i - j < 4 ? last - i - j : 4);
            }
        }
        *error2 += reduce_wide(errors);
        *code2 += reduce_wide(squares);
    }
}

/* Rows side by side, against one group of axes: 12 accumulators. */
#define PRODUCT_ROWS 6
#define PRODUCT_VECTORS 2

/* One block of the sums of `count` rows with a group of axes, added to `out` (or, for the first
 * block, put there). */
INLINE void products_block(const struct engram_f32_products *args, const float *rows,
                           const float *axes, size_t first, size_t count, float *out)
{
    size_t last =
        args->dim - first < ENGRAM_PRODUCT_BLOCK ? args->dim : first + ENGRAM_PRODUCT_BLOCK;
    __m256 sums[PRODUCT_ROWS][PRODUCT_VECTORS];
    for (size_t r = 0; r < count; r++) {
        for (size_t v = 0; v < PRODUCT_VECTORS; v++) {
            sums[r][v] = _mm256_setzero_ps();
        }
    }
    for (size_t i = first; i < last; i++) {
        __m256 axis[PRODUCT_VECTORS];
        for (size_t v = 0; v < PRODUCT_VECTORS; v++) {
            axis[v] = _mm256_load_ps(axes + i * ENGRAM_PRODUCT_GROUP + v * 8);
        }
        for (size_t r = 0; r < count; r++) {
            __m256 value = _mm256_broadcast_ss(rows + r * args->stride + i);
            for (size_t v = 0; v < PRODUCT_VECTORS; v++) {
                sums[r][v] = _mm256_fmadd_ps(value, axis[v], sums[r][v]);
            }
        }
    }
    for (size_t r = 0; r < count; r++) {
        for (size_t v = 0; v < PRODUCT_VECTORS; v++) {
            float *to = out + r * args->groups * ENGRAM_PRODUCT_GROUP + v * 8;
            __m256 sum = sums[r][v];
            _mm256_storeu_ps(to, first == 0 ? sum : _mm256_add_ps(_mm256_loadu_ps(to), sum));
        }
    }
}

INLINE void products_rows(const struct engram_f32_products *args, size_t row, size_t count,
                          float *out)
{
    const float *rows = args->rows + row * args->stride;
    for (size_t g = 0; g < args->groups; g++) {
        const float *axes = args->axes + g * args->dim * ENGRAM_PRODUCT_GROUP;
        float *to = out + (row * args->groups + g) * ENGRAM_PRODUCT_GROUP;
        for (size_t i = 0; i < args->dim; i += ENGRAM_PRODUCT_BLOCK) {
            products_block(args, rows, axes, i, count, to);
        }
    }
}

void engram_avx2_f32_products(const struct engram_f32_products *args, float *out)
{
    size_t row = 0;
    for (; row + PRODUCT_ROWS <= args->row_count; row += PRODUCT_ROWS) {
        products_rows(args, row, PRODUCT_ROWS, out);
    }
    for (; row < args->row_count; row++) {
        products_rows(args, row, 1, out);
    }
}
