/* The canonical entries of a kernel table. Included by a set's file after it has defined
 * canonical_pairs and canonical_tile, inline functions whose operation and type are constants
 * here, so that each entry is compiled for its own case. */
#ifndef ENGRAM_KERNELS_CANONICAL_ENTRIES_H
#define ENGRAM_KERNELS_CANONICAL_ENTRIES_H

#include "kernels/kernels.h"

static void pairs_dot_f32(const struct engram_wide_rows *queries,
                          const struct engram_base_rows *base, size_t dim,
                          const struct engram_candidate *pairs, size_t count, double *raw)
{
    canonical_pairs(ENGRAM_OP_DOT, ENGRAM_WORK_F32, queries, base, dim, pairs, count, raw);
}

static void pairs_dot_f64(const struct engram_wide_rows *queries,
                          const struct engram_base_rows *base, size_t dim,
                          const struct engram_candidate *pairs, size_t count, double *raw)
{
    canonical_pairs(ENGRAM_OP_DOT, ENGRAM_WORK_F64, queries, base, dim, pairs, count, raw);
}

static void pairs_sqdiff_f32(const struct engram_wide_rows *queries,
                             const struct engram_base_rows *base, size_t dim,
                             const struct engram_candidate *pairs, size_t count, double *raw)
{
    canonical_pairs(ENGRAM_OP_SQDIFF, ENGRAM_WORK_F32, queries, base, dim, pairs, count, raw);
}

static void pairs_sqdiff_f64(const struct engram_wide_rows *queries,
                             const struct engram_base_rows *base, size_t dim,
                             const struct engram_candidate *pairs, size_t count, double *raw)
{
    canonical_pairs(ENGRAM_OP_SQDIFF, ENGRAM_WORK_F64, queries, base, dim, pairs, count, raw);
}

static void pairs_absdiff_f32(const struct engram_wide_rows *queries,
                              const struct engram_base_rows *base, size_t dim,
                              const struct engram_candidate *pairs, size_t count, double *raw)
{
    canonical_pairs(ENGRAM_OP_ABSDIFF, ENGRAM_WORK_F32, queries, base, dim, pairs, count, raw);
}

static void pairs_absdiff_f64(const struct engram_wide_rows *queries,
                              const struct engram_base_rows *base, size_t dim,
                              const struct engram_candidate *pairs, size_t count, double *raw)
{
    canonical_pairs(ENGRAM_OP_ABSDIFF, ENGRAM_WORK_F64, queries, base, dim, pairs, count, raw);
}

static void tile_dot_f32(const struct engram_wide_rows *queries, size_t query_count,
                         const struct engram_base_rows *base, size_t row_count, size_t dim,
                         double *raw)
{
    canonical_tile(ENGRAM_OP_DOT, ENGRAM_WORK_F32, queries, query_count, base, row_count, dim, raw);
}

static void tile_dot_f64(const struct engram_wide_rows *queries, size_t query_count,
                         const struct engram_base_rows *base, size_t row_count, size_t dim,
                         double *raw)
{
    canonical_tile(ENGRAM_OP_DOT, ENGRAM_WORK_F64, queries, query_count, base, row_count, dim, raw);
}

static void tile_sqdiff_f32(const struct engram_wide_rows *queries, size_t query_count,
                            const struct engram_base_rows *base, size_t row_count, size_t dim,
                            double *raw)
{
    canonical_tile(ENGRAM_OP_SQDIFF, ENGRAM_WORK_F32, queries, query_count, base, row_count, dim,
                   raw);
}

static void tile_sqdiff_f64(const struct engram_wide_rows *queries, size_t query_count,
                            const struct engram_base_rows *base, size_t row_count, size_t dim,
                            double *raw)
{
    canonical_tile(ENGRAM_OP_SQDIFF, ENGRAM_WORK_F64, queries, query_count, base, row_count, dim,
                   raw);
}

static void tile_absdiff_f32(const struct engram_wide_rows *queries, size_t query_count,
                             const struct engram_base_rows *base, size_t row_count, size_t dim,
                             double *raw)
{
    canonical_tile(ENGRAM_OP_ABSDIFF, ENGRAM_WORK_F32, queries, query_count, base, row_count, dim,
                   raw);
}

static void tile_absdiff_f64(const struct engram_wide_rows *queries, size_t query_count,
                             const struct engram_base_rows *base, size_t row_count, size_t dim,
                             double *raw)
{
    canonical_tile(ENGRAM_OP_ABSDIFF, ENGRAM_WORK_F64, queries, query_count, base, row_count, dim,
                   raw);
}

#define CANONICAL_PAIRS                                                                            \
    {                                                                                              \
        {pairs_dot_f32, pairs_dot_f64}, {pairs_sqdiff_f32, pairs_sqdiff_f64},                      \
        {                                                                                          \
            pairs_absdiff_f32, pairs_absdiff_f64                                                   \
        }                                                                                          \
    }
#define CANONICAL_TILES                                                                            \
    {                                                                                              \
        {tile_dot_f32, tile_dot_f64}, {tile_sqdiff_f32, tile_sqdiff_f64},                          \
        {                                                                                          \
            tile_absdiff_f32, tile_absdiff_f64                                                     \
        }                                                                                          \
    }

#endif
