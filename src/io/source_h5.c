#define _GNU_SOURCE

#include <string.h>

#include "base/reading.h"
#include "base/size.h"
#include "io/h5.h"
#include "io/h5read.h"
#include "io/source_internal.h"
#include "io/virtual_read.h"

#define FAIL ENGRAM_SOURCE_FAIL

size_t engram_h5_stage_bytes(const struct engram_source *source, int64_t rows)
{
    int64_t piece = engram_source_piece_rows(source);
    size_t row = source->memory_row;
    size_t bytes = 0;

    if (source->direct) {
        return 0;
    }
    return engram_size_mul((size_t)(rows < piece ? rows : piece), row, &bytes) ? bytes : SIZE_MAX;
}

bool engram_h5_fetch(const struct engram_source *source, const hsize_t start[2],
                     const hsize_t count[2], void *to)
{
    ENGRAM_READING(source->path, source->name);

    ENGRAM_H5_HANDLE hid_t memory_space =
        H5Screate_simple(source->member == NULL ? 2 : 1, count, NULL);

    /* A member is one element; no product overflows: the memory is there. */
    engram_reading_bytes((uint64_t)count[0] * source->memory_row);
    return memory_space >= 0 &&
           H5Sselect_hyperslab(source->file_space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
           (source->parts != NULL
                ? engram_virtual_read(source, start[0], count[0], memory_space, to)
                : engram_h5_read(source->dataset, source->memory_type, memory_space,
                                 source->file_space, to) >= 0);
}

static bool fetch(const struct engram_source *source, int64_t first, int64_t rows, void *to)
{
    const hsize_t start[2] = {(hsize_t)first, 0};
    const hsize_t count[2] = {(hsize_t)rows, (hsize_t)source->dim};

    return engram_h5_fetch(source, start, count, to);
}

/* Explains a failed piece: finds the first row of chunks that fails on its own. */
static enum engram_status fetch_failure(const struct engram_source *source, int64_t first,
                                        int64_t rows, void *to)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    /* A file that was cut fails in any way it likes: that comes first. */
    enum engram_status status = engram_source_check_size(source);
    if (status != ENGRAM_OK) {
        return status;
    }
    for (int64_t row = first; source->chunk[0] > 1 && row < first + rows;) {
        int64_t end = (row / source->chunk[0] + 1) * source->chunk[0];
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

enum engram_status engram_h5_read_rows(struct engram_source *source, int64_t first, int64_t rows,
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
    return bad < 0 ? ENGRAM_OK
                   : engram_source_inexact(source, first + bad / source->dim, bad % source->dim);
}
