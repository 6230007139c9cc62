/* The loops of packing, included by every set's file: the compiler vectorises them for that set's
 * registers. Plain C without a bound of their own to keep: search/bound_int.h allows for sums
 * that err by 2^-18 of the sum of their terms' magnitudes, in any order of addition. */
#ifndef ENGRAM_KERNELS_PACK_LOOPS_H
#define ENGRAM_KERNELS_PACK_LOOPS_H

#include <string.h>

#include "kernels/kernels.h"

/* Partial sums side by side; one zmm or two ymm of float32. */
#define PACK_LANES 16
/* Elements whose terms are added in float32 before they go to float64: 32 additions a lane. */
#define PACK_BLOCK 512

/* The canonical sum of a row against itself. */
static double pack_self_product(const float *row, size_t dim)
{
    double s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= dim; i += 8) {
        for (size_t j = 0; j < 8; j++) {
            s[j] += (double)row[i + j] * (double)row[i + j];
        }
    }
    for (size_t j = 0; i + j < dim; j++) {
        s[j] += (double)row[i + j] * (double)row[i + j];
    }
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static uint32_t pack_top(const float *row, size_t dim)
{
    uint32_t tops[PACK_LANES] = {0};
    uint32_t top = 0;
    size_t i = 0;
    for (; i + PACK_LANES <= dim; i += PACK_LANES) {
        uint32_t bits[PACK_LANES];
        memcpy(bits, row + i, sizeof bits);
        for (size_t j = 0; j < PACK_LANES; j++) {
            uint32_t magnitude = bits[j] & 0x7fffffffU;
            tops[j] = magnitude > tops[j] ? magnitude : tops[j];
        }
    }
    for (size_t j = 0; i + j < dim; j++) {
        uint32_t bits;
        memcpy(&bits, row + i + j, sizeof bits);
        bits &= 0x7fffffffU;
        tops[j] = bits > tops[j] ? bits : tops[j];
    }
    for (size_t j = 0; j < PACK_LANES; j++) {
        top = tops[j] > top ? tops[j] : top;
    }
    return top;
}

static void pack_look(const struct engram_base_rows *rows, size_t count, size_t dim, uint32_t *tops,
                      double *self_products)
{
    for (size_t r = 0; r < count; r++) {
        const float *row = (const float *)(const void *)(rows->data + r * rows->stride);
        tops[r] = pack_top(row, dim);
        if (self_products != NULL) {
            self_products[r] = pack_self_product(row, dim);
        }
    }
}

static double pack_project(const float *row, const double *mean, double factor, size_t dim,
                           float *out)
{
    /* Four sums, because one chain of additions would take longer than all the rest. */
    double sums[4] = {0, 0, 0, 0};
    for (size_t i = 0; i < dim; i++) {
        double wide = (double)row[i];
        double value = (mean == NULL ? wide : wide - mean[i]) * factor;
        out[i] = (float)value;
        sums[i & 3] += value * value;
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* Elements [first, last) of engram_int_centre_fn, last - first at most PACK_BLOCK. */
static inline void pack_centre_block(const struct engram_int_centre *args, size_t first,
                                     size_t last, float *out, struct engram_int_row *row,
                                     uint32_t *top)
{
    float norms[PACK_LANES] = {0};
    float weights[PACK_LANES] = {0};
    uint32_t tops[PACK_LANES] = {0};
    for (size_t i = first; i < last; i += PACK_LANES) {
        size_t lanes = last - i < PACK_LANES ? last - i : PACK_LANES;
        if (lanes == PACK_LANES) {
            for (size_t j = 0; j < PACK_LANES; j++) {
                float centre = args->centre[i + j];
                float value = (args->row[i + j] - args->mean[i + j]) * args->factor - centre;
                uint32_t bits;
                memcpy(&bits, &value, sizeof bits);
                bits &= 0x7fffffffU; /* magnitudes order like their bit patterns */
                out[i + j] = value;
                norms[j] += value * value;
                weights[j] += value * centre;
                tops[j] = bits > tops[j] ? bits : tops[j];
            }
            continue;
        }
        for (size_t j = 0; j < lanes; j++) {
            float centre = args->centre[i + j];
            float value = (args->row[i + j] - args->mean[i + j]) * args->factor - centre;
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            bits &= 0x7fffffffU;
            out[i + j] = value;
            norms[j] += value * value;
            weights[j] += value * centre;
            tops[j] = bits > tops[j] ? bits : tops[j];
        }
    }
    for (size_t j = 0; j < PACK_LANES; j++) {
        row->norm2 += (double)norms[j];
        row->weight += (double)weights[j];
        *top = tops[j] > *top ? tops[j] : *top;
    }
}

static void pack_centre(const struct engram_int_centre *args, float *out,
                        struct engram_int_row *row)
{
    uint32_t top = 0;
    row->norm2 = 0;
    row->weight = 0;
    for (size_t i = 0; i < args->dim; i += PACK_BLOCK) {
        size_t last = args->dim - i < PACK_BLOCK ? args->dim : i + PACK_BLOCK;
        pack_centre_block(args, i, last, out, row, &top);
    }
    memcpy(&row->largest, &top, sizeof top);
}

/* Elements [first, last) of engram_int_encode_fn into `codes`. */
static inline void pack_encode_block(const struct engram_int_encode *args, size_t first,
                                     size_t last, uint8_t *codes, double *error2, double *code2)
{
    const float round = 12582912.0F; /* 1.5 * 2^23: adding it rounds to the nearest integer */
    const float top = (float)args->limit;
    float errors[PACK_LANES] = {0};
    float squares[PACK_LANES] = {0};
    for (size_t i = first; i < last; i += PACK_LANES) {
        size_t lanes = last - i < PACK_LANES ? last - i : PACK_LANES;
        for (size_t j = 0; j < lanes; j++) {
            float value = args->values[i + j];
            float wanted = value * args->inverse;
            wanted = wanted < top ? wanted : top;
            wanted = wanted > -top ? wanted : -top;
            float code = (wanted + round) - round;
            float error = value - args->scale * code;
            errors[j] += error * error;
            squares[j] += code * code;
            codes[i - first + j] = (uint8_t)((int)code + args->limit);
        }
    }
    for (size_t j = 0; j < PACK_LANES; j++) {
        *error2 += (double)errors[j];
        *code2 += (double)squares[j];
    }
}

static void pack_encode(const struct engram_int_encode *args, uint8_t *out, double *error2,
                        double *code2)
{
    uint8_t codes[PACK_BLOCK];
    *error2 = 0;
    *code2 = 0;
    for (size_t i = 0; i < args->dim; i += PACK_BLOCK) {
        size_t last = args->dim - i < PACK_BLOCK ? args->dim : i + PACK_BLOCK;
        pack_encode_block(args, i, last, codes, error2, code2);
        size_t whole = (last - i) / 4;
        for (size_t g = 0; g < whole; g++) {
            memcpy(out + (i / 4 + g) * args->stride, codes + 4 * g, 4);
        }
        if ((last - i) % 4 != 0) {
            memcpy(out + (i / 4 + whole) * args->stride, codes + 4 * whole, (last - i) % 4);
        }
    }
}

#endif
