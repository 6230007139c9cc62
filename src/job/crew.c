#define _GNU_SOURCE
#include "job/crew.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "io/source.h"

/* Bytes of answers that may wait to be taken over, and the share of the memory for them. */
#define UNREAD_MAX ((size_t)64 << 20)
#define UNREAD_SHARE 8

struct piece {
    struct piece *next;
    void *bytes;
    size_t size;
};

struct parcel {
    struct parcel *next;
    struct engram_unit unit;
    uint64_t pairs[2]; /* looked at, rescored */
    struct piece *pieces;
};

struct engram_crew {
    struct engram_job_state *job;
    struct engram_ranks_desk desk;
    pthread_mutex_t lock;                    /* of everything below */
    const struct engram_unit_search *search; /* NULL: no work yet */
    bool closed;
    struct engram_done given; /* done, or in somebody's hands */
    struct piece **building;  /* [ranks] of units in hand, last piece first */
    struct parcel *unread;    /* finished units, newest first */
    size_t unread_max;
    size_t unread_bytes;        /* of pieces, also of units in hand */
    int64_t out;                /* units given to others and not finished */
    uint64_t peak_bytes;        /* of another rank's memory, the most */
    enum engram_status failure; /* of another rank, .. */
    int failed_rank;
    char why[512];
    struct engram_grain *grains; /* that others read, not taken over yet */
    size_t grain_count;
};

static void free_pieces(struct piece *piece)
{
    while (piece != NULL) {
        struct piece *next = piece->next;
        free(piece->bytes);
        free(piece);
        piece = next;
    }
}

static void fail(struct engram_crew *crew, int rank, enum engram_status status, const char *why)
{
    if (crew->failure == ENGRAM_OK) {
        crew->failure = status;
        crew->failed_rank = rank;
        (void)snprintf(crew->why, sizeof crew->why, "%s", why);
    }
}

/* ---- giving */

/* Takes a unit of `within` out of what is left. */
static bool pick(struct engram_crew *crew, const struct engram_unit *within, bool grains,
                 struct engram_unit *unit)
{
    const struct engram_job_state *job = crew->job;
    if (!engram_units_cut(job, &crew->given, within, grains, unit)) {
        return false;
    }
    if (crew->search->most_pairs > 0) {
        int64_t most = crew->search->most_pairs / (unit->base[1] - unit->base[0]);
        most = most > 0 ? most : 1;
        if (unit->queries[1] - unit->queries[0] > most) {
            unit->queries[1] = unit->queries[0] + most;
        }
    }
    const struct engram_unit mirror = {.queries = {unit->base[0], unit->base[1]},
                                       .base = {unit->queries[0], unit->queries[1]}};
    enum engram_status status = engram_done_add(&crew->given, unit, &job->options->log);
    if (status == ENGRAM_OK && crew->search->mirrored) {
        status = engram_done_add(&crew->given, &mirror, &job->options->log);
    }
    return status == ENGRAM_OK;
}

/* The slab of base rows that holds a row. */
static void slab_of(const struct engram_job_state *job, int64_t row, int64_t slab[2])
{
    /* The least, whatever filter each of the ranks takes. */
    engram_units_slab(&job->inputs.base, job->plan.base_slab_least, row, slab);
}

/* A unit of one slab of queries, so that a rank need not hold more. */
static bool pick_of_slab(struct engram_crew *crew, const int64_t slab[2], struct engram_unit *unit)
{
    const struct engram_job_state *job = crew->job;
    const int64_t rows = job->plan.query_slab_rows;
    struct engram_unit within = engram_units_all(job);
    struct engram_unit left;
    memcpy(within.base, slab, sizeof within.base);
    if (!engram_done_left(&crew->given, &within, &left)) {
        return false;
    }
    if (rows < within.queries[1] - within.queries[0]) {
        int64_t end =
            (left.queries[0] - within.queries[0]) / rows * rows + rows + within.queries[0];
        within.queries[0] = left.queries[0];
        within.queries[1] = end < within.queries[1] ? end : within.queries[1];
    }
    return pick(crew, &within, crew->search->mirrored, unit);
}

/* Prefers the slab that the rank has in memory; else each rank begins somewhere else. */
static bool give(void *context, int rank, const int64_t held[2], struct engram_unit *unit)
{
    struct engram_crew *crew = context;
    const struct engram_set_ref *base = &crew->job->inputs.base;
    int64_t slab[2];
    bool found = false;
    pthread_mutex_lock(&crew->lock);
    if (!crew->closed && crew->search != NULL && base->last > base->first) {
        int64_t rows = base->last - base->first;
        int64_t start = base->first + (int64_t)((double)rows * rank / engram_ranks_count());
        int64_t row = held[0] < held[1] ? held[0] : start;
        slab_of(crew->job, row, slab);
        found = pick_of_slab(crew, slab, unit);
        slab_of(crew->job, start, slab);
        for (int64_t seen = 0; !found && seen < rows; seen += slab[1] - slab[0]) {
            if (seen > 0) {
                slab_of(crew->job, slab[1] < base->last ? slab[1] : base->first, slab);
            }
            found = pick_of_slab(crew, slab, unit);
        }
        crew->out += found;
    }
    pthread_mutex_unlock(&crew->lock);
    return found;
}

bool engram_crew_take(struct engram_crew *crew, const struct engram_unit *within, bool grains,
                      struct engram_unit *unit)
{
    pthread_mutex_lock(&crew->lock);
    bool found = pick(crew, within, grains, unit);
    pthread_mutex_unlock(&crew->lock);
    return found;
}

bool engram_crew_left(struct engram_crew *crew, const struct engram_unit *within)
{
    struct engram_unit left;
    pthread_mutex_lock(&crew->lock);
    bool some = engram_done_left(&crew->given, within, &left);
    pthread_mutex_unlock(&crew->lock);
    return some;
}

/* ---- what others say */

static bool busy(void *context)
{
    struct engram_crew *crew = context;
    pthread_mutex_lock(&crew->lock);
    /* Of a unit that is not whole yet nothing can be taken over: the rest has to come. */
    bool many = crew->unread != NULL && crew->unread_bytes > crew->unread_max;
    bool wait = !crew->closed && (crew->search == NULL || many);
    pthread_mutex_unlock(&crew->lock);
    return wait;
}

static void take(void *context, int rank, void *bytes, size_t size)
{
    struct engram_crew *crew = context;
    struct piece *piece = malloc(sizeof *piece);
    pthread_mutex_lock(&crew->lock);
    if (piece == NULL) {
        fail(crew, rank, ENGRAM_ERR_RESOURCE, "not enough memory for its answers");
        free(bytes);
    } else {
        *piece = (struct piece){crew->building[rank], bytes, size};
        crew->building[rank] = piece;
        crew->unread_bytes += size;
    }
    pthread_mutex_unlock(&crew->lock);
}

static void finished(void *context, int rank, const struct engram_unit *unit,
                     const int64_t pairs[2])
{
    struct engram_crew *crew = context;
    struct parcel *parcel = malloc(sizeof *parcel);
    pthread_mutex_lock(&crew->lock);
    if (parcel == NULL) {
        fail(crew, rank, ENGRAM_ERR_RESOURCE, "not enough memory for its answers");
    } else {
        *parcel = (struct parcel){
            crew->unread, *unit, {(uint64_t)pairs[0], (uint64_t)pairs[1]}, crew->building[rank]};
        crew->building[rank] = NULL;
        crew->unread = parcel;
    }
    crew->out--;
    pthread_mutex_unlock(&crew->lock);
}

static void reported(void *context, int rank, const struct engram_grain *grains, size_t count)
{
    struct engram_crew *crew = context;
    pthread_mutex_lock(&crew->lock);
    struct engram_grain *all = realloc(crew->grains, (crew->grain_count + count + 1) * sizeof *all);
    if (all == NULL) {
        fail(crew, rank, ENGRAM_ERR_RESOURCE, "not enough memory for its content hashes");
    } else {
        memcpy(all + crew->grain_count, grains, count * sizeof *all);
        crew->grains = all;
        crew->grain_count += count;
    }
    pthread_mutex_unlock(&crew->lock);
}

static void left(void *context, int rank, enum engram_status status, const char *why,
                 uint64_t peak_bytes)
{
    struct engram_crew *crew = context;
    pthread_mutex_lock(&crew->lock);
    crew->peak_bytes = peak_bytes > crew->peak_bytes ? peak_bytes : crew->peak_bytes;
    if (status != ENGRAM_OK) {
        fail(crew, rank, status, why);
    }
    pthread_mutex_unlock(&crew->lock);
}

/* ---- the job's own thread */

enum engram_status engram_crew_start(struct engram_job_state *job)
{
    const struct engram_log *log = &job->options->log;
    if (engram_ranks_count() == 1 || engram_ranks_self() > 0) {
        return ENGRAM_OK;
    }
    struct engram_crew *crew = calloc(1, sizeof *crew);
    if (crew != NULL) {
        crew->building = calloc((size_t)engram_ranks_count(), sizeof(struct piece *));
    }
    if (crew == NULL || crew->building == NULL || pthread_mutex_init(&crew->lock, NULL) != 0) {
        free(crew);
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for the other ranks");
    }
    crew->job = job;
    crew->unread_max = (size_t)(job->options->memory / UNREAD_SHARE);
    crew->unread_max = crew->unread_max < UNREAD_MAX ? crew->unread_max : UNREAD_MAX;
    crew->desk =
        (struct engram_ranks_desk){give, busy, take, finished, reported, left, .context = crew};
    job->crew = crew;
    if (engram_ranks_serve(&crew->desk) != ENGRAM_OK) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "a thread could not be started");
    }
    return ENGRAM_OK;
}

enum engram_status engram_crew_open(struct engram_job_state *job,
                                    const struct engram_unit_search *search)
{
    struct engram_crew *crew = job->crew;
    enum engram_status status = ENGRAM_OK;
    pthread_mutex_lock(&crew->lock);
    for (size_t i = 0; status == ENGRAM_OK && i < job->done.count; i++) {
        status = engram_done_add(&crew->given, &job->done.units[i], &job->options->log);
    }
    crew->search = search;
    pthread_mutex_unlock(&crew->lock);
    return status;
}

bool engram_crew_is_open(const struct engram_crew *crew)
{
    return crew != NULL && crew->search != NULL; /* written by this thread alone */
}

/* One unit's answers; its pieces lie last first. */
static enum engram_status read_parcel(struct engram_job_state *job, struct parcel *parcel)
{
    const struct engram_unit_search *search = job->crew->search;
    struct piece *in_order = NULL;
    enum engram_status status = ENGRAM_OK;
    while (parcel->pieces != NULL) {
        struct piece *piece = parcel->pieces;
        parcel->pieces = piece->next;
        piece->next = in_order;
        in_order = piece;
    }
    size_t bytes = 0;
    for (struct piece *piece = in_order; piece != NULL; piece = piece->next) {
        bytes += piece->size;
        if (status == ENGRAM_OK) {
            status = search->receive(job, &parcel->unit, piece->bytes, piece->size);
        }
    }
    free_pieces(in_order);
    job->report->search.pairs += parcel->pairs[0];
    job->report->search.rescored += parcel->pairs[1];
    pthread_mutex_lock(&job->crew->lock);
    job->crew->unread_bytes -= bytes;
    pthread_mutex_unlock(&job->crew->lock);
    return status == ENGRAM_OK ? engram_units_note(job, &parcel->unit, search->mirrored) : status;
}

static enum engram_status failure_of(struct engram_job_state *job)
{
    struct engram_crew *crew = job->crew;
    pthread_mutex_lock(&crew->lock);
    enum engram_status status = crew->failure;
    pthread_mutex_unlock(&crew->lock);
    if (status == ENGRAM_OK || status == ENGRAM_ERR_CANCELLED) {
        return status;
    }
    return engram_fail(&job->options->log, status, "rank %d: %s", crew->failed_rank, crew->why);
}

/* The content of rows that others read: what several read has to be the same. */
static enum engram_status take_grains(struct engram_job_state *job,
                                      const struct engram_grain *grains, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct engram_grain *grain = &grains[i];
        struct engram_content_hashes *content = engram_feed_content(job, grain->side != 0);
        if (grain->number < 0 || grain->number >= content->count) {
            return engram_fail(&job->options->log, ENGRAM_ERR_INTERNAL,
                               "another rank read rows that there are not");
        }
        if (!engram_content_note(content, grain->number, &grain->sum)) {
            return engram_feed_changed(job, content, grain->number);
        }
    }
    return ENGRAM_OK;
}

/* The next finished unit, and before it the content of all rows that it stands on: a rank tells of
 * that first. A unit that is done is saved with it. */
static enum engram_status take_next(struct engram_job_state *job, struct parcel **parcel)
{
    struct engram_crew *crew = job->crew;
    pthread_mutex_lock(&crew->lock);
    struct engram_grain *grains = crew->grains;
    size_t count = crew->grain_count;
    crew->grains = NULL;
    crew->grain_count = 0;
    *parcel = crew->unread;
    crew->unread = *parcel == NULL ? NULL : (*parcel)->next;
    pthread_mutex_unlock(&crew->lock);
    enum engram_status status = take_grains(job, grains, count);
    free(grains);
    return status;
}

enum engram_status engram_crew_gather(struct engram_job_state *job)
{
    enum engram_status status = failure_of(job);
    struct parcel *parcel;
    do {
        parcel = NULL;
        if (status == ENGRAM_OK) {
            status = take_next(job, &parcel);
        }
        if (status == ENGRAM_OK && parcel != NULL) {
            status = read_parcel(job, parcel);
        }
        if (parcel != NULL) {
            free_pieces(parcel->pieces);
            free(parcel);
        }
    } while (status == ENGRAM_OK && parcel != NULL);
    return status;
}

enum engram_status engram_crew_wait(struct engram_job_state *job)
{
    const int *cancel = job->options->cancel;
    const struct timespec pause = {.tv_nsec = 1000L * 1000};
    struct engram_crew *crew = job->crew;
    enum engram_status status = ENGRAM_OK;
    bool waiting = true;
    while (status == ENGRAM_OK && waiting) {
        status = engram_crew_gather(job);
        pthread_mutex_lock(&crew->lock);
        waiting = crew->out > 0 || crew->unread != NULL;
        pthread_mutex_unlock(&crew->lock);
        if (status == ENGRAM_OK && cancel != NULL &&
            __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0) {
            status = ENGRAM_ERR_CANCELLED;
        }
        if (status == ENGRAM_OK && waiting) {
            engram_stage_tell(&job->searching, 0, 0);
            (void)nanosleep(&pause, NULL);
        }
    }
    return status;
}

static void dismiss(struct engram_crew *crew)
{
    for (int i = 0; i < engram_ranks_count(); i++) {
        free_pieces(crew->building[i]);
    }
    while (crew->unread != NULL) {
        struct parcel *next = crew->unread->next;
        free_pieces(crew->unread->pieces);
        free(crew->unread);
        crew->unread = next;
    }
    (void)pthread_mutex_destroy(&crew->lock);
    engram_done_free(&crew->given);
    free(crew->building);
    free(crew->grains);
    free(crew);
}

enum engram_status engram_crew_close(struct engram_job_state *job, enum engram_status status)
{
    struct engram_crew *crew = job->crew;
    if (crew == NULL) {
        return status;
    }
    pthread_mutex_lock(&crew->lock);
    crew->closed = true;
    pthread_mutex_unlock(&crew->lock);
    bool all_left = engram_ranks_rest();
    if (status == ENGRAM_OK) {
        status = engram_crew_gather(job); /* the last words */
    }
    pthread_mutex_lock(&crew->lock);
    job->report->ranks_peak_bytes = crew->peak_bytes;
    pthread_mutex_unlock(&crew->lock);
    if (all_left) { /* else the process ends soon, and its thread may still look */
        dismiss(crew);
    }
    job->crew = NULL;
    return status;
}
