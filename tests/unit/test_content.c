/* The content of a set: whatever slabs its rows come in, in whatever order, from whichever rank, is
 * the same; rows that are not finite are counted once; other rows are noticed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "job/identity.h"
#include "reference.h"
#include "search/rows.h"

#define DIM 5
#define ROWS (6 * ENGRAM_ROW_GRAIN + 77)
#define GRAINS 7
#define FIRST 300 /* of the dataset */

static float rows[ROWS * DIM];

static void fill(void)
{
    for (size_t i = 0; i < ROWS * DIM; i++) {
        rows[i] = (float)random_below(1000);
    }
    for (int i = 0; i < 20; i++) {
        rows[random_below(ROWS * DIM)] = i % 2 == 0 ? NAN : INFINITY;
    }
}

static int64_t not_finite(void)
{
    int64_t count = 0;
    for (size_t r = 0; r < ROWS; r++) {
        bool finite = true;
        for (size_t i = 0; i < DIM; i++) {
            finite = finite && isfinite(rows[r * DIM + i]);
        }
        count += !finite;
    }
    return count;
}

static struct engram_set slab_at(int64_t grain, int64_t count)
{
    int64_t first = grain * ENGRAM_ROW_GRAIN;
    int64_t last = first + count * ENGRAM_ROW_GRAIN;
    return (struct engram_set){.data = rows + first * DIM,
                               .dtype = ENGRAM_F32,
                               .rows = (last < ROWS ? last : ROWS) - first,
                               .dim = DIM,
                               .stride = DIM * sizeof(float)};
}

static int64_t add(struct engram_content_hashes *content, int64_t grain, int64_t count)
{
    const struct engram_set slab = slab_at(grain, count);
    return engram_content_add(content, &slab, FIRST + grain * ENGRAM_ROW_GRAIN,
                              1 + (int)random_below(3));
}

/* What another rank says of a slab. */
static bool note(struct engram_content_hashes *content, int64_t grain, int64_t count)
{
    const struct engram_set slab = slab_at(grain, count);
    struct engram_grain_sum sums[GRAINS];
    bool same = true;
    engram_content_sum(&slab, 2, sums);
    for (int64_t g = 0; g < engram_slab_grains(&slab); g++) {
        same = engram_content_note(content, grain + g, &sums[g]) && same;
    }
    return same;
}

static struct engram_content_hashes empty(void)
{
    static const struct engram_log silent = {NULL, NULL};
    struct engram_content_hashes content;
    assert_int_equal(engram_content_create(FIRST, FIRST + ROWS, &silent, &content), ENGRAM_OK);
    assert_int_equal(content.count, GRAINS);
    return content;
}

static void assert_same(const struct engram_content_hashes *a,
                        const struct engram_content_hashes *b)
{
    char digests[2][ENGRAM_DIGEST_SIZE];
    engram_identity_of(&(struct engram_identity){.text = "", .base = a, .queries = a}, digests[0]);
    engram_identity_of(&(struct engram_identity){.text = "", .base = b, .queries = b}, digests[1]);
    assert_string_equal(digests[0], digests[1]);
    assert_int_equal(a->skipped, b->skipped);
    assert_int_equal(b->seen, GRAINS);
}

static void test_any_order_and_any_rank(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        fill();
        struct engram_content_hashes whole = empty();
        struct engram_content_hashes content = empty();
        assert_int_equal(add(&whole, 0, GRAINS), -1);
        assert_int_equal(whole.skipped, not_finite());
        while (content.seen < content.count) {
            int64_t grain = (int64_t)random_below(GRAINS);
            int64_t count = 1 + (int64_t)random_below((unsigned)(GRAINS - grain));
            if (random_below(2) == 0) {
                assert_int_equal(add(&content, grain, count), -1);
            } else {
                assert_true(note(&content, grain, count));
            }
            int64_t last = FIRST + (grain + count) * ENGRAM_ROW_GRAIN;
            assert_false(engram_content_unseen(&content, FIRST + grain * ENGRAM_ROW_GRAIN,
                                               last < FIRST + ROWS ? last : FIRST + ROWS));
            assert_int_equal(engram_content_unseen(&content, FIRST, FIRST + ROWS),
                             content.seen < content.count);
        }
        assert_same(&whole, &content);
        engram_content_free(&whole);
        engram_content_free(&content);
    }
}

static void test_other_rows_are_noticed(void **state)
{
    (void)state;
    fill();
    struct engram_content_hashes content = empty();
    assert_int_equal(add(&content, 0, GRAINS), -1);
    const int64_t skipped = content.skipped;
    for (int64_t grain = 0; grain < GRAINS; grain++) {
        float *value = &rows[(grain * ENGRAM_ROW_GRAIN + 70) * DIM + 1];
        const float old = *value;
        *value = old == 5 ? 6 : 5;
        assert_int_equal(add(&content, 0, GRAINS), grain);
        assert_false(note(&content, grain, 1));
        *value = old;
    }
    assert_int_equal(add(&content, 0, GRAINS), -1);
    assert_int_equal(content.skipped, skipped);
    assert_int_equal(content.seen, GRAINS);
    engram_content_free(&content);
}

/* What a checkpoint says is compared with, and counts as read only when it was. */
static void test_hashes_of_an_earlier_run(void **state)
{
    (void)state;
    fill();
    struct engram_content_hashes earlier = empty();
    struct engram_content_hashes content = empty();
    assert_int_equal(add(&earlier, 0, GRAINS), -1);
    for (int64_t grain = 2; grain < 4; grain++) {
        content.grains[grain] = earlier.grains[grain] ^ (grain == 3);
        content.marks[grain] = ENGRAM_GRAIN_HASHED | ENGRAM_GRAIN_EARLY;
    }
    assert_int_equal(content.seen, 0);
    assert_int_equal(add(&content, 0, 3), -1);
    assert_int_equal(content.seen, 3);
    assert_int_equal(add(&content, 0, GRAINS), 3);
    assert_true(engram_content_unseen(&content, FIRST, FIRST + ROWS));
    engram_content_free(&earlier);
    engram_content_free(&content);
}

/* A number that is not finite wherever it lies, and none that only looks like one. */
static void test_finite_of_every_type(void **state)
{
    static const uint32_t SINGLE[] = {0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
                                      0x7f800001, 0xffc00000, 0x00000001, 0x80000000};
    static const uint64_t DOUBLE[] = {0x7fefffffffffffff, 0xffefffffffffffff, 0x7ff0000000000000,
                                      0xfff0000000000000, 0x7ff0000000000001, 0xfff8000000000000,
                                      0x7f80000000000000, 0x8000000000000000};
    (void)state;
    for (size_t dim = 1; dim < 40; dim++) {
        uint16_t half[40] = {0};
        uint32_t single[40] = {0};
        uint64_t wide[40] = {0};
        const size_t at = random_below(dim);
        for (uint32_t bits = 0; bits <= UINT16_MAX; bits++) {
            half[at] = (uint16_t)bits;
            assert_int_equal(engram_row_finite(ENGRAM_F16, half, dim),
                             engram_row_look(ENGRAM_F16, half + at, 1).finite);
        }
        for (size_t i = 0; i < 8; i++) {
            single[at] = SINGLE[i];
            wide[at] = DOUBLE[i];
            assert_int_equal(engram_row_finite(ENGRAM_F32, single, dim),
                             engram_row_look(ENGRAM_F32, single + at, 1).finite);
            assert_int_equal(engram_row_finite(ENGRAM_F64, wide, dim),
                             engram_row_look(ENGRAM_F64, wide + at, 1).finite);
        }
        memset(wide, 0xff, sizeof wide);
        assert_true(engram_row_finite(ENGRAM_I64, wide, dim));
        assert_true(engram_row_finite(ENGRAM_U8, wide, dim));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_order_and_any_rank),
        cmocka_unit_test(test_other_rows_are_noticed),
        cmocka_unit_test(test_hashes_of_an_earlier_run),
        cmocka_unit_test(test_finite_of_every_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
