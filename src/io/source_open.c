#define _GNU_SOURCE

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/reading.h"
#include "base/size.h"
#include "io/claim.h"
#include "io/describe.h"
#include "io/h5.h"
#include "io/h5pipeline.h"
#include "io/h5read.h"
#include "io/member.h"
#include "io/source_internal.h"

/* One of the limits of struct engram_set. */
#define DIM_LIMIT ((int64_t)1 << 24)

#define FAIL ENGRAM_SOURCE_FAIL
#define h5_failure engram_source_h5_failure

/* A filter that must be undone and cannot be is an error before anything is read. One marked as
 * optional may have been skipped for every chunk: only a failing read proves that it is needed. */
enum engram_status engram_source_check_filters(struct engram_source *source, hid_t creation)
{
    int count = H5Pget_nfilters(creation);

    for (int i = 0; i < count; i++) {
        char given[64] = "";
        char name[48];
        unsigned flags = 0;
        unsigned config = 0;
        size_t value_count = 0;
        H5Z_filter_t filter = H5Pget_filter2(creation, (unsigned)i, &flags, &value_count, NULL,
                                             sizeof given - 1, given, NULL);
        if (filter < 0) {
            return h5_failure(source, "the filters cannot be read");
        }
        bool usable = H5Zfilter_avail(filter) > 0 && (H5Zget_filter_info(filter, &config) < 0 ||
                                                      (config & H5Z_FILTER_CONFIG_DECODE_ENABLED));
        if (usable) {
            continue;
        }
        engram_h5_filter_name(filter, given, name, sizeof name);
        if ((flags & H5Z_FLAG_OPTIONAL) == 0) {
            return FAIL(source, ENGRAM_ERR_PLUGIN,
                        "is compressed with HDF5 filter %d (%s), which is not installed; install "
                        "its plugin and set HDF5_PLUGIN_PATH",
                        (int)filter, name);
        }
        snprintf(source->missing_filter, sizeof source->missing_filter, "%d (%s)", (int)filter,
                 name);
    }
    return count < 0 ? h5_failure(source, "the filters cannot be read") : ENGRAM_OK;
}

/* Bytes of the whole dataset, UINT64_MAX when they do not fit. */
static uint64_t stored_bytes(const struct engram_source *source, uint64_t row_bytes)
{
    return engram_saturating_mul((uint64_t)source->all_rows, row_bytes);
}

/* Data that lies in one piece is read without HDF5 where that can be. Whether it lies inside the
 * file has been looked at. */
static void choose_contiguous(struct engram_source *source)
{
    haddr_t offset = H5Dget_offset(source->dataset);

    if (offset != HADDR_UNDEF && !source->options.by_hdf5 && source->fd >= 0 &&
        source->member == NULL && source->type.encoding != ENGRAM_ENCODING_CUSTOM) {
        source->way = ENGRAM_WAY_CONTIGUOUS;
        source->offset = offset;
    }
}

/* What H5Dread is asked for: the stored type with its bytes swapped where needed, which is cheap,
 * and widened by us; only floats of unusual layout are converted by HDF5. */
static enum engram_status choose_types(struct engram_source *source, hid_t type)
{
    const struct engram_h5_type *found = &source->type;

    if (found->encoding == ENGRAM_ENCODING_CUSTOM) {
        source->direct = true;
        source->memory_type =
            H5Tcopy(source->slab_dtype == ENGRAM_F32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE);
    } else {
        source->direct = found->encoding == ENGRAM_ENCODING_PLAIN &&
                         (found->dtype == ENGRAM_F32 || found->dtype == ENGRAM_F64);
        source->stored = (struct engram_stored){
            .dtype = found->dtype,
            .encoding = found->encoding,
            .bytes = H5Tget_size(type),
            .swapped = engram_h5_is_swapped(type),
            .direct = source->direct,
            .slab_bytes = engram_dtype_size(source->slab_dtype),
        };
        source->memory_type = engram_h5_native_order(type);
    }
    if (source->memory_type >= 0) {
        source->memory_row = H5Tget_size(source->memory_type) * (size_t)source->dim;
    }
    if (source->memory_type >= 0 && source->member != NULL) {
        source->memory_type =
            engram_h5_member_memory_type(source->member, source->memory_type, (hsize_t)source->dim);
    }
    return source->memory_type < 0 ? h5_failure(source, "its type cannot be read") : ENGRAM_OK;
}

void engram_source_find_descriptor(struct engram_source *source)
{
    ENGRAM_H5_HANDLE hid_t access = H5Fget_access_plist(source->file);
    void *handle = NULL;
    struct stat info;

    source->fd = -1;
    if (access >= 0 && H5Pget_driver(access) == H5FD_SEC2 &&
        H5Fget_vfd_handle(source->file, access, &handle) >= 0 && handle != NULL &&
        fstat(*(int *)handle, &info) == 0) {
        source->fd = *(int *)handle;
        source->file_size = (uint64_t)info.st_size;
    }
}

/* Whether chunks.c can read what `creation` describes; says what it needs. */
static bool understood(struct engram_source *source, hid_t creation)
{
    struct engram_pipeline pipeline = {.element = source->stored.bytes};
    int filters = H5Pget_nfilters(creation);
    unsigned options = 0;
    size_t bytes = 0;

    /* Of a chunk without filters H5Dget_chunk_storage_size tells the size it ought to have, and
     * H5Dread_chunk reads as many bytes as the index of a damaged file says: there is no telling
     * before whether they fit. */
    if (filters == 0) {
        return false;
    }
    if (!engram_h5_pipeline(creation, &pipeline) || H5Pget_chunk_opts(creation, &options) < 0 ||
        !engram_size_mul((size_t)source->chunk[0], (size_t)source->chunk[1], &bytes) ||
        !engram_size_mul(bytes, pipeline.element, &pipeline.chunk_bytes) ||
        pipeline.chunk_bytes > SIZE_MAX / 8) {
        return false;
    }
    source->pipeline = pipeline;
    source->plain_edges = (options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) != 0;
    return true;
}

static enum engram_status choose_chunks(struct engram_source *source, hid_t creation)
{
    if (!source->options.by_hdf5 && source->member == NULL &&
        source->type.encoding != ENGRAM_ENCODING_CUSTOM && source->all_rows > 0 &&
        source->dim > 0 && understood(source, creation)) {
        source->way = ENGRAM_WAY_CHUNKS;
        return ENGRAM_OK;
    }
    return engram_source_check_filters(source, creation);
}

/* How the dataset is read, by where it is stored; and that it is there. `row_bytes` as stored. */
static enum engram_status choose_way(struct engram_source *source,
                                     const struct engram_dataset_info *now, hid_t creation,
                                     uint64_t row_bytes)
{
    const struct engram_claim claim = {
        .path = source->path,
        .name = source->name,
        .log = &source->options.log,
        .dataset = source->dataset,
        .info = now,
        .rows = (uint64_t)(source->options.last - source->options.first),
        .row_bytes = row_bytes,
        .by_hdf5 = source->member != NULL || source->type.encoding == ENGRAM_ENCODING_CUSTOM,
    };

    if (now->storage == ENGRAM_STORAGE_VIRTUAL) {
        return engram_source_check_virtual(source, creation, &claim);
    }
    if (now->storage == ENGRAM_STORAGE_EXTERNAL) {
        return engram_source_check_external(source, creation, stored_bytes(source, row_bytes));
    }
    enum engram_status status = engram_h5_check_claim(&claim);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (now->storage == ENGRAM_STORAGE_CHUNKED) {
        return choose_chunks(source, creation);
    }
    if (now->storage == ENGRAM_STORAGE_CONTIGUOUS && now->dims[0] > 0 && now->dims[1] > 0) {
        choose_contiguous(source);
    }
    return ENGRAM_OK;
}

/* What stands for elements that were never written: the fill value, or zeros where the dataset says
 * that there is none. */
static enum engram_status read_fill(struct engram_source *source, hid_t creation)
{
    _Alignas(8) unsigned char value[8] = {0};

    if (source->way != ENGRAM_WAY_CHUNKS) {
        return ENGRAM_OK;
    }
    int left = engram_h5_leaves_elements(creation);
    if (left > 0) {
        return ENGRAM_OK;
    }
    if (left < 0) {
        return h5_failure(source, "its fill value cannot be read");
    }
    if (H5Pget_fill_value(creation, source->memory_type, value) < 0) {
        return h5_failure(source, "its fill value cannot be read");
    }
    struct engram_stored native = source->stored;
    native.swapped = false;
    source->fill_inexact =
        engram_place(&native, &(struct engram_elements){value, 0}, 0, 1, source->fill) >= 0;
    return ENGRAM_OK;
}

/* The dataset as it is now, which is what counts, against what the caller was told. */
static enum engram_status check_dataset(struct engram_source *source)
{
    struct engram_dataset_info now = {.path = source->name};
    const struct engram_dataset_info *told = source->options.dataset;
    ENGRAM_H5_HANDLE hid_t creation = H5Dget_create_plist(source->dataset);
    ENGRAM_H5_HANDLE hid_t whole = H5Dget_type(source->dataset);
    ENGRAM_H5_HANDLE hid_t type = -1;

    if (creation < 0 || whole < 0 ||
        engram_h5_describe_member(source->dataset, source->member, &now) < 0) {
        return h5_failure(source, "cannot be described");
    }
    if (told->read_as[0] != '\0') {
        enum engram_status status =
            engram_dataset_read_as(&now, told->read_as, source->path, &source->options.log);
        if (status != ENGRAM_OK) {
            return status;
        }
    }
    if (now.content != ENGRAM_CONTENT_NUMERIC || now.rank != 2) {
        return FAIL(source, ENGRAM_ERR_DATA, "is not a 2-D dataset of numbers (rank %d, %s)",
                    now.rank, now.type_name);
    }
    if (now.dims[0] != told->dims[0] || now.dims[1] != told->dims[1] || now.dtype != told->dtype ||
        source->options.first < 0 || source->options.first > source->options.last ||
        source->options.last > now.dims[0]) {
        return FAIL(source, ENGRAM_ERR_DATA, "%s", "changed while it was in use");
    }
    if (now.dims[1] > DIM_LIMIT) {
        return FAIL(source, ENGRAM_ERR_DATA, "has %lld dimensions; the limit is %lld",
                    (long long)now.dims[1], (long long)DIM_LIMIT);
    }
    bool chunked = now.storage == ENGRAM_STORAGE_CHUNKED && now.chunk[0] > 0 && now.chunk[1] > 0;
    source->all_rows = now.dims[0];
    source->dim = now.bits == ENGRAM_BITS_PACKED ? (now.dims[1] + 7) / 8 : now.dims[1];
    source->chunk[0] = chunked ? now.chunk[0] : 1;
    source->chunk[1] = chunked ? now.chunk[1] : source->dim;
    type = engram_h5_element_type(whole, source->member);
    if (type < 0) {
        return h5_failure(source, "its type cannot be read");
    }
    engram_h5_classify(type, &source->type);
    if (told->read_as[0] != '\0' &&
        !engram_h5_read_as(told->read_as, H5Tget_size(type), &source->type)) {
        return FAIL(source, ENGRAM_ERR_DATA, "%s", "changed while it was in use");
    }
    source->type.bits = now.bits;
    source->slab_dtype = engram_source_dtype(&now);
    source->row_bytes = (size_t)source->dim * engram_dtype_size(source->slab_dtype);
    enum engram_status status = choose_types(source, type);
    if (status == ENGRAM_OK) {
        /* An element that has members is a whole row. */
        status = choose_way(source, &now, creation,
                            source->member != NULL
                                ? H5Tget_size(whole)
                                : engram_saturating_mul((uint64_t)source->dim, H5Tget_size(type)));
    }
    return status == ENGRAM_OK ? read_fill(source, creation) : status;
}

enum engram_status engram_source_prepare(struct engram_source *source)
{
    ENGRAM_READING(source->path, source->name);
    enum engram_status status = engram_h5_open(source->path, &source->options.log, &source->file);
    if (status != ENGRAM_OK) {
        return status;
    }
    ENGRAM_H5_QUIET;

    if (source->options.dataset->items != NULL) {
        return engram_items_prepare(source);
    }
    source->dataset = engram_h5_open_member(source->file, source->name, &source->member);
    if (source->dataset < 0) {
        return h5_failure(source, "cannot be opened");
    }
    engram_source_find_descriptor(source);
    status = check_dataset(source);
    if (status != ENGRAM_OK) {
        return status;
    }
    source->file_space = H5Dget_space(source->dataset);
    if (source->file_space < 0) {
        return h5_failure(source, "its shape cannot be read");
    }
    source->next = source->options.first;
    return ENGRAM_OK;
}
