#include "io/h5read.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "io/codec.h"
#include "io/h5.h"
#include "io/h5pipeline.h"
#include "io/trusting.h"
#include "io/unfilter.h"

enum { FILTERS = 32, CHECKSUM = 4 }; /* HDF5 has no more filters than bits in a mask */

struct look {
    hid_t dataset;
    int rank;
    hsize_t chunk[H5S_MAX_RANK];
    hsize_t first[H5S_MAX_RANK]; /* corners of what is selected */
    hsize_t last[H5S_MAX_RANK];
    hsize_t extent[H5S_MAX_RANK];
    bool plain_edges; /* chunks that the extent cuts have no filters */
    size_t chunk_bytes;
    size_t room; /* no chunk takes more on its way */
    int count;
    H5Z_filter_t filter[FILTERS];
    size_t element[FILTERS]; /* that SHUFFLE takes */
    struct engram_trusting trusting;
    struct engram_inflater *inflater; /* NULL without DEFLATE */
    unsigned char *work[2];           /* NULL until they are needed */
    char why[200]; /* what is wrong; HDF5's stack would not outlive the next call */
};

static bool complain(struct look *look, const char *what)
{
    (void)snprintf(look->why, sizeof look->why, "%s", what);
    return false;
}

static bool hdf5_failed(struct look *look)
{
    engram_h5_message(look->why, sizeof look->why);
    return false;
}

static bool no_memory(struct look *look)
{
    return complain(look, "memory allocation failed");
}

/* Bytes that an element takes in a chunk; 0: that is not known. */
static size_t stored_bytes(hid_t dataset)
{
    ENGRAM_H5_HANDLE hid_t type = H5Dget_type(dataset);

    if (type < 0) {
        return 0;
    }
    if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) > 0) {
        ENGRAM_H5_HANDLE hid_t file = H5Iget_file_id(dataset);
        ENGRAM_H5_HANDLE hid_t created = file < 0 ? -1 : H5Fget_create_plist(file);
        size_t address = 0;
        size_t length = 0;
        /* its length, the address of a heap, an index there */
        return created >= 0 && H5Pget_sizes(created, &address, &length) >= 0 ? 4 + address + 4 : 0;
    }
    if (H5Tdetect_class(type, H5T_VLEN) != 0 || H5Tdetect_class(type, H5T_REFERENCE) != 0 ||
        (H5Tget_class(type) != H5T_STRING && H5Tdetect_class(type, H5T_STRING) != 0)) {
        return 0;
    }
    return H5Tget_size(type);
}

/* False: there is one of which nobody knows what it gives. */
static bool take_filters(struct look *look, hid_t creation)
{
    bool trusting = false;

    for (int i = 0; i < look->count; i++) {
        unsigned flags = 0;
        unsigned values[ENGRAM_TRUSTING_VALUES] = {0};
        size_t count = ENGRAM_TRUSTING_VALUES;
        H5Z_filter_t filter =
            H5Pget_filter2(creation, (unsigned)i, &flags, &count, values, 0, NULL, NULL);

        look->filter[i] = filter;
        if (engram_trusting_is_known(filter)) {
            struct engram_trusting found = {
                .filter = filter, .count = count, .chunk_bytes = look->chunk_bytes};
            memcpy(found.values, values, sizeof values);
            if (engram_trusting_is_idle(&found)) {
                look->filter[i] = H5Z_FILTER_NONE;
                continue;
            }
            if (trusting || count > ENGRAM_TRUSTING_VALUES) {
                return false;
            }
            trusting = true;
            look->trusting = found;
        } else if (filter == H5Z_FILTER_SHUFFLE) {
            look->element[i] = count > 0 && values[0] > 0 ? values[0] : 1;
        } else if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_FLETCHER32) {
            return false;
        }
    }
    return true;
}

/* 1: chunks can be looked at, 0: there is nothing to look at or no way to, -1: it failed. */
static int understand(struct look *look, hid_t creation, hid_t space)
{
    unsigned options = 0;
    size_t bytes = stored_bytes(look->dataset);

    look->rank = H5Pget_chunk(creation, H5S_MAX_RANK, look->chunk);
    if (look->rank < 1 || H5Sget_simple_extent_dims(space, look->extent, NULL) != look->rank ||
        H5Pget_chunk_opts(creation, &options) < 0) {
        (void)hdf5_failed(look);
        return -1;
    }
    look->plain_edges = options != 0;
    for (int i = 0; i < look->rank; i++) {
        if (!engram_size_mul(bytes, (size_t)look->chunk[i], &bytes)) {
            (void)no_memory(look);
            return -1;
        }
    }
    look->chunk_bytes = bytes;
    look->room = bytes + bytes / 8 + 4096; /* what deflate cannot pack, headers, checksums */
    return bytes > 0 && bytes < SIZE_MAX / 4 && take_filters(look, creation) ? 1 : 0;
}

/* Room for what a filter gives, of which two are used in turn. NULL: no memory. */
static unsigned char *next_room(struct look *look, const unsigned char *used)
{
    unsigned char **room = &look->work[used != NULL && used == look->work[0]];

    if (*room == NULL) {
        *room = malloc(look->room);
    }
    return *room;
}

/* Undoes filter `i` of *size bytes at *at. */
static bool undo(struct look *look, int i, const unsigned char **at, size_t *size)
{
    const unsigned char *from = *at;
    const char *why = NULL;

    if (look->filter[i] == H5Z_FILTER_FLETCHER32) { /* HDF5 sees to the checksum itself */
        *size -= *size < CHECKSUM ? *size : CHECKSUM;
        return true;
    }
    unsigned char *to = next_room(look, from);
    if (to == NULL) {
        return no_memory(look);
    }
    *at = to;
    if (look->filter[i] == H5Z_FILTER_SHUFFLE) {
        size_t whole = *size - *size % look->element[i];
        if (whole > 0) {
            size_t count = whole / look->element[i];
            engram_unshuffle(from, count, look->element[i], false, 0, count, to);
        }
        memcpy(to + whole, from + whole, *size - whole);
        return true;
    }
    if (look->inflater == NULL && (look->inflater = engram_inflater_create()) == NULL) {
        return no_memory(look);
    }
    switch (engram_inflate_some(look->inflater, from, *size, to, look->room, size, &why)) {
    case ENGRAM_OK:
        return true;
    case ENGRAM_ERR_RESOURCE:
        return no_memory(look);
    default:
        return complain(look, why);
    }
}

static bool unpack(struct look *look, const unsigned char *at, size_t size, uint32_t mask)
{
    for (int i = look->count - 1; i >= 0; i--) {
        if ((mask >> i & 1) != 0 || look->filter[i] == H5Z_FILTER_NONE) {
            continue;
        }
        if (!engram_trusting_is_known(look->filter[i])) {
            if (!undo(look, i, &at, &size)) {
                return false;
            }
            continue;
        }
        const char *damage = engram_trusting_damage(&look->trusting, at, size);
        if (damage != NULL) {
            return complain(look, damage);
        }
        /* What it gives is of the right size; a shuffle leaves it at that, others make no sense. */
        size = look->chunk_bytes;
        while (--i >= 0) {
            if (look->filter[i] != H5Z_FILTER_SHUFFLE && look->filter[i] != H5Z_FILTER_NONE &&
                (mask >> i & 1) == 0) {
                return complain(look, "the filters of a chunk do not go together");
            }
        }
    }
    return size == look->chunk_bytes || complain(look, "a chunk does not hold what its shape says");
}

static bool check_chunk(struct look *look, const hsize_t corner[])
{
    hsize_t size = 0;
    uint32_t mask = 0;

    for (int i = 0; look->plain_edges && i < look->rank; i++) {
        if (look->extent[i] - corner[i] < look->chunk[i]) {
            return true;
        }
    }
    /* For chunks that were never written this gives 0 or fails, or gives the size of a chunk that
     * cannot be read; H5Dread fails or has the fill value. */
    if (H5Dget_chunk_storage_size(look->dataset, corner, &size) < 0) {
        return true;
    }
    if (size > look->room) {
        return complain(look, "a chunk takes more bytes than one of its shape can");
    }
    unsigned char *raw = malloc((size_t)size + 1);
    if (raw == NULL) {
        return no_memory(look);
    }
    bool whole = true;
    if (size == 0) {
        whole = !engram_h5_is_empty_chunk(look->dataset, corner, raw, 1) ||
                complain(look, "a chunk has no bytes");
    } else if (engram_h5_read_chunk(look->dataset, corner, raw, (size_t)size, &mask) >= 0) {
        whole = unpack(look, raw, (size_t)size, mask);
    }
    free(raw);
    return whole;
}

static bool check_chunks(struct look *look)
{
    hsize_t corner[H5S_MAX_RANK];
    int axis = 0;

    for (int i = 0; i < look->rank; i++) {
        look->first[i] -= look->first[i] % look->chunk[i];
        corner[i] = look->first[i];
    }
    while (axis >= 0) {
        if (!check_chunk(look, corner)) {
            return false;
        }
        for (axis = look->rank - 1; axis >= 0; axis--) {
            if (look->last[axis] - corner[axis] >= look->chunk[axis]) {
                corner[axis] += look->chunk[axis];
                break;
            }
            corner[axis] = look->first[axis];
        }
    }
    return true;
}

/* Whether the chunks that hold the selection are whole, as far as that can be told. */
static bool are_whole(struct look *look, hid_t creation, hid_t space)
{
    if (H5Pget_layout(creation) != H5D_CHUNKED || H5Sget_select_npoints(space) <= 0) {
        return true;
    }
    look->count = H5Pget_nfilters(creation);
    if (look->count <= 0 || look->count > FILTERS) {
        return true;
    }
    int understood = understand(look, creation, space);
    if (understood <= 0) {
        return understood == 0;
    }
    if (H5Sget_select_bounds(space, look->first, look->last) < 0) {
        return hdf5_failed(look);
    }
    return check_chunks(look);
}

int engram_h5_leaves_elements(hid_t creation)
{
    H5D_fill_value_t defined = H5D_FILL_VALUE_ERROR;
    H5D_fill_time_t when = H5D_FILL_TIME_ERROR;

    if (H5Pfill_value_defined(creation, &defined) < 0 || H5Pget_fill_time(creation, &when) < 0) {
        return -1;
    }
    return defined == H5D_FILL_VALUE_UNDEFINED || when == H5D_FILL_TIME_NEVER;
}

/* Zeros where H5Dread may leave elements alone. `space`: of `to`. */
static bool clear_left(struct look *look, hid_t creation, hid_t memory_type, hid_t space, void *to)
{
    int left = engram_h5_leaves_elements(creation);

    return left == 0 || (left > 0 && H5Dfill(NULL, memory_type, to, memory_type, space) >= 0) ||
           hdf5_failed(look);
}

herr_t engram_h5_read(hid_t dataset, hid_t memory_type, hid_t memory_space, hid_t file_space,
                      void *to)
{
    struct look look = {.dataset = dataset};
    ENGRAM_H5_HANDLE hid_t creation = H5Dget_create_plist(dataset);
    ENGRAM_H5_HANDLE hid_t all = file_space == H5S_ALL ? H5Dget_space(dataset) : H5I_INVALID_HID;
    hid_t selection = file_space == H5S_ALL ? all : file_space;
    bool whole = creation < 0 || selection < 0
                     ? hdf5_failed(&look)
                     : are_whole(&look, creation, selection) &&
                           clear_left(&look, creation, memory_type,
                                      memory_space == H5S_ALL ? selection : memory_space, to);

    engram_inflater_free(look.inflater);
    free(look.work[0]);
    free(look.work[1]);
    if (!whole) {
        (void)H5Epush2(H5E_DEFAULT, __FILE__, __func__, __LINE__, H5E_ERR_CLS, H5E_PLINE,
                       H5E_BADSIZE, "%s", look.why);
        return -1;
    }
    return H5Dread(dataset, memory_type, memory_space, file_space, H5P_DEFAULT, to);
}
