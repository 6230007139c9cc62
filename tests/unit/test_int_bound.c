/* Attacks the bound of the integer filter where Cauchy and Schwarz are equalities: the rounding
 * errors of a row all point along the query, or those of the query along the row. A pair is then
 * as far below its limit, in codes, as the bound allows, and its limit is exactly its own key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engram/search.h"
#include "kernels/kernels.h"
#include "reference.h"

#define ROWS 64 /* one panel of every set */

struct attack {
    enum engram_metric metric;
    size_t dim;
    bool row_side; /* whose rounding errors are aligned */
    float base[ROWS * 2048];
    float query[2048];
};

static int sign_of(uint64_t bits, size_t i)
{
    return (bits >> (i & 63) & 1) != 0 ? 1 : -1;
}

/* A row of codes c of step 1 with `limit` as its largest, each off by nearly half a step towards
 * `direction`. */
static void aligned(float *out, size_t dim, int limit, uint64_t direction)
{
    for (size_t i = 0; i < dim; i++) {
        int code = i == 0 ? limit * sign_of(direction, 0) : (int)random_in(-limit / 2, limit / 2);
        float off = i == 0 ? 0 : 0.499F * (float)sign_of(direction, i);
        out[i] = (float)code + off;
    }
}

/* Constant magnitudes have no rounding error as codes. */
static void constant(float *out, size_t dim, uint64_t direction)
{
    for (size_t i = 0; i < dim; i++) {
        out[i] = (float)sign_of(direction, i);
    }
}

/* Rows in pairs of x and -x: their mean is zero, so that no centring moves the codes. */
static void make_attack(struct attack *a, const struct engram_kernels *kernels)
{
    uint64_t direction = random_u64();
    if (a->row_side) {
        constant(a->query, a->dim, direction);
    } else {
        aligned(a->query, a->dim, kernels->int_query_limit, direction);
    }
    for (size_t r = 0; r < ROWS; r += 2) {
        float *row = a->base + r * a->dim;
        if (a->row_side) {
            aligned(row, a->dim, kernels->int_base_limit, direction);
        } else {
            constant(row, a->dim, direction);
            row[a->dim - 1] = (float)(r + 2) / (float)(ROWS + 2);
        }
        for (size_t i = 0; i < a->dim; i++) {
            row[a->dim + i] = -row[i];
        }
    }
}

static int64_t count_within(const struct attack *a, const struct engram_kernels *kernels,
                            enum engram_filter filter, double max_distance, double min_similarity)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_prepared *prepared = NULL;
    struct engram_pairs pairs;
    const struct engram_set base = {a->base, ENGRAM_F32, ROWS, (int64_t)a->dim, 0};
    const struct engram_set query = {a->query, ENGRAM_F32, 1, (int64_t)a->dim, 0};

    options.metric = a->metric;
    options.k = INT64_MAX;
    options.max_distance = max_distance;
    options.min_similarity = min_similarity;
    options.filter = filter;
    options.isa = kernels->name;
    options.threads = 1;
    assert_int_equal(engram_prepare(&base, &options, &prepared), ENGRAM_OK);
    assert_int_equal(engram_search_pairs(prepared, &query, &options, &pairs, NULL), ENGRAM_OK);
    int64_t count = pairs.indptr[1];
    engram_pairs_free(&pairs);
    engram_prepared_free(prepared);
    return count;
}

/* Every row's own key as the limit: the filter must find as many as the canonical scan. */
static void check_attack(const struct attack *a, const struct engram_kernels *kernels)
{
    double query[2048];
    double row[2048];
    for (size_t i = 0; i < a->dim; i++) {
        query[i] = (double)a->query[i];
    }
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < a->dim; i++) {
            row[i] = (double)a->base[r * a->dim + i];
        }
        double score = reference_score(a->metric, query, row, a->dim);
        double key = reference_key(a->metric, score);
        int64_t found = count_within(a, kernels, ENGRAM_FILTER_INT, key, -(double)INFINITY);
        assert_int_equal(found,
                         count_within(a, kernels, ENGRAM_FILTER_CANONICAL, key, -(double)INFINITY));
        if (a->metric == ENGRAM_COSINE || a->metric == ENGRAM_IP) {
            found = count_within(a, kernels, ENGRAM_FILTER_INT, (double)INFINITY, score);
            assert_int_equal(
                found, count_within(a, kernels, ENGRAM_FILTER_CANONICAL, (double)INFINITY, score));
        }
    }
}

static void attack_metric(enum engram_metric metric)
{
    static const size_t dims[] = {3, 8, 31, 100, 768};
    static struct attack attack;
    const struct engram_kernels *kernels;

    for (size_t k = 0; (kernels = engram_kernels_at(k)) != NULL; k++) {
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
            for (int side = 0; side < 2; side++) {
                attack.metric = metric;
                attack.dim = dims[d];
                attack.row_side = side == 0;
                make_attack(&attack, kernels);
                check_attack(&attack, kernels);
            }
        }
    }
}

static void test_cosine(void **state)
{
    (void)state;
    attack_metric(ENGRAM_COSINE);
}

static void test_ip(void **state)
{
    (void)state;
    attack_metric(ENGRAM_IP);
}

static void test_l2(void **state)
{
    (void)state;
    attack_metric(ENGRAM_L2);
}

static void test_sqeuclidean(void **state)
{
    (void)state;
    attack_metric(ENGRAM_SQEUCLIDEAN);
}

#define FAR_ROWS 8200
#define FAR_DIM 16

/* One far row, which the sample for the mean misses, sets the scale: the others are so small beside
 * it that squares of their float32 errors vanish. Queries lie in between. */
static void test_far_row(void **state)
{
    static double base[FAR_ROWS * FAR_DIM];
    double query[FAR_DIM];
    const double far[2] = {1, 1e22};
    const struct engram_kernels *kernels;
    (void)state;
    for (size_t trial = 0; trial < 2; trial++) {
        double small = 1.9 * 0x1p-72 * far[trial];
        for (size_t i = 0; i < FAR_ROWS * FAR_DIM; i++) {
            base[i] = sign_of(random_u64(), 0) > 0 ? small : -small;
        }
        for (size_t i = 0; i < FAR_DIM; i++) {
            base[(FAR_ROWS - 2) * FAR_DIM + i] = far[trial];
            base[6000 * FAR_DIM + i] = small; /* the nearest */
            query[i] = 0x1p-40 * far[trial];
        }
        const struct engram_set set = {base, ENGRAM_F64, FAR_ROWS, FAR_DIM, 0};
        const struct engram_set one = {query, ENGRAM_F64, 1, FAR_DIM, 0};
        for (size_t k = 0; (kernels = engram_kernels_at(k)) != NULL; k++) {
            struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
            int64_t rows[2][3];
            double keys[2][3];
            options.metric = trial == 0 ? ENGRAM_L2 : ENGRAM_SQEUCLIDEAN;
            options.k = 3;
            options.isa = kernels->name;
            options.threads = 1;
            for (int f = 0; f < 2; f++) {
                struct engram_prepared *prepared = NULL;
                options.filter = f == 0 ? ENGRAM_FILTER_CANONICAL : ENGRAM_FILTER_INT;
                assert_int_equal(engram_prepare(&set, &options, &prepared), ENGRAM_OK);
                assert_int_equal(
                    engram_search_knn(prepared, &one, &options, rows[f], keys[f], NULL, NULL),
                    ENGRAM_OK);
                engram_prepared_free(prepared);
            }
            assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
            assert_memory_equal(keys[0], keys[1], sizeof keys[0]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cosine),  cmocka_unit_test(test_ip),
        cmocka_unit_test(test_l2),      cmocka_unit_test(test_sqeuclidean),
        cmocka_unit_test(test_far_row),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
