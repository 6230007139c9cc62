/* All runs of a spool as one: merged, where they are too many also before. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/spoolfile.h"
#include "io/tempfile.h"
#include "job/spool_internal.h"

/* Runs merged at once whatever the memory: 256 buffers of 16 KiB are 4 MiB. */
#define FAN_IN_MIN 256

/* Bytes read from a run at a time: enough for a disk with heads, if there is memory for it. */
#define BUFFER_MIN ((size_t)16 << 10)
#define BUFFER_GOOD ((size_t)64 << 10)
#define BUFFER_MAX ((size_t)1 << 20)

size_t engram_spool_fan_in = 0;

/* What the final merge will take. */
struct inputs {
    struct engram_merge_run *runs; /* those in memory first, then those on disk */
    size_t held;
    size_t count;
};

static enum engram_status write_failure(const struct engram_spool *spool, int error)
{
    const char *folder = spool->options.tmpdir;
    if (engram_errno_is_full(error)) {
        return engram_fail(&spool->options.log, ENGRAM_ERR_IO,
                           "%s: cannot write temporary data: %s; free some space, or name another "
                           "folder with --tmpdir, and run the same command again",
                           folder,
                           error == EDQUOT  ? "disk quota exceeded"
                           : error == EFBIG ? "the file is larger than the limit (ulimit -f) or "
                                              "the file system allows"
                                            : "the disk is full");
    }
    return engram_fail(&spool->options.log, ENGRAM_ERR_IO, "%s: cannot write temporary data: %s",
                       folder, strerror(error));
}

static enum engram_status open_file(struct engram_spool *spool)
{
    if (spool->fd >= 0) {
        return ENGRAM_OK;
    }
    spool->fd = engram_spoolfile_open(spool->options.tmpdir);
    if (spool->fd >= 0) {
        return ENGRAM_OK;
    }
    if (engram_errno_is_full(errno)) {
        return write_failure(spool, errno);
    }
    enum engram_status status = engram_status_of_errno(errno);
    return engram_fail(
        &spool->options.log, status == ENGRAM_ERR_NO_INPUT ? ENGRAM_ERR_CANT_CREATE : status,
        "%s: cannot create temporary data: %s", spool->options.tmpdir, strerror(errno));
}

/* Before the disk is full for everybody else, too. */
static enum engram_status check_space(const struct engram_spool *spool, uint64_t bytes)
{
    uint64_t free_bytes = engram_disk_free(spool->options.tmpdir);
    if (bytes <= free_bytes) {
        return ENGRAM_OK;
    }
    return engram_fail(&spool->options.log, ENGRAM_ERR_IO,
                       "%s: temporary data for merging the pairs need %" PRIu64
                       " bytes more, and %" PRIu64 " are free; free some space, or name another "
                       "folder with --tmpdir, and run the same command again",
                       spool->options.tmpdir, bytes, free_bytes);
}

/* Pairs buffered a run when `runs` runs are merged, and as many for what comes out. */
static size_t buffer_pairs(const struct engram_spool *spool, size_t runs)
{
    size_t bytes = spool->options.memory / (runs + 1);
    bytes = bytes < BUFFER_MIN ? BUFFER_MIN : bytes > BUFFER_MAX ? BUFFER_MAX : bytes;
    return bytes / sizeof(struct engram_hit);
}

static size_t fan_in(const struct engram_spool *spool)
{
    size_t most = spool->options.memory / BUFFER_GOOD;
    return engram_spool_fan_in > 0 ? engram_spool_fan_in : most > FAN_IN_MIN ? most : FAN_IN_MIN;
}

/* Appends to the temporary file. */
static enum engram_status write_pairs(struct engram_spool *spool, struct engram_hit *hits,
                                      size_t count)
{
    const size_t bytes = count * sizeof *hits;
    enum engram_status status =
        engram_spool_cancelled(spool) ? ENGRAM_ERR_CANCELLED : check_space(spool, bytes);
    if (status != ENGRAM_OK) {
        return status;
    }
    engram_merge_swap(hits, count);
    if (!engram_write_at(spool->fd, hits, bytes, spool->end)) {
        return write_failure(spool, errno);
    }
    spool->end += (off_t)bytes;
    return ENGRAM_OK;
}

/* `runs` become one, in the temporary file. */
static enum engram_status merge_some(struct engram_spool *spool,
                                     const struct engram_merge_run *runs, size_t run_count,
                                     struct engram_merge_run *made)
{
    struct engram_merge_options options = spool->merging;
    struct engram_merge *merge = NULL;
    size_t room = buffer_pairs(spool, run_count);
    size_t count = 0;
    struct engram_hit *hits = malloc(room * sizeof *hits);
    enum engram_status status = hits == NULL ? engram_spool_no_memory(spool) : open_file(spool);
    *made = (struct engram_merge_run){.fd = spool->fd, .offset = spool->end};
    options.buffer = room;
    if (status == ENGRAM_OK) {
        status = engram_merge_open(runs, run_count, &options, &merge);
    }
    do {
        if (status == ENGRAM_OK) {
            status = engram_merge_next(merge, hits, room, &count);
        }
        if (status == ENGRAM_OK && count > 0) {
            status = write_pairs(spool, hits, count);
            made->count += count;
        }
    } while (status == ENGRAM_OK && count > 0);
    engram_merge_close(merge);
    free(hits);
    return status;
}

static int smaller(const void *left, const void *right)
{
    const struct engram_merge_run *a = left;
    const struct engram_merge_run *b = right;
    return (a->count > b->count) - (a->count < b->count);
}

static void note_peak(struct engram_spool *spool, const struct inputs *inputs)
{
    uint64_t bytes = spool->journal_bytes;
    for (size_t i = inputs->held; i < inputs->count; i++) {
        const struct engram_merge_run *run = &inputs->runs[i];
        bytes += run->journal == NULL ? run->count * sizeof(struct engram_hit) : 0;
    }
    spool->disk_peak = bytes > spool->disk_peak ? bytes : spool->disk_peak;
}

/* Merges the smallest runs on disk until few enough are left to be merged at once. */
static enum engram_status reduce(struct engram_spool *spool, struct inputs *inputs)
{
    const size_t most = fan_in(spool) > 2 ? fan_in(spool) : 2;
    struct engram_merge_run *runs = inputs->runs + inputs->held;
    enum engram_status status = ENGRAM_OK;
    while (status == ENGRAM_OK && inputs->count - inputs->held > most) {
        size_t count = inputs->count - inputs->held;
        size_t take = count - most + 1 < most ? count - most + 1 : most;
        struct engram_merge_run made;
        qsort(runs, count, sizeof *runs, smaller);
        status = merge_some(spool, runs, take, &made);
        runs[take - 1] = made;
        memmove(runs, runs + take - 1, (count - take + 1) * sizeof *runs);
        inputs->count -= take - 1;
        note_peak(spool, inputs);
    }
    return status;
}

/* Lists whatever there is, in memory or in the journal. */
static enum engram_status list_runs(struct engram_spool *spool, struct inputs *inputs)
{
    size_t records = spool->journal == NULL ? 0 : engram_journal_count(spool->journal);
    inputs->runs = calloc(spool->held_count + records + 1, sizeof *inputs->runs);
    if (inputs->runs == NULL) {
        return engram_spool_no_memory(spool);
    }
    for (size_t i = 0; i < spool->held_count; i++) {
        const struct engram_held_run *held = &spool->held[i];
        inputs->runs[inputs->count++] = (struct engram_merge_run){
            .hits = held->hits + held->saved, .count = held->count - held->saved};
    }
    inputs->held = inputs->count;
    for (size_t i = 0; i < records; i++) {
        const struct engram_record *record = engram_journal_record(spool->journal, i);
        if (record->kind == ENGRAM_RECORD_RUN) {
            inputs->runs[inputs->count++] =
                (struct engram_merge_run){.count = record->bytes / sizeof(struct engram_hit),
                                          .journal = spool->journal,
                                          .record = *record};
        }
    }
    return ENGRAM_OK;
}

static enum engram_status open_merge(struct engram_spool *spool)
{
    struct inputs inputs = {0};
    spool->merging = (struct engram_merge_options){
        .order = spool->order,
        .drop = true,
        .folder = spool->options.tmpdir,
        .log = spool->options.log,
    };
    enum engram_status status = list_runs(spool, &inputs);
    if (status == ENGRAM_OK) {
        status = reduce(spool, &inputs);
    }
    if (status == ENGRAM_OK) {
        spool->merging.buffer = buffer_pairs(spool, inputs.count - inputs.held);
        status = engram_merge_open(inputs.runs, inputs.count, &spool->merging, &spool->merge);
    }
    free(inputs.runs);
    return status;
}

enum engram_status engram_spool_read(struct engram_spool *spool, struct engram_hit *hits,
                                     size_t room, size_t *count)
{
    const int64_t rows = ((int64_t)1 << spool->order.row_bits) - 1;
    enum engram_status status = spool->merge == NULL ? open_merge(spool) : ENGRAM_OK;
    *count = 0;
    if (status == ENGRAM_OK) {
        status = engram_merge_next(spool->merge, hits, room, count);
    }
    for (size_t i = 0; i < *count; i++) {
        hits[i].tag = spool->options.first_row + (hits[i].tag & rows);
    }
    return status;
}
