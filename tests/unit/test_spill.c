/* Pairs that leave a search by runs: together they are the answer, whatever the bound; and the
 * limit on their number. */
#define _GNU_SOURCE
#include "base/pages.h"
#include "search/unit.h"
#include "search_fixture.h"

/* Runs of a search, as they came. */
struct taken {
    struct engram_run runs[10000];
    size_t count;
    size_t largest;
    size_t refuse; /* the run that is refused, counted from 1; 0: none */
};

static struct taken taken;

static enum engram_status take(void *context, struct engram_run *run)
{
    struct taken *t = context;
    assert_true(t->count < sizeof t->runs / sizeof t->runs[0]);
    if (t->count + 1 == t->refuse) {
        return ENGRAM_ERR_IO;
    }
    t->largest = run->count > t->largest ? run->count : t->largest;
    t->runs[t->count++] = *run;
    run->hits = NULL;
    return ENGRAM_OK;
}

static void forget(void)
{
    for (size_t i = 0; i < taken.count; i++) {
        engram_pages_free(taken.runs[i].hits, taken.runs[i].bytes);
    }
    taken.count = 0;
    taken.largest = 0;
    taken.refuse = 0;
}

/* Every run is sorted, and all of them hold the answers of query q. */
static void check_query(const struct oracle *o, int64_t q,
                        const struct engram_search_options *options, int64_t first_row)
{
    struct engram_order order = engram_metric_order(options->metric);
    int64_t count = oracle_answer(o, q, options);
    int64_t found = 0;
    for (size_t i = 0; i < taken.count; i++) {
        const struct engram_run *run = &taken.runs[i];
        const struct engram_hit *last = NULL;
        for (size_t h = 0; h < run->count; h++) {
            const struct engram_hit *hit = &run->hits[h];
            if (ENGRAM_HIT_QUERY(hit->tag) != q) {
                assert_true(last == NULL || ENGRAM_HIT_QUERY(hit->tag) > q);
                continue;
            }
            struct found wanted = {engram_key(order, hit->score), ENGRAM_HIT_ROW(hit->tag)};
            assert_true(last == NULL || engram_hit_less(order, last, hit));
            assert_int_equal(run->first_row, first_row);
            assert_non_null(bsearch(&wanted, o->list, (size_t)count, sizeof wanted, found_compare));
            last = hit;
            found++;
        }
    }
    assert_int_equal(found, count); /* each run's are different, see below */
}

/* No pair is in two runs. */
static void check_different(int64_t queries, int64_t rows)
{
    bool *seen = calloc((size_t)(queries * rows) + 1, sizeof *seen);
    assert_non_null(seen);
    for (size_t i = 0; i < taken.count; i++) {
        for (size_t h = 0; h < taken.runs[i].count; h++) {
            int64_t tag = taken.runs[i].hits[h].tag;
            bool *cell = &seen[ENGRAM_HIT_QUERY(tag) * rows + ENGRAM_HIT_ROW(tag)];
            assert_false(*cell);
            *cell = true;
        }
    }
    free(seen);
}

/* One search of `rows` against the base, or against itself. */
static enum engram_status search(const struct engram_prepared *prepared, struct engram_set *queries,
                                 const struct engram_search_options *options,
                                 struct engram_request *request, int64_t first_row)
{
    struct engram_query_rows rows = {.first_row = first_row, .what = "queries"};
    struct engram_search_stats stats = {0};
    struct engram_partial partial = {0};
    int64_t skipped = 0;
    assert_int_equal(engram_set_check(queries, "queries", NULL, &rows.set), ENGRAM_OK);
    request->metric = options->metric;
    request->k = options->k;
    request->max_key = options->max_distance;
    request->min_score = options->min_similarity;
    request->self = options->self;
    request->filter = options->filter;
    request->threads = options->threads;
    assert_int_equal(engram_queries_check(prepared, &rows, request, &skipped), ENGRAM_OK);
    enum engram_status status = engram_unit_search(prepared, first_row, &rows, 0, rows.set.rows,
                                                   request, NULL, &partial, &stats);
    assert_true(status != ENGRAM_OK || request->spill == NULL ||
                partial.indptr[rows.set.rows] == 0);
    engram_partial_free(&partial);
    return status;
}

static void check_shape(int64_t query_rows, int64_t base_rows, int trial)
{
    static const size_t bounds[] = {1, 300000, 2000000, (size_t)1 << 40};
    const struct engram_spill spill = {take, &taken, bounds[trial % 4]};
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_request request = {.spill = &spill};
    struct engram_prepared *prepared = NULL;
    bool self = query_rows == base_rows;
    struct matrix base = matrix_make(ENGRAM_F32, base_rows, 3, 0, KIND_FEW, false);
    struct matrix queries =
        self ? base : matrix_make(ENGRAM_F32, query_rows, 3, 0, KIND_FEW, false);
    options.metric = ENGRAM_SQEUCLIDEAN;
    options.k = trial % 3 == 0 ? base_rows : NO_K;
    options.self = self;
    options.threads = 1 + trial % 3;
    options.max_distance = trial % 5 == 0 ? (double)INFINITY : (double)random_in(1, 5);
    options.filter = (enum engram_filter)random_below(FILTERS);
    struct oracle o = oracle_make(&base, &queries, options.metric);
    size_t usual = engram_pairs_first_room;
    engram_pairs_first_room = trial % 2 == 0 ? usual : 100;
    assert_int_equal(engram_prepare(&base.set, &options, &prepared), ENGRAM_OK);
    assert_int_equal(search(prepared, &queries.set, &options, &request, 1000), ENGRAM_OK);
    engram_pairs_first_room = usual;
    size_t total = 0;
    for (size_t i = 0; i < taken.count; i++) {
        assert_int_equal(taken.runs[i].first_query, 1000);
        assert_true(taken.runs[i].count > 0);
        total += taken.runs[i].count;
    }
    for (int64_t q = 0; q < query_rows; q++) {
        check_query(&o, q, &options, 1000);
    }
    check_different(query_rows, base_rows);
    /* More than one run where one would not have fitted: a bound counts for something. */
    assert_true(total * sizeof(struct engram_hit) <= spill.memory || taken.count > 1 ||
                total < 2 * 128 * 400);
    forget();
    engram_prepared_free(prepared);
    oracle_free(&o);
    if (!self) {
        matrix_free(&queries);
    }
    matrix_free(&base);
}

static void test_runs(void **state)
{
    (void)state;
    for (int trial = 0; trial < 12; trial++) {
        check_shape(400, 400, trial);
        check_shape(200, 300, trial);
        check_shape(1, 30000, trial); /* one row with a whole base's worth */
        check_shape(1500, 20, trial);
    }
}

/* Fails exactly when there are more, and at once when the receiver fails. */
static void test_limits(void **state)
{
    (void)state;
    const struct engram_spill spill = {take, &taken, 300000};
    struct matrix base = matrix_make(ENGRAM_F32, 500, 3, 0, KIND_PLAIN, false);
    for (int self = 0; self < 2; self++) {
        struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
        struct engram_prepared *prepared = NULL;
        options.metric = ENGRAM_L2;
        options.k = NO_K;
        options.self = self != 0;
        options.threads = 2;
        assert_int_equal(engram_prepare(&base.set, &options, &prepared), ENGRAM_OK);
        const int64_t total = 500 * 500 - self * 500;
        const int64_t before[] = {0, 7};
        for (size_t b = 0; b < 2; b++) {
            for (int64_t less = -1; less < 3; less++) {
                for (int spilled = 0; spilled < 2; spilled++) {
                    struct engram_request request = {.spill = spilled != 0 ? &spill : NULL,
                                                     .max_pairs = total + before[b] - less,
                                                     .pairs_before = before[b]};
                    enum engram_status status = search(prepared, &base.set, &options, &request, 0);
                    assert_int_equal(status, less > 0 ? ENGRAM_ERR_DATA : ENGRAM_OK);
                    forget();
                }
            }
        }
        struct engram_request request = {.spill = &spill};
        taken.refuse = 2;
        assert_int_equal(search(prepared, &base.set, &options, &request, 0), ENGRAM_ERR_IO);
        assert_int_equal(taken.count, 1);
        forget();
        engram_prepared_free(prepared);
    }
    matrix_free(&base);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_limits),
    };
    (void)argc;
    wait_passively(argv);
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
