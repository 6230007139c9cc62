#include "io/virtual_read.h"

#include <stdlib.h>

#include "io/h5.h"
#include "io/h5read.h"
#include "io/source_internal.h"

bool engram_virtual_part_select(struct engram_virtual_part *part, hid_t from, hid_t extent,
                                hid_t to)
{
    hsize_t start[H5S_MAX_RANK];
    hsize_t end[H5S_MAX_RANK];

    /* All of a source is all of it as it is now: the mapping keeps no extent. */
    part->from = H5Scopy(H5Sget_select_type(from) == H5S_SEL_ALL ? extent : from);
    part->to = H5Scopy(to);
    if (part->from < 0 || part->to < 0 || H5Sextent_copy(part->from, extent) < 0) {
        return false;
    }
    part->first = 0;
    part->end = 0;
    if (H5Sget_select_npoints(part->to) > 0) {
        if (H5Sget_select_bounds(part->to, start, end) < 0) {
            return false;
        }
        part->first = start[0];
        part->end = end[0] + 1;
    }
    return H5Sget_select_npoints(part->from) == H5Sget_select_npoints(part->to);
}

void engram_virtual_part_close(struct engram_virtual_part *part)
{
    engram_h5_close(&part->from);
    engram_h5_close(&part->to);
    engram_h5_close(&part->dataset);
    engram_h5_close(&part->file);
}

#if H5_VERSION_GE(1, 10, 6)

/* What no source has. */
static bool fill(const struct engram_source *source, hid_t memory_space, void *to)
{
    ENGRAM_H5_HANDLE hid_t creation = H5Dget_create_plist(source->dataset);
    H5D_fill_value_t defined = H5D_FILL_VALUE_ERROR;

    if (creation < 0 || H5Pfill_value_defined(creation, &defined) < 0) {
        return false;
    }
    unsigned char *value = calloc(1, H5Tget_size(source->memory_type));
    bool done = value != NULL &&
                (defined == H5D_FILL_VALUE_UNDEFINED ||
                 H5Pget_fill_value(creation, source->memory_type, value) >= 0) &&
                H5Dfill(value, source->memory_type, to, source->memory_type, memory_space) >= 0;
    free(value);
    return done;
}

/* The part of a mapping that is asked for; in the row-major order of one selection lie the same
 * elements as in that of the other. */
static bool read_part(const struct engram_source *source, const struct engram_virtual_part *part,
                      hid_t memory_space, void *to)
{
    ENGRAM_H5_HANDLE hid_t from =
        H5Sselect_project_intersection(part->to, part->from, source->file_space);
    ENGRAM_H5_HANDLE hid_t place =
        H5Sselect_project_intersection(source->file_space, memory_space, part->to);
    hssize_t elements = from < 0 || place < 0 ? -1 : H5Sget_select_npoints(from);

    if (elements < 0 || elements != H5Sget_select_npoints(place)) {
        return false;
    }
    return elements == 0 ||
           engram_h5_read(part->dataset, source->memory_type, place, from, to) >= 0;
}

bool engram_virtual_read(const struct engram_source *source, hsize_t first, hsize_t count,
                         hid_t memory_space, void *to)
{
    bool done = fill(source, memory_space, to);

    for (size_t i = 0; done && i < source->part_count; i++) {
        const struct engram_virtual_part *part = &source->parts[i];
        if (part->first < first + count && first < part->end) {
            done = read_part(source, part, memory_space, to);
        }
    }
    return done;
}

#else

bool engram_virtual_read(const struct engram_source *source, hsize_t first, hsize_t count,
                         hid_t memory_space, void *to)
{
    (void)first;
    (void)count;
    return engram_h5_read(source->dataset, source->memory_type, memory_space, source->file_space,
                          to) >= 0;
}

#endif
