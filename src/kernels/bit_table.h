/* How many bits of two half-bytes count, for the tiles that look them up: of the query's half-byte
 * times 16, 16 counts, one for each half-byte of the row. */
#ifndef ENGRAM_KERNELS_BIT_TABLE_H
#define ENGRAM_KERNELS_BIT_TABLE_H

#include "kernels/kernels.h"

#define BIT_COUNT4(n) (((n)&1) + ((n) >> 1 & 1) + ((n) >> 2 & 1) + ((n) >> 3 & 1))
#define BIT_ALIKE(a, b) BIT_COUNT4(~((a) ^ (b)))
#define BIT_BOTH(a, b) BIT_COUNT4((a) & (b))
#define BIT_LINE(of, a)                                                                            \
    of(a, 0), of(a, 1), of(a, 2), of(a, 3), of(a, 4), of(a, 5), of(a, 6), of(a, 7), of(a, 8),      \
        of(a, 9), of(a, 10), of(a, 11), of(a, 12), of(a, 13), of(a, 14), of(a, 15)
#define BIT_TABLE(of)                                                                              \
    {                                                                                              \
        BIT_LINE(of, 0), BIT_LINE(of, 1), BIT_LINE(of, 2), BIT_LINE(of, 3), BIT_LINE(of, 4),       \
            BIT_LINE(of, 5), BIT_LINE(of, 6), BIT_LINE(of, 7), BIT_LINE(of, 8), BIT_LINE(of, 9),   \
            BIT_LINE(of, 10), BIT_LINE(of, 11), BIT_LINE(of, 12), BIT_LINE(of, 13),                \
            BIT_LINE(of, 14), BIT_LINE(of, 15)                                                     \
    }

static const _Alignas(64) uint8_t BIT_TABLES[ENGRAM_BIT_OPS][256] = {
    [ENGRAM_BIT_DIFFERENT] = BIT_TABLE(BIT_ALIKE), [ENGRAM_BIT_COMMON] = BIT_TABLE(BIT_BOTH)};

/* Bytes whose counts fit into 8 bits: 31 * 8 < 256. The next at most so many of `left`, cut evenly:
 * widening costs as much as a few bytes. */
#define BIT_RUN 31
static inline size_t bit_run(size_t left)
{
    size_t runs = (left + BIT_RUN - 1) / BIT_RUN;
    return (left + runs - 1) / runs;
}

/* Lists what is set in a panel's 64-bit mask of rows. */
static inline size_t bit_emit(uint64_t rows, uint32_t query, uint32_t first_row,
                              struct engram_candidate *out)
{
    size_t found = 0;
    for (; rows != 0; rows &= rows - 1) {
        out[found].query = query;
        out[found].row = first_row + (uint32_t)__builtin_ctzll(rows);
        found++;
    }
    return found;
}

#endif
