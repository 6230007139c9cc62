/* Every kernel set this machine can run, against plain float64 code: bit for bit where that is
 * promised, within the bound where not, and never a byte outside its operands. */
#define _GNU_SOURCE
#include "kernels/kernels.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "guarded.h"
#include "reference.h"

#define QUERIES 5
#define ROWS 9
#define DIM_MAX 1000
#define PAIRS_MAX 9

/* ---- which sets there are */

/* A set runs here if and only if the CPU has what it needs; asked of the compiler's own detection.
 */
static bool should_run(const char *name)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(name, "avx2") == 0) {
        return avx2;
    }
    if (strcmp(name, "avx512") == 0) {
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512vnni");
    }
#elif defined(__aarch64__)
    if (strcmp(name, "neon") == 0) {
        return true; /* part of the architecture */
    }
#endif
    return strcmp(name, "portable") == 0;
}

static void test_sets(void **state)
{
    (void)state;
    const struct engram_kernels *set;
    bool have_avx2 = false;
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        print_message("kernel set: %s\n", set->name);
        assert_true(should_run(set->name));
        assert_int_equal(i == 0, strcmp(set->name, "portable") == 0);
        have_avx2 = have_avx2 || strcmp(set->name, "avx2") == 0;
        assert_true(set->f32_queries >= 1 && set->f32_queries <= ENGRAM_F32_QUERIES_MAX);
        assert_true(set->f32_rows % 8 == 0 && set->f32_rows <= ENGRAM_F32_ROWS_MAX);
        assert_int_equal(64 % set->f32_rows, 0); /* the tiling's segments hold whole panels */
    }
    assert_int_equal(have_avx2, should_run("avx2"));
}

static char logged[1024];

static void keep_message(void *context, enum engram_log_level level, const char *message)
{
    assert_int_equal(level, ENGRAM_LOG_ERROR);
    (void)context;
    (void)snprintf(logged, sizeof logged, "%s", message);
}

static const struct engram_log LOG = {keep_message, NULL};

static void expect_refused(const char *name, const char *origin, const char *given)
{
    const struct engram_kernels *set = NULL;
    logged[0] = '\0';
    assert_int_equal(engram_kernels_select(name, &LOG, &set), ENGRAM_ERR_USAGE);
    assert_null(set);
    assert_non_null(strstr(logged, origin));
    assert_non_null(strstr(logged, given));
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        assert_non_null(strstr(logged, set->name));
    }
}

static void test_select(void **state)
{
    (void)state;
    const struct engram_kernels *best = NULL;
    const struct engram_kernels *set;
    assert_int_equal(unsetenv("ENGRAM_ISA"), 0);
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        const struct engram_kernels *found = NULL;
        best = set;
        assert_int_equal(engram_kernels_select(set->name, &LOG, &found), ENGRAM_OK);
        assert_ptr_equal(found, set);
        assert_int_equal(setenv("ENGRAM_ISA", set->name, 1), 0);
        found = NULL;
        assert_int_equal(engram_kernels_select(NULL, &LOG, &found), ENGRAM_OK);
        assert_ptr_equal(found, set);
        /* The argument counts more than the environment. */
        assert_int_equal(setenv("ENGRAM_ISA", "nonsense", 1), 0);
        assert_int_equal(engram_kernels_select(set->name, &LOG, &found), ENGRAM_OK);
        assert_ptr_equal(found, set);
    }
    expect_refused(NULL, "ENGRAM_ISA", "nonsense");
    assert_int_equal(setenv("ENGRAM_ISA", "", 1), 0);
    assert_int_equal(engram_kernels_select(NULL, &LOG, &set), ENGRAM_OK);
    assert_ptr_equal(set, best);
    assert_int_equal(unsetenv("ENGRAM_ISA"), 0);
    assert_int_equal(engram_kernels_select(NULL, &LOG, &set), ENGRAM_OK);
    assert_ptr_equal(set, best);
    assert_int_equal(engram_kernels_select("", &LOG, &set), ENGRAM_OK);
    assert_ptr_equal(set, best);
    expect_refused("Portable", "--isa", "Portable");
    expect_refused("avx", "--isa", "avx");
    expect_refused("avx2 ", "--isa", "avx2 ");
}

/* ---- canonical sums */

/* Magnitudes from tiny to large, so that every addition rounds; zeros of both signs. */
static double any_value(void)
{
    switch (random_below(16)) {
    case 0:
        return 0;
    case 1:
        return -0.0;
    case 2:
        return ldexp(random_signed(), -130); /* denormal in float32 */
    default:
        return ldexp(random_signed(), (int)random_in(-20, 20));
    }
}

/* Operands in guarded memory and what the kernels must say of them. */
struct operands {
    struct guarded query_memory;
    struct guarded base_memory;
    struct guarded out_memory;
    struct engram_wide_rows queries;
    struct engram_base_rows base;
    size_t dim;
    double expected[ENGRAM_OPS][QUERIES][ROWS];
};

enum placement { AT_START, AT_END, ANYWHERE, PLACEMENTS };

static unsigned char *place(const struct guarded *memory, enum placement where, size_t bytes,
                            size_t element)
{
    switch (where) {
    case AT_START:
        return memory->first;
    case AT_END:
        return memory->end - bytes;
    default:
        return memory->first +
               random_below(((size_t)(memory->end - memory->first) - bytes) / element + 1) *
                   element;
    }
}

static void fill(struct operands *o, enum engram_work_type type, size_t dim, enum placement where)
{
    static double wide[ROWS][DIM_MAX];
    size_t element = type == ENGRAM_WORK_F32 ? sizeof(float) : sizeof(double);
    size_t query_stride = dim + random_below(4);
    size_t base_stride = (dim + random_below(6)) * element;
    size_t query_bytes = ((QUERIES - 1) * query_stride + dim) * sizeof(double);
    size_t base_bytes = (ROWS - 1) * base_stride + dim * element;
    double *q = (double *)(void *)place(&o->query_memory, where, query_bytes, sizeof(double));
    unsigned char *x = place(&o->base_memory, where, base_bytes, element);

    /* What lies between the rows would spoil every sum. */
    memset(o->query_memory.first, 0xff, (size_t)(o->query_memory.end - o->query_memory.first));
    memset(o->base_memory.first, 0xff, (size_t)(o->base_memory.end - o->base_memory.first));
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < dim; i++) {
            unsigned char *to = x + r * base_stride + i * element;
            double value = any_value();
            float narrow = (float)value;
            wide[r][i] = type == ENGRAM_WORK_F32 ? (double)narrow : value;
            memcpy(to, type == ENGRAM_WORK_F32 ? (void *)&narrow : (void *)&value, element);
        }
    }
    for (size_t a = 0; a < QUERIES; a++) {
        for (size_t i = 0; i < dim; i++) {
            q[a * query_stride + i] = any_value();
        }
        for (size_t r = 0; r < ROWS; r++) {
            const double *row = q + a * query_stride;
            o->expected[ENGRAM_OP_DOT][a][r] = reference_sum(true, row, wide[r], dim);
            o->expected[ENGRAM_OP_SQDIFF][a][r] = reference_sum(false, row, wide[r], dim);
            o->expected[ENGRAM_OP_ABSDIFF][a][r] = reference_l1(row, wide[r], dim);
        }
    }
    o->queries = (struct engram_wide_rows){q, query_stride};
    o->base = (struct engram_base_rows){x, base_stride};
    o->dim = dim;
}

static void check_tile(const struct operands *o, engram_canonical_tile_fn tile, enum engram_op op,
                       size_t query_count, size_t row_count)
{
    size_t count = query_count * row_count;
    double *raw = (double *)(void *)o->out_memory.end - count;
    memset(o->out_memory.first, 0xff, (size_t)(o->out_memory.end - o->out_memory.first));
    tile(&o->queries, query_count, &o->base, row_count, o->dim, raw);
    for (size_t a = 0; a < query_count; a++) {
        assert_memory_equal(raw + a * row_count, o->expected[op][a], row_count * sizeof(double));
    }
    if (count < 4) {
        assert_true(isnan(raw[-1])); /* nothing is written before the first */
    }
}

static void check_pairs(const struct operands *o, engram_canonical_pairs_fn score,
                        enum engram_op op, size_t count)
{
    struct engram_candidate pairs[PAIRS_MAX + 1];
    double *raw = (double *)(void *)o->out_memory.end - count;
    memset(o->out_memory.first, 0xff, (size_t)(o->out_memory.end - o->out_memory.first));
    for (size_t i = 0; i < count; i++) {
        pairs[i] = (struct engram_candidate){(uint32_t)random_below(QUERIES),
                                             (uint32_t)random_below(ROWS)};
    }
    score(&o->queries, &o->base, o->dim, pairs, count, raw);
    for (size_t i = 0; i < count; i++) {
        assert_true(same_bits(raw[i], o->expected[op][pairs[i].query][pairs[i].row]));
    }
    assert_true(isnan(raw[-1]));
}

static void check_canonical(const struct engram_kernels *set, struct operands *o, size_t dim)
{
    for (int type = 0; type < ENGRAM_WORK_TYPES; type++) {
        for (int where = 0; where < PLACEMENTS; where++) {
            fill(o, (enum engram_work_type)type, dim, (enum placement)where);
            for (int op = 0; op < ENGRAM_OPS; op++) {
                for (size_t shape = 0; shape < (size_t)(QUERIES + 1) * (ROWS + 1); shape++) {
                    check_tile(o, set->canonical_tile[op][type], (enum engram_op)op,
                               shape / (ROWS + 1), shape % (ROWS + 1));
                }
                for (size_t count = 0; count <= PAIRS_MAX; count++) {
                    check_pairs(o, set->canonical_pairs[op][type], (enum engram_op)op, count);
                }
            }
        }
    }
}

static void test_canonical(void **state)
{
    (void)state;
    static const size_t more[] = {63, 64, 65, 100, 127, 768, DIM_MAX};
    static struct operands o;
    const struct engram_kernels *set;

    o.query_memory = guarded_make(QUERIES * (DIM_MAX + 4) * sizeof(double));
    o.base_memory = guarded_make(ROWS * (DIM_MAX + 6) * sizeof(double));
    o.out_memory = guarded_make((QUERIES * ROWS + 8) * sizeof(double));
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        for (size_t dim = 0; dim <= 40; dim++) {
            check_canonical(set, &o, dim);
        }
        for (size_t d = 0; d < sizeof more / sizeof more[0]; d++) {
            check_canonical(set, &o, more[d]);
        }
    }
    guarded_free(&o.query_memory);
    guarded_free(&o.base_memory);
    guarded_free(&o.out_memory);
}

/* One row at a time, with a guard behind its last element and before its first. */
static void test_canonical_single_rows(void **state)
{
    (void)state;
    struct guarded q_memory = guarded_make(DIM_MAX * sizeof(double));
    struct guarded x_memory = guarded_make(DIM_MAX * sizeof(double));
    const struct engram_kernels *set;
    const struct engram_candidate pair = {0, 0};

    for (size_t dim = 0; dim <= 130; dim++) {
        for (int at_end = 0; at_end < 2; at_end++) {
            for (int type = 0; type < ENGRAM_WORK_TYPES; type++) {
                size_t element = type == ENGRAM_WORK_F32 ? sizeof(float) : sizeof(double);
                unsigned char *x = at_end ? x_memory.end - dim * element : x_memory.first;
                unsigned char *q = at_end ? q_memory.end - dim * sizeof(double) : q_memory.first;
                memset(x, 0, dim * element);
                memset(q, 0, dim * sizeof(double));
                struct engram_wide_rows queries = {(const double *)(const void *)q, dim};
                struct engram_base_rows base = {x, dim * element};
                for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
                    double raw[2] = {-1, -1};
                    set->canonical_pairs[dim % ENGRAM_OPS][type](&queries, &base, dim, &pair, 1,
                                                                 raw);
                    set->canonical_tile[dim % ENGRAM_OPS][type](&queries, 1, &base, 1, dim,
                                                                raw + 1);
                    assert_true(same_bits(raw[0], 0) && same_bits(raw[1], 0));
                }
            }
        }
    }
    guarded_free(&q_memory);
    guarded_free(&x_memory);
}

/* ---- the float32 tile */

#define PANELS 5
#define DEPTH_MAX 768
#define TILE_ROWS (PANELS * ENGRAM_F32_ROWS_MAX)

/* One strip, its panels and everything else the tile touches, each up against a guard page. */
struct tile {
    const struct engram_kernels *set;
    struct guarded strip;
    struct guarded panels;
    struct guarded threshold;
    struct guarded live;
    struct guarded out;
    struct engram_f32_strip args;
    bool l1;                                         /* l1_tile, else f32_tile */
    double sums[ENGRAM_F32_QUERIES_MAX][TILE_ROWS];  /* exact, or nearly */
    double sizes[ENGRAM_F32_QUERIES_MAX][TILE_ROWS]; /* sums of magnitudes */
    bool kept[ENGRAM_F32_QUERIES_MAX][TILE_ROWS];
    size_t kept_count;
};

static unsigned char *end_aligned(const struct guarded *memory, size_t bytes)
{
    return memory->first + ((size_t)(memory->end - memory->first - (ptrdiff_t)bytes) & ~(size_t)63);
}

static void tile_fill(struct tile *t, size_t depth, size_t panels, bool integers)
{
    size_t width = t->set->f32_queries;
    size_t rows = t->set->f32_rows;
    float *strip = (float *)(void *)end_aligned(&t->strip, depth * width * sizeof(float));
    float *packed = (float *)(void *)end_aligned(&t->panels, panels * depth * rows * sizeof(float));
    uint8_t *live = t->live.end - panels * rows / 8;
    float *threshold = (float *)(void *)t->threshold.end - width;

    for (size_t i = 0; i < depth * width; i++) {
        strip[i] = (float)(integers ? (double)random_in(-8, 8) : random_bell());
    }
    for (size_t i = 0; i < panels * depth * rows; i++) {
        packed[i] = (float)(integers ? (double)random_in(-8, 8) : random_bell());
    }
    for (size_t i = 0; i < panels * rows / 8; i++) {
        live[i] = (uint8_t)(random_below(4) == 0 ? random_u64() : 0xff);
    }
    for (size_t q = 0; q < width; q++) {
        for (size_t r = 0; r < panels * rows; r++) {
            const float *panel = packed + r / rows * rows * depth + r % rows;
            t->sums[q][r] = t->sizes[q][r] = 0;
            for (size_t k = 0; k < depth; k++) {
                double a = (double)strip[k * width + q];
                double b = (double)panel[k * rows];
                double term = t->l1 ? -fabs(a - b) : a * b;
                t->sums[q][r] += term;
                t->sizes[q][r] += fabs(term);
            }
        }
    }
    t->args = (struct engram_f32_strip){.strip = strip,
                                        .panels = packed,
                                        .threshold = threshold,
                                        .live = live,
                                        .depth = depth,
                                        .panel_count = panels,
                                        .first_query = (uint32_t)random_below(1000),
                                        .first_row = (uint32_t)random_below(1000000) * 8};
    if (random_below(2) == 0) { /* memory that may be fetched, but not read: past the end */
        t->args.ahead = (const float *)(const void *)t->out.end;
        t->args.ahead_bytes = random_below(100000);
    }
}

static float *tile_threshold(struct tile *t)
{
    return (float *)(void *)t->threshold.end - t->set->f32_queries;
}

static bool is_live(const struct tile *t, size_t r)
{
    return (t->args.live[r >> 3] >> (r & 7) & 1) != 0;
}

/* Runs the tile with room for exactly what it may write. */
static void tile_run(struct tile *t)
{
    size_t width = t->set->f32_queries;
    size_t rows = t->args.panel_count * t->set->f32_rows;
    struct engram_candidate *out = (struct engram_candidate *)(void *)t->out.end - width * rows;
    memset(t->kept, 0, sizeof t->kept);
    t->kept_count = t->l1 ? t->set->l1_tile(&t->args, out) : t->set->f32_tile(&t->args, out);
    assert_true(t->kept_count <= width * rows);
    for (size_t i = 0; i < t->kept_count; i++) {
        size_t q = out[i].query - t->args.first_query;
        size_t r = out[i].row - t->args.first_row;
        assert_true(q < width && r < rows);
        assert_false(t->kept[q][r]);
        t->kept[q][r] = true;
    }
}

/* Sums of small integers are exact in any order. */
static void tile_check_exact(struct tile *t)
{
    float *threshold = tile_threshold(t);
    size_t width = t->set->f32_queries;
    size_t rows = t->args.panel_count * t->set->f32_rows;
    for (int mode = 0; mode < 3; mode++) {
        for (size_t q = 0; q < width; q++) {
            size_t kind = mode == 0 ? 0 : mode == 1 ? random_below(4) : 4;
            threshold[q] = kind == 0   ? -INFINITY
                           : kind == 4 ? INFINITY
                           : rows == 0 ? 0
                                       : (float)t->sums[q][random_below(rows)];
            threshold[q] = kind == 3 ? nextafterf(threshold[q], INFINITY) : threshold[q];
        }
        tile_run(t);
        for (size_t q = 0; q < width; q++) {
            for (size_t r = 0; r < rows; r++) {
                bool expected = !(t->sums[q][r] < (double)threshold[q]) && is_live(t, r);
                assert_int_equal(t->kept[q][r], expected);
            }
        }
    }
}

/* Otherwise within g(depth) of the sum of magnitudes (Higham, section 3.1). */
static void tile_check_bound(struct tile *t)
{
    float *threshold = tile_threshold(t);
    size_t rows = t->args.panel_count * t->set->f32_rows;
    double nu = (double)t->args.depth * 0x1p-24;
    for (int trial = 0; trial < 8 && rows > 0; trial++) {
        bool keep = trial % 2 == 0;
        size_t r = random_below(rows);
        for (size_t q = 0; q < t->set->f32_queries; q++) {
            double error = nu / (1 - nu) * t->sizes[q][r] + 0x1p-120;
            double at = t->sums[q][r] + (keep ? -error : error);
            float rounded = (float)at;
            threshold[q] = nextafterf(rounded, keep ? -INFINITY : INFINITY);
        }
        tile_run(t);
        for (size_t q = 0; q < t->set->f32_queries; q++) {
            assert_int_equal(t->kept[q][r], keep && is_live(t, r));
        }
    }
}

static void test_f32_tile(void **state)
{
    (void)state;
    static struct tile t;
    t.strip = guarded_make(DEPTH_MAX * ENGRAM_F32_QUERIES_MAX * sizeof(float));
    t.panels = guarded_make(DEPTH_MAX * TILE_ROWS * sizeof(float));
    t.threshold = guarded_make(ENGRAM_F32_QUERIES_MAX * sizeof(float));
    t.live = guarded_make(TILE_ROWS);
    t.out = guarded_make(ENGRAM_F32_QUERIES_MAX * TILE_ROWS * sizeof(struct engram_candidate));
    for (size_t i = 0; (t.set = engram_kernels_at(i)) != NULL; i++) {
        for (size_t depth = 0; depth <= 71; depth++) {
            for (size_t panels = 0; panels <= PANELS; panels++) {
                t.l1 = random_below(2) == 0;
                tile_fill(&t, depth == 71 ? DEPTH_MAX : depth, panels, true);
                tile_check_exact(&t);
                tile_fill(&t, depth == 71 ? DEPTH_MAX : depth, panels, false);
                tile_check_bound(&t);
            }
        }
    }
    guarded_free(&t.strip);
    guarded_free(&t.panels);
    guarded_free(&t.threshold);
    guarded_free(&t.live);
    guarded_free(&t.out);
}

/* With everything live and every threshold -inf the output is exactly full. */
static void test_f32_tile_full(void **state)
{
    (void)state;
    static struct tile t;
    t.strip = guarded_make(64 * ENGRAM_F32_QUERIES_MAX * sizeof(float));
    t.panels = guarded_make(64 * TILE_ROWS * sizeof(float));
    t.threshold = guarded_make(ENGRAM_F32_QUERIES_MAX * sizeof(float));
    t.live = guarded_make(TILE_ROWS);
    t.out = guarded_make(ENGRAM_F32_QUERIES_MAX * TILE_ROWS * sizeof(struct engram_candidate));
    for (size_t i = 0; (t.set = engram_kernels_at(i)) != NULL; i++) {
        t.l1 = i % 2 == 0;
        tile_fill(&t, 33, PANELS, false);
        memset(t.live.first, 0xff, (size_t)(t.live.end - t.live.first));
        for (size_t q = 0; q < t.set->f32_queries; q++) {
            tile_threshold(&t)[q] = -INFINITY;
        }
        tile_run(&t);
        assert_int_equal(t.kept_count, PANELS * t.set->f32_rows * t.set->f32_queries);
    }
    guarded_free(&t.strip);
    guarded_free(&t.panels);
    guarded_free(&t.threshold);
    guarded_free(&t.live);
    guarded_free(&t.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),      cmocka_unit_test(test_select),
        cmocka_unit_test(test_canonical), cmocka_unit_test(test_canonical_single_rows),
        cmocka_unit_test(test_f32_tile),  cmocka_unit_test(test_f32_tile_full),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
