/* Which rows may be answers: masks and groups, against brute force, whatever filter runs and
 * however limits are guessed; and the components that pairs connect. */
#define _GNU_SOURCE
#include "engram/search.h"
#include "search_fixture.h"

/* Rows of a base large enough for limits to be guessed from a sample (64 panels of 16 rows). */
#define LARGE 2600

static uint8_t *any_mask(int64_t rows, size_t one_in)
{
    uint8_t *mask = calloc((size_t)rows / 8 + 1, 1);
    assert_non_null(mask);
    for (int64_t r = 0; r < rows; r++) {
        mask[r / 8] |= (uint8_t)((random_below(one_in) == 0) << r % 8);
    }
    return mask;
}

/* Numbers from 0 on; one in `none` is no group. */
static int64_t *any_groups(int64_t rows, size_t groups, size_t none)
{
    int64_t *numbers = malloc(((size_t)rows + 1) * sizeof *numbers);
    assert_non_null(numbers);
    for (int64_t r = 0; r < rows; r++) {
        numbers[r] = random_below(none) == 0 ? -1 - random_in(0, 3) : (int64_t)random_below(groups);
    }
    return numbers;
}

/* All filters, one and several threads. */
static void check_searches(const struct matrix *base, const struct matrix *queries,
                           struct engram_search_options options, bool pairs)
{
    char context[200];
    struct oracle o = oracle_make(base, queries, options.metric);
    for (int filter = 0; filter < FILTERS; filter++) {
        struct engram_prepared *prepared = NULL;
        if (!filter_fits((enum engram_filter)filter, options.metric)) {
            continue;
        }
        options.filter = (enum engram_filter)filter;
        assert_int_equal(engram_prepare(&base->set, &options, &prepared), ENGRAM_OK);
        for (options.threads = 1; options.threads <= 3; options.threads += 2) {
            struct answer a = {.pairs = pairs};
            (void)snprintf(context, sizeof context,
                           "%s, %lld x %lld, k %lld, self %d, mask %d, groups %d, filter %d, "
                           "threads %d",
                           engram_metric_name(options.metric), (long long)queries->set.rows,
                           (long long)base->set.rows, (long long)options.k, options.self,
                           options.allowed != NULL, options.base_groups != NULL, filter,
                           options.threads);
            answer_run(&a, prepared, &queries->set, &options);
            answer_check(&a, &o, &options, context);
            answer_free(&a);
        }
        engram_prepared_free(prepared);
    }
    oracle_free(&o);
}

static void test_random(void **state)
{
    (void)state;
    for (int trial = 0; trial < (UNDER_TSAN ? 10 : 120); trial++) {
        struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
        options.metric = (enum engram_metric)random_below(METRICS);
        enum kind kind = (enum kind)random_below(KINDS);
        bool cosine = options.metric == ENGRAM_COSINE;
        enum engram_dtype dtype = (enum engram_dtype)random_below(3);
        struct matrix base =
            matrix_make(dtype, random_in(0, 300), random_in(1, 12), random_below(2), kind, cosine);
        bool same = random_below(2) == 0;
        struct matrix queries =
            same ? base : matrix_make(dtype, random_in(1, 40), base.set.dim, 0, kind, cosine);
        bool pairs = random_below(2) == 0;
        options.self = same;
        options.k = pairs && random_below(2) == 0 ? NO_K : random_in(1, 30);
        uint8_t *mask = any_mask(base.set.rows, (size_t)random_in(1, 9));
        int64_t *groups = any_groups(base.set.rows, (size_t)random_in(1, 20), 4);
        int64_t *asked = same ? groups : any_groups(queries.set.rows, 10, 4);
        options.allowed = random_below(3) == 0 ? NULL : mask;
        if (options.allowed == NULL || random_below(2) == 0) {
            options.base_groups = groups;
            options.query_groups = asked;
        }
        check_searches(&base, &queries, options, pairs);
        if (!same) {
            free(asked);
            matrix_free(&queries);
        }
        free(groups);
        free(mask);
        matrix_free(&base);
    }
}

/* Each group is one tight cluster, so the nearest rows of every query are all in its own. */
static struct matrix clusters(int64_t rows, int64_t dim, int64_t count, int64_t *groups)
{
    struct matrix m = matrix_make(ENGRAM_F32, rows, dim, 0, KIND_PLAIN, false);
    for (int64_t r = 0; r < rows; r++) {
        groups[r] = r % count;
        for (int64_t i = 0; i < dim; i++) {
            float *to = (float *)m.memory + r * dim + i;
            *to = (float)(r < count ? 4 * random_bell()
                                    : m.wide[groups[r] * dim + i] + 0.01 * random_bell());
            m.wide[r * dim + i] = (double)*to;
        }
    }
    return m;
}

static void test_own_cluster(void **state)
{
    int64_t groups[LARGE];
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    (void)state;
    struct matrix base = clusters(LARGE, 9, 5, groups);
    struct matrix queries = base;
    queries.set.rows = 30;
    options.self = true;
    options.base_groups = groups;
    options.query_groups = groups;
    for (int metric = 0; metric < METRICS; metric++) {
        options.metric = (enum engram_metric)metric;
        for (int64_t k = 1; k <= 1000; k *= 10) {
            options.k = k;
            check_searches(&base, &queries, options, false);
        }
    }
    /* Groups one after the other, so that a sample says little about where they end. */
    for (int64_t r = 0; r < LARGE; r++) {
        groups[r] = r / 500;
    }
    check_searches(&base, &queries, options, false);
    /* All in one group: no answers at all. */
    memset(groups, 0, sizeof groups);
    check_searches(&base, &queries, options, false);
    matrix_free(&base);
}

static void test_small_masks(void **state)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    uint8_t mask[LARGE / 8 + 1];
    (void)state;
    struct matrix base = matrix_make(ENGRAM_F32, LARGE, 12, 0, KIND_PLAIN, false);
    struct matrix queries = matrix_make(ENGRAM_F32, 25, 12, 0, KIND_PLAIN, false);
    options.allowed = mask;
    options.metric = ENGRAM_L2;
    /* 0, 1, 7 and 90 rows, all of them where a sample looks or all where it does not. */
    for (int64_t first = 0; first <= 40; first += 40) {
        for (int64_t count = 0; count <= 90;
             count = count < 7 ? 7 * count + (count == 0) : count + 83) {
            memset(mask, 0, sizeof mask);
            for (int64_t i = 0, r = first; i < count; i++) {
                mask[r / 8] |= (uint8_t)(1 << r % 8);
                r += r % 16 == 15 && first == 0 ? 16 * 15 + 1 : 1;
            }
            for (int64_t k = 1; k <= 100; k *= 10) {
                options.k = k;
                check_searches(&base, &queries, options, false);
            }
        }
    }
    matrix_free(&base);
    matrix_free(&queries);
}

/* The lowest row that row r is connected with, by spreading minima until nothing changes. */
static void plain_components(const struct oracle *o, const struct engram_search_options *options,
                             int64_t *component)
{
    bool changed = true;
    for (int64_t r = 0; r < o->rows; r++) {
        component[r] = r;
    }
    while (changed) {
        changed = false;
        for (int64_t q = 0; q < o->rows; q++) {
            for (int64_t r = 0; r < o->rows; r++) {
                double score = o->scores[q * o->rows + r];
                bool edge = reference_key(options->metric, score) <= options->max_distance &&
                            score >= options->min_similarity && oracle_eligible(options, q, r) &&
                            oracle_eligible(options, r, q);
                if (edge && component[q] != component[r]) {
                    int64_t low = component[q] < component[r] ? component[q] : component[r];
                    component[q] = component[r] = low;
                    changed = true;
                }
            }
        }
    }
}

static void check_components(const struct matrix *base, struct engram_search_options options)
{
    int64_t rows = base->set.rows;
    struct oracle o = oracle_make(base, base, options.metric);
    int64_t *expected = malloc(((size_t)rows + 1) * sizeof *expected);
    int64_t *found = malloc(((size_t)rows + 1) * sizeof *found);
    assert_non_null(expected);
    assert_non_null(found);
    plain_components(&o, &options, expected);
    for (int filter = 0; filter < FILTERS; filter++) {
        struct engram_prepared *prepared = NULL;
        if (!filter_fits((enum engram_filter)filter, options.metric)) {
            continue;
        }
        struct engram_search_stats stats;
        options.filter = (enum engram_filter)filter;
        options.threads = (int)random_in(1, 3);
        assert_int_equal(engram_prepare(&base->set, &options, &prepared), ENGRAM_OK);
        assert_int_equal(engram_search_components(prepared, &base->set, &options, found, &stats),
                         ENGRAM_OK);
        assert_memory_equal(found, expected, (size_t)rows * sizeof *found);
        assert_int_equal(stats.pairs, (uint64_t)rows * (uint64_t)rows);
        engram_prepared_free(prepared);
    }
    free(expected);
    free(found);
    oracle_free(&o);
}

static void test_components(void **state)
{
    (void)state;
    for (int trial = 0; trial < (UNDER_TSAN ? 10 : 120); trial++) {
        struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
        options.metric = (enum engram_metric)random_below(METRICS);
        options.self = true;
        bool cosine = options.metric == ENGRAM_COSINE;
        enum kind kind = (enum kind)random_below(KINDS);
        struct matrix base = matrix_make((enum engram_dtype)random_below(5), random_in(0, 200),
                                         random_in(1, 9), random_below(2), kind, cosine);
        int64_t rows = base.set.rows;
        uint8_t *mask = any_mask(rows, (size_t)random_in(1, 3));
        int64_t *groups = any_groups(rows, (size_t)random_in(1, 20), 4);
        struct oracle o = oracle_make(&base, &base, options.metric);
        if (rows > 1) { /* some pair's key: about as many edges as rows or fewer */
            double key = INFINITY;
            for (int i = 0; i < 60; i++) {
                int64_t q = random_in(0, rows - 1);
                int64_t r = random_in(0, rows - 1);
                double other = reference_key(options.metric, o.scores[q * rows + r]);
                key = q != r && other < key ? other : key;
            }
            options.max_distance = key;
        }
        oracle_free(&o);
        options.allowed = random_below(2) == 0 ? NULL : mask;
        if (random_below(3) == 0) {
            options.base_groups = groups;
            options.query_groups = groups;
        }
        check_components(&base, options);
        free(groups);
        free(mask);
        matrix_free(&base);
    }
}

/* A chain through all rows, in an order that makes deep trees; and everything alike. */
static void test_chain(void **state)
{
    enum { ROWS = 700 };
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    (void)state;
    struct matrix base = matrix_make(ENGRAM_F32, ROWS, 1, 0, KIND_PLAIN, false);
    options.metric = ENGRAM_L2;
    options.self = true;
    options.max_distance = 1;
    for (int step = 1; step <= 3; step++) {
        for (int64_t r = 0; r < ROWS; r++) {
            int64_t place = step == 1 ? r : step == 2 ? ROWS - r : r * 333 % ROWS;
            ((float *)base.memory)[r] = (float)place;
            base.wide[r] = (double)place;
        }
        check_components(&base, options);
    }
    options.max_distance = INFINITY;
    check_components(&base, options);
    options.max_distance = 0.5;
    check_components(&base, options);
    matrix_free(&base);
}

static void test_errors(void **state)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_prepared *prepared = NULL;
    int64_t numbers[4] = {0, 1, 2, 3};
    int64_t out[4];
    (void)state;
    struct matrix base = matrix_make(ENGRAM_F32, 4, 3, 0, KIND_PLAIN, false);
    assert_int_equal(engram_prepare(&base.set, &options, &prepared), ENGRAM_OK);
    assert_int_equal(engram_search_components(prepared, &base.set, &options, out, NULL),
                     ENGRAM_ERR_USAGE); /* not self */
    options.self = true;
    assert_int_equal(engram_search_components(prepared, &base.set, &options, NULL, NULL),
                     ENGRAM_ERR_USAGE);
    options.base_groups = numbers;
    assert_int_equal(engram_search_components(prepared, &base.set, &options, out, NULL),
                     ENGRAM_ERR_USAGE); /* one side only */
    options.base_groups = NULL;
    base.set.rows = 3;
    assert_int_equal(engram_search_components(prepared, &base.set, &options, out, NULL),
                     ENGRAM_ERR_USAGE);
    base.set.rows = 4;
    int cancel = 1;
    options.cancel = &cancel;
    assert_int_equal(engram_search_components(prepared, &base.set, &options, out, NULL),
                     ENGRAM_ERR_CANCELLED);
    engram_prepared_free(prepared);
    matrix_free(&base);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),      cmocka_unit_test(test_own_cluster),
        cmocka_unit_test(test_small_masks), cmocka_unit_test(test_components),
        cmocka_unit_test(test_chain),       cmocka_unit_test(test_errors),
    };
    (void)argc;
    wait_passively(argv);
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
