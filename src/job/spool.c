#define _GNU_SOURCE
#include "job/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"
#include "io/spoolfile.h"
#include "io/tempfile.h"
#include "job/merge.h"

/* 256 buffers of 64 KiB are 16 MiB: less than any sensible bound. */
size_t engram_spool_fan_in = 256;

/* Bytes read from a run at a time: enough for a disk with heads, if there is memory for it. */
#define BUFFER_MIN ((size_t)16 << 10)
#define BUFFER_MAX ((size_t)1 << 20)

/* Bytes written between two looks at the cancel flag. */
#define WRITE_BYTES ((size_t)8 << 20)

/* 256 to the power of 4 runs; there may be any number in the last level. */
#define LEVELS 4

/* A file of sorted runs, one behind the other. */
struct level {
    int fd; /* -1: none yet */
    off_t end;
    struct engram_merge_run *runs;
    size_t count;
};

/* A run in memory. */
struct held {
    struct engram_hit *hits;
    size_t count;
    size_t bytes;
};

struct engram_spool {
    struct engram_spool_options options;
    struct engram_merge_options merging;
    int64_t *counts; /* [queries] */
    int64_t total;
    struct held *held;
    size_t held_count;
    size_t held_bytes;
    bool on_disk; /* nothing is held any more */
    struct level levels[LEVELS];
    uint64_t disk_peak;
    struct engram_merge *merge; /* NULL until the first read */
};

static int bits_for(int64_t count)
{
    int bits = 0;
    while (bits < 63 && ((int64_t)1 << bits) < count) {
        bits++;
    }
    return bits;
}

static enum engram_status no_memory(const struct engram_spool *spool)
{
    return engram_fail(&spool->options.log, ENGRAM_ERR_RESOURCE,
                       "not enough memory for the pairs within the threshold");
}

enum engram_status engram_spool_create(const struct engram_spool_options *options,
                                       struct engram_spool **spool)
{
    int row_bits = bits_for(options->rows);
    *spool = NULL;
    if (row_bits + bits_for(options->queries) > 63) {
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE,
                           "%" PRId64 " queries x %" PRId64 " base rows are more pairs than can "
                           "be told apart; take fewer (--query-rows)",
                           options->queries, options->rows);
    }
    struct engram_spool *made = calloc(1, sizeof *made);
    int64_t *counts = calloc((size_t)options->queries + 1, sizeof *counts);
    if (made == NULL || counts == NULL) {
        free(made);
        free(counts);
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    made->options = *options;
    made->merging = (struct engram_merge_options){
        .order = {engram_metric_order(options->metric), row_bits},
        .folder = options->folder,
        .log = options->log,
    };
    made->counts = counts;
    for (int i = 0; i < LEVELS; i++) {
        made->levels[i].fd = -1;
    }
    *spool = made;
    return ENGRAM_OK;
}

void engram_spool_free(struct engram_spool *spool)
{
    if (spool == NULL) {
        return;
    }
    engram_merge_close(spool->merge);
    for (size_t i = 0; i < spool->held_count; i++) {
        engram_pages_free(spool->held[i].hits, spool->held[i].bytes);
    }
    for (int i = 0; i < LEVELS; i++) {
        if (spool->levels[i].fd >= 0) {
            (void)close(spool->levels[i].fd);
        }
        free(spool->levels[i].runs);
    }
    free(spool->held);
    free(spool->counts);
    free(spool);
}

static bool cancelled(const struct engram_spool *spool)
{
    return spool->options.cancel != NULL &&
           __atomic_load_n(spool->options.cancel, __ATOMIC_RELAXED) != 0;
}

static enum engram_status write_failure(const struct engram_spool *spool, int error)
{
    const char *folder = spool->options.folder;
    if (engram_errno_is_full(error)) {
        return engram_fail(&spool->options.log, ENGRAM_ERR_IO,
                           "%s: cannot write temporary data: %s; free some space, name another "
                           "folder with --tmpdir, or narrow the threshold",
                           folder,
                           error == EDQUOT  ? "disk quota exceeded"
                           : error == EFBIG ? "the file is larger than the limit (ulimit -f) or "
                                              "the file system allows"
                                            : "the disk is full");
    }
    return engram_fail(&spool->options.log, ENGRAM_ERR_IO, "%s: cannot write temporary data: %s",
                       folder, strerror(error));
}

/* Before the disk is full for everybody else, too. */
static enum engram_status check_space(const struct engram_spool *spool, uint64_t bytes)
{
    uint64_t free_bytes = engram_disk_free(spool->options.folder);
    if (bytes <= free_bytes) {
        return ENGRAM_OK;
    }
    return engram_fail(&spool->options.log, ENGRAM_ERR_IO,
                       "%s: temporary data for the pairs found so far need %" PRIu64
                       " bytes more, and %" PRIu64 " are free; free some space, name another "
                       "folder with --tmpdir, or narrow the threshold",
                       spool->options.folder, bytes, free_bytes);
}

static enum engram_status open_level(struct engram_spool *spool, struct level *level)
{
    if (level->fd >= 0) {
        return ENGRAM_OK;
    }
    level->fd = engram_spoolfile_open(spool->options.folder);
    if (level->fd >= 0) {
        return ENGRAM_OK;
    }
    if (engram_errno_is_full(errno)) {
        return write_failure(spool, errno);
    }
    enum engram_status status = engram_status_of_errno(errno);
    return engram_fail(
        &spool->options.log, status == ENGRAM_ERR_NO_INPUT ? ENGRAM_ERR_CANT_CREATE : status,
        "%s: cannot create temporary data: %s", spool->options.folder, strerror(errno));
}

/* Appends to the last run of the level. */
static enum engram_status append(struct engram_spool *spool, struct level *level,
                                 const struct engram_hit *hits, size_t count)
{
    const size_t most = WRITE_BYTES / sizeof *hits;
    for (size_t at = 0; at < count; at += most) {
        size_t take = count - at < most ? count - at : most;
        if (cancelled(spool)) {
            return ENGRAM_ERR_CANCELLED;
        }
        if (!engram_write_at(level->fd, hits + at, take * sizeof *hits, level->end)) {
            return write_failure(spool, errno);
        }
        level->end += (off_t)(take * sizeof *hits);
        level->runs[level->count - 1].count += take;
    }
    return ENGRAM_OK;
}

/* An empty run at the end of the level. */
static enum engram_status begin_run(struct engram_spool *spool, struct level *level)
{
    enum engram_status status = open_level(spool, level);
    if (status != ENGRAM_OK) {
        return status;
    }
    struct engram_merge_run *runs = realloc(level->runs, (level->count + 1) * sizeof *runs);
    if (runs == NULL) {
        return no_memory(spool);
    }
    level->runs = runs;
    runs[level->count++] = (struct engram_merge_run){.fd = level->fd, .offset = level->end};
    return ENGRAM_OK;
}

static void note_peak(struct engram_spool *spool)
{
    uint64_t bytes = 0;
    for (int i = 0; i < LEVELS; i++) {
        for (size_t r = 0; r < spool->levels[i].count; r++) {
            bytes += spool->levels[i].runs[r].count * sizeof(struct engram_hit);
        }
    }
    spool->disk_peak = bytes > spool->disk_peak ? bytes : spool->disk_peak;
}

/* Pairs buffered a run when `runs` runs are merged, and as many for what comes out. */
static size_t buffer_pairs(const struct engram_spool *spool, size_t runs)
{
    size_t bytes = spool->options.memory / (runs + 1);
    bytes = bytes < BUFFER_MIN ? BUFFER_MIN : bytes > BUFFER_MAX ? BUFFER_MAX : bytes;
    return bytes / sizeof(struct engram_hit);
}

/* The runs of one level become one run of the next. */
static enum engram_status merge_level(struct engram_spool *spool, int from)
{
    struct level *source = &spool->levels[from];
    struct level *target = &spool->levels[from + 1];
    struct engram_merge *merge = NULL;
    struct engram_merge_options options = spool->merging;
    size_t room = buffer_pairs(spool, source->count);
    size_t count = 0;
    options.buffer = room;
    options.drop = true;
    struct engram_hit *hits = malloc(room * sizeof *hits);
    enum engram_status status = hits == NULL ? no_memory(spool) : begin_run(spool, target);
    if (status == ENGRAM_OK) {
        status = engram_merge_open(source->runs, source->count, &options, &merge);
    }
    do {
        if (status == ENGRAM_OK) {
            status = engram_merge_next(merge, hits, room, &count);
        }
        if (status == ENGRAM_OK) {
            status = check_space(spool, count * sizeof *hits);
        }
        if (status == ENGRAM_OK) {
            status = append(spool, target, hits, count);
        }
    } while (status == ENGRAM_OK && count > 0);
    engram_merge_close(merge);
    free(hits);
    if (status == ENGRAM_OK && ftruncate(source->fd, 0) != 0) {
        status = write_failure(spool, errno);
    }
    source->count = 0;
    source->end = 0;
    return status;
}

/* Makes sure that all runs can be merged at once in the end. */
static enum engram_status merge_levels(struct engram_spool *spool)
{
    enum engram_status status = ENGRAM_OK;
    for (int i = 0; status == ENGRAM_OK && i < LEVELS - 1; i++) {
        if (spool->levels[i].count >= engram_spool_fan_in) {
            status = merge_level(spool, i);
        }
    }
    return status;
}

static enum engram_status write_run(struct engram_spool *spool, const struct engram_hit *hits,
                                    size_t count)
{
    struct level *level = &spool->levels[0];
    enum engram_status status = check_space(spool, (uint64_t)count * sizeof *hits);
    if (status == ENGRAM_OK) {
        status = begin_run(spool, level);
    }
    if (status == ENGRAM_OK) {
        status = append(spool, level, hits, count);
    }
    if (status == ENGRAM_OK) {
        note_peak(spool);
        status = merge_levels(spool);
    }
    return status;
}

/* From now on runs are written as they come. */
static enum engram_status leave_memory(struct engram_spool *spool)
{
    enum engram_status status = ENGRAM_OK;
    engram_logf(&spool->options.log, ENGRAM_LOG_INFO,
                "%s: takes the pairs that memory does not hold: 16 bytes a pair, %" PRId64
                " pairs so far",
                spool->options.folder, spool->total);
    for (size_t i = 0; i < spool->held_count; i++) {
        struct held *held = &spool->held[i];
        if (status == ENGRAM_OK) {
            status = write_run(spool, held->hits, held->count);
        }
        engram_pages_free(held->hits, held->bytes);
    }
    spool->held_count = 0;
    spool->held_bytes = 0;
    spool->on_disk = true;
    return status;
}

static enum engram_status hold(struct engram_spool *spool, struct engram_run *run)
{
    struct held *held = realloc(spool->held, (spool->held_count + 1) * sizeof *held);
    if (held == NULL) {
        return no_memory(spool);
    }
    spool->held = held;
    held[spool->held_count++] = (struct held){run->hits, run->count, run->bytes};
    spool->held_bytes += run->bytes;
    run->hits = NULL;
    return ENGRAM_OK;
}

/* Counts the pairs of a run and gives them the tags of the whole job. */
static void adopt(struct engram_spool *spool, struct engram_run *run)
{
    const struct engram_spool_options *options = &spool->options;
    int64_t first_query = run->first_query - options->first_query;
    int64_t first_row = run->first_row - options->first_row;
    int bits = spool->merging.order.row_bits;
    for (size_t i = 0; i < run->count; i++) {
        int64_t query = first_query + ENGRAM_HIT_QUERY(run->hits[i].tag);
        int64_t row = first_row + ENGRAM_HIT_ROW(run->hits[i].tag);
        run->hits[i].tag = query << bits | row;
        spool->counts[query]++;
    }
    spool->total += (int64_t)run->count;
}

enum engram_status engram_spool_take(void *context, struct engram_run *run)
{
    struct engram_spool *spool = context;
    enum engram_status status = ENGRAM_OK;
    adopt(spool, run);
    if (!spool->on_disk && run->bytes <= spool->options.memory &&
        spool->held_bytes <= spool->options.memory - run->bytes) {
        return hold(spool, run);
    }
    if (!spool->on_disk) {
        status = leave_memory(spool);
    }
    return status == ENGRAM_OK ? write_run(spool, run->hits, run->count) : status;
}

int64_t engram_spool_total(const struct engram_spool *spool)
{
    return spool->total;
}

int64_t engram_spool_count(const struct engram_spool *spool, int64_t query)
{
    return spool->counts[query];
}

uint64_t engram_spool_disk_bytes(const struct engram_spool *spool)
{
    return spool->disk_peak;
}

/* The merge of whatever there is, in memory or in files. */
static enum engram_status open_merge(struct engram_spool *spool)
{
    size_t count = spool->held_count;
    size_t used = 0;
    for (int i = 0; i < LEVELS; i++) {
        count += spool->levels[i].count;
    }
    struct engram_merge_run *runs = calloc(count + 1, sizeof *runs);
    if (runs == NULL) {
        return no_memory(spool);
    }
    for (size_t i = 0; i < spool->held_count; i++) {
        runs[used++] =
            (struct engram_merge_run){.hits = spool->held[i].hits, .count = spool->held[i].count};
    }
    for (int i = 0; i < LEVELS; i++) {
        for (size_t r = 0; r < spool->levels[i].count; r++) {
            runs[used++] = spool->levels[i].runs[r];
        }
    }
    spool->merging.buffer = buffer_pairs(spool, count);
    enum engram_status status = engram_merge_open(runs, used, &spool->merging, &spool->merge);
    free(runs);
    return status;
}

enum engram_status engram_spool_read(struct engram_spool *spool, struct engram_hit *hits,
                                     size_t room, size_t *count)
{
    const int64_t rows = ((int64_t)1 << spool->merging.order.row_bits) - 1;
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
