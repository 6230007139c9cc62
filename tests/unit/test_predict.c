/* The automatic choice among filters: the prefix filter where few axes tell nearly everything that
 * a limit asks, not where rows have no structure; and the same answers either way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engram/search.h"
#include "kernels/kernels.h"
#include "reference.h"
#include "search/prepared.h"

#define ROWS 3000
#define DIM 96
#define QUERIES 60

static float base[ROWS * DIM];

/* `decay`: coordinate i has a standard deviation of 2^(-i decay). */
static void make_base(double decay)
{
    for (size_t i = 0; i < ROWS * DIM; i++) {
        base[i] = (float)(random_bell() * exp2(-decay * (double)(i % DIM)));
    }
}

static enum engram_filter run(const char *isa, struct engram_search_options options,
                              enum engram_filter filter, int threads, struct engram_pairs *pairs)
{
    const struct engram_set set = {base, ENGRAM_F32, ROWS, DIM, 0};
    const struct engram_set queries = {base + (size_t)100 * DIM, ENGRAM_F32, QUERIES, DIM, 0};
    struct engram_prepared *prepared = NULL;
    struct engram_search_stats stats;
    options.isa = isa;
    options.filter = filter;
    options.threads = threads;
    assert_int_equal(engram_prepare(&set, &options, &prepared), ENGRAM_OK);
    assert_int_equal(engram_search_pairs(prepared, &queries, &options, pairs, &stats), ENGRAM_OK);
    engram_prepared_free(prepared);
    return stats.filter;
}

static void check(struct engram_search_options options, bool prefix)
{
    const struct engram_kernels *kernels;
    for (size_t k = 0; (kernels = engram_kernels_at(k)) != NULL; k++) {
        struct engram_pairs pairs[3];
        (void)run(kernels->name, options, ENGRAM_FILTER_CANONICAL, 2, &pairs[0]);
        for (int t = 1; t <= 2; t++) {
            enum engram_filter ran = run(kernels->name, options, ENGRAM_FILTER_AUTO, t, &pairs[t]);
            if ((ran == ENGRAM_FILTER_PREFIX) != prefix) {
                fail_msg("%s: filter %d was chosen", kernels->name, (int)ran);
            }
            assert_int_equal(pairs[t].indptr[QUERIES], pairs[0].indptr[QUERIES]);
            size_t count = (size_t)pairs[0].indptr[QUERIES];
            assert_memory_equal(pairs[t].rows, pairs[0].rows, count * sizeof *pairs[0].rows);
            assert_memory_equal(pairs[t].distances, pairs[0].distances,
                                count * sizeof *pairs[0].distances);
            engram_pairs_free(&pairs[t]);
        }
        engram_pairs_free(&pairs[0]);
    }
}

static void test_threshold(void **state)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    (void)state;
    options.k = INT64_MAX;
    options.min_similarity = 0.95;
    make_base(0.25);
    options.expected_queries = 1000000;
    check(options, true);
    options.expected_queries = QUERIES; /* so few do not pay for axes */
    check(options, false);
    options.expected_queries = 100000;
    options.metric = ENGRAM_L2;
    options.min_similarity = -(double)INFINITY;
    options.max_distance = 0.1;
    check(options, true);
}

static void test_nearest(void **state)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    (void)state;
    options.k = 5;
    options.expected_queries = 1000000;
    make_base(0.25);
    check(options, true);
    make_base(0);
    check(options, false);
}

static struct engram_filter_choice choose(const struct engram_set *set,
                                          struct engram_search_options options)
{
    struct engram_prepared *prepared = NULL;
    assert_int_equal(engram_prepare(set, &options, &prepared), ENGRAM_OK);
    struct engram_filter_choice choice = prepared->choice;
    engram_prepared_free(prepared);
    return choice;
}

static void check_estimate(const struct engram_filter_estimate *estimate, double share_most)
{
    assert_null(estimate->why_not);
    assert_true(estimate->cost > 0);
    assert_true(estimate->share >= 0 && estimate->share <= share_most);
}

/* What a prepared set tells of the choice, and what a search passes on. */
static void test_told(void **state)
{
    const struct engram_set set = {base, ENGRAM_F32, ROWS, DIM, 0};
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_search_stats stats;
    struct engram_prepared *prepared = NULL;
    static int64_t rows[ROWS * 5];
    (void)state;
    options.k = 5;
    options.expected_queries = 1000000;
    make_base(0.25);
    struct engram_filter_choice choice = choose(&set, options);
    assert_int_equal(choice.filter, ENGRAM_FILTER_PREFIX);
    assert_non_null(choice.reason);
    check_estimate(&choice.f32, 0.02);
    check_estimate(&choice.integer, 0.05);
    check_estimate(&choice.prefix, 0.1);
    assert_true(choice.prefix.axes >= 15 && choice.prefix.axes <= 64);
    assert_true(choice.prefix.cost < choice.integer.cost);
    assert_true(choice.f32.share <= choice.integer.share);

    assert_int_equal(engram_prepare(&set, &options, &prepared), ENGRAM_OK);
    assert_int_equal(engram_search_knn(prepared, &set, &options, rows, NULL, NULL, &stats),
                     ENGRAM_OK);
    assert_int_equal(stats.choice.filter, stats.filter);
    assert_true(stats.choice.prefix.share == choice.prefix.share);
    assert_true(stats.choice.integer.cost == choice.integer.cost);
    engram_prepared_free(prepared);

    options.filter = ENGRAM_FILTER_F32;
    choice = choose(&set, options);
    assert_int_equal(choice.filter, ENGRAM_FILTER_F32);
    assert_null(choice.reason);
    options.filter = ENGRAM_FILTER_AUTO;
    options.expected_queries = QUERIES;
    choice = choose(&set, options);
    assert_int_equal(choice.filter, ENGRAM_FILTER_INT);
    assert_non_null(choice.prefix.why_not);
    assert_true(choice.integer.cost == 0);
}

/* A sample is judged as the base it was taken from: the k nearest of many rows are nearer. */
static void test_sample(void **state)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_filter_choice choice;
    struct engram_filter_choice sampled;
    const struct engram_set all = {base, ENGRAM_F32, ROWS, DIM, 0};
    /* every third row */
    const struct engram_set sample = {base, ENGRAM_F32, ROWS / 3, DIM, 3 * DIM * sizeof(float)};
    (void)state;
    options.k = 30;
    for (int flat = 0; flat < 2; flat++) {
        make_base(flat ? 0 : 0.25);
        options.expected_queries = 1000000;
        choice = choose(&all, options);
        assert_int_equal(engram_prepare_choice(&sample, ROWS, &options, &sampled), ENGRAM_OK);
        assert_int_equal(sampled.filter, choice.filter);
        assert_int_equal(sampled.prefix.why_not == NULL, choice.prefix.why_not == NULL);
        /* Were the sample all there is, the 30 nearest would be three times as many of the rows. */
        options.expected_rows = ROWS / 3;
        assert_int_equal(engram_prepare_choice(&sample, ROWS, &options, &choice), ENGRAM_OK);
        assert_true(choice.f32.share > 1.5 * sampled.f32.share);
        options.expected_rows = 0;
        /* Also where they decide nothing, there are estimates. */
        options.expected_queries = QUERIES;
        assert_int_equal(engram_prepare_choice(&sample, ROWS, &options, &sampled), ENGRAM_OK);
        assert_int_equal(sampled.filter, ENGRAM_FILTER_INT);
        check_estimate(&sampled.integer, 0.2);
        assert_non_null(sampled.prefix.why_not);
    }
}

/* Rows that all say the same, and none that may be an answer. */
static void test_odd_samples(void **state)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    static uint8_t allowed[ROWS / 8 + 1];
    struct engram_pairs pairs;
    (void)state;
    options.k = 5;
    make_base(0.25);
    options.allowed = allowed;
    (void)run(NULL, options, ENGRAM_FILTER_AUTO, 2, &pairs);
    assert_int_equal(pairs.indptr[QUERIES], 0);
    engram_pairs_free(&pairs);
    (void)run(NULL, options, ENGRAM_FILTER_PREFIX, 2, &pairs);
    assert_int_equal(pairs.indptr[QUERIES], 0);
    engram_pairs_free(&pairs);
    allowed[200] = 4;
    (void)run(NULL, options, ENGRAM_FILTER_PREFIX, 2, &pairs);
    assert_int_equal(pairs.indptr[QUERIES], QUERIES);
    engram_pairs_free(&pairs);
    options.allowed = NULL;
    for (int value = 0; value < 2; value++) {
        for (size_t i = 0; i < ROWS * DIM; i++) {
            base[i] = (float)value;
        }
        for (int filter = ENGRAM_FILTER_AUTO; filter <= ENGRAM_FILTER_PREFIX; filter++) {
            (void)run(NULL, options, (enum engram_filter)filter, 2, &pairs);
            for (int64_t i = 0; i < pairs.indptr[QUERIES]; i++) {
                assert_int_equal(pairs.rows[i], i % 5);
            }
            engram_pairs_free(&pairs);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threshold),   cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_told),        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_odd_samples),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
