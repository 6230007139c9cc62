/* Rows of bits packed for bit_tile. Counts of bits are exact; there is nothing to bound. */
#ifndef ENGRAM_SEARCH_PACK_BITS_H
#define ENGRAM_SEARCH_PACK_BITS_H

#include "kernels/kernels.h"

/* With more bits the counts of the tile would not fit into 16 bits. */
#define ENGRAM_BITS_DIM_MAX ((int64_t)65528)

struct engram_bit_pack {
    uint8_t *panels; /* [panel_count][bytes][kernels->bit_rows]; NULL: not packed */
    size_t size;     /* of the memory at `panels` */
    uint16_t *sizes; /* [panel_count][kernels->bit_rows], times 2^shift; within the same memory */
    size_t bytes;    /* of a row */
    int shift;       /* fraction bits in what the tile compares; 8 * bytes * 2^shift < 65536 */
};

/* For a plan. */
size_t engram_bit_pack_bytes(const struct engram_kernels *kernels, int64_t rows, int64_t dim);

struct engram_prepared;
enum engram_status engram_bit_pack_make(struct engram_prepared *prepared, int team,
                                        const struct engram_log *log);
void engram_bit_pack_free(struct engram_bit_pack *pack);

#endif
