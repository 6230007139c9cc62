/* The loops over single rows of every kernel set this machine can run: f32_look, f32_project,
 * int_centre, int_encode. Against plain code, and never a byte outside their operands. */
#define _GNU_SOURCE
#include "kernels/kernels.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "guarded.h"
#include "reference.h"

#define DIM_MAX 1100
#define ROWS 9

/* Every short dimension, and some around the blocks in which sums go to float64. */
static const size_t LONG[] = {100, 255, 256, 257, 300, 511, 512, 513, 530, 768, 1025, DIM_MAX};
#define DIMS (70 + sizeof LONG / sizeof LONG[0])

static size_t dim_at(size_t i)
{
    return i < 70 ? i : LONG[i - 70];
}

/* `count` floats that end at the guard page, or begin behind one. */
static float *place(const struct guarded *memory, bool at_end, size_t count)
{
    return (float *)(void *)(at_end ? memory->end - count * sizeof(float) : memory->first);
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float look_value(void)
{
    static const double special[] = {(double)INFINITY, -(double)INFINITY, (double)NAN, 0, -0.0};
    size_t kind = random_below(200);
    return (float)(kind < 5 ? special[kind] : ldexp(random_signed(), (int)random_in(-140, 120)));
}

static void check_look(const struct engram_kernels *set, const float *rows, size_t stride,
                       size_t count, size_t dim)
{
    const struct engram_base_rows base = {(const unsigned char *)rows, stride * sizeof(float)};
    uint32_t tops[2][ROWS + 1];
    double products[ROWS + 1];
    double wide[DIM_MAX];
    products[count] = -77;
    set->f32_look(&base, count, dim, tops[0], products);
    set->f32_look(&base, count, dim, tops[1], NULL);
    assert_true(products[count] == -77);
    for (size_t r = 0; r < count; r++) {
        uint32_t top = 0;
        for (size_t i = 0; i < dim; i++) {
            uint32_t magnitude = bits_of(fabsf(rows[r * stride + i]));
            top = magnitude > top ? magnitude : top;
            wide[i] = (double)rows[r * stride + i];
        }
        assert_int_equal(tops[0][r], top);
        assert_int_equal(tops[1][r], top);
        if (top < 0x7f800000U) {
            assert_true(same_bits(products[r], reference_sum(true, wide, wide, dim)));
        }
    }
}

static void test_look(void **state)
{
    (void)state;
    const struct engram_kernels *set;
    struct guarded memory = guarded_make(ROWS * (DIM_MAX + 3) * sizeof(float));
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        for (size_t d = 0; d < 2 * DIMS; d++) {
            size_t dim = dim_at(d / 2);
            size_t count = random_below(ROWS + 1);
            size_t stride = dim + random_below(4);
            size_t used = count == 0 ? 0 : (count - 1) * stride + dim;
            float *rows = place(&memory, d % 2 == 0, used);
            for (size_t j = 0; j < used; j++) {
                rows[j] = j % stride < dim ? look_value() : NAN;
            }
            check_look(set, rows, stride, count, dim);
        }
    }
    guarded_free(&memory);
}

/* Memory of centre and encode, all up against guard pages. */
struct operands {
    struct guarded row;
    struct guarded mean;
    struct guarded centre;
    struct guarded out;
    struct guarded codes;
};

static void check_centre(const struct engram_kernels *set, const struct operands *o, size_t dim,
                         bool at_end)
{
    float *row = place(&o->row, at_end, dim);
    float *mean = place(&o->mean, at_end, dim);
    float *centre = place(&o->centre, at_end, dim);
    float *out = place(&o->out, at_end, dim);
    const struct engram_int_centre args = {
        row, mean, centre, (float)ldexp(1 + random_signed() / 2, (int)random_in(-9, 9)), dim};
    struct engram_int_row sums;
    double norm2 = 0;
    double weight = 0;
    double weights = 0;
    float largest = 0;
    for (size_t i = 0; i < dim; i++) {
        row[i] = (float)random_bell();
        mean[i] = random_below(3) == 0 ? 0 : (float)random_bell();
        centre[i] = random_below(3) == 0 ? 0 : (float)random_bell();
    }
    set->int_centre(&args, out, &sums);
    for (size_t i = 0; i < dim; i++) {
        float difference = row[i] - mean[i];
        float scaled = difference * args.factor;
        float value = scaled - centre[i];
        double product = (double)value * (double)centre[i];
        assert_int_equal(bits_of(out[i]), bits_of(value));
        norm2 += (double)value * (double)value;
        weight += product;
        weights += fabs(product);
        largest = fabsf(value) > largest ? fabsf(value) : largest;
    }
    assert_true(fabs(sums.norm2 - norm2) <= 0x1p-18 * norm2);
    assert_true(fabs(sums.weight - weight) <= 0x1p-18 * weights);
    assert_true(sums.largest == largest);
}

/* Codes of what check_centre left in `out`, some of them beyond the limit. */
static void check_encode(const struct engram_kernels *set, const struct operands *o, size_t dim,
                         bool at_end)
{
    const float *values = place(&o->out, at_end, dim);
    const size_t stride = 4 + random_below(3) * 60;
    size_t used = dim == 0 ? 0 : (dim - 1) / 4 * stride + (dim - 1) % 4 + 1;
    uint8_t *codes = at_end ? o->codes.end - used : o->codes.first;
    const int limit = (int)random_in(1, 127);
    double largest = 0x1p-60;
    double error2 = 0;
    double code2 = 0;
    double own2 = 0;
    double sums[2];
    for (size_t i = 0; i < dim; i++) {
        largest = fmax(largest, fabs((double)values[i]));
    }
    const float scale = (float)(largest / limit * (random_below(2) == 0 ? 1 : 0.7));
    const struct engram_int_encode args = {values, dim, 1 / scale, scale, limit, stride};
    memset(codes, 0xee, used);
    set->int_encode(&args, codes, &sums[0], &sums[1]);
    for (size_t i = 0; i < dim; i++) {
        float wanted = values[i] * args.inverse;
        float code = rintf(fmaxf((float)-limit, fminf((float)limit, wanted)));
        double error = (double)values[i] - (double)scale * (double)code;
        assert_int_equal(codes[i / 4 * stride + i % 4], (int)code + limit);
        error2 += error * error;
        code2 += (double)code * (double)code;
        own2 += (double)values[i] * (double)values[i];
    }
    for (size_t j = 0; j < used; j++) {
        assert_true(j % stride < 4 || codes[j] == 0xee);
    }
    assert_true(fabs(sums[1] - code2) <= 0x1p-18 * code2);
    /* Sections 3 and 4 of bound_int.h allow for this much. */
    assert_true(fabs(sqrt(sums[0]) - sqrt(error2)) <=
                0x1p-18 * sqrt(error2) + 0x1p-22 * sqrt(own2));
}

static void test_packing(void **state)
{
    (void)state;
    const struct engram_kernels *set;
    struct operands o = {guarded_make(DIM_MAX * sizeof(float)),
                         guarded_make(DIM_MAX * sizeof(float)),
                         guarded_make(DIM_MAX * sizeof(float)),
                         guarded_make(DIM_MAX * sizeof(float)), guarded_make(DIM_MAX * 124)};
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        for (size_t d = 0; d < 4 * DIMS; d++) {
            check_centre(set, &o, dim_at(d / 4), d % 2 == 0);
            check_encode(set, &o, dim_at(d / 4), d % 2 == 0);
        }
    }
    guarded_free(&o.row);
    guarded_free(&o.mean);
    guarded_free(&o.centre);
    guarded_free(&o.out);
    guarded_free(&o.codes);
}

static void check_project(const struct engram_kernels *set, const struct guarded memory[3],
                          size_t dim, bool at_end)
{
    float *row = place(&memory[0], at_end, dim);
    double *mean =
        (double *)(void *)(at_end ? memory[1].end - dim * sizeof(double) : memory[1].first);
    float *out = place(&memory[2], at_end, dim);
    double factor = ldexp(1 + random_signed() / 2, (int)random_in(-9, 9));
    for (size_t i = 0; i < dim; i++) {
        row[i] = (float)ldexp(random_signed(), (int)random_in(-30, 30));
        mean[i] = random_below(3) == 0 ? 0 : random_bell();
    }
    for (int centred = 0; centred < 2; centred++) {
        double own = set->f32_project(row, centred != 0 ? mean : NULL, factor, dim, out);
        double norm2 = 0;
        for (size_t i = 0; i < dim; i++) {
            double value = ((double)row[i] - (centred != 0 ? mean[i] : 0)) * factor;
            assert_true(bits_of(out[i]) == bits_of((float)value));
            norm2 += value * value;
        }
        assert_true(fabs(own - norm2) <= 0x1p-40 * norm2);
    }
}

static void test_project(void **state)
{
    (void)state;
    const struct engram_kernels *set;
    struct guarded memory[3] = {guarded_make(DIM_MAX * sizeof(float)),
                                guarded_make(DIM_MAX * sizeof(double)),
                                guarded_make(DIM_MAX * sizeof(float))};
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        for (size_t d = 0; d < 2 * DIMS; d++) {
            check_project(set, memory, dim_at(d / 2), d % 2 == 0);
        }
    }
    for (size_t m = 0; m < 3; m++) {
        guarded_free(&memory[m]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look),
        cmocka_unit_test(test_project),
        cmocka_unit_test(test_packing),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
