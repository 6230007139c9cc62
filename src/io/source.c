#define _GNU_SOURCE
#include "io/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"
#include "io/describe.h"
#include "io/h5.h"
#include "io/h5type.h"
#include "io/memory.h"
#include "io/widen.h"

/* Bytes read between two looks at the cancel flag. */
#define PIECE_BYTES ((size_t)64 << 20)

/* The limits of struct engram_set. */
#define ROW_LIMIT (((int64_t)1 << 31) - 64)
#define DIM_LIMIT ((int64_t)1 << 24)

struct engram_source {
    struct engram_source_options options;
    char *path;
    char *name; /* of the dataset */
    hid_t file;
    hid_t dataset;
    hid_t file_space;
    hid_t memory_type; /* as H5Dread delivers: stored type in native order, or the slab's */
    struct engram_h5_type type;
    enum engram_dtype slab_dtype;
    bool direct; /* H5Dread writes into the slab, nothing is left to widen */
    int64_t dim;
    int64_t next; /* dataset row */
    int64_t piece_rows;
    int64_t chunk_rows; /* 1 when not chunked */
    size_t row_bytes;   /* of the slab */
    void *stage;        /* one piece as stored; NULL when direct */
    size_t stage_bytes;
    void *slab;
    size_t slab_bytes;
    char missing_filter[80]; /* an optional filter that is not there; "" */
};

enum engram_dtype engram_source_dtype(const struct engram_dataset_info *dataset)
{
    switch (dataset->dtype) {
    case ENGRAM_F32:
    case ENGRAM_F16:
    case ENGRAM_I8:
    case ENGRAM_U8:
    case ENGRAM_I16:
    case ENGRAM_U16:
        return ENGRAM_F32;
    default:
        return ENGRAM_F64;
    }
}

#define FAIL(source, status, format, ...)                                                          \
    engram_fail(&(source)->options.log, status, "%s: %s: " format, (source)->path, (source)->name, \
                __VA_ARGS__)

static enum engram_status hdf5_failure(const struct engram_source *source, const char *what)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    return FAIL(source, engram_h5_read_status(message), "%s (%s)", what, message);
}

/* A filter that must be undone and cannot be is an error before anything is read. One marked as
 * optional may have been skipped for every chunk: only a failing read proves that it is needed. */
static enum engram_status check_filters(struct engram_source *source, hid_t creation)
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
            return hdf5_failure(source, "the filters cannot be read");
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
    return count < 0 ? hdf5_failure(source, "the filters cannot be read") : ENGRAM_OK;
}

/* Bytes of the whole dataset, UINT64_MAX when they do not fit. */
static uint64_t stored_bytes(const struct engram_dataset_info *now, size_t element_bytes)
{
    uint64_t bytes = 0;

    return __builtin_mul_overflow((uint64_t)now->dims[0], (uint64_t)now->dims[1], &bytes) ||
                   __builtin_mul_overflow(bytes, (uint64_t)element_bytes, &bytes)
               ? UINT64_MAX
               : bytes;
}

/* Data that is not chunked has to be as large as its shape says, and to lie inside the file: HDF5
 * reads past the end of compact data, and gives zeros for what is beyond the end of the file. */
static enum engram_status check_extent(const struct engram_source *source,
                                       const struct engram_dataset_info *now, size_t element_bytes)
{
    struct stat info;
    uint64_t needed = stored_bytes(now, element_bytes);
    uint64_t held = H5Dget_storage_size(source->dataset);
    uint64_t end = 0;
    haddr_t offset = H5Dget_offset(source->dataset);

    if (now->storage == ENGRAM_STORAGE_CONTIGUOUS && offset == HADDR_UNDEF) {
        return ENGRAM_OK; /* never written: every element is the fill value */
    }
    if (held < needed) {
        return FAIL(source, ENGRAM_ERR_DATA,
                    "its shape takes %llu bytes and the file holds %llu for it; it is damaged",
                    (unsigned long long)needed, (unsigned long long)held);
    }
    if (now->storage != ENGRAM_STORAGE_CONTIGUOUS) {
        return ENGRAM_OK;
    }
    if (stat(source->path, &info) != 0) {
        return FAIL(source, engram_status_of_errno(errno), "%s", strerror(errno));
    }
    if (__builtin_add_overflow(needed, (uint64_t)offset, &end) || end > (uint64_t)info.st_size) {
        return FAIL(source, ENGRAM_ERR_DATA,
                    "takes %llu bytes at offset %llu but the file ends at %lld; it is truncated or "
                    "damaged",
                    (unsigned long long)needed, (unsigned long long)offset,
                    (long long)info.st_size);
    }
    return ENGRAM_OK;
}

/* The dataset as it is now, which is what counts, against what the caller was told. */
static enum engram_status check_dataset(struct engram_source *source)
{
    struct engram_dataset_info now = {0};
    const struct engram_dataset_info *told = source->options.dataset;
    ENGRAM_H5_HANDLE hid_t creation = H5Dget_create_plist(source->dataset);
    ENGRAM_H5_HANDLE hid_t type = H5Dget_type(source->dataset);

    if (creation < 0 || type < 0 || engram_h5_describe(source->dataset, &now) < 0) {
        return hdf5_failure(source, "cannot be described");
    }
    if (now.content != ENGRAM_CONTENT_NUMERIC || now.rank != 2) {
        return FAIL(source, ENGRAM_ERR_DATA, "is not a 2-D dataset of numbers (rank %d, %s)",
                    now.rank, now.type_name);
    }
    if (now.storage == ENGRAM_STORAGE_VIRTUAL || now.storage == ENGRAM_STORAGE_EXTERNAL) {
        return FAIL(source, ENGRAM_ERR_USAGE,
                    "%s, which is not supported yet; copy the vectors into one file (h5repack)",
                    now.storage == ENGRAM_STORAGE_VIRTUAL ? "is a virtual dataset"
                                                          : "keeps its data in external files");
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
    source->dim = now.dims[1];
    source->chunk_rows =
        now.storage == ENGRAM_STORAGE_CHUNKED && now.chunk[0] > 0 ? now.chunk[0] : 1;
    engram_h5_classify(type, &source->type);
    source->slab_dtype = engram_source_dtype(&now);
    source->row_bytes = (size_t)source->dim * engram_dtype_size(source->slab_dtype);
    if (now.storage == ENGRAM_STORAGE_CHUNKED) {
        return check_filters(source, creation);
    }
    return now.dims[0] > 0 && now.dims[1] > 0 ? check_extent(source, &now, H5Tget_size(type))
                                              : ENGRAM_OK;
}

/* What H5Dread is asked for: the stored type with its bytes swapped where needed, which is cheap,
 * and widened by us; only floats of unusual layout are converted by HDF5. */
static enum engram_status choose_types(struct engram_source *source)
{
    static const enum engram_dtype plain[] = {ENGRAM_F32, ENGRAM_F64};

    if (source->type.encoding == ENGRAM_ENCODING_CUSTOM) {
        source->direct = true;
        source->memory_type =
            H5Tcopy(source->slab_dtype == ENGRAM_F32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE);
    } else {
        source->direct = source->type.encoding == ENGRAM_ENCODING_PLAIN &&
                         (source->type.dtype == plain[0] || source->type.dtype == plain[1]);
        ENGRAM_H5_HANDLE hid_t type = H5Dget_type(source->dataset);
        source->memory_type = H5Tcopy(type); /* a committed type's copy can be changed */
        if (source->memory_type >= 0 && H5Tget_size(source->memory_type) > 1 &&
            H5Tset_order(source->memory_type, H5Tget_order(H5T_NATIVE_INT)) < 0) {
            return hdf5_failure(source, "its type cannot be read");
        }
    }
    return source->memory_type < 0 ? hdf5_failure(source, "its type cannot be read") : ENGRAM_OK;
}

/* Rows that are read at once: about PIECE_BYTES, in whole rows of chunks, since a chunk that is
 * touched twice may be decompressed twice. */
static void choose_piece(struct engram_source *source)
{
    size_t row = source->row_bytes > 0 ? source->row_bytes : 1;
    int64_t rows = (int64_t)(PIECE_BYTES / row);

    rows = rows < 1 ? 1 : rows;
    if (rows < source->chunk_rows) {
        rows = source->chunk_rows;
    }
    source->piece_rows = rows - rows % source->chunk_rows;
}

static enum engram_status prepare(struct engram_source *source)
{
    const struct engram_source_options *options = &source->options;
    ENGRAM_H5_QUIET;
    ENGRAM_H5_HANDLE hid_t access = engram_h5_link_access(H5P_DATASET_ACCESS);

    if (access < 0) {
        return hdf5_failure(source, "HDF5 cannot create a property list");
    }
    source->dataset = H5Dopen2(source->file, source->name, access);
    if (source->dataset < 0) {
        return hdf5_failure(source, "cannot be opened");
    }
    enum engram_status status = check_dataset(source);
    if (status == ENGRAM_OK) {
        status = choose_types(source);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    source->file_space = H5Dget_space(source->dataset);
    if (source->file_space < 0) {
        return hdf5_failure(source, "its shape cannot be read");
    }
    choose_piece(source);
    source->next = options->first;
    return ENGRAM_OK;
}

enum engram_status engram_source_open(const struct engram_source_options *options,
                                      struct engram_source **source)
{
    *source = NULL;
    struct engram_source *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "%s: not enough memory",
                           options->path);
    }
    opened->options = *options;
    opened->file = opened->dataset = opened->file_space = opened->memory_type = -1;
    opened->path = strdup(options->path);
    opened->name = strdup(options->dataset->path);
    enum engram_status status = ENGRAM_OK;
    if (opened->path == NULL || opened->name == NULL) {
        status =
            engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "%s: not enough memory", options->path);
    }
    if (status == ENGRAM_OK) {
        status = engram_h5_open(opened->path, &options->log, &opened->file);
    }
    if (status == ENGRAM_OK) {
        status = prepare(opened);
    }
    opened->options.dataset = NULL; /* the caller's; not looked at any more */
    opened->options.path = opened->path;
    if (status != ENGRAM_OK) {
        engram_source_close(opened);
        return status;
    }
    *source = opened;
    return ENGRAM_OK;
}

/* Zeroed memory for one slab, each page first touched by the thread that a static split over rows
 * gives it to. */
static enum engram_status allocate(struct engram_source *source, int64_t rows)
{
    size_t bytes = 0;
    size_t with_stage = 0;
    int64_t stage_rows = rows < source->piece_rows ? rows : source->piece_rows;
    size_t stored = H5Tget_size(source->memory_type) * (size_t)source->dim;

    if (!engram_size_mul((size_t)rows, source->row_bytes, &bytes) || bytes > PTRDIFF_MAX) {
        bytes = PTRDIFF_MAX;
    }
    if (source->slab != NULL && source->slab_bytes >= bytes) {
        return ENGRAM_OK;
    }
    engram_pages_free(source->slab, source->slab_bytes);
    source->slab = NULL;
    size_t available = engram_memory_available();
    size_t stage = source->direct || source->stage != NULL ? 0 : (size_t)stage_rows * stored;
    if (!engram_size_add(bytes, stage, &with_stage) || with_stage > available) {
        return FAIL(source, ENGRAM_ERR_RESOURCE,
                    "rows %lld to %lld need %zu bytes of memory and %zu are available",
                    (long long)source->next, (long long)(source->next + rows), with_stage,
                    available);
    }
    source->slab = engram_pages_alloc(bytes);
    if (source->slab == NULL) {
        return FAIL(source, ENGRAM_ERR_RESOURCE, "%zu bytes cannot be allocated (%s)", bytes,
                    strerror(errno));
    }
    source->slab_bytes = bytes;
    if (stage > 0) {
        source->stage = engram_pages_alloc(stage);
        if (source->stage == NULL) {
            return FAIL(source, ENGRAM_ERR_RESOURCE, "%zu bytes cannot be allocated (%s)", stage,
                        strerror(errno));
        }
        source->stage_bytes = stage;
    }
    long page = sysconf(_SC_PAGESIZE);
    size_t grain = page > 0 ? (size_t)page : 4096;
    int64_t pages = (int64_t)(bytes / grain);
    char *memory = source->slab;
    int threads = source->options.threads > 0 ? source->options.threads : 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < pages; i++) {
        memory[(size_t)i * grain] = 0;
    }
    return ENGRAM_OK;
}

/* The seam for other ways to get at stored bytes: rows [first, first + rows) of the dataset as
 * `memory_type` into `to`. False leaves HDF5's error stack. */
static bool fetch(const struct engram_source *source, int64_t first, int64_t rows, void *to)
{
    hsize_t start[2] = {(hsize_t)first, 0};
    hsize_t count[2] = {(hsize_t)rows, (hsize_t)source->dim};
    ENGRAM_H5_HANDLE hid_t memory_space = H5Screate_simple(2, count, NULL);

    return memory_space >= 0 &&
           H5Sselect_hyperslab(source->file_space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
           H5Dread(source->dataset, source->memory_type, memory_space, source->file_space,
                   H5P_DEFAULT, to) >= 0;
}

/* Explains a failed piece: finds the first row of chunks that fails on its own. */
static enum engram_status fetch_failure(const struct engram_source *source, int64_t first,
                                        int64_t rows, void *to)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    for (int64_t row = first; source->chunk_rows > 1 && row < first + rows;) {
        int64_t end = (row / source->chunk_rows + 1) * source->chunk_rows;
        end = end > first + rows ? first + rows : end;
        if (!fetch(source, row, end - row, to)) {
            engram_h5_message(message, sizeof message);
            first = row;
            rows = end - row;
            break;
        }
        row = end;
    }
    if (source->missing_filter[0] != '\0') {
        return FAIL(source, ENGRAM_ERR_PLUGIN,
                    "rows %lld to %lld need HDF5 filter %s, which is not installed; install its "
                    "plugin and set HDF5_PLUGIN_PATH",
                    (long long)first, (long long)(first + rows), source->missing_filter);
    }
    return FAIL(source, engram_h5_read_status(message), "rows %lld to %lld cannot be read (%s)",
                (long long)first, (long long)(first + rows), message);
}

static enum engram_status read_piece(struct engram_source *source, int64_t first, int64_t rows,
                                     void *to)
{
    void *place = source->direct ? to : source->stage;

    if (!fetch(source, first, rows, place)) {
        return fetch_failure(source, first, rows, place);
    }
    if (source->direct) {
        return ENGRAM_OK;
    }
    int64_t bad = engram_widen(source->type.dtype, source->type.encoding, place, to,
                               rows * source->dim, source->options.threads);
    if (bad >= 0) {
        return FAIL(source, ENGRAM_ERR_DATA,
                    "row %lld, column %lld: a 64-bit integer beyond 2^53 has no exact float64",
                    (long long)(first + bad / source->dim), (long long)(bad % source->dim));
    }
    return ENGRAM_OK;
}

static bool cancelled(const struct engram_source *source)
{
    const int *flag = source->options.cancel;

    return flag != NULL && __atomic_load_n(flag, __ATOMIC_RELAXED) != 0;
}

static void report(const struct engram_source *source, int64_t done_to)
{
    const struct engram_source_options *options = &source->options;

    if (options->progress != NULL) {
        options->progress(options->progress_context, (uint64_t)(done_to - options->first),
                          (uint64_t)(options->last - options->first));
    }
}

static enum engram_status fill(struct engram_source *source, int64_t rows)
{
    int64_t end = source->next + rows;
    ENGRAM_H5_QUIET;

    for (int64_t row = source->next; row < end;) {
        /* Up to the next boundary between rows of chunks. */
        int64_t stop = row - row % source->chunk_rows + source->piece_rows;
        stop = stop > end ? end : stop;
        if (cancelled(source)) {
            return engram_fail(&source->options.log, ENGRAM_ERR_CANCELLED,
                               "%s: interrupted while reading", source->path);
        }
        char *to = (char *)source->slab + (size_t)(row - source->next) * source->row_bytes;
        enum engram_status status = read_piece(source, row, stop - row, to);
        if (status != ENGRAM_OK) {
            return status;
        }
        row = stop;
        report(source, row);
    }
    return ENGRAM_OK;
}

/* Rows of the next slab. */
static int64_t next_rows(const struct engram_source *source)
{
    int64_t left = source->options.last - source->next;
    int64_t wanted = source->options.slab_rows < 1 ? 1 : source->options.slab_rows;

    if (wanted < left) {
        wanted = (wanted + ENGRAM_ROW_GRAIN - 1) / ENGRAM_ROW_GRAIN * ENGRAM_ROW_GRAIN;
    }
    return wanted < left ? wanted : left;
}

enum engram_status engram_source_next(struct engram_source *source, struct engram_slab *slab)
{
    int64_t rows = next_rows(source);

    *slab = (struct engram_slab){.first_row = source->next};
    slab->set.dtype = source->slab_dtype;
    slab->set.dim = source->dim;
    slab->set.stride = (size_t)source->dim * engram_dtype_size(source->slab_dtype);
    if (rows == 0) {
        return ENGRAM_OK;
    }
    if (rows > ROW_LIMIT) {
        return FAIL(source, ENGRAM_ERR_RESOURCE, "%lld rows at once; the limit is %lld",
                    (long long)rows, (long long)ROW_LIMIT);
    }
    enum engram_status status = allocate(source, rows);
    if (status == ENGRAM_OK && source->dim > 0) {
        status = fill(source, rows);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    source->next += rows;
    slab->set.data = source->slab;
    slab->set.rows = rows;
    return ENGRAM_OK;
}

void *engram_source_take(struct engram_source *source, size_t *bytes)
{
    void *slab = source->slab;

    *bytes = source->slab_bytes;
    source->slab = NULL;
    source->slab_bytes = 0;
    return slab;
}

void engram_source_close(struct engram_source *source)
{
    if (source == NULL) {
        return;
    }
    engram_pages_free(source->slab, source->slab_bytes);
    engram_pages_free(source->stage, source->stage_bytes);
    engram_h5_close(&source->memory_type);
    engram_h5_close(&source->file_space);
    engram_h5_close(&source->dataset);
    engram_h5_close(&source->file);
    free(source->path);
    free(source->name);
    free(source);
}
