/* Every pair within fixed limits. Nobody knows how many there will be, and a compute thread may
 * not allocate, so every thread appends to a sink of a fixed size. An item that does not fit is
 * left where its last step did; the next round, with larger or emptied sinks, goes on there. */
#include "search/pairs.h"

#include <omp.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"

/* 16 MiB of address space, real memory only as far as it is used. */
size_t engram_pairs_first_room = (size_t)1 << 20;

/* Rows of the longest first step of a scan: so much has to fit, or no round would get on. */
#define STEP_ROWS ENGRAM_CANONICAL_ROWS

/* Bytes of all sinks when they can be emptied: sorting a run should take seconds. */
#define SINK_MEMORY_MAX ((size_t)1 << 30)

/* Items of a round: a thread whose sink is full takes no more, but still has to be told so for
 * each of them. */
#define ROUND_ITEMS 4096

/* One a thread; a cache line of its own, because its thread writes it all the time. */
struct engram_pair_sink {
    struct engram_hit *hits; /* tag: query of the unit << 32 | row of the prepared set */
    size_t used;
    bool full;
    char padding[64 - sizeof(void *) - sizeof(size_t) - sizeof(bool)];
};

struct pair_state {
    struct engram_pair_collector *pairs;
    const struct engram_item *item;
    struct engram_pair_sink *sink;
    size_t count;     /* found, also those that did not fit */
    size_t kept;      /* .. by complete steps that did */
    int64_t next_row; /* after these; INT64_MAX: all steps fitted so far */
};

/* Bytes of all sinks: what remains is for the run that is made of them, which under symmetry is
 * twice as large. */
static size_t sink_memory(const struct engram_collector *collector)
{
    const struct engram_spill *spill = collector->request->spill;
    if (spill == NULL) {
        return (size_t)-1;
    }
    size_t bytes = spill->memory / (collector->symmetric ? 3 : 2);
    return bytes < SINK_MEMORY_MAX ? bytes : SINK_MEMORY_MAX;
}

static enum engram_status no_memory(const struct engram_pair_collector *pairs)
{
    return engram_fail(&pairs->common.request->log, ENGRAM_ERR_RESOURCE,
                       "not enough memory for the pairs within the threshold; narrow it");
}

enum engram_status engram_pairs_too_many(int64_t max_pairs, const struct engram_log *log)
{
    return engram_fail(log, ENGRAM_ERR_DATA,
                       "more than %lld pairs lie within the threshold (--max-pairs); narrow it, or "
                       "keep the nearest of each row only (-k)",
                       (long long)max_pairs);
}

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

/* New sinks of pairs->room answers. */
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
            return no_memory(pairs);
        }
    }
    return ENGRAM_OK;
}

static void next_items(struct engram_pair_collector *pairs)
{
    struct engram_collector *common = &pairs->common;
    int64_t items = common->tiling.blocks * common->tiling.segments;
    int64_t round = (int64_t)ROUND_ITEMS * common->threads;
    int64_t first = common->first_item;
    while (first < items && pairs->next_row[first] == INT64_MAX) {
        first++;
    }
    common->first_item = first;
    common->last_item = items - first < round ? items : first + round;
}

static enum engram_status pair_open(struct engram_collector *collector)
{
    struct engram_pair_collector *pairs = (struct engram_pair_collector *)collector;
    size_t items = (size_t)(collector->tiling.blocks * collector->tiling.segments);
    size_t most = sink_memory(collector) / sizeof(struct engram_hit) / (size_t)collector->threads;
    size_t least = collector->tiling.block_queries * STEP_ROWS;
    pairs->room_max = most > least ? most : least;
    pairs->room =
        engram_pairs_first_room < pairs->room_max ? engram_pairs_first_room : pairs->room_max;
    pairs->next_row = calloc(items + 1, sizeof *pairs->next_row);
    pairs->sinks = calloc((size_t)collector->threads, sizeof *pairs->sinks);
    if (pairs->next_row == NULL || pairs->sinks == NULL) {
        return no_memory(pairs);
    }
    next_items(pairs);
    return open_sinks(pairs);
}

static bool too_many(const struct engram_pair_collector *pairs)
{
    const struct engram_request *request = pairs->common.request;
    return request->max_pairs > 0 && __atomic_load_n(&pairs->found, __ATOMIC_RELAXED) >
                                         request->max_pairs - request->pairs_before;
}

static bool pair_wants(const struct engram_collector *collector, struct engram_item *item)
{
    const struct engram_pair_collector *pairs = (const struct engram_pair_collector *)collector;
    int64_t next = pairs->next_row[item->index];
    if (next == INT64_MAX || pairs->sinks[omp_get_thread_num()].full || too_many(pairs)) {
        return false;
    }
    item->first_row = next > item->first_row ? next : item->first_row;
    return true;
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
    *state = (struct pair_state){.pairs = (struct engram_pair_collector *)(uintptr_t)pairs,
                                 .item = item,
                                 .sink = sink,
                                 .next_row = item->first_row};
    for (size_t q = 0; q < item->queries; q++) {
        limit[q] = collector->request->max_key;
    }
    return state;
}

static void pair_offer(void *opaque, const struct engram_candidate *pairs, const double *scores,
                       size_t count, double *limit)
{
    struct pair_state *state = opaque;
    struct engram_hit *hits = state->sink->hits + state->sink->used;
    size_t left = state->pairs->room - state->sink->used;
    (void)limit;
    for (size_t i = 0; i < count; i++) {
        if (state->count < left) {
            int64_t query = state->item->first_query + (int64_t)pairs[i].query;
            hits[state->count] =
                (struct engram_hit){scores[i], ENGRAM_HIT_TAG(query, pairs[i].row)};
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

static bool pair_step(void *opaque, int64_t next_row)
{
    struct pair_state *state = opaque;
    if (state->count > state->pairs->room - state->sink->used) {
        state->sink->full = true;
        return false;
    }
    state->kept = state->count;
    state->next_row = next_row;
    return true;
}

static bool pair_finish(void *opaque, double *limit)
{
    struct pair_state *state = opaque;
    struct engram_pair_collector *pairs = state->pairs;
    (void)limit;
    /* Full, and not by an earlier item: this one was left, after the steps that fitted. */
    pairs->next_row[state->item->index] = state->sink->full ? state->next_row : INT64_MAX;
    state->sink->used += state->kept;
    if (pairs->common.request->max_pairs > 0 && state->kept > 0) {
        int64_t count = (int64_t)state->kept * (pairs->common.symmetric ? 2 : 1);
        (void)__atomic_fetch_add(&pairs->found, count, __ATOMIC_RELAXED);
    }
    return true;
}

static void pair_fail(const struct engram_collector *collector, const struct engram_item *item)
{
    const struct engram_pair_collector *pairs = (const struct engram_pair_collector *)collector;
    pairs->next_row[item->index] = INT64_MAX;
}

/* Sinks to rooms: what is in them stays there. */
static enum engram_status retire_sinks(struct engram_pair_collector *pairs)
{
    for (int t = 0; t < pairs->common.threads; t++) {
        struct engram_pair_sink *sink = &pairs->sinks[t];
        struct engram_pair_room *room = malloc(sizeof *room);
        if (room == NULL) {
            return no_memory(pairs);
        }
        *room = (struct engram_pair_room){pairs->rooms, sink->hits, sink->used,
                                          pairs->room * sizeof(struct engram_hit)};
        pairs->rooms = room;
        sink->hits = NULL;
        sink->used = 0;
    }
    return ENGRAM_OK;
}

static void free_rooms(struct engram_pair_collector *pairs)
{
    while (pairs->rooms != NULL) {
        struct engram_pair_room *room = pairs->rooms;
        pairs->rooms = room->next;
        engram_pages_free(room->hits, room->bytes);
        free(room);
    }
}

/* All answers so far to whoever takes runs. */
static enum engram_status spill_rooms(struct engram_pair_collector *pairs)
{
    struct engram_run run = {0};
    const struct engram_spill *spill = pairs->common.request->spill;
    enum engram_status status = engram_pairs_gather_run(pairs, &run);
    free_rooms(pairs);
    if (status == ENGRAM_OK && run.count > 0) {
        status = spill->take(spill->context, &run);
    }
    engram_pages_free(run.hits, run.bytes);
    return status;
}

/* Room for what did not fit. Under a bound, rooms are emptied rather than added when the bound
 * would be passed. */
static enum engram_status make_room(struct engram_pair_collector *pairs)
{
    size_t held = 0;
    size_t more;
    size_t wanted = pairs->room > (size_t)-1 / 2 ? pairs->room : 2 * pairs->room;
    enum engram_status status = retire_sinks(pairs);
    if (status != ENGRAM_OK) {
        return status;
    }
    for (const struct engram_pair_room *room = pairs->rooms; room != NULL; room = room->next) {
        held += room->bytes;
    }
    pairs->room = wanted < pairs->room_max ? wanted : pairs->room_max;
    if (!engram_size_mul(pairs->room, sizeof(struct engram_hit) * (size_t)pairs->common.threads,
                         &more)) {
        return no_memory(pairs);
    }
    size_t memory = sink_memory(&pairs->common);
    if (held > memory || more > memory - held) {
        pairs->room = pairs->room_max;
        status = spill_rooms(pairs);
    }
    return status == ENGRAM_OK ? open_sinks(pairs) : status;
}

static enum engram_status pair_again(struct engram_collector *collector, bool *again)
{
    struct engram_pair_collector *pairs = (struct engram_pair_collector *)collector;
    bool full = false;
    if (too_many(pairs)) {
        return engram_pairs_too_many(collector->request->max_pairs, &collector->request->log);
    }
    next_items(pairs);
    *again = collector->first_item < collector->last_item;
    for (int t = 0; t < collector->threads; t++) {
        full = full || pairs->sinks[t].full;
    }
    return *again && full ? make_room(pairs) : ENGRAM_OK;
}

static enum engram_status pair_gather(struct engram_collector *collector,
                                      struct engram_partial *out)
{
    struct engram_pair_collector *pairs = (struct engram_pair_collector *)collector;
    enum engram_status status = retire_sinks(pairs);
    if (status == ENGRAM_OK && collector->request->spill != NULL) {
        status = spill_rooms(pairs);
    }
    /* Without rooms: an empty partial. */
    return status == ENGRAM_OK ? engram_pairs_gather_partial(pairs, out) : status;
}

static void pair_close(struct engram_collector *collector)
{
    struct engram_pair_collector *pairs = (struct engram_pair_collector *)collector;
    for (int t = 0; pairs->sinks != NULL && t < collector->threads; t++) {
        engram_pages_free(pairs->sinks[t].hits, pairs->room * sizeof(struct engram_hit));
    }
    free_rooms(pairs);
    free(pairs->sinks);
    free(pairs->next_row);
    pairs->sinks = NULL;
    pairs->next_row = NULL;
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
    .step = pair_step,
    .finish = pair_finish,
    .fail = pair_fail,
    .again = pair_again,
    .gather = pair_gather,
    .close = pair_close,
};
