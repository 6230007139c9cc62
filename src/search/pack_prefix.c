#include "search/pack_prefix.h"

#include <omp.h>
#include <stdlib.h>

#include "base/pages.h"
#include "kernels/kernels.h"

/* Rows that the axes are found from. */
#define SAMPLE_ROWS ((size_t)1024)

/* Axes that are used: with the tail they fill the groups of four that the tile takes. */
#define AXES ((size_t)95)

/* Rows F of the sample. */
struct sample {
    float *flat; /* [rows][dim] */
    size_t rows;
    size_t bytes;
    double *norm2;   /* [rows] */
    float *extended; /* [rows][axes + 1] */
};

static bool sample_make(const struct engram_prepared *prepared, struct sample *sample)
{
    size_t rows = (size_t)prepared->rows;
    size_t step = rows / SAMPLE_ROWS + 1;
    size_t room = rows / step + 1;
    double *wide = calloc(prepared->dim + 1, sizeof *wide);
    float *narrow = calloc(prepared->dim + 1, sizeof *narrow);
    *sample = (struct sample){.bytes = room * prepared->dim * sizeof(float)};
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

static void sample_free(struct sample *sample)
{
    engram_pages_free(sample->flat, sample->bytes);
    free(sample->norm2);
    free(sample->extended);
}

/* (h, T) of the sample, and their mean. */
static bool extend_sample(struct engram_prepared *prepared, struct sample *sample)
{
    struct engram_int_pack *pack = &prepared->codes;
    size_t head = pack->axes.groups * ENGRAM_PRODUCT_GROUP;
    float *heads = calloc(sample->rows * head + 1, sizeof *heads);
    pack->centre = calloc(pack->dim + 1, sizeof *pack->centre);
    sample->extended = calloc(sample->rows * pack->dim + 1, sizeof *sample->extended);
    bool ok = heads != NULL && pack->centre != NULL && sample->extended != NULL;
    if (ok) {
        engram_prefix_rows(prepared->kernels, &pack->axes, sample->flat, sample->norm2,
                           sample->rows, heads, sample->extended);
    }
    for (size_t r = 0; ok && r < sample->rows; r++) {
        for (size_t i = 0; i < pack->dim; i++) {
            pack->centre[i] += (double)sample->extended[r * pack->dim + i] / (double)sample->rows;
        }
    }
    free(heads);
    return ok;
}

enum engram_status engram_prefix_choose(struct engram_prepared *prepared, int team)
{
    struct engram_int_pack *pack = &prepared->codes;
    struct sample sample;
    enum engram_status status = ENGRAM_ERR_RESOURCE;
    size_t count = prepared->dim < AXES ? prepared->dim : AXES;
    if (sample_make(prepared, &sample)) {
        status = engram_axes_find(prepared->kernels, sample.flat, sample.rows, prepared->dim, count,
                                  team, &pack->axes);
    }
    pack->dim = pack->axes.count + 1;
    if (status == ENGRAM_OK && !extend_sample(prepared, &sample)) {
        status = ENGRAM_ERR_RESOURCE;
    }
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
