/* The cut of a job into shards, and what parts are called. */
#include "job/shard.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "io/source.h"
#include "reference.h"

/* Every row is in one shard, cuts are at whole grains, shares differ by a grain at most. */
static void check_cut(int64_t first, int64_t last, int64_t count)
{
    int64_t at = first;
    int64_t most = 0;
    int64_t least = INT64_MAX;
    for (int64_t number = 1; number <= count; number++) {
        int64_t share[2];
        engram_shard_cut(first, last, number, count, share);
        assert_int_equal(share[0], at);
        assert_true(share[1] >= share[0] && share[1] <= last);
        assert_true(share[1] == last || (share[1] - first) % ENGRAM_ROW_GRAIN == 0);
        int64_t rows = share[1] - share[0];
        int64_t grains = rows / ENGRAM_ROW_GRAIN + (rows % ENGRAM_ROW_GRAIN != 0);
        most = grains > most ? grains : most;
        least = grains < least ? grains : least;
        at = share[1];
    }
    assert_int_equal(at, last);
    assert_true(most - least <= 1);
}

static void test_cuts(void **state)
{
    (void)state;
    static const int64_t firsts[] = {0, 1, 1024, 99999};
    static const int64_t rows[] = {0, 1, 1023, 1024, 1025, 5000, 7168, 1000000};
    static const int64_t counts[] = {1, 2, 3, 7, 64, 1000};
    for (size_t f = 0; f < sizeof firsts / sizeof firsts[0]; f++) {
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
            for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
                check_cut(firsts[f], firsts[f] + rows[r], counts[c]);
            }
        }
    }
}

static void test_large(void **state)
{
    (void)state;
    const int64_t rows = INT64_MAX - 5;
    int64_t before[2];
    int64_t share[2];
    engram_shard_cut(5, rows, ENGRAM_SHARDS_MAX, ENGRAM_SHARDS_MAX, share);
    assert_int_equal(share[1], rows);
    engram_shard_cut(5, rows, ENGRAM_SHARDS_MAX - 1, ENGRAM_SHARDS_MAX, before);
    assert_int_equal(before[1], share[0]);
    assert_true(share[1] - share[0] <= rows / ENGRAM_SHARDS_MAX + ENGRAM_ROW_GRAIN);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"out.h5", "out.shard-2-of-7.h5"},     {"a/b.c/out", "a/b.c/out.shard-2-of-7"},
        {"x.tar.h5", "x.tar.shard-2-of-7.h5"}, {"/d/.h5", "/d/.h5.shard-2-of-7"},
        {"out.", "out.shard-2-of-7."},
    };
    char path[64];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_true(engram_shard_path(names[i][0], 2, 7, path, sizeof path));
        assert_string_equal(path, names[i][1]);
    }
    assert_false(engram_shard_path("out.h5", 2, 7, path, strlen("out.shard-2-of-7.h5")));
    assert_true(engram_shard_path("out.h5", 2, 7, path, strlen("out.shard-2-of-7.h5") + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
