/* Dense and pairwise answers against the brute-force oracle: the same bits for every metric,
 * element type, kernel set, thread count, and however rows lie in memory. */
#define _GNU_SOURCE
#include "kernels/kernels.h"
#include "search/values.h"
#include "search_fixture.h"

static char context[256];

static struct engram_search_options options_for(enum engram_metric metric, const char *isa,
                                                int threads)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    options.metric = metric;
    options.isa = isa;
    options.threads = threads;
    return options;
}

/* Bits of a key; every NaN is one. */
static bool same_key(double got, double want)
{
    return isnan(want) ? isnan(got) : memcmp(&got, &want, sizeof got) == 0;
}

static void check_dense(const struct matrix *base, const struct matrix *queries,
                        const struct oracle *o, const struct engram_search_options *options)
{
    int64_t cells = o->queries * o->rows;
    double *out = malloc(((size_t)cells + 1) * sizeof *out);
    struct engram_prepared *prepared = NULL;
    struct engram_search_stats stats;
    assert_non_null(out);
    out[cells] = 12345;
    EXPECT(engram_prepare(&base->set, options, &prepared) == ENGRAM_OK);
    EXPECT(engram_search_dense(prepared, &queries->set, options, out, &stats) == ENGRAM_OK);
    for (int64_t i = 0; i < cells; i++) {
        EXPECT(same_key(out[i], reference_key(options->metric, o->scores[i])));
    }
    EXPECT(out[cells] == 12345);
    EXPECT(stats.pairs == (uint64_t)cells && stats.canonical == (uint64_t)cells);
    engram_prepared_free(prepared);
    free(out);
}

static void check_pairwise(const struct matrix *base, const struct matrix *queries,
                           const struct oracle *o, const struct engram_search_options *options)
{
    int64_t rows = o->rows < o->queries ? o->rows : o->queries;
    double *out = malloc(((size_t)rows + 1) * sizeof *out);
    struct engram_set left = queries->set;
    struct engram_set right = base->set;
    struct engram_search_stats stats;
    int64_t skipped[2] = {0, 0};
    size_t dim = (size_t)right.dim;
    assert_non_null(out);
    left.rows = right.rows = rows;
    out[rows] = 12345;
    EXPECT(engram_search_pairwise(&left, &right, options, out, &stats) == ENGRAM_OK);
    for (int64_t i = 0; i < rows; i++) {
        EXPECT(same_key(out[i], reference_key(options->metric, o->scores[i * o->rows + i])));
        skipped[0] += !reference_finite(queries->wide + i * left.dim, dim);
        skipped[1] += !reference_finite(base->wide + i * left.dim, dim);
    }
    EXPECT(out[rows] == 12345);
    EXPECT(stats.pairs == (uint64_t)rows);
    EXPECT(stats.skipped_queries == skipped[0] && stats.skipped_base == skipped[1]);
    free(out);
}

static void check_shape(int64_t base_rows, int64_t query_rows, int64_t dim,
                        enum engram_dtype base_type, enum engram_dtype query_type, enum kind kind)
{
    for (size_t m = 0; m < METRICS; m++) {
        bool cosine = (enum engram_metric)m == ENGRAM_COSINE;
        struct matrix base = matrix_make(base_type, base_rows, dim, random_below(3), kind, cosine);
        struct matrix queries =
            matrix_make(query_type, query_rows, dim, random_below(3), kind, cosine);
        struct oracle o = oracle_make(&base, &queries, (enum engram_metric)m);
        const struct engram_kernels *kernels;
        for (size_t i = 0; (kernels = engram_kernels_at(i)) != NULL; i++) {
            int threads = (int)random_in(1, 5);
            struct engram_search_options options =
                options_for((enum engram_metric)m, kernels->name, threads);
            (void)snprintf(context, sizeof context,
                           "%s %s %d threads, %lld x %lld, %lld dimensions, types %d %d, kind %d",
                           engram_metric_name((enum engram_metric)m), kernels->name, threads,
                           (long long)query_rows, (long long)base_rows, (long long)dim,
                           (int)base_type, (int)query_type, (int)kind);
            check_dense(&base, &queries, &o, &options);
            check_pairwise(&base, &queries, &o, &options);
        }
        oracle_free(&o);
        matrix_free(&base);
        matrix_free(&queries);
    }
}

static void test_all_types_and_values(void **state)
{
    (void)state;
    for (int type = 0; type < DTYPES; type++) {
        for (int kind = 0; kind < KINDS; kind++) {
            check_shape(random_in(1, 300), random_in(1, 70), random_in(1, 40),
                        (enum engram_dtype)type, (enum engram_dtype)random_below(DTYPES),
                        (enum kind)kind);
        }
    }
}

static void test_edges(void **state)
{
    static const int64_t rows[] = {0, 1, 2, 63, 64, 65, 129};
    (void)state;
    for (size_t b = 0; b < sizeof rows / sizeof rows[0]; b++) {
        for (size_t q = 0; q < sizeof rows / sizeof rows[0]; q++) {
            check_shape(rows[b], rows[q], (int64_t)((b + q) % 4) * 3, ENGRAM_F32, ENGRAM_F32,
                        KIND_ODD);
        }
    }
}

/* More rows than one segment, and a dimension beyond what an item of the pairwise loop takes. */
static void test_segments_and_long_rows(void **state)
{
    (void)state;
    check_shape(9000, 3, 5, ENGRAM_F32, ENGRAM_F64, KIND_ODD);
    check_shape(9, 9, 20001, ENGRAM_F32, ENGRAM_F32, KIND_PLAIN);
}

/* The diagonal of a set with itself is a distance like all others, whatever the options say of
 * self, limits and groups. */
static void test_itself(void **state)
{
    (void)state;
    for (size_t m = 0; m < METRICS; m++) {
        struct matrix set = matrix_make(ENGRAM_F32, 50, 13, 0, KIND_PLAIN, false);
        struct oracle o = oracle_make(&set, &set, (enum engram_metric)m);
        struct engram_search_options options = options_for((enum engram_metric)m, NULL, 2);
        options.self = true;
        options.max_distance = -1e9;
        options.k = 1;
        (void)snprintf(context, sizeof context, "itself, %s",
                       engram_metric_name((enum engram_metric)m));
        check_dense(&set, &set, &o, &options);
        oracle_free(&o);
        matrix_free(&set);
    }
}

/* ---- what is refused */

static void remember(void *text, enum engram_log_level level, const char *message)
{
    (void)level;
    (void)snprintf(text, 256, "%s", message);
}

static void test_refused(void **state)
{
    (void)state;
    char message[256] = "";
    double out[64];
    struct matrix four = matrix_make(ENGRAM_F32, 4, 3, 0, KIND_PLAIN, false);
    struct matrix five = matrix_make(ENGRAM_F32, 5, 3, 0, KIND_PLAIN, false);
    struct matrix wide = matrix_make(ENGRAM_F64, 4, 2, 0, KIND_PLAIN, false);
    struct engram_search_options options = options_for(ENGRAM_L2, NULL, 2);
    struct engram_prepared *prepared = NULL;
    options.log = (struct engram_log){remember, message};
    assert_int_equal(engram_search_pairwise(&four.set, &five.set, &options, out, NULL),
                     ENGRAM_ERR_USAGE);
    assert_non_null(strstr(message, "4 queries, 5 base rows"));
    assert_int_equal(engram_search_pairwise(&four.set, &wide.set, &options, out, NULL),
                     ENGRAM_ERR_DATA);
    assert_non_null(strstr(message, "dimensions"));
    assert_int_equal(engram_search_pairwise(&four.set, &four.set, &options, NULL, NULL),
                     ENGRAM_ERR_USAGE);
    assert_int_equal(engram_search_pairwise(&four.set, &four.set, NULL, out, NULL),
                     ENGRAM_ERR_USAGE);
    assert_int_equal(engram_prepare(&four.set, &options, &prepared), ENGRAM_OK);
    assert_int_equal(engram_search_dense(prepared, &wide.set, &options, out, NULL),
                     ENGRAM_ERR_DATA);
    assert_int_equal(engram_search_dense(prepared, &five.set, &options, NULL, NULL),
                     ENGRAM_ERR_USAGE);
    ((double *)wide.memory)[2 * 2 + 1] = 1e200;
    assert_int_equal(engram_search_pairwise(&wide.set, &wide.set, &options, out, NULL),
                     ENGRAM_ERR_DATA);
    assert_non_null(strstr(message, "row 2"));
    int cancel = 1;
    options.cancel = &cancel;
    assert_int_equal(engram_search_dense(prepared, &five.set, &options, out, NULL),
                     ENGRAM_ERR_CANCELLED);
    assert_int_equal(engram_search_pairwise(&four.set, &four.set, &options, out, NULL),
                     ENGRAM_ERR_CANCELLED);
    engram_prepared_free(prepared);
    matrix_free(&four);
    matrix_free(&five);
    matrix_free(&wide);
}

/* ---- values */

static void test_values(void **state)
{
    (void)state;
    const double scores[] = {0.25, -0.0, 1.0, 1e300, -1e300, (double)NAN, -(double)NAN, 1e-300};
    const size_t count = sizeof scores / sizeof scores[0];
    const struct engram_order ip = engram_metric_order(ENGRAM_IP);
    float narrow[9];
    double wide[9];
    const struct engram_values distances = {.data = narrow, .float32 = true};
    const struct engram_values similarities = {.data = wide, .similarity = true};
    engram_values_put(&distances, ip, 1, count, scores);
    engram_values_put(&similarities, ip, 1, count, scores);
    assert_true(narrow[1] == -0.25F && narrow[3] == -1.0F);
    assert_true(narrow[2] == 0 && !signbit(narrow[2]) && wide[2] == 0 && !signbit(wide[2]));
    assert_true(narrow[4] == -INFINITY && narrow[5] == INFINITY);
    assert_true(wide[1] == 0.25 && wide[4] == 1e300 && wide[5] == -1e300);
    assert_memory_equal(&narrow[6], &narrow[7], sizeof(float));
    assert_memory_equal(&wide[6], &wide[7], sizeof(double));
    assert_true(isnan(narrow[6]) && isnan(wide[6]));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_types_and_values),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_segments_and_long_rows),
        cmocka_unit_test(test_itself),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_values),
    };
    (void)argc;
    wait_passively(argv);
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
