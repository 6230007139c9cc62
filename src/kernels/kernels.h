/* The kernel table: everything that is compiled once per instruction set.
 *
 * One `const struct engram_kernels` per set, in one file per set compiled with its own flags.
 * `portable` fills every slot; a faster set starts from portable's functions where it has none of
 * its own. A table is chosen once (engram_kernels_select) and passed down; nothing is global, so a
 * test can hold two at the same time.
 *
 * Contract of every kernel:
 * - Row pointers need the alignment of their element only; rows are `stride` bytes apart, and
 *   not one byte outside the `dim` elements of a row is read. Packed operands are 64-byte aligned.
 * - Outputs do not overlap inputs. No kernel allocates, logs or fails.
 * - Values are finite (rows that are not are kept out by the caller); floating-point control is
 *   the default one: round to nearest, denormals on (engram_fp_enter).
 * - canonical_*: bit for bit the sum that <engram/search.h> defines, on every set.
 * - f32_tile: its sums may differ from set to set; only the bound in search/bound_f32.h is
 *   promised. Any order of additions, fused or not, with at most `depth` terms fulfils it.
 *
 * - l1_tile: likewise, search/bound_l1.h.
 * - int_tile: all sets with the same limits agree exactly on the integer sums.
 *
 * Further tiles are further slots of this table, with their own packed layout and bound; the
 * caller's loop does not change. */
#ifndef ENGRAM_KERNELS_KERNELS_H
#define ENGRAM_KERNELS_KERNELS_H

#include <fenv.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/status.h"

/* Element type of base rows as the kernels see them; the values of ENGRAM_F32 and ENGRAM_F64. */
enum engram_work_type { ENGRAM_WORK_F32 = 0, ENGRAM_WORK_F64 = 1 };
#define ENGRAM_WORK_TYPES 2

/* What is summed over the elements. */
enum engram_op {
    ENGRAM_OP_DOT = 0,    /* q_i x_i */
    ENGRAM_OP_SQDIFF = 1, /* (q_i - x_i)^2 */
    ENGRAM_OP_ABSDIFF = 2 /* |q_i - x_i| */
};
#define ENGRAM_OPS 3

/* What is counted over the bits of two rows. */
enum engram_bit_op {
    ENGRAM_BIT_DIFFERENT = 0, /* set in one of them */
    ENGRAM_BIT_COMMON = 1     /* set in both */
};
#define ENGRAM_BIT_OPS 2

/* A pair of a query (index in its block) and a base row (index in its prepared set). */
struct engram_candidate {
    uint32_t query;
    uint32_t row;
};

/* Queries widened to float64: `dim` doubles each, `stride` doubles apart. */
struct engram_wide_rows {
    const double *data;
    size_t stride;
};

/* Base rows of a work type, `stride` bytes apart. */
struct engram_base_rows {
    const unsigned char *data;
    size_t stride;
};

/* Queries of bits, loaded by engram_bits_load; `stride` words apart. */
struct engram_bit_rows {
    const uint64_t *data;
    size_t stride;
};

/* Canonical sums of `count` listed pairs: raw[i] for pairs[i]. */
typedef void (*engram_canonical_pairs_fn)(const struct engram_wide_rows *queries,
                                          const struct engram_base_rows *base, size_t dim,
                                          const struct engram_candidate *pairs, size_t count,
                                          double *raw);

/* Canonical sums of all pairs of `query_count` x `row_count`: raw[q * row_count + r]. */
typedef void (*engram_canonical_tile_fn)(const struct engram_wide_rows *queries, size_t query_count,
                                         const struct engram_base_rows *base, size_t row_count,
                                         size_t dim, double *raw);

/* The same for rows of bits: counts. Base rows are as the caller has them, ENGRAM_BITS of
 * <engram/search.h>; bits past `dim` are ignored. */
typedef void (*engram_bits_pairs_fn)(const struct engram_bit_rows *queries,
                                     const struct engram_base_rows *base, size_t dim,
                                     const struct engram_candidate *pairs, size_t count,
                                     double *raw);
typedef void (*engram_bits_tile_fn)(const struct engram_bit_rows *queries, size_t query_count,
                                    const struct engram_base_rows *base, size_t row_count,
                                    size_t dim, double *raw);

/* One strip of `f32_queries` queries against `panel_count` panels of `f32_rows` rows.
 *   strip      float [depth][f32_queries]
 *   panels     float [panel_count][depth][f32_rows]
 *   threshold  float [f32_queries]
 *   live       one bit a row, bit (r & 7) of byte r >> 3, from the first row of the first panel
 * A pair whose sum of products over `depth` is not below its query's threshold, and whose row is
 * live, is appended to `out` as {first_query + q, first_row + r}; `out` has room for
 * panel_count * f32_rows * f32_queries pairs. Returns how many were appended.
 *   ahead      memory that is needed soon, ahead_bytes of it: a tile may have it fetched into the
 *              second-level cache, bit by bit while it computes; NULL with 0 */
struct engram_f32_strip {
    const float *strip;
    const float *panels;
    const float *threshold;
    const uint8_t *live;
    const float *ahead;
    size_t ahead_bytes;
    size_t depth;
    size_t panel_count;
    uint32_t first_query;
    uint32_t first_row;
};
/* l1_tile is the same with -|q - x| in the place of the products. */
typedef size_t (*engram_f32_tile_fn)(const struct engram_f32_strip *args,
                                     struct engram_candidate *out);

/* One strip of `int_queries` queries against `panel_count` panels of `int_rows` rows, both as
 * small integer codes; search/bound_int.h says what they stand for.
 *   strip       int8 [groups][int_queries][4]: four dimensions of a query side by side;
 *               magnitudes at most int_query_limit
 *   panels      uint8 [panel_count][groups][int_rows][4]: codes of at most 2 int_base_limit
 *   heads       one a panel
 *   bias        float [panel_count][int_rows]
 *   offset      int32 [int_queries]
 *   level, row_error, query_error, slope   float [int_queries]
 * With sum = offset[q] + the integer dot product of the codes (exact: the limits keep every
 * intermediate sum in range, and the caller keeps |sum| below 2^31), as a float32,
 *     sum + slope[q] * bias[r]  is compared with
 *     level[q] * scale - row_error[q] * error - query_error[q] * norm     (of the panel's head).
 * A pair that is not below, and whose row is live, is appended as by f32_tile. These few float32
 * operations may be fused or not, in this order; each is correctly rounded. */
struct engram_int_head {
    float scale;
    float error;
    float norm;
    float unused; /* heads are loaded as one vector */
};
struct engram_int_strip {
    const int8_t *strip;
    const uint8_t *panels;
    const struct engram_int_head *heads;
    const float *bias;
    const int32_t *offset;
    const float *level;
    const float *row_error;
    const float *query_error;
    const float *slope;
    const uint8_t *live;
    size_t groups; /* dimensions / 4, rounded up; codes past the last dimension are 0 in `strip` */
    size_t panel_count;
    uint32_t first_query;
    uint32_t first_row;
};
typedef size_t (*engram_int_tile_fn)(const struct engram_int_strip *args,
                                     struct engram_candidate *out);

/* Looks at `count` float32 rows: the bit pattern of each row's largest magnitude (0 without any
 * element; magnitudes order like their bit patterns, infinity and NaN above all numbers), and,
 * unless `self_products` is NULL, its canonical self product. Rows may hold NaN and infinity. */
typedef void (*engram_f32_look_fn)(const struct engram_base_rows *rows, size_t count, size_t dim,
                                   uint32_t *tops, double *self_products);

/* Packing for f32_tile, a float32 row (search/pack_f32.c): out[i] = (row[i] - mean[i]) * factor,
 * each operation rounded to float64 and the result to float32, for i < dim; mean NULL: zeros.
 * Returns the sum of the squares before the last rounding, in any order of addition, fused or not.
 */
typedef double (*engram_f32_project_fn)(const float *row, const double *mean, double factor,
                                        size_t dim, float *out);

/* One strip of `bit_queries` queries against `panel_count` panels of `bit_rows` rows of bits.
 *   strip    uint8 [2 * bytes][bit_queries]: of each byte of a query the low, then the high half,
 *            times 16
 *   panels   uint8 [panel_count][bytes][bit_rows]; bits past the dimension are 0
 *   sizes    uint16 [panel_count][bit_rows]
 *   level, slope  uint16 [bit_queries]
 * What is counted: bits set in both (op COMMON), or positions, out of 8 * bytes, at which both are
 * alike (op DIFFERENT). A pair is appended as by f32_tile, if its row is live, unless
 *     count * 2^shift < min(65535, level[q] + (slope[q] * sizes[r] >> 16)).
 * All sets agree exactly. 8 * bytes * 2^shift is below 65536. */
struct engram_bit_strip {
    enum engram_bit_op op;
    int shift;
    const uint8_t *strip;
    const uint8_t *panels;
    const uint16_t *sizes;
    const uint16_t *level;
    const uint16_t *slope;
    const uint8_t *live;
    size_t bytes;
    size_t panel_count;
    uint32_t first_query;
    uint32_t first_row;
};
typedef size_t (*engram_bit_tile_fn)(const struct engram_bit_strip *args,
                                     struct engram_candidate *out);

/* Packing for int_tile, float32 rows (search/pack_int.c).
 * centre: out[i] = (row[i] - mean[i]) * factor - centre[i], every operation rounded to float32,
 * with |out|^2, out . centre and the largest magnitude. Arrays of `dim` elements.
 * encode: codes of `values`: the integer nearest value * inverse, cut to [-limit, limit], plus
 * limit; four to a group, groups `stride` bytes apart in `out`. Gives the sums of the squares of
 * value - scale * code and of the codes (without the limit added).
 * Sums may err by 2^-18 of the sum of their terms' magnitudes. */
struct engram_int_centre {
    const float *row;
    const float *mean;
    const float *centre;
    float factor;
    size_t dim;
};
struct engram_int_row {
    double norm2;
    double weight;
    float largest;
};
typedef void (*engram_int_centre_fn)(const struct engram_int_centre *args, float *out,
                                     struct engram_int_row *row);
struct engram_int_encode {
    const float *values;
    size_t dim;
    float inverse;
    float scale;
    int limit;
    size_t stride;
};
typedef void (*engram_int_encode_fn)(const struct engram_int_encode *args, uint8_t *out,
                                     double *error2, double *code2);

/* Inner products of rows with axes (search/axes.c): out[r][16 g + a] = sum over i of
 *     rows[r * stride + i] * axes[g][i][a],   r < row_count, g < groups, a < 16,
 * with axes as float [groups][dim][16], 64-byte aligned, and out as float [row_count][16 groups];
 * dim > 0. Products are added in blocks of ENGRAM_PRODUCT_BLOCK, fused or not, and the sums of
 * blocks one after the other: a term takes part in at most ENGRAM_PRODUCT_BLOCK +
 * ceil(dim / ENGRAM_PRODUCT_BLOCK) additions. An element of `out` depends on its row and its axis
 * alone, not on what is computed beside it. */
#define ENGRAM_PRODUCT_BLOCK ((size_t)64)
#define ENGRAM_PRODUCT_GROUP ((size_t)16)
struct engram_f32_products {
    const float *rows;
    size_t row_count;
    size_t stride;
    const float *axes;
    size_t groups;
    size_t dim;
};
typedef void (*engram_f32_products_fn)(const struct engram_f32_products *args, float *out);

/* Runs `rounds` rounds of independent float32 multiply-adds in registers, as many at a time as
 * hide their latency, and returns the number of floating-point operations: the yardstick of every
 * speed that the benchmarks report. */
typedef uint64_t (*engram_f32_peak_fn)(uint64_t rounds);

struct engram_kernels {
    const char *name;
    engram_canonical_pairs_fn canonical_pairs[ENGRAM_OPS][ENGRAM_WORK_TYPES];
    engram_canonical_tile_fn canonical_tile[ENGRAM_OPS][ENGRAM_WORK_TYPES];
    engram_bits_pairs_fn bits_pairs[ENGRAM_BIT_OPS];
    engram_bits_tile_fn bits_tile[ENGRAM_BIT_OPS];
    engram_bit_tile_fn bit_tile;
    size_t bit_queries; /* queries of a strip */
    size_t bit_rows;    /* rows of a panel, a multiple of 8 that divides 64 */
    engram_f32_tile_fn f32_tile;
    engram_f32_tile_fn l1_tile;
    size_t f32_queries; /* queries of a strip */
    size_t f32_rows;    /* rows of a panel, a multiple of 8 */
    engram_int_tile_fn int_tile;
    size_t int_queries;  /* queries of a strip */
    size_t int_rows;     /* rows of a panel, a multiple of 8 that divides 64 */
    int int_base_limit;  /* base codes are 0 .. 2 limit, standing for -limit .. limit */
    int int_query_limit; /* query codes are -limit .. limit */
    engram_f32_look_fn f32_look;
    engram_f32_project_fn f32_project;
    engram_int_centre_fn int_centre;
    engram_int_encode_fn int_encode;
    engram_f32_products_fn f32_products;
    engram_f32_peak_fn f32_peak;
    /* Measured, in products of float32 at the peak; for choosing between filters. */
    double int_cost;     /* of a product of int_tile */
    double rescore_cost; /* of an element in canonical_pairs, of rows anywhere in memory */
};

/* Upper limits over all sets, for buffers on the stack. */
#define ENGRAM_F32_QUERIES_MAX 16
#define ENGRAM_F32_ROWS_MAX 32
#define ENGRAM_INT_QUERIES_MAX 16
#define ENGRAM_INT_ROWS_MAX 64
#define ENGRAM_BIT_QUERIES_MAX 16
#define ENGRAM_BIT_ROWS_MAX 64

/* The table called `name`; NULL: the environment's ENGRAM_ISA, else the best that this CPU and
 * operating system can run. USAGE, with a message that lists the names, when there is no such
 * set or this machine cannot run it. Before its first use a set has to pass a self-test (0.1 ms);
 * on a CPU where it does not, a named set is INTERNAL, else the next slower one is taken, with a
 * warning. */
ENGRAM_MUST_CHECK enum engram_status engram_kernels_select(const char *name,
                                                           const struct engram_log *log,
                                                           const struct engram_kernels **kernels);

/* The i-th set that this machine can run, slowest (portable) first; NULL past the last. Without
 * the self-test: for lists and tests. */
const struct engram_kernels *engram_kernels_at(size_t i);

/* Default floating-point control for the calling thread: a host program may have left the CPU in
 * flush-to-zero mode or another rounding direction, which would change bits. */
static inline void engram_fp_enter(fenv_t *saved)
{
    (void)fegetenv(saved);
    (void)fesetenv(FE_DFL_ENV);
}
static inline void engram_fp_leave(const fenv_t *saved)
{
    (void)fesetenv(saved);
}

#endif
