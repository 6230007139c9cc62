/* The loops over single rows (f32_look, f32_project, int_centre, int_encode) and their products
 * with axes for x86-64: files of their own, or those of the tables would grow too long. Contracts
 * in kernels.h.
 */
#ifndef ENGRAM_KERNELS_PACK_X86_H
#define ENGRAM_KERNELS_PACK_X86_H

#include <stdbool.h>

#include "kernels/kernels.h"

/* Elements whose terms are added in float32 before they go to float64: with at least eight sums
 * side by side at most 32 additions a sum, as search/bound_int.h allows. */
#define ENGRAM_PACK_BLOCK_AVX2 ((size_t)256)
#define ENGRAM_PACK_BLOCK_AVX512 ((size_t)512)

/* Bytes from a row to what int_centre fetches meanwhile: rows mostly follow each other in memory,
 * and the hardware's own prefetching does not survive the encoding between two panels. Prefetching
 * never faults, whatever is there. */
#define ENGRAM_PACK_AHEAD 4096

void engram_avx2_f32_look(const struct engram_base_rows *rows, size_t count, size_t dim,
                          uint32_t *tops, double *self_products);
double engram_avx2_f32_project(const float *row, const double *mean, double factor, size_t dim,
                               float *out);
void engram_avx2_int_centre(const struct engram_int_centre *args, float *out,
                            struct engram_int_row *row);
void engram_avx2_int_encode(const struct engram_int_encode *args, uint8_t *out, double *error2,
                            double *code2);
void engram_avx2_f32_products(const struct engram_f32_products *args, float *out);

void engram_avx512_f32_look(const struct engram_base_rows *rows, size_t count, size_t dim,
                            uint32_t *tops, double *self_products);
double engram_avx512_f32_project(const float *row, const double *mean, double factor, size_t dim,
                                 float *out);
void engram_avx512_int_centre(const struct engram_int_centre *args, float *out,
                              struct engram_int_row *row);
void engram_avx512_int_encode(const struct engram_int_encode *args, uint8_t *out, double *error2,
                              double *code2);
void engram_avx512_f32_products(const struct engram_f32_products *args, float *out);

#endif
