/* What is done and what is left, against a grid that has a cell for every pair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "job/done.h"
#include "reference.h"

#define QUERIES 24
#define BASE 20
#define FIRST_QUERY 1000
#define FIRST_BASE 5000000000

static const struct engram_unit ALL = {.queries = {FIRST_QUERY, FIRST_QUERY + QUERIES},
                                       .base = {FIRST_BASE, FIRST_BASE + BASE}};

static struct engram_unit any_unit(void)
{
    int64_t a = FIRST_QUERY + (int64_t)random_below(QUERIES + 1);
    int64_t b = FIRST_QUERY + (int64_t)random_below(QUERIES + 1);
    int64_t c = FIRST_BASE + (int64_t)random_below(BASE + 1);
    int64_t d = FIRST_BASE + (int64_t)random_below(BASE + 1);
    return (struct engram_unit){.queries = {a < b ? a : b, a < b ? b : a},
                                .base = {c < d ? c : d, c < d ? d : c}};
}

/* Marks the unit's cells; returns how many were marked before. */
static int mark(bool cells[QUERIES][BASE], const struct engram_unit *unit)
{
    int twice = 0;
    for (int64_t q = unit->queries[0]; q < unit->queries[1]; q++) {
        for (int64_t b = unit->base[0]; b < unit->base[1]; b++) {
            twice += cells[q - FIRST_QUERY][b - FIRST_BASE];
            cells[q - FIRST_QUERY][b - FIRST_BASE] = true;
        }
    }
    return twice;
}

static uint64_t count(bool cells[QUERIES][BASE], const struct engram_unit *within)
{
    uint64_t marked = 0;
    for (int64_t q = within->queries[0]; q < within->queries[1]; q++) {
        for (int64_t b = within->base[0]; b < within->base[1]; b++) {
            marked += cells[q - FIRST_QUERY][b - FIRST_BASE];
        }
    }
    return marked;
}

static void check_around(const struct engram_done *done, bool cells[QUERIES][BASE])
{
    struct engram_unit unit = any_unit();
    int64_t range[2];
    if (unit.queries[0] == unit.queries[1] || unit.base[0] == unit.base[1]) {
        return;
    }
    engram_done_around(done, unit.queries, unit.base[0], range);
    if (range[0] < range[1]) {
        struct engram_unit found = {.queries = {unit.queries[0], unit.queries[1]},
                                    .base = {range[0], range[1]}};
        assert_true(range[0] <= unit.base[0] && unit.base[0] < range[1]);
        assert_int_equal(count(cells, &found),
                         (unit.queries[1] - unit.queries[0]) * (range[1] - range[0]));
    }
}

/* Random units are done; then all that is left is taken piece by piece, each cell once. */
static void test_pieces(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        bool cells[QUERIES][BASE] = {{false}};
        struct engram_done done = {0};
        struct engram_unit left;
        for (size_t i = random_below(6); i > 0; i--) {
            struct engram_unit unit = any_unit();
            assert_int_equal(engram_done_add(&done, &unit, NULL), ENGRAM_OK);
            (void)mark(cells, &unit);
            check_around(&done, cells);
        }
        struct engram_unit within = any_unit();
        assert_int_equal(engram_done_pairs(&done, &within), count(cells, &within));
        int64_t last_query = within.queries[0];
        while (engram_done_left(&done, &within, &left)) {
            assert_true(left.queries[0] < left.queries[1] && left.base[0] < left.base[1]);
            assert_true(left.queries[0] >= last_query && left.queries[1] <= within.queries[1]);
            assert_true(left.base[0] >= within.base[0] && left.base[1] <= within.base[1]);
            assert_int_equal(mark(cells, &left), 0);
            assert_int_equal(engram_done_add(&done, &left, NULL), ENGRAM_OK);
            last_query = left.queries[0];
        }
        assert_int_equal(count(cells, &within), (within.queries[1] - within.queries[0]) *
                                                    (within.base[1] - within.base[0]));
        assert_int_equal(engram_done_pairs(&done, &ALL), count(cells, &ALL));
        engram_done_free(&done);
    }
}

/* Units of a self-join, each of which answers for both sides: what is left stays a triangle. */
static void test_mirrored(void **state)
{
    const struct engram_unit all = {.queries = {0, 100}, .base = {0, 100}};
    struct engram_done done = {0};
    struct engram_unit left;
    int64_t at = 0;
    (void)state;
    while (engram_done_left(&done, &all, &left)) {
        assert_int_equal(left.queries[0], at);
        assert_int_equal(left.queries[1], 100);
        assert_int_equal(left.base[0], at);
        assert_int_equal(left.base[1], 100);
        left.queries[1] = at + 10;
        struct engram_unit mirror = {.queries = {left.base[0], left.base[1]},
                                     .base = {left.queries[0], left.queries[1]}};
        assert_int_equal(engram_done_add(&done, &left, NULL), ENGRAM_OK);
        assert_int_equal(engram_done_add(&done, &mirror, NULL), ENGRAM_OK);
        at += 10;
    }
    assert_int_equal(at, 100);
    engram_done_free(&done);
}

/* Units that come one after another stay one. */
static void test_joins(void **state)
{
    struct engram_done done = {0};
    (void)state;
    for (int64_t q = 0; q < 1000; q += 10) {
        for (int64_t b = 0; b < 100; b += 50) {
            struct engram_unit unit = {.queries = {q, q + 10}, .base = {b, b + 50}};
            assert_int_equal(engram_done_add(&done, &unit, NULL), ENGRAM_OK);
        }
    }
    assert_int_equal(done.count, 1);
    engram_done_free(&done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_mirrored),
        cmocka_unit_test(test_joins),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
