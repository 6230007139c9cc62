/* Limits guessed from samples of the base, against brute force: sets in every order that makes a
 * guess wrong, at each of its levels; ties, k near the number of rows, hardly enough rows. */
#define _GNU_SOURCE
#include "kernels/kernels.h"
#include "search_fixture.h"

#define TRIALS (UNDER_TSAN ? 30 : 250)
#define DIM 3

/* What the scan does (search/block_scan.c): of 64 panels the first is the smallest sample. */
#define PERIOD 64

enum order {
    ANY,
    BEST_FIRST,
    BEST_LAST,
    IN_SAMPLE, /* the nearest rows are those of some panels of every PERIOD, the others far */
    EQUAL,
    ORDERS
};

struct trial {
    int64_t rows;
    int64_t queries;
    int64_t k;
    enum order order;
    int64_t width;    /* rows of a panel */
    int64_t panel[2]; /* IN_SAMPLE: first and end */
    int steps;        /* distances are rounded to this many: few make ties */
};

static struct trial any_trial(const struct engram_kernels *kernels)
{
    static const int64_t sample[][2] = {{0, 1}, {0, 4}, {1, 4}, {1, 16}, {4, 16}, {16, 64}};
    const int64_t *panel = sample[random_below(sizeof sample / sizeof *sample)];
    struct trial t = {
        .order = (enum order)random_below(ORDERS),
        .width = (int64_t)(random_below(2) == 0 ? kernels->int_rows : kernels->f32_rows),
        .panel = {panel[0], panel[1]},
        .steps = random_below(3) == 0 ? (int)random_in(1, 40) : 1 << 20,
        .queries = random_in(1, 40),
    };
    /* From 128 panels on there is a sample. */
    t.rows = random_in(100, random_below(4) == 0 ? 300 : 400) * t.width + random_in(-1, 1);
    t.rows = t.rows > 9000 ? random_in(4000, 9000) : t.rows;
    const int64_t ks[] = {1, 4, 10, 10, 30, 100, 300, t.rows / 2, t.rows - 1, t.rows, t.rows + 5};
    t.k = ks[random_below(sizeof ks / sizeof *ks)];
    return t;
}

/* How far row r is from the direction that the queries lie around: 0 .. 1. */
static double distance_of(const struct trial *t, int64_t r)
{
    const int64_t panel = r / t->width % PERIOD;
    switch (t->order) {
    case BEST_FIRST:
        return (double)r / (double)t->rows;
    case BEST_LAST:
        return 1 - (double)r / (double)t->rows;
    case IN_SAMPLE:
        return panel >= t->panel[0] && panel < t->panel[1] ? 0.1 * (1 + random_signed())
                                                           : 0.6 + 0.4 * random_signed();
    case EQUAL:
        return 0.5;
    default:
        return 0.5 + 0.5 * random_signed();
    }
}

/* A point near the first axis, or on the other side: at an angle of `turn`. */
static void place(const struct matrix *m, int64_t row, double turn, double scale)
{
    const float point[DIM] = {(float)(scale * cos(turn)), (float)(scale * sin(turn)),
                              (float)(0.1 * scale * sin(3 * turn))};
    memcpy((float *)m->memory + row * DIM, point, sizeof point);
    for (int64_t i = 0; i < DIM; i++) {
        m->wide[row * DIM + i] = (double)point[i];
    }
}

static void fill(const struct trial *t, const struct matrix *base, const struct matrix *queries)
{
    for (int64_t r = 0; r < t->rows; r++) {
        double distance = round(distance_of(t, r) * t->steps) / t->steps;
        place(base, r, distance * 3, t->steps < 100 ? 1 : 1 + 0.01 * random_signed());
    }
    for (int64_t q = 0; q < t->queries; q++) {
        /* Most of them where the order is about; some elsewhere, for whom the guess is right. */
        double turn = random_below(4) == 0 ? 3 * random_signed() : 0.02 * random_signed();
        place(queries, q, turn, 1);
    }
}

static void check_trial(int number)
{
    static const enum engram_metric metrics[] = {ENGRAM_COSINE, ENGRAM_IP, ENGRAM_L2};
    static const enum engram_filter filters[] = {ENGRAM_FILTER_INT, ENGRAM_FILTER_F32,
                                                 ENGRAM_FILTER_AUTO};
    size_t sets = 0;
    while (engram_kernels_at(sets) != NULL) {
        sets++;
    }
    const struct engram_kernels *kernels = engram_kernels_at(random_below(sets));
    const struct trial t = any_trial(kernels);
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    options.metric = metrics[random_below(3)];
    options.filter = filters[random_below(3)];
    options.isa = kernels->name;
    options.k = t.k;
    options.threads = (int)random_in(1, 3);
    options.max_distance = random_below(4) == 0 ? random_signed() : (double)INFINITY;

    struct matrix base = matrix_make(ENGRAM_F32, t.rows, DIM, 0, KIND_PLAIN, false);
    struct matrix queries = matrix_make(ENGRAM_F32, t.queries, DIM, 0, KIND_PLAIN, false);
    struct engram_prepared *prepared = NULL;
    struct answer answer = {.pairs = false};
    char context[200];
    snprintf(context, sizeof context,
             "trial %d: order %d panels %lld-%lld of %lld rows, %lld x %lld, k %lld, steps %d, %s",
             number, (int)t.order, (long long)t.panel[0], (long long)t.panel[1], (long long)t.width,
             (long long)t.queries, (long long)t.rows, (long long)t.k, t.steps, kernels->name);

    fill(&t, &base, &queries);
    struct oracle oracle = oracle_make(&base, &queries, options.metric);
    assert_int_equal(engram_prepare(&base.set, &options, &prepared), ENGRAM_OK);
    answer_run(&answer, prepared, &queries.set, &options);
    answer_check(&answer, &oracle, &options, context);
    answer_free(&answer);
    engram_prepared_free(prepared);
    oracle_free(&oracle);
    matrix_free(&base);
    matrix_free(&queries);
}

static void test_against_brute_force(void **state)
{
    (void)state;
    for (int trial = 0; trial < TRIALS; trial++) {
        check_trial(trial);
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    wait_passively(argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_brute_force)};
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
