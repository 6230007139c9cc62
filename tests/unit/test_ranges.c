/* Units over parts of a prepared set, and units of a self-join that count for both sides: whatever
 * the cut, together they give what one search of everything gives. */
#define _GNU_SOURCE
#include "base/pages.h"
#include "job/done.h"
#include "search/unit.h"
#include "search_fixture.h"

#define ALL_METRICS 7
#define TRIALS (UNDER_TSAN ? 5 : UNDER_ASAN ? 20 : 60)

static bool of_bits(enum engram_metric metric)
{
    return metric == ENGRAM_HAMMING || metric == ENGRAM_JACCARD;
}

/* Rows near each other, and some alike; `bits`: of bits. */
static struct engram_set make_set(int64_t rows, int64_t dim, bool bits)
{
    struct engram_set set = {.dtype = bits ? ENGRAM_BITS : ENGRAM_F32, .rows = rows, .dim = dim};
    size_t row = bits ? (size_t)(dim + 7) / 8 : (size_t)dim * sizeof(float);
    unsigned char *bytes = malloc((size_t)rows * row + 1);
    assert_non_null(bytes);
    for (int64_t r = 0; r < rows; r++) {
        unsigned char *to = bytes + (size_t)r * row;
        if (r > 0 && random_below(4) == 0) { /* a copy of any row before */
            memcpy(to, bytes + random_below((size_t)r) * row, row);
            continue;
        }
        for (size_t i = 0; bits && i < row; i++) {
            to[i] = (unsigned char)random_u64();
        }
        for (int64_t i = 0; !bits && i < dim; i++) {
            float value = (float)random_bell();
            value = random_below(4000) == 0 ? (float)NAN : value;
            memcpy(to + (size_t)i * sizeof value, &value, sizeof value);
        }
    }
    set.data = bytes;
    return set;
}

static struct engram_set slice(const struct engram_set *set, int64_t first, int64_t last)
{
    struct engram_set part = *set;
    size_t row =
        set->dtype == ENGRAM_BITS ? (size_t)(set->dim + 7) / 8 : (size_t)set->dim * sizeof(float);
    part.data = (const unsigned char *)set->data + (size_t)first * row;
    part.rows = last - first;
    return part;
}

/* One question about sets. */
struct question {
    struct engram_set base;
    struct engram_query_rows queries;
    struct engram_search_options options;
    struct engram_request request;
    int64_t *groups; /* of base rows and of queries: the same array */
};

static struct question any_question(bool self, bool limited)
{
    struct question q = {.options = ENGRAM_SEARCH_OPTIONS_INIT};
    enum engram_metric metric = (enum engram_metric)random_below(ALL_METRICS);
    bool large = random_below(20) == 0 && !UNDER_TSAN;
    int64_t rows = large ? random_in(4100, 6000) : random_in(1, 700);
    int64_t dim = random_in(24, 40);
    q.base = make_set(rows, dim, of_bits(metric));
    q.queries = (struct engram_query_rows){q.base, 0, "queries"};
    if (!self) {
        q.queries.set =
            make_set(large ? random_in(1, 20) : random_in(1, 400), dim, of_bits(metric));
    }
    assert_int_equal(engram_set_check(&q.queries.set, "queries", NULL, &q.queries.set), ENGRAM_OK);
    q.options.metric = metric;
    q.options.self = self;
    q.options.k = limited ? random_in(1, 30) : NO_K;
    q.options.filter = of_bits(metric) ? ENGRAM_FILTER_AUTO : any_filter(metric);
    q.options.threads = (int)random_in(1, 3);
    if (!limited || random_below(3) == 0) { /* the distance of some pair */
        static const double limits[ALL_METRICS] = {0.6, -8, 7, 49, 30, 0.35, 0.6};
        double share = 0.7 + 0.3 * (double)random_below(3);
        double limit = limits[metric] * (metric == ENGRAM_IP ? 2 - share : share);
        bool many = large && !limited; /* few of so many pairs: copies and little else */
        q.options.max_distance = !many ? limit : metric == ENGRAM_IP ? -20 : 0.3 * limits[metric];
    }
    q.groups = malloc(((size_t)(rows + q.queries.set.rows) + 1) * sizeof *q.groups);
    assert_non_null(q.groups);
    for (int64_t i = 0; i < rows + q.queries.set.rows; i++) {
        q.groups[i] = random_in(-1, 20);
    }
    q.request = (struct engram_request){
        .metric = metric,
        .k = q.options.k,
        .max_key = q.options.max_distance,
        .min_score = q.options.min_similarity,
        .self = self,
        .filter = q.options.filter,
        .threads = q.options.threads,
    };
    if (random_below(3) == 0) {
        q.request.base_groups = q.groups;
        q.request.query_groups = q.groups;
    }
    return q;
}

static void forget_question(struct question *q)
{
    if (q->queries.set.data != q->base.data) {
        free((void *)(uintptr_t)q->queries.set.data);
    }
    free((void *)(uintptr_t)q->base.data);
    free(q->groups);
}

static struct engram_prepared *prepare(const struct question *q, const struct engram_set *set)
{
    struct engram_prepared *prepared = NULL;
    assert_int_equal(engram_prepare(set, &q->options, &prepared), ENGRAM_OK);
    return prepared;
}

/* What one search of everything gives. */
static struct engram_partial whole_answer(const struct question *q,
                                          const struct engram_prepared *prepared)
{
    struct engram_partial all;
    struct engram_search_stats stats = {0};
    assert_int_equal(engram_unit_search(prepared, 0, &q->queries, 0, q->queries.set.rows,
                                        &q->request, NULL, &all, &stats),
                     ENGRAM_OK);
    return all;
}

static void assert_same_partial(const struct engram_partial *a, const struct engram_partial *b)
{
    assert_int_equal(a->queries, b->queries);
    assert_memory_equal(a->indptr, b->indptr, (size_t)(a->queries + 1) * sizeof *a->indptr);
    assert_memory_equal(a->hits, b->hits, (size_t)a->indptr[a->queries] * sizeof *a->hits);
}

static struct engram_partial empty_partial(const struct question *q)
{
    struct engram_partial none;
    assert_int_equal(engram_partial_create(q->request.metric, 0, q->queries.set.rows, q->request.k,
                                           0, NULL, &none),
                     ENGRAM_OK);
    return none;
}

/* A cut of [first, last), mostly where grains and panels end. */
static int64_t any_cut(int64_t first, int64_t last)
{
    static const int64_t grains[] = {1024, 64, 64, 1};
    int64_t grain = grains[random_below(4)];
    int64_t cut = random_in(first, last);
    cut -= (cut - first) % grain;
    return cut > first ? cut : first + grain < last ? first + grain : last;
}

static void test_rows(void **state)
{
    (void)state;
    size_t usual = engram_pairs_first_room;
    engram_pairs_first_room = 20000; /* hundreds of searches: less memory to be had */
    for (int trial = 0; trial < TRIALS; trial++) {
        struct question q = any_question(random_below(3) == 0, random_below(2) == 0);
        struct engram_prepared *prepared = prepare(&q, &q.base);
        struct engram_partial all = whole_answer(&q, prepared);
        struct engram_partial found = empty_partial(&q);
        struct engram_search_stats stats = {0};
        struct engram_request request = q.request;
        for (int64_t row = 0; row < q.base.rows; row = request.rows[1]) {
            request.rows[0] = row;
            request.rows[1] = any_cut(row, q.base.rows);
            for (int64_t first = 0, last; first < q.queries.set.rows; first = last) {
                struct engram_partial part;
                last =
                    random_below(2) == 0 ? q.queries.set.rows : any_cut(first, q.queries.set.rows);
                request.threads = (int)random_in(1, 3);
                assert_int_equal(engram_unit_search(prepared, 0, &q.queries, first, last, &request,
                                                    trial % 2 == 0 ? &found : NULL, &part, &stats),
                                 ENGRAM_OK);
                assert_int_equal(engram_partial_merge(&found, &part, NULL), ENGRAM_OK);
                engram_partial_free(&part);
            }
        }
        assert_same_partial(&all, &found);
        assert_true(stats.pairs >= (uint64_t)q.base.rows * (uint64_t)q.queries.set.rows);
        engram_partial_free(&all);
        engram_partial_free(&found);
        engram_prepared_free(prepared);
        forget_question(&q);
    }
    engram_pairs_first_room = usual;
}

static void test_rows_beyond_the_end(void **state)
{
    (void)state;
    struct question q = any_question(false, true);
    struct engram_prepared *prepared = prepare(&q, &q.base);
    struct engram_partial all = whole_answer(&q, prepared);
    struct engram_partial found;
    struct engram_search_stats stats = {0};
    q.request.rows[1] = INT64_MAX;
    assert_int_equal(engram_unit_search(prepared, 0, &q.queries, 0, q.queries.set.rows, &q.request,
                                        NULL, &found, &stats),
                     ENGRAM_OK);
    assert_same_partial(&all, &found);
    engram_partial_free(&found);
    q.request.rows[0] = q.base.rows; /* none */
    assert_int_equal(engram_unit_search(prepared, 0, &q.queries, 0, q.queries.set.rows, &q.request,
                                        NULL, &found, &stats),
                     ENGRAM_OK);
    assert_int_equal(found.indptr[q.queries.set.rows], 0);
    engram_partial_free(&found);
    engram_partial_free(&all);
    engram_prepared_free(prepared);
    forget_question(&q);
}

static void test_dense(void **state)
{
    (void)state;
    for (int trial = 0; trial < 20; trial++) {
        struct question q = any_question(false, true);
        struct engram_prepared *prepared = prepare(&q, &q.base);
        size_t cells = (size_t)(q.base.rows * q.queries.set.rows);
        double *all = malloc((cells + 1) * sizeof *all);
        double *found = malloc((cells + 1) * sizeof *found);
        struct engram_search_stats stats = {0};
        assert_non_null(all);
        assert_non_null(found);
        const struct engram_values to_all = {.data = all, .stride = (size_t)q.base.rows};
        const struct engram_values to_found = {.data = found, .stride = (size_t)q.base.rows};
        assert_int_equal(engram_unit_dense(prepared, &q.queries, 0, q.queries.set.rows, &q.request,
                                           &to_all, &stats),
                         ENGRAM_OK);
        for (int64_t row = 0; row < q.base.rows; row = q.request.rows[1]) {
            q.request.rows[0] = row;
            q.request.rows[1] = any_cut(row, q.base.rows);
            assert_int_equal(engram_unit_dense(prepared, &q.queries, 0, q.queries.set.rows,
                                               &q.request, &to_found, &stats),
                             ENGRAM_OK);
        }
        assert_memory_equal(all, found, cells * sizeof *all);
        free(all);
        free(found);
        engram_prepared_free(prepared);
        forget_question(&q);
    }
}

/* ---- both sides */

/* Runs, as pairs of global rows. */
struct taken {
    struct engram_partial *into; /* merged into, one answer at a time: slow and plain */
    int64_t count;
};

static enum engram_status take(void *context, struct engram_run *run)
{
    struct taken *taken = context;
    struct engram_order order = engram_metric_order(taken->into->metric);
    struct engram_partial all;
    assert_int_equal(engram_partial_create(taken->into->metric, 0, taken->into->queries,
                                           taken->into->k, (int64_t)run->count, NULL, &all),
                     ENGRAM_OK);
    for (size_t i = 0; i < run->count; i++) {
        int64_t query = run->first_query + ENGRAM_HIT_QUERY(run->hits[i].tag);
        int64_t row = run->first_row + ENGRAM_HIT_ROW(run->hits[i].tag);
        assert_in_range(query, 0, taken->into->queries - 1);
        assert_in_range(row, 0, taken->into->queries - 1);
        all.hits[i] = (struct engram_hit){run->hits[i].score, row};
        assert_true(i == 0 ||
                    ENGRAM_HIT_QUERY(run->hits[i - 1].tag) < ENGRAM_HIT_QUERY(run->hits[i].tag) ||
                    engram_hit_less(order, &all.hits[i - 1], &all.hits[i]));
        all.indptr[query + 1]++;
    }
    for (int64_t query = 0; query < all.queries; query++) {
        all.indptr[query + 1] += all.indptr[query];
    }
    taken->count += (int64_t)run->count;
    assert_int_equal(engram_partial_merge(taken->into, &all, NULL), ENGRAM_OK);
    engram_partial_free(&all);
    return ENGRAM_OK;
}

/* A rectangle of which nothing is done, somewhere in `within`; false: there is none. */
static bool next_unit(const struct engram_done *done, const struct engram_unit *within,
                      struct engram_unit *unit)
{
    if (!engram_done_left(done, within, unit)) {
        return false;
    }
    if (random_below(3) != 0) {
        unit->queries[1] = any_cut(unit->queries[0], unit->queries[1]);
    }
    return true;
}

static void add_both(struct engram_done *done, const struct engram_unit *unit)
{
    const struct engram_unit other = {{unit->base[0], unit->base[1]},
                                      {unit->queries[0], unit->queries[1]}};
    assert_int_equal(engram_done_add(done, unit, NULL), ENGRAM_OK);
    assert_int_equal(engram_done_add(done, &other, NULL), ENGRAM_OK);
}

/* Where the rows of a unit come from: all of the base, or a slab of it. */
struct slab {
    struct engram_prepared *prepared;
    int64_t first;
    int64_t rows;
};

static struct slab any_slab(const struct question *q, struct engram_prepared *whole)
{
    struct slab slab = {whole, 0, q->base.rows};
    if (random_below(2) == 0) {
        slab.first = random_in(0, q->base.rows - 1) / 64 * 64;
        slab.rows = random_in(1, q->base.rows - slab.first);
        struct engram_set set = slice(&q->base, slab.first, slab.first + slab.rows);
        slab.prepared = prepare(q, &set);
    }
    return slab;
}

/* All pairs of any queries and a slab's rows that are not done yet, for both sides. */
static void answer_slab(const struct question *q, const struct slab *slab, struct engram_done *done,
                        struct taken *taken, struct engram_search_stats *stats)
{
    struct engram_unit unit;
    struct engram_unit within = {{0, q->base.rows}, {slab->first, slab->first + slab->rows}};
    struct engram_request request = q->request;
    const struct engram_spill spill = {take, taken, random_below(2) == 0 ? 1 : (size_t)1 << 30};
    if (slab->rows < q->base.rows && random_below(2) == 0) { /* queries in slabs, too */
        within.queries[0] = random_in(0, q->base.rows - 1);
        within.queries[1] = random_in(within.queries[0], q->base.rows);
    }
    request.mirror = true;
    if (request.base_groups != NULL) {
        request.base_groups += slab->first;
    }
    while (next_unit(done, &within, &unit)) {
        struct engram_partial part;
        request.rows[0] = unit.base[0] - slab->first;
        request.rows[1] = unit.base[1] - slab->first;
        request.spill = random_below(2) == 0 ? &spill : NULL;
        assert_int_equal(engram_unit_search(slab->prepared, slab->first, &q->queries,
                                            unit.queries[0], unit.queries[1], &request, NULL, &part,
                                            stats),
                         ENGRAM_OK);
        taken->count += part.indptr[part.queries];
        assert_int_equal(engram_partial_merge(taken->into, &part, NULL), ENGRAM_OK);
        engram_partial_free(&part);
        add_both(done, &unit);
    }
}

static void test_mirror(void **state)
{
    (void)state;
    size_t usual = engram_pairs_first_room;
    for (int trial = 0; trial < TRIALS; trial++) {
        struct question q = any_question(true, false);
        struct engram_prepared *prepared = prepare(&q, &q.base);
        struct engram_partial all = whole_answer(&q, prepared);
        struct engram_partial found = empty_partial(&q);
        struct taken taken = {.into = &found};
        struct engram_done done = {0};
        struct engram_search_stats stats = {0};
        const struct engram_unit everything = {{0, q.base.rows}, {0, q.base.rows}};
        struct engram_unit left;
        engram_pairs_first_room = trial % 3 == 0 ? 50 : 20000;
        for (int slabs = 0; engram_done_left(&done, &everything, &left); slabs++) {
            /* A few slabs, then all that is left. */
            struct slab slab = slabs < 5 && trial % 2 == 0
                                   ? any_slab(&q, prepared)
                                   : (struct slab){prepared, 0, q.base.rows};
            answer_slab(&q, &slab, &done, &taken, &stats);
            if (slab.prepared != prepared) {
                engram_prepared_free(slab.prepared);
            }
        }
        engram_pairs_first_room = usual;
        assert_same_partial(&all, &found);
        assert_int_equal(taken.count, all.indptr[all.queries]); /* each once */
        uint64_t pairs = (uint64_t)q.base.rows * (uint64_t)q.base.rows;
        assert_true(stats.pairs >= pairs); /* rounds look at some again */
        engram_done_free(&done);
        engram_partial_free(&all);
        engram_partial_free(&found);
        engram_prepared_free(prepared);
        forget_question(&q);
    }
}

/* Triangles look at each pair once: rows before the queries cost nothing. */
static void test_mirror_is_half_the_work(void **state)
{
    (void)state;
    struct question q = any_question(true, false);
    forget_question(&q);
    q.base = make_set(3000, 24, false);
    q.queries.set = q.base;
    q.groups = NULL;
    q.request = (struct engram_request){.metric = ENGRAM_L2,
                                        .k = NO_K,
                                        .max_key = 1,
                                        .min_score = -(double)INFINITY,
                                        .self = true,
                                        .mirror = true,
                                        .filter = ENGRAM_FILTER_CANONICAL,
                                        .threads = 2};
    q.options.metric = ENGRAM_L2;
    q.options.max_distance = 1;
    q.options.filter = ENGRAM_FILTER_CANONICAL;
    struct engram_prepared *prepared = prepare(&q, &q.base);
    struct engram_search_stats stats = {0};
    for (int64_t first = 0; first < 3000; first += 500) {
        struct engram_partial part;
        q.request.rows[0] = first;
        q.request.rows[1] = 3000;
        assert_int_equal(engram_unit_search(prepared, 0, &q.queries, first, first + 500, &q.request,
                                            NULL, &part, &stats),
                         ENGRAM_OK);
        engram_partial_free(&part);
    }
    assert_int_equal(stats.pairs, 9000000);
    assert_in_range(stats.canonical, 4500000, 5400000);
    engram_prepared_free(prepared);
    forget_question(&q);
}

static void test_mirror_refuses(void **state)
{
    (void)state;
    struct question q = any_question(true, false);
    struct engram_partial part;
    struct engram_search_stats stats = {0};
    uint8_t allowed[2000];
    memset(allowed, 0x55, sizeof allowed);
    for (int wrong = 0; wrong < 3; wrong++) {
        q.options.allowed = wrong == 0 ? allowed : NULL;
        struct engram_prepared *prepared = prepare(&q, &q.base);
        struct engram_request request = q.request;
        request.mirror = true;
        request.self = wrong != 1;
        request.k = wrong == 2 ? 1 : NO_K;
        request.max_key = wrong == 2 ? (double)INFINITY : request.max_key;
        assert_int_equal(engram_unit_search(prepared, 0, &q.queries, 0, q.base.rows, &request, NULL,
                                            &part, &stats),
                         ENGRAM_ERR_USAGE);
        engram_prepared_free(prepared);
    }
    forget_question(&q);
}

static void test_components(void **state)
{
    (void)state;
    for (int trial = 0; trial < TRIALS; trial++) {
        struct question q = any_question(true, false);
        struct engram_prepared *prepared = prepare(&q, &q.base);
        struct engram_forest all;
        struct engram_forest found;
        struct engram_done done = {0};
        struct engram_search_stats stats = {0};
        struct engram_unit unit;
        const struct engram_unit everything = {{0, q.base.rows}, {0, q.base.rows}};
        assert_int_equal(engram_forest_create(0, q.base.rows, NULL, &all), ENGRAM_OK);
        assert_int_equal(engram_forest_create(0, q.base.rows, NULL, &found), ENGRAM_OK);
        assert_int_equal(engram_unit_components(prepared, 0, &q.queries, 0, q.base.rows, &q.request,
                                                &all, &stats),
                         ENGRAM_OK);
        struct engram_search_stats by_units = {0};
        while (next_unit(&done, &everything, &unit)) {
            struct engram_request request = q.request;
            struct slab slab = {prepared, 0, q.base.rows};
            if (random_below(2) == 0) {
                struct engram_set set = slice(&q.base, unit.base[0], unit.base[1]);
                slab = (struct slab){prepare(&q, &set), unit.base[0], unit.base[1] - unit.base[0]};
                request.base_groups =
                    request.base_groups == NULL ? NULL : request.base_groups + slab.first;
            } else {
                request.rows[0] = unit.base[0];
                request.rows[1] = unit.base[1];
            }
            assert_int_equal(engram_unit_components(slab.prepared, slab.first, &q.queries,
                                                    unit.queries[0], unit.queries[1], &request,
                                                    &found, &by_units),
                             ENGRAM_OK);
            add_both(&done, &unit);
            if (slab.prepared != prepared) {
                engram_prepared_free(slab.prepared);
            }
        }
        for (int64_t r = 0; r < q.base.rows; r++) {
            assert_int_equal(engram_forest_root(&all, r), engram_forest_root(&found, r));
        }
        assert_int_equal(stats.pairs, (uint64_t)q.base.rows * (uint64_t)q.base.rows);
        assert_int_equal(by_units.pairs, stats.pairs);
        engram_done_free(&done);
        engram_forest_free(&all);
        engram_forest_free(&found);
        engram_prepared_free(prepared);
        forget_question(&q);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_rows_beyond_the_end),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_mirror),
        cmocka_unit_test(test_mirror_is_half_the_work),
        cmocka_unit_test(test_mirror_refuses),
        cmocka_unit_test(test_components),
    };
    (void)argc;
    wait_passively(argv);
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
