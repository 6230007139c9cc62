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
 * Integer, prefix and wider tiles are further slots of this table, with their own packed layout
 * and bound; the caller's loop does not change. */
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
    ENGRAM_OP_DOT = 0,   /* q_i x_i */
    ENGRAM_OP_SQDIFF = 1 /* (q_i - x_i)^2 */
};
#define ENGRAM_OPS 2

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

/* Canonical sums of `count` listed pairs: raw[i] for pairs[i]. */
typedef void (*engram_canonical_pairs_fn)(const struct engram_wide_rows *queries,
                                          const struct engram_base_rows *base, size_t dim,
                                          const struct engram_candidate *pairs, size_t count,
                                          double *raw);

/* Canonical sums of all pairs of `query_count` x `row_count`: raw[q * row_count + r]. */
typedef void (*engram_canonical_tile_fn)(const struct engram_wide_rows *queries, size_t query_count,
                                         const struct engram_base_rows *base, size_t row_count,
                                         size_t dim, double *raw);

/* One strip of `f32_queries` queries against `panel_count` panels of `f32_rows` rows.
 *   strip      float [depth][f32_queries]
 *   panels     float [panel_count][depth][f32_rows]
 *   threshold  float [f32_queries]
 *   live       one bit a row, bit (r & 7) of byte r >> 3, from the first row of the first panel
 * A pair whose sum of products over `depth` is not below its query's threshold, and whose row is
 * live, is appended to `out` as {first_query + q, first_row + r}; `out` has room for
 * panel_count * f32_rows * f32_queries pairs. Returns how many were appended. */
struct engram_f32_strip {
    const float *strip;
    const float *panels;
    const float *threshold;
    const uint8_t *live;
    size_t depth;
    size_t panel_count;
    uint32_t first_query;
    uint32_t first_row;
};
typedef size_t (*engram_f32_tile_fn)(const struct engram_f32_strip *args,
                                     struct engram_candidate *out);

/* Runs `rounds` rounds of independent float32 multiply-adds in registers, as many at a time as
 * hide their latency, and returns the number of floating-point operations: the yardstick of every
 * speed that the benchmarks report. */
typedef uint64_t (*engram_f32_peak_fn)(uint64_t rounds);

struct engram_kernels {
    const char *name;
    engram_canonical_pairs_fn canonical_pairs[ENGRAM_OPS][ENGRAM_WORK_TYPES];
    engram_canonical_tile_fn canonical_tile[ENGRAM_OPS][ENGRAM_WORK_TYPES];
    engram_f32_tile_fn f32_tile;
    size_t f32_queries; /* queries of a strip */
    size_t f32_rows;    /* rows of a panel, a multiple of 8 */
    engram_f32_peak_fn f32_peak;
};

/* Upper limits over all sets, for buffers on the stack. */
#define ENGRAM_F32_QUERIES_MAX 16
#define ENGRAM_F32_ROWS_MAX 32

/* The table called `name`; NULL: the environment's ENGRAM_ISA, else the best that this CPU and
 * operating system can run. USAGE, with a message that lists the names, when there is no such
 * set or this machine cannot run it. */
ENGRAM_MUST_CHECK enum engram_status engram_kernels_select(const char *name,
                                                           const struct engram_log *log,
                                                           const struct engram_kernels **kernels);

/* The i-th set that this machine can run, slowest (portable) first; NULL past the last. */
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
