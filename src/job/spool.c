#include "job/spool_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"
#include "io/spoolfile.h"

/* 256 MiB a record: the cancel flag is looked at in between. */
size_t engram_spool_record_pairs = (size_t)16 << 20;

/* Pairs that are read at a time to be counted. */
#define BLOCK_PAIRS ((size_t)1 << 16)

static int bits_for(int64_t count)
{
    int bits = 0;
    while (bits < 63 && ((int64_t)1 << bits) < count) {
        bits++;
    }
    return bits;
}

enum engram_status engram_spool_no_memory(const struct engram_spool *spool)
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
    made->order = (struct engram_merge_order){engram_metric_order(options->metric), row_bits};
    made->counts = counts;
    made->fd = -1;
    *spool = made;
    return ENGRAM_OK;
}

void engram_spool_attach(struct engram_spool *spool, struct engram_journal *journal)
{
    spool->journal = journal;
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
    if (spool->fd >= 0) {
        (void)close(spool->fd);
    }
    free(spool->held);
    free(spool->counts);
    free(spool);
}

bool engram_spool_cancelled(const struct engram_spool *spool)
{
    return spool->options.cancel != NULL &&
           __atomic_load_n(spool->options.cancel, __ATOMIC_RELAXED) != 0;
}

/* ---- taking */

/* Before the disk is full for everybody else, too. */
static enum engram_status check_space(const struct engram_spool *spool, uint64_t bytes)
{
    uint64_t free_bytes = engram_disk_free(spool->options.folder);
    if (bytes <= free_bytes) {
        return ENGRAM_OK;
    }
    if (engram_journal_is_quiet(spool->journal)) {
        return ENGRAM_ERR_IO;
    }
    return engram_fail(&spool->options.log, ENGRAM_ERR_IO,
                       "%s: the pairs found so far need %" PRIu64
                       " bytes more in the checkpoint, and %" PRIu64
                       " are free; free some space and run the same command again, write to "
                       "another disk, or narrow the threshold",
                       spool->options.folder, bytes, free_bytes);
}

/* Appends the rest of a run. What was appended of it is there, whatever fails then. */
static enum engram_status append(struct engram_spool *spool, struct engram_held_run *run,
                                 bool may_cancel)
{
    enum engram_status status =
        check_space(spool, (run->count - run->saved) * sizeof(struct engram_hit));
    while (status == ENGRAM_OK && run->saved < run->count) {
        size_t left = run->count - run->saved;
        size_t take = left < engram_spool_record_pairs ? left : engram_spool_record_pairs;
        size_t bytes = take * sizeof(struct engram_hit);
        const struct engram_record record = {
            .kind = ENGRAM_RECORD_RUN,
            .queries = {run->unit.queries[0], run->unit.queries[1]},
            .base = {run->unit.base[0], run->unit.base[1]},
            .bytes = bytes,
        };
        if (may_cancel && engram_spool_cancelled(spool)) {
            return ENGRAM_ERR_CANCELLED;
        }
        engram_merge_swap(run->hits + run->saved, take);
        status = engram_journal_append(spool->journal, &record, run->hits + run->saved, bytes);
        if (status != ENGRAM_OK) {
            engram_merge_swap(run->hits + run->saved, take);
            return status;
        }
        run->saved += take;
        spool->journal_bytes += bytes;
    }
    spool->disk_peak =
        spool->journal_bytes > spool->disk_peak ? spool->journal_bytes : spool->disk_peak;
    return status;
}

/* Appends runs and lets go of their memory: of all units, or of those that are done. */
static enum engram_status release(struct engram_spool *spool, bool all)
{
    size_t kept = 0;
    enum engram_status status = ENGRAM_OK;
    for (size_t i = 0; i < spool->held_count; i++) {
        struct engram_held_run *run = &spool->held[i];
        if (status == ENGRAM_OK && (all || !run->open)) {
            status = append(spool, run, all);
        }
        if (run->saved < run->count) {
            spool->held[kept++] = *run;
            continue;
        }
        spool->held_bytes -= run->bytes;
        engram_pages_free(run->hits, run->bytes);
    }
    spool->held_count = kept;
    return status;
}

enum engram_status engram_spool_save(struct engram_spool *spool)
{
    return release(spool, false);
}

/* Counts the pairs of a run and gives them the tags of the whole job. */
static void adopt(struct engram_spool *spool, struct engram_run *run)
{
    const struct engram_spool_options *options = &spool->options;
    int64_t first_query = run->first_query - options->first_query;
    int64_t first_row = run->first_row - options->first_row;
    int bits = spool->order.row_bits;
    for (size_t i = 0; i < run->count; i++) {
        int64_t query = first_query + ENGRAM_HIT_QUERY(run->hits[i].tag);
        int64_t row = first_row + ENGRAM_HIT_ROW(run->hits[i].tag);
        run->hits[i].tag = query << bits | row;
        spool->counts[query]++;
    }
    spool->total += (int64_t)run->count;
}

static void tell(struct engram_spool *spool)
{
    if (!spool->told) {
        spool->told = true;
        engram_logf(&spool->options.log, ENGRAM_LOG_INFO,
                    "%s: the checkpoint takes the pairs that memory does not hold: 16 bytes a "
                    "pair, %" PRId64 " pairs so far",
                    spool->options.folder, spool->total);
    }
}

enum engram_status engram_spool_take(void *context, struct engram_run *run)
{
    struct engram_spool *spool = context;
    const size_t memory = spool->options.memory;
    struct engram_held_run taken = {.unit = spool->unit,
                                    .open = spool->unit_open,
                                    .hits = run->hits,
                                    .count = run->count,
                                    .bytes = run->bytes};
    enum engram_status status = ENGRAM_OK;
    adopt(spool, run);
    if (run->bytes > memory || spool->held_bytes > memory - run->bytes) {
        tell(spool);
        status = release(spool, true);
    }
    if (status != ENGRAM_OK || run->bytes > memory) {
        return status == ENGRAM_OK ? append(spool, &taken, true) : status;
    }
    struct engram_held_run *held = realloc(spool->held, (spool->held_count + 1) * sizeof *held);
    if (held == NULL) {
        return engram_spool_no_memory(spool);
    }
    spool->held = held;
    held[spool->held_count++] = taken;
    spool->held_bytes += run->bytes;
    run->hits = NULL;
    return ENGRAM_OK;
}

void engram_spool_unit(struct engram_spool *spool, const struct engram_unit *unit)
{
    spool->unit_open = unit != NULL;
    if (unit != NULL) {
        spool->unit = *unit;
        return;
    }
    for (size_t i = 0; i < spool->held_count; i++) {
        spool->held[i].open = false;
    }
}

/* ---- what an earlier run left */

static enum engram_status contradiction(const struct engram_spool *spool)
{
    return engram_fail(&spool->options.log, ENGRAM_ERR_CANT_CREATE,
                       "%s: the pairs in the checkpoint are none of this job; use --from-scratch "
                       "to drop it",
                       spool->options.folder);
}

/* Counts pairs; `last`, in and out, is the one before them. False: they are out of order. */
static bool count_pairs(struct engram_spool *spool, const struct engram_hit *hits, size_t count,
                        struct engram_hit *last)
{
    const struct engram_spool_options *options = &spool->options;
    const int bits = spool->order.row_bits;
    for (size_t i = 0; i < count; i++) {
        const struct engram_hit *hit = &hits[i];
        int64_t query = hit->tag >> bits;
        int64_t before = last->tag < 0 ? -1 : last->tag >> bits;
        if (hit->tag < 0 || query >= options->queries ||
            hit->tag - (query << bits) >= options->rows || query < before ||
            (query == before && !engram_hit_less(spool->order.order, last, hit))) {
            return false;
        }
        spool->counts[query]++;
        *last = *hit;
    }
    spool->total += (int64_t)count;
    return true;
}

/* Takes a run over. */
static enum engram_status load_run(struct engram_spool *spool, const struct engram_record *record,
                                   struct engram_hit *hits)
{
    const uint64_t pairs = record->bytes / sizeof *hits;
    struct engram_hit last = {0, -1};
    if (record->bytes % sizeof *hits != 0) {
        return contradiction(spool);
    }
    for (uint64_t at = 0; at < pairs; at += BLOCK_PAIRS) {
        size_t count = pairs - at < BLOCK_PAIRS ? (size_t)(pairs - at) : BLOCK_PAIRS;
        if (engram_spool_cancelled(spool)) {
            return ENGRAM_ERR_CANCELLED;
        }
        enum engram_status status = engram_journal_read(spool->journal, record, at * sizeof *hits,
                                                        count * sizeof *hits, hits);
        if (status != ENGRAM_OK) {
            return status;
        }
        engram_merge_swap(hits, count);
        if (!count_pairs(spool, hits, count, &last)) {
            return contradiction(spool);
        }
    }
    spool->journal_bytes += record->bytes;
    return ENGRAM_OK;
}

static bool is_done(const struct engram_done *done, const struct engram_record *record)
{
    struct engram_unit left;
    const struct engram_unit unit = {{record->queries[0], record->queries[1]},
                                     {record->base[0], record->base[1]}};
    return !engram_done_left(done, &unit, &left);
}

enum engram_status engram_spool_load(struct engram_spool *spool, const struct engram_done *done)
{
    struct engram_hit *hits = malloc(BLOCK_PAIRS * sizeof *hits);
    enum engram_status status = hits == NULL ? engram_spool_no_memory(spool) : ENGRAM_OK;
    bool dropped = false;
    for (size_t i = 0; status == ENGRAM_OK && i < engram_journal_count(spool->journal);) {
        const struct engram_record *record = engram_journal_record(spool->journal, i);
        if (record->kind == ENGRAM_RECORD_RUN && !is_done(done, record)) {
            status = engram_journal_drop(spool->journal, i);
            dropped = true;
            continue;
        }
        if (record->kind == ENGRAM_RECORD_RUN) {
            status = load_run(spool, record, hits);
        }
        i++;
    }
    free(hits);
    spool->disk_peak = spool->journal_bytes;
    /* Before any unit that the dropped runs are of is done again. */
    return status == ENGRAM_OK && dropped ? engram_journal_commit(spool->journal) : status;
}

/* ---- counts */

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
