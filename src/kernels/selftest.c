/* The self-test of a kernel set; compiled for the baseline architecture. */
#include "kernels/selftest.h"

#include <math.h>
#include <string.h>

#include "kernels/sets.h"

/* Operands: the same numbers every time (the multiplier is Knuth's MMIX). */
static uint32_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*state >> 32);
}

static int next_in(uint64_t *state, int low, int high)
{
    return low + (int)(next(state) % (uint32_t)(high - low + 1));
}

/* ---- canonical sums */

#define DIM ((size_t)69)
#define WIDE ((size_t)5)
#define TALL ((size_t)7)

/* Magnitudes from 2^-15 to 2^15, all bits in use: every addition rounds. */
static double value(uint64_t *state)
{
    double mantissa = (double)next(state) + (double)next(state) * 0x1p-32;
    double scale = (double)(1U << next_in(state, 0, 30)) * 0x1p-46;
    return (next(state) & 1) == 0 ? mantissa * scale : -mantissa * scale;
}

/* -0 is not +0 here. */
static bool same_bits32(const float *left, const float *right, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t a;
        uint32_t b;
        memcpy(&a, &left[i], sizeof a);
        memcpy(&b, &right[i], sizeof b);
        if (a != b) {
            return false;
        }
    }
    return true;
}

static bool same_bits(const double *left, const double *right, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bits[2];
        memcpy(&bits[0], &left[i], sizeof bits[0]);
        memcpy(&bits[1], &right[i], sizeof bits[1]);
        if (bits[0] != bits[1]) {
            return false;
        }
    }
    return true;
}

static bool canonical_good(const struct engram_kernels *set, enum engram_op op,
                           enum engram_work_type type, size_t dim)
{
    const struct engram_kernels *portable = &engram_kernels_portable;
    double queries[WIDE * DIM];
    double rows[TALL * DIM];
    float narrow[TALL * DIM];
    struct engram_candidate pairs[WIDE * TALL];
    double expected[WIDE * TALL];
    double raw[WIDE * TALL];
    uint64_t state = dim;

    for (size_t i = 0; i < WIDE * DIM; i++) {
        queries[i] = value(&state);
    }
    for (size_t i = 0; i < TALL * DIM; i++) {
        rows[i] = value(&state);
        narrow[i] = (float)rows[i];
    }
    struct engram_wide_rows q = {queries, dim};
    struct engram_base_rows x = {(const unsigned char *)rows, dim * sizeof rows[0]};
    if (type == ENGRAM_WORK_F32) {
        x = (struct engram_base_rows){(const unsigned char *)narrow, dim * sizeof narrow[0]};
    }
    portable->canonical_tile[op][type](&q, WIDE, &x, TALL, dim, expected);
    set->canonical_tile[op][type](&q, WIDE, &x, TALL, dim, raw);
    if (!same_bits(raw, expected, WIDE * TALL)) {
        return false;
    }
    for (size_t i = 0; i < WIDE * TALL; i++) {
        pairs[i] = (struct engram_candidate){(uint32_t)(i / TALL), (uint32_t)(i % TALL)};
        raw[i] = -1;
    }
    set->canonical_pairs[op][type](&q, &x, dim, pairs, WIDE * TALL, raw);
    return same_bits(raw, expected, WIDE * TALL);
}

/* ---- tiles */

#define PANELS ((size_t)2)
#define QUERIES_MAX ENGRAM_F32_QUERIES_MAX
#define ROWS_MAX (PANELS * ENGRAM_INT_ROWS_MAX)
#define FIRST_QUERY 48
#define FIRST_ROW 640

_Static_assert(ENGRAM_INT_QUERIES_MAX <= QUERIES_MAX && ENGRAM_F32_ROWS_MAX <= ENGRAM_INT_ROWS_MAX,
               "the answers of both tiles fit");

/* What a tile should say, and what it said. */
struct answer {
    int64_t sum[QUERIES_MAX][ROWS_MAX];
    uint8_t live[ROWS_MAX / 8];
    struct engram_candidate out[QUERIES_MAX * ROWS_MAX];
};

static void set_live(struct answer *answer, uint64_t *state)
{
    for (size_t i = 0; i < sizeof answer->live; i++) {
        answer->live[i] = (uint8_t)(next(state) | next(state));
    }
}

/* Are the `count` pairs in `out` those with a sum of at least limit[q] and a live row? */
static bool answer_good(const struct answer *answer, const int64_t *limit, size_t queries,
                        size_t rows, size_t count)
{
    bool expected[QUERIES_MAX][ROWS_MAX];
    size_t left = 0;
    for (size_t q = 0; q < queries; q++) {
        for (size_t r = 0; r < rows; r++) {
            bool live = (answer->live[r >> 3] >> (r & 7) & 1) != 0;
            expected[q][r] = live && answer->sum[q][r] >= limit[q];
            left += expected[q][r];
        }
    }
    if (count != left) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        size_t q = (size_t)answer->out[i].query - FIRST_QUERY;
        size_t r = (size_t)answer->out[i].row - FIRST_ROW;
        if (q >= queries || r >= rows || !expected[q][r]) {
            return false;
        }
        expected[q][r] = false; /* none twice */
    }
    return true;
}

#define DEPTH ((size_t)37)

/* Small integers: float32 sums are exact in any order. */
static bool f32_good(const struct engram_kernels *set, bool l1)
{
    _Alignas(64) float strip[DEPTH * ENGRAM_F32_QUERIES_MAX] = {0};
    _Alignas(64) float panels[PANELS * DEPTH * ENGRAM_F32_ROWS_MAX];
    float threshold[QUERIES_MAX];
    int64_t limit[QUERIES_MAX];
    struct answer answer;
    size_t width = set->f32_queries;
    size_t height = set->f32_rows;
    uint64_t state = 1;

    if (width > QUERIES_MAX || height == 0 || height > ENGRAM_F32_ROWS_MAX) {
        return false;
    }
    memset(&answer.sum, 0, sizeof answer.sum);
    set_live(&answer, &state);
    for (size_t i = 0; i < DEPTH * width; i++) {
        strip[i] = (float)next_in(&state, -100, 100);
    }
    for (size_t i = 0; i < PANELS * DEPTH * height; i++) {
        panels[i] = (float)next_in(&state, -100, 100);
        size_t row = i / (DEPTH * height) * height + i % height;
        for (size_t q = 0; q < width; q++) {
            int64_t x = (int64_t)panels[i];
            int64_t y = (int64_t)strip[i / height % DEPTH * width + q];
            answer.sum[q][row] += l1 ? (x < y ? x - y : y - x) : x * y;
        }
    }
    for (size_t q = 0; q < width; q++) {
        limit[q] = answer.sum[q][(7 * q + 3) % (PANELS * height)];
        threshold[q] = (float)limit[q];
    }
    struct engram_f32_strip args = {.strip = strip,
                                    .panels = panels,
                                    .threshold = threshold,
                                    .live = answer.live,
                                    .depth = DEPTH,
                                    .panel_count = PANELS,
                                    .first_query = FIRST_QUERY,
                                    .first_row = FIRST_ROW};
    size_t count = l1 ? set->l1_tile(&args, answer.out) : set->f32_tile(&args, answer.out);
    return answer_good(&answer, limit, width, PANELS * height, count);
}

#define GROUPS ((size_t)9)

/* Operands of the integer tile. */
struct codes {
    _Alignas(64) int8_t strip[GROUPS * ENGRAM_INT_QUERIES_MAX * 4];
    _Alignas(64) uint8_t panels[PANELS * GROUPS * ENGRAM_INT_ROWS_MAX * 4];
};

/* Codes at the ends of their ranges, where a set that saturates or takes the sign of a code
 * wrongly goes astray: all at the upper, all at the lower, or mixed. */
enum ends { UPPER, LOWER, MIXED, ENDS };

static void fill_codes(const struct engram_kernels *set, enum ends ends, struct codes *codes,
                       struct answer *answer, uint64_t *state)
{
    size_t width = set->int_queries;
    size_t height = set->int_rows;
    for (size_t i = 0; i < GROUPS * width * 4; i++) {
        bool upper = ends == UPPER || (ends == MIXED && (next(state) & 1) != 0);
        codes->strip[i] = (int8_t)(upper ? set->int_query_limit : -set->int_query_limit);
    }
    memset(&answer->sum, 0, sizeof answer->sum);
    for (size_t i = 0; i < PANELS * GROUPS * height * 4; i++) {
        bool upper = ends != MIXED || next(state) % 4 != 0;
        codes->panels[i] = (uint8_t)(upper ? 2 * set->int_base_limit : 0);
        size_t group = i / (height * 4) % GROUPS;
        size_t row = i / (GROUPS * height * 4) * height + i / 4 % height;
        for (size_t q = 0; q < width; q++) {
            answer->sum[q][row] +=
                (int64_t)codes->panels[i] * codes->strip[(group * width + q) * 4 + i % 4];
        }
    }
}

/* Sums stay below 2^24 and the other terms are small integers: float32 holds all of them. */
static bool int_good(const struct engram_kernels *set, enum ends ends)
{
    struct codes codes = {0};
    struct answer answer;
    struct engram_int_head heads[PANELS];
    float bias[ROWS_MAX];
    int32_t offset[QUERIES_MAX];
    float level[QUERIES_MAX];
    float row_error[QUERIES_MAX];
    float query_error[QUERIES_MAX];
    float slope[QUERIES_MAX];
    int64_t limit[QUERIES_MAX];
    size_t width = set->int_queries;
    size_t rows = PANELS * set->int_rows;
    uint64_t state = 1 + (uint64_t)ends;

    if (width > QUERIES_MAX || rows == 0 || rows > ROWS_MAX) {
        return false;
    }
    fill_codes(set, ends, &codes, &answer, &state);
    set_live(&answer, &state);
    for (size_t p = 0; p < PANELS; p++) {
        heads[p] = (struct engram_int_head){0.5F, 3, 5, 0};
    }
    for (size_t r = 0; r < rows; r++) {
        bias[r] = (float)next_in(&state, -9, 9);
    }
    for (size_t q = 0; q < width; q++) {
        offset[q] = next_in(&state, -1000, 1000);
        slope[q] = (float)next_in(&state, -9, 9);
        row_error[q] = (float)next_in(&state, 0, 9);
        query_error[q] = (float)next_in(&state, 0, 9);
        for (size_t r = 0; r < rows; r++) {
            answer.sum[q][r] += offset[q] + (int64_t)slope[q] * (int64_t)bias[r];
        }
        limit[q] = answer.sum[q][(7 * q + 3) % rows];
        level[q] = 2 * ((float)limit[q] + 3 * row_error[q] + 5 * query_error[q]);
    }
    struct engram_int_strip args = {.strip = codes.strip,
                                    .panels = codes.panels,
                                    .heads = heads,
                                    .bias = bias,
                                    .offset = offset,
                                    .level = level,
                                    .row_error = row_error,
                                    .query_error = query_error,
                                    .slope = slope,
                                    .live = answer.live,
                                    .groups = GROUPS,
                                    .panel_count = PANELS,
                                    .first_query = FIRST_QUERY,
                                    .first_row = FIRST_ROW};
    size_t count = set->int_tile(&args, answer.out);
    return answer_good(&answer, limit, width, rows, count);
}

/* ---- loops over single rows */

#define GROUP_STRIDE ((size_t)20)

static bool close(double left, double right, double room)
{
    return fabs(left - right) <= room;
}

/* Bits of values, exact sums and codes like portable's; float32 sums nearly. */
static bool rows_good(const struct engram_kernels *set, size_t dim)
{
    const struct engram_kernels *portable = &engram_kernels_portable;
    float narrow[TALL * DIM];
    float mean[DIM];
    float centre[DIM];
    float out[DIM];
    uint32_t bits[2][DIM];
    uint8_t codes[2][(DIM / 4 + 1) * GROUP_STRIDE];
    uint32_t tops[2][TALL];
    double products[2][TALL];
    struct engram_int_row sums[2];
    double error2[2];
    double code2[2];
    double wide[DIM];
    float projected[2][2][DIM]; /* with a mean, without */
    double norm2[2][2];
    uint64_t state = 77 + dim;

    for (size_t i = 0; i < TALL * dim; i++) {
        narrow[i] = (float)value(&state);
    }
    for (size_t i = 0; i < dim; i++) {
        mean[i] = (float)value(&state);
        centre[i] = (float)value(&state);
        wide[i] = value(&state);
    }
    memset(codes, 0xff, sizeof codes);
    memset(projected, 0, sizeof projected);
    for (size_t side = 0; side < 2; side++) {
        const struct engram_kernels *kernels = side == 0 ? portable : set;
        const struct engram_base_rows rows = {(const unsigned char *)narrow, dim * sizeof *narrow};
        const struct engram_int_centre args = {narrow, mean, centre, 0.7F, dim};
        kernels->f32_look(&rows, TALL, dim, tops[side], products[side]);
        for (size_t m = 0; m < 2; m++) {
            norm2[side][m] =
                kernels->f32_project(narrow, m == 0 ? wide : NULL, 0.3, dim, projected[side][m]);
        }
        kernels->int_centre(&args, out, &sums[side]);
        memcpy(bits[side], out, dim * sizeof *out);
        float scale = sums[side].largest / 97; /* the ends are cut off */
        const struct engram_int_encode encode = {out, dim, 1 / scale, scale, 63, GROUP_STRIDE};
        kernels->int_encode(&encode, codes[side], &error2[side], &code2[side]);
    }
    double norm = sqrt(sums[0].norm2);
    return memcmp(tops[0], tops[1], sizeof tops[0]) == 0 &&
           same_bits(products[0], products[1], TALL) &&
           same_bits32(projected[0][0], projected[1][0], 2 * (size_t)DIM) &&
           close(norm2[0][0], norm2[1][0], 0x1p-40 * norm2[0][0]) &&
           close(norm2[0][1], norm2[1][1], 0x1p-40 * norm2[0][1]) &&
           memcmp(bits[0], bits[1], dim * sizeof *out) == 0 &&
           memcmp(codes[0], codes[1], sizeof codes[0]) == 0 && sums[0].largest == sums[1].largest &&
           close(sums[0].norm2, sums[1].norm2, 0x1p-18 * sums[0].norm2) &&
           close(sums[0].weight, sums[1].weight, norm * 0x1p-16 * (double)(1U << 18)) &&
           close(sqrt(error2[0]), sqrt(error2[1]), 0x1p-18 * norm) && code2[0] == code2[1];
}

/* Integers whose sums float32 holds exactly, in any order of addition. */
static bool products_good(const struct engram_kernels *set)
{
    enum { HEIGHT = 29, LENGTH = 69, GROUPED = 3, ACROSS = GROUPED * ENGRAM_PRODUCT_GROUP };
    _Alignas(64) float axes[ACROSS * LENGTH];
    float rows[HEIGHT * LENGTH];
    float expected[HEIGHT * ACROSS];
    float out[HEIGHT * ACROSS];
    uint64_t state = 5;
    for (size_t i = 0; i < sizeof axes / sizeof axes[0]; i++) {
        axes[i] = (float)next_in(&state, -100, 100);
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rows[i] = (float)next_in(&state, -100, 100);
    }
    struct engram_f32_products args = {rows, HEIGHT, LENGTH, axes, GROUPED, LENGTH};
    engram_kernels_portable.f32_products(&args, expected);
    set->f32_products(&args, out);
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++) {
        if (!(out[i] == expected[i])) {
            return false;
        }
    }
    return true;
}

#define BYTES ((size_t)35) /* more than a run of 8-bit counts */

/* Rows of bits, some of them full, so that 8-bit counts come to their end. */
static bool bits_good(const struct engram_kernels *set, enum engram_bit_op op)
{
    _Alignas(64) uint8_t strip[2 * BYTES * ENGRAM_BIT_QUERIES_MAX];
    _Alignas(64) uint8_t panels[PANELS * BYTES * ENGRAM_BIT_ROWS_MAX];
    _Alignas(64) uint16_t sizes[ROWS_MAX];
    uint16_t level[QUERIES_MAX];
    uint16_t slope[QUERIES_MAX];
    int64_t limit[QUERIES_MAX];
    struct answer answer;
    size_t width = set->bit_queries;
    size_t height = set->bit_rows;
    size_t rows = PANELS * height;
    uint64_t state = 7 + (uint64_t)op;

    if (width > ENGRAM_BIT_QUERIES_MAX || rows == 0 || rows > ROWS_MAX) {
        return false;
    }
    memset(&answer.sum, 0, sizeof answer.sum);
    memset(strip, 0, sizeof strip);
    set_live(&answer, &state);
    for (size_t i = 0; i < BYTES * width; i++) {
        uint8_t byte = i % width == 0 ? 0xff : (uint8_t)next(&state);
        strip[i / width * 2 * width + i % width] = (uint8_t)(byte << 4);
        strip[(i / width * 2 + 1) * width + i % width] = byte & 0xf0;
    }
    for (size_t i = 0; i < rows * BYTES; i++) {
        size_t row = i / (BYTES * height) * height + i % height;
        panels[i] = row % 8 == 5 ? 0xff : (uint8_t)next(&state);
        for (size_t q = 0; q < width; q++) {
            const uint8_t *halves = strip + i / height % BYTES * 2 * width + q;
            uint8_t query = (uint8_t)(halves[width] | halves[0] >> 4);
            unsigned bits = op == ENGRAM_BIT_COMMON ? query & panels[i] : query ^ panels[i] ^ 0xffU;
            answer.sum[q][row] += (int64_t)__builtin_popcount(bits) << 3;
        }
    }
    for (size_t q = 0; q < width; q++) {
        slope[q] = (uint16_t)(q % 2 == 0 ? 0 : next(&state) >> 16);
        for (size_t r = 0; r < rows; r++) {
            sizes[r] = (uint16_t)(97 * r % 1000);
            answer.sum[q][r] -= (int64_t)((uint32_t)slope[q] * sizes[r] >> 16);
        }
        limit[q] = answer.sum[q][(7 * q + 3) % rows];
        limit[q] = limit[q] < 0 ? 0 : limit[q];
        level[q] = (uint16_t)limit[q];
    }
    struct engram_bit_strip args = {.op = op,
                                    .shift = 3,
                                    .strip = strip,
                                    .panels = panels,
                                    .sizes = sizes,
                                    .level = level,
                                    .slope = slope,
                                    .live = answer.live,
                                    .bytes = BYTES,
                                    .panel_count = PANELS,
                                    .first_query = FIRST_QUERY,
                                    .first_row = FIRST_ROW};
    size_t count = set->bit_tile(&args, answer.out);
    return answer_good(&answer, limit, width, rows, count);
}

static bool all_good(const struct engram_kernels *set)
{
    static const size_t dims[] = {1, 7, 8, 13, 32, DIM};
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        for (int op = 0; op < ENGRAM_OPS; op++) {
            for (int type = 0; type < ENGRAM_WORK_TYPES; type++) {
                if (!canonical_good(set, (enum engram_op)op, (enum engram_work_type)type,
                                    dims[d])) {
                    return false;
                }
            }
        }
    }
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        if (!rows_good(set, dims[d])) {
            return false;
        }
    }
    for (int ends = 0; ends < ENDS; ends++) {
        if (!int_good(set, (enum ends)ends)) {
            return false;
        }
    }
    return bits_good(set, ENGRAM_BIT_DIFFERENT) && bits_good(set, ENGRAM_BIT_COMMON) &&
           f32_good(set, false) && f32_good(set, true) && products_good(set);
}

bool engram_kernels_selftest(const struct engram_kernels *set)
{
    fenv_t saved;
    engram_fp_enter(&saved);
    bool good = all_good(set);
    engram_fp_leave(&saved);
    return good;
}
