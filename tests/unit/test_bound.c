/* Attacks on the bound of the float32 filter: with the limit exactly at a pair's canonical key (or
 * score) the tile must keep the pair, whatever the numbers. The families are made so that the real
 * error comes near the bound; scripts/mutation-test.sh shrinks the bound and expects failures. */
#include "search/bound_f32.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "reference.h"
#include "search/collector.h"
#include "search/prepared.h"

#define ROWS 24
#define QUERIES 7
#define STRIPS QUERIES

/* A base and queries, as float64 values that are exact in `dtype`. */
struct data {
    enum engram_dtype dtype;
    enum engram_metric metric;
    size_t dim;
    size_t rows;
    double *base;  /* [rows][dim] */
    double *query; /* [QUERIES][dim] */
    void *stored_base;
    void *stored_query;
};

/* Element i of row r: of the base, or of the queries. */
typedef double (*value_fn)(const struct data *d, bool query, size_t r, size_t i);

/* ---- families */

static double bell(const struct data *d, bool query, size_t r, size_t i)
{
    (void)d, (void)query, (void)r, (void)i;
    return random_bell();
}

/* A 1, then products just under half an ulp of the running sum: every addition rounds down, and
 * all of them are lost. Both signs in the base make its mean zero. Under ip and l2 the sum stays
 * 1, where half an ulp is u; under cosine it ends at 1, and below 1 half an ulp is u / 2. */
static double lost_halves(const struct data *d, bool query, size_t r, size_t i)
{
    double tail = (d->metric == ENGRAM_COSINE ? sqrt(0x1p-25) : 0x1p-12) * (1 - 0x1p-9);
    double sign = !query && r % 2 == 1 ? -1 : 1;
    (void)r;
    return sign * (i == 0 ? 1 : tail);
}

/* The same with the products just above half an ulp: every addition rounds up. Under l1 the
 * distances from queries of zeros do. */
static double gained_halves(const struct data *d, bool query, size_t r, size_t i)
{
    double tail = (d->metric == ENGRAM_COSINE ? sqrt(0x1p-25) : 0x1p-12) * (1 + 0x1p-7);
    double sign = !query && r % 2 == 1 ? -1 : 1;
    if (d->metric == ENGRAM_L1) {
        return query ? 0 : sign * (i == 0 ? 1 : 0x1p-24 * (1 + 0x1p-7));
    }
    return sign * (i == 0 ? 1 : tail * (1 + 0x1p-8 * (double)(r % 3)));
}

/* Half of the products are lost against +1, the rest against -1 after the sum has changed sign. */
static double lost_twice(const struct data *d, bool query, size_t r, size_t i)
{
    size_t half = d->dim / 2;
    double sign = !query && r % 2 == 1 ? -1 : 1;
    if (i == 0 || i == half) {
        return sign * (i == 0 ? 1 : query ? -1.9 : 1);
    }
    return sign * 0x1p-12 * (1 - 0x1p-6);
}

/* One constant a row: the same product again and again, rounded the same way for long. */
static double constant(const struct data *d, bool query, size_t r, size_t i)
{
    (void)d, (void)i;
    return 1 + (double)(r * 37 % 101) / 128 + (query ? 1.0 / 300 : 0);
}

static double alternating(const struct data *d, bool query, size_t r, size_t i)
{
    (void)d;
    double size = 1 + random_signed() * 0x1p-10;
    return query ? size : (i % 2 == 0 ? size : -size) * (double)(1 + r);
}

static double one_huge(const struct data *d, bool query, size_t r, size_t i)
{
    size_t at = query ? 0 : r % 3 == 0 ? 0 : d->dim - 1;
    return i == at ? 1e6 + random_signed() : random_signed();
}

/* Query a is three times base row a. */
static double three_times(const struct data *d, bool query, size_t r, size_t i)
{
    return query ? 3 * d->base[r * d->dim + i] : random_bell();
}

static double equal_rows(const struct data *d, bool query, size_t r, size_t i)
{
    return !query && r == 0 ? random_bell() : d->base[i];
}

static double far_mean(const struct data *d, bool query, size_t r, size_t i)
{
    (void)d, (void)query, (void)r, (void)i;
    return 1e4 + random_bell();
}

static double denormal(const struct data *d, bool query, size_t r, size_t i)
{
    (void)query, (void)r, (void)i;
    return ldexp(random_signed(), d->dtype == ENGRAM_F32 ? -135 : -1060);
}

static double mixed_denormal(const struct data *d, bool query, size_t r, size_t i)
{
    return (r + i) % 2 == 0 ? random_signed() : denormal(d, query, r, i);
}

static double huge(const struct data *d, bool query, size_t r, size_t i)
{
    double limit = d->dtype == ENGRAM_F32 ? 3e38 : d->metric == ENGRAM_COSINE ? 1.7e308 : 1e150;
    (void)query, (void)r;
    return i % 5 == 0 ? limit : limit * random_signed();
}

static double same_in_float32(const struct data *d, bool query, size_t r, size_t i)
{
    double first = !query && r == 0 ? random_bell() : d->base[i];
    return first * (1 + 1e-12 * random_signed());
}

static double far_queries(const struct data *d, bool query, size_t r, size_t i)
{
    (void)d, (void)r, (void)i;
    return query ? 1e8 * (1 + random_signed()) : 1e-3 * random_bell();
}

static double tiny_queries(const struct data *d, bool query, size_t r, size_t i)
{
    (void)d, (void)i;
    return query ? ldexp(random_bell(), r % 2 == 0 ? -100 : -140) : random_bell();
}

static double zero_rows(const struct data *d, bool query, size_t r, size_t i)
{
    (void)d, (void)query, (void)i;
    return r % 3 == 0 ? 0 : r % 3 == 1 ? -0.0 : random_bell();
}

static double all_zero(const struct data *d, bool query, size_t r, size_t i)
{
    (void)d, (void)i;
    return query && r % 2 == 1 ? random_bell() : 0;
}

static double all_sizes(const struct data *d, bool query, size_t r, size_t i)
{
    int span = d->dtype == ENGRAM_F32 ? 40 : d->metric == ENGRAM_COSINE ? 300 : 140;
    (void)i;
    return ldexp(random_bell(), (int)(r * 29 % 17 * (size_t)span / 8) - span + (query ? 7 : 0));
}

static double small_integers(const struct data *d, bool query, size_t r, size_t i)
{
    (void)d, (void)query, (void)r, (void)i;
    return (double)random_in(-3, 3);
}

#define FAMILY(name)                                                                               \
    {                                                                                              \
#name, name                                                                                \
    }
static const struct {
    const char *name;
    value_fn value;
} FAMILIES[] = {
    FAMILY(lost_halves), FAMILY(gained_halves), FAMILY(lost_twice),      FAMILY(constant),
    FAMILY(bell),        FAMILY(alternating),   FAMILY(one_huge),        FAMILY(three_times),
    FAMILY(equal_rows),  FAMILY(far_mean),      FAMILY(denormal),        FAMILY(mixed_denormal),
    FAMILY(huge),        FAMILY(far_queries),   FAMILY(same_in_float32), FAMILY(tiny_queries),
    FAMILY(zero_rows),   FAMILY(all_zero),      FAMILY(all_sizes),       FAMILY(small_integers),
};
#define FAMILY_COUNT (sizeof FAMILIES / sizeof FAMILIES[0])

static void *store(enum engram_dtype dtype, double *values, size_t count)
{
    void *stored = malloc((count + 1) * engram_dtype_size(dtype));
    assert_non_null(stored);
    for (size_t i = 0; i < count; i++) {
        if (dtype == ENGRAM_F32) {
            float narrow = (float)values[i];
            ((float *)stored)[i] = narrow;
            values[i] = (double)narrow;
        } else {
            ((double *)stored)[i] = values[i];
        }
    }
    return stored;
}

static void data_make(struct data *d, value_fn value)
{
    d->rows = d->dim > 200 ? ROWS / 3 : ROWS;
    d->base = malloc(d->rows * d->dim * sizeof *d->base);
    d->query = malloc(QUERIES * d->dim * sizeof *d->query);
    assert_non_null(d->base);
    assert_non_null(d->query);
    for (size_t i = 0; i < d->rows * d->dim; i++) {
        d->base[i] = value(d, false, i / d->dim, i % d->dim);
    }
    d->stored_base = store(d->dtype, d->base, d->rows * d->dim);
    for (size_t i = 0; i < QUERIES * d->dim; i++) {
        d->query[i] = value(d, true, i / d->dim, i % d->dim);
    }
    d->stored_query = store(d->dtype, d->query, QUERIES * d->dim);
}

static void data_free(struct data *d)
{
    free(d->base);
    free(d->query);
    free(d->stored_base);
    free(d->stored_query);
}

/* ---- the tile, called as a search calls it */

struct packed {
    const struct engram_prepared *base;
    const struct engram_kernels *kernels;
    float *strips; /* [strip][depth][queries of a strip] */
    struct engram_projected query[QUERIES];
    double scores[QUERIES][ROWS];
    char context[128]; /* for messages */
};

static void pack_queries(struct packed *p, const struct data *d)
{
    size_t width = p->kernels->f32_queries;
    size_t depth = p->base->f32.bound.depth;
    float *dense = malloc(depth * sizeof *dense);
    p->strips = aligned_alloc(64, (STRIPS * depth * width * sizeof(float) + 63) / 64 * 64);
    assert_non_null(dense);
    assert_non_null(p->strips);
    memset(p->strips, 0, STRIPS * depth * width * sizeof(float));
    for (size_t q = 0; q < QUERIES; q++) {
        const double *row = d->query + q * d->dim;
        double *scaled = reference_scaled(row, d->dim);
        double largest = 0;
        for (size_t i = 0; i < d->dim; i++) {
            largest = fmax(largest, fabs(row[i]));
        }
        bool cosine = d->metric == ENGRAM_COSINE;
        engram_f32_project(&p->base->f32.bound, p->base->f32.mean, cosine ? scaled : row,
                           reference_sum(true, scaled, scaled, d->dim), largest, &p->query[q],
                           dense);
        for (size_t k = 0; k < depth; k++) {
            p->strips[q / width * width * depth + k * width + q % width] = dense[k];
        }
        free(scaled);
        for (size_t r = 0; r < d->rows; r++) {
            p->scores[q][r] = reference_score(d->metric, row, d->base + r * d->dim, d->dim);
        }
    }
    free(dense);
}

/* With every query's limit exactly at its pair with `row`, all these pairs must be kept. */
static void check_row(const struct packed *p, enum engram_metric metric, size_t row, bool by_score)
{
    struct engram_candidate out[ENGRAM_F32_QUERIES_MAX * ENGRAM_F32_ROWS_MAX];
    const struct engram_kernels *kernels = p->kernels;
    size_t width = kernels->f32_queries;
    size_t panel = row / kernels->f32_rows;
    size_t depth = p->base->f32.bound.depth;
    bool kept[QUERIES] = {false};

    for (size_t first = 0; first < QUERIES; first += width) {
        float threshold[ENGRAM_F32_QUERIES_MAX];
        for (size_t q = 0; q < width; q++) {
            threshold[q] = INFINITY;
            if (first + q < QUERIES) {
                double score = p->scores[first + q][row];
                threshold[q] =
                    engram_f32_threshold(&p->base->f32.bound, &p->query[first + q],
                                         by_score ? (double)INFINITY : reference_key(metric, score),
                                         by_score ? score : -(double)INFINITY);
            }
        }
        struct engram_f32_strip args = {
            .strip = p->strips + first * depth,
            .panels = p->base->f32.panels + panel * kernels->f32_rows * depth,
            .threshold = threshold,
            .live = p->base->live + panel * kernels->f32_rows / 8,
            .depth = depth,
            .panel_count = 1,
            .first_query = (uint32_t)first,
            .first_row = (uint32_t)(panel * kernels->f32_rows),
        };
        engram_f32_tile_fn tile = metric == ENGRAM_L1 ? kernels->l1_tile : kernels->f32_tile;
        size_t count = tile(&args, out);
        for (size_t i = 0; i < count; i++) {
            assert_true(out[i].query < QUERIES);
            kept[out[i].query] = kept[out[i].query] || out[i].row == row;
        }
    }
    for (size_t q = 0; q < QUERIES; q++) {
        if (!kept[q]) {
            fail_msg("%s: query %zu and row %zu, score %.17g, dropped by their own %s", p->context,
                     q, row, p->scores[q][row], by_score ? "score" : "key");
        }
    }
}

/* ---- final answers, with limits at a pair's key and one ulp to either side */

static void check_answers(const struct packed *p, const struct data *d,
                          const struct engram_search_options *options)
{
    struct engram_set queries = {d->stored_query, d->dtype, QUERIES, (int64_t)d->dim, 0};
    struct engram_pairs pairs;
    struct engram_order order = engram_metric_order(d->metric);
    assert_int_equal(engram_search_pairs(p->base, &queries, options, &pairs, NULL), ENGRAM_OK);
    for (size_t q = 0; q < QUERIES; q++) {
        int64_t at = pairs.indptr[q];
        size_t expected = 0;
        double last = -(double)INFINITY;
        for (size_t r = 0; r < d->rows; r++) {
            double score = p->scores[q][r];
            expected += reference_key(d->metric, score) <= options->max_distance &&
                        score >= options->min_similarity;
        }
        if ((size_t)(pairs.indptr[q + 1] - at) != expected) {
            fail_msg("%s: query %zu, limits %.17g %.17g: %lld answers instead of %zu", p->context,
                     q, options->max_distance, options->min_similarity,
                     (long long)(pairs.indptr[q + 1] - at), expected);
        }
        for (; at < pairs.indptr[q + 1]; at++) {
            double key = engram_key(order, p->scores[q][pairs.rows[at]]);
            assert_true(same_bits(pairs.distances[at], key));
            assert_true(key >= last && key <= options->max_distance);
            assert_true(p->scores[q][pairs.rows[at]] >= options->min_similarity);
            last = key;
        }
    }
    engram_pairs_free(&pairs);
}

static void check_limits(const struct packed *p, const struct data *d,
                         struct engram_search_options options)
{
    double score = p->scores[random_below(QUERIES)][random_below(d->rows)];
    double key = reference_key(d->metric, score);
    options.k = INT64_MAX;
    for (int side = -1; side <= 1; side++) {
        options.max_distance = side == 0 ? key : nextafter(key, side * (double)INFINITY);
        options.min_similarity = -(double)INFINITY;
        check_answers(p, d, &options);
        if (d->metric == ENGRAM_COSINE || d->metric == ENGRAM_IP) {
            options.max_distance = (double)INFINITY;
            options.min_similarity = side == 0 ? score : nextafter(score, side * (double)INFINITY);
            check_answers(p, d, &options);
        }
    }
}

static void check(const struct engram_kernels *kernels, const struct data *d, const char *family)
{
    static struct packed p;
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_set base = {d->stored_base, d->dtype, (int64_t)d->rows, (int64_t)d->dim, 0};
    struct engram_prepared *f32 = NULL;
    struct engram_prepared *codes = NULL;
    struct engram_prepared *heads = NULL;

    options.metric = d->metric;
    options.isa = kernels->name;
    options.threads = 1;
    options.filter = ENGRAM_FILTER_F32;
    assert_int_equal(engram_prepare(&base, &options, &f32), ENGRAM_OK);
    assert_non_null(f32->f32.panels);
    p.base = f32;
    p.kernels = kernels;
    (void)snprintf(p.context, sizeof p.context, "%s, %s, %s, %s, %zu dimensions", family,
                   metric_names()[d->metric], engram_dtype_name(d->dtype), kernels->name, d->dim);
    pack_queries(&p, d);
    for (size_t r = 0; r < d->rows; r++) {
        check_row(&p, d->metric, r, false);
        if (d->metric == ENGRAM_COSINE || d->metric == ENGRAM_IP) {
            check_row(&p, d->metric, r, true);
        }
    }
    check_limits(&p, d, options);
    /* The integer and the prefix filter have tests of their own; here their answers at the same
     * limits. To find the axes of many dimensions takes longer than all the rest. */
    options.filter = ENGRAM_FILTER_INT;
    if (filter_fits(options.filter, d->metric)) {
        assert_int_equal(engram_prepare(&base, &options, &codes), ENGRAM_OK);
        p.base = codes;
        check_limits(&p, d, options);
        check_limits(&p, d, options);
    }
    if (filter_fits(ENGRAM_FILTER_PREFIX, d->metric) &&
        (d->dim <= 100 || random_below(long_tests() ? 8 : 64) == 0)) {
        options.filter = ENGRAM_FILTER_PREFIX;
        assert_int_equal(engram_prepare(&base, &options, &heads), ENGRAM_OK);
        p.base = heads;
        check_limits(&p, d, options);
        check_limits(&p, d, options);
    }
    free(p.strips);
    engram_prepared_free(f32);
    engram_prepared_free(codes);
    engram_prepared_free(heads);
}

static void attack(enum engram_metric metric)
{
    static const size_t dims[] = {1,  2,  3,  7,  8,  9,   10,  11,   12,
                                  13, 14, 15, 16, 17, 100, 768, 1024, 4096};
    const struct engram_kernels *sets[8] = {NULL};
    size_t set_count = 0;
    while ((sets[set_count] = engram_kernels_at(set_count)) != NULL) {
        set_count++;
    }
    for (size_t family = 0; family < FAMILY_COUNT; family++) {
        for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
            for (int dtype = ENGRAM_F32; dtype <= ENGRAM_F64; dtype++) {
                struct data d = {
                    .dtype = (enum engram_dtype)dtype, .metric = metric, .dim = dims[i]};
                /* The small ones are much alike: a third of them in each run. */
                if ((d.dim >= 7 && d.dim <= 17 && random_below(3) != 0) ||
                    ((UNDER_ASAN || UNDER_TSAN) && random_below(8) != 0)) {
                    continue;
                }
                data_make(&d, FAMILIES[family].value);
                /* Many dimensions take long: one kernel set, another each time. */
                bool all_sets = d.dim <= 100 || long_tests();
                size_t chosen = random_below(set_count);
                for (size_t k = 0; k < set_count; k++) {
                    if (all_sets || k == chosen) {
                        check(sets[k], &d, FAMILIES[family].name);
                    }
                }
                data_free(&d);
            }
        }
    }
}

static void test_cosine(void **state)
{
    (void)state;
    attack(ENGRAM_COSINE);
}

static void test_ip(void **state)
{
    (void)state;
    attack(ENGRAM_IP);
}

static void test_l2(void **state)
{
    (void)state;
    attack(ENGRAM_L2);
}

static void test_sqeuclidean(void **state)
{
    (void)state;
    attack(ENGRAM_SQEUCLIDEAN);
}

static void test_l1(void **state)
{
    (void)state;
    attack(ENGRAM_L1);
}

/* Limits that say nothing keep everything; no threshold is ever NaN. */
static void check_extremes(const struct engram_f32_bound *bound,
                           const struct engram_projected *query)
{
    const double none = (double)INFINITY;
    static const double limits[] = {0, 1, -1, 1e-320, -1e-320, 1e150, 1e308, -1e308};
    assert_true(engram_f32_threshold(bound, query, none, -none) < -FLT_MAX);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        float by_key = engram_f32_threshold(bound, query, limits[i], -none);
        float by_score = engram_f32_threshold(bound, query, none, limits[i]);
        assert_true(by_key >= -INFINITY && by_score >= -INFINITY); /* false for NaN */
    }
    assert_true(engram_f32_threshold(bound, query, -none, none) >= -INFINITY);
}

static void test_extreme_limits(void **state)
{
    (void)state;
    for (int metric = 0; metric < METRICS; metric++) {
        for (int e = -1100; e <= 1000; e += 100) {
            struct engram_f32_bound bound =
                engram_f32_bound_make((enum engram_metric)metric, 100, ldexp(1, e));
            for (int f = -1000; f <= 1000; f += 100) {
                bool raised = metric != ENGRAM_COSINE && metric != ENGRAM_IP && f < bound.exponent;
                struct engram_projected query = {raised ? bound.exponent : f, 1};
                check_extremes(&bound, &query);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cosine), cmocka_unit_test(test_ip),
        cmocka_unit_test(test_l2),     cmocka_unit_test(test_sqeuclidean),
        cmocka_unit_test(test_l1),     cmocka_unit_test(test_extreme_limits),
    };
    engram_pairs_first_room = 1000; /* the usual room is slow to get and give back */
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
