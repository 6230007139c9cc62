/* Rows of bits, eight to a byte, as whole 64-bit words. */
#ifndef ENGRAM_KERNELS_BITS_H
#define ENGRAM_KERNELS_BITS_H

#include <stdint.h>
#include <string.h>

static inline size_t engram_bits_words(size_t dim)
{
    return dim / 64 + (dim % 64 != 0);
}

/* The bits past the last whole word, in the order of a word loaded from memory; bits past `dim`
 * are 0, whatever the row holds there. Meaningful only if dim % 64 is not 0. */
static inline uint64_t engram_bits_tail(const unsigned char *row, size_t dim)
{
    unsigned char bytes[8] = {0};
    uint64_t word;
    size_t bits = dim % 64;
    const unsigned char *from = row + dim / 64 * 8;
    for (size_t i = 0; i < (bits + 7) / 8; i++) {
        bytes[i] = from[i];
    }
    if (bits % 8 != 0) {
        bytes[bits / 8] &= (unsigned char)(0xff00U >> bits % 8);
    }
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* A row into engram_bits_words(dim) words. */
static inline void engram_bits_load(const unsigned char *row, size_t dim, uint64_t *words)
{
    if (dim >= 64) {
        memcpy(words, row, dim / 64 * 8);
    }
    if (dim % 64 != 0) {
        words[dim / 64] = engram_bits_tail(row, dim);
    }
}

#endif
