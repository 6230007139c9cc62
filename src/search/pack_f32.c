/* Packing for the float32 tile; the mathematics is in bound_f32.h. */
#include "search/prepared.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"
#include "engram/arena.h"
#include "search/bound_l1.h"

size_t engram_f32_pack_bytes(const struct engram_kernels *kernels, enum engram_metric metric,
                             int64_t rows, int64_t dim)
{
    struct engram_f32_bound bound = engram_f32_bound_make(metric, (size_t)dim, 0);
    size_t padded = engram_size_round_up((size_t)rows, kernels->f32_rows);
    size_t bytes;
    if (!engram_size_mul(padded, bound.depth, &bytes) ||
        !engram_size_mul(bytes, sizeof(float), &bytes)) {
        return (size_t)-1;
    }
    return bytes;
}

/* (row - mean) * scale, rounded to float32; returns the squared norm before that rounding. Four
 * sums, because one chain of additions would take longer than all the rest. */
static double project(const double *row, const double *mean, double scale, size_t dim, float *dense)
{
    double sums[4] = {0, 0, 0, 0};
    for (size_t i = 0; i < dim; i++) {
        double value = (mean == NULL ? row[i] : row[i] - mean[i]) * scale;
        dense[i] = (float)value;
        sums[i & 3] += value * value;
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

void engram_f32_project(const struct engram_f32_bound *bound, const double *mean, const double *row,
                        double self_product, double largest, struct engram_projected *query,
                        float *dense)
{
    if (bound->metric == ENGRAM_L1) {
        engram_l1_project(bound, mean, row, query, dense);
        return;
    }
    const struct engram_projection projection = {bound->metric, bound->dim, bound->exponent, mean};
    double factor = engram_projection_factor(&projection, row, self_product, largest, query);
    double norm2 = project(row, mean, factor, bound->dim, dense);
    if (bound->metric == ENGRAM_COSINE) {
        return;
    }
    if (query != NULL) {
        query->norm2 = norm2;
        engram_f32_extend_query(bound, query, dense + bound->dim);
    } else {
        engram_f32_extend_row(bound, norm2, dense + bound->dim);
    }
}

/* A float32 row as it is packed, straight from where it lies; else the same by way of `wide`. */
static void project_row(const struct engram_prepared *prepared, size_t row, double *wide,
                        float *dense)
{
    const struct engram_f32_bound *bound = &prepared->f32.bound;
    const double *mean = prepared->f32.mean;
    double xx = prepared->self_products == NULL ? 0 : prepared->self_products[row];
    if (prepared->type != ENGRAM_WORK_F32) {
        engram_prepared_row(prepared, row, wide);
        engram_f32_project(bound, mean, wide, xx, 0, NULL, dense);
        return;
    }
    const struct engram_projection projection = {bound->metric, bound->dim, bound->exponent, mean};
    double factor = engram_projection_factor(&projection, wide, xx, 0, NULL);
    const float *values =
        (const float *)(const void *)(prepared->view.data + row * prepared->view.stride);
    double norm2 = prepared->kernels->f32_project(values, mean, factor, bound->dim, dense);
    engram_f32_extend_row(bound, norm2, dense + bound->dim);
}

/* One panel: rows side by side, so that the tile loads consecutive rows of one coordinate.
 * `wide` holds dim doubles, `dense` f32_rows x depth floats. */
static void pack_panel(const struct engram_prepared *prepared, size_t panel, double *wide,
                       float *dense)
{
    size_t width = prepared->kernels->f32_rows;
    size_t depth = prepared->f32.bound.depth;
    float *to = prepared->f32.panels + panel * width * depth;

    for (size_t r = 0; r < width; r++) {
        size_t row = panel * width + r;
        float *row_dense = dense + r * depth;
        if (!engram_prepared_live(prepared, row)) {
            memset(row_dense, 0, depth * sizeof *row_dense);
            continue;
        }
        project_row(prepared, row, wide, row_dense);
    }
    for (size_t k = 0; k < depth; k++) {
        for (size_t r = 0; r < width; r++) {
            to[k * width + r] = dense[r * depth + k];
        }
    }
}

enum engram_status engram_f32_pack_make(struct engram_prepared *prepared, double largest, int team,
                                        const struct engram_log *log)
{
    struct engram_f32_pack *pack = &prepared->f32;
    enum engram_metric metric = prepared->metric;
    size_t width = prepared->kernels->f32_rows;
    int failed = 0;

    if (metric == ENGRAM_L2 || metric == ENGRAM_SQEUCLIDEAN || metric == ENGRAM_L1) {
        pack->mean = engram_prepared_mean(prepared, &largest);
        if (pack->mean == NULL) {
            return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory to pack the base");
        }
        /* |x - m| <= |x| + |m|; the mean lies within the values. */
        largest *= 2 * (1 + 0x1p-40);
    }
    pack->bound = engram_f32_bound_make(metric, prepared->dim, largest);
    pack->panel_count = engram_size_round_up((size_t)prepared->rows, width) / width;
    pack->bytes =
        engram_f32_pack_bytes(prepared->kernels, metric, prepared->rows, (int64_t)prepared->dim);
    pack->panels = pack->bytes == (size_t)-1 ? NULL : engram_pages_alloc(pack->bytes);
    if (pack->panels == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for a packed copy of the base (%zu bytes)",
                           pack->bytes);
    }
#pragma omp parallel num_threads(team) reduction(| : failed)
    {
        fenv_t saved;
        struct engram_arena arena;
        size_t dense_size = width * pack->bound.depth;
        engram_fp_enter(&saved);
        enum engram_status status = engram_arena_create(
            &arena, (prepared->dim + 8) * sizeof(double) + dense_size * sizeof(float) + 256);
        double *wide = ENGRAM_ARENA_NEW(&arena, double, prepared->dim);
        float *dense = ENGRAM_ARENA_NEW(&arena, float, dense_size);
        failed = status != ENGRAM_OK || wide == NULL || dense == NULL;
#pragma omp for schedule(static)
        for (size_t panel = 0; panel < pack->panel_count; panel++) {
            if (!failed) {
                pack_panel(prepared, panel, wide, dense);
            }
        }
        engram_arena_destroy(&arena);
        engram_fp_leave(&saved);
    }
    if (failed != 0) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory to pack the base");
    }
    return ENGRAM_OK;
}

void engram_f32_pack_free(struct engram_f32_pack *pack)
{
    engram_pages_free(pack->panels, pack->bytes);
    free(pack->mean);
    *pack = (struct engram_f32_pack){0};
}
