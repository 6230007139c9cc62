/* Rows of contiguous datasets: pread by all threads, without HDF5. */
#define _GNU_SOURCE

#include <errno.h>
#include <omp.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"
#include "io/source_internal.h"

/* One read. Parallel file systems want at least this much at a time, and starts on multiples. */
#define BLOCK_BYTES ((size_t)1 << 20)

size_t engram_contiguous_stage_bytes(const struct engram_source *source)
{
    if (source->stored.direct && !source->stored.swapped) {
        return 0;
    }
    /* A block starts and ends with a whole element. */
    return (size_t)engram_source_threads(source) * (BLOCK_BYTES + 64);
}

/* The first thing that went wrong, by its place in the file. */
struct failure {
    uint64_t offset;
    int error;       /* errno; -1: the file ended; 0: look at `element` */
    int64_t element; /* an integer without exact float64; -1 */
};

/* 0, an errno, or -1: the file ended first. */
static int read_fully(int fd, unsigned char *to, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t got = pread(fd, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? errno : -1;
        }
        to += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

/* Elements [from, to) of the rows that start at `offset`, read and put where they belong. */
static struct failure read_block(const struct engram_source *source, uint64_t offset, int64_t from,
                                 int64_t to, unsigned char *stage, unsigned char *slab)
{
    const struct engram_stored *stored = &source->stored;
    struct failure failure = {.offset = offset + (uint64_t)from * stored->bytes, .element = -1};
    size_t size = (size_t)(to - from) * stored->bytes;
    unsigned char *place = slab + (size_t)from * stored->slab_bytes;
    unsigned char *buffer = stage != NULL ? stage : place;

    failure.error = read_fully(source->fd, buffer, size, failure.offset);
    if (failure.error == 0 && stage != NULL) {
        const struct engram_elements elements = {buffer, 0};
        int64_t bad = engram_place(stored, &elements, 0, (size_t)(to - from), place);
        failure.element = bad < 0 ? -1 : from + bad;
    }
    return failure;
}

static enum engram_status explain(const struct engram_source *source, int64_t first,
                                  const struct failure *failure)
{
    if (failure->error == 0) {
        return engram_source_inexact(source, first + failure->element / source->dim,
                                     failure->element % source->dim);
    }
    uint64_t row = (failure->offset - source->offset) /
                   ((uint64_t)source->dim * (uint64_t)source->stored.bytes);
    if (failure->error < 0) {
        return ENGRAM_SOURCE_FAIL(source, ENGRAM_ERR_IO,
                                  "row %llu cannot be read: the file ended while it was being read",
                                  (unsigned long long)row);
    }
    return ENGRAM_SOURCE_FAIL(source, engram_status_of_errno(failure->error),
                              "row %llu cannot be read (%s)", (unsigned long long)row,
                              strerror(failure->error));
}

/* Element at which block `b` starts: at a multiple of BLOCK_BYTES in the file, or the next whole
 * element. */
static int64_t block_start(uint64_t offset, size_t element, int64_t count, int64_t b)
{
    uint64_t skew = offset % BLOCK_BYTES;
    uint64_t at = (uint64_t)b * BLOCK_BYTES;

    if (at <= skew) {
        return 0;
    }
    uint64_t start = (at - skew + element - 1) / element;
    return start < (uint64_t)count ? (int64_t)start : count;
}

enum engram_status engram_contiguous_read_rows(struct engram_source *source, int64_t first,
                                               int64_t rows, void *to)
{
    size_t element = source->stored.bytes;
    uint64_t offset = source->offset + (uint64_t)first * (uint64_t)source->dim * element;
    int64_t count = rows * source->dim; /* lies inside the file, so it fits */
    int64_t blocks =
        (int64_t)((offset % BLOCK_BYTES + (uint64_t)count * element + BLOCK_BYTES - 1) /
                  BLOCK_BYTES);
    int threads = engram_source_threads(source);
    int team = blocks < threads ? (int)blocks : threads;
    struct failure first_failure = {.offset = UINT64_MAX};

#pragma omp parallel num_threads(team)
    {
        unsigned char *stage = source->stage;
        stage = stage == NULL ? NULL : stage + (size_t)omp_get_thread_num() * (BLOCK_BYTES + 64);
#pragma omp for schedule(dynamic)
        for (int64_t b = 0; b < blocks; b++) {
            int64_t from = block_start(offset, element, count, b);
            int64_t until = block_start(offset, element, count, b + 1);
            struct failure failure = read_block(source, offset, from, until, stage, to);
            if (failure.error != 0 || failure.element >= 0) {
#pragma omp critical(engram_contiguous_failure)
                if (failure.offset < first_failure.offset) {
                    first_failure = failure;
                }
            }
        }
    }
    return first_failure.offset == UINT64_MAX ? ENGRAM_OK : explain(source, first, &first_failure);
}
