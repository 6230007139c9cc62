#include "io/describe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/h5.h"
#include "io/h5type.h"

void engram_h5_filter_name(H5Z_filter_t filter, const char *given, char *text, size_t size)
{
    static const struct {
        H5Z_filter_t filter;
        const char *name;
    } known[] = {
        {H5Z_FILTER_DEFLATE, "deflate"},
        {H5Z_FILTER_SHUFFLE, "shuffle"},
        {H5Z_FILTER_FLETCHER32, "fletcher32"},
        {H5Z_FILTER_SZIP, "szip"},
        {H5Z_FILTER_NBIT, "nbit"},
        {H5Z_FILTER_SCALEOFFSET, "scaleoffset"},
        /* The registry of the HDF Group. */
        {32000, "lzf"},
        {32001, "blosc"},
        {32004, "lz4"},
        {32008, "bitshuffle"},
        {32013, "zfp"},
        {32015, "zstd"},
        {32026, "blosc2"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].filter == filter) {
            snprintf(text, size, "%s", known[i].name);
            return;
        }
    }
    if (given[0] == '\0') {
        snprintf(text, size, "filter %d", (int)filter);
        return;
    }
    snprintf(text, size, "%s", given);
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = '?';
        }
    }
}

static herr_t describe_filters(hid_t creation, char *text, size_t size)
{
    int count = H5Pget_nfilters(creation);
    size_t used = 0;

    text[0] = '\0';
    for (int i = 0; i < count && used + 1 < size; i++) {
        char given[64] = "";
        char name[48];
        unsigned flags = 0;
        unsigned values[8] = {0};
        size_t value_count = 8;
        H5Z_filter_t filter = H5Pget_filter2(creation, (unsigned)i, &flags, &value_count, values,
                                             sizeof given - 1, given, NULL);
        if (filter < 0) {
            return -1;
        }
        engram_h5_filter_name(filter, given, name, sizeof name);
        int written =
            filter == H5Z_FILTER_DEFLATE && value_count > 0
                ? snprintf(text + used, size - used, "%s%s %u", i > 0 ? ", " : "", name, values[0])
                : snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "", name);
        if (written < 0) {
            return -1;
        }
        used += (size_t)written;
    }
    return count < 0 ? -1 : 0;
}

static herr_t describe_shape(hid_t space, struct engram_dataset_info *info)
{
    hsize_t dims[H5S_MAX_RANK];
    H5S_class_t kind = H5Sget_simple_extent_type(space);

    if (kind != H5S_SIMPLE) {
        return kind == H5S_SCALAR || kind == H5S_NULL ? 0 : -1;
    }
    info->rank = H5Sget_simple_extent_dims(space, dims, NULL);
    if (info->rank < 0) {
        info->rank = 0;
        return -1;
    }
    for (int i = 0; i < info->rank && i < 4; i++) {
        if (dims[i] > INT64_MAX) {
            info->rank = 0;
            return -1;
        }
        info->dims[i] = (int64_t)dims[i];
    }
    return 0;
}

/* The space of a virtual dataset as it was when the mapping was written. H5Dget_space would open
 * the source files of an unlimited mapping to find out how large they are today. */
static hid_t virtual_space(hid_t dataset, hid_t creation)
{
    size_t mappings = 0;

    if (H5Pget_virtual_count(creation, &mappings) < 0) {
        return -1;
    }
    return mappings > 0 ? H5Pget_virtual_vspace(creation, 0) : H5Dget_space(dataset);
}

static herr_t describe_chunks(hid_t creation, struct engram_dataset_info *info)
{
    hsize_t chunk[H5S_MAX_RANK];
    int rank = H5Pget_chunk(creation, H5S_MAX_RANK, chunk);

    if (rank < 0) {
        return -1;
    }
    for (int i = 0; i < rank && i < 4; i++) {
        info->chunk[i] = (int64_t)chunk[i]; /* chunk extents are 32-bit in the file */
    }
    return describe_filters(creation, info->filters, sizeof info->filters);
}

herr_t engram_h5_describe(hid_t dataset, struct engram_dataset_info *info)
{
    ENGRAM_H5_HANDLE hid_t creation = H5Dget_create_plist(dataset);
    ENGRAM_H5_HANDLE hid_t type = H5Dget_type(dataset);
    ENGRAM_H5_HANDLE hid_t space = -1;
    struct engram_h5_type found;
    H5D_layout_t storage = creation < 0 ? H5D_LAYOUT_ERROR : H5Pget_layout(creation);

    info->rank = 0;
    memset(info->dims, 0, sizeof info->dims);
    memset(info->chunk, 0, sizeof info->chunk);
    info->filters[0] = '\0';
    info->content = ENGRAM_CONTENT_OTHER;
    info->storage = ENGRAM_STORAGE_CONTIGUOUS;
    snprintf(info->type_name, sizeof info->type_name, "unreadable");
    if (type < 0 || storage < 0) {
        return -1;
    }
    space = storage == H5D_VIRTUAL ? virtual_space(dataset, creation) : H5Dget_space(dataset);
    if (space < 0 || describe_shape(space, info) < 0) {
        return -1;
    }
    if (storage == H5D_VIRTUAL) {
        info->storage = ENGRAM_STORAGE_VIRTUAL;
    } else if (storage == H5D_COMPACT) {
        info->storage = ENGRAM_STORAGE_COMPACT;
    } else if (storage == H5D_CHUNKED) {
        info->storage = ENGRAM_STORAGE_CHUNKED;
        if (describe_chunks(creation, info) < 0) {
            return -1;
        }
    } else if (H5Pget_external_count(creation) > 0) {
        info->storage = ENGRAM_STORAGE_EXTERNAL;
    }
    engram_h5_classify(type, &found);
    info->content = found.content;
    info->dtype = found.dtype;
    snprintf(info->type_name, sizeof info->type_name, "%s", found.name);
    return 0;
}
