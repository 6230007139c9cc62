/* Every pair within fixed limits. Nobody knows how many there will be, and a compute thread may
 * not allocate, so every thread appends to a sink of a fixed size. An item that does not fit is
 * left undone; the next round, with larger sinks, runs only what is left. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"
#include "search/collector.h"

/* 16 MiB of address space, real memory only as far as it is used. */
size_t engram_pairs_first_room = (size_t)1 << 20;

struct engram_pair_room {
    struct engram_pair_room *next;
    struct engram_hit *hits;
    size_t bytes;
};

/* One a thread; a cache line of its own, because its thread writes it all the time. */
struct engram_pair_sink {
    struct engram_hit *hits;
    size_t used;
    size_t wanted; /* answers of the largest item that did not fit */
    bool full;
    char padding[64 - sizeof(void *) - 2 * sizeof(size_t) - sizeof(bool)];
};

struct engram_pair_item {
    struct engram_hit *hits; /* sorted by (query, key, row) */
    size_t count;
    bool done;
};

struct pair_state {
    struct engram_pair_collector *pairs;
    const struct engram_item *item;
    struct engram_pair_sink *sink;
    size_t start; /* in the sink */
    size_t count; /* found, also those that did not fit */
};

static size_t pair_kept(const struct engram_collector *collector)
{
    (void)collector;
    return 0;
}

static size_t pair_scratch_size(const struct engram_collector *collector, size_t queries)
{
    (void)collector;
    (void)queries;
    return sizeof(struct pair_state) + ENGRAM_ARENA_ALIGN;
}

static enum engram_status open_sinks(struct engram_pair_collector *pairs)
{
    size_t bytes;
    if (!engram_size_mul(pairs->room, sizeof(struct engram_hit), &bytes)) {
        bytes = (size_t)-1;
    }
    for (int t = 0; t < pairs->common.threads; t++) {
        struct engram_pair_sink *sink = &pairs->sinks[t];
        *sink = (struct engram_pair_sink){.hits = engram_pages_alloc(bytes)};
        if (sink->hits == NULL) {
            return engram_fail(&pairs->common.request->log, ENGRAM_ERR_RESOURCE,
                               "not enough memory for the pairs within the threshold; narrow it");
        }
    }
    return ENGRAM_OK;
}

static enum engram_status pair_open(struct engram_collector *collector)
{
    struct engram_pair_collector *pairs = (struct engram_pair_collector *)collector;
    size_t items = (size_t)(collector->tiling.blocks * collector->tiling.segments);
    pairs->room = engram_pairs_first_room;
    pairs->items = calloc(items + 1, sizeof *pairs->items);
    pairs->sinks = calloc((size_t)collector->threads, sizeof *pairs->sinks);
    if (pairs->items == NULL || pairs->sinks == NULL) {
        return engram_fail(&collector->request->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the pairs within the threshold");
    }
    return open_sinks(pairs);
}

static bool pair_wants(const struct engram_collector *collector, const struct engram_item *item)
{
    const struct engram_pair_collector *pairs = (const struct engram_pair_collector *)collector;
    return !pairs->items[item->index].done && !pairs->sinks[omp_get_thread_num()].full;
}

static void *pair_begin(const struct engram_collector *collector, const struct engram_item *item,
                        struct engram_scratch *scratch, double *limit)
{
    const struct engram_pair_collector *pairs = (const struct engram_pair_collector *)collector;
    struct pair_state *state = ENGRAM_SCRATCH_NEW(scratch, struct pair_state, 1);
    if (state == NULL) {
        return NULL;
    }
    struct engram_pair_sink *sink = &pairs->sinks[omp_get_thread_num()];
    *state = (struct pair_state){(struct engram_pair_collector *)(uintptr_t)pairs, item, sink,
                                 sink->used, 0};
    for (size_t q = 0; q < item->queries; q++) {
        limit[q] = collector->request->max_key;
    }
    return state;
}

static void pair_offer(void *opaque, const struct engram_candidate *pairs, const double *scores,
                       size_t count, double *limit)
{
    struct pair_state *state = opaque;
    size_t left = state->pairs->room - state->start;
    (void)limit;
    for (size_t i = 0; i < count; i++) {
        if (state->count < left) {
            state->sink->hits[state->start + state->count] =
                (struct engram_hit){scores[i], ENGRAM_HIT_TAG(pairs[i].query, pairs[i].row)};
        }
        state->count++;
    }
}

/* Limits are fixed: nothing is to be learnt from a sample. */
static bool pair_sample(void *state, double share)
{
    (void)state;
    (void)share;
    return false;
}

static void pair_sampled(void *state, double *limit)
{
    (void)state;
    (void)limit;
}

static bool pair_finish(void *opaque, double *limit)
{
    struct pair_state *state = opaque;
    (void)limit;
    struct engram_pair_sink *sink = state->sink;
    if (state->count > state->pairs->room - state->start) {
        sink->full = true;
        sink->wanted = state->count > sink->wanted ? state->count : sink->wanted;
        return true; /* the next round has more room */
    }
    struct engram_hit *hits = sink->hits + state->start;
    engram_hits_sort_by_query(hits, state->count, state->pairs->common.order);
    state->pairs->items[state->item->index] = (struct engram_pair_item){hits, state->count, true};
    sink->used += state->count;
    return true;
}

static void pair_fail(const struct engram_collector *collector, const struct engram_item *item)
{
    const struct engram_pair_collector *pairs = (const struct engram_pair_collector *)collector;
    pairs->items[item->index] = (struct engram_pair_item){NULL, 0, true};
}

static enum engram_status pair_again(struct engram_collector *collector, bool *again)
{
    struct engram_pair_collector *pairs = (struct engram_pair_collector *)collector;
    size_t wanted = 0;
    *again = false;
    for (int t = 0; t < collector->threads; t++) {
        *again = *again || pairs->sinks[t].full;
        wanted = pairs->sinks[t].wanted > wanted ? pairs->sinks[t].wanted : wanted;
    }
    if (!*again) {
        return ENGRAM_OK;
    }
    /* Finished items point into the sinks, so these stay as they are and new ones are made. */
    for (int t = 0; t < collector->threads; t++) {
        struct engram_pair_room *room = malloc(sizeof *room);
        if (room == NULL) {
            return engram_fail(&collector->request->log, ENGRAM_ERR_RESOURCE,
                               "not enough memory for the pairs within the threshold");
        }
        *room = (struct engram_pair_room){pairs->rooms, pairs->sinks[t].hits,
                                          pairs->room * sizeof(struct engram_hit)};
        pairs->rooms = room;
        pairs->sinks[t].hits = NULL;
    }
    pairs->room = 2 * pairs->room > wanted ? 2 * pairs->room : wanted;
    return open_sinks(pairs);
}

/* Where answers go in the gathered partial: lists[q][s] is, for query q, first the number and
 * then the next place of the answers from segment s; one more list holds those that the symmetric
 * half found. */
struct placing {
    const struct engram_pair_collector *pairs;
    int64_t *lists;
    int64_t width; /* lists a query */
};

static int64_t *list_of(const struct placing *placing, int64_t query, int64_t segment)
{
    return &placing->lists[query * placing->width + segment];
}

/* The list of an answer's second side, under symmetry; its row is a query as well. */
static int64_t *mirror_of(const struct placing *placing, const struct engram_hit *hit)
{
    return list_of(placing, ENGRAM_HIT_ROW(hit->tag), placing->width - 1);
}

static void count_answers(const struct placing *placing)
{
    const struct engram_pair_collector *pairs = placing->pairs;
    const struct engram_tiling *tiling = &pairs->common.tiling;
#pragma omp parallel for schedule(dynamic) num_threads(pairs->common.threads)
    for (int64_t i = 0; i < tiling->blocks * tiling->segments; i++) {
        const struct engram_pair_item *item = &pairs->items[i];
        int64_t first = i % tiling->blocks * (int64_t)tiling->block_queries;
        for (size_t h = 0; h < item->count; h++) {
            int64_t query = first + ENGRAM_HIT_QUERY(item->hits[h].tag);
            *list_of(placing, query, i / tiling->blocks) += 1; /* this item's alone */
            if (pairs->common.symmetric) {
                (void)__atomic_fetch_add(mirror_of(placing, &item->hits[h]), 1, __ATOMIC_RELAXED);
            }
        }
    }
}

/* Counts to places, and the partial's indptr. */
static void place_lists(const struct placing *placing, int64_t queries, int64_t *indptr)
{
    int64_t running = 0;
    for (int64_t q = 0; q < queries; q++) {
        for (int64_t s = 0; s < placing->width; s++) {
            int64_t count = *list_of(placing, q, s);
            *list_of(placing, q, s) = running;
            running += count;
        }
        indptr[q + 1] = running;
    }
}

static void copy_answers(const struct placing *placing, struct engram_partial *out)
{
    const struct engram_pair_collector *pairs = placing->pairs;
    const struct engram_tiling *tiling = &pairs->common.tiling;
    int64_t base = pairs->common.base_first_row;
#pragma omp parallel for schedule(dynamic) num_threads(pairs->common.threads)
    for (int64_t i = 0; i < tiling->blocks * tiling->segments; i++) {
        const struct engram_pair_item *item = &pairs->items[i];
        int64_t first = i % tiling->blocks * (int64_t)tiling->block_queries;
        for (size_t h = 0; h < item->count; h++) {
            const struct engram_hit *hit = &item->hits[h];
            int64_t query = first + ENGRAM_HIT_QUERY(hit->tag);
            int64_t to = (*list_of(placing, query, i / tiling->blocks))++;
            out->hits[to] = (struct engram_hit){hit->score, base + ENGRAM_HIT_ROW(hit->tag)};
            if (pairs->common.symmetric) {
                to = __atomic_fetch_add(mirror_of(placing, hit), 1, __ATOMIC_RELAXED);
                out->hits[to] = (struct engram_hit){hit->score, base + query};
            }
        }
    }
}

/* Several lists of one query, one behind the other, become one. */
static void sort_lists(const struct placing *placing, struct engram_partial *out)
{
    const struct engram_pair_collector *pairs = placing->pairs;
    if (placing->width == 1) {
        return;
    }
#pragma omp parallel num_threads(pairs->common.threads)
    {
        fenv_t saved;
        engram_fp_enter(&saved); /* keys may be denormal */
#pragma omp for schedule(dynamic, 16)
        for (int64_t q = 0; q < out->queries; q++) {
            engram_hits_sort(out->hits + out->indptr[q],
                             (size_t)(out->indptr[q + 1] - out->indptr[q]), pairs->common.order);
        }
        engram_fp_leave(&saved);
    }
}

static enum engram_status pair_gather(struct engram_collector *collector,
                                      struct engram_partial *out)
{
    struct engram_pair_collector *pairs = (struct engram_pair_collector *)collector;
    struct placing placing = {.pairs = pairs,
                              .width = collector->tiling.segments + collector->symmetric};
    size_t cells;
    if (engram_size_mul((size_t)collector->queries, (size_t)placing.width, &cells)) {
        placing.lists = calloc(cells + 1, sizeof *placing.lists);
    }
    if (placing.lists == NULL) {
        return engram_fail(&collector->request->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the pairs within the threshold");
    }
    count_answers(&placing);
    int64_t total = 0;
    for (size_t i = 0; i < cells; i++) {
        total += placing.lists[i];
    }
    enum engram_status status = engram_partial_create(
        collector->request->metric, collector->first_query, collector->queries,
        collector->request->k, total, &collector->request->log, out);
    if (status == ENGRAM_OK) {
        place_lists(&placing, collector->queries, out->indptr);
        copy_answers(&placing, out);
        sort_lists(&placing, out);
    }
    free(placing.lists);
    return status;
}

static void pair_close(struct engram_collector *collector)
{
    struct engram_pair_collector *pairs = (struct engram_pair_collector *)collector;
    for (int t = 0; pairs->sinks != NULL && t < collector->threads; t++) {
        engram_pages_free(pairs->sinks[t].hits, pairs->room * sizeof(struct engram_hit));
    }
    while (pairs->rooms != NULL) {
        struct engram_pair_room *room = pairs->rooms;
        pairs->rooms = room->next;
        engram_pages_free(room->hits, room->bytes);
        free(room);
    }
    free(pairs->sinks);
    free(pairs->items);
    pairs->sinks = NULL;
    pairs->items = NULL;
}

const struct engram_collector_ops engram_pair_ops = {
    .kept = pair_kept,
    .scratch_size = pair_scratch_size,
    .open = pair_open,
    .wants = pair_wants,
    .begin = pair_begin,
    .offer = pair_offer,
    .sample = pair_sample,
    .sampled = pair_sampled,
    .finish = pair_finish,
    .fail = pair_fail,
    .again = pair_again,
    .gather = pair_gather,
    .close = pair_close,
};
