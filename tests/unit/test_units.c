/* Units: any cut of base and queries, merged in any order, gives the bits of one search. Further:
 * several rounds of the pair collector, searches at the same time, cancelling, progress. */
#define _GNU_SOURCE
#include <pthread.h>

#include "search/unit.h"
#include "search_fixture.h"

#define CUTS_MAX 6

/* 0 = at[0] <= at[1] <= ... <= at[count] = end */
static size_t any_cuts(int64_t end, int64_t at[CUTS_MAX + 1])
{
    size_t count = 1 + random_below(CUTS_MAX);
    at[0] = 0;
    for (size_t i = 1; i < count; i++) {
        at[i] = random_in(at[i - 1], end);
    }
    at[count] = end;
    return count;
}

static struct engram_set slice(const struct engram_set *set, int64_t first, int64_t last)
{
    struct engram_set part = *set;
    size_t stride =
        set->stride != 0 ? set->stride : (size_t)set->dim * engram_dtype_size(set->dtype);
    part.data = (const unsigned char *)set->data + (size_t)first * stride;
    part.rows = last - first;
    return part;
}

static struct engram_request request_of(const struct engram_search_options *options)
{
    return (struct engram_request){
        .metric = options->metric,
        .k = options->k,
        .max_key = options->max_distance,
        .min_score = options->min_similarity,
        .self = options->self,
        .filter = options->filter,
        .threads = options->threads,
    };
}

/* What slabs have in common, from some rows of the base; or nothing. */
static struct engram_prepared *any_model(const struct engram_set *base,
                                         const struct engram_search_options *options)
{
    struct engram_prepared *model = NULL;
    int64_t first = random_in(0, base->rows - 1);
    struct engram_set sample = slice(base, first, random_in(first + 1, base->rows));
    int64_t step = random_in(1, 3);
    sample.stride = engram_row_bytes(sample.dtype, sample.dim);
    sample.stride = (size_t)step * (base->stride != 0 ? base->stride : sample.stride);
    sample.rows = (sample.rows - 1) / step + 1;
    if (random_below(3) > 0) {
        assert_int_equal(engram_prepare_model(&sample, "sample", base->rows, options, &model),
                         ENGRAM_OK);
    }
    return model;
}

/* The partial of queries [first, last) that `slabs` of the base give, taken in random order. */
static struct engram_partial search_slabs(const struct engram_set *base, size_t slabs,
                                          const int64_t *at, const struct engram_query_rows *rows,
                                          int64_t first, int64_t last,
                                          const struct engram_search_options *options,
                                          bool with_known)
{
    struct engram_partial all = {0};
    struct engram_request request = request_of(options);
    size_t start = random_below(slabs);
    struct engram_search_options own = *options;
    own.filter = any_filter(options->metric);
    struct engram_prepared *model = any_model(base, &own);
    for (size_t i = 0; i < slabs; i++) {
        size_t s = (start + i) % slabs;
        struct engram_set slab = slice(base, at[s], at[s + 1]);
        struct engram_prepared *prepared = NULL;
        struct engram_partial part;
        struct engram_search_stats stats = {0};
        request.filter = any_filter(options->metric);
        request.threads = (int)random_in(1, 3);
        assert_int_equal(engram_prepare_like(model, &slab, "slab", at[s], &own, &prepared),
                         ENGRAM_OK);
        assert_int_equal(engram_unit_search(prepared, at[s], rows, first, last, &request,
                                            with_known && i > 0 ? &all : NULL, &part, &stats),
                         ENGRAM_OK);
        engram_prepared_free(prepared);
        if (i == 0) {
            all = part;
            continue;
        }
        assert_int_equal(engram_partial_merge(&all, &part, NULL), ENGRAM_OK);
        if (random_below(2) == 0) { /* once more changes nothing */
            assert_int_equal(engram_partial_merge(&all, &part, NULL), ENGRAM_OK);
        }
        engram_partial_free(&part);
    }
    engram_prepared_free(model);
    return all;
}

static void check_partial(const struct engram_partial *partial, int64_t first,
                          const struct oracle *o, const struct engram_search_options *options,
                          const char *context)
{
    struct engram_order order = engram_metric_order(options->metric);
    for (int64_t q = 0; q < partial->queries; q++) {
        int64_t from = partial->indptr[q];
        int64_t count = oracle_answer(o, first + q, options);
        EXPECT(partial->indptr[q + 1] - from == count);
        for (int64_t i = 0; i < count; i++) {
            double score = partial->hits[from + i].score;
            EXPECT(partial->hits[from + i].tag == o->list[i].row);
            EXPECT(same_bits(engram_key(order, score), o->list[i].key));
            EXPECT(score == o->scores[(first + q) * o->rows + o->list[i].row]);
        }
    }
}

static void test_cuts(void **state)
{
    (void)state;
    for (int trial = 0; trial < (UNDER_TSAN ? 20 : 150); trial++) {
        struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
        options.metric = (enum engram_metric)random_below(METRICS);
        options.k = random_below(3) == 0 ? NO_K : random_in(1, 30);
        options.self = random_below(2) == 0;
        options.threads = 2;
        enum kind kind = (enum kind)random_below(KINDS);
        enum engram_dtype dtype = random_below(2) == 0 ? ENGRAM_F32 : ENGRAM_F64;
        bool cosine = options.metric == ENGRAM_COSINE;
        struct matrix base =
            matrix_make(dtype, random_in(1, 300), random_in(1, 40), random_below(2), kind, cosine);
        struct matrix queries = matrix_make(dtype, random_in(1, 30), base.set.dim, 0, kind, cosine);
        struct oracle o = oracle_make(&base, &queries, options.metric);
        if (options.k == NO_K && kind != KIND_ODD) {
            options.max_distance = reference_key(options.metric, o.scores[0]);
        }
        struct engram_query_rows rows = {queries.set, 0, "queries"};
        assert_int_equal(engram_set_check(&queries.set, "queries", NULL, &rows.set), ENGRAM_OK);
        int64_t slabs[CUTS_MAX + 1];
        int64_t blocks[CUTS_MAX + 1];
        size_t slab_count = any_cuts(base.set.rows, slabs);
        size_t block_count = any_cuts(queries.set.rows, blocks);
        for (size_t b = 0; b < block_count; b++) {
            struct engram_partial partial =
                search_slabs(&base.set, slab_count, slabs, &rows, blocks[b], blocks[b + 1],
                             &options, trial % 2 == 0);
            check_partial(&partial, blocks[b], &o, &options,
                          trial % 2 == 0 ? "with known answers" : "apart");
            engram_partial_free(&partial);
        }
        oracle_free(&o);
        matrix_free(&base);
        matrix_free(&queries);
    }
}

/* ---- rounds of the pair collector */

struct progress {
    uint64_t last;
    uint64_t total;
    int calls;
    bool wrong;
    int *cancel;
};

static void watch(void *context, uint64_t done, uint64_t total)
{
    struct progress *p = context;
    p->wrong = p->wrong || done < p->last || done > total || (p->total != 0 && total != p->total);
    p->last = done;
    p->total = total;
    p->calls++;
    if (p->cancel != NULL) {
        __atomic_store_n(p->cancel, 1, __ATOMIC_RELAXED);
    }
}

static void test_rounds(void **state)
{
    (void)state;
    static const size_t rooms[] = {1, 7, 100, 1000, 30000};
    size_t usual = engram_pairs_first_room;
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
        for (int threads = 1; threads <= 4; threads++) {
            struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
            struct engram_prepared *prepared = NULL;
            struct answer a = {.pairs = true};
            struct progress progress = {0};
            bool few = threads % 2 == 0; /* few queries: segments, too */
            struct matrix base = matrix_make(ENGRAM_F32, few ? 5000 : 400, 3, 0, KIND_FEW, false);
            struct matrix queries = matrix_make(ENGRAM_F32, few ? 5 : 300, 3, 0, KIND_FEW, false);
            struct oracle o = oracle_make(&base, &queries, ENGRAM_SQEUCLIDEAN);
            options.metric = ENGRAM_SQEUCLIDEAN;
            options.k = NO_K;
            options.threads = threads;
            options.max_distance = (double)random_in(1, 5);
            options.filter = any_filter(options.metric);
            options.progress = watch;
            options.progress_context = &progress;
            engram_pairs_first_room = rooms[i];
            assert_int_equal(engram_prepare(&base.set, &options, &prepared), ENGRAM_OK);
            answer_run(&a, prepared, &queries.set, &options);
            engram_pairs_first_room = usual;
            answer_check(&a, &o, &options, "rounds");
            assert_false(progress.wrong);
            assert_true(a.found.indptr[queries.set.rows] > 1000);
            answer_free(&a);
            engram_prepared_free(prepared);
            oracle_free(&o);
            matrix_free(&base);
            matrix_free(&queries);
        }
    }
}

/* ---- one prepared set, searched by several threads of the caller */

struct searcher {
    pthread_t thread;
    const struct engram_prepared *prepared;
    struct matrix queries;
    struct oracle oracle;
    struct engram_search_options options;
    struct answer answers[4];
};

static void *search_often(void *argument)
{
    struct searcher *s = argument;
    for (size_t i = 0; i < 4; i++) {
        answer_run(&s->answers[i], s->prepared, &s->queries.set, &s->options);
    }
    return NULL;
}

static void test_at_the_same_time(void **state)
{
    (void)state;
    for (int metric = 0; metric < METRICS; metric++) {
        static struct searcher searchers[3];
        struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
        struct engram_prepared *prepared = NULL;
        struct matrix base = matrix_make(ENGRAM_F32, 500, 20, 0, KIND_PLAIN, false);
        options.metric = (enum engram_metric)metric;
        options.filter = ENGRAM_FILTER_F32;
        options.threads = 2;
        assert_int_equal(engram_prepare(&base.set, &options, &prepared), ENGRAM_OK);
        for (int i = 0; i < 3; i++) {
            struct searcher *s = &searchers[i];
            memset(s, 0, sizeof *s);
            s->prepared = prepared;
            s->queries = matrix_make(ENGRAM_F32, 100, 20, 0, KIND_PLAIN, false);
            s->oracle = oracle_make(&base, &s->queries, options.metric);
            s->options = options;
            s->options.k = 5 + i;
            s->options.threads = 1 + i;
            s->answers[1].pairs = s->answers[3].pairs = true;
        }
        for (int i = 0; i < 3; i++) {
            assert_int_equal(
                pthread_create(&searchers[i].thread, NULL, search_often, &searchers[i]), 0);
        }
        for (int i = 0; i < 3; i++) {
            assert_int_equal(pthread_join(searchers[i].thread, NULL), 0);
        }
        for (int i = 0; i < 3; i++) {
            for (size_t j = 0; j < 4; j++) {
                answer_check(&searchers[i].answers[j], &searchers[i].oracle, &searchers[i].options,
                             "at the same time");
                answer_free(&searchers[i].answers[j]);
            }
            oracle_free(&searchers[i].oracle);
            matrix_free(&searchers[i].queries);
        }
        engram_prepared_free(prepared);
        matrix_free(&base);
    }
}

/* ---- cancelling */

static void test_cancel(void **state)
{
    (void)state;
    struct matrix base = matrix_make(ENGRAM_F32, 2000, 16, 0, KIND_PLAIN, false);
    struct matrix queries = matrix_make(ENGRAM_F32, 2000, 16, 0, KIND_PLAIN, false);
    for (int filter = 0; filter < FILTERS; filter++) {
        for (int pairs = 0; pairs < 2; pairs++) {
            struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
            struct engram_prepared *prepared = NULL;
            int cancel = 0;
            options.threads = 2;
            options.filter = (enum engram_filter)filter;
            options.k = pairs ? NO_K : 3;
            options.cancel = &cancel;
            assert_int_equal(engram_prepare(&base.set, &options, &prepared), ENGRAM_OK);

            /* Raised before, and raised at the first report of progress. */
            cancel = 1;
            struct answer a = {.pairs = pairs != 0};
            answer_run(&a, prepared, &queries.set, &options);
            assert_int_equal(a.status, ENGRAM_ERR_CANCELLED);
            answer_free(&a);
            cancel = 0;
            struct progress progress = {.cancel = &cancel};
            options.progress = watch;
            options.progress_context = &progress;
            answer_run(&a, prepared, &queries.set, &options);
            assert_int_equal(a.status, progress.calls > 0 ? ENGRAM_ERR_CANCELLED : ENGRAM_OK);
            assert_false(progress.wrong);
            answer_free(&a);
            cancel = 1;
            struct engram_prepared *none = NULL;
            assert_int_equal(engram_prepare(&base.set, &options, &none), ENGRAM_ERR_CANCELLED);
            assert_null(none);
            engram_prepared_free(prepared);
        }
    }
    matrix_free(&base);
    matrix_free(&queries);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_at_the_same_time),
        cmocka_unit_test(test_cancel),
    };
    (void)argc;
    wait_passively(argv);
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
