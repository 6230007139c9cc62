/* Hamming and jaccard over rows of bits, against brute force, to the last bit. */
#define _GNU_SOURCE
#include "guarded.h"
#include "kernels/bits.h"
#include "kernels/kernels.h"
#include "search_fixture.h"

#define TRIALS (UNDER_TSAN ? 20 : UNDER_ASAN ? 60 : long_tests() ? 400 : 120)

/* Rows of bits with garbage after their last bit and between rows. `ones`: the share of ones, in
 * 256ths; some rows are empty, full, or like the one before. */
static struct matrix bits_make(int64_t rows, int64_t dim, size_t gap, size_t ones)
{
    size_t stride = (size_t)(dim + 7) / 8 + gap;
    struct matrix m = {.set = {NULL, ENGRAM_BITS, rows, dim, gap == 0 ? 0 : stride}};
    unsigned char *bytes = malloc((size_t)rows * stride + 1);
    m.wide = calloc((size_t)rows * (size_t)dim + 1, sizeof *m.wide);
    assert_non_null(bytes);
    assert_non_null(m.wide);
    for (size_t i = 0; i < (size_t)rows * stride; i++) {
        bytes[i] = (unsigned char)random_u64();
    }
    for (int64_t r = 0; r < rows; r++) {
        size_t dice = random_below(12);
        for (int64_t i = 0; i < dim; i++) {
            unsigned char *byte = bytes + (size_t)r * stride + i / 8;
            unsigned mask = 0x80U >> (i % 8);
            bool like = r > 0 && dice < 4 && random_below(64) != 0;
            bool bit = like       ? m.wide[(r - 1) * dim + i] != 0
                       : dice > 9 ? dice == 10
                                  : random_below(256) < ones;
            *byte = (unsigned char)(bit ? *byte | mask : *byte & ~mask);
            m.wide[r * dim + i] = bit;
        }
    }
    m.memory = bytes;
    m.set.data = bytes;
    return m;
}

static void any_limits(struct engram_search_options *options, const struct oracle *o)
{
    options->max_distance = (double)INFINITY;
    options->min_similarity = -(double)INFINITY;
    size_t cells = (size_t)(o->queries * o->rows);
    if (cells == 0 || random_below(3) == 0) {
        return;
    }
    double score = o->scores[random_below(cells)]; /* exactly at a pair, or just beyond it */
    size_t which = random_below(4);
    if (which < 2) {
        double key = reference_key(options->metric, score);
        options->max_distance = which == 0 ? key : nextafter(key, -1);
    } else if (options->metric == ENGRAM_JACCARD) {
        options->min_similarity = which == 2 ? score : nextafter(score, 2);
    }
}

static void run(const struct matrix *base, const struct matrix *queries, const struct oracle *o,
                struct engram_search_options *options)
{
    char context[200];
    struct engram_prepared *prepared = NULL;
    struct answer a = {.pairs = random_below(2) == 0};
    size_t sets = 0;
    while (engram_kernels_at(sets) != NULL) {
        sets++;
    }
    options->isa = engram_kernels_at(random_below(sets))->name;
    options->threads = (int)random_in(1, 3);
    options->filter = random_below(3) == 0 ? ENGRAM_FILTER_CANONICAL : ENGRAM_FILTER_AUTO;
    options->k = a.pairs && random_below(2) == 0 ? NO_K : random_in(1, 40);
    (void)snprintf(context, sizeof context, "%s, %lld x %lld x %lld, k %lld, filter %d, %s",
                   metric_names()[options->metric], (long long)o->queries, (long long)o->rows,
                   (long long)base->set.dim, (long long)options->k, (int)options->filter,
                   options->isa);
    EXPECT(engram_prepare(&base->set, options, &prepared) == ENGRAM_OK);
    answer_run(&a, prepared, &queries->set, options);
    answer_check(&a, o, options, context);
    bool tile = options->filter == ENGRAM_FILTER_AUTO && o->rows > 64 && base->set.dim > 0;
    EXPECT(a.stats.filter == (tile ? ENGRAM_FILTER_BITS : ENGRAM_FILTER_CANONICAL));
    EXPECT(a.stats.skipped_base == 0 && a.stats.skipped_queries == 0);
    answer_free(&a);
    engram_prepared_free(prepared);
}

/* Every pair, and row by row. */
static void run_values(const struct matrix *base, const struct matrix *queries,
                       const struct oracle *o, const struct engram_search_options *options)
{
    static const char context[] = "dense and pairwise";
    int64_t rows = o->rows < o->queries ? o->rows : o->queries;
    double *out = malloc(((size_t)(o->queries * o->rows) + 1) * sizeof *out);
    struct engram_prepared *prepared = NULL;
    struct engram_set left = queries->set;
    struct engram_set right = base->set;
    left.rows = right.rows = rows;
    assert_non_null(out);
    EXPECT(engram_prepare(&base->set, options, &prepared) == ENGRAM_OK);
    EXPECT(engram_search_dense(prepared, &queries->set, options, out, NULL) == ENGRAM_OK);
    for (int64_t i = 0; i < o->queries * o->rows; i++) {
        EXPECT(out[i] == reference_key(options->metric, o->scores[i]));
    }
    EXPECT(engram_search_pairwise(&left, &right, options, out, NULL) == ENGRAM_OK);
    for (int64_t i = 0; i < rows; i++) {
        EXPECT(out[i] == reference_key(options->metric, o->scores[i * o->rows + i]));
    }
    engram_prepared_free(prepared);
    free(out);
}

static int64_t any_bit_dim(void)
{
    static const int64_t dims[] = {0, 1, 7, 8, 9, 63, 64, 65, 120, 127, 128, 256, 1024, 1030};
    return random_below(2) == 0 ? dims[random_below(sizeof dims / sizeof dims[0])]
                                : random_in(0, 600);
}

static void trial(void)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    options.metric = random_below(2) == 0 ? ENGRAM_HAMMING : ENGRAM_JACCARD;
    int64_t dim = any_bit_dim();
    int64_t rows = random_below(4) == 0 ? random_in(0, 70) : random_in(0, 1500);
    size_t ones = random_below(3) == 0 ? random_below(257) : 128;
    struct matrix base = bits_make(rows, dim, random_below(3), ones);
    struct matrix queries = bits_make(random_in(0, 40), dim, random_below(3), ones);
    if (random_below(3) == 0) {
        options.self = true;
        matrix_free(&queries);
        queries = base;
        if (random_below(2) == 0 && rows > 50) {
            queries.set.rows = 50;
        } else if (rows > 300) {
            base.set.rows = queries.set.rows = 300;
        }
    }
    struct oracle o = oracle_make(&base, &queries, options.metric);
    for (int i = 0; i < 3; i++) {
        any_limits(&options, &o);
        run(&base, &queries, &o, &options);
    }
    run_values(&base, &queries, &o, &options);
    oracle_free(&o);
    if (queries.memory != base.memory) {
        matrix_free(&queries);
    }
    matrix_free(&base);
}

static void test_random(void **state)
{
    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        trial();
    }
}

/* The tile's counts fit into 16 bits up to 65,528 bits; beyond, everything is canonical. */
static void test_long_rows(void **state)
{
    (void)state;
    for (int64_t dim = 65521; dim <= 65536; dim += 5) {
        struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
        struct matrix base = bits_make(70, dim, 0, 128);
        struct matrix queries = bits_make(5, dim, 0, 128);
        for (int metric = ENGRAM_HAMMING; metric <= ENGRAM_JACCARD; metric++) {
            char context[100];
            struct engram_prepared *prepared = NULL;
            struct answer a = {.pairs = false};
            options.metric = (enum engram_metric)metric;
            options.k = 7;
            struct oracle o = oracle_make(&base, &queries, options.metric);
            (void)snprintf(context, sizeof context, "%d bits, %s", (int)dim,
                           engram_metric_name(options.metric));
            EXPECT(engram_prepare(&base.set, &options, &prepared) == ENGRAM_OK);
            answer_run(&a, prepared, &queries.set, &options);
            answer_check(&a, &o, &options, context);
            EXPECT((a.stats.filter == ENGRAM_FILTER_BITS) == (dim <= 65528));
            answer_free(&a);
            engram_prepared_free(prepared);
            oracle_free(&o);
        }
        matrix_free(&base);
        matrix_free(&queries);
    }
}

/* ---- the scores themselves */

static double distance(enum engram_metric metric, int64_t dim, const void *q, const void *x)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    const struct engram_set base = {x, ENGRAM_BITS, 1, dim, 0};
    const struct engram_set query = {q, ENGRAM_BITS, 1, dim, 0};
    struct engram_prepared *prepared = NULL;
    int64_t row;
    double found;
    options.metric = metric;
    options.k = 1;
    assert_int_equal(engram_prepare(&base, &options, &prepared), ENGRAM_OK);
    assert_int_equal(engram_search_knn(prepared, &query, &options, &row, &found, NULL, NULL),
                     ENGRAM_OK);
    assert_int_equal(row, 0);
    engram_prepared_free(prepared);
    return found;
}

static void test_definitions(void **state)
{
    (void)state;
    const unsigned char a[] = {0xf0, 0x80}; /* 1111 0000 1.. */
    const unsigned char b[] = {0xc3, 0x7f}; /* 1100 0011 0.. */
    const unsigned char none[] = {0, 0x3f};
    assert_true(distance(ENGRAM_HAMMING, 9, a, b) == 5.0 / 9);
    assert_true(distance(ENGRAM_HAMMING, 9, a, a) == 0);
    assert_true(distance(ENGRAM_HAMMING, 0, NULL, NULL) == 0);
    assert_true(distance(ENGRAM_JACCARD, 9, a, b) == 1 - 2.0 / 7);
    assert_true(distance(ENGRAM_JACCARD, 9, a, a) == 0);
    assert_true(distance(ENGRAM_JACCARD, 9, a, none) == 1);
    assert_true(distance(ENGRAM_JACCARD, 9, none, none) == 1); /* two empty sets */
    assert_true(distance(ENGRAM_JACCARD, 0, NULL, NULL) == 1);
}

/* ---- kernels against guard pages */

#define ROWS 5
#define DIM_MAX 700

static void test_kernels(void **state)
{
    (void)state;
    struct guarded memory = guarded_make(ROWS * (DIM_MAX / 8 + 1));
    uint64_t queries[ROWS][DIM_MAX / 64 + 1];
    struct engram_candidate pairs[ROWS * ROWS];
    const struct engram_kernels *set;

    for (int64_t dim = 0; dim < DIM_MAX; dim += 1 + (int64_t)random_below(9)) {
        struct matrix m = bits_make(ROWS, dim, 0, 128);
        size_t stride = (size_t)(dim + 7) / 8;
        unsigned char *end = memory.end - ROWS * stride;
        memcpy(end, m.memory, ROWS * stride);
        for (size_t i = 0; i < (size_t)ROWS * ROWS; i++) {
            pairs[i] = (struct engram_candidate){(uint32_t)(i / ROWS), (uint32_t)(i % ROWS)};
            engram_bits_load(end + i / ROWS * stride, (size_t)dim, queries[i / ROWS]);
        }
        const struct engram_bit_rows q = {queries[0], DIM_MAX / 64 + 1};
        const struct engram_base_rows x = {end, stride};
        for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
            for (int op = 0; op < ENGRAM_BIT_OPS; op++) {
                double tile[ROWS * ROWS];
                double listed[ROWS * ROWS];
                set->bits_tile[op](&q, ROWS, &x, ROWS, (size_t)dim, tile);
                set->bits_pairs[op](&q, &x, (size_t)dim, pairs, (size_t)ROWS * ROWS, listed);
                for (size_t p = 0; p < (size_t)ROWS * ROWS; p++) {
                    double count = 0;
                    for (int64_t d = 0; d < dim; d++) {
                        bool a = m.wide[(int64_t)(p / ROWS) * dim + d] != 0;
                        bool b = m.wide[(int64_t)(p % ROWS) * dim + d] != 0;
                        count += op == ENGRAM_BIT_COMMON ? a && b : a != b;
                    }
                    assert_true(tile[p] == count && listed[p] == count);
                }
            }
        }
        matrix_free(&m);
    }
    guarded_free(&memory);
}

/* ---- what is refused */

static char logged[1100];

static void keep_message(void *context, enum engram_log_level level, const char *message)
{
    (void)context;
    (void)level;
    (void)snprintf(logged, sizeof logged, "%s", message);
}

static void refuse(enum engram_dtype dtype, enum engram_metric metric, enum engram_filter filter,
                   const char *words)
{
    static const double data[16];
    const struct engram_set set = {data, dtype, 2, 8, 0};
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_prepared *prepared = NULL;
    options.metric = metric;
    options.filter = filter;
    options.log.call = keep_message;
    logged[0] = '\0';
    assert_int_equal(engram_prepare(&set, &options, &prepared), ENGRAM_ERR_USAGE);
    assert_null(prepared);
    if (strstr(logged, words) == NULL) {
        fail_msg("\"%s\" does not hold \"%s\"", logged, words);
    }
}

static void test_refused(void **state)
{
    (void)state;
    for (int dtype = ENGRAM_F32; dtype < ENGRAM_BITS; dtype++) {
        refuse((enum engram_dtype)dtype, ENGRAM_HAMMING, ENGRAM_FILTER_AUTO,
               engram_dtype_name((enum engram_dtype)dtype));
        refuse((enum engram_dtype)dtype, ENGRAM_JACCARD, ENGRAM_FILTER_AUTO, "jaccard");
    }
    for (int metric = ENGRAM_COSINE; metric <= ENGRAM_L1; metric++) {
        refuse(ENGRAM_BITS, (enum engram_metric)metric, ENGRAM_FILTER_AUTO,
               engram_metric_name((enum engram_metric)metric));
    }
    refuse(ENGRAM_BITS, ENGRAM_HAMMING, ENGRAM_FILTER_F32, "filter f32");
    refuse(ENGRAM_BITS, ENGRAM_JACCARD, ENGRAM_FILTER_INT, "filter int");
    refuse(ENGRAM_BITS, ENGRAM_JACCARD, ENGRAM_FILTER_PREFIX, "filter prefix");
    refuse(ENGRAM_F32, ENGRAM_L2, ENGRAM_FILTER_BITS, "filter bits");
    refuse(ENGRAM_F32, ENGRAM_L1, ENGRAM_FILTER_INT, "filter int");
}

static void test_row_bytes(void **state)
{
    (void)state;
    assert_true(engram_row_bytes(ENGRAM_BITS, 0) == 0);
    assert_true(engram_row_bytes(ENGRAM_BITS, 1) == 1);
    assert_true(engram_row_bytes(ENGRAM_BITS, 16) == 2);
    assert_true(engram_row_bytes(ENGRAM_BITS, 17) == 3);
    assert_true(engram_row_bytes(ENGRAM_F64, 3) == 24);
    assert_true(engram_row_bytes(ENGRAM_F32, -1) == SIZE_MAX);
    assert_true(engram_row_bytes(ENGRAM_F64, INT64_MAX) == SIZE_MAX);
    assert_true(engram_row_bytes((enum engram_dtype)12, 1) == SIZE_MAX);
    assert_int_equal(engram_dtype_size(ENGRAM_BITS), 0);
    assert_string_equal(engram_dtype_name(ENGRAM_BITS), "bits");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_bytes),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_definitions), cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_random),      cmocka_unit_test(test_long_rows),
    };
    (void)argc;
    wait_passively(argv);
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
