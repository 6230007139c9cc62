/* The kernel f32_products of every set: within its error, element by element, at odd sizes, with
 * its rows between guard pages; and an element does not depend on what is computed beside it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guarded.h"
#include "kernels/kernels.h"
#include "reference.h"

#define GROUP ENGRAM_PRODUCT_GROUP

struct shape {
    size_t rows;
    size_t stride;
    size_t groups;
    size_t dim;
};

struct operands {
    struct guarded rows_memory;
    struct guarded axes_memory;
    float *rows;
    float *axes;
    float *out;
};

/* Rows end at a guard page; axes, 64-byte aligned, too. */
static void operands_make(struct operands *o, const struct shape *s)
{
    size_t row_bytes = ((s->rows - 1) * s->stride + s->dim) * sizeof(float);
    size_t axes_bytes = s->groups * s->dim * GROUP * sizeof(float);
    o->rows_memory = guarded_make(row_bytes);
    o->axes_memory = guarded_make(axes_bytes);
    o->rows = (float *)(void *)(o->rows_memory.end - row_bytes);
    o->axes = (float *)(void *)(o->axes_memory.end - axes_bytes);
    o->out = calloc(s->rows * s->groups * GROUP, sizeof *o->out);
    assert_non_null(o->out);
    for (size_t i = 0; i < row_bytes / sizeof(float); i++) {
        o->rows[i] = i % s->stride < s->dim ? (float)random_bell() : NAN;
    }
    for (size_t i = 0; i < axes_bytes / sizeof(float); i++) {
        o->axes[i] = (float)random_bell();
    }
}

static void operands_free(struct operands *o)
{
    guarded_free(&o->rows_memory);
    guarded_free(&o->axes_memory);
    free(o->out);
}

static void check_sums(const struct operands *o, const struct shape *s)
{
    double terms = 65 + ceil((double)s->dim / (double)ENGRAM_PRODUCT_BLOCK);
    double error = terms * 0x1p-24 / (1 - terms * 0x1p-24);
    for (size_t r = 0; r < s->rows; r++) {
        for (size_t a = 0; a < s->groups * GROUP; a++) {
            double sum = 0;
            double magnitude = 0;
            for (size_t i = 0; i < s->dim; i++) {
                double term = (double)o->rows[r * s->stride + i] *
                              (double)o->axes[(a / GROUP * s->dim + i) * GROUP + a % GROUP];
                sum += term;
                magnitude += fabs(term);
            }
            double off = fabs((double)o->out[r * s->groups * GROUP + a] - sum);
            if (!(off <= error * magnitude)) {
                fail_msg("row %zu, axis %zu of %zu x %zu x %zu: off by %g, allowed %g", r, a,
                         s->rows, s->groups * GROUP, s->dim, off, error * magnitude);
            }
        }
    }
}

static void test_shapes(void **state)
{
    static const size_t dims[] = {1, 2, 15, 16, 17, 63, 64, 65, 100, 128, 129, 300};
    const struct engram_kernels *kernels;
    (void)state;
    for (size_t k = 0; (kernels = engram_kernels_at(k)) != NULL; k++) {
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
            for (size_t rows = 1; rows <= 30; rows += 1 + random_below(3)) {
                struct shape shape = {rows, dims[d] + random_below(3), 1 + random_below(5),
                                      dims[d]};
                struct operands o;
                operands_make(&o, &shape);
                const struct engram_f32_products args = {o.rows, rows,         shape.stride,
                                                         o.axes, shape.groups, shape.dim};
                kernels->f32_products(&args, o.out);
                check_sums(&o, &shape);
                /* A single row among them, by itself. */
                size_t row = random_below(rows);
                float *alone = calloc(shape.groups * GROUP, sizeof *alone);
                struct engram_f32_products one = args;
                assert_non_null(alone);
                one.rows = o.rows + row * shape.stride;
                one.row_count = 1;
                kernels->f32_products(&one, alone);
                assert_memory_equal(alone, o.out + row * shape.groups * GROUP,
                                    shape.groups * GROUP * sizeof *alone);
                free(alone);
                operands_free(&o);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes)};
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
