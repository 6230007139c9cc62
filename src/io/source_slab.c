/* Slab after slab, and the next one while the last is still in use. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/pages.h"
#include "base/size.h"
#include "base/team.h"
#include "io/memory.h"
#include "io/source_internal.h"

/* One of the limits of struct engram_set. */
#define ROW_LIMIT (((int64_t)1 << 31) - 64)

#define FAIL ENGRAM_SOURCE_FAIL

/* Rows of slabs that others follow. */
static int64_t slab_rows(const struct engram_source *source)
{
    int64_t all = source->options.last - source->options.first;
    int64_t wanted = source->options.slab_rows < 1 ? 1 : source->options.slab_rows;

    if (wanted < all) {
        wanted = (wanted + ENGRAM_ROW_GRAIN - 1) / ENGRAM_ROW_GRAIN * ENGRAM_ROW_GRAIN;
    }
    return wanted < all ? wanted : all;
}

/* Rows of the slab that starts at `row`. */
static int64_t rows_from(const struct engram_source *source, int64_t row)
{
    int64_t left = source->options.last - row;
    int64_t wanted = slab_rows(source);

    return wanted < left ? wanted : left;
}

/* ---- memory */

/* Each page first touched by the thread that a static split over rows gives it to. */
static void touch(const struct engram_source *source, char *memory, size_t bytes)
{
    long page = sysconf(_SC_PAGESIZE);
    size_t grain = page > 0 ? (size_t)page : 4096;
    int64_t pages = (int64_t)(bytes / grain);
    int threads = engram_source_threads(source);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < pages; i++) {
        memory[(size_t)i * grain] = 0;
    }
}

static size_t slab_size(const struct engram_source *source)
{
    size_t bytes = 0;

    return engram_size_mul((size_t)slab_rows(source), source->row_bytes, &bytes) &&
                   bytes <= PTRDIFF_MAX
               ? bytes
               : PTRDIFF_MAX;
}

/* Zeroed memory for the largest slab, and buffers. */
static enum engram_status allocate(struct engram_source *source)
{
    size_t bytes = slab_size(source);
    size_t all = 0;

    if (source->slab != NULL && source->slab_bytes >= bytes) {
        return ENGRAM_OK;
    }
    engram_pages_free(source->slab, source->slab_bytes);
    source->slab = NULL;
    size_t available = engram_memory_available();
    size_t buffers = engram_source_missing_buffers(source, slab_rows(source));
    if (!engram_size_add(bytes, buffers, &all) || all > available) {
        return FAIL(source, ENGRAM_ERR_RESOURCE,
                    "rows %lld to %lld need %zu bytes of memory and %zu are available",
                    (long long)source->next, (long long)(source->next + slab_rows(source)), all,
                    available);
    }
    source->slab = engram_pages_alloc(bytes);
    if (source->slab == NULL) {
        return FAIL(source, ENGRAM_ERR_RESOURCE, "%zu bytes cannot be allocated (%s)", bytes,
                    strerror(errno));
    }
    source->slab_bytes = bytes;
    enum engram_status status = engram_source_allocate_buffers(source, buffers);
    if (status == ENGRAM_OK) {
        touch(source, source->slab, bytes);
    }
    return status;
}

/* ---- reading ahead */

void engram_source_log(void *context, enum engram_log_level level, const char *message)
{
    struct engram_source *source = context;

    if (!source->in_background) {
        engram_logf(&source->log, level, "%s", message);
    } else if (source->ahead.message[0] == '\0') {
        source->ahead.level = level;
        (void)snprintf(source->ahead.message, sizeof source->ahead.message, "%s", message);
    }
}

/* In the thread: the slab that follows. */
static void read_ahead(void *context)
{
    struct engram_source *source = context;
    struct engram_ahead *ahead = &source->ahead;

    ahead->status = engram_source_fill(source, ahead->first, ahead->rows, ahead->slab);
}

/* The thread and its slab; it has a team of its own, all of which has to start. Without memory or
 * threads nothing is read ahead. */
static bool can_read_ahead(struct engram_source *source)
{
    static const struct engram_log silent = {NULL, NULL};
    size_t bytes = source->slab_bytes;
    int threads = engram_source_threads(source);

    if (source->thread != NULL || source->ahead.refused) {
        return source->thread != NULL;
    }
    source->ahead.refused = true;
    if (threads > ENGRAM_THREADS_MAX / 2 || bytes > engram_memory_available() ||
        engram_team_prove(2 * threads, &silent) != ENGRAM_OK) {
        return false;
    }
    source->ahead.slab = engram_pages_alloc(bytes);
    source->ahead.bytes = bytes;
    source->thread = source->ahead.slab == NULL ? NULL : engram_readahead_create();
    if (source->thread != NULL) {
        touch(source, source->ahead.slab, bytes);
    }
    return source->thread != NULL;
}

/* Ends what goes on in the thread; what it had to say is told if it is of use. */
static void finish_ahead(struct engram_source *source, bool wanted)
{
    struct engram_ahead *ahead = &source->ahead;

    if (!source->in_background) {
        return;
    }
    engram_readahead_wait(source->thread);
    source->in_background = false;
    if (wanted && ahead->message[0] != '\0') {
        engram_logf(&source->log, ahead->level, "%s", ahead->message);
    }
}

void engram_source_start(struct engram_source *source)
{
    struct engram_ahead *ahead = &source->ahead;
    int64_t rows = rows_from(source, source->next);

    if (source->in_background || rows == 0 || source->dim == 0 || source->slab == NULL ||
        !can_read_ahead(source)) {
        return;
    }
    ahead->first = source->next;
    ahead->rows = rows;
    ahead->message[0] = '\0';
    source->in_background = true;
    engram_readahead_start(source->thread, read_ahead, source);
}

/* The slab that was read ahead becomes the slab. */
static enum engram_status take_ahead(struct engram_source *source)
{
    struct engram_ahead *ahead = &source->ahead;
    void *slab = source->slab;
    size_t bytes = source->slab_bytes;

    finish_ahead(source, true);
    source->slab = ahead->slab;
    source->slab_bytes = ahead->bytes;
    ahead->slab = slab;
    ahead->bytes = bytes;
    if (ahead->status == ENGRAM_OK) {
        engram_source_report(source, ahead->first + ahead->rows);
    }
    return ahead->status;
}

/* ---- slabs */

enum engram_status engram_source_next(struct engram_source *source, struct engram_slab *slab)
{
    int64_t rows = rows_from(source, source->next);
    enum engram_status status = ENGRAM_OK;

    *slab = (struct engram_slab){.first_row = source->next};
    slab->set.dtype = source->slab_dtype;
    slab->set.dim = source->dim;
    slab->set.stride = source->row_bytes;
    if (rows == 0) {
        return ENGRAM_OK;
    }
    if (rows > ROW_LIMIT) {
        return FAIL(source, ENGRAM_ERR_RESOURCE, "%lld rows at once; the limit is %lld",
                    (long long)rows, (long long)ROW_LIMIT);
    }
    if (source->in_background && source->ahead.first == source->next) {
        status = take_ahead(source);
    } else {
        finish_ahead(source, false);
        if (source->way == ENGRAM_WAY_PARTS && source->slab == NULL) {
            status = engram_parts_check_rows(source, source->next, rows);
        }
        if (status == ENGRAM_OK) {
            status = allocate(source);
        }
        if (status == ENGRAM_OK && source->dim > 0) {
            status = engram_source_fill(source, source->next, rows, source->slab);
        }
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    source->next += rows;
    slab->set.data = source->slab;
    slab->set.rows = rows;
    return ENGRAM_OK;
}

void engram_source_seek(struct engram_source *source, int64_t row)
{
    if (source->ahead.first != row) {
        finish_ahead(source, false);
    }
    source->next = row;
}

void engram_source_rewind(struct engram_source *source)
{
    engram_source_seek(source, source->options.first);
}

void engram_source_limit(struct engram_source *source, int64_t rows)
{
    finish_ahead(source, false);
    source->options.slab_rows = rows;
    size_t bytes = slab_size(source);
    if (source->slab != NULL && bytes < source->slab_bytes) {
        engram_pages_shrink(source->slab, source->slab_bytes, bytes);
        source->slab_bytes = bytes;
    }
}

void *engram_source_take(struct engram_source *source, size_t *bytes)
{
    void *slab = source->slab;

    finish_ahead(source, false);
    *bytes = source->slab_bytes;
    source->slab = NULL;
    source->slab_bytes = 0;
    return slab;
}
