/* All pairs of a job, on their way from the search to OUTPUT.
 *
 * The search hands over sorted runs. As long as they fit, they stay in memory; then all of them go
 * to files without a name, 16 bytes a pair, and are merged when OUTPUT is written. When there are
 * more runs than can be merged at once, groups of them are merged before, into files of the next
 * level; what was read is given back to the file system as the merge goes on. Only one count a
 * query stays in memory. What comes out depends on the pairs alone. */
#ifndef ENGRAM_JOB_SPOOL_H
#define ENGRAM_JOB_SPOOL_H

#include <stdint.h>

#include "engram/status.h"
#include "search/run.h"

struct engram_spool_options {
    const char *folder; /* of the temporary files */
    enum engram_metric metric;
    int64_t first_query; /* global rows of all queries .. */
    int64_t queries;
    int64_t first_row; /* .. and base rows */
    int64_t rows;
    size_t memory; /* bytes for runs, later for the buffers of their merge */
    const int *cancel;
    struct engram_log log;
};

struct engram_spool;

/* Strings are borrowed until engram_spool_free. RESOURCE. */
enum engram_status engram_spool_create(const struct engram_spool_options *options,
                                       struct engram_spool **spool);

/* Takes a run: `take` of struct engram_spill, whose context is the spool. Errors: IO (disk full:
 * it is checked before), CANT_CREATE, PERMISSION, RESOURCE, CANCELLED. */
enum engram_status engram_spool_take(void *spool, struct engram_run *run);

/* Pairs so far, in all and of query i (counted from first_query). */
int64_t engram_spool_total(const struct engram_spool *spool);
int64_t engram_spool_count(const struct engram_spool *spool, int64_t query);

/* The most bytes that the temporary files took. */
uint64_t engram_spool_disk_bytes(const struct engram_spool *spool);

/* The next pairs in the order of OUTPUT: query after query, best first; tag: global base row.
 * `*count` 0: there are no more. No run may be taken after the first call. IO, RESOURCE. */
enum engram_status engram_spool_read(struct engram_spool *spool, struct engram_hit *hits,
                                     size_t room, size_t *count);

/* NULL is allowed. */
void engram_spool_free(struct engram_spool *spool);

/* Runs that are merged at once; tests make it small. */
extern size_t engram_spool_fan_in;

#endif
