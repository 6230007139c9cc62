/* Ranks by MPI. Messages to rank 0 are a head of eight numbers, and for some of them a body of so
 * many bytes; rank 0 answers with a head. Nobody waits inside MPI for long: its waiting takes a
 * core, which the threads of another rank may need. */
#define _GNU_SOURCE
#include <mpi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "io/memory.h"
#include "job/ranks.h"

enum word { ASK = 1, PIECE, FINISHED, GRAINS, LEFT, WORK, NO_WORK };
enum { WORD, BYTES, QUERIES, BASE = QUERIES + 2, PAIRS = BASE + 2, HEAD = PAIRS + 2 };
enum { TAG_HEAD = 1, TAG_BODY, TAG_ANSWER };

/* Bodies longer than this go in several messages: counts are ints. */
#define BODY_MAX ((size_t)256 << 20)

#define NAP_NS 500000L
/* What MPI takes on top of what it has once all ranks have spoken to each other: buffers that it
 * makes when it needs them. */
#define LATER_BYTES ((uint64_t)8 << 20)
/* For ranks to say goodbye, after a job that failed. */
#define PATIENCE_NS ((uint64_t)5 * 1000 * 1000 * 1000)

static struct {
    int self;
    int count;
    int here;
    uint64_t bytes;
    const struct engram_ranks_desk *desk;
    pthread_t thread;
    bool serving;
    int resting; /* atomic */
    int present; /* ranks that have not left */
} ranks = {.count = 1, .here = 1};

static void nap(void)
{
    const struct timespec pause = {.tv_nsec = NAP_NS};
    (void)nanosleep(&pause, NULL);
}

/* ---- all ranks */

bool engram_ranks_start(int *argc, char ***argv)
{
    const size_t before = engram_memory_resident();
    int provided = MPI_THREAD_SINGLE;
    MPI_Comm local;
    if (MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) {
        return false; /* it said why */
    }
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &ranks.self);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &ranks.count);
    if (MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local) ==
        MPI_SUCCESS) {
        (void)MPI_Comm_size(local, &ranks.here);
        (void)MPI_Comm_free(&local);
    }
    if (provided < MPI_THREAD_SERIALIZED && ranks.count > 1) {
        if (ranks.self == 0) {
            (void)fputs("engram-batch: this MPI has no support for threads\n", stderr);
        }
        (void)MPI_Finalize();
        return false;
    }
    if (ranks.count > 1) {
        (void)engram_ranks_least(0); /* connects them, which takes memory */
        size_t now = engram_memory_resident();
        uint64_t taken = (now > before ? now - before : 0) + LATER_BYTES;
        ranks.bytes = UINT64_MAX - engram_ranks_least(UINT64_MAX - taken);
    }
    return true;
}

/* Waits for an operation without taking a core. */
static void wait_asleep(MPI_Request *request)
{
    int done = 0;
    while (MPI_Test(request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done == 0) {
        nap();
    }
}

int engram_ranks_stop(int code)
{
    const uint64_t start = engram_clock_ns();
    MPI_Request all;
    int done = ranks.count == 1 || MPI_Ibarrier(MPI_COMM_WORLD, &all) != MPI_SUCCESS;
    while (done == 0 && MPI_Test(&all, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS) {
        /* Rank 0 ends a job that failed, also when others do not know it and wait for work. */
        if (ranks.self == 0 && (code != 0 || ranks.present > 0) &&
            engram_clock_ns() - start > PATIENCE_NS) {
            (void)fflush(NULL);
            (void)MPI_Abort(MPI_COMM_WORLD, code);
        }
        nap();
    }
    (void)MPI_Finalize();
    return code;
}

int engram_ranks_self(void)
{
    return ranks.self;
}

int engram_ranks_count(void)
{
    return ranks.count;
}

int engram_ranks_here(void)
{
    return ranks.here;
}

uint64_t engram_ranks_bytes(void)
{
    return ranks.bytes;
}

uint64_t engram_ranks_least(uint64_t value)
{
    uint64_t least = value;
    MPI_Request all;
    if (ranks.count > 1 && MPI_Iallreduce(&value, &least, 1, MPI_UINT64_T, MPI_MIN, MPI_COMM_WORLD,
                                          &all) == MPI_SUCCESS) {
        wait_asleep(&all);
    }
    return least;
}

/* ---- workers */

static void put(const int64_t head[HEAD], const void *body)
{
    size_t left = (size_t)head[BYTES];
    const unsigned char *from = body;
    (void)MPI_Send(head, HEAD, MPI_INT64_T, 0, TAG_HEAD, MPI_COMM_WORLD);
    while (left > 0) {
        size_t part = left < BODY_MAX ? left : BODY_MAX;
        (void)MPI_Send(from, (int)part, MPI_BYTE, 0, TAG_BODY, MPI_COMM_WORLD);
        from += part;
        left -= part;
    }
}

static void put_unit(int64_t head[HEAD], const struct engram_unit *unit)
{
    memcpy(head + QUERIES, unit->queries, sizeof unit->queries);
    memcpy(head + BASE, unit->base, sizeof unit->base);
}

static void get_unit(const int64_t head[HEAD], struct engram_unit *unit)
{
    memcpy(unit->queries, head + QUERIES, sizeof unit->queries);
    memcpy(unit->base, head + BASE, sizeof unit->base);
}

bool engram_ranks_ask(const int64_t held[2], struct engram_unit *unit)
{
    const int64_t ask[HEAD] = {[WORD] = ASK, [BASE] = held[0], [BASE + 1] = held[1]};
    int64_t answer[HEAD] = {0};
    MPI_Request request;
    put(ask, NULL);
    (void)MPI_Irecv(answer, HEAD, MPI_INT64_T, 0, TAG_ANSWER, MPI_COMM_WORLD, &request);
    wait_asleep(&request);
    get_unit(answer, unit);
    return answer[WORD] == WORK;
}

void engram_ranks_send(const void *piece, size_t bytes)
{
    const int64_t head[HEAD] = {[WORD] = PIECE, [BYTES] = (int64_t)bytes};
    put(head, piece);
}

void engram_ranks_finish(const struct engram_unit *unit, const int64_t pairs[2])
{
    int64_t head[HEAD] = {[WORD] = FINISHED, [PAIRS] = pairs[0], [PAIRS + 1] = pairs[1]};
    put_unit(head, unit);
    put(head, NULL);
}

void engram_ranks_report(const struct engram_grain *grains, size_t count)
{
    const int64_t head[HEAD] = {[WORD] = GRAINS, [BYTES] = (int64_t)(count * sizeof *grains)};
    put(head, grains);
}

void engram_ranks_leave(enum engram_status status, const char *why)
{
    const int64_t head[HEAD] = {[WORD] = LEFT,
                                [BYTES] = (int64_t)strlen(why) + 1,
                                [QUERIES] = (int64_t)status,
                                [PAIRS] = (int64_t)engram_memory_peak()};
    if (ranks.self > 0) {
        put(head, why);
    }
}

/* ---- rank 0 */

/* The body that follows a head; NULL: no memory. */
static void *get_body(int rank, size_t bytes)
{
    unsigned char *body = malloc(bytes > 0 ? bytes : 1);
    unsigned char *to = body;
    while (body != NULL && bytes > 0) {
        size_t part = bytes < BODY_MAX ? bytes : BODY_MAX;
        (void)MPI_Recv(to, (int)part, MPI_BYTE, rank, TAG_BODY, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        to += part;
        bytes -= part;
    }
    return body;
}

static void answer(int rank, const int64_t ask[HEAD])
{
    const struct engram_ranks_desk *desk = ranks.desk;
    struct engram_unit unit = {{0}, {0}};
    int64_t head[HEAD] = {0};
    head[WORD] = desk->give(desk->context, rank, ask + BASE, &unit) ? WORK : NO_WORK;
    put_unit(head, &unit);
    (void)MPI_Send(head, HEAD, MPI_INT64_T, rank, TAG_ANSWER, MPI_COMM_WORLD);
}

/* Nothing is possible without the body: all ranks end, and what was saved stays. */
static void *body_or_end(int rank, const int64_t head[HEAD])
{
    void *body = get_body(rank, (size_t)head[BYTES]);
    if (body == NULL) {
        (void)fputs("engram-batch: not enough memory for the answers of another rank\n", stderr);
        (void)MPI_Abort(MPI_COMM_WORLD, 71);
    }
    return body;
}

static void serve_one(int rank)
{
    const struct engram_ranks_desk *desk = ranks.desk;
    struct engram_unit unit;
    int64_t head[HEAD];
    void *body;
    (void)MPI_Recv(head, HEAD, MPI_INT64_T, rank, TAG_HEAD, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    switch (head[WORD]) {
    case ASK:
        answer(rank, head);
        break;
    case PIECE:
        desk->take(desk->context, rank, body_or_end(rank, head), (size_t)head[BYTES]);
        break;
    case FINISHED:
        get_unit(head, &unit);
        desk->finished(desk->context, rank, &unit, head + PAIRS);
        break;
    case GRAINS:
        body = body_or_end(rank, head);
        desk->reported(desk->context, rank, body,
                       (size_t)head[BYTES] / sizeof(struct engram_grain));
        free(body);
        break;
    default:
        body = body_or_end(rank, head);
        desk->left(desk->context, rank, (enum engram_status)head[QUERIES], body,
                   (uint64_t)head[PAIRS]);
        free(body);
        __atomic_sub_fetch(&ranks.present, 1, __ATOMIC_RELAXED);
        break;
    }
}

static void *serve(void *unused)
{
    uint64_t resting_since = 0;
    (void)unused;
    while (__atomic_load_n(&ranks.present, __ATOMIC_RELAXED) > 0) {
        MPI_Status status;
        int there = 0;
        if (!ranks.desk->busy(ranks.desk->context)) {
            (void)MPI_Iprobe(MPI_ANY_SOURCE, TAG_HEAD, MPI_COMM_WORLD, &there, &status);
        }
        if (there != 0) {
            serve_one(status.MPI_SOURCE);
            continue;
        }
        nap();
        if (__atomic_load_n(&ranks.resting, __ATOMIC_RELAXED) != 0) {
            uint64_t now = engram_clock_ns();
            resting_since = resting_since == 0 ? now : resting_since;
            if (now - resting_since > PATIENCE_NS) {
                break;
            }
        }
    }
    return NULL;
}

enum engram_status engram_ranks_serve(const struct engram_ranks_desk *desk)
{
    ranks.desk = desk;
    ranks.present = ranks.count - 1;
    __atomic_store_n(&ranks.resting, 0, __ATOMIC_RELAXED);
    ranks.serving = pthread_create(&ranks.thread, NULL, serve, NULL) == 0;
    return ranks.serving ? ENGRAM_OK : ENGRAM_ERR_RESOURCE;
}

bool engram_ranks_rest(void)
{
    if (ranks.serving) {
        __atomic_store_n(&ranks.resting, 1, __ATOMIC_RELAXED);
        (void)pthread_join(ranks.thread, NULL);
        ranks.serving = false;
    }
    return ranks.present == 0;
}
