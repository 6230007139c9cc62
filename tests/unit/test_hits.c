/* Selecting and sorting answers against qsort, on every order that quicksorts dislike. */
#include "search/hits.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "reference.h"

#define COUNT_MAX 5000
#define BIG 100000

enum shape {
    RANDOM,
    SORTED,
    REVERSED,
    ORGAN_PIPE,
    EQUAL,
    FEW_KEYS,
    SAWTOOTH,
    NEARLY,
    OUTLIER, /* crowded but for a few far away */
    SCALES,  /* of all magnitudes, up to what overflows in a difference */
    TINY,    /* so close that their differences are denormal */
    SHAPES
};

static const enum engram_metric ORDERS[] = {ENGRAM_COSINE, ENGRAM_IP, ENGRAM_L2};

static double shaped(enum shape shape, size_t i, size_t count)
{
    switch (shape) {
    case SORTED:
        return (double)i;
    case REVERSED:
        return (double)(count - i);
    case ORGAN_PIPE:
        return (double)(i < count - i ? i : count - i);
    case EQUAL:
        return 1;
    case FEW_KEYS:
        return (double)random_below(3);
    case SAWTOOTH:
        return (double)(i % 7);
    case NEARLY:
        return (double)(random_below(20) == 0 ? random_below(count) : i);
    case OUTLIER:
        return random_below(100) == 0 ? random_signed() * 1e9 : random_signed();
    case SCALES:
        return ldexp(random_signed(), (int)random_in(-1080, 1023));
    case TINY:
        return (double)random_below(1000) * 0x1p-1072;
    default:
        return random_signed();
    }
}

/* Tags: rows in random order, every one once. */
static void make(struct engram_hit *hits, size_t count, enum shape shape)
{
    for (size_t i = 0; i < count; i++) {
        hits[i].score = shaped(shape, i, count) / 4;
        hits[i].tag = (int64_t)i;
    }
    for (size_t i = count; shape != SORTED && shape != REVERSED && i > 1; i--) {
        size_t j = random_below(i);
        int64_t tag = hits[i - 1].tag;
        hits[i - 1].tag = hits[j].tag;
        hits[j].tag = tag;
    }
}

static enum engram_metric sorted_by;

static int compare(const void *left, const void *right)
{
    const struct engram_hit *a = left;
    const struct engram_hit *b = right;
    double key_a = reference_key(sorted_by, a->score);
    double key_b = reference_key(sorted_by, b->score);
    if (key_a != key_b) {
        return key_a < key_b ? -1 : 1;
    }
    return a->tag < b->tag ? -1 : a->tag > b->tag;
}

static bool equal(const struct engram_hit *a, const struct engram_hit *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (a[i].tag != b[i].tag || !same_bits(a[i].score, b[i].score)) {
            return false;
        }
    }
    return true;
}

/* Sizes: all the small ones, a few large ones. */
static size_t next_size(size_t count)
{
    return count < 200 ? count + 1 : count < 1000 ? 1023 : count + 1988;
}

static void test_sort(void **state)
{
    (void)state;
    static struct engram_hit hits[COUNT_MAX + 2];
    static struct engram_hit expected[COUNT_MAX];
    for (size_t count = 0; count <= COUNT_MAX; count = next_size(count)) {
        for (int shape = 0; shape < SHAPES; shape++) {
            sorted_by = ORDERS[random_below(3)];
            hits[0].tag = hits[count + 1].tag = -7;
            make(hits + 1, count, (enum shape)shape);
            memcpy(expected, hits + 1, count * sizeof *hits);
            qsort(expected, count, sizeof *expected, compare);
            engram_hits_sort(hits + 1, count, engram_metric_order(sorted_by));
            assert_true(equal(hits + 1, expected, count));
            assert_true(hits[0].tag == -7 && hits[count + 1].tag == -7);
        }
    }
}

static void check_select(struct engram_hit *hits, struct engram_hit *expected, size_t count,
                         size_t keep)
{
    static struct engram_hit copy[COUNT_MAX];
    static struct engram_hit out[COUNT_MAX + 1];
    size_t first = keep < count ? keep : count;
    memcpy(expected, hits, count * sizeof *hits);
    memcpy(copy, hits, count * sizeof *hits);
    qsort(expected, count, sizeof *expected, compare);
    out[first].tag = -7;
    assert_int_equal(engram_hits_best_to(copy, count, keep, engram_metric_order(sorted_by), out),
                     first);
    assert_true(equal(out, expected, first));
    assert_true(out[first].tag == -7);
    engram_hits_select(hits, count, keep, engram_metric_order(sorted_by));
    qsort(hits, first, sizeof *hits, compare);
    assert_true(equal(hits, expected, first));
}

static void test_select(void **state)
{
    (void)state;
    static struct engram_hit hits[COUNT_MAX];
    static struct engram_hit expected[COUNT_MAX];
    for (size_t count = 0; count <= COUNT_MAX; count = next_size(count)) {
        for (int shape = 0; shape < SHAPES; shape++) {
            const size_t keeps[] = {0,
                                    1,
                                    count / 2,
                                    count == 0 ? 0 : count - 1,
                                    count,
                                    count + 5,
                                    random_below(count + 1)};
            for (size_t i = 0; i < sizeof keeps / sizeof keeps[0]; i++) {
                sorted_by = ORDERS[random_below(3)];
                make(hits, count, (enum shape)shape);
                check_select(hits, expected, count, keeps[i]);
            }
        }
    }
}

/* The classic pattern against quicksorts that take the middle of three: many bad partitions in a
 * row, so that the way out is taken. */
static void killer(struct engram_hit *hits, size_t count)
{
    size_t half = count / 2;
    for (size_t i = 0; i < count; i++) {
        hits[i].tag = (int64_t)i;
        hits[i].score = i < half ? (double)(i % 2 == 0 ? i + 1 : half + i + (half & 1))
                                 : (double)((i - half + 1) * 2);
    }
}

static void test_large(void **state)
{
    (void)state;
    struct engram_hit *hits = malloc(BIG * sizeof *hits);
    struct engram_hit *expected = malloc(BIG * sizeof *expected);
    struct engram_hit *all = malloc(BIG * sizeof *all);
    assert_non_null(hits);
    assert_non_null(expected);
    assert_non_null(all);
    sorted_by = ENGRAM_L2;
    for (int shape = 0; shape <= SHAPES + 1; shape++) {
        if (shape == SHAPES) {
            killer(hits, BIG);
        } else if (shape == SHAPES + 1) {
            for (size_t i = 0; i < BIG; i++) { /* nothing a partition could tell apart */
                hits[i] = (struct engram_hit){0.5, (int64_t)(i % 2)};
            }
        } else {
            make(hits, BIG, (enum shape)shape);
        }
        memcpy(expected, hits, BIG * sizeof *hits);
        memcpy(all, hits, BIG * sizeof *hits);
        qsort(expected, BIG, sizeof *expected, compare);
        engram_hits_select(hits, BIG, BIG / 3, engram_metric_order(sorted_by));
        engram_hits_sort(hits, BIG / 3, engram_metric_order(sorted_by));
        assert_true(equal(hits, expected, BIG / 3));
        memcpy(hits, all, BIG * sizeof *hits);
        engram_hits_sort(hits, BIG, engram_metric_order(sorted_by));
        assert_true(equal(hits, expected, BIG));
        size_t keep = random_in(0, 1) == 0 ? BIG : BIG / 3;
        assert_int_equal(engram_hits_best_to(all, BIG, keep, engram_metric_order(sorted_by), hits),
                         keep);
        assert_true(equal(hits, expected, keep));
    }
    free(all);
    free(hits);
    free(expected);
}

/* Cosine scores may differ where their keys do not: then the row decides. */
static void test_equal_keys_of_different_scores(void **state)
{
    (void)state;
    const double tiny = 0x1p-60;
    struct engram_hit hits[] = {{3 * tiny, 2}, {tiny, 1}, {0, 0}, {2 * tiny, 3}, {0.5, 9}};
    engram_hits_sort(hits, 5, engram_metric_order(ENGRAM_COSINE));
    assert_int_equal(hits[0].tag, 9);
    for (int64_t i = 0; i < 4; i++) {
        assert_int_equal(hits[i + 1].tag, i);
    }
    /* And keys of -0 and +0 are the same key. */
    struct engram_hit zeros[] = {{0.0, 1}, {-0.0, 0}};
    engram_hits_sort(zeros, 2, engram_metric_order(ENGRAM_IP));
    assert_int_equal(zeros[0].tag, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sort),
        cmocka_unit_test(test_select),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_equal_keys_of_different_scores),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
