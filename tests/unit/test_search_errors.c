/* What the in-memory search refuses, what it says then, and what it does without memory. */
#define _GNU_SOURCE
#include "search/unit.h"
#include "search_fixture.h"

static char logged[1100];
static int messages;

static void keep_message(void *context, enum engram_log_level level, const char *message)
{
    (void)context;
    messages += level == ENGRAM_LOG_ERROR;
    (void)snprintf(logged, sizeof logged, "%s", message);
}

static struct engram_search_options defaults(void)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    options.log.call = keep_message;
    options.threads = 2;
    logged[0] = '\0';
    messages = 0;
    return options;
}

static const float VALUES[64];
static const struct engram_set GOOD = {VALUES, ENGRAM_F32, 8, 4, 0};

/* One message that contains `words`; NULL: none at all. */
static void expect_logged(const char *words)
{
    if (words == NULL) {
        assert_int_equal(messages, 0);
        return;
    }
    if (messages != 1 || strstr(logged, words) == NULL) {
        fail_msg("%d messages, the last \"%s\"; expected \"%s\"", messages, logged, words);
    }
    assert_null(strchr(logged, '\n'));
}

static void refuse_prepare(const struct engram_set *set, struct engram_search_options options,
                           enum engram_status status, const char *words)
{
    struct engram_prepared *prepared = NULL;
    assert_int_equal(engram_prepare(set, &options, &prepared), status);
    assert_null(prepared);
    expect_logged(words);
}

static void test_prepare_usage(void **state)
{
    (void)state;
    struct engram_search_options options = defaults();
    struct engram_prepared *prepared = NULL;
    struct engram_set set;

    refuse_prepare(NULL, defaults(), ENGRAM_ERR_USAGE, "base");
    assert_int_equal(engram_prepare(&GOOD, NULL, &prepared), ENGRAM_ERR_USAGE);
    assert_int_equal(engram_prepare(&GOOD, &options, NULL), ENGRAM_ERR_USAGE);
    options.size--;
    assert_int_equal(engram_prepare(&GOOD, &options, &prepared), ENGRAM_ERR_USAGE);
#define REFUSE_SET(field, value, words)                                                            \
    set = GOOD;                                                                                    \
    set.field = (value);                                                                           \
    refuse_prepare(&set, defaults(), ENGRAM_ERR_USAGE, words)
    REFUSE_SET(dtype, (enum engram_dtype)12, "element type");
    REFUSE_SET(dtype, (enum engram_dtype) - 1, "element type");
    REFUSE_SET(rows, -1, "out of range");
    REFUSE_SET(rows, (int64_t)1 << 31, "out of range");
    REFUSE_SET(rows, INT64_MAX, "out of range");
    REFUSE_SET(dim, -1, "out of range");
    REFUSE_SET(dim, ((int64_t)1 << 24) + 1, "out of range");
    REFUSE_SET(dim, INT64_MIN, "out of range");
    REFUSE_SET(stride, 15, "stride");
    REFUSE_SET(stride, 17, "stride");
    REFUSE_SET(stride, 12, "stride");
    REFUSE_SET(stride, SIZE_MAX & ~(size_t)3, "stride");
    REFUSE_SET(data, NULL, "no data");
    REFUSE_SET(data, (const char *)VALUES + 2, "aligned");
#undef REFUSE_SET
    options = defaults();
    options.metric = (enum engram_metric)7;
    refuse_prepare(&GOOD, options, ENGRAM_ERR_USAGE, "metric");
    options = defaults();
    options.isa = "sse9";
    refuse_prepare(&GOOD, options, ENGRAM_ERR_USAGE, "sse9");
    options = defaults();
    options.threads = -1;
    refuse_prepare(&GOOD, options, ENGRAM_ERR_USAGE, "threads");
    options = defaults();
    options.threads = 1000000;
    refuse_prepare(&GOOD, options, ENGRAM_ERR_USAGE, "threads");
    engram_prepared_free(NULL);
}

static void refuse_search(const struct engram_prepared *prepared, const struct engram_set *queries,
                          struct engram_search_options options, enum engram_status status,
                          const char *words)
{
    static int64_t neighbors[8 * 16];
    struct engram_pairs pairs = {7, NULL, NULL, NULL};
    logged[0] = '\0';
    messages = 0;
    assert_int_equal(engram_search_knn(prepared, queries, &options, neighbors, NULL, NULL, NULL),
                     status);
    expect_logged(words);
    logged[0] = '\0';
    messages = 0;
    assert_int_equal(engram_search_pairs(prepared, queries, &options, &pairs, NULL), status);
    expect_logged(words);
    assert_true(pairs.queries == 0 && pairs.indptr == NULL && pairs.rows == NULL &&
                pairs.distances == NULL);
}

static void test_search_usage(void **state)
{
    (void)state;
    struct engram_search_options options = defaults();
    struct engram_prepared *prepared = NULL;
    struct engram_prepared *flat = NULL;
    int64_t neighbors[80];
    assert_int_equal(engram_prepare(&GOOD, &options, &prepared), ENGRAM_OK);
    options.metric = ENGRAM_L2;
    assert_int_equal(engram_prepare(&GOOD, &options, &flat), ENGRAM_OK);

    options = defaults();
    refuse_search(NULL, &GOOD, options, ENGRAM_ERR_USAGE, NULL);
    refuse_search(prepared, NULL, options, ENGRAM_ERR_USAGE, "queries");
    options.size = 0;
    refuse_search(prepared, &GOOD, options, ENGRAM_ERR_USAGE, NULL);
#define REFUSE(set, field, value, status, words)                                                   \
    options = defaults();                                                                          \
    options.metric = (set)->metric;                                                                \
    options.field = (value);                                                                       \
    refuse_search((set), &GOOD, options, (status), (words))
    REFUSE(prepared, metric, ENGRAM_IP, ENGRAM_ERR_USAGE, "cosine");
    REFUSE(prepared, k, 0, ENGRAM_ERR_USAGE, "k must");
    REFUSE(prepared, k, -1, ENGRAM_ERR_USAGE, "k must");
    REFUSE(prepared, max_distance, (double)NAN, ENGRAM_ERR_USAGE, "NaN");
    REFUSE(prepared, min_similarity, (double)NAN, ENGRAM_ERR_USAGE, "NaN");
    REFUSE(flat, min_similarity, 0.5, ENGRAM_ERR_USAGE, "similarity");
    REFUSE(prepared, filter, (enum engram_filter)99, ENGRAM_ERR_USAGE, "filter");
    REFUSE(prepared, threads, -3, ENGRAM_ERR_USAGE, "threads");
#undef REFUSE
    struct engram_set other = GOOD;
    other.dim = 3;
    refuse_search(prepared, &other, defaults(), ENGRAM_ERR_DATA, "3 dimensions");
    options = defaults();
    options.k = (int64_t)INT32_MAX + 1;
    assert_int_equal(engram_search_knn(prepared, &GOOD, &options, neighbors, NULL, NULL, NULL),
                     ENGRAM_ERR_USAGE);
    options.k = 10;
    assert_int_equal(engram_search_knn(prepared, &GOOD, &options, NULL, NULL, NULL, NULL),
                     ENGRAM_ERR_USAGE);
    assert_int_equal(engram_search_pairs(prepared, &GOOD, &options, NULL, NULL), ENGRAM_ERR_USAGE);
    /* Optional outputs may be missing. */
    assert_int_equal(engram_search_knn(prepared, &GOOD, &options, neighbors, NULL, NULL, NULL),
                     ENGRAM_OK);
    engram_pairs_free(NULL);
    engram_prepared_free(prepared);
    engram_prepared_free(flat);
}

/* ---- values beyond the limits */

/* Puts `bad` into rows 5 and 3 of base and queries; row 3 must be named. */
static void check_values(enum engram_dtype dtype, enum engram_metric metric, const void *bad,
                         const char *words)
{
    struct matrix good = matrix_make(dtype, 9, 4, 0, KIND_FEW, false);
    struct matrix spoilt = matrix_make(dtype, 9, 4, 0, KIND_FEW, false);
    struct engram_search_options options = defaults();
    struct engram_prepared *prepared = NULL;
    size_t element = engram_dtype_size(dtype);
    memcpy((unsigned char *)spoilt.memory + 22 * element, bad, element);
    memcpy((unsigned char *)spoilt.memory + 14 * element, bad, element);
    options.metric = metric;
    if (words != NULL) {
        refuse_prepare(&spoilt.set, options, ENGRAM_ERR_DATA, "base: row 3");
        assert_non_null(strstr(logged, words));
    }
    assert_int_equal(engram_prepare(&good.set, &options, &prepared), ENGRAM_OK);
    if (words != NULL) {
        refuse_search(prepared, &spoilt.set, options, ENGRAM_ERR_DATA, "queries: row 3");
        assert_non_null(strstr(logged, words));
    } else {
        int64_t neighbors[90];
        assert_int_equal(
            engram_search_knn(prepared, &spoilt.set, &options, neighbors, NULL, NULL, NULL),
            ENGRAM_OK);
    }
    engram_prepared_free(prepared);
    matrix_free(&good);
    matrix_free(&spoilt);
}

static void test_values(void **state)
{
    (void)state;
    const double limit = 1e150;
    const double beyond = nextafter(1e150, 1e300);
    const double below = -beyond;
    const int64_t exact = (int64_t)1 << 53;
    const int64_t inexact = ((int64_t)1 << 53) + 1;
    const int64_t least = INT64_MIN;
    const uint64_t most = UINT64_MAX;
    for (int metric = 0; metric < METRICS; metric++) {
        const char *words = metric == ENGRAM_COSINE ? NULL : "1e150";
        check_values(ENGRAM_F64, (enum engram_metric)metric, &limit, NULL);
        check_values(ENGRAM_F64, (enum engram_metric)metric, &beyond, words);
        check_values(ENGRAM_F64, (enum engram_metric)metric, &below, words);
        check_values(ENGRAM_I64, (enum engram_metric)metric, &exact, NULL);
        check_values(ENGRAM_I64, (enum engram_metric)metric, &inexact, "2^53");
        check_values(ENGRAM_I64, (enum engram_metric)metric, &least, "2^53");
        check_values(ENGRAM_U64, (enum engram_metric)metric, &exact, NULL);
        check_values(ENGRAM_U64, (enum engram_metric)metric, &inexact, "2^53");
        check_values(ENGRAM_U64, (enum engram_metric)metric, &most, "2^53");
    }
}

/* ---- scratch that does not suffice: the outputs say so */

static void test_no_scratch(void **state)
{
    (void)state;
    static const size_t limits[] = {0, 64, 4096, 20000};
    size_t usual = engram_unit_arena_limit;
    struct matrix base = matrix_make(ENGRAM_F32, 300, 100, 0, KIND_PLAIN, false);
    struct matrix queries = matrix_make(ENGRAM_F32, 50, 100, 0, KIND_PLAIN, false);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        for (int filter = ENGRAM_FILTER_CANONICAL; filter < FILTERS; filter++) {
            struct engram_search_options options = defaults();
            struct engram_prepared *prepared = NULL;
            struct answer a = {.pairs = false};
            options.filter = (enum engram_filter)filter;
            assert_int_equal(engram_prepare(&base.set, &options, &prepared), ENGRAM_OK);
            engram_unit_arena_limit = limits[i];
            answer_run(&a, prepared, &queries.set, &options);
            assert_int_equal(a.status, ENGRAM_ERR_RESOURCE);
            expect_logged("scratch memory");
            assert_true(a.stats.scratch[ENGRAM_SCRATCH_REFUSED] > 0);
            for (int64_t cell = 0; cell < 50 * options.k; cell++) {
                assert_int_equal(a.neighbors[cell], -1);
                assert_true(isinf(a.distances[cell]) != 0 && a.distances[cell] > 0);
            }
            for (int64_t q = 0; q < 50; q++) {
                assert_int_equal(a.counts[q], 0);
            }
            answer_free(&a);
            struct answer none = {.pairs = true};
            options.k = NO_K;
            messages = 0;
            answer_run(&none, prepared, &queries.set, &options);
            assert_int_equal(none.status, ENGRAM_ERR_RESOURCE);
            expect_logged("scratch memory");
            assert_null(none.found.indptr);
            engram_unit_arena_limit = usual;

            /* The prepared set is as good as before. */
            struct oracle o = oracle_make(&base, &queries, options.metric);
            options.k = 10;
            answer_run(&a, prepared, &queries.set, &options);
            answer_check(&a, &o, &options, "after a failure");
            oracle_free(&o);
            answer_free(&a);
            engram_prepared_free(prepared);
        }
    }
    matrix_free(&base);
    matrix_free(&queries);
}

/* An arena that is a little too small: the last small request is served from the stack. */
static void test_scratch_from_the_stack(void **state)
{
    (void)state;
    size_t usual = engram_unit_arena_limit;
    struct matrix base = matrix_make(ENGRAM_F32, 300, 20, 0, KIND_PLAIN, false);
    struct matrix queries = matrix_make(ENGRAM_F32, 20, 20, 0, KIND_PLAIN, false);
    struct oracle o = oracle_make(&base, &queries, ENGRAM_COSINE);
    struct engram_search_options options = defaults();
    struct engram_prepared *prepared = NULL;
    struct answer a = {.pairs = false};
    options.threads = 1;
    options.filter = ENGRAM_FILTER_CANONICAL;
    assert_int_equal(engram_prepare(&base.set, &options, &prepared), ENGRAM_OK);
    answer_run(&a, prepared, &queries.set, &options);
    assert_int_equal(a.stats.scratch[ENGRAM_SCRATCH_STACK], 0);
    size_t needed = a.stats.arena_high_water;
    assert_true(needed > 0);
    answer_free(&a);
    engram_unit_arena_limit = needed - 64;
    answer_run(&a, prepared, &queries.set, &options);
    engram_unit_arena_limit = usual;
    assert_true(a.stats.scratch[ENGRAM_SCRATCH_STACK] > 0);
    answer_check(&a, &o, &options, "scratch from the stack");
    answer_free(&a);
    engram_prepared_free(prepared);
    oracle_free(&o);
    matrix_free(&base);
    matrix_free(&queries);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prepare_usage),
        cmocka_unit_test(test_search_usage),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_no_scratch),
        cmocka_unit_test(test_scratch_from_the_stack),
    };
    (void)argc;
    wait_passively(argv);
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
