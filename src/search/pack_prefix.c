#include "search/pack_prefix.h"

#include <omp.h>
#include <stdlib.h>

#include "base/pages.h"
#include "kernels/kernels.h"
#include "search/predict.h"

/* Rows that the axes are found from, and fewer where fewer axes are wanted. */
#define SAMPLE_ROWS ((size_t)1024)
#define ROWS_PER_AXIS ((size_t)8)

/* Without a word about the job, no more axes than this are looked for. */
#define AXES_USUAL ((size_t)95)

static const char TOO_FEW[] = "too few pairs to pay for axes";

static bool sample_make(const struct engram_prepared *prepared, size_t wanted,
                        struct engram_prefix_sample *sample)
{
    size_t rows = (size_t)prepared->rows;
    size_t step = rows / wanted + 1;
    size_t room = rows / step + 1;
    double *wide = calloc(prepared->dim + 1, sizeof *wide);
    float *narrow = calloc(prepared->dim + 1, sizeof *narrow);
    *sample = (struct engram_prefix_sample){.bytes = room * prepared->dim * sizeof(float)};
    sample->flat = engram_pages_alloc(sample->bytes);
    sample->norm2 = calloc(room + 1, sizeof *sample->norm2);
    bool ok = wide != NULL && narrow != NULL && sample->flat != NULL && sample->norm2 != NULL;
    for (size_t r = 0; ok && r < rows; r += step) {
        if (engram_prepared_live(prepared, r)) {
            sample->norm2[sample->rows] =
                engram_int_centre_row(prepared, r, prepared->codes.zeros32, wide, narrow,
                                      sample->flat + sample->rows * prepared->dim)
                    .norm2;
            sample->rows++;
        }
    }
    free(wide);
    free(narrow);
    return ok;
}

static void sample_free(struct engram_prefix_sample *sample)
{
    engram_pages_free(sample->flat, sample->bytes);
    free(sample->norm2);
}

/* (h, T) of the sample: [rows][axes + 1], to be freed; NULL when memory fails. */
static float *extend_sample(const struct engram_prepared *prepared,
                            const struct engram_prefix_sample *sample)
{
    const struct engram_axes *axes = &prepared->codes.axes;
    float *heads = calloc(sample->rows * axes->groups * ENGRAM_PRODUCT_GROUP + 1, sizeof *heads);
    float *extended = calloc(sample->rows * (axes->count + 1) + 1, sizeof *extended);
    if (heads != NULL && extended != NULL) {
        engram_prefix_rows(prepared->kernels, axes, sample->flat, sample->norm2, sample->rows,
                           heads, extended);
    } else {
        free(extended);
        extended = NULL;
    }
    free(heads);
    return extended;
}

/* Takes the axes: the centre is the mean of the sample. */
static bool settle(struct engram_prepared *prepared, const struct engram_prefix_sample *sample)
{
    struct engram_int_pack *pack = &prepared->codes;
    float *extended = extend_sample(prepared, sample);
    pack->prefix = true;
    pack->dim = pack->axes.count + 1;
    pack->centre = calloc(pack->dim + 1, sizeof *pack->centre);
    bool ok = extended != NULL && pack->centre != NULL;
    for (size_t r = 0; ok && r < sample->rows; r++) {
        for (size_t i = 0; i < pack->dim; i++) {
            pack->centre[i] += (double)extended[r * pack->dim + i] / (double)sample->rows;
        }
    }
    free(extended);
    return ok;
}

/* Finds up to `most` axes and cuts them to the best number. */
static enum engram_status find_axes(struct engram_prepared *prepared,
                                    struct engram_predictor *predictor, size_t most, int team)
{
    const struct engram_prefix_sample *sample = predictor->sample;
    struct engram_axes *axes = &prepared->codes.axes;
    enum engram_status status = engram_axes_find(prepared->kernels, sample->flat, sample->rows,
                                                 prepared->dim, most, team, axes);
    float *extended = status == ENGRAM_OK ? extend_sample(prepared, sample) : NULL;
    if (extended == NULL) {
        return ENGRAM_ERR_RESOURCE;
    }
    engram_predict_axes(predictor, axes, extended);
    engram_axes_cut(axes, (size_t)predictor->found.prefix.axes);
    free(extended);
    return ENGRAM_OK;
}

/* Whether the axes that a job of this size may be given are worth looking for. */
static bool worth_axes(struct engram_predictor *predictor, size_t most)
{
    const char **why_not = &predictor->found.prefix.why_not;
    if (most == 0) {
        *why_not = TOO_FEW;
    } else if (!engram_predict_hope(predictor, most)) {
        *why_not = "no axes could make it clearly cheaper";
    }
    return *why_not == NULL;
}

static enum engram_status choose(struct engram_prepared *prepared,
                                 struct engram_predictor *predictor, bool automatic, size_t most,
                                 int team)
{
    if (automatic && !worth_axes(predictor, most)) {
        return ENGRAM_OK;
    }
    enum engram_status status = find_axes(prepared, predictor, most, team);
    if (status == ENGRAM_OK && (!automatic || engram_predict_pays(&predictor->found))) {
        return settle(prepared, predictor->sample) ? ENGRAM_OK : ENGRAM_ERR_RESOURCE;
    }
    engram_axes_free(&prepared->codes.axes);
    return status;
}

enum engram_status engram_prefix_choose(struct engram_prepared *prepared,
                                        const struct engram_search_options *options, bool automatic,
                                        int team)
{
    struct engram_prefix_sample sample;
    struct engram_predictor predictor = {0};
    size_t most = engram_predict_axes_most(prepared, options);
    if (automatic && most == 0 && !prepared->explain) {
        prepared->choice.prefix.why_not = TOO_FEW;
        return ENGRAM_OK;
    }
    if (!automatic && most < AXES_USUAL) {
        most = prepared->dim < AXES_USUAL ? prepared->dim : AXES_USUAL;
    }
    size_t wanted = most * ROWS_PER_AXIS < SAMPLE_ROWS ? most * ROWS_PER_AXIS : SAMPLE_ROWS;
    bool ok = sample_make(prepared, wanted < 256 ? 256 : wanted, &sample) &&
              engram_predictor_make(&predictor, prepared, &sample, options);
    enum engram_status status =
        ok ? choose(prepared, &predictor, automatic, most, team) : ENGRAM_ERR_RESOURCE;
    prepared->choice = predictor.found;
    engram_predictor_free(&predictor);
    sample_free(&sample);
    return status;
}

size_t engram_prefix_query_room(const struct engram_prepared *prepared)
{
    const struct engram_int_pack *pack = &prepared->codes;
    return pack->prefix ? prepared->dim + pack->axes.groups * ENGRAM_PRODUCT_GROUP + pack->dim : 0;
}

void engram_prefix_query(const struct engram_prepared *prepared, double norm2, double *dense,
                         float *room)
{
    const struct engram_axes *axes = &prepared->codes.axes;
    float *heads = room + prepared->dim;
    float *extended = heads + axes->groups * ENGRAM_PRODUCT_GROUP;
    for (size_t i = 0; i < prepared->dim; i++) {
        room[i] = (float)dense[i];
    }
    engram_prefix_rows(prepared->kernels, axes, room, &norm2, 1, heads, extended);
    for (size_t i = 0; i <= axes->count; i++) {
        dense[i] = (double)extended[i];
    }
}
