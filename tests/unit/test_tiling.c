/* The cut of a unit into items: everything covered once, sizes that fit, whatever the shape. */
#include "search/tiling.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "reference.h"

static const struct {
    size_t strip;
    size_t panel;
} KERNELS[] = {{4, 8}, {6, 16}, {16, 32}, {1, 8}};

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

static void check(const struct engram_tiling_input *input)
{
    struct engram_tiling t = engram_tiling_make(input);

    assert_true(t.block_queries > 0);
    assert_int_equal(t.block_queries % input->strip, 0);
    assert_true(t.block_panels > 0);
    assert_true(t.blocks >= 0 && t.segments >= 0);
    /* Queries: the blocks reach the end, and the last one is not empty. */
    assert_int_equal(t.blocks, ceil_div(input->queries, (int64_t)t.block_queries));
    /* Rows: likewise. */
    if (input->rows == 0) {
        assert_int_equal(t.segments, 0);
    } else {
        assert_true(t.segment_rows > 0);
        assert_int_equal(t.segment_rows % 64, 0);
        assert_int_equal(t.segment_rows % (int64_t)input->panel, 0);
        assert_int_equal(t.segments, ceil_div(input->rows, t.segment_rows));
    }
    /* A block must be small enough for uint32 candidates and for memory. */
    assert_true(t.block_queries <= 4096);
    assert_true(t.segments <= 8192 * 4);
}

static void test_shapes(void **state)
{
    (void)state;
    static const int64_t queries[] = {0, 1, 3, 4, 5, 6, 7, 119, 120, 121, 2000, ((int64_t)1 << 31)};
    static const int64_t rows[] = {0,    1,    63,   64,     65,      2047,
                                   2048, 4096, 4097, 100000, 1000003, ((int64_t)1 << 31) - 64};
    static const size_t dims[] = {0, 1, 2, 100, 768, 4096, (size_t)1 << 21, (size_t)1 << 24};
    static const size_t kept[] = {0, 16, 36, 100000, (size_t)1 << 33};
    static const int threads[] = {1, 2, 3, 64, 4096};
#define FOR(i, list) for (size_t i = 0; i < sizeof(list) / sizeof((list)[0]); i++)
    FOR(q, queries) FOR(r, rows) FOR(d, dims) FOR(a, kept) FOR(t, threads) FOR(s, KERNELS)
    {
        for (int packed = 0; packed < 2; packed++) {
            struct engram_tiling_input input = {
                .queries = queries[q],
                .rows = rows[r],
                .dim = dims[d],
                .row_bytes = packed ? (dims[d] + 2) * sizeof(float) : 0,
                .strip = KERNELS[s].strip,
                .panel = KERNELS[s].panel,
                .kept = kept[a],
                .threads = threads[t],
            };
            check(&input);
        }
    }
#undef FOR
}

static void test_random_shapes(void **state)
{
    (void)state;
    for (int trial = 0; trial < 100000; trial++) {
        size_t kernels = random_below(sizeof KERNELS / sizeof KERNELS[0]);
        size_t dim = random_below((size_t)1 << random_below(25));
        struct engram_tiling_input input = {
            .queries = (int64_t)random_below((size_t)1 << random_below(32)),
            .rows = (int64_t)random_below((size_t)1 << random_below(32)),
            .dim = dim,
            .row_bytes = random_below(2) == 0 ? 0 : (dim + random_below(3)) * (1 + random_below(4)),
            .strip = KERNELS[kernels].strip,
            .panel = KERNELS[kernels].panel,
            .kept = random_below((size_t)1 << random_below(32)),
            .threads = (int)random_in(1, 300),
        };
        check(&input);
    }
}

/* Few queries against many rows still give every thread something to do. */
static void test_few_queries_use_all_threads(void **state)
{
    (void)state;
    for (int64_t queries = 1; queries < 100; queries += 7) {
        for (int threads = 2; threads <= 32; threads++) {
            struct engram_tiling_input input = {queries, 1000000, 100, 408, 6, 16, 36, threads};
            struct engram_tiling t = engram_tiling_make(&input);
            assert_true(t.blocks * t.segments >= threads);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_few_queries_use_all_threads),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
