/* Sorted runs of pairs, in memory, in the journal or in a temporary file, as one sorted stream.
 * Memory does not depend on how many pairs there are, nor on how many one query has. */
#ifndef ENGRAM_JOB_MERGE_H
#define ENGRAM_JOB_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "base/endian.h"
#include "job/journal.h"
#include "search/hits.h"

/* A pair's tag holds query << row_bits | row. */
struct engram_merge_order {
    struct engram_order order;
    int row_bits;
};

/* Pairs sorted by (query, key, row). */
struct engram_merge_run {
    const struct engram_hit *hits; /* in memory; NULL: on disk, little endian */
    uint64_t count;
    const struct engram_journal *journal; /* has it in a record; NULL: it is in a file */
    struct engram_record record;
    int fd;
    off_t offset;
};

struct engram_merge_options {
    struct engram_merge_order order;
    size_t buffer;      /* pairs read at a time from each run on disk; > 0 */
    bool drop;          /* what was read of a file is not needed any more; journals stay */
    const char *folder; /* of the files, for messages */
    struct engram_log log;
};

struct engram_merge;

/* Between this machine's byte order and little endian. */
static inline void engram_merge_swap(struct engram_hit *hits, size_t count)
{
    uint64_t score;
    for (size_t i = 0; i < count; i++) {
        memcpy(&score, &hits[i].score, sizeof score);
        engram_store64le((unsigned char *)&hits[i].score, score);
        engram_store64le((unsigned char *)&hits[i].tag, (uint64_t)hits[i].tag);
    }
}

/* `runs` is only looked at during the call, the memory, journals and files it names are used until
 * engram_merge_close, nothing is appended to the journals meanwhile; `options` outlives the merge.
 * RESOURCE, IO. */
enum engram_status engram_merge_open(const struct engram_merge_run *runs, size_t count,
                                     const struct engram_merge_options *options,
                                     struct engram_merge **merge);

/* The next pairs, at most `room`; `*count` 0: there are no more. IO. */
enum engram_status engram_merge_next(struct engram_merge *merge, struct engram_hit *hits,
                                     size_t room, size_t *count);

/* NULL is allowed. */
void engram_merge_close(struct engram_merge *merge);

#endif
