/* Rows that are datasets of their own: their bytes by pread on all threads, in the order in which
 * they lie in the file; what has no place of its own there, one after the other by HDF5. */
#define _GNU_SOURCE

#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/reading.h"
#include "base/size.h"
#include "io/describe.h"
#include "io/h5.h"
#include "io/h5read.h"
#include "io/items_internal.h"
#include "io/objheader.h"
#include "io/source_internal.h"
#include "io/tempfile.h"

/* One read takes what lies close together: object headers between the items are read along. */
#define BLOCK_BYTES ((size_t)1 << 20)
#define GAP_BYTES 4096

/* A thread's room: a block, an item in aligned memory, and one as float32 on its way to float64. */
struct room {
    unsigned char *block;
    unsigned char *item;
    float *narrow;
};

/* What the reading of one slab needs. */
struct reading {
    struct engram_source *source;
    const struct engram_items *items;
    const uint32_t *order; /* rows of the slab by their place in the file, from `first` */
    int64_t first;
    unsigned char *slab;
};

/* The first thing that went wrong, by its place in the order. */
struct failure {
    int64_t at; /* INT64_MAX: nothing */
    int error;  /* errno; 0: look at `column` */
    int64_t column;
};

static size_t widest(const struct engram_items *items)
{
    size_t bytes = sizeof(double); /* what HDF5 converts to, at most */

    for (int i = 0; i < items->type_count; i++) {
        bytes = items->types[i].bytes > bytes ? items->types[i].bytes : bytes;
    }
    return bytes * (size_t)items->dim; /* both are small */
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t block_bytes(const struct engram_items *items)
{
    size_t item = widest(items);

    return aligned(item > BLOCK_BYTES ? item : BLOCK_BYTES);
}

static size_t room_bytes(const struct engram_items *items)
{
    return block_bytes(items) + aligned(widest(items)) +
           aligned((size_t)items->dim * sizeof(float));
}

static struct room room_of(const struct engram_source *source, int thread)
{
    const struct engram_items *items = source->items;
    unsigned char *start = (unsigned char *)source->stage + (size_t)thread * room_bytes(items);
    unsigned char *item = start + block_bytes(items);

    return (struct room){start, item, (float *)(void *)(item + aligned(widest(items)))};
}

size_t engram_items_stage_bytes(const struct engram_source *source, int64_t rows)
{
    size_t rooms = 0;
    size_t order = 0;
    size_t bytes = 0;

    return engram_size_mul((size_t)engram_source_threads(source), room_bytes(source->items),
                           &rooms) &&
                   engram_size_mul((size_t)rows, sizeof(uint32_t), &order) &&
                   engram_size_add(rooms, order, &bytes)
               ? bytes
               : SIZE_MAX;
}

enum engram_status engram_items_prepare(struct engram_source *source)
{
    const struct engram_items *items = source->options.dataset->items;
    struct engram_items_stamp now;

    source->items = items;
    engram_source_find_descriptor(source);
    if (!engram_items_stamp(source->path, &now) || !engram_items_same_stamp(&now, &items->stamp)) {
        return ENGRAM_SOURCE_FAIL(source, ENGRAM_ERR_DATA, "%s", "changed while it was in use");
    }
    if (items->defect[0] != '\0') {
        return ENGRAM_SOURCE_FAIL(source, ENGRAM_ERR_DATA, "%s", items->defect);
    }
    source->way = ENGRAM_WAY_ITEMS;
    source->all_rows = engram_items_count(items);
    source->dim = items->dim;
    source->chunk[0] = 1;
    source->chunk[1] = items->dim;
    source->slab_dtype = engram_items_dtype(items);
    source->row_bytes = (size_t)source->dim * engram_dtype_size(source->slab_dtype);
    source->next = source->options.first;
    return ENGRAM_OK;
}

/* Whether an item is read without HDF5. */
static bool has_place(const struct engram_source *source, const struct engram_item *item)
{
    return item->offset != ENGRAM_ITEM_NOWHERE && source->fd >= 0 && !source->options.by_hdf5;
}

/* ---- from stored bytes to a row */

/* Puts the stored bytes of an item where its row belongs. Returns the column of an integer without
 * exact float64, or -1. */
static int64_t place_item(const struct engram_source *source, const struct engram_item_type *type,
                          bool swapped, const unsigned char *bytes, const struct room *room,
                          unsigned char *row)
{
    size_t dim = (size_t)source->dim;
    enum engram_dtype dtype = engram_item_dtype(type);
    bool plain = type->type.encoding == ENGRAM_ENCODING_PLAIN;
    const struct engram_stored stored = {
        .dtype = type->type.dtype,
        .encoding = type->type.encoding,
        .bytes = type->bytes,
        .swapped = swapped,
        .direct = plain && (type->type.dtype == ENGRAM_F32 || type->type.dtype == ENGRAM_F64),
        .slab_bytes = engram_dtype_size(dtype),
    };
    bool narrow = dtype != source->slab_dtype;

    if ((uintptr_t)bytes % type->bytes != 0) {
        memcpy(room->item, bytes, dim * type->bytes);
        bytes = room->item;
    }
    const struct engram_elements elements = {bytes, 0};
    int64_t bad = engram_place(&stored, &elements, 0, dim, narrow ? (void *)room->narrow : row);
    for (size_t i = 0; narrow && i < dim; i++) {
        ((double *)(void *)row)[i] = (double)room->narrow[i];
    }
    return bad;
}

static unsigned char *row_of(const struct reading *reading, int64_t at)
{
    return reading->slab + (size_t)reading->order[at] * reading->source->row_bytes;
}

static const struct engram_item *item_at(const struct reading *reading, int64_t at)
{
    return &reading->items->list[reading->first + reading->order[at]];
}

/* ---- by pread */

static uint64_t item_bytes(const struct reading *reading, const struct engram_item *item)
{
    return (uint64_t)reading->items->dim * reading->items->types[item->type].bytes;
}

/* Where a read that starts with item `at` ends, before `stop`. */
static int64_t block_end(const struct reading *reading, int64_t at, int64_t stop, uint64_t *end)
{
    uint64_t start = item_at(reading, at)->offset;
    uint64_t room = block_bytes(reading->items);

    *end = start + item_bytes(reading, item_at(reading, at));
    for (at++; at < stop; at++) {
        const struct engram_item *item = item_at(reading, at);
        uint64_t item_end = item->offset + item_bytes(reading, item);
        if (item_end - start > room || (item->offset > *end && item->offset - *end > GAP_BYTES)) {
            break;
        }
        *end = item_end > *end ? item_end : *end;
    }
    return at;
}

/* Items [from, to) of the order. */
static struct failure read_items(const struct reading *reading, int64_t from, int64_t to,
                                 const struct room *room)
{
    const struct engram_source *source = reading->source;

    for (int64_t at = from; at < to;) {
        uint64_t end = 0;
        int64_t stop = block_end(reading, at, to, &end);
        uint64_t start = item_at(reading, at)->offset;
        if (!engram_read_at(source->fd, room->block, (size_t)(end - start), (off_t)start)) {
            return (struct failure){at, errno != 0 ? errno : EIO, -1};
        }
        for (; at < stop; at++) {
            const struct engram_item *item = item_at(reading, at);
            const struct engram_item_type *type = &reading->items->types[item->type];
            int64_t bad =
                place_item(source, type, type->swapped, room->block + (item->offset - start), room,
                           row_of(reading, at));
            if (bad >= 0) {
                return (struct failure){at, 0, bad};
            }
        }
    }
    return (struct failure){.at = INT64_MAX};
}

static enum engram_status fail_item(const struct reading *reading, int64_t at,
                                    enum engram_status status, const char *why)
{
    const struct engram_source *source = reading->source;
    int64_t row = reading->first + reading->order[at];

    return engram_fail(&source->options.log, status,
                       "%s: %s: row %lld, item %s, cannot be read (%s)", source->path, source->name,
                       (long long)row, engram_items_key(reading->items, row), why);
}

static enum engram_status explain(const struct reading *reading, const struct failure *failure)
{
    int64_t row = reading->first + reading->order[failure->at];

    if (failure->error == 0) {
        return engram_source_inexact(reading->source, row, failure->column);
    }
    return fail_item(reading, failure->at, engram_status_of_errno(failure->error),
                     strerror(failure->error));
}

/* Items [from, to) of the order on all threads. */
static enum engram_status read_piece(const struct reading *reading, int64_t from, int64_t to)
{
    const struct engram_source *source = reading->source;
    int64_t some = (int64_t)(BLOCK_BYTES / widest(reading->items)) + 1;
    int64_t blocks = (to - from + some - 1) / some;
    int threads = engram_source_threads(source);
    int team = blocks < threads ? (int)blocks : threads;
    struct failure first = {.at = INT64_MAX};

#pragma omp parallel num_threads(team)
    {
        const struct room room = room_of(source, omp_get_thread_num());
#pragma omp for schedule(dynamic)
        for (int64_t b = 0; b < blocks; b++) {
            int64_t start = from + b * some;
            int64_t stop = to - start < some ? to : start + some;
            struct failure failure = read_items(reading, start, stop, &room);
            if (failure.at != INT64_MAX) {
#pragma omp critical(engram_items_failure)
                if (failure.at < first.at) {
                    first = failure;
                }
            }
        }
    }
    return first.at == INT64_MAX ? ENGRAM_OK : explain(reading, &first);
}

/* ---- by HDF5 */

static enum engram_status fail_h5(const struct reading *reading, int64_t at, hid_t dataset)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    if (engram_h5_missing_filter(dataset, message, sizeof message)) {
        return fail_item(reading, at, ENGRAM_ERR_PLUGIN, message);
    }
    return fail_item(reading, at, engram_h5_read_status(message), message);
}

static enum engram_status read_by_h5(const struct reading *reading, int64_t at)
{
    struct engram_source *source = reading->source;
    const struct engram_item_type *type = &reading->items->types[item_at(reading, at)->type];
    const struct room room = room_of(source, 0);
    bool custom = type->type.encoding == ENGRAM_ENCODING_CUSTOM;
    char *path = engram_items_path(reading->items, reading->first + reading->order[at]);

    if (path == NULL) {
        return fail_item(reading, at, ENGRAM_ERR_RESOURCE, "not enough memory");
    }
    ENGRAM_READING(source->path, path);
    ENGRAM_H5_HANDLE hid_t access = engram_h5_link_access(H5P_DATASET_ACCESS);
    ENGRAM_H5_HANDLE hid_t dataset =
        access < 0 ? -1 : engram_h5_open_dataset(source->file, path, access);
    free(path);
    ENGRAM_H5_HANDLE hid_t space = dataset < 0 ? -1 : H5Dget_space(dataset);
    ENGRAM_H5_HANDLE hid_t stored = dataset < 0 ? -1 : H5Dget_type(dataset);
    if (space < 0 || stored < 0) {
        return fail_h5(reading, at, dataset);
    }
    if (H5Sget_simple_extent_npoints(space) != source->dim || H5Tget_size(stored) != type->bytes) {
        return fail_item(reading, at, ENGRAM_ERR_DATA, "changed while it was in use");
    }
    enum engram_dtype dtype = engram_item_dtype(type);
    ENGRAM_H5_HANDLE hid_t memory =
        !custom ? H5Tcopy(stored)
                : H5Tcopy(dtype == ENGRAM_F32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE);
    if (memory < 0 ||
        (!custom && type->bytes > 1 && H5Tset_order(memory, H5Tget_order(H5T_NATIVE_INT)) < 0)) {
        return fail_h5(reading, at, dataset);
    }
    memset(room.block, 0, block_bytes(reading->items)); /* what was never written is left alone */
    if (engram_h5_read(dataset, memory, H5S_ALL, H5S_ALL, room.block) < 0) {
        return fail_h5(reading, at, dataset);
    }
    const struct engram_item_type native = {
        .type = {.dtype = dtype, .encoding = ENGRAM_ENCODING_PLAIN},
        .bytes = engram_dtype_size(dtype),
    };
    int64_t bad =
        place_item(source, custom ? &native : type, false, room.block, &room, row_of(reading, at));
    return bad < 0 ? ENGRAM_OK
                   : engram_source_inexact(source, reading->first + reading->order[at], bad);
}

/* ---- a slab */

/* Rows without a place come last. Ties are the same dataset under two keys. */
static int by_place(const void *a, const void *b, void *context)
{
    const struct reading *reading = context;
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    uint64_t x = reading->items->list[reading->first + left].offset;
    uint64_t y = reading->items->list[reading->first + right].offset;

    return x != y ? (x < y ? -1 : 1) : left < right ? -1 : left > right;
}

static enum engram_status read_all(const struct reading *reading, int64_t rows)
{
    struct engram_source *source = reading->source;
    int64_t piece = (int64_t)(ENGRAM_PIECE_BYTES / widest(reading->items)) + 1;
    int64_t placed = 0;

    while (placed < rows && has_place(source, item_at(reading, placed))) {
        placed++;
    }
    for (int64_t at = 0; at < rows;) {
        /* HDF5 takes its time. */
        int64_t stop = at < placed ? at + piece : at + 256;
        stop = at < placed && stop > placed ? placed : stop > rows ? rows : stop;
        if (engram_source_cancelled(source)) {
            return engram_source_interrupted(source);
        }
        enum engram_status status = at < placed ? read_piece(reading, at, stop) : ENGRAM_OK;
        for (int64_t i = at; at >= placed && status == ENGRAM_OK && i < stop; i++) {
            status = read_by_h5(reading, i);
        }
        if (status != ENGRAM_OK) {
            return status;
        }
        at = stop;
        engram_source_report(source, reading->first + at);
    }
    return ENGRAM_OK;
}

enum engram_status engram_items_read_rows(struct engram_source *source, int64_t first, int64_t rows,
                                          void *to)
{
    size_t rooms = (size_t)engram_source_threads(source) * room_bytes(source->items);
    uint32_t *order = (uint32_t *)(void *)((char *)source->stage + rooms);
    struct reading reading = {source, source->items, order, first, to};
    bool sorted = true;

    for (int64_t i = 0; i < rows; i++) {
        order[i] = (uint32_t)i; /* a slab has less than 2^31 rows */
        sorted = sorted && (i == 0 || source->items->list[first + i - 1].offset <=
                                          source->items->list[first + i].offset);
    }
    if (!sorted) {
        qsort_r(order, (size_t)rows, sizeof *order, by_place, &reading);
    }
    return read_all(&reading, rows);
}
