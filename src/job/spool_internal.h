/* A spool, shared by its two rooms: spool.c takes runs, spool_read.c merges them. */
#ifndef ENGRAM_JOB_SPOOL_INTERNAL_H
#define ENGRAM_JOB_SPOOL_INTERNAL_H

#include "job/merge.h"
#include "job/spool.h"

/* A run in memory. */
struct engram_held_run {
    struct engram_unit unit;
    bool open; /* the unit is not done */
    struct engram_hit *hits;
    size_t count;
    size_t saved; /* the first of them are in the journal */
    size_t bytes; /* of the memory */
};

struct engram_spool {
    struct engram_spool_options options;
    struct engram_merge_order order;
    struct engram_journal *journal;
    struct engram_unit unit; /* at work .. */
    bool unit_open;          /* .. and not done */
    int64_t *counts;         /* [queries] */
    int64_t total;
    struct engram_held_run *held;
    size_t held_count;
    size_t held_bytes;
    bool told; /* that memory does not hold all */
    uint64_t journal_bytes;
    uint64_t disk_peak;
    /* Reading. */
    struct engram_merge_options merging;
    struct engram_merge *merge; /* NULL until the first read */
    int fd;                     /* of the temporary file; -1: none */
    off_t end;
};

/* RESOURCE. */
enum engram_status engram_spool_no_memory(const struct engram_spool *spool);

bool engram_spool_cancelled(const struct engram_spool *spool);

#endif
