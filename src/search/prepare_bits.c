/* Preparing rows of bits. They are borrowed: nothing about them needs a look before they are used,
 * and the kernels ignore what lies past the last bit of a row. */
#include <string.h>

#include "kernels/bits.h"
#include "search/prepared.h"

/* Rows that a thread counts at a time. */
#define COUNT_ROWS 1024

void engram_bits_take(struct engram_prepared *prepared, const struct engram_set *base, int team,
                      uint64_t *room)
{
    const size_t rows = (size_t)base->rows;

    prepared->view = (struct engram_base_rows){base->data, base->stride};
    memset(prepared->live, 0xff, rows / 8);
    if (rows % 8 != 0) {
        prepared->live[rows / 8] = (uint8_t)((1U << rows % 8) - 1);
    }
    if (prepared->self_products == NULL) {
        return;
    }
    /* What a row has in common with a row of ones is its size. */
    const struct engram_bit_rows ones = {room, 0};
    memset(room, 0xff, engram_bits_words(prepared->dim) * sizeof *room);
#pragma omp parallel for schedule(static) num_threads(team)
    for (size_t r = 0; r < rows; r += COUNT_ROWS) {
        const struct engram_base_rows view = {prepared->view.data + r * prepared->view.stride,
                                              prepared->view.stride};
        prepared->kernels->bits_tile[ENGRAM_BIT_COMMON](
            &ones, 1, &view, rows - r < COUNT_ROWS ? rows - r : COUNT_ROWS, prepared->dim,
            prepared->self_products + r);
    }
}
