/* Compares kernel sets with portable: canonical sums bit for bit, the tiles exactly on operands
 * whose arithmetic is exact in any order. Stands alone, without a test library, so that it also
 * runs where there is none: under an emulator, or with one set's intrinsics emulated. Compiled
 * with -DCROSSCHECK_SET=<table> it checks that table only; else all sets that this machine can
 * run. (tests/unit/test_kernels.c checks the same sets against plain float64 code, and for reads
 * outside of their operands.) The last line is "N passed, N failed", in kernels. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/selftest.h"
#include "kernels/sets.h"

#if defined(CROSSCHECK_SET)
extern const struct engram_kernels CROSSCHECK_SET;
#endif

/* A multiple of every strip, and of every panel. */
#define QUERIES 48
#define ROWS 192
#define DEPTH_MAX 800
#define FIRST_QUERY 96
#define FIRST_ROW 4096

static int passed;
static int failed;

static void verdict(const char *set, const char *what, bool good)
{
    if (good) {
        passed++;
    } else {
        failed++;
        printf("FAILED %s: %s differs from portable\n", set, what);
    }
}

/* ---- random operands: xorshift64*, the same on every machine */

static uint64_t random_state = 0x9e3779b97f4a7c15U;

static uint64_t random_u64(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1dU;
}

static int random_in(int low, int high)
{
    return low + (int)(random_u64() % (uint64_t)(high - low + 1));
}

/* Many magnitudes, so that every addition rounds; zeros of both signs. */
static double random_value(void)
{
    switch (random_in(0, 15)) {
    case 0:
        return 0;
    case 1:
        return -0.0;
    default:
        return ldexp((double)random_in(-(1 << 29), 1 << 29), random_in(-49, -9));
    }
}

static void *room(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 191) / 64 * 64);
    if (memory == NULL) {
        puts("out of memory");
        exit(1);
    }
    memset(memory, 0, (bytes + 191) / 64 * 64);
    return memory;
}

/* ---- canonical sums */

#define WIDE 9
#define TALL 11

struct canonical {
    struct engram_wide_rows queries;
    struct engram_base_rows base;
    double *query_memory;
    unsigned char *base_memory;
};

static void canonical_fill(struct canonical *c, size_t dim, size_t element)
{
    size_t stride = dim + (size_t)random_in(0, 3);
    c->queries = (struct engram_wide_rows){c->query_memory, stride};
    c->base = (struct engram_base_rows){c->base_memory, stride * element};
    for (size_t i = 0; i < WIDE * stride; i++) {
        /* What lies between the rows would spoil every sum. */
        c->query_memory[i] = i % stride < dim ? random_value() : (double)NAN;
    }
    for (size_t i = 0; i < TALL * stride; i++) {
        double value = i % stride < dim ? random_value() : (double)NAN;
        float narrow = (float)value;
        memcpy(c->base_memory + i * element, element == 4 ? (void *)&narrow : (void *)&value,
               element);
    }
}

static bool pairs_agree(const struct canonical *c, size_t dim, engram_canonical_pairs_fn one,
                        engram_canonical_pairs_fn other)
{
    struct engram_candidate pairs[13];
    for (size_t count = 0; count <= 13; count++) {
        double raw[2][13];
        memset(raw, 0xff, sizeof raw);
        for (size_t i = 0; i < count; i++) {
            pairs[i].query = (uint32_t)random_in(0, WIDE - 1);
            pairs[i].row = (uint32_t)random_in(0, TALL - 1);
        }
        one(&c->queries, &c->base, dim, pairs, count, raw[0]);
        other(&c->queries, &c->base, dim, pairs, count, raw[1]);
        if (memcmp(raw[0], raw[1], sizeof raw[0]) != 0) {
            return false;
        }
    }
    return true;
}

static bool tile_agrees(const struct canonical *c, size_t dim, engram_canonical_tile_fn one,
                        engram_canonical_tile_fn other)
{
    for (size_t shape = 0; shape < (WIDE + 1) * (TALL + 1); shape++) {
        double raw[2][WIDE * TALL];
        memset(raw, 0xff, sizeof raw);
        one(&c->queries, shape % (WIDE + 1), &c->base, shape / (WIDE + 1), dim, raw[0]);
        other(&c->queries, shape % (WIDE + 1), &c->base, shape / (WIDE + 1), dim, raw[1]);
        if (memcmp(raw[0], raw[1], sizeof raw[0]) != 0) {
            return false;
        }
    }
    return true;
}

static void check_canonical(const struct engram_kernels *set)
{
    static const size_t more[] = {63, 64, 65, 100, 127, 300, 768};
    static const char *const names[ENGRAM_OPS][ENGRAM_WORK_TYPES][2] = {
        {{"canonical pairs, dot, f32", "canonical tile, dot, f32"},
         {"canonical pairs, dot, f64", "canonical tile, dot, f64"}},
        {{"canonical pairs, sqdiff, f32", "canonical tile, sqdiff, f32"},
         {"canonical pairs, sqdiff, f64", "canonical tile, sqdiff, f64"}},
        {{"canonical pairs, absdiff, f32", "canonical tile, absdiff, f32"},
         {"canonical pairs, absdiff, f64", "canonical tile, absdiff, f64"}}};
    const struct engram_kernels *portable = &engram_kernels_portable;
    struct canonical c;
    c.query_memory = room(WIDE * (DEPTH_MAX + 4) * sizeof(double));
    c.base_memory = room(TALL * (DEPTH_MAX + 4) * sizeof(double));
    for (int op = 0; op < ENGRAM_OPS; op++) {
        for (int type = 0; type < ENGRAM_WORK_TYPES; type++) {
            bool pairs = true;
            bool tile = true;
            for (size_t d = 0; d < 41 + sizeof more / sizeof more[0]; d++) {
                size_t dim = d < 41 ? d : more[d - 41];
                canonical_fill(&c, dim, type == ENGRAM_WORK_F32 ? 4 : 8);
                pairs = pairs && pairs_agree(&c, dim, portable->canonical_pairs[op][type],
                                             set->canonical_pairs[op][type]);
                tile = tile && tile_agrees(&c, dim, portable->canonical_tile[op][type],
                                           set->canonical_tile[op][type]);
            }
            verdict(set->name, names[op][type][0], pairs);
            verdict(set->name, names[op][type][1], tile);
        }
    }
    free(c.query_memory);
    free(c.base_memory);
}

/* ---- tiles: QUERIES x ROWS pairs, packed for a set, give one bit each */

struct bits {
    uint8_t kept[QUERIES][ROWS];
    bool sound; /* every pair in range, none twice */
};

static void mark(struct bits *bits, const struct engram_candidate *out, size_t count,
                 size_t first_query, size_t queries)
{
    bits->sound = bits->sound && count <= queries * ROWS;
    for (size_t i = 0; i < count && bits->sound; i++) {
        size_t q = (size_t)out[i].query - FIRST_QUERY;
        size_t r = (size_t)out[i].row - FIRST_ROW;
        if (q < first_query || q >= first_query + queries || r >= ROWS || bits->kept[q][r]) {
            bits->sound = false;
        } else {
            bits->kept[q][r] = 1;
        }
    }
}

static struct engram_candidate out[ENGRAM_F32_QUERIES_MAX * ROWS];
static struct bits one;
static struct bits other;

/* Two runs that kept the same, and neither everything nor nothing where `mixed` is not NULL. */
static bool agree(void)
{
    return one.sound && other.sound && memcmp(one.kept, other.kept, sizeof one.kept) == 0;
}

struct f32_problem {
    float queries[QUERIES][DEPTH_MAX];
    float rows[ROWS][DEPTH_MAX];
    float threshold[QUERIES];
    uint8_t live[ROWS / 8];
    size_t depth;
    bool l1; /* for l1_tile */
};

static void f32_run(const struct engram_kernels *set, const struct f32_problem *p,
                    struct bits *bits)
{
    size_t width = set->f32_queries;
    size_t height = set->f32_rows;
    float *strip = room(p->depth * width * sizeof(float));
    float *panels = room(p->depth * ROWS * sizeof(float));
    memset(bits, 0, sizeof *bits);
    bits->sound = QUERIES % width == 0 && ROWS % height == 0;
    for (size_t r = 0; r < ROWS && bits->sound; r++) {
        for (size_t k = 0; k < p->depth; k++) {
            panels[(r / height * p->depth + k) * height + r % height] = p->rows[r][k];
        }
    }
    for (size_t s = 0; s < QUERIES && bits->sound; s += width) {
        for (size_t i = 0; i < p->depth * width; i++) {
            strip[i] = p->queries[s + i % width][i / width];
        }
        struct engram_f32_strip args = {.strip = strip,
                                        .panels = panels,
                                        .threshold = p->threshold + s,
                                        .live = p->live,
                                        .depth = p->depth,
                                        .panel_count = ROWS / height,
                                        .first_query = (uint32_t)(FIRST_QUERY + s),
                                        .first_row = FIRST_ROW};
        mark(bits, out, p->l1 ? set->l1_tile(&args, out) : set->f32_tile(&args, out), s, width);
    }
    free(strip);
    free(panels);
}

/* Small integers: every sum is exact. The threshold is one of the sums. */
static void f32_fill(struct f32_problem *p, size_t depth, bool l1)
{
    p->depth = depth;
    p->l1 = l1;
    for (size_t k = 0; k < depth; k++) {
        for (size_t q = 0; q < QUERIES; q++) {
            p->queries[q][k] = (float)random_in(-31, 31);
        }
        for (size_t r = 0; r < ROWS; r++) {
            p->rows[r][k] = (float)random_in(-31, 31);
        }
    }
    for (size_t q = 0; q < QUERIES; q++) {
        int r = random_in(0, ROWS - 1);
        p->threshold[q] = 0;
        for (size_t k = 0; k < depth; k++) {
            float apart = p->queries[q][k] - p->rows[r][k];
            p->threshold[q] +=
                l1 ? -(apart < 0 ? -apart : apart) : p->queries[q][k] * p->rows[r][k];
        }
    }
    for (size_t i = 0; i < sizeof p->live; i++) {
        p->live[i] = (uint8_t)(random_in(0, 2) == 0 ? random_u64() : 0xff);
    }
}

static void check_f32(const struct engram_kernels *set, bool l1)
{
    static struct f32_problem problem;
    bool good = true;
    for (size_t d = 0; d <= 42; d++) {
        f32_fill(&problem, d <= 40 ? d : d == 41 ? 100 : 768, l1);
        f32_run(&engram_kernels_portable, &problem, &one);
        f32_run(set, &problem, &other);
        good = good && agree();
    }
    verdict(set->name, l1 ? "l1 tile" : "f32 tile", good);
}

struct int_problem {
    int8_t queries[QUERIES][DEPTH_MAX];
    uint8_t rows[ROWS][DEPTH_MAX];
    struct engram_int_head head; /* the same for all panels: sets differ in their heights */
    float bias[ROWS];
    int32_t offset[QUERIES];
    float level[QUERIES];
    float row_error[QUERIES];
    float query_error[QUERIES];
    float slope[QUERIES];
    uint8_t live[ROWS / 8];
    size_t groups;
};

static void int_run(const struct engram_kernels *set, const struct int_problem *p,
                    struct bits *bits)
{
    size_t width = set->int_queries;
    size_t height = set->int_rows;
    int8_t *strip = room(p->groups * width * 4);
    uint8_t *panels = room(p->groups * ROWS * 4);
    struct engram_int_head heads[ROWS / 8];
    memset(bits, 0, sizeof *bits);
    bits->sound = QUERIES % width == 0 && ROWS % height == 0;
    for (size_t i = 0; i < ROWS / 8; i++) {
        heads[i] = p->head;
    }
    for (size_t r = 0; r < ROWS && bits->sound; r++) {
        for (size_t k = 0; k < p->groups * 4; k++) {
            panels[((r / height * p->groups + k / 4) * height + r % height) * 4 + k % 4] =
                p->rows[r][k];
        }
    }
    for (size_t s = 0; s < QUERIES && bits->sound; s += width) {
        for (size_t i = 0; i < p->groups * width * 4; i++) {
            strip[i] = p->queries[s + i / 4 % width][i / 4 / width * 4 + i % 4];
        }
        struct engram_int_strip args = {.strip = strip,
                                        .panels = panels,
                                        .heads = heads,
                                        .bias = p->bias,
                                        .offset = p->offset + s,
                                        .level = p->level + s,
                                        .row_error = p->row_error + s,
                                        .query_error = p->query_error + s,
                                        .slope = p->slope + s,
                                        .live = p->live,
                                        .groups = p->groups,
                                        .panel_count = ROWS / height,
                                        .first_query = (uint32_t)(FIRST_QUERY + s),
                                        .first_row = FIRST_ROW};
        mark(bits, out, set->int_tile(&args, out), s, width);
    }
    free(strip);
    free(panels);
}

/* Codes: anywhere in their range, or at its ends only, with like or unlike signs. */
enum codes { ANYWHERE, ENDS, HIGH, LOW, CODES };

static void int_codes(struct int_problem *p, const struct engram_kernels *set, size_t groups,
                      enum codes codes)
{
    int limit = set->int_query_limit;
    int top = 2 * set->int_base_limit;
    p->groups = groups;
    for (size_t k = 0; k < groups * 4; k++) {
        for (size_t q = 0; q < QUERIES; q++) {
            int sign = codes == HIGH || (codes == ENDS && random_in(0, 1) == 1) ? 1 : -1;
            int code = codes == ANYWHERE ? random_in(-limit, limit) : sign * limit;
            p->queries[q][k] = (int8_t)code;
        }
        for (size_t r = 0; r < ROWS; r++) {
            int end = codes == ENDS ? random_in(0, 1) * top : top;
            p->rows[r][k] = (uint8_t)(codes == ANYWHERE ? random_in(0, top) : end);
        }
    }
}

/* `terms`: with every term of the comparison; they are multiples of 1/8 below 2^14, so that
 * float32 holds each value exactly while the sums of the codes are below 2^20. */
static void int_terms(struct int_problem *p, bool terms)
{
    p->head = (struct engram_int_head){1, 0, 0, 0};
    if (terms) {
        p->head =
            (struct engram_int_head){0.5F, (float)random_in(0, 99), (float)random_in(0, 99), 0};
    }
    for (size_t r = 0; r < ROWS; r++) {
        p->bias[r] = (float)(terms ? random_in(-99, 99) : 0);
    }
    for (size_t q = 0; q < QUERIES; q++) {
        p->slope[q] = (float)(terms ? random_in(-99, 99) : 0) / 8;
        p->row_error[q] = (float)(terms ? random_in(0, 99) : 0) / 8;
        p->query_error[q] = (float)(terms ? random_in(0, 99) : 0) / 8;
        p->offset[q] = random_in(-100000, 100000);
        size_t r = (size_t)random_in(0, ROWS - 1);
        int64_t sum = p->offset[q];
        for (size_t k = 0; k < p->groups * 4; k++) {
            sum += p->queries[q][k] * p->rows[r][k];
        }
        float left = (float)sum + p->slope[q] * p->bias[r];
        left += p->row_error[q] * p->head.error + p->query_error[q] * p->head.norm;
        /* At one of the values, or just above it. */
        p->level[q] = left / p->head.scale;
        if (random_in(0, 1) == 1) {
            p->level[q] = nextafterf(p->level[q], INFINITY);
        }
    }
    for (size_t i = 0; i < sizeof p->live; i++) {
        p->live[i] = (uint8_t)(random_in(0, 2) == 0 ? random_u64() : 0xff);
    }
}

static void check_int(const struct engram_kernels *set)
{
    static const size_t more[] = {25, 33, 192, 200};
    static struct int_problem problem;
    bool good = true;
    for (size_t g = 0; g <= 20; g++) {
        for (int codes = 0; codes < CODES; codes++) {
            for (int terms = 0; terms < 2; terms++) {
                size_t groups = g <= 16 ? g : more[g - 17];
                /* With terms, few groups: 8 * 4 * 254 * 127 < 2^20. */
                int_codes(&problem, set, terms ? g % 8 : groups, (enum codes)codes);
                int_terms(&problem, terms == 1);
                int_run(&engram_kernels_portable, &problem, &one);
                int_run(set, &problem, &other);
                good = good && agree();
            }
        }
    }
    verdict(set->name, "int tile", good);
}

/* Integers whose sums float32 holds exactly, in any order of addition. */
static void check_products(const struct engram_kernels *set)
{
    static const size_t dims[] = {1, 7, 16, 63, 64, 65, 200, DEPTH_MAX};
    const size_t most = 30;
    const size_t groups_most = 4;
    const size_t out_most = most * groups_most * ENGRAM_PRODUCT_GROUP;
    float *rows = room(most * (DEPTH_MAX + 3) * sizeof *rows);
    float *axes = room(groups_most * ENGRAM_PRODUCT_GROUP * DEPTH_MAX * sizeof *axes);
    float *sums[2] = {room(out_most * sizeof **sums), room(out_most * sizeof **sums)};
    bool good = true;
    for (size_t i = 0; i < most * (DEPTH_MAX + 3); i++) {
        rows[i] = (float)random_in(-100, 100);
    }
    for (size_t i = 0; i < groups_most * ENGRAM_PRODUCT_GROUP * DEPTH_MAX; i++) {
        axes[i] = (float)random_in(-100, 100);
    }
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        for (size_t shape = 0; shape < most * groups_most; shape++) {
            const struct engram_f32_products args = {rows, 1 + shape % most, dims[d] + 3,
                                                     axes, 1 + shape / most, dims[d]};
            engram_kernels_portable.f32_products(&args, sums[0]);
            set->f32_products(&args, sums[1]);
            good = good &&
                   memcmp(sums[0], sums[1],
                          args.row_count * args.groups * ENGRAM_PRODUCT_GROUP * sizeof **sums) == 0;
        }
    }
    verdict(set->name, "products", good);
    free(rows);
    free(axes);
    free(sums[0]);
    free(sums[1]);
}

struct bit_problem {
    enum engram_bit_op op;
    int shift;
    size_t bytes;
    uint8_t queries[QUERIES][DEPTH_MAX];
    uint8_t rows[ROWS][DEPTH_MAX];
    _Alignas(64) uint16_t sizes[ROWS];
    uint16_t level[QUERIES];
    uint16_t slope[QUERIES];
    uint8_t live[ROWS / 8];
};

static void bit_run(const struct engram_kernels *set, const struct bit_problem *p,
                    struct bits *bits)
{
    size_t width = set->bit_queries;
    size_t height = set->bit_rows;
    uint8_t *strip = room(2 * p->bytes * width);
    uint8_t *panels = room(p->bytes * ROWS);
    memset(bits, 0, sizeof *bits);
    bits->sound = QUERIES % width == 0 && ROWS % height == 0;
    for (size_t r = 0; r < ROWS && bits->sound; r++) {
        for (size_t b = 0; b < p->bytes; b++) {
            panels[(r / height * p->bytes + b) * height + r % height] = p->rows[r][b];
        }
    }
    for (size_t s = 0; s < QUERIES && bits->sound; s += width) {
        for (size_t i = 0; i < p->bytes * width; i++) {
            uint8_t byte = p->queries[s + i % width][i / width];
            strip[i / width * 2 * width + i % width] = (uint8_t)(byte << 4);
            strip[(i / width * 2 + 1) * width + i % width] = byte & 0xf0;
        }
        struct engram_bit_strip args = {.op = p->op,
                                        .shift = p->shift,
                                        .strip = strip,
                                        .panels = panels,
                                        .sizes = p->sizes,
                                        .level = p->level + s,
                                        .slope = p->slope + s,
                                        .live = p->live,
                                        .bytes = p->bytes,
                                        .panel_count = ROWS / height,
                                        .first_query = (uint32_t)(FIRST_QUERY + s),
                                        .first_row = FIRST_ROW};
        mark(bits, out, set->bit_tile(&args, out), s, width);
    }
    free(strip);
    free(panels);
}

/* Levels around what the pairs have, and at the ends of 16 bits. */
static void bit_fill(struct bit_problem *p, enum engram_bit_op op, size_t bytes)
{
    p->op = op;
    p->bytes = bytes;
    p->shift = random_in(0, 2);
    for (size_t b = 0; b < bytes; b++) {
        for (size_t q = 0; q < QUERIES; q++) {
            p->queries[q][b] = q == 0 ? 0xff : (uint8_t)random_u64();
        }
        for (size_t r = 0; r < ROWS; r++) {
            p->rows[r][b] = r % 9 == 0 ? 0xff : (uint8_t)random_u64();
        }
    }
    for (size_t r = 0; r < ROWS; r++) {
        p->sizes[r] = (uint16_t)random_in(0, (int)bytes * 8 << p->shift);
    }
    for (size_t q = 0; q < QUERIES; q++) {
        int most = (int)bytes * 8 << p->shift;
        p->slope[q] = (uint16_t)(random_in(0, 1) == 0 ? 0 : random_in(0, 65535));
        p->level[q] = (uint16_t)(q == 1 ? 65535 : random_in(most / 8, most / 2));
        if (q == 0) {
            p->level[q] = (uint16_t)most; /* what full rows have */
            p->slope[q] = 0;
        }
    }
    for (size_t i = 0; i < sizeof p->live; i++) {
        p->live[i] = (uint8_t)(random_in(0, 2) == 0 ? random_u64() : 0xff);
    }
}

static void check_bits(const struct engram_kernels *set)
{
    static struct bit_problem problem;
    bool good = true;
    for (size_t i = 0; i < 2 * 70; i++) {
        size_t bytes = i / 2 < 66 ? i / 2 : 125 * (i / 2 - 65);
        bit_fill(&problem, (enum engram_bit_op)(i % 2), bytes);
        bit_run(&engram_kernels_portable, &problem, &one);
        bit_run(set, &problem, &other);
        good = good && agree();
    }
    verdict(set->name, "bit tile", good);
}

static void check(const struct engram_kernels *set)
{
    printf("kernel set: %s\n", set->name);
    check_canonical(set);
    check_f32(set, false);
    check_f32(set, true);
    check_int(set);
    check_bits(set);
    check_products(set);
    verdict(set->name, "self-test", engram_kernels_selftest(set));
    verdict(set->name, "peak loop's count", set->f32_peak(1000) >= 1000 * 2);
}

int main(void)
{
#if defined(CROSSCHECK_SET)
    check(&CROSSCHECK_SET);
#else
    const struct engram_kernels *set;
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        check(set);
    }
#endif
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
