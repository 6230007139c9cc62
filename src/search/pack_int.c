/* Packing for the integer tile; the mathematics is in bound_int.h, whose names are used here. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"
#include "engram/arena.h"
#include "search/bound_int.h"
#include "search/bound_prefix.h"
#include "search/pack_prefix.h"

/* A centre shorter than this changes nothing worth its cost. */
#define CENTRE_NORM2_MIN 0x1p-12

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

size_t engram_prefix_pack_bytes(const struct engram_kernels *kernels, int64_t rows, int64_t dim)
{
    int64_t most = (int64_t)ENGRAM_AXES_MAX;
    return engram_int_pack_bytes(kernels, rows, (dim < most ? dim : most) + 1);
}

/* Room of one packing thread. */
struct packer {
    double *wide;    /* [prepared->dim] */
    float *narrow;   /* [prepared->dim] */
    float *dense;    /* [int_rows][pack->dim] */
    float *flat;     /* with axes: [int_rows][prepared->dim] the rows themselves */
    float *heads;    /* with axes: [int_rows][16 axes.groups] */
    float *extended; /* with axes: [int_rows][pack->dim] before centring */
    struct engram_int_row terms[ENGRAM_INT_ROWS_MAX];
};

/* Factors from here to 1 / here can be applied in float32 without overflow, and the products
 * underflow only below what T covers. */
#define FACTOR_MAX 0x1p60

/* X - centre of a live row into `out`. A float32 row of ordinary size takes float32 steps; anything
 * else is projected in float64 first. */
struct engram_int_row engram_int_centre_row(const struct engram_prepared *prepared, size_t row,
                                            const float *centre, double *wide, float *narrow,
                                            float *out)
{
    const struct engram_int_pack *pack = &prepared->codes;
    double xx = prepared->self_products == NULL ? 0 : prepared->self_products[row];
    struct engram_int_row terms;
    struct engram_int_centre args = {
        .mean = pack->mean32, .centre = centre, .factor = 1, .dim = prepared->dim};
    double factor = engram_projection_factor(&pack->projection, NULL, xx, 0, NULL);
    if (prepared->type == ENGRAM_WORK_F32 && factor > 1 / FACTOR_MAX && factor < FACTOR_MAX) {
        args.row = (const float *)(const void *)(prepared->view.data + row * prepared->view.stride);
        args.factor = (float)factor;
    } else {
        engram_prepared_row(prepared, row, wide);
        (void)engram_project(&pack->projection, factor, wide, wide);
        for (size_t i = 0; i < prepared->dim; i++) {
            narrow[i] = (float)wide[i];
        }
        args.row = narrow;
        args.mean = pack->zeros32;
    }
    prepared->kernels->int_centre(&args, out, &terms);
    return terms;
}

/* F of every live row of the panel, and its terms; the largest magnitude. */
static double centre_panel(const struct engram_prepared *prepared, size_t first,
                           struct packer *packer)
{
    const struct engram_int_pack *pack = &prepared->codes;
    double largest = 0;
    for (size_t r = 0; r < prepared->kernels->int_rows; r++) {
        struct engram_int_row *terms = &packer->terms[r];
        if (!engram_prepared_live(prepared, first + r)) {
            continue;
        }
        *terms = engram_int_centre_row(prepared, first + r, pack->centre32, packer->wide,
                                       packer->narrow, packer->dense + r * pack->dim);
        if (pack->mean != NULL) {
            terms->weight = -terms->norm2 / 2;
        }
        largest = fmax(largest, (double)terms->largest);
    }
    return largest;
}

/* Likewise by way of the axes. Rows that are not live are zeros, of which nothing is used. */
static double extend_panel(const struct engram_prepared *prepared, size_t first,
                           struct packer *packer)
{
    const struct engram_int_pack *pack = &prepared->codes;
    size_t width = prepared->kernels->int_rows;
    double norm2[ENGRAM_INT_ROWS_MAX] = {0};
    double largest = 0;
    for (size_t r = 0; r < width; r++) {
        float *flat = packer->flat + r * prepared->dim;
        if (engram_prepared_live(prepared, first + r)) {
            norm2[r] = engram_int_centre_row(prepared, first + r, pack->zeros32, packer->wide,
                                             packer->narrow, flat)
                           .norm2;
        } else {
            memset(flat, 0, prepared->dim * sizeof *flat);
        }
    }
    engram_prefix_rows(prepared->kernels, &pack->axes, packer->flat, norm2, width, packer->heads,
                       packer->extended);
    for (size_t r = 0; r < width; r++) {
        const struct engram_int_centre args = {.row = packer->extended + r * pack->dim,
                                               .mean = pack->zeros32,
                                               .centre = pack->centre32,
                                               .factor = 1,
                                               .dim = pack->dim};
        prepared->kernels->int_centre(&args, packer->dense + r * pack->dim, &packer->terms[r]);
        if (pack->mean != NULL) {
            packer->terms[r].weight = -norm2[r] / 2;
        }
        if (engram_prepared_live(prepared, first + r)) {
            largest = fmax(largest, (double)packer->terms[r].largest);
        }
    }
    return largest;
}

static float bias_of(double weight, double scale)
{
    return engram_round_up(weight / scale + fabs(weight / scale) * 0x1p-16);
}

static void pack_panel(const struct engram_prepared *prepared, size_t panel, struct packer *packer)
{
    const struct engram_int_pack *pack = &prepared->codes;
    const struct engram_kernels *kernels = prepared->kernels;
    const struct engram_int_row *terms = packer->terms;
    size_t width = kernels->int_rows;
    int limit = kernels->int_base_limit;
    uint8_t *to = pack->panels + panel * pack->groups * width * 4;
    float *bias = pack->bias + panel * width;
    double error = 0;
    double norm = 0;
    double lost = sqrt((double)pack->dim) * 0x1p-74; /* squares below 2^-149 vanish */
    double largest = pack->prefix ? extend_panel(prepared, panel * width, packer)
                                  : centre_panel(prepared, panel * width, packer);

    double wanted = largest / limit > ENGRAM_INT_SCALE_MIN ? largest / limit : ENGRAM_INT_SCALE_MIN;
    float scale = (float)wanted;
    /* Codes of missing rows and dimensions are never looked at, or meet zeros. */
    memset(to, limit, pack->groups * width * 4);
    for (size_t r = 0; r < width; r++) {
        double error2;
        double code2;
        bias[r] = 0;
        if (!engram_prepared_live(prepared, panel * width + r)) {
            continue;
        }
        const struct engram_int_encode args = {.values = packer->dense + r * pack->dim,
                                               .dim = pack->dim,
                                               .inverse = 1 / scale,
                                               .scale = scale,
                                               .limit = limit,
                                               .stride = width * 4};
        kernels->int_encode(&args, to + r * 4, &error2, &code2);
        double own = sqrt(terms[r].norm2) + lost;
        error = fmax(error, sqrt(error2) + lost + 0x1p-22 * own);
        norm = fmax(norm, fmax((double)scale * sqrt(code2), own));
        bias[r] = bias_of(terms[r].weight, (double)scale);
    }
    pack->heads[panel] = (struct engram_int_head){
        .scale = 1 / scale,
        .error =
            engram_round_up(error / (double)scale * ENGRAM_INT_ENLARGE * ENGRAM_MUTATE_INT_BOUND),
        .norm = engram_round_up(norm / (double)scale * ENGRAM_INT_ENLARGE),
    };
}

/* Float32 forms of a fixed vector for the packing loops, zeros for one there is not. The float64
 * form is made equal to it: any vector is right, but both sides need the same one. */
static float *narrow_vector(double *vector, size_t dim)
{
    float *narrow = calloc(dim + 1, sizeof *narrow);
    for (size_t i = 0; narrow != NULL && vector != NULL && i < dim; i++) {
        if (fabs(vector[i]) < 0x1p126) {
            narrow[i] = (float)vector[i];
        }
        vector[i] = (double)narrow[i];
    }
    return narrow;
}

/* The projection, with a mean for l2. */
static enum engram_status choose_projection(struct engram_prepared *prepared, double largest)
{
    struct engram_int_pack *pack = &prepared->codes;
    bool euclidean = engram_metric_op(prepared->metric) == ENGRAM_OP_SQDIFF;
    if (prepared->model != NULL) {
        /* What is taken over keeps a norm of at most 1. */
        largest = fmax(largest, prepared->model->largest);
    }
    if (euclidean) {
        pack->mean = engram_prepared_mean(prepared, &largest);
        largest *= 2 * (1 + 0x1p-20); /* |x - m| <= |x| + |m|, m rounded to float32 */
    }
    pack->projection = (struct engram_projection){
        .metric = prepared->metric,
        .dim = prepared->dim,
        .exponent =
            prepared->metric == ENGRAM_COSINE ? 0 : engram_dot_exponent(largest, prepared->dim),
        .mean = pack->mean,
    };
    pack->mean32 = narrow_vector(pack->mean, prepared->dim);
    pack->zeros32 = narrow_vector(NULL, prepared->dim + ENGRAM_AXES_MAX);
    return (euclidean && pack->mean == NULL) || pack->mean32 == NULL || pack->zeros32 == NULL
               ? ENGRAM_ERR_RESOURCE
               : ENGRAM_OK;
}

/* A centre where there is one worth it. Without axes the mean of l2 does its work. */
static enum engram_status choose_centre(struct engram_prepared *prepared)
{
    struct engram_int_pack *pack = &prepared->codes;
    bool without = !pack->prefix && pack->mean != NULL;
    const struct engram_int_pack *model = prepared->model == NULL ? NULL : &prepared->model->codes;
    without = without || (model != NULL && model->centre == NULL);
    if (model != NULL && model->centre != NULL) {
        pack->centre = calloc(pack->dim + 1, sizeof *pack->centre);
        if (pack->centre != NULL) {
            double scale = ldexp(1, model->projection.exponent - pack->projection.exponent);
            for (size_t i = 0; i < pack->dim; i++) {
                pack->centre[i] = model->centre[i] * scale;
            }
        }
    } else if (!pack->prefix && !without) {
        pack->centre = engram_sample_mean(prepared, &pack->projection);
    }
    if (pack->centre == NULL && !without) {
        return ENGRAM_ERR_RESOURCE;
    }
    double norm2 = 0;
    for (size_t i = 0; pack->centre != NULL && i < pack->dim; i++) {
        norm2 += pack->centre[i] * pack->centre[i];
    }
    if (norm2 < CENTRE_NORM2_MIN) {
        free(pack->centre);
        pack->centre = NULL;
    }
    pack->centre32 = narrow_vector(pack->centre, pack->dim);
    if (pack->centre32 == NULL) {
        return ENGRAM_ERR_RESOURCE;
    }
    pack->centre_norm2 = 0;
    for (size_t i = 0; pack->centre != NULL && i < pack->dim; i++) {
        pack->centre_norm2 += pack->centre[i] * pack->centre[i];
    }
    return ENGRAM_OK;
}

static bool take_memory(struct engram_prepared *prepared)
{
    struct engram_int_pack *pack = &prepared->codes;
    size_t width = prepared->kernels->int_rows;
    pack->panel_count = engram_size_round_up((size_t)prepared->rows, width) / width;
    pack->groups = groups_of(pack->dim);
    if (!engram_size_mul(pack->panel_count, pack->groups * width * 4, &pack->bytes)) {
        return false;
    }
    pack->panels = engram_pages_alloc(pack->bytes);
    pack->heads = calloc(pack->panel_count + 1, sizeof *pack->heads);
    pack->bias = calloc(pack->panel_count * width + 1, sizeof *pack->bias);
    return pack->panels != NULL && pack->heads != NULL && pack->bias != NULL;
}

/* A thread's room from its arena. */
static bool packer_make(const struct engram_prepared *prepared, struct engram_arena *arena,
                        struct packer *packer)
{
    const struct engram_int_pack *pack = &prepared->codes;
    size_t rows = prepared->kernels->int_rows;
    size_t head = pack->axes.groups * ENGRAM_PRODUCT_GROUP;
    size_t flat = pack->prefix ? prepared->dim : 0;
    size_t bytes = (prepared->dim + 16) * (sizeof(double) + sizeof(float)) +
                   rows * (flat + head + 2 * pack->dim) * sizeof(float) + 512;
    *packer = (struct packer){0};
    if (engram_arena_create(arena, bytes) != ENGRAM_OK) {
        return false;
    }
    packer->wide = ENGRAM_ARENA_NEW(arena, double, prepared->dim);
    packer->narrow = ENGRAM_ARENA_NEW(arena, float, prepared->dim);
    packer->dense = ENGRAM_ARENA_NEW(arena, float, rows * pack->dim);
    if (pack->prefix) {
        packer->flat = ENGRAM_ARENA_NEW(arena, float, rows *flat);
        packer->heads = ENGRAM_ARENA_NEW(arena, float, rows *head);
        packer->extended = ENGRAM_ARENA_NEW(arena, float, rows * pack->dim);
    }
    return packer->wide != NULL && packer->narrow != NULL && packer->dense != NULL &&
           (!pack->prefix ||
            (packer->flat != NULL && packer->heads != NULL && packer->extended != NULL));
}

/* The axes of the model, which are its own. */
static void borrow_axes(struct engram_prepared *prepared)
{
    struct engram_int_pack *pack = &prepared->codes;
    pack->prefix = true;
    pack->borrowed = true;
    pack->axes = prepared->model->codes.axes;
    pack->dim = pack->axes.count + 1;
}

static enum engram_status choose(struct engram_prepared *prepared, double largest,
                                 const struct engram_search_options *options, int team)
{
    struct engram_int_pack *pack = &prepared->codes;
    enum engram_status status = choose_projection(prepared, largest);
    pack->dim = prepared->dim;
    if (prepared->model != NULL && prepared->model->codes.prefix) {
        borrow_axes(prepared);
    } else if (status == ENGRAM_OK && options->filter != ENGRAM_FILTER_INT) {
        status =
            engram_prefix_choose(prepared, options, options->filter == ENGRAM_FILTER_AUTO, team);
    }
    return status == ENGRAM_OK ? choose_centre(prepared) : status;
}

enum engram_status engram_int_pack_make(struct engram_prepared *prepared, double largest,
                                        const struct engram_search_options *options, int team)
{
    const struct engram_log *log = &options->log;
    struct engram_int_pack *pack = &prepared->codes;
    const char *const no_memory = "not enough memory for a packed copy of the base";
    int failed = 0;

    if (choose(prepared, largest, options, team) != ENGRAM_OK || !take_memory(prepared)) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s", no_memory);
    }
    pack->tiny =
        8 * (double)(prepared->dim + 16) * 0x1p-126 + (pack->prefix ? ENGRAM_PREFIX_TINY : 0);
#pragma omp parallel num_threads(team) reduction(| : failed)
    {
        fenv_t saved;
        struct engram_arena arena = {0};
        struct packer packer;
        engram_fp_enter(&saved);
        failed = !packer_make(prepared, &arena, &packer);
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
    free(pack->mean32);
    free(pack->centre32);
    free(pack->zeros32);
    if (!pack->borrowed) {
        engram_axes_free(&pack->axes);
    }
    *pack = (struct engram_int_pack){0};
}
