/* NEON (Advanced SIMD), which every AArch64 CPU has. */
#include "kernels/bit_table.h"
#include "kernels/bits_loops.h"
#include "kernels/pack_loops.h"
#include "kernels/sets.h"

#include <arm_neon.h>
#include <string.h>

/* 12 x 8: 24 accumulators, 2 row registers and the 12 query values in 3 more fill 29 of the 32
 * registers; fmla takes a lane of a query register, so 24 multiply-adds need 5 loads. */
#define QUERIES 12
#define ROWS 8

#define INLINE static inline __attribute__((always_inline))

/* Eight elements from position i on, widened; lanes 2j and 2j + 1 of them in v[j]. */
struct eight {
    float64x2_t v[4];
};
typedef struct eight (*load8_fn)(const void *row, size_t i);

INLINE struct eight load8_f32(const void *row, size_t i)
{
    float32x4_t low = vld1q_f32((const float *)row + i);
    float32x4_t high = vld1q_f32((const float *)row + i + 4);
    struct eight wide = {{vcvt_f64_f32(vget_low_f32(low)), vcvt_high_f64_f32(low),
                          vcvt_f64_f32(vget_low_f32(high)), vcvt_high_f64_f32(high)}};
    return wide;
}

INLINE struct eight load8_f64(const void *row, size_t i)
{
    const double *from = (const double *)row + i;
    struct eight wide = {
        {vld1q_f64(from), vld1q_f64(from + 2), vld1q_f64(from + 4), vld1q_f64(from + 6)}};
    return wide;
}

/* The `tail` elements from position i on, and +0 for the rest of the eight. */
INLINE struct eight load_tail(load8_fn load8, size_t element, const void *row, size_t i,
                              size_t tail)
{
    unsigned char padded[8 * sizeof(double)] __attribute__((aligned(16))) = {0};
    memcpy(padded, (const unsigned char *)row + i * element, tail * element);
    return load8(padded, 0);
}

INLINE void add_terms(enum engram_op op, struct eight *sum, struct eight q, struct eight x)
{
    for (size_t j = 0; j < 4; j++) {
        float64x2_t left = op == ENGRAM_OP_DOT ? q.v[j] : vsubq_f64(q.v[j], x.v[j]);
        float64x2_t right = op == ENGRAM_OP_DOT ? x.v[j] : left;
        float64x2_t term = op == ENGRAM_OP_ABSDIFF ? vabsq_f64(left) : vmulq_f64(left, right);
        sum->v[j] = vaddq_f64(sum->v[j], term);
    }
}

/* ((s0+s4) + (s2+s6)) + ((s1+s5) + (s3+s7)). */
INLINE double reduce(const struct eight *s)
{
    float64x2_t two = vaddq_f64(vaddq_f64(s->v[0], s->v[2]), vaddq_f64(s->v[1], s->v[3]));
    return vgetq_lane_f64(two, 0) + vgetq_lane_f64(two, 1);
}

/* Canonical sums of query_count x row_count pairs (constants at every call, so that the arrays
 * become registers). Missing elements of the last eight are zeros on both sides: they add +0,
 * and no partial sum is ever -0, so the bits do not change. */
INLINE void canonical_block(enum engram_op op, load8_fn load8, size_t element,
                            const double *const *q, size_t query_count, const void *const *x,
                            size_t row_count, size_t dim, double *raw, size_t raw_stride)
{
    struct eight sums[2][2];
    size_t i = 0;

    for (size_t a = 0; a < query_count; a++) {
        for (size_t b = 0; b < row_count; b++) {
            for (size_t j = 0; j < 4; j++) {
                sums[a][b].v[j] = vdupq_n_f64(0);
            }
        }
    }
    for (; i + 8 <= dim; i += 8) {
        for (size_t b = 0; b < row_count; b++) {
            struct eight row = load8(x[b], i);
            for (size_t a = 0; a < query_count; a++) {
                add_terms(op, &sums[a][b], load8_f64(q[a], i), row);
            }
        }
    }
    if (i < dim) {
        for (size_t b = 0; b < row_count; b++) {
            struct eight row = load_tail(load8, element, x[b], i, dim - i);
            for (size_t a = 0; a < query_count; a++) {
                add_terms(op, &sums[a][b], load_tail(load8_f64, sizeof(double), q[a], i, dim - i),
                          row);
            }
        }
    }
    for (size_t a = 0; a < query_count; a++) {
        for (size_t b = 0; b < row_count; b++) {
            raw[a * raw_stride + b] = reduce(&sums[a][b]);
        }
    }
}

/* One pair has four independent chains, enough for the latency of the additions. The row of the
 * pair after the next is fetched meanwhile; it lies anywhere in the base. */
INLINE void pairs_body(enum engram_op op, load8_fn load8, size_t element,
                       const struct engram_wide_rows *queries, const struct engram_base_rows *base,
                       size_t dim, const struct engram_candidate *pairs, size_t count, double *raw)
{
    size_t row_bytes = dim * element;
    for (size_t i = 0; i < count; i++) {
        if (count - i > 2) {
            const unsigned char *row = base->data + pairs[i + 2].row * base->stride;
            for (size_t byte = 0; byte < row_bytes && byte < 1024; byte += 64) {
                __builtin_prefetch(row + byte);
            }
        }
        const double *q = queries->data + pairs[i].query * queries->stride;
        const void *x = base->data + pairs[i].row * base->stride;
        canonical_block(op, load8, element, &q, 1, &x, 1, dim, raw + i, 1);
    }
}

/* 2 queries x 2 rows: 16 accumulators, 4 registers of a row and 4 of a query. */
INLINE void tile_body(enum engram_op op, load8_fn load8, size_t element,
                      const struct engram_wide_rows *queries, size_t query_count,
                      const struct engram_base_rows *base, size_t row_count, size_t dim,
                      double *raw)
{
    for (size_t r = 0; r < row_count;) {
        const void *x[2] = {base->data + r * base->stride, NULL};
        size_t rows = row_count - r >= 2 ? 2 : 1;
        if (rows == 2) {
            x[1] = base->data + (r + 1) * base->stride;
        }
        for (size_t a = 0; a < query_count;) {
            const double *q[2] = {queries->data + a * queries->stride, NULL};
            size_t wide = query_count - a >= 2 ? 2 : 1;
            double *to = raw + a * row_count + r;
            if (wide == 2) {
                q[1] = queries->data + (a + 1) * queries->stride;
            }
            if (wide == 2 && rows == 2) {
                canonical_block(op, load8, element, q, 2, x, 2, dim, to, row_count);
            } else if (rows == 2) {
                canonical_block(op, load8, element, q, 1, x, 2, dim, to, row_count);
            } else if (wide == 2) {
                canonical_block(op, load8, element, q, 2, x, 1, dim, to, row_count);
            } else {
                canonical_block(op, load8, element, q, 1, x, 1, dim, to, row_count);
            }
            a += wide;
        }
        r += rows;
    }
}

INLINE void canonical_pairs(enum engram_op op, enum engram_work_type type,
                            const struct engram_wide_rows *queries,
                            const struct engram_base_rows *base, size_t dim,
                            const struct engram_candidate *pairs, size_t count, double *raw)
{
    pairs_body(op, type == ENGRAM_WORK_F32 ? load8_f32 : load8_f64,
               type == ENGRAM_WORK_F32 ? sizeof(float) : sizeof(double), queries, base, dim, pairs,
               count, raw);
}

INLINE void canonical_tile(enum engram_op op, enum engram_work_type type,
                           const struct engram_wide_rows *queries, size_t query_count,
                           const struct engram_base_rows *base, size_t row_count, size_t dim,
                           double *raw)
{
    tile_body(op, type == ENGRAM_WORK_F32 ? load8_f32 : load8_f64,
              type == ENGRAM_WORK_F32 ? sizeof(float) : sizeof(double), queries, query_count, base,
              row_count, dim, raw);
}

#include "kernels/canonical_entries.h"

/* All ones in the lanes of the eight rows whose value is below the limit; a NaN is not. */
INLINE uint16x8_t below(float32x4_t low, float32x4_t high, float32x4_t limit)
{
    return vcombine_u16(vmovn_u32(vcltq_f32(low, limit)), vmovn_u32(vcltq_f32(high, limit)));
}

/* Lists the rows of one panel that are not below. */
static size_t emit(const uint16x8_t *lost, size_t queries, unsigned live, uint32_t first_query,
                   uint32_t first_row, struct engram_candidate *out)
{
    static const uint16_t BITS[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    uint16x8_t bits = vld1q_u16(BITS);
    size_t found = 0;
    for (size_t q = 0; q < queries; q++) {
        unsigned kept = vaddvq_u16(vbicq_u16(bits, lost[q]));
        for (unsigned left = kept & live; left != 0; left &= left - 1) {
            out[found].query = first_query + (uint32_t)q;
            out[found].row = first_row + (uint32_t)__builtin_ctz(left);
            found++;
        }
    }
    return found;
}

/* What one query value, a lane of `query`, adds with a step of the panel. */
#define ADD_LANE(op, sums, lane)                                                                   \
    do {                                                                                           \
        if ((op) == ENGRAM_OP_DOT) {                                                               \
            (sums)[lane][0] = vfmaq_laneq_f32((sums)[lane][0], low, query, lane);                  \
            (sums)[lane][1] = vfmaq_laneq_f32((sums)[lane][1], high, query, lane);                 \
        } else {                                                                                   \
            float32x4_t value = vdupq_laneq_f32(query, lane);                                      \
            (sums)[lane][0] = vsubq_f32((sums)[lane][0], vabdq_f32(low, value));                   \
            (sums)[lane][1] = vsubq_f32((sums)[lane][1], vabdq_f32(high, value));                  \
        }                                                                                          \
    } while (0)

/* The sums of one strip against one panel. */
INLINE void float_sums(enum engram_op op, const float *strip, const float *panel, size_t depth,
                       float32x4_t sums[QUERIES][2])
{
    for (size_t q = 0; q < QUERIES; q++) {
        sums[q][0] = vdupq_n_f32(0);
        sums[q][1] = vdupq_n_f32(0);
    }
    for (size_t k = 0; k < depth; k++) {
        float32x4_t low = vld1q_f32(panel + k * ROWS);
        float32x4_t high = vld1q_f32(panel + k * ROWS + 4);
        for (size_t q = 0; q < QUERIES; q += 4) {
            float32x4_t query = vld1q_f32(strip + k * QUERIES + q);
            ADD_LANE(op, sums + q, 0); /* the lane is part of the instruction */
            ADD_LANE(op, sums + q, 1);
            ADD_LANE(op, sums + q, 2);
            ADD_LANE(op, sums + q, 3);
        }
    }
}

INLINE size_t float_tile(enum engram_op op, const struct engram_f32_strip *args,
                         struct engram_candidate *out)
{
    size_t found = 0;
    for (size_t p = 0; p < args->panel_count; p++) {
        float32x4_t sums[QUERIES][2];
        uint16x8_t lost[QUERIES];
        uint16x8_t all = vdupq_n_u16(0xffff);

        float_sums(op, args->strip, args->panels + p * args->depth * ROWS, args->depth, sums);
#pragma GCC unroll 12
        for (size_t q = 0; q < QUERIES; q++) {
            lost[q] = below(sums[q][0], sums[q][1], vdupq_n_f32(args->threshold[q]));
            all = vandq_u16(all, lost[q]);
        }
        if (__builtin_expect(vminvq_u16(all) == 0xffff, 1)) {
            continue;
        }
        found += emit(lost, QUERIES, args->live[p], args->first_query,
                      args->first_row + (uint32_t)(p * ROWS), out + found);
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

/* Rows of bits, 4 x 32: tbl looks up 16 half-bytes at once. 8 accumulators, 4 registers of
 * half-bytes and a line of the table. */
#define BIT_QUERIES 4
#define BIT_ROWS 32

/* Adds the counts of `bytes` (at most BIT_RUN) bytes to the 16-bit counts of rows 0-7, 8-15, .. */
INLINE void bit_add_run(const uint8_t *table, const uint8_t *strip, const uint8_t *panel,
                        size_t bytes, uint16x8_t wide[BIT_QUERIES][4])
{
    uint8x16_t sums[BIT_QUERIES][2];
    for (size_t q = 0; q < BIT_QUERIES; q++) {
        sums[q][0] = vdupq_n_u8(0);
        sums[q][1] = vdupq_n_u8(0);
    }
    for (size_t b = 0; b < bytes; b++) {
        uint8x16_t rows[2] = {vld1q_u8(panel + b * BIT_ROWS), vld1q_u8(panel + b * BIT_ROWS + 16)};
        for (size_t high = 0; high < 2; high++) {
            const uint8_t *query = strip + (2 * b + high) * BIT_QUERIES;
            uint8x16_t halves[2];
            for (size_t h = 0; h < 2; h++) {
                halves[h] = high ? vshrq_n_u8(rows[h], 4) : vandq_u8(rows[h], vdupq_n_u8(15));
            }
            for (size_t q = 0; q < BIT_QUERIES; q++) {
                uint8x16_t counts = vld1q_u8(table + query[q]);
                sums[q][0] = vaddq_u8(sums[q][0], vqtbl1q_u8(counts, halves[0]));
                sums[q][1] = vaddq_u8(sums[q][1], vqtbl1q_u8(counts, halves[1]));
            }
        }
    }
    for (size_t q = 0; q < BIT_QUERIES; q++) {
        for (size_t h = 0; h < 2; h++) {
            wide[q][2 * h] = vaddw_u8(wide[q][2 * h], vget_low_u8(sums[q][h]));
            wide[q][2 * h + 1] = vaddw_high_u8(wide[q][2 * h + 1], sums[q][h]);
        }
    }
}

/* Bits of the eight rows that survive. */
INLINE uint32_t bit_survivors(const struct engram_bit_strip *args, size_t q, uint16x8_t count,
                              const uint16_t *sizes)
{
    static const uint16_t BITS[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    uint16x8_t size = vld1q_u16(sizes);
    uint16x4_t slope = vdup_n_u16(args->slope[q]);
    uint16x4_t low = vshrn_n_u32(vmull_u16(vget_low_u16(size), slope), 16);
    uint16x4_t high = vshrn_n_u32(vmull_u16(vget_high_u16(size), slope), 16);
    uint16x8_t need = vqaddq_u16(vdupq_n_u16(args->level[q]), vcombine_u16(low, high));
    uint16x8_t shifted = vshlq_u16(count, vdupq_n_s16((int16_t)args->shift));
    return vaddvq_u16(vandq_u16(vld1q_u16(BITS), vcgeq_u16(shifted, need)));
}

static size_t bit_tile(const struct engram_bit_strip *args, struct engram_candidate *out)
{
    const uint8_t *table = BIT_TABLES[args->op];
    size_t found = 0;
    for (size_t p = 0; p < args->panel_count; p++) {
        const uint8_t *panel = args->panels + p * args->bytes * BIT_ROWS;
        uint16x8_t wide[BIT_QUERIES][4];
        uint32_t live;

        memset(wide, 0, sizeof wide);
        for (size_t b = 0; b < args->bytes;) {
            size_t run = bit_run(args->bytes - b);
            bit_add_run(table, args->strip + 2 * b * BIT_QUERIES, panel + b * BIT_ROWS, run, wide);
            b += run;
        }
        memcpy(&live, args->live + p * 4, sizeof live);
        for (size_t q = 0; q < BIT_QUERIES; q++) {
            uint32_t rows = 0;
            for (size_t i = 0; i < 4; i++) {
                const uint16_t *sizes = args->sizes + p * BIT_ROWS + 8 * i;
                rows |= bit_survivors(args, q, wide[q][i], sizes) << (8 * i);
            }
            found += bit_emit(rows & live, args->first_query + (uint32_t)q,
                              args->first_row + (uint32_t)(p * BIT_ROWS), out + found);
        }
    }
    return found;
}

/* Integer tile, 3 x 8. Base codes stay below 128, so that they are signed codes too, and smlal
 * adds one product at a time to 16 bits; WIDEN groups fit there before they must be added into
 * 32 bits:
 *     WIDEN * (2 * 63) * 65 = 32,760 < 32,768.
 * 12 narrow and 12 wide accumulators, 2 row registers and 1 query register fill 27 of the 32. */
#define INT_QUERIES 3
#define INT_BASE_LIMIT 63
#define INT_QUERY_LIMIT 65
#define WIDEN 4

/* Four codes of a query, four times. */
INLINE int8x16_t broadcast_codes(const int8_t *codes)
{
    int32_t four;
    memcpy(&four, codes, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* Adds `groups` (at most WIDEN) groups of the codes into the 32-bit sums; each row has two lanes,
 * sums[q][j] holds rows 2j and 2j + 1. */
INLINE void int_add_groups(const int8_t *strip, const uint8_t *panel, size_t groups,
                           int32x4_t sums[INT_QUERIES][4])
{
    int16x8_t narrow[INT_QUERIES][4];
#pragma GCC unroll 4
    for (size_t g = 0; g < groups; g++) {
        const uint8_t *codes = panel + g * ROWS * 4;
        int8x16_t low = vreinterpretq_s8_u8(vld1q_u8(codes));
        int8x16_t high = vreinterpretq_s8_u8(vld1q_u8(codes + 16));
#pragma GCC unroll 3
        for (size_t q = 0; q < INT_QUERIES; q++) {
            int8x16_t query = broadcast_codes(strip + (g * INT_QUERIES + q) * 4);
            if (g == 0) {
                narrow[q][0] = vmull_s8(vget_low_s8(low), vget_low_s8(query));
                narrow[q][1] = vmull_high_s8(low, query);
                narrow[q][2] = vmull_s8(vget_low_s8(high), vget_low_s8(query));
                narrow[q][3] = vmull_high_s8(high, query);
            } else {
                narrow[q][0] = vmlal_s8(narrow[q][0], vget_low_s8(low), vget_low_s8(query));
                narrow[q][1] = vmlal_high_s8(narrow[q][1], low, query);
                narrow[q][2] = vmlal_s8(narrow[q][2], vget_low_s8(high), vget_low_s8(query));
                narrow[q][3] = vmlal_high_s8(narrow[q][3], high, query);
            }
        }
        /* Keeps the loads of the next group behind this one: gcc's scheduler would take all of
         * them first, and there are no registers for that. */
        __asm__ volatile("" : : : "memory");
    }
#pragma GCC unroll 3
    for (size_t q = 0; q < INT_QUERIES; q++) {
        for (size_t j = 0; j < 4; j++) {
            sums[q][j] = vpadalq_s16(sums[q][j], narrow[q][j]);
        }
    }
}

/* The rows of panel p that are below for query q. */
INLINE uint16x8_t int_lost(const struct engram_int_strip *args, size_t p, size_t q,
                           const int32x4_t sums[4])
{
    const struct engram_int_head *head = &args->heads[p];
    const float *bias = args->bias + p * ROWS;
    float32x4_t slope = vdupq_n_f32(args->slope[q]);
    int32x4_t offset = vdupq_n_s32(args->offset[q]);
    float32x4_t left[2];
    for (size_t h = 0; h < 2; h++) {
        int32x4_t sum = vaddq_s32(offset, vpaddq_s32(sums[2 * h], sums[2 * h + 1]));
        left[h] = vfmaq_f32(vcvtq_f32_s32(sum), slope, vld1q_f32(bias + 4 * h));
    }
    float right = args->level[q] * head->scale - args->row_error[q] * head->error;
    right -= args->query_error[q] * head->norm;
    return below(left[0], left[1], vdupq_n_f32(right));
}

static size_t int_tile(const struct engram_int_strip *args, struct engram_candidate *out)
{
    size_t found = 0;
    for (size_t p = 0; p < args->panel_count; p++) {
        const uint8_t *panel = args->panels + p * args->groups * ROWS * 4;
        int32x4_t sums[INT_QUERIES][4];
        uint16x8_t lost[INT_QUERIES];
        uint16x8_t all = vdupq_n_u16(0xffff);
        size_t g = 0;

        for (size_t q = 0; q < INT_QUERIES; q++) {
            for (size_t j = 0; j < 4; j++) {
                sums[q][j] = vdupq_n_s32(0);
            }
        }
        for (; g + WIDEN <= args->groups; g += WIDEN) {
            int_add_groups(args->strip + g * INT_QUERIES * 4, panel + g * ROWS * 4, WIDEN, sums);
        }
        for (; g < args->groups; g++) {
            int_add_groups(args->strip + g * INT_QUERIES * 4, panel + g * ROWS * 4, 1, sums);
        }
        for (size_t q = 0; q < INT_QUERIES; q++) {
            lost[q] = int_lost(args, p, q, sums[q]);
            all = vandq_u16(all, lost[q]);
        }
        if (__builtin_expect(vminvq_u16(all) == 0xffff, 1)) {
            continue;
        }
        found += emit(lost, INT_QUERIES, args->live[p], args->first_query,
                      args->first_row + (uint32_t)(p * ROWS), out + found);
    }
    return found;
}

/* Rows side by side, against one group of axes: 16 accumulators. */
#define PRODUCT_ROWS 4
#define PRODUCT_VECTORS 4

/* One block of the sums of `count` rows with a group of axes, added to `out` (or, for the first
 * block, put there). */
INLINE void products_block(const struct engram_f32_products *args, const float *rows,
                           const float *axes, size_t first, size_t count, float *out)
{
    size_t last =
        args->dim - first < ENGRAM_PRODUCT_BLOCK ? args->dim : first + ENGRAM_PRODUCT_BLOCK;
    float32x4_t sums[PRODUCT_ROWS][PRODUCT_VECTORS];
    for (size_t r = 0; r < count; r++) {
        for (size_t v = 0; v < PRODUCT_VECTORS; v++) {
            sums[r][v] = vdupq_n_f32(0);
        }
    }
    for (size_t i = first; i < last; i++) {
        float32x4_t axis[PRODUCT_VECTORS];
        for (size_t v = 0; v < PRODUCT_VECTORS; v++) {
            axis[v] = vld1q_f32(axes + i * ENGRAM_PRODUCT_GROUP + v * 4);
        }
        for (size_t r = 0; r < count; r++) {
            float32x4_t value = vdupq_n_f32(rows[r * args->stride + i]);
            for (size_t v = 0; v < PRODUCT_VECTORS; v++) {
                sums[r][v] = vfmaq_f32(sums[r][v], value, axis[v]);
            }
        }
    }
    for (size_t r = 0; r < count; r++) {
        for (size_t v = 0; v < PRODUCT_VECTORS; v++) {
            float *to = out + r * args->groups * ENGRAM_PRODUCT_GROUP + v * 4;
            float32x4_t sum = sums[r][v];
            vst1q_f32(to, first == 0 ? sum : vaddq_f32(vld1q_f32(to), sum));
        }
    }
}

INLINE void products_rows(const struct engram_f32_products *args, size_t row, size_t count,
                          float *out)
{
    const float *rows = args->rows + row * args->stride;
    for (size_t g = 0; g < args->groups; g++) {
        const float *axes = args->axes + g * args->dim * ENGRAM_PRODUCT_GROUP;
        float *to = out + (row * args->groups + g) * ENGRAM_PRODUCT_GROUP;
        for (size_t i = 0; i < args->dim; i += ENGRAM_PRODUCT_BLOCK) {
            products_block(args, rows, axes, i, count, to);
        }
    }
}

static void f32_products(const struct engram_f32_products *args, float *out)
{
    size_t row = 0;
    for (; row + PRODUCT_ROWS <= args->row_count; row += PRODUCT_ROWS) {
        products_rows(args, row, PRODUCT_ROWS, out);
    }
    for (; row < args->row_count; row++) {
        products_rows(args, row, 1, out);
    }
}

/* Four multiply-adds a cycle (the widest cores) with a latency of four need sixteen chains. */
#define PEAK_CHAINS 24

static uint64_t f32_peak(uint64_t rounds)
{
    float32x4_t sums[PEAK_CHAINS];
    const float32x4_t factor = vdupq_n_f32(0.999F);
    const float32x4_t term = vdupq_n_f32(0.001F);
    for (int i = 0; i < PEAK_CHAINS; i++) {
        sums[i] = vdupq_n_f32((float)(i + 2));
    }
    for (uint64_t r = 0; r < rounds; r++) {
        for (int i = 0; i < PEAK_CHAINS; i++) {
            /* fmla overwrites its addend; sums[i] += factor * term keeps it in one register. */
            sums[i] = vfmaq_f32(sums[i], factor, term);
        }
    }
    for (int i = 0; i < PEAK_CHAINS; i++) {
        __asm__ volatile("" : : "w"(sums[i])); /* the sums are needed, the compiler must believe */
    }
    return rounds * PEAK_CHAINS * 4 * 2;
}

const struct engram_kernels engram_kernels_neon = {
    .name = "neon",
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
    .int_queries = INT_QUERIES,
    .int_rows = ROWS,
    .int_base_limit = INT_BASE_LIMIT,
    .int_query_limit = INT_QUERY_LIMIT,
    .f32_look = pack_look,
    .f32_project = pack_project,
    .int_centre = pack_centre,
    .int_encode = pack_encode,
    .f32_products = f32_products,
    .f32_peak = f32_peak,
    .int_cost = 0.4,
    .rescore_cost = 4,
};
