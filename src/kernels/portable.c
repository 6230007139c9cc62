/* The complete kernel table in plain C; the definition that the other sets are tested against. */
#include "kernels/bits_loops.h"
#include "kernels/pack_loops.h"
#include "kernels/sets.h"

#include <math.h>
#include <stdbool.h>

/* Query side 4 x base side 8: two SSE or NEON registers a row, found by the vectoriser. */
#define QUERIES 4
#define ROWS 8

/* Element i of a row, widened; a function so that one body serves both types. */
typedef double (*load_fn)(const void *row, size_t i);

static inline double load_f32(const void *row, size_t i)
{
    return (double)((const float *)row)[i];
}

static inline double load_f64(const void *row, size_t i)
{
    return ((const double *)row)[i];
}

static inline __attribute__((always_inline)) double term(enum engram_op op, double q, double x)
{
    if (op == ENGRAM_OP_DOT) {
        return q * x;
    }
    double difference = q - x;
    return op == ENGRAM_OP_ABSDIFF ? fabs(difference) : difference * difference;
}

/* The canonical sum: element i into partial sum i mod 8, then the fixed tree. */
static inline __attribute__((always_inline)) double canonical_sum(enum engram_op op, load_fn load,
                                                                  const double *q, const void *x,
                                                                  size_t dim)
{
    double s[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    size_t i = 0;
    for (; i + 8 <= dim; i += 8) {
        for (size_t j = 0; j < 8; j++) {
            s[j] += term(op, q[i + j], load(x, i + j));
        }
    }
    for (size_t j = 0; i + j < dim; j++) {
        s[j] += term(op, q[i + j], load(x, i + j));
    }
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static inline __attribute__((always_inline)) void pairs_body(enum engram_op op, load_fn load,
                                                             const struct engram_wide_rows *queries,
                                                             const struct engram_base_rows *base,
                                                             size_t dim,
                                                             const struct engram_candidate *pairs,
                                                             size_t count, double *raw)
{
    for (size_t i = 0; i < count; i++) {
        raw[i] = canonical_sum(op, load, queries->data + pairs[i].query * queries->stride,
                               base->data + pairs[i].row * base->stride, dim);
    }
}

static inline __attribute__((always_inline)) void tile_body(
    enum engram_op op, load_fn load, const struct engram_wide_rows *queries, size_t query_count,
    const struct engram_base_rows *base, size_t row_count, size_t dim, double *raw)
{
    for (size_t r = 0; r < row_count; r++) {
        for (size_t q = 0; q < query_count; q++) {
            raw[q * row_count + r] = canonical_sum(op, load, queries->data + q * queries->stride,
                                                   base->data + r * base->stride, dim);
        }
    }
}

static inline __attribute__((always_inline)) void canonical_pairs(
    enum engram_op op, enum engram_work_type type, const struct engram_wide_rows *queries,
    const struct engram_base_rows *base, size_t dim, const struct engram_candidate *pairs,
    size_t count, double *raw)
{
    pairs_body(op, type == ENGRAM_WORK_F32 ? load_f32 : load_f64, queries, base, dim, pairs, count,
               raw);
}

static inline __attribute__((always_inline)) void canonical_tile(
    enum engram_op op, enum engram_work_type type, const struct engram_wide_rows *queries,
    size_t query_count, const struct engram_base_rows *base, size_t row_count, size_t dim,
    double *raw)
{
    tile_body(op, type == ENGRAM_WORK_F32 ? load_f32 : load_f64, queries, query_count, base,
              row_count, dim, raw);
}

#include "kernels/canonical_entries.h"

static inline __attribute__((always_inline)) size_t float_tile(enum engram_op op,
                                                               const struct engram_f32_strip *args,
                                                               struct engram_candidate *out)
{
    size_t found = 0;
    for (size_t p = 0; p < args->panel_count; p++) {
        const float *panel = args->panels + p * args->depth * ROWS;
        float sums[QUERIES][ROWS] = {{0}};
        for (size_t k = 0; k < args->depth; k++) {
            for (size_t q = 0; q < QUERIES; q++) {
                for (size_t r = 0; r < ROWS; r++) {
                    float value = args->strip[k * QUERIES + q];
                    float row = panel[k * ROWS + r];
                    sums[q][r] += op == ENGRAM_OP_DOT ? value * row : -fabsf(value - row);
                }
            }
        }
        for (size_t q = 0; q < QUERIES; q++) {
            for (size_t r = 0; r < ROWS; r++) {
                /* Written so that a NaN would survive. */
                if (!(sums[q][r] < args->threshold[q]) && (args->live[p] >> r & 1) != 0) {
                    out[found].query = args->first_query + (uint32_t)q;
                    out[found].row = args->first_row + (uint32_t)(p * ROWS + r);
                    found++;
                }
            }
        }
    }
    return found;
}

static size_t f32_tile(const struct engram_f32_strip *args, struct engram_candidate *out)
{
    return float_tile(ENGRAM_OP_DOT, args, out);
}

static size_t l1_tile(const struct engram_f32_strip *args, struct engram_candidate *out)
{
    return float_tile(ENGRAM_OP_ABSDIFF, args, out);
}

#define BIT_QUERIES 4
#define BIT_ROWS 8

/* The count of each of eight bytes, in it: neighbours added, then pairs, then halves. */
static inline uint64_t byte_counts(uint64_t v)
{
    v -= v >> 1 & 0x5555555555555555U;
    v = (v & 0x3333333333333333U) + (v >> 2 & 0x3333333333333333U);
    return (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fU;
}

/* Counts of one strip against one panel: eight rows are the bytes of a word. */
static void bit_counts(const struct engram_bit_strip *args, const uint8_t *panel,
                       uint32_t counts[BIT_QUERIES][BIT_ROWS])
{
    const size_t run = 31; /* bytes whose counts fit into 8 bits */
    memset(counts, 0, BIT_QUERIES * sizeof counts[0]);
    for (size_t first = 0; first < args->bytes; first += run) {
        size_t last = args->bytes - first < run ? args->bytes : first + run;
        uint64_t sums[BIT_QUERIES] = {0};
        uint8_t bytes[8];
        for (size_t b = first; b < last; b++) {
            uint64_t rows;
            memcpy(&rows, panel + b * BIT_ROWS, sizeof rows);
            for (size_t q = 0; q < BIT_QUERIES; q++) {
                const uint8_t *halves = args->strip + 2 * b * BIT_QUERIES + q;
                uint64_t query = (uint64_t)(halves[BIT_QUERIES] | halves[0] >> 4);
                query *= 0x0101010101010101U;
                sums[q] +=
                    byte_counts(args->op == ENGRAM_BIT_COMMON ? rows & query : ~(rows ^ query));
            }
        }
        for (size_t q = 0; q < BIT_QUERIES; q++) {
            memcpy(bytes, &sums[q], sizeof bytes);
            for (size_t r = 0; r < BIT_ROWS; r++) {
                counts[q][r] += bytes[r];
            }
        }
    }
}

static size_t bit_tile(const struct engram_bit_strip *args, struct engram_candidate *out)
{
    size_t found = 0;
    for (size_t p = 0; p < args->panel_count; p++) {
        uint32_t counts[BIT_QUERIES][BIT_ROWS];
        bit_counts(args, args->panels + p * args->bytes * BIT_ROWS, counts);
        for (size_t q = 0; q < BIT_QUERIES; q++) {
            for (size_t r = 0; r < BIT_ROWS; r++) {
                uint32_t size = args->sizes[p * BIT_ROWS + r];
                uint32_t need = args->level[q] + (args->slope[q] * size >> 16);
                need = need < 65535 ? need : 65535;
                if (counts[q][r] << args->shift >= need && (args->live[p] >> r & 1) != 0) {
                    out[found].query = args->first_query + (uint32_t)q;
                    out[found].row = args->first_row + (uint32_t)(p * BIT_ROWS + r);
                    found++;
                }
            }
        }
    }
    return found;
}

/* Whether one pair of the integer tile survives. */
static bool int_survives(const struct engram_int_strip *args, size_t panel, size_t q, size_t r,
                         int32_t sum)
{
    const struct engram_int_head *head = &args->heads[panel];
    float left = (float)sum + args->slope[q] * args->bias[panel * ROWS + r];
    float right = args->level[q] * head->scale - args->row_error[q] * head->error;
    right -= args->query_error[q] * head->norm;
    return !(left < right) && (args->live[panel] >> r & 1) != 0;
}

static size_t int_tile(const struct engram_int_strip *args, struct engram_candidate *out)
{
    size_t found = 0;
    for (size_t p = 0; p < args->panel_count; p++) {
        const uint8_t *panel = args->panels + p * args->groups * ROWS * 4;
        int32_t sums[QUERIES][ROWS] = {{0}};
        for (size_t g = 0; g < args->groups; g++) {
            for (size_t q = 0; q < QUERIES; q++) {
                const int8_t *query = args->strip + (g * QUERIES + q) * 4;
                for (size_t r = 0; r < ROWS; r++) {
                    const uint8_t *row = panel + (g * ROWS + r) * 4;
                    sums[q][r] += query[0] * row[0] + query[1] * row[1] + query[2] * row[2] +
                                  query[3] * row[3];
                }
            }
        }
        for (size_t q = 0; q < QUERIES; q++) {
            for (size_t r = 0; r < ROWS; r++) {
                if (int_survives(args, p, q, r, args->offset[q] + sums[q][r])) {
                    out[found].query = args->first_query + (uint32_t)q;
                    out[found].row = args->first_row + (uint32_t)(p * ROWS + r);
                    found++;
                }
            }
        }
    }
    return found;
}

static void f32_products(const struct engram_f32_products *args, float *out)
{
    for (size_t r = 0; r < args->row_count; r++) {
        const float *row = args->rows + r * args->stride;
        for (size_t g = 0; g < args->groups; g++) {
            const float *axes = args->axes + g * args->dim * ENGRAM_PRODUCT_GROUP;
            float *to = out + (r * args->groups + g) * ENGRAM_PRODUCT_GROUP;
            memset(to, 0, ENGRAM_PRODUCT_GROUP * sizeof *to);
            for (size_t first = 0; first < args->dim; first += ENGRAM_PRODUCT_BLOCK) {
                float sums[ENGRAM_PRODUCT_GROUP] = {0};
                size_t last = first + ENGRAM_PRODUCT_BLOCK;
                for (size_t i = first; i < last && i < args->dim; i++) {
                    for (size_t a = 0; a < ENGRAM_PRODUCT_GROUP; a++) {
                        sums[a] += row[i] * axes[i * ENGRAM_PRODUCT_GROUP + a];
                    }
                }
                for (size_t a = 0; a < ENGRAM_PRODUCT_GROUP; a++) {
                    to[a] += sums[a];
                }
            }
        }
    }
}

#define PEAK_LANES 48

/* Multiply and add apart: the baseline has no fused one. */
static uint64_t f32_peak(uint64_t rounds)
{
    float sums[PEAK_LANES];
    for (int i = 0; i < PEAK_LANES; i++) {
        sums[i] = (float)(i + 2); /* not 1, a fixed point of the step */
    }
    for (uint64_t r = 0; r < rounds; r++) {
        for (int i = 0; i < PEAK_LANES; i++) {
            sums[i] = sums[i] * 0.999F + 0.001F;
        }
    }
    for (int i = 0; i < PEAK_LANES; i++) {
        __asm__ volatile("" : : "m"(sums[i]));
    }
    return rounds * PEAK_LANES * 2;
}

const struct engram_kernels engram_kernels_portable = {
    .name = "portable",
    .canonical_pairs = CANONICAL_PAIRS,
    .canonical_tile = CANONICAL_TILES,
    .bits_pairs = BITS_PAIRS,
    .bits_tile = BITS_TILES,
    .bit_tile = bit_tile,
    .bit_queries = BIT_QUERIES,
    .bit_rows = BIT_ROWS,
    .f32_tile = f32_tile,
    .l1_tile = l1_tile,
    .f32_queries = QUERIES,
    .f32_rows = ROWS,
    .int_tile = int_tile,
    .int_queries = QUERIES,
    .int_rows = ROWS,
    .int_base_limit = 127,
    .int_query_limit = 127,
    .f32_look = pack_look,
    .f32_project = pack_project,
    .int_centre = pack_centre,
    .int_encode = pack_encode,
    .f32_products = f32_products,
    .f32_peak = f32_peak,
    .int_cost = 0.8,
    .rescore_cost = 2.5,
};
