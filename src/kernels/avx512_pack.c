/* AVX-512: loops over single rows, and their products with axes. */
#include "kernels/pack_x86.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#define MAGNITUDE 0x7fffffff /* a float32 without its sign: magnitudes order like their bits */

INLINE __mmask16 lanes16(size_t count)
{
    return (__mmask16)(count >= 16 ? 0xffffU : (1U << count) - 1);
}

INLINE uint32_t largest8(__m256i tops)
{
    __m128i four = _mm_max_epu32(_mm256_castsi256_si128(tops), _mm256_extracti128_si256(tops, 1));
    __m128i two = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
    __m128i one = _mm_max_epu32(two, _mm_shuffle_epi32(two, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(one);
}

/* ((s0+s4) + (s2+s6)) + ((s1+s5) + (s3+s7)). */
INLINE double reduce(__m512d sums)
{
    __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(sums), _mm512_extractf64x4_pd(sums, 1));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* Sixteen float32 sums, added in float64. */
INLINE double reduce_wide(__m512 sums)
{
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sums), 1));
    return reduce(
        _mm512_add_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(sums)), _mm512_cvtps_pd(high)));
}

INLINE void look_at(__m256 values, bool product, __m256i *tops, __m512d *sums)
{
    *tops = _mm256_max_epu32(
        *tops, _mm256_and_si256(_mm256_castps_si256(values), _mm256_set1_epi32(MAGNITUDE)));
    if (product) {
        __m512d wide = _mm512_cvtps_pd(values);
        *sums = _mm512_add_pd(*sums, _mm512_mul_pd(wide, wide));
    }
}

/* Rows follow each other without a dependency, so their chains of additions overlap. */
INLINE void look_rows(const struct engram_base_rows *rows, size_t count, size_t dim, bool product,
                      uint32_t *tops, double *self_products)
{
    const __mmask8 rest = (__mmask8)((1U << dim % 8) - 1);
    for (size_t r = 0; r < count; r++) {
        const float *row = (const float *)(const void *)(rows->data + r * rows->stride);
        __m256i top = _mm256_setzero_si256();
        __m512d sums = _mm512_setzero_pd();
        size_t i = 0;
        for (; i + 8 <= dim; i += 8) {
            look_at(_mm256_loadu_ps(row + i), product, &top, &sums);
        }
        if (i < dim) {
            look_at(_mm256_maskz_loadu_ps(rest, row + i), product, &top, &sums);
        }
        tops[r] = largest8(top);
        if (product) {
            self_products[r] = reduce(sums);
        }
    }
}

void engram_avx512_f32_look(const struct engram_base_rows *rows, size_t count, size_t dim,
                            uint32_t *tops, double *self_products)
{
    if (self_products != NULL) {
        look_rows(rows, count, dim, true, tops, self_products);
    } else {
        look_rows(rows, count, dim, false, tops, self_products);
    }
}

/* Lanes outside `mask` are not read and count as zeros. */
INLINE __m512d project8(const float *row, const double *mean, __m512d factor, __mmask8 mask,
                        __m512d *sums)
{
    __m512d value = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, row));
    if (mean != NULL) {
        value = _mm512_sub_pd(value, _mm512_maskz_loadu_pd(mask, mean));
    }
    value = _mm512_mul_pd(value, factor);
    *sums = _mm512_fmadd_pd(value, value, *sums);
    return value;
}

INLINE double project_row(const float *row, const double *mean, bool centred, double factor,
                          size_t dim, float *out)
{
    const __mmask8 all = 0xff;
    const __m512d factors = _mm512_set1_pd(factor);
    __m512d sums[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    size_t i = 0;
    for (; i + 16 <= dim; i += 16) {
        _mm_prefetch((const char *)((uintptr_t)(row + i) + ENGRAM_PACK_AHEAD), _MM_HINT_T0);
        for (size_t h = 0; h < 2; h++) {
            size_t at = i + 8 * h;
            __m512d value = project8(row + at, centred ? mean + at : NULL, factors, all, &sums[h]);
            _mm256_storeu_ps(out + at, _mm512_cvtpd_ps(value));
        }
    }
    for (; i < dim; i += 8) {
        __mmask8 mask = (__mmask8)lanes16(dim - i < 8 ? dim - i : 8);
        __m512d value = project8(row + i, centred ? mean + i : NULL, factors, mask, &sums[0]);
        _mm256_mask_storeu_ps(out + i, mask, _mm512_cvtpd_ps(value));
    }
    return reduce(_mm512_add_pd(sums[0], sums[1]));
}

double engram_avx512_f32_project(const float *row, const double *mean, double factor, size_t dim,
                                 float *out)
{
    return mean != NULL ? project_row(row, mean, true, factor, dim, out)
                        : project_row(row, mean, false, factor, dim, out);
}

/* Sums of a block. */
struct centred {
    __m512 norms;
    __m512 weights;
    __m512i tops;
};

/* The sixteen elements from i on; those outside `mask` count as zeros. */
INLINE __m512 centre16(const struct engram_int_centre *args, size_t i, __mmask16 mask,
                       struct centred *sums)
{
    _mm_prefetch((const char *)((uintptr_t)(args->row + i) + ENGRAM_PACK_AHEAD), _MM_HINT_T0);
    __m512 centre = _mm512_maskz_loadu_ps(mask, args->centre + i);
    __m512 value = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, args->row + i),
                                 _mm512_maskz_loadu_ps(mask, args->mean + i));
    value = _mm512_sub_ps(_mm512_mul_ps(value, _mm512_set1_ps(args->factor)), centre);
    sums->norms = _mm512_fmadd_ps(value, value, sums->norms);
    sums->weights = _mm512_fmadd_ps(value, centre, sums->weights);
    sums->tops = _mm512_max_epu32(
        sums->tops, _mm512_and_si512(_mm512_castps_si512(value), _mm512_set1_epi32(MAGNITUDE)));
    return value;
}

void engram_avx512_int_centre(const struct engram_int_centre *args, float *out,
                              struct engram_int_row *row)
{
    __m512i tops = _mm512_setzero_si512();
    row->norm2 = 0;
    row->weight = 0;
    for (size_t first = 0; first < args->dim; first += ENGRAM_PACK_BLOCK_AVX512) {
        size_t left = args->dim - first;
        size_t last =
            left < ENGRAM_PACK_BLOCK_AVX512 ? args->dim : first + ENGRAM_PACK_BLOCK_AVX512;
        struct centred sums = {_mm512_setzero_ps(), _mm512_setzero_ps(), tops};
        size_t i = first;
        for (; i + 16 <= last; i += 16) {
            _mm512_storeu_ps(out + i, centre16(args, i, lanes16(16), &sums));
        }
        if (i < last) {
            __mmask16 mask = lanes16(last - i);
            _mm512_mask_storeu_ps(out + i, mask, centre16(args, i, mask, &sums));
        }
        row->norm2 += reduce_wide(sums.norms);
        row->weight += reduce_wide(sums.weights);
        tops = sums.tops;
    }
    uint32_t top = largest8(
        _mm256_max_epu32(_mm512_castsi512_si256(tops), _mm512_extracti64x4_epi64(tops, 1)));
    memcpy(&row->largest, &top, sizeof row->largest);
}

/* Codes of sixteen values, 0 .. 2 limit. */
INLINE __m128i encode16(const struct engram_int_encode *args, __m512 value, __m512 *errors,
                        __m512 *squares)
{
    __m512 top = _mm512_set1_ps((float)args->limit);
    __m512 wanted = _mm512_mul_ps(value, _mm512_set1_ps(args->inverse));
    wanted = _mm512_max_ps(_mm512_min_ps(wanted, top), _mm512_sub_ps(_mm512_setzero_ps(), top));
    __m512i code = _mm512_cvtps_epi32(wanted);
    __m512 whole = _mm512_cvtepi32_ps(code);
    __m512 error = _mm512_fnmadd_ps(_mm512_set1_ps(args->scale), whole, value);
    *errors = _mm512_fmadd_ps(error, error, *errors);
    *squares = _mm512_fmadd_ps(whole, whole, *squares);
    return _mm512_cvtepi32_epi8(_mm512_add_epi32(code, _mm512_set1_epi32(args->limit)));
}

INLINE void put_group(int32_t codes, uint8_t *out)
{
    memcpy(out, &codes, sizeof codes);
}

void engram_avx512_int_encode(const struct engram_int_encode *args, uint8_t *out, double *error2,
                              double *code2)
{
    const size_t stride = args->stride;
    *error2 = 0;
    *code2 = 0;
    for (size_t first = 0; first < args->dim; first += ENGRAM_PACK_BLOCK_AVX512) {
        size_t left = args->dim - first;
        size_t last =
            left < ENGRAM_PACK_BLOCK_AVX512 ? args->dim : first + ENGRAM_PACK_BLOCK_AVX512;
        __m512 errors = _mm512_setzero_ps();
        __m512 squares = _mm512_setzero_ps();
        size_t i = first;
        for (; i + 16 <= last; i += 16, out += 4 * stride) {
            __m128i codes = encode16(args, _mm512_loadu_ps(args->values + i), &errors, &squares);
            put_group(_mm_extract_epi32(codes, 0), out);
            put_group(_mm_extract_epi32(codes, 1), out + stride);
            put_group(_mm_extract_epi32(codes, 2), out + 2 * stride);
            put_group(_mm_extract_epi32(codes, 3), out + 3 * stride);
        }
        if (i < last) {
            uint8_t codes[16];
            __m512 value = _mm512_maskz_loadu_ps(lanes16(last - i), args->values + i);
            _mm_storeu_si128((__m128i *)(void *)codes, encode16(args, value, &errors, &squares));
            for (size_t j = 0; i + j < last; j += 4, out += stride) {
                memcpy(out, codes + j, last - i - j < 4 ? last - i - j : 4);
            }
        }
        *error2 += reduce_wide(errors);
        *code2 += reduce_wide(squares);
    }
}

/* Rows side by side, against two groups of axes: 24 accumulators. */
#define PRODUCT_ROWS 12

/* One block of the sums of `count` rows with `wide` groups of axes, added to `out` (or, for the
 * first block, put there). */
INLINE void products_block(const struct engram_f32_products *args, const float *rows,
                           const float *axes, size_t first, size_t count, size_t wide, float *out)
{
    size_t last =
        args->dim - first < ENGRAM_PRODUCT_BLOCK ? args->dim : first + ENGRAM_PRODUCT_BLOCK;
    __m512 sums[PRODUCT_ROWS][2];
    for (size_t r = 0; r < count; r++) {
        sums[r][0] = _mm512_setzero_ps();
        sums[r][1] = _mm512_setzero_ps();
    }
    for (size_t i = first; i < last; i++) {
        __m512 axis[2];
        for (size_t v = 0; v < wide; v++) {
            axis[v] = _mm512_load_ps(axes + (v * args->dim + i) * ENGRAM_PRODUCT_GROUP);
        }
        for (size_t r = 0; r < count; r++) {
            __m512 value = _mm512_set1_ps(rows[r * args->stride + i]);
            for (size_t v = 0; v < wide; v++) {
                sums[r][v] = _mm512_fmadd_ps(value, axis[v], sums[r][v]);
            }
        }
    }
    for (size_t r = 0; r < count; r++) {
        for (size_t v = 0; v < wide; v++) {
            float *to = out + (r * args->groups + v) * ENGRAM_PRODUCT_GROUP;
            __m512 sum = sums[r][v];
            _mm512_storeu_ps(to, first == 0 ? sum : _mm512_add_ps(_mm512_loadu_ps(to), sum));
        }
    }
}

INLINE void products_rows(const struct engram_f32_products *args, size_t row, size_t count,
                          float *out)
{
    const float *rows = args->rows + row * args->stride;
    for (size_t g = 0; g < args->groups; g += 2) {
        const float *axes = args->axes + g * args->dim * ENGRAM_PRODUCT_GROUP;
        float *to = out + (row * args->groups + g) * ENGRAM_PRODUCT_GROUP;
        for (size_t i = 0; i < args->dim; i += ENGRAM_PRODUCT_BLOCK) {
            if (g + 2 <= args->groups) {
                products_block(args, rows, axes, i, count, 2, to);
            } else {
                products_block(args, rows, axes, i, count, 1, to);
            }
        }
    }
}

void engram_avx512_f32_products(const struct engram_f32_products *args, float *out)
{
    size_t row = 0;
    for (; row + PRODUCT_ROWS <= args->row_count; row += PRODUCT_ROWS) {
        products_rows(args, row, PRODUCT_ROWS, out);
    }
    for (; row + 4 <= args->row_count; row += 4) {
        products_rows(args, row, 4, out);
    }
    for (; row < args->row_count; row++) {
        products_rows(args, row, 1, out);
    }
}
