#include "search/pack_bits.h"

#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"
#include "search/prepared.h"

static size_t row_bytes(int64_t dim)
{
    return (size_t)(dim / 8) + (dim % 8 != 0);
}

/* Bytes of the panels, a multiple of 64: the sizes follow. */
static bool panel_bytes(const struct engram_kernels *kernels, int64_t rows, int64_t dim,
                        size_t *panels, size_t *all)
{
    size_t padded = engram_size_round_up((size_t)rows, 64);
    size_t sizes;
    (void)kernels; /* 64 rows are whole panels of every set */
    return engram_size_mul(padded, row_bytes(dim), panels) &&
           engram_size_mul(padded, sizeof(uint16_t), &sizes) &&
           engram_size_add(*panels, sizes, all);
}

size_t engram_bit_pack_bytes(const struct engram_kernels *kernels, int64_t rows, int64_t dim)
{
    size_t panels;
    size_t all;
    return panel_bytes(kernels, rows, dim, &panels, &all) ? all : (size_t)-1;
}

/* One panel: the rows' bytes side by side, and, where it matters (jaccard), how many bits each row
 * holds. */
static void pack_panel(const struct engram_prepared *prepared, size_t panel)
{
    const struct engram_bit_pack *pack = &prepared->bits;
    const size_t width = prepared->kernels->bit_rows;
    const unsigned used = prepared->dim % 8 == 0 ? 0xffU : 0xff00U >> prepared->dim % 8 & 0xffU;
    uint8_t *to = pack->panels + panel * width * pack->bytes;

    for (size_t r = 0; r < width; r++) {
        size_t row = panel * width + r;
        if (row >= (size_t)prepared->rows) {
            break; /* the memory is zero */
        }
        const uint8_t *from = prepared->view.data + row * prepared->view.stride;
        for (size_t b = 0; b < pack->bytes; b++) {
            to[b * width + r] = from[b];
        }
        to[(pack->bytes - 1) * width + r] &= (uint8_t)used;
        if (prepared->self_products != NULL) {
            pack->sizes[row] = (uint16_t)((unsigned)prepared->self_products[row] << pack->shift);
        }
    }
}

enum engram_status engram_bit_pack_make(struct engram_prepared *prepared, int team,
                                        const struct engram_log *log)
{
    struct engram_bit_pack *pack = &prepared->bits;
    const size_t width = prepared->kernels->bit_rows;
    size_t panels = 0;

    pack->bytes = row_bytes((int64_t)prepared->dim);
    while (8 * pack->bytes << (pack->shift + 1) <= (size_t)ENGRAM_BITS_DIM_MAX) {
        pack->shift++;
    }
    if (panel_bytes(prepared->kernels, prepared->rows, (int64_t)prepared->dim, &panels,
                    &pack->size)) {
        pack->panels = engram_pages_alloc(pack->size);
    }
    if (pack->panels == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for a packed copy of the base (%zu bytes)",
                           pack->size);
    }
    pack->sizes = (uint16_t *)(void *)(pack->panels + panels);
    const size_t count = ((size_t)prepared->rows + width - 1) / width;
#pragma omp parallel for schedule(static) num_threads(team)
    for (size_t panel = 0; panel < count; panel++) {
        pack_panel(prepared, panel);
    }
    return ENGRAM_OK;
}

void engram_bit_pack_free(struct engram_bit_pack *pack)
{
    engram_pages_free(pack->panels, pack->size);
    *pack = (struct engram_bit_pack){0};
}
