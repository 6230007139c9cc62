/* The tiles of rows of bits for x86-64: files of their own, or those of the tables would grow too
 * long. Contract in kernels.h. */
#ifndef ENGRAM_KERNELS_BITS_X86_H
#define ENGRAM_KERNELS_BITS_X86_H

#include "kernels/kernels.h"

#define ENGRAM_AVX2_BIT_QUERIES 4
#define ENGRAM_AVX512_BIT_QUERIES 8
#define ENGRAM_X86_BIT_ROWS 64

size_t engram_avx2_bit_tile(const struct engram_bit_strip *args, struct engram_candidate *out);
size_t engram_avx512_bit_tile(const struct engram_bit_strip *args, struct engram_candidate *out);

#endif
