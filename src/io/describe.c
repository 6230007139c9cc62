#include "io/describe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/attribute.h"
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

bool engram_h5_missing_filter(hid_t dataset, char *text, size_t size)
{
    ENGRAM_H5_HANDLE hid_t creation = dataset < 0 ? -1 : H5Dget_create_plist(dataset);
    int count = creation < 0 ? 0 : H5Pget_nfilters(creation);

    for (int i = 0; i < count; i++) {
        char given[64] = "";
        char name[48];
        unsigned flags = 0;
        size_t values = 0;
        H5Z_filter_t filter = H5Pget_filter2(creation, (unsigned)i, &flags, &values, NULL,
                                             sizeof given - 1, given, NULL);
        if (filter >= 0 && H5Zfilter_avail(filter) <= 0) {
            engram_h5_filter_name(filter, given, name, sizeof name);
            snprintf(text, size,
                     "HDF5 filter %d, %s, is not installed; install its plugin and set "
                     "HDF5_PLUGIN_PATH",
                     (int)filter, name);
            return true;
        }
    }
    return false;
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

/* Rows of packed bits. An attribute of that name beside codes of a quantiser, which have eight bits
 * at most, changes nothing; a larger number that the rows do not fit is a mistake, and taking the
 * bytes for numbers would be another. */
static herr_t find_packed_bits(hid_t dataset, struct engram_dataset_info *info)
{
    int64_t bits = 0;

    if (info->rank != 2 || info->content != ENGRAM_CONTENT_NUMERIC || info->dtype != ENGRAM_U8 ||
        info->bits != ENGRAM_BITS_NONE) {
        return 0;
    }
    htri_t found = engram_h5_integer_attribute(dataset, "nbits", &bits);
    if (found <= 0 || bits <= 0 || (bits <= 8 && info->dims[1] != 1)) {
        return found < 0 ? -1 : 0;
    }
    if ((bits - 1) / 8 + 1 != info->dims[1]) {
        info->content = ENGRAM_CONTENT_OTHER;
        snprintf(info->type_name, sizeof info->type_name, "bytes; nbits %lld does not fit",
                 (long long)bits);
        return 0;
    }
    info->bits = ENGRAM_BITS_PACKED;
    info->dims[1] = bits;
    snprintf(info->type_name, sizeof info->type_name, "bits");
    return 0;
}

void engram_h5_set_type(struct engram_dataset_info *info, const struct engram_h5_type *found,
                        size_t bytes)
{
    info->content = found->content;
    info->dtype = found->dtype;
    info->bits = found->bits;
    info->element_bytes = found->raw ? bytes : 0;
    snprintf(info->type_name, sizeof info->type_name, "%s", found->name);
}

enum engram_status engram_dataset_read_as(struct engram_dataset_info *dataset, const char *type,
                                          const char *path, const struct engram_log *log)
{
    struct engram_h5_type found = {.raw = dataset->element_bytes > 0};
    char was[sizeof dataset->type_name];

    if (!engram_h5_names_type(type) || strlen(type) >= sizeof dataset->read_as) {
        return engram_fail(log, ENGRAM_ERR_USAGE,
                           "--dtype %s: is no element type; float16, bfloat16, float32, float64, "
                           "int8 to int64, uint8 to uint64 and bits are",
                           type);
    }
    if (strcmp(dataset->read_as, type) == 0) {
        return ENGRAM_OK;
    }
    snprintf(was, sizeof was, "%s", dataset->type_name);
    if (dataset->bits == ENGRAM_BITS_PACKED || dataset->read_as[0] != '\0' ||
        !engram_h5_read_as(type, dataset->element_bytes, &found)) {
        return engram_fail(log, ENGRAM_ERR_DATA,
                           "%s: %s: --dtype %s: its elements (%s) are not of that size", path,
                           dataset->path, type, was);
    }
    engram_h5_set_type(dataset, &found, dataset->element_bytes);
    if (found.bits == ENGRAM_BITS_PACKED && dataset->rank == 2) {
        dataset->dims[1] = dataset->dims[1] > INT64_MAX / 8 ? INT64_MAX : 8 * dataset->dims[1];
    }
    snprintf(dataset->type_name, sizeof dataset->type_name, "%.10s in %.30s", found.name, was);
    snprintf(dataset->read_as, sizeof dataset->read_as, "%s", type);
    return ENGRAM_OK;
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
    info->bits = ENGRAM_BITS_NONE;
    info->element_bytes = 0;
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
    engram_h5_set_type(info, &found, H5Tget_size(type));
    return find_packed_bits(dataset, info);
}
