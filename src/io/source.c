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
#include "base/reading.h"
#include "base/size.h"
#include "io/h5.h"
#include "io/memory.h"
#include "io/source_internal.h"
#include "io/virtual_read.h"

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
    case ENGRAM_BITS:
        return ENGRAM_BITS;
    default:
        return ENGRAM_F64;
    }
}

#define FAIL ENGRAM_SOURCE_FAIL

enum engram_status engram_source_h5_failure(const struct engram_source *source, const char *what)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    return FAIL(source, engram_h5_read_status(message), "%s (%s)", what, message);
}

enum engram_status engram_source_inexact(const struct engram_source *source, int64_t row,
                                         int64_t column)
{
    return FAIL(source, ENGRAM_ERR_DATA,
                "row %lld, column %lld: a 64-bit integer beyond 2^53 has no exact float64",
                (long long)row, (long long)column);
}

bool engram_source_cancelled(const struct engram_source *source)
{
    const int *flag = source->options.cancel;

    return flag != NULL && __atomic_load_n(flag, __ATOMIC_RELAXED) != 0;
}

enum engram_status engram_source_interrupted(const struct engram_source *source)
{
    /* Who asked for it says so. */
    engram_logf(&source->options.log, ENGRAM_LOG_DEBUG, "%s: interrupted while reading",
                source->path);
    return ENGRAM_ERR_CANCELLED;
}

void engram_source_report(const struct engram_source *source, int64_t row)
{
    const struct engram_source_options *options = &source->options;

    if (options->progress != NULL && !source->in_background) {
        options->progress(options->progress_context, (uint64_t)(row - options->first),
                          (uint64_t)(options->last - options->first));
    }
}

enum engram_status engram_source_check_size(const struct engram_source *source)
{
    struct stat info;

    if (source->fd < 0) {
        return ENGRAM_OK;
    }
    if (fstat(source->fd, &info) != 0) {
        return FAIL(source, engram_status_of_errno(errno), "%s", strerror(errno));
    }
    if ((uint64_t)info.st_size >= source->file_size) {
        return ENGRAM_OK;
    }
    return FAIL(source, ENGRAM_ERR_IO,
                "the file was cut from %llu to %lld bytes while it was being read",
                (unsigned long long)source->file_size, (long long)info.st_size);
}

int engram_source_threads(const struct engram_source *source)
{
    return source->options.threads > 0 ? source->options.threads : 1;
}

int64_t engram_source_piece_rows(const struct engram_source *source)
{
    size_t row = source->row_bytes > 0 ? source->row_bytes : 1;
    size_t team = (size_t)engram_source_threads(source);
    /* Each of very many threads should get its share of a piece. */
    size_t bytes = team > 16 && source->way == ENGRAM_WAY_CONTIGUOUS ? team / 8 * ENGRAM_PIECE_BYTES
                                                                     : ENGRAM_PIECE_BYTES;
    size_t limit = source->options.buffer_bytes;
    int64_t rows = (int64_t)((limit > 0 && limit < bytes ? limit : bytes) / row);

    rows = rows < 1 ? 1 : rows;
    /* A chunk that is touched twice may be unpacked twice. */
    return rows < source->chunk[0] ? source->chunk[0] : rows - rows % source->chunk[0];
}

static enum engram_status open_source(const struct engram_source_options *options,
                                      enum engram_status (*prepare)(struct engram_source *),
                                      struct engram_source **source)
{
    *source = NULL;
    struct engram_source *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "%s: not enough memory",
                           options->path);
    }
    opened->options = *options;
    opened->log = options->log;
    opened->options.log = (struct engram_log){engram_source_log, opened};
    opened->file = opened->dataset = opened->file_space = opened->memory_type = -1;
    opened->fd = -1;
    opened->path = strdup(options->path);
    opened->name = strdup(options->dataset->path);
    enum engram_status status = ENGRAM_OK;
    if (opened->path == NULL || opened->name == NULL) {
        status =
            engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "%s: not enough memory", options->path);
    }
    if (status == ENGRAM_OK) {
        status = prepare(opened);
    }
    opened->options.path = opened->path;
    if (status != ENGRAM_OK) {
        engram_source_close(opened);
        return status;
    }
    *source = opened;
    return ENGRAM_OK;
}

enum engram_status engram_source_open_stored(const struct engram_source_options *options,
                                             struct engram_source **source)
{
    return open_source(options, engram_source_prepare, source);
}

enum engram_status engram_source_open(const struct engram_source_options *options,
                                      struct engram_source **source)
{
    bool converted = options->part_count > 0 || options->dataset->bits == ENGRAM_BITS_PACKED;

    return open_source(options, converted ? engram_parts_prepare : engram_source_prepare, source);
}

size_t engram_source_missing_buffers(const struct engram_source *source, int64_t rows)
{
    switch (source->way) {
    case ENGRAM_WAY_PARTS:
        return 0; /* the parts look after their own */
    case ENGRAM_WAY_CHUNKS:
        return source->chunks != NULL ? 0 : engram_chunks_bytes(source);
    case ENGRAM_WAY_CONTIGUOUS:
        return source->stage != NULL ? 0 : engram_contiguous_stage_bytes(source);
    case ENGRAM_WAY_ITEMS:
        return source->stage != NULL ? 0 : engram_items_stage_bytes(source, rows);
    default:
        return source->stage != NULL ? 0 : engram_h5_stage_bytes(source, rows);
    }
}

enum engram_status engram_source_allocate_buffers(struct engram_source *source, size_t bytes)
{
    if (bytes == 0) {
        return ENGRAM_OK;
    }
    if (source->way == ENGRAM_WAY_CHUNKS) {
        return engram_chunks_create(source);
    }
    source->stage = engram_pages_alloc(bytes);
    if (source->stage == NULL) {
        return FAIL(source, ENGRAM_ERR_RESOURCE, "%zu bytes cannot be allocated (%s)", bytes,
                    strerror(errno));
    }
    source->stage_bytes = bytes;
    return ENGRAM_OK;
}

/* By pieces, so that the cancel flag is seen and progress reported. */
static enum engram_status read_pieces(struct engram_source *source, int64_t first, int64_t rows,
                                      char *to)
{
    int64_t end = first + rows;
    int64_t piece = engram_source_piece_rows(source);

    for (int64_t row = first; row < end;) {
        /* Up to the next boundary between rows of chunks. */
        int64_t stop = row - row % source->chunk[0] + piece;
        stop = stop > end ? end : stop;
        if (engram_source_cancelled(source)) {
            return engram_source_interrupted(source);
        }
        char *place = to + (size_t)(row - first) * source->row_bytes;
        enum engram_status status =
            source->way == ENGRAM_WAY_CONTIGUOUS
                ? engram_contiguous_read_rows(source, row, stop - row, place)
                : engram_h5_read_rows(source, row, stop - row, place);
        if (status != ENGRAM_OK) {
            return status;
        }
        row = stop;
        engram_source_report(source, row);
    }
    return ENGRAM_OK;
}

enum engram_status engram_source_fill(struct engram_source *source, int64_t first, int64_t rows,
                                      void *to)
{
    ENGRAM_H5_QUIET;
    enum engram_status status;

    if (source->way == ENGRAM_WAY_CHUNKS) {
        status = engram_chunks_read_rows(source, first, rows, to);
    } else if (source->way == ENGRAM_WAY_PARTS) {
        status = engram_parts_read_rows(source, first, rows, to);
    } else if (source->way == ENGRAM_WAY_ITEMS) {
        status = engram_items_read_rows(source, first, rows, to);
    } else {
        status = read_pieces(source, first, rows, to);
    }
    return status == ENGRAM_OK ? engram_source_check_size(source) : status;
}

enum engram_status engram_source_read(struct engram_source *source, int64_t first, int64_t rows,
                                      void *to)
{
    /* Enough for whatever is read next. */
    size_t buffers =
        engram_source_missing_buffers(source, source->options.last - source->options.first);
    size_t available = engram_memory_available();

    if (rows == 0 || source->dim == 0) {
        return ENGRAM_OK;
    }
    if (buffers > available) {
        return FAIL(source, ENGRAM_ERR_RESOURCE,
                    "reading needs %zu bytes of memory and %zu are available", buffers, available);
    }
    enum engram_status status = engram_source_allocate_buffers(source, buffers);
    return status == ENGRAM_OK ? engram_source_fill(source, first, rows, to) : status;
}

bool engram_source_extent(const struct engram_source *source, uint64_t *offset, uint64_t *bytes)
{
    if (source->way != ENGRAM_WAY_CONTIGUOUS) {
        return false;
    }
    uint64_t row = (uint64_t)source->dim * source->stored.bytes;
    *offset = source->offset + (uint64_t)source->options.first * row;
    *bytes = (uint64_t)(source->options.last - source->options.first) * row;
    return true;
}

static void close_handles(struct engram_source *source)
{
    ENGRAM_READING(source->path, source->name);

    engram_h5_close(&source->memory_type);
    engram_h5_close(&source->file_space);
    engram_h5_close(&source->dataset);
    for (size_t i = 0; i < source->part_count; i++) {
        engram_virtual_part_close(&source->parts[i]);
    }
    free(source->parts);
    source->parts = NULL;
    source->part_count = 0;
    engram_h5_close(&source->file);
}

void engram_source_close(struct engram_source *source)
{
    if (source == NULL) {
        return;
    }
    engram_readahead_free(source->thread);
    engram_pages_free(source->slab, source->slab_bytes);
    engram_pages_free(source->ahead.slab, source->ahead.bytes);
    engram_pages_free(source->stage, source->stage_bytes);
    engram_chunks_free(source->chunks);
    engram_source_close(source->part);
    close_handles(source);
    free(source->path);
    free(source->name);
    free(source);
}
