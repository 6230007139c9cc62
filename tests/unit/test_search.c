/* The in-memory search against brute force, to the last bit: shapes, types, metrics, filters,
 * kernel sets, threads, limits, and a CPU left in another floating-point mode. */
#define _GNU_SOURCE
#include <fenv.h>
#include <omp.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "kernels/kernels.h"
#include "search_fixture.h"

#define TRIALS (UNDER_TSAN ? 80 : 700)
#define RUNS 3

static const char *any_isa(void)
{
    size_t count = 0;
    while (engram_kernels_at(count) != NULL) {
        count++;
    }
    return engram_kernels_at(random_below(count))->name;
}

static int64_t any_rows(int trial)
{
    return trial % 50 == 49 ? random_in(2000, 9000)
           : trial % 7 == 6 ? random_in(0, 3)
                            : random_in(0, 200);
}

static int64_t any_dim(void)
{
    static const int64_t some[] = {0, 1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 100};
    return random_below(2) == 0 ? random_in(1, 24) : some[random_below(sizeof some / sizeof *some)];
}

static int64_t any_k(int64_t rows)
{
    const int64_t some[] = {1, 2, 10, rows - 1, rows, rows + 3, 100};
    int64_t k = some[random_below(sizeof some / sizeof *some)];
    return k < 1 ? 1 : k;
}

/* Half of the limits lie exactly on a pair. */
static void any_limits(struct engram_search_options *options, const struct oracle *o)
{
    bool dot = options->metric == ENGRAM_COSINE || options->metric == ENGRAM_IP;
    options->max_distance = (double)INFINITY;
    options->min_similarity = -(double)INFINITY;
    if (o->queries == 0 || o->rows == 0 || random_below(2) == 0) {
        return;
    }
    double score = o->scores[random_below((size_t)(o->queries * o->rows))];
    score = isnan(score) ? 0 : score;
    if (dot && random_below(2) == 0) {
        options->min_similarity = score;
    } else {
        options->max_distance = reference_key(options->metric, score);
    }
    if (random_below(4) == 0) {
        options->max_distance =
            nextafter(options->max_distance, random_below(2) == 0 ? -1e300 : 1e300);
    }
}

static void run(const struct matrix *base, const struct matrix *queries, const struct oracle *o,
                struct engram_search_options *options)
{
    char context[200];
    struct engram_prepared *prepared = NULL;
    struct answer a = {.pairs = random_below(2) == 0};
    options->filter = any_filter(options->metric);
    options->isa = any_isa();
    options->threads = (int)random_in(1, 4);
    if (a.pairs && random_below(2) == 0) {
        options->k = NO_K;
    }
    (void)snprintf(context, sizeof context,
                   "%s %s, %lld x %lld (%s) x %lld, k %lld, filter %d, %s, %d threads, %s",
                   metric_names()[options->metric], engram_dtype_name(base->set.dtype),
                   (long long)queries->set.rows, (long long)base->set.rows,
                   engram_dtype_name(queries->set.dtype), (long long)base->set.dim,
                   (long long)options->k, (int)options->filter, options->isa, options->threads,
                   a.pairs ? "pairs" : "knn");
    EXPECT(engram_prepare(&base->set, options, &prepared) == ENGRAM_OK);
    if (random_below(3) == 0) {
        /* Another one than the base was packed for. */
        options->filter = any_filter(options->metric);
    }
    answer_run(&a, prepared, &queries->set, options);
    answer_check(&a, o, options, context);
    EXPECT(strcmp(a.stats.isa, options->isa) == 0);
    EXPECT(a.stats.threads == options->threads);
    EXPECT(a.stats.scratch[2] == 0 && a.stats.scratch[3] == 0);
    EXPECT(a.stats.filter != ENGRAM_FILTER_AUTO);
    answer_free(&a);
    engram_prepared_free(prepared);
}

static void trial(int number)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    options.metric = (enum engram_metric)random_below(METRICS);
    bool cosine = options.metric == ENGRAM_COSINE;
    enum kind kind = (enum kind)random_below(KINDS);
    enum engram_dtype dtype = (enum engram_dtype)random_below(DTYPES);
    enum engram_dtype query_dtype =
        random_below(3) == 0 ? (enum engram_dtype)random_below(DTYPES) : dtype;
    int64_t rows = any_rows(number);
    int64_t dim = rows > 1000 ? random_in(1, 5) : any_dim();
    struct matrix base = matrix_make(dtype, rows, dim, random_below(3), kind, cosine);
    struct matrix queries = matrix_make(query_dtype, random_in(0, rows > 1000 ? 6 : 40), dim,
                                        random_below(3), kind, cosine);
    if (random_below(3) == 0 && queries.set.rows <= rows) {
        /* A self join, of all rows or of some of them. */
        options.self = true;
        options.self_offset = random_in(0, rows - queries.set.rows);
        matrix_free(&queries);
        queries = base;
        queries.set.rows = rows > 1000 ? 3 : rows - options.self_offset;
        queries.set.data =
            (const unsigned char *)base.set.data +
            (size_t)options.self_offset * (base.set.stride != 0
                                               ? base.set.stride
                                               : (size_t)dim * engram_dtype_size(base.set.dtype));
        queries.wide = base.wide + options.self_offset * dim;
    } else if (random_below(8) == 0) {
        options.self = true; /* by number only, also beyond either end */
        options.self_offset = random_in(-5, rows + 5);
    }
    struct oracle o = oracle_make(&base, &queries, options.metric);
    for (int i = 0; i < RUNS; i++) {
        options.k = any_k(rows);
        any_limits(&options, &o);
        run(&base, &queries, &o, &options);
    }
    oracle_free(&o);
    if (queries.memory != base.memory) {
        matrix_free(&queries);
    }
    matrix_free(&base);
}

static void test_random(void **state)
{
    (void)state;
    for (int number = 0; number < TRIALS; number++) {
        trial(number);
    }
}

/* ---- skipped rows are counted */

static void test_not_finite(void **state)
{
    (void)state;
    const float rows[][2] = {{1, 2}, {NAN, 1}, {3, 4}, {1, INFINITY}, {0, 0}, {-INFINITY, NAN}};
    struct engram_set set = {rows, ENGRAM_F32, 6, 2, 0};
    for (int filter = ENGRAM_FILTER_CANONICAL; filter < FILTERS; filter++) {
        struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
        struct engram_prepared *prepared = NULL;
        struct answer a = {.pairs = false};
        const char *context = "not finite";
        options.metric = ENGRAM_L2;
        options.k = 6;
        options.filter = (enum engram_filter)filter;
        assert_int_equal(engram_prepare(&set, &options, &prepared), ENGRAM_OK);
        answer_run(&a, prepared, &set, &options);
        EXPECT(a.stats.skipped_base == 3 && a.stats.skipped_queries == 3);
        static const int32_t counts[] = {3, 0, 3, 0, 3, 0};
        assert_memory_equal(a.counts, counts, sizeof counts);
        answer_free(&a);
        engram_prepared_free(prepared);
    }
}

/* Zero vectors under cosine: distance 1 to everything, themselves included. */
static void test_zero_vectors(void **state)
{
    (void)state;
    const double rows[][3] = {{0, 0, 0}, {1, 0, 0}, {-0.0, 0, 0}};
    struct engram_set set = {rows, ENGRAM_F64, 3, 3, 0};
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_prepared *prepared = NULL;
    struct answer a = {.pairs = false};
    options.k = 3;
    assert_int_equal(engram_prepare(&set, &options, &prepared), ENGRAM_OK);
    answer_run(&a, prepared, &set, &options);
    static const int64_t neighbors[] = {0, 1, 2, 1, 0, 2, 0, 1, 2};
    static const double distances[] = {1, 1, 1, 0, 1, 1, 1, 1, 1};
    assert_memory_equal(a.neighbors, neighbors, sizeof neighbors);
    assert_memory_equal(a.distances, distances, sizeof distances);
    answer_free(&a);
    engram_prepared_free(prepared);
}

/* ---- a caller that left the CPU in another mode */

#if defined(__x86_64__)
#define FLUSH_TO_ZERO 0x8000U
#define DENORMALS_ARE_ZERO 0x0040U
#define ROUND_UP 0x4000U
#define ROUNDING 0x6000U
#define MODE (FLUSH_TO_ZERO | DENORMALS_ARE_ZERO | ROUND_UP)
#define CONTROL (MODE | ROUNDING)

static void set_mode(unsigned mode)
{
    _mm_setcsr((_mm_getcsr() & ~CONTROL) | mode);
}

/* The workers of OpenMP live on between calls: they get the mode, too. (LLVM's runtime gives it to
 * them at every fork, and the forking thread its own back at every join.) */
static void set_mode_everywhere(unsigned mode)
{
    set_mode(mode);
#pragma omp parallel num_threads(4)
    set_mode(mode);
}

static void in_mode(const struct matrix *base, const struct matrix *queries, struct answer *a,
                    struct engram_search_options *options)
{
    struct engram_prepared *prepared = NULL;
    set_mode_everywhere(MODE);
    enum engram_status status = engram_prepare(&base->set, options, &prepared);
    unsigned after_prepare = _mm_getcsr();
    if (status == ENGRAM_OK) {
        answer_run(a, prepared, &queries->set, options);
    }
    unsigned after_search = _mm_getcsr();
    int changed = 0;
#pragma omp parallel num_threads(4) reduction(+ : changed)
    changed += (_mm_getcsr() & CONTROL) != MODE;
    set_mode_everywhere(0);
    assert_int_equal(status, ENGRAM_OK);
    assert_int_equal(after_prepare & CONTROL, MODE);
    assert_int_equal(after_search & CONTROL, MODE);
    assert_int_equal(changed, 0);
    engram_prepared_free(prepared);
}

static void test_other_floating_point_mode(void **state)
{
    (void)state;
    for (int number = 0; number < (UNDER_TSAN ? 16 : 80); number++) {
        struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
        struct answer a = {.pairs = random_below(2) == 0};
        options.metric = (enum engram_metric)random_below(METRICS);
        options.filter = any_filter(options.metric);
        options.isa = any_isa();
        options.threads = (int)random_in(1, 4);
        /* Few queries on many rows are cut into segments, whose answers meet at the end. */
        bool wide = random_below(4) == 0;
        enum engram_dtype dtype = random_below(3) == 0 ? ENGRAM_F32 : ENGRAM_F64;
        struct matrix base = matrix_make(dtype, wide ? 4200 : 150, wide ? 1 : 5, 0, KIND_DENORMAL,
                                         options.metric == ENGRAM_COSINE);
        struct matrix queries = matrix_make(dtype, wide ? 20 : 9, base.set.dim, 0, KIND_DENORMAL,
                                            options.metric == ENGRAM_COSINE);
        struct oracle o = oracle_make(&base, &queries, options.metric);
        options.k = a.pairs && random_below(4) != 0 ? NO_K : 20;
        in_mode(&base, &queries, &a, &options);
        answer_check(&a, &o, &options, "flush to zero, rounding up");
        answer_free(&a);
        oracle_free(&o);
        matrix_free(&base);
        matrix_free(&queries);
    }
}
#endif

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_zero_vectors),
#if defined(__x86_64__)
        cmocka_unit_test(test_other_floating_point_mode),
#endif
    };
    (void)argc;
    wait_passively(argv);
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
