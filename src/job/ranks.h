/* The processes that work on one job: rank 0 has the files, gives out units and gathers answers;
 * the others ask for a unit, answer it, send what they found, and ask again.
 *
 * Built without MPI there is one process, rank 0 (ranks_one.c); ranks_mpi.c is the other
 * implementation. A process calls from one thread; on rank 0 a thread of its own talks to the
 * others between engram_ranks_serve and engram_ranks_rest, and calls the desk. */
#ifndef ENGRAM_JOB_RANKS_H
#define ENGRAM_JOB_RANKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "job/done.h"
#include "job/identity.h"

/* Before anything else in main; false, with a message on stderr, when MPI cannot be used. */
bool engram_ranks_start(int *argc, char ***argv);

/* The last thing in main, on every rank: waits for the others, asleep. Returns the exit code. A
 * process that fails so that others would wait for it for ever ends them all. */
int engram_ranks_stop(int code);

int engram_ranks_self(void);
int engram_ranks_count(void);

/* Ranks on this machine, which share its memory. */
int engram_ranks_here(void);

/* What MPI itself takes of a process's memory: the most of all ranks, so that all plan alike. */
uint64_t engram_ranks_bytes(void);

/* The least of all ranks' values. Every rank calls it, at the same place. */
uint64_t engram_ranks_least(uint64_t value);

/* ---- the others */

/* What rank 0 says: a unit to answer, or (false) that there is no more work. `held`: base rows that
 * are in memory. */
bool engram_ranks_ask(const int64_t held[2], struct engram_unit *unit);

/* A piece of the answers to the unit; then that there are no more pieces, and how many pairs were
 * looked at and rescored. */
void engram_ranks_send(const void *piece, size_t bytes);
void engram_ranks_finish(const struct engram_unit *unit, const int64_t pairs[2]);

/* The content of rows, grains of the base (side 0) or the queries (1): as soon as they were read,
 * before any answer about them. */
struct engram_grain {
    int64_t side;
    int64_t number;
    struct engram_grain_sum sum;
};
void engram_ranks_report(const struct engram_grain *grains, size_t count);

/* This rank takes no part any more; OK: because there is no more work. Else `why` is the message.
 * The last word, with which the rank's peak of memory goes. */
void engram_ranks_leave(enum engram_status status, const char *why);

/* ---- rank 0 */

/* Called by the thread that talks to the others. */
struct engram_ranks_desk {
    /* The next unit for a rank; false: no more work. */
    bool (*give)(void *context, int rank, const int64_t held[2], struct engram_unit *unit);
    /* Whether pieces should wait a little: too many are unread. */
    bool (*busy)(void *context);
    /* A piece, malloc'ed: the callee's from now on. */
    void (*take)(void *context, int rank, void *piece, size_t bytes);
    void (*finished)(void *context, int rank, const struct engram_unit *unit,
                     const int64_t pairs[2]);
    void (*reported)(void *context, int rank, const struct engram_grain *grains, size_t count);
    void (*left)(void *context, int rank, enum engram_status status, const char *why,
                 uint64_t peak_bytes);
    void *context;
};

/* Starts the thread. The desk is borrowed until engram_ranks_rest. RESOURCE. */
enum engram_status engram_ranks_serve(const struct engram_ranks_desk *desk);

/* Ends the thread, when all ranks have left or some seconds after it was asked to. False: some have
 * not left, and engram_ranks_stop will end them. */
bool engram_ranks_rest(void);

#endif
