/* Queries for the integer tile; the mathematics is in bound_int.h, whose names are used here. */
#include "search/bound_int.h"

/* Section 5: float32 rounding of X' against |X| and |m| rather than |X'|, and of w. */
#define SLACK 0x1p-17

/* Queries are coded again for every slab of a base that does not fit: sums may be taken in any
 * order, so that compilers vectorise the loops. */

/* k of section 1, and c. Under l2 and sqeuclidean k is taken (b), and Q stays as it is. */
static double centre_query(const struct engram_int_pack *pack, size_t dim, double norm,
                           double *dense, double *constant)
{
    const double *centre = pack->centre;
    double along = 0;
    *constant = 0;
    if (centre == NULL) {
        return 0;
    }
#pragma omp simd reduction(+ : along)
    for (size_t i = 0; i < dim; i++) {
        along += dense[i] * centre[i];
    }
    *constant = along;
    if (pack->mean != NULL) {
        *constant += 0x1p-40 * norm * sqrt(pack->centre_norm2);
        return 0;
    }
    double k = along > 0 ? along / pack->centre_norm2 : 0;
#pragma omp simd
    for (size_t i = 0; i < dim; i++) {
        dense[i] -= k * centre[i];
    }
    return k;
}

static double squared_norm(const double *row, size_t dim)
{
    double norm2 = 0;
#pragma omp simd reduction(+ : norm2)
    for (size_t i = 0; i < dim; i++) {
        norm2 += row[i] * row[i];
    }
    return norm2;
}

static double magnitude(const double *row, size_t dim)
{
    double largest = 0;
#pragma omp simd reduction(max : largest)
    for (size_t i = 0; i < dim; i++) {
        largest = fabs(row[i]) > largest ? fabs(row[i]) : largest;
    }
    return largest;
}

/* D to `codes`, whole numbers within the limit; the squared norms of G and D, and the sum of D. */
static void encode_query(double *dense, size_t dim, double scale, int limit, int8_t *codes,
                         double *error2, double *codes2, int64_t *code_sum)
{
    const double whole = 0x1.8p52; /* adding it rounds to a whole number */
    const double inverse = 1 / scale;
    const double most = limit;
    double errors = 0;
    double squares = 0;
    double sum = 0; /* exact */
#pragma omp simd reduction(+ : errors, squares, sum)
    for (size_t i = 0; i < dim; i++) {
        double code = dense[i] * inverse;
        code = code < -most ? -most : code;
        code = code > most ? most : code;
        code = (code + whole) - whole;
        double error = dense[i] - scale * code;
        errors += error * error;
        squares += code * code;
        sum += code;
        dense[i] = code;
    }
    for (size_t i = 0; i < dim; i++) {
        codes[i] = (int8_t)(int)dense[i];
    }
    *error2 = errors;
    *codes2 = squares;
    *code_sum = (int64_t)sum;
}

void engram_int_query_make(const struct engram_prepared *prepared, double *dense,
                           const struct engram_projected *projected, int8_t *codes,
                           struct engram_int_query *query)
{
    const struct engram_int_pack *pack = &prepared->codes;
    size_t dim = pack->dim;
    int limit = prepared->kernels->int_query_limit;
    double error2; /* |G|^2 */
    double codes2; /* |D|^2 */

    *query = (struct engram_int_query){.projected = *projected};
    double norm = sqrt(squared_norm(dense, dim)); /* |Q| */
    double k = centre_query(pack, dim, norm, dense, &query->constant);
    double own2 = squared_norm(dense, dim); /* |Q'|^2 */
    double largest = magnitude(dense, dim);
    double scale = largest / limit > ENGRAM_INT_SCALE_MIN ? largest / limit : ENGRAM_INT_SCALE_MIN;
    encode_query(dense, dim, scale, limit, codes, &error2, &codes2, &query->code_sum);
    bool euclidean = pack->mean != NULL;
    query->scale = scale;
    query->row_error = sqrt(own2) / scale * ENGRAM_INT_ENLARGE;
    query->query_error = (sqrt(error2) * ENGRAM_MUTATE_INT_BOUND + 0x1p-40 * sqrt(own2) +
                          0x1p-22 * norm + 0x1p-20 * scale * sqrt(codes2)) /
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
