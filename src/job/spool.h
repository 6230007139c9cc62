/* All pairs of a job, on their way from the search to OUTPUT.
 *
 * The search hands over sorted runs, 16 bytes a pair. As long as they fit they stay in memory; what
 * does not fit, and at every save all there is, goes to the journal as records, once, and is merged
 * from there when OUTPUT is written. Only when there are more runs than can be merged at once, the
 * smallest of them are merged before, into a file without a name in --tmpdir; the journal stays as
 * it is until OUTPUT is there. Only one count a query stays in memory. What comes out depends on
 * the pairs alone.
 *
 * A run's record says which unit it is of. It may be in the journal long before its unit is done; a
 * job that ends in between will answer that unit, or parts of it in another cut, once more. So a
 * job that continues takes over the runs of units that are done and drops all others for good, and
 * every pair is in one run. */
#ifndef ENGRAM_JOB_SPOOL_H
#define ENGRAM_JOB_SPOOL_H

#include <stdint.h>

#include "engram/status.h"
#include "job/done.h"
#include "job/journal.h"
#include "search/run.h"

struct engram_spool_options {
    const char *folder; /* OUTPUT's and the journal's, for the room that is left */
    const char *tmpdir; /* of the temporary file */
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

/* The journal, borrowed, from now on. */
void engram_spool_attach(struct engram_spool *spool, struct engram_journal *journal);

/* Takes over the journal's runs of units that are `done`, and drops the others. IO, RESOURCE;
 * CANT_CREATE: they are none of this job. */
enum engram_status engram_spool_load(struct engram_spool *spool, const struct engram_done *done);

/* Runs that are taken from now on are answers to this unit; NULL: it is done. */
void engram_spool_unit(struct engram_spool *spool, const struct engram_unit *unit);

/* Takes a run: `take` of struct engram_spill, whose context is the spool. Errors: IO (disk full:
 * it is checked before), RESOURCE, CANCELLED. */
enum engram_status engram_spool_take(void *spool, struct engram_run *run);

/* Appends to the journal what is not there of units that are done. IO. */
enum engram_status engram_spool_save(struct engram_spool *spool);

/* Pairs so far, in all and of query i (counted from first_query). */
int64_t engram_spool_total(const struct engram_spool *spool);
int64_t engram_spool_count(const struct engram_spool *spool, int64_t query);

/* The most bytes that pairs took on disk, in journal and temporary file. */
uint64_t engram_spool_disk_bytes(const struct engram_spool *spool);

/* The next pairs in the order of OUTPUT: query after query, best first; tag: global base row.
 * `*count` 0: there are no more. All units are done; no run may be taken and nothing appended to
 * the journal after the first call. IO, RESOURCE, CANCELLED, CANT_CREATE, PERMISSION. */
enum engram_status engram_spool_read(struct engram_spool *spool, struct engram_hit *hits,
                                     size_t room, size_t *count);

/* NULL is allowed. */
void engram_spool_free(struct engram_spool *spool);

/* For tests: runs on disk that are merged at once; 0: as many as memory has buffers for. */
extern size_t engram_spool_fan_in;

/* For tests: pairs of the longest record. */
extern size_t engram_spool_record_pairs;

#endif
