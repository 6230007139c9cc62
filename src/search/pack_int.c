/* Packing for the integer tile; the mathematics is in bound_int.h, whose names are used here. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"
#include "engram/arena.h"
#include "search/bound_int.h"

/* A scale below this would let float32 values overflow later (section 6). */
#define SCALE_MIN 0x1p-60

/* Section 4: enough for the rounding of the kernel's float32 operations. */
#define ENLARGE (1 + 0x1p-20)

/* A centre shorter than this changes nothing worth its cost. */
#define CENTRE_NORM2_MIN 0x1p-12

/* The mutation test builds with factors below 1 and expects the suite to fail. */
#ifndef ENGRAM_MUTATE_INT_BOUND
#define ENGRAM_MUTATE_INT_BOUND 1.0
#endif

static size_t groups_of(size_t dim)
{
    return (dim + 3) / 4;
}

size_t engram_int_pack_bytes(const struct engram_kernels *kernels, int64_t rows, int64_t dim)
{
    size_t padded = engram_size_round_up((size_t)rows, kernels->int_rows);
    size_t bytes;
    if (!engram_size_mul(padded, groups_of((size_t)dim) * 4 + sizeof(float), &bytes)) {
        return (size_t)-1;
    }
    return bytes;
}

/* Codes of `count` values at scale `scale`: rint is one instruction in every kernel set's baseline
 * or a short call; clipping keeps codes within the kernel's limit whatever the scale. Returns
 * |value - scale code|^2 and adds up the squared codes. */
static double encode(const float *values, size_t count, double scale, int limit, int offset,
                     uint8_t *codes, size_t stride, double *code_norm2)
{
    const float inverse = (float)(1 / scale);
    const float top = (float)limit;
    double errors[4] = {0, 0, 0, 0};
    int64_t squares = 0;
    for (size_t i = 0; i < count; i++) {
        float wanted = values[i] * inverse;
        wanted = wanted > top ? top : wanted < -top ? -top : wanted;
        /* To the nearest, ties away: any rounding is right, the error is measured. */
        int code = (int)(wanted + (wanted < 0 ? -0.5F : 0.5F));
        double error = (double)values[i] - scale * code;
        errors[i & 3] += error * error;
        squares += code * code;
        codes[i / 4 * stride + i % 4] = (uint8_t)(code + offset);
    }
    *code_norm2 = (double)squares;
    return (errors[0] + errors[1]) + (errors[2] + errors[3]);
}

/* Room of one packing thread. */
struct packer {
    double *wide; /* [dim] */
    float *dense; /* [int_rows][dim] */
};

/* What one row of a panel contributes. */
struct row_terms {
    double norm2;  /* |X'|^2 */
    double weight; /* w */
};

/* X' of a live row into `dense`; `*largest` is raised to its magnitude. */
static struct row_terms centre_row(const struct engram_prepared *prepared, size_t row, double *wide,
                                   float *dense, double *largest)
{
    const struct engram_int_pack *pack = &prepared->codes;
    double xx = prepared->self_products == NULL ? 0 : prepared->self_products[row];
    double norms[4] = {0, 0, 0, 0};
    double weights[4] = {0, 0, 0, 0};
    float top = 0;

    engram_prepared_row(prepared, row, wide);
    double factor = engram_projection_factor(&pack->projection, wide, xx, 0, NULL);
    (void)engram_project(&pack->projection, factor, wide, wide);
    for (size_t i = 0; i < prepared->dim; i++) {
        double centre = pack->centre == NULL ? 0 : pack->centre[i];
        double value = wide[i] - centre;
        norms[i & 3] += value * value;
        weights[i & 3] += value * centre;
        dense[i] = (float)value;
        float magnitude = fabsf(dense[i]);
        top = magnitude > top ? magnitude : top;
    }
    *largest = (double)top > *largest ? (double)top : *largest;
    double norm2 = (norms[0] + norms[1]) + (norms[2] + norms[3]);
    double weight = (weights[0] + weights[1]) + (weights[2] + weights[3]);
    bool euclidean = pack->mean != NULL;
    return (struct row_terms){norm2, euclidean ? -norm2 / 2 : weight};
}

static float bias_of(double weight, double scale)
{
    return engram_round_up(weight / scale + fabs(weight / scale) * 0x1p-19);
}

static void pack_panel(const struct engram_prepared *prepared, size_t panel,
                       const struct packer *packer)
{
    const struct engram_int_pack *pack = &prepared->codes;
    const struct engram_kernels *kernels = prepared->kernels;
    size_t width = kernels->int_rows;
    int limit = kernels->int_base_limit;
    uint8_t *to = pack->panels + panel * pack->groups * width * 4;
    float *bias = pack->bias + panel * width;
    struct row_terms terms[ENGRAM_INT_ROWS_MAX];
    double largest = 0;
    double error2 = 0;
    double norm2 = 0;

    for (size_t r = 0; r < width; r++) {
        if (engram_prepared_live(prepared, panel * width + r)) {
            terms[r] = centre_row(prepared, panel * width + r, packer->wide,
                                  packer->dense + r * prepared->dim, &largest);
        }
    }
    double scale = largest / limit > SCALE_MIN ? largest / limit : SCALE_MIN;
    /* Codes of missing rows and dimensions are never looked at, or meet zeros. */
    memset(to, limit, pack->groups * width * 4);
    for (size_t r = 0; r < width; r++) {
        double code_norm2;
        bias[r] = 0;
        if (!engram_prepared_live(prepared, panel * width + r)) {
            continue;
        }
        double error = encode(packer->dense + r * prepared->dim, prepared->dim, scale, limit, limit,
                              to + r * 4, width * 4, &code_norm2);
        error2 = error > error2 ? error : error2;
        double longest = fmax(scale * scale * code_norm2, terms[r].norm2);
        norm2 = longest > norm2 ? longest : norm2;
        bias[r] = bias_of(terms[r].weight, scale);
    }
    pack->heads[panel] = (struct engram_int_head){
        .scale = (float)(1 / scale),
        .error = engram_round_up(sqrt(error2) / scale * ENLARGE * ENGRAM_MUTATE_INT_BOUND),
        .norm = engram_round_up(sqrt(norm2) / scale * ENLARGE),
    };
}

/* The fixed vectors: a mean for l2, a centre for the others where there is one worth it. */
static enum engram_status choose_vectors(struct engram_prepared *prepared, double largest)
{
    struct engram_int_pack *pack = &prepared->codes;
    bool euclidean = engram_metric_op(prepared->metric) == ENGRAM_OP_SQDIFF;
    if (euclidean) {
        pack->mean = engram_sample_mean(prepared, NULL);
        largest *= 2 * (1 + 0x1p-40); /* |x - m| <= |x| + |m| */
    }
    pack->projection = (struct engram_projection){
        .metric = prepared->metric,
        .dim = prepared->dim,
        .exponent =
            prepared->metric == ENGRAM_COSINE ? 0 : engram_dot_exponent(largest, prepared->dim),
        .mean = pack->mean,
    };
    if (!euclidean) {
        pack->centre = engram_sample_mean(prepared, &pack->projection);
    }
    if (pack->mean == NULL && pack->centre == NULL) {
        return ENGRAM_ERR_RESOURCE;
    }
    for (size_t i = 0; pack->centre != NULL && i < prepared->dim; i++) {
        pack->centre_norm2 += pack->centre[i] * pack->centre[i];
    }
    if (pack->centre_norm2 < CENTRE_NORM2_MIN) {
        free(pack->centre);
        pack->centre = NULL;
        pack->centre_norm2 = 0;
    }
    return ENGRAM_OK;
}

static bool take_memory(struct engram_prepared *prepared)
{
    struct engram_int_pack *pack = &prepared->codes;
    size_t width = prepared->kernels->int_rows;
    pack->panel_count = engram_size_round_up((size_t)prepared->rows, width) / width;
    pack->groups = groups_of(prepared->dim);
    if (!engram_size_mul(pack->panel_count, pack->groups * width * 4, &pack->bytes)) {
        return false;
    }
    pack->panels = engram_pages_alloc(pack->bytes);
    pack->heads = calloc(pack->panel_count + 1, sizeof *pack->heads);
    pack->bias = calloc(pack->panel_count * width + 1, sizeof *pack->bias);
    return pack->panels != NULL && pack->heads != NULL && pack->bias != NULL;
}

enum engram_status engram_int_pack_make(struct engram_prepared *prepared, double largest, int team,
                                        const struct engram_log *log)
{
    struct engram_int_pack *pack = &prepared->codes;
    const char *const no_memory = "not enough memory for a packed copy of the base";
    size_t rows = prepared->kernels->int_rows;
    size_t dense_size = rows * prepared->dim;
    int failed = 0;

    if (choose_vectors(prepared, largest) != ENGRAM_OK || !take_memory(prepared)) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s", no_memory);
    }
    pack->tiny = 8 * (double)(prepared->dim + 16) * 0x1p-126;
#pragma omp parallel num_threads(team) reduction(| : failed)
    {
        fenv_t saved;
        struct engram_arena arena;
        engram_fp_enter(&saved);
        enum engram_status status = engram_arena_create(
            &arena, (prepared->dim + 8) * sizeof(double) + dense_size * sizeof(float) + 256);
        const struct packer packer = {ENGRAM_ARENA_NEW(&arena, double, prepared->dim),
                                      ENGRAM_ARENA_NEW(&arena, float, dense_size)};
        failed = status != ENGRAM_OK || packer.wide == NULL || packer.dense == NULL;
#pragma omp for schedule(static)
        for (size_t panel = 0; panel < pack->panel_count; panel++) {
            if (!failed) {
                pack_panel(prepared, panel, &packer);
            }
        }
        engram_arena_destroy(&arena);
        engram_fp_leave(&saved);
    }
    return failed != 0 ? engram_fail(log, ENGRAM_ERR_RESOURCE, "%s", no_memory) : ENGRAM_OK;
}

void engram_int_pack_free(struct engram_int_pack *pack)
{
    engram_pages_free(pack->panels, pack->bytes);
    free(pack->heads);
    free(pack->bias);
    free(pack->mean);
    free(pack->centre);
    *pack = (struct engram_int_pack){0};
}

/* k of section 1, and c. */
static double centre_query(const struct engram_int_pack *pack, size_t dim, double *dense,
                           double *constant)
{
    double along = 0;
    *constant = 0;
    if (pack->centre == NULL) {
        return 0;
    }
    for (size_t i = 0; i < dim; i++) {
        along += dense[i] * pack->centre[i];
    }
    *constant = along;
    double k = along > 0 ? along / pack->centre_norm2 : 0;
    for (size_t i = 0; i < dim; i++) {
        dense[i] -= k * pack->centre[i];
    }
    return k;
}

void engram_int_query_make(const struct engram_prepared *prepared, double *dense,
                           const struct engram_projected *projected, int8_t *codes,
                           struct engram_int_query *query)
{
    const struct engram_int_pack *pack = &prepared->codes;
    size_t dim = prepared->dim;
    int limit = prepared->kernels->int_query_limit;
    double largest = 0;
    double own2 = 0;   /* |Q'|^2 */
    double error2 = 0; /* |G|^2 */
    double codes2 = 0; /* |D|^2 */

    *query = (struct engram_int_query){.projected = *projected};
    double k = centre_query(pack, dim, dense, &query->constant);
    for (size_t i = 0; i < dim; i++) {
        double magnitude = fabs(dense[i]);
        largest = magnitude > largest ? magnitude : largest;
        own2 += dense[i] * dense[i];
    }
    double scale = largest / limit > SCALE_MIN ? largest / limit : SCALE_MIN;
    for (size_t i = 0; i < dim; i++) {
        double wanted = rint(dense[i] / scale);
        int code = (int)fmax(-limit, fmin(limit, wanted));
        double error = dense[i] - scale * code;
        error2 += error * error;
        codes2 += (double)(code * code);
        query->code_sum += code;
        codes[i] = (int8_t)code;
    }
    bool euclidean = pack->mean != NULL;
    double norm = sqrt(projected->norm2); /* |Q| */
    query->scale = scale;
    query->row_error = sqrt(own2) / scale * ENLARGE;
    query->query_error = (sqrt(error2) * ENGRAM_MUTATE_INT_BOUND + 0x1p-40 * sqrt(own2) +
                          0x1p-22 * norm + 0x1p-20 * scale * sqrt(codes2)) /
                         scale * ENLARGE;
    query->slope =
        euclidean ? ldexp(1, pack->projection.exponent - projected->exponent) / scale : k / scale;
}

float engram_int_level(const struct engram_prepared *prepared, const struct engram_int_query *query,
                       double max_key, double min_score)
{
    const struct engram_int_pack *pack = &prepared->codes;
    double limit = engram_dot_limit(prepared->metric, prepared->dim, pack->projection.exponent,
                                    &query->projected, max_key, min_score);
    limit -= query->constant + pack->tiny;
    if (pack->mean == NULL) {
        limit -= (double)(prepared->dim + 64) * 0x1p-48; /* section 5 */
    }
    limit = limit > 8 ? 8 : limit;
    if (!(limit >= -8)) {
        return -INFINITY;
    }
    limit /= query->scale;
    return engram_round_down(limit - fabs(limit) * 0x1p-20);
}
