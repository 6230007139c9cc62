/* The self-test of kernel sets, and what the dispatcher makes of its verdict. The sets here are
 * portable with one slot that computes wrongly, each in a way that compilers and CPUs know. */
#define _GNU_SOURCE
#include "kernels/selftest.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/sets.h"

/* ---- broken slots */

static const struct engram_kernels *const PORTABLE = &engram_kernels_portable;

/* The last bit of one sum, as fused multiply-adds would change it. */
static void pairs_last_bit(const struct engram_wide_rows *queries,
                           const struct engram_base_rows *base, size_t dim,
                           const struct engram_candidate *pairs, size_t count, double *raw)
{
    PORTABLE->canonical_pairs[ENGRAM_OP_DOT][ENGRAM_WORK_F32](queries, base, dim, pairs, count,
                                                              raw);
    raw[count - 1] = nextafter(raw[count - 1], 0);
}

/* The elements past the last multiple of eight are forgotten. */
static void tile_no_tail(const struct engram_wide_rows *queries, size_t query_count,
                         const struct engram_base_rows *base, size_t row_count, size_t dim,
                         double *raw)
{
    PORTABLE->canonical_tile[ENGRAM_OP_SQDIFF][ENGRAM_WORK_F64](
        queries, query_count, base, row_count, dim > 8 ? dim - dim % 8 : dim, raw);
}

static size_t f32_loses_last(const struct engram_f32_strip *args, struct engram_candidate *out)
{
    size_t found = PORTABLE->f32_tile(args, out);
    return found - (found > 0);
}

static size_t f32_ignores_live(const struct engram_f32_strip *args, struct engram_candidate *out)
{
    struct engram_f32_strip all = *args;
    uint8_t live[64];
    memset(live, 0xff, sizeof live);
    all.live = live;
    return PORTABLE->f32_tile(&all, out);
}

static size_t f32_other_rows(const struct engram_f32_strip *args, struct engram_candidate *out)
{
    struct engram_f32_strip shifted = *args;
    shifted.first_row++;
    return PORTABLE->f32_tile(&shifted, out);
}

static size_t f32_above_only(const struct engram_f32_strip *args, struct engram_candidate *out)
{
    struct engram_f32_strip above = *args;
    float threshold[ENGRAM_F32_QUERIES_MAX];
    for (size_t q = 0; q < PORTABLE->f32_queries; q++) {
        threshold[q] = nextafterf(args->threshold[q], INFINITY);
    }
    above.threshold = threshold;
    return PORTABLE->f32_tile(&above, out);
}

/* Base codes taken as signed, as by a vpdpbusd with its operands exchanged. */
static size_t int_signed(const struct engram_int_strip *args, struct engram_candidate *out)
{
    size_t bytes = args->panel_count * args->groups * PORTABLE->int_rows * 4;
    struct engram_int_strip wrong = *args;
    uint8_t codes[4096];
    int32_t offset[ENGRAM_INT_QUERIES_MAX];
    assert_true(bytes <= sizeof codes);
    for (size_t i = 0; i < bytes; i++) {
        codes[i] = args->panels[i] & 0x7f; /* (code - 256) + 128 where bit 7 is set, */
    }
    for (size_t q = 0; q < PORTABLE->int_queries; q++) {
        offset[q] = args->offset[q]; /* less 128 a code at its upper end, all of them here */
        for (size_t g = 0; g < args->groups * 4; g++) {
            offset[q] -= 128 * args->strip[(g / 4 * PORTABLE->int_queries + q) * 4 + g % 4];
        }
    }
    wrong.panels = codes;
    wrong.offset = offset;
    return PORTABLE->int_tile(&wrong, out);
}

/* Two products of full-width codes added into 16 bits, saturated: plain vpmaddubsw. */
static int saturate(int sum)
{
    return sum > INT16_MAX ? INT16_MAX : sum < INT16_MIN ? INT16_MIN : sum;
}

static size_t int_saturates(const struct engram_int_strip *args, struct engram_candidate *out)
{
    struct engram_int_strip one = *args;
    size_t found = 0;
    size_t rows = PORTABLE->int_rows;
    size_t width = PORTABLE->int_queries;
    size_t panel = args->groups * rows * 4;
    uint8_t zeros[4096] = {0};
    assert_true(panel <= sizeof zeros);
    /* Every row is alike or not: what saturates differs, so each pair is run alone. */
    for (size_t p = 0; p < args->panel_count; p++) {
        for (size_t i = 0; i < width * rows; i++) {
            int32_t offset[ENGRAM_INT_QUERIES_MAX] = {0};
            uint8_t live[8] = {0};
            size_t q = i / rows;
            size_t r = i % rows;
            live[r / 8] = (uint8_t)(args->live[p * rows / 8 + r / 8] & 1U << r % 8);
            memcpy(offset, args->offset, width * sizeof offset[0]);
            for (size_t g = 0; g < args->groups; g++) {
                const int8_t *a = args->strip + (g * width + q) * 4;
                const uint8_t *b = args->panels + p * panel + (g * rows + r) * 4;
                offset[q] += saturate(a[0] * b[0] + a[1] * b[1]);
                offset[q] += saturate(a[2] * b[2] + a[3] * b[3]);
            }
            one.panels = zeros;
            one.heads = args->heads + p;
            one.bias = args->bias + p * rows;
            one.offset = offset;
            one.live = live;
            one.panel_count = 1;
            one.first_row = args->first_row + (uint32_t)(p * rows);
            struct engram_candidate kept[ENGRAM_INT_QUERIES_MAX * ENGRAM_INT_ROWS_MAX];
            size_t count = PORTABLE->int_tile(&one, kept);
            for (size_t j = 0; j < count; j++) {
                if (kept[j].query == args->first_query + q) {
                    out[found++] = kept[j];
                }
            }
        }
    }
    return found;
}

static size_t int_without_errors(const struct engram_int_strip *args, struct engram_candidate *out)
{
    const float zeros[ENGRAM_INT_QUERIES_MAX] = {0};
    struct engram_int_strip wrong = *args;
    wrong.row_error = zeros;
    return PORTABLE->int_tile(&wrong, out);
}

static void look_fused(const struct engram_base_rows *rows, size_t count, size_t dim,
                       uint32_t *tops, double *self_products)
{
    PORTABLE->f32_look(rows, count, dim, tops, self_products);
    self_products[count / 2] = nextafter(self_products[count / 2], 0);
}

static void look_signed(const struct engram_base_rows *rows, size_t count, size_t dim,
                        uint32_t *tops, double *self_products)
{
    PORTABLE->f32_look(rows, count, dim, tops, self_products);
    tops[count - 1] |= 0x80000000U;
}

/* The last element is forgotten. */
static void centre_no_tail(const struct engram_int_centre *args, float *out,
                           struct engram_int_row *row)
{
    struct engram_int_centre less = *args;
    less.dim--;
    PORTABLE->int_centre(&less, out, row);
}

static double project_narrow(const float *row, const double *mean, double factor, size_t dim,
                             float *out)
{
    double norm2 = PORTABLE->f32_project(row, mean, factor, dim, out);
    out[dim / 2] = row[dim / 2] * (float)factor - (mean == NULL ? 0 : (float)mean[dim / 2]);
    return norm2;
}

static double project_short(const float *row, const double *mean, double factor, size_t dim,
                            float *out)
{
    double norm2 = PORTABLE->f32_project(row, mean, factor, dim, out);
    return norm2 - (double)out[dim - 1] * (double)out[dim - 1];
}

/* One code is the wrong neighbour. */
static void encode_astray(const struct engram_int_encode *args, uint8_t *out, double *error2,
                          double *code2)
{
    PORTABLE->int_encode(args, out, error2, code2);
    out[0] = (uint8_t)(out[0] == 2 * args->limit ? 2 * args->limit - 1 : out[0] + 1);
}

/* The last value of every row is forgotten. */
static void products_no_tail(const struct engram_f32_products *args, float *sums)
{
    struct engram_f32_products wrong = *args;
    float rows[64 * 128];
    assert_true(args->row_count * args->stride <= sizeof rows / sizeof rows[0]);
    memcpy(rows, args->rows, args->row_count * args->stride * sizeof *rows);
    for (size_t r = 0; r < args->row_count; r++) {
        rows[r * args->stride + args->dim - 1] = 0;
    }
    wrong.rows = rows;
    PORTABLE->f32_products(&wrong, sums);
}

/* ---- the self-test */

static void test_sound_sets(void **state)
{
    (void)state;
    const struct engram_kernels *set;
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        assert_true(engram_kernels_selftest(set));
    }
}

static void test_broken_sets(void **state)
{
    (void)state;
    struct engram_kernels set = *PORTABLE;
    set.canonical_pairs[ENGRAM_OP_DOT][ENGRAM_WORK_F32] = pairs_last_bit;
    assert_false(engram_kernels_selftest(&set));
    set = *PORTABLE;
    set.canonical_tile[ENGRAM_OP_SQDIFF][ENGRAM_WORK_F64] = tile_no_tail;
    assert_false(engram_kernels_selftest(&set));
    set = *PORTABLE;
    const engram_f32_tile_fn f32[] = {f32_loses_last, f32_ignores_live, f32_other_rows,
                                      f32_above_only};
    for (size_t i = 0; i < sizeof f32 / sizeof f32[0]; i++) {
        set.f32_tile = f32[i];
        assert_false(engram_kernels_selftest(&set));
    }
    set = *PORTABLE;
    const engram_int_tile_fn integer[] = {int_signed, int_saturates, int_without_errors};
    for (size_t i = 0; i < sizeof integer / sizeof integer[0]; i++) {
        set.int_tile = integer[i];
        assert_false(engram_kernels_selftest(&set));
    }
    set = *PORTABLE;
    set.f32_look = look_fused;
    assert_false(engram_kernels_selftest(&set));
    set.f32_look = look_signed;
    assert_false(engram_kernels_selftest(&set));
    set = *PORTABLE;
    set.f32_project = project_narrow;
    assert_false(engram_kernels_selftest(&set));
    set.f32_project = project_short;
    assert_false(engram_kernels_selftest(&set));
    set = *PORTABLE;
    set.int_centre = centre_no_tail;
    assert_false(engram_kernels_selftest(&set));
    set = *PORTABLE;
    set.int_encode = encode_astray;
    assert_false(engram_kernels_selftest(&set));
    set = *PORTABLE;
    set.f32_products = products_no_tail;
    assert_false(engram_kernels_selftest(&set));
}

/* What saturates at full width is sound where the limits keep the sums small: the set above
 * fails for what it computes, not for how the test runs it. */
static void test_narrow_codes(void **state)
{
    (void)state;
    struct engram_kernels set = *PORTABLE;
    set.int_tile = int_saturates;
    set.int_base_limit = 63;
    assert_true(engram_kernels_selftest(&set));
}

/* ---- the dispatcher */

static int calls;
static int messages;
static enum engram_log_level last_level;
static char last_message[1024];

static size_t f32_counted(const struct engram_f32_strip *args, struct engram_candidate *out)
{
    calls++;
    return PORTABLE->f32_tile(args, out);
}

static size_t f32_counted_broken(const struct engram_f32_strip *args, struct engram_candidate *out)
{
    calls++;
    return f32_loses_last(args, out);
}

static void keep_message(void *context, enum engram_log_level level, const char *message)
{
    (void)context;
    messages++;
    last_level = level;
    (void)snprintf(last_message, sizeof last_message, "%s", message);
}

static const struct engram_log LOG = {keep_message, NULL};

static bool yes(void)
{
    return true;
}

static bool no(void)
{
    return false;
}

static int setup(void **state)
{
    (void)state;
    calls = 0;
    messages = 0;
    return unsetenv("ENGRAM_ISA");
}

static void test_fallback(void **state)
{
    (void)state;
    struct engram_kernels middle = *PORTABLE;
    struct engram_kernels broken = *PORTABLE;
    middle.name = "middle";
    middle.f32_tile = f32_counted;
    broken.name = "broken";
    broken.f32_tile = f32_counted_broken;
    struct engram_kernel_set sets[] = {{PORTABLE, yes, ENGRAM_VERDICT_GOOD},
                                       {&middle, yes, ENGRAM_VERDICT_NONE},
                                       {&broken, yes, ENGRAM_VERDICT_NONE}};
    const struct engram_kernels *found = NULL;

    assert_int_equal(engram_kernels_select_from(sets, 3, NULL, &LOG, &found), ENGRAM_OK);
    assert_ptr_equal(found, &middle);
    assert_int_equal(messages, 1);
    assert_int_equal(last_level, ENGRAM_LOG_WARNING);
    assert_non_null(strstr(last_message, "broken"));
    assert_int_equal(calls, 2);
    assert_int_equal(sets[1].verdict, ENGRAM_VERDICT_GOOD);
    assert_int_equal(sets[2].verdict, ENGRAM_VERDICT_BAD);

    /* Neither tested nor reported twice. */
    assert_int_equal(engram_kernels_select_from(sets, 3, "", &LOG, &found), ENGRAM_OK);
    assert_ptr_equal(found, &middle);
    assert_int_equal(calls, 2);
    assert_int_equal(messages, 1);

    /* Down to portable, which is not tested. */
    assert_int_equal(engram_kernels_select_from(sets, 1, NULL, &LOG, &found), ENGRAM_OK);
    assert_ptr_equal(found, PORTABLE);
    sets[1].can_run = no;
    assert_int_equal(engram_kernels_select_from(sets, 3, NULL, &LOG, &found), ENGRAM_OK);
    assert_ptr_equal(found, PORTABLE);
}

static void test_named(void **state)
{
    (void)state;
    struct engram_kernels broken = *PORTABLE;
    broken.name = "broken";
    broken.f32_tile = f32_counted_broken;
    struct engram_kernel_set sets[] = {{PORTABLE, yes, ENGRAM_VERDICT_GOOD},
                                       {&broken, yes, ENGRAM_VERDICT_NONE}};
    const struct engram_kernels *found = NULL;

    /* A set that was not asked for is not tested. */
    assert_int_equal(engram_kernels_select_from(sets, 2, "portable", &LOG, &found), ENGRAM_OK);
    assert_ptr_equal(found, PORTABLE);
    assert_int_equal(calls, 0);

    /* Asked for: an error, every time, from one run of the test. */
    found = NULL;
    for (int i = 1; i <= 2; i++) {
        assert_int_equal(engram_kernels_select_from(sets, 2, "broken", &LOG, &found),
                         ENGRAM_ERR_INTERNAL);
        assert_null(found);
        assert_int_equal(calls, 1);
        assert_int_equal(messages, i);
        assert_int_equal(last_level, ENGRAM_LOG_ERROR);
        assert_non_null(strstr(last_message, "--isa"));
        assert_non_null(strstr(last_message, "broken"));
    }
    assert_int_equal(setenv("ENGRAM_ISA", "broken", 1), 0);
    assert_int_equal(engram_kernels_select_from(sets, 2, NULL, &LOG, &found), ENGRAM_ERR_INTERNAL);
    assert_non_null(strstr(last_message, "ENGRAM_ISA"));

    /* Neither tested nor handed out where it cannot run. */
    sets[1] = (struct engram_kernel_set){&broken, no, ENGRAM_VERDICT_NONE};
    assert_int_equal(engram_kernels_select_from(sets, 2, "broken", &LOG, &found), ENGRAM_ERR_USAGE);
    assert_int_equal(calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound_sets),
        cmocka_unit_test(test_broken_sets),
        cmocka_unit_test(test_narrow_codes),
        cmocka_unit_test_setup(test_fallback, setup),
        cmocka_unit_test_setup_teardown(test_named, setup, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
