/* The answers to all queries of a job, as partials of consecutive parts of them. A part is in
 * memory or, when it was saved, only in the journal, until somebody asks for it. */
#ifndef ENGRAM_JOB_PARTS_H
#define ENGRAM_JOB_PARTS_H

#include "job/done.h"
#include "job/journal.h"
#include "search/partial.h"

struct engram_part {
    struct engram_partial known; /* all zero: not in memory */
    bool there;
    bool dirty; /* holds answers that the journal does not */
};

struct engram_parts {
    struct engram_part *parts;
    int64_t count;
    int64_t rows; /* queries of a part; the last has fewer */
    enum engram_metric metric;
    int64_t k;
    int64_t queries[2];                   /* rows of the dataset */
    size_t held;                          /* bytes of answers in memory .. */
    size_t room;                          /* .. and how many there may be, give or take a part */
    const struct engram_journal *journal; /* borrowed; NULL: nothing was saved */
    struct engram_log log;
};

/* Bytes of a part of a job for k answers whose queries have `kept` each; and how many parts there
 * may be in memory at once when there is room for one: that, what it becomes by a merge, what is
 * merged, and its copy on the way to the journal or back. */
uint64_t engram_parts_bytes(int64_t k, uint64_t kept);
#define ENGRAM_PARTS_LEAST 4

/* Queries of a part. */
int64_t engram_parts_rows(int64_t k);

/* Parts without answers for queries [queries[0], queries[1]). RESOURCE. */
enum engram_status engram_parts_create(enum engram_metric metric, int64_t k,
                                       const int64_t queries[2], size_t room,
                                       const struct engram_log *log, struct engram_parts *parts);
void engram_parts_free(struct engram_parts *parts);

/* From now on, answers that are not in memory are those of the journal's partials. */
void engram_parts_load(struct engram_parts *parts, const struct engram_journal *journal);

/* Part i, until the next call: the first may have to be read, others may have to go. RESOURCE, IO,
 * DATA (the journal). */
enum engram_status engram_parts_get(struct engram_parts *parts, int64_t i,
                                    const struct engram_partial **part);

/* Adds a unit's answers. */
enum engram_status engram_parts_add(struct engram_parts *parts, const struct engram_partial *found);

/* A copy of what is known of queries [first, last). */
enum engram_status engram_parts_copy(struct engram_parts *parts, const int64_t queries[2],
                                     struct engram_partial *known);

/* Appends to the journal what is known of the queries of each unit of `unsaved`; `done`: all units
 * that are. */
enum engram_status engram_parts_save(struct engram_parts *parts, const struct engram_done *unsaved,
                                     const struct engram_done *done,
                                     struct engram_journal *journal);

/* Forgets all answers. */
void engram_parts_clear(struct engram_parts *parts);

/* Whether there is more in memory than should be: after saving, engram_parts_trim makes room. */
bool engram_parts_full(const struct engram_parts *parts);
void engram_parts_trim(struct engram_parts *parts);

/* Answers of all queries. */
enum engram_status engram_parts_total(struct engram_parts *parts, int64_t *total);

#endif
