#include "io/scaleoffset.h"

#include <stdlib.h>

#include "base/endian.h"
#include "base/size.h"
#include "io/h5pipeline.h"

/* A chunk begins with the bits of an element, the size of the smallest value, and that value in 16
 * bytes. */
enum { HEADER = 21, VALUES = 5 };

void engram_scaleoffset_find(hid_t creation, struct engram_scaleoffset *filter)
{
    unsigned flags = 0;
    unsigned values[VALUES] = {0};
    size_t count = VALUES;

    *filter = (struct engram_scaleoffset){0};
    if (H5Pget_nfilters(creation) == 1 &&
        H5Pget_filter2(creation, 0, &flags, &count, values, 0, NULL, NULL) ==
            H5Z_FILTER_SCALEOFFSET &&
        count >= VALUES) {
        filter->elements = values[2];
        filter->bytes = values[4];
    }
}

bool engram_scaleoffset_is_whole(const struct engram_scaleoffset *filter,
                                 const unsigned char *chunk, size_t size)
{
    if (size < HEADER) {
        return false;
    }
    uint64_t bits = engram_load32le(chunk);
    uint64_t all = engram_saturating_mul(filter->elements, bits);

    return bits <= 8 * (uint64_t)filter->bytes && all / 8 + (all % 8 != 0) <= size - HEADER;
}

static bool check_chunk(const struct engram_scaleoffset *filter, hid_t dataset,
                        const hsize_t corner[2])
{
    hsize_t size = 0;
    uint32_t mask = 0;

    if (H5Dget_chunk_storage_size(dataset, corner, &size) < 0) {
        return false;
    }
    if (size == 0) { /* never written */
        return true;
    }
    /* The filter makes nothing larger but by its header. */
    unsigned char *chunk =
        size > engram_saturating_mul(filter->elements, filter->bytes) + 2 * (uint64_t)HEADER
            ? NULL
            : malloc((size_t)size);
    bool whole = chunk != NULL &&
                 engram_h5_read_chunk(dataset, corner, chunk, (size_t)size, &mask) >= 0 &&
                 (mask != 0 || engram_scaleoffset_is_whole(filter, chunk, (size_t)size));
    free(chunk);
    if (!whole) {
        (void)H5Epush2(H5E_DEFAULT, __FILE__, __func__, __LINE__, H5E_ERR_CLS, H5E_PLINE,
                       H5E_BADSIZE, "a chunk does not hold what its scale-offset filter needs");
    }
    return whole;
}

bool engram_scaleoffset_check(const struct engram_scaleoffset *filter, hid_t dataset,
                              const int64_t extent[2], const hsize_t start[2],
                              const hsize_t count[2])
{
    const hsize_t rows = (hsize_t)extent[0];
    const hsize_t columns = (hsize_t)extent[1];

    for (hsize_t row = start[0] / rows * rows; row < start[0] + count[0]; row += rows) {
        for (hsize_t column = start[1] / columns * columns; column < start[1] + count[1];
             column += columns) {
            const hsize_t corner[2] = {row, column};
            if (!check_chunk(filter, dataset, corner)) {
                return false;
            }
        }
    }
    return true;
}
