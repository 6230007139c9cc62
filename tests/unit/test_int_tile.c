/* The integer tile of every kernel set, against plain 64-bit arithmetic and between guard pages:
 * all codes up to their limits, where intermediate sums are most in danger. */
#define _GNU_SOURCE
#include "kernels/kernels.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "guarded.h"
#include "reference.h"

#define PANELS 4
#define GROUPS_MAX 1024
#define QUERIES_MAX 16
#define ROWS_MAX (PANELS * 64)

enum codes { CODES_SMALL, CODES_ANY, CODES_HIGH, CODES_LOW, CODES_KINDS };

struct tile {
    const struct engram_kernels *set;
    struct guarded memory[11];
    struct engram_int_strip args;
    float *bias;
    float *per_query[4]; /* level, row_error, query_error, slope */
    int64_t sums[QUERIES_MAX][ROWS_MAX];
    bool kept[QUERIES_MAX][ROWS_MAX];
};

/* `bytes` that end at a guard page; `align` as the contract has it. */
static void *take(struct tile *t, size_t which, size_t bytes, size_t align)
{
    t->memory[which] = guarded_make(bytes + 64);
    return t->memory[which].end - (bytes + align - 1) / align * align;
}

static int query_code(const struct engram_kernels *set, enum codes kind)
{
    int limit = set->int_query_limit;
    return kind == CODES_SMALL  ? (int)random_in(-2, 2)
           : kind == CODES_ANY  ? (int)random_in(-limit, limit)
           : kind == CODES_HIGH ? limit
                                : -limit;
}

static int base_code(const struct engram_kernels *set, enum codes kind)
{
    int limit = 2 * set->int_base_limit;
    return kind == CODES_SMALL ? (int)random_in(0, 4)
           : kind == CODES_ANY ? (int)random_in(0, limit)
                               : limit;
}

static void make(struct tile *t, size_t groups, size_t panels, enum codes kind)
{
    const struct engram_kernels *set = t->set;
    size_t width = set->int_queries;
    size_t rows = panels * set->int_rows;
    int8_t *strip = take(t, 0, groups * width * 4, 64);
    uint8_t *packed = take(t, 1, rows * groups * 4, 64);
    struct engram_int_head *heads = take(t, 2, panels * sizeof *heads, sizeof *heads);
    int32_t *offset = take(t, 3, width * sizeof *offset, sizeof *offset);
    uint8_t *live = take(t, 4, rows / 8, 1);
    t->bias = take(t, 5, rows * sizeof(float), sizeof(float));
    for (size_t i = 0; i < 4; i++) {
        t->per_query[i] = take(t, 6 + i, width * sizeof(float), sizeof(float));
    }
    memset(t->sums, 0, sizeof t->sums);
    for (size_t i = 0; i < groups * width * 4; i++) {
        strip[i] = (int8_t)query_code(set, kind);
    }
    for (size_t i = 0; i < rows * groups * 4; i++) {
        packed[i] = (uint8_t)base_code(set, kind);
    }
    for (size_t i = 0; i < rows / 8; i++) {
        live[i] = (uint8_t)(random_below(3) == 0 ? random_u64() : 0xff);
    }
    for (size_t q = 0; q < width; q++) {
        offset[q] = (int32_t)random_in(-1000, 1000);
        for (size_t r = 0; r < rows; r++) {
            const uint8_t *panel = packed + r / set->int_rows * set->int_rows * groups * 4;
            t->sums[q][r] = offset[q];
            for (size_t i = 0; i < groups * 4; i++) {
                t->sums[q][r] += (int64_t)strip[(i / 4 * width + q) * 4 + i % 4] *
                                 panel[(i / 4 * set->int_rows + r % set->int_rows) * 4 + i % 4];
            }
        }
    }
    t->args = (struct engram_int_strip){
        .strip = strip,
        .panels = packed,
        .heads = heads,
        .bias = t->bias,
        .offset = offset,
        .level = t->per_query[0],
        .row_error = t->per_query[1],
        .query_error = t->per_query[2],
        .slope = t->per_query[3],
        .live = live,
        .groups = groups,
        .panel_count = panels,
        .first_query = (uint32_t)random_below(1000),
        .first_row = (uint32_t)random_below(100000) * 8,
    };
    /* Small integers and halves: every float32 operation is exact. Large sums go without bias. */
    bool small = kind == CODES_SMALL;
    for (size_t p = 0; p < panels; p++) {
        heads[p] = (struct engram_int_head){small ? 0.5F : 1, small ? (float)random_in(0, 3) : 0,
                                            small ? (float)random_in(0, 3) : 0, NAN};
    }
    for (size_t r = 0; r < rows; r++) {
        t->bias[r] = small ? (float)random_in(-20, 20) : 0;
    }
    for (size_t q = 0; q < width; q++) {
        float at = rows == 0 ? 0 : (float)t->sums[q][random_below(rows)];
        size_t dice = random_below(8);
        t->per_query[0][q] = dice == 0 ? INFINITY : dice == 1 ? -INFINITY : small ? 2 * at : at;
        t->per_query[1][q] = small ? (float)random_in(0, 5) : 0;
        t->per_query[2][q] = small ? (float)random_in(0, 5) : 0;
        t->per_query[3][q] = small ? (float)random_in(0, 4) : 0;
    }
}

static bool should_keep(const struct tile *t, size_t q, size_t r)
{
    const struct engram_int_head *head = &t->args.heads[r / t->set->int_rows];
    float sum = (float)t->sums[q][r];
    double left = (double)sum + (double)t->args.slope[q] * (double)t->args.bias[r];
    double right = (double)t->args.level[q] * (double)head->scale -
                   (double)t->args.row_error[q] * (double)head->error -
                   (double)t->args.query_error[q] * (double)head->norm;
    return !(left < right) && (t->args.live[r >> 3] >> (r & 7) & 1) != 0;
}

static void check(struct tile *t)
{
    size_t width = t->set->int_queries;
    size_t rows = t->args.panel_count * t->set->int_rows;
    struct engram_candidate *out = take(t, 10, width * rows * sizeof *out, sizeof *out);
    memset(t->kept, 0, sizeof t->kept);
    size_t count = t->set->int_tile(&t->args, out);
    assert_true(count <= width * rows);
    for (size_t i = 0; i < count; i++) {
        size_t q = out[i].query - t->args.first_query;
        size_t r = out[i].row - t->args.first_row;
        assert_true(q < width && r < rows);
        assert_false(t->kept[q][r]);
        t->kept[q][r] = true;
    }
    for (size_t q = 0; q < width; q++) {
        for (size_t r = 0; r < rows; r++) {
            assert_int_equal(t->kept[q][r], should_keep(t, q, r));
        }
    }
}

static void test_int_tile(void **state)
{
    (void)state;
    static struct tile t;
    static const size_t more[] = {63, 64, 65, 100, 192, GROUPS_MAX};
    for (size_t i = 0; (t.set = engram_kernels_at(i)) != NULL; i++) {
        assert_true(t.set->int_queries <= QUERIES_MAX && t.set->int_rows <= 64);
        assert_true(t.set->int_base_limit <= 127 && t.set->int_query_limit <= 127);
        for (size_t g = 0; g < 40 + sizeof more / sizeof more[0]; g++) {
            for (int kind = 0; kind < CODES_KINDS; kind++) {
                for (size_t panels = 0; panels <= (g < 40 ? PANELS : 1); panels++) {
                    make(&t, g < 40 ? g : more[g - 40], panels, (enum codes)kind);
                    check(&t);
                    for (size_t m = 0; m < sizeof t.memory / sizeof t.memory[0]; m++) {
                        guarded_free(&t.memory[m]);
                    }
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int_tile),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
