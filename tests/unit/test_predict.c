/* The automatic choice among filters: the prefix filter where few axes tell nearly everything that
 * a limit asks, not where rows have no structure; and the same answers either way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engram/search.h"
#include "kernels/kernels.h"
#include "reference.h"

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
        cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_odd_samples),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
