/* Which units of a job are done: rectangles of queries x base rows, in any cut. What is left to do
 * follows from that alone, whatever slabs, units, threads or ranks the earlier ones were cut for.
 */
#ifndef ENGRAM_JOB_DONE_H
#define ENGRAM_JOB_DONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/status.h"

/* Rows of the datasets, half-open. */
struct engram_unit {
    int64_t queries[2];
    int64_t base[2];
};

/* Start from all zero. */
struct engram_done {
    struct engram_unit *units; /* may overlap */
    size_t count;
    size_t room;
};

/* Adds a unit; one without queries or rows is nothing. Neighbours become one. RESOURCE. */
enum engram_status engram_done_add(struct engram_done *done, const struct engram_unit *unit,
                                   const struct engram_log *log);

/* A piece of `within` of which nothing is done: the one with the lowest query, then the lowest base
 * row; as wide in base rows as can be, then in queries. False: all of `within` is done. */
bool engram_done_left(const struct engram_done *done, const struct engram_unit *within,
                      struct engram_unit *left);

/* The base rows around row `base` that are done for all of the queries [first, last), as one
 * range; empty when that row is not. */
void engram_done_around(const struct engram_done *done, const int64_t queries[2], int64_t base,
                        int64_t range[2]);

/* Pairs of `within` that are done. */
uint64_t engram_done_pairs(const struct engram_done *done, const struct engram_unit *within);

void engram_done_free(struct engram_done *done);

#endif
