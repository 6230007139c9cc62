/* Queries for the integer tile; the mathematics is in bound_int.h, whose names are used here. */
#include "search/bound_int.h"

/* Section 5: float32 rounding of X' against |X| and |m| rather than |X'|, and of w. */
#define SLACK 0x1p-17

/* Queries are coded again for every slab of a base that does not fit, so these loops count. Any
 * order of the sums is right. */

/* |Q|^2 and Q.m. */
static void measure_query(const double *dense, const float *centre, size_t dim, double *norm2,
                          double *along)
{
    double norms = 0;
    double products = 0;
#pragma omp simd reduction(+ : norms, products)
    for (size_t i = 0; i < dim; i++) {
        norms += dense[i] * dense[i];
        products += dense[i] * (double)centre[i];
    }
    *norm2 = norms;
    *along = products;
}

#define LANES 8

/* In lanes: `a > b ? a : b` is what one instruction does for a vector, but not what compilers make
 * a reduction of. */
static double largest_of(const double *values, size_t count)
{
    double lanes[LANES] = {0};
    double most = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            double value = fabs(values[i + l]);
            lanes[l] = value > lanes[l] ? value : lanes[l];
        }
    }
    for (; i < count; i++) {
        most = fabs(values[i]) > most ? fabs(values[i]) : most;
    }
    for (size_t l = 0; l < LANES; l++) {
        most = lanes[l] > most ? lanes[l] : most;
    }
    return most;
}

/* Q becomes Q - k m; its squared norm and largest magnitude. */
static void centre_query(double *dense, const float *centre, double k, size_t dim, double *norm2,
                         double *largest)
{
    double norms = 0;
#pragma omp simd reduction(+ : norms)
    for (size_t i = 0; i < dim; i++) {
        double value = dense[i] - k * (double)centre[i];
        norms += value * value;
        dense[i] = value;
    }
    *norm2 = norms;
    *largest = largest_of(dense, dim);
}

/* What the codes of a query add up to. */
struct code_sums {
    double error2; /* |G|^2 */
    double code2;  /* |D|^2 */
    double sum;    /* of D; exact */
};

/* Adding this rounds to a whole number. */
#define WHOLE 0x1.8p52

/* Q' becomes D, whole numbers within the limit. */
static struct code_sums encode_query(double *dense, size_t dim, double scale, int limit,
                                     int8_t *codes)
{
    const double inverse = 1 / scale;
    const double most = limit;
    double errors = 0;
    double squares = 0;
    double sums = 0;
#pragma omp simd reduction(+ : errors, squares, sums)
    for (size_t i = 0; i < dim; i++) {
        double code = dense[i] * inverse;
        code = code < -most ? -most : code;
        code = code > most ? most : code;
        code = (code + WHOLE) - WHOLE;
        double error = dense[i] - scale * code;
        errors += error * error;
        squares += code * code;
        sums += code;
        dense[i] = code;
    }
    for (size_t i = 0; i < dim; i++) {
        codes[i] = (int8_t)(int)dense[i];
    }
    return (struct code_sums){errors, squares, sums};
}

void engram_int_query_make(const struct engram_prepared *prepared, double *dense,
                           const struct engram_projected *projected, int8_t *codes,
                           struct engram_int_query *query)
{
    const struct engram_int_pack *pack = &prepared->codes;
    const bool euclidean = pack->mean != NULL;
    size_t dim = pack->dim;
    int limit = prepared->kernels->int_query_limit;
    double norm2;   /* |Q|^2 */
    double along;   /* Q.m */
    double own2;    /* |Q'|^2 */
    double largest; /* of Q' */
    double k = 0;   /* of section 1; under l2 and sqeuclidean k is taken (b), Q stays as it is */

    *query = (struct engram_int_query){.projected = *projected};
    measure_query(dense, pack->centre32, dim, &norm2, &along);
    double norm = sqrt(norm2);
    if (pack->centre != NULL) {
        query->constant = along + (euclidean ? 0x1p-40 * norm * sqrt(pack->centre_norm2) : 0);
        k = !euclidean && along > 0 ? along / pack->centre_norm2 : 0;
    }
    centre_query(dense, pack->centre32, k, dim, &own2, &largest);
    double scale = largest / limit > ENGRAM_INT_SCALE_MIN ? largest / limit : ENGRAM_INT_SCALE_MIN;
    const struct code_sums found = encode_query(dense, dim, scale, limit, codes);
    query->code_sum = (int64_t)found.sum;
    query->scale = scale;
    query->row_error = sqrt(own2) / scale * ENGRAM_INT_ENLARGE;
    query->query_error = (sqrt(found.error2) * ENGRAM_MUTATE_INT_BOUND + 0x1p-40 * sqrt(own2) +
                          0x1p-22 * norm + 0x1p-20 * scale * sqrt(found.code2)) /
                         scale * ENGRAM_INT_ENLARGE;
    query->slope =
        euclidean ? ldexp(1, pack->projection.exponent - projected->exponent) / scale : k / scale;
}

float engram_int_level(const struct engram_prepared *prepared, const struct engram_int_query *query,
                       double max_key, double min_score)
{
    const struct engram_int_pack *pack = &prepared->codes;
    double limit = engram_dot_limit(prepared->metric, prepared->dim, pack->projection.exponent,
                                    &query->projected, max_key, min_score);
    limit -= query->constant + pack->tiny;
    if (pack->mean == NULL) {
        limit -= SLACK; /* section 5 */
    }
    limit = limit > 8 ? 8 : limit;
    if (!(limit >= -8)) {
        return -INFINITY;
    }
    limit /= query->scale;
    return engram_round_down(limit - fabs(limit) * 0x1p-20);
}
