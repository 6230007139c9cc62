#include "search/project.h"

#include <stdlib.h>
#include <string.h>

#include "search/prepared.h"

/* Rows that a mean is taken of: any vector is right, a mean of so many is good. */
#define MEAN_SAMPLE 4096

static double largest_difference(const double *row, const double *mean, size_t dim)
{
    double largest = 0;
    for (size_t i = 0; i < dim; i++) {
        double magnitude = fabs(row[i] - mean[i]);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

double engram_projection_factor(const struct engram_projection *projection, const double *row,
                                double self_product, double largest, struct engram_projected *query)
{
    if (projection->metric == ENGRAM_COSINE) {
        if (query != NULL) {
            *query = (struct engram_projected){0, 1};
        }
        return self_product > 0 ? 1 / sqrt(self_product) : 0;
    }
    int exponent = projection->exponent;
    if (query != NULL) {
        if (projection->mean != NULL) {
            largest = largest_difference(row, projection->mean, projection->dim);
        }
        exponent = engram_dot_exponent(largest, projection->dim);
        /* b = 2^(ex - eq) must not exceed 1. */
        if (projection->mean != NULL && exponent < projection->exponent) {
            exponent = projection->exponent;
        }
        query->exponent = exponent;
    }
    return ldexp(1, -exponent);
}

double engram_project(const struct engram_projection *projection, double factor, const double *row,
                      double *out)
{
    const double *mean = projection->mean;
    double norm2 = 0;
    if (mean == NULL) {
#pragma omp simd reduction(+ : norm2)
        for (size_t i = 0; i < projection->dim; i++) {
            double value = row[i] * factor;
            out[i] = value;
            norm2 += value * value;
        }
        return norm2;
    }
#pragma omp simd reduction(+ : norm2)
    for (size_t i = 0; i < projection->dim; i++) {
        double value = (row[i] - mean[i]) * factor;
        out[i] = value;
        norm2 += value * value;
    }
    return norm2;
}

void engram_prepared_row(const struct engram_prepared *prepared, size_t row, double *wide)
{
    enum engram_dtype dtype = prepared->type == ENGRAM_WORK_F32 ? ENGRAM_F32 : ENGRAM_F64;
    engram_row_widen(dtype, prepared->view.data + row * prepared->view.stride, prepared->dim, wide);
}

double *engram_sample_mean(const struct engram_prepared *prepared,
                           const struct engram_projection *projection)
{
    size_t rows = (size_t)prepared->rows;
    double *mean = calloc(prepared->dim + 1, sizeof *mean);
    double *row = calloc(prepared->dim + 1, sizeof *row);
    int64_t count = 0;

    for (size_t r = 0; mean != NULL && row != NULL && r < rows; r += rows / MEAN_SAMPLE + 1) {
        if (!engram_prepared_live(prepared, r)) {
            continue;
        }
        engram_prepared_row(prepared, r, row);
        if (projection != NULL) {
            double xx = prepared->self_products == NULL ? 0 : prepared->self_products[r];
            double factor = engram_projection_factor(projection, row, xx, 0, NULL);
            (void)engram_project(projection, factor, row, row);
        }
        count++;
        for (size_t i = 0; i < prepared->dim; i++) {
            /* A running mean cannot overflow where the values do not. */
            mean[i] += (row[i] - mean[i]) / (double)count;
        }
    }
    if (row == NULL) {
        free(mean);
        mean = NULL;
    }
    free(row);
    return mean;
}

double *engram_prepared_mean(const struct engram_prepared *prepared, double *largest)
{
    const struct engram_prepared *model = prepared->model;
    const double *known = model == NULL               ? NULL
                          : model->codes.mean != NULL ? model->codes.mean
                                                      : model->f32.mean;
    if (known == NULL) {
        return engram_sample_mean(prepared, NULL);
    }
    *largest = model->largest > *largest ? model->largest : *largest;
    double *mean = calloc(prepared->dim + 1, sizeof *mean);
    if (mean != NULL) {
        memcpy(mean, known, prepared->dim * sizeof *mean);
    }
    return mean;
}
