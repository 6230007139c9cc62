/* The k best: a buffer of a few k answers a query; when it is full the k best stay and the limit
 * tightens. A heap would touch log k places for every answer; this touches one. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/size.h"
#include "search/collector.h"

/* Room beyond k. The larger it is, the rarer are partitions, but the longer a limit stays as it
 * is: with room for c k answers about k (c - 1) ln(n / k) / ln(c) are scored. */
#define SLACK_MIN 8

struct topk_state {
    const struct engram_topk *topk;
    const struct engram_item *item;
    struct engram_hit *buffers; /* [queries][capacity] */
    size_t *used;               /* [queries] */
};

void engram_topk_init(struct engram_topk *topk)
{
    int64_t k = topk->common.request->k;
    int64_t rows = topk->common.base_rows;
    topk->keep = (size_t)(k < rows ? k : rows);
    topk->capacity = topk->keep + topk->keep / 2 + SLACK_MIN;
    if (topk->capacity > (size_t)rows) {
        topk->capacity = (size_t)rows;
    }
}

static size_t topk_kept(const struct engram_collector *collector)
{
    return ((const struct engram_topk *)collector)->capacity;
}

static size_t topk_scratch_size(const struct engram_collector *collector, size_t queries)
{
    const struct engram_topk *topk = (const struct engram_topk *)collector;
    return sizeof(struct topk_state) +
           queries * (topk->capacity * sizeof(struct engram_hit) + sizeof(size_t)) +
           3 * ENGRAM_ARENA_ALIGN;
}

static enum engram_status topk_open(struct engram_collector *collector)
{
    struct engram_topk *topk = (struct engram_topk *)collector;
    size_t lists = 0;
    size_t slots = 0;
    if (!engram_size_mul((size_t)collector->queries, (size_t)collector->tiling.segments, &lists) ||
        !engram_size_mul(lists, topk->keep, &slots)) {
        slots = (size_t)-1;
    }
    topk->counts = calloc(lists + 1, sizeof *topk->counts);
    topk->slots = slots > (size_t)-1 / sizeof *topk->slots - 1
                      ? NULL
                      : malloc((slots + 1) * sizeof *topk->slots);
    if (topk->counts == NULL || topk->slots == NULL) {
        return engram_fail(&collector->request->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for %zu answers of each of %lld queries", topk->keep,
                           (long long)collector->queries);
    }
    return ENGRAM_OK;
}

static void *topk_begin(const struct engram_collector *collector, const struct engram_item *item,
                        struct engram_scratch *scratch, double *limit)
{
    const struct engram_topk *topk = (const struct engram_topk *)collector;
    struct topk_state *state = ENGRAM_SCRATCH_NEW(scratch, struct topk_state, 1);
    size_t answers;
    if (state == NULL || !engram_size_mul(item->queries, topk->capacity, &answers)) {
        return NULL;
    }
    state->topk = topk;
    state->item = item;
    state->buffers = ENGRAM_SCRATCH_NEW(scratch, struct engram_hit, answers);
    state->used = ENGRAM_SCRATCH_NEW(scratch, size_t, item->queries);
    if (state->buffers == NULL || state->used == NULL) {
        return NULL;
    }
    for (size_t q = 0; q < item->queries; q++) {
        state->used[q] = 0;
        limit[q] = engram_known_limit(collector, item->first_query + (int64_t)q);
    }
    return state;
}

/* Keeps the k best of a full buffer; the worst of them is the new limit. */
static double tighten(const struct engram_topk *topk, struct engram_hit *buffer, size_t *used)
{
    double worst = -INFINITY;
    engram_hits_select(buffer, *used, topk->keep, topk->common.order);
    *used = topk->keep;
    for (size_t i = 0; i < topk->keep; i++) {
        double key = engram_key(topk->common.order, buffer[i].score);
        worst = key > worst ? key : worst;
    }
    return worst;
}

static void topk_offer(void *opaque, const struct engram_candidate *pairs, const double *scores,
                       size_t count, double *limit)
{
    struct topk_state *state = opaque;
    const struct engram_topk *topk = state->topk;
    for (size_t i = 0; i < count; i++) {
        size_t q = pairs[i].query;
        if (engram_key(topk->common.order, scores[i]) > limit[q]) {
            continue; /* the limit tightened since the pair was scored */
        }
        struct engram_hit *buffer = state->buffers + q * topk->capacity;
        buffer[state->used[q]++] = (struct engram_hit){scores[i], pairs[i].row};
        /* A buffer no larger than what is kept holds every row there is: it cannot overflow. */
        if (state->used[q] == topk->capacity && topk->capacity > topk->keep) {
            double worst = tighten(topk, buffer, &state->used[q]);
            limit[q] = worst < limit[q] ? worst : limit[q];
        }
    }
}

static void topk_finish(void *opaque)
{
    struct topk_state *state = opaque;
    const struct engram_topk *topk = state->topk;
    const struct engram_collector *common = &topk->common;
    for (size_t q = 0; q < state->item->queries; q++) {
        struct engram_hit *buffer = state->buffers + q * topk->capacity;
        size_t list =
            (size_t)(state->item->first_query + (int64_t)q) * (size_t)common->tiling.segments +
            (size_t)state->item->segment;
        if (state->used[q] > topk->keep) {
            engram_hits_select(buffer, state->used[q], topk->keep, common->order);
            state->used[q] = topk->keep;
        }
        engram_hits_sort(buffer, state->used[q], common->order);
        for (size_t i = 0; i < state->used[q]; i++) {
            buffer[i].tag += common->base_first_row;
        }
        if (state->used[q] > 0) {
            memcpy(topk->slots + list * topk->keep, buffer, state->used[q] * sizeof *buffer);
        }
        topk->counts[list] = (uint32_t)state->used[q];
    }
}

static void topk_fail(const struct engram_collector *collector, const struct engram_item *item)
{
    const struct engram_topk *topk = (const struct engram_topk *)collector;
    for (size_t q = 0; q < item->queries; q++) {
        topk->counts[(size_t)(item->first_query + (int64_t)q) * (size_t)collector->tiling.segments +
                     (size_t)item->segment] = 0;
    }
}

static enum engram_status topk_again(struct engram_collector *collector, bool *again)
{
    (void)collector;
    *again = false;
    return ENGRAM_OK;
}

static bool topk_wants(const struct engram_collector *collector, const struct engram_item *item)
{
    (void)collector;
    (void)item;
    return true;
}

/* Brings the lists of all segments of a query together, in place; returns how many stay. */
static size_t gather_query(const struct engram_topk *topk, int64_t query)
{
    size_t segments = (size_t)topk->common.tiling.segments;
    struct engram_hit *slots = topk->slots + (size_t)query * segments * topk->keep;
    const uint32_t *counts = topk->counts + (size_t)query * segments;
    size_t total = counts[0];
    for (size_t s = 1; s < segments; s++) {
        if (counts[s] > 0) {
            memmove(slots + total, slots + s * topk->keep, counts[s] * sizeof *slots);
        }
        total += counts[s];
    }
    if (segments > 1) {
        engram_hits_sort(slots, total, topk->common.order);
    }
    return total < topk->keep ? total : topk->keep;
}

static enum engram_status topk_gather(struct engram_collector *collector,
                                      struct engram_partial *out)
{
    struct engram_topk *topk = (struct engram_topk *)collector;
    size_t segments = (size_t)collector->tiling.segments;
    int64_t most = 0;
    for (int64_t q = 0; q < collector->queries; q++) {
        size_t found = 0;
        for (size_t s = 0; s < segments; s++) {
            found += topk->counts[(size_t)q * segments + s];
        }
        most += (int64_t)(found < topk->keep ? found : topk->keep);
    }
    enum engram_status status = engram_partial_create(
        collector->request->metric, collector->first_query, collector->queries,
        collector->request->k, most, &collector->request->log, out);
    for (int64_t q = 0; status == ENGRAM_OK && q < collector->queries; q++) {
        size_t count = segments == 0 ? 0 : gather_query(topk, q);
        if (count > 0) {
            memcpy(out->hits + out->indptr[q], topk->slots + (size_t)q * segments * topk->keep,
                   count * sizeof *out->hits);
        }
        out->indptr[q + 1] = out->indptr[q] + (int64_t)count;
    }
    return status;
}

static void topk_close(struct engram_collector *collector)
{
    struct engram_topk *topk = (struct engram_topk *)collector;
    free(topk->slots);
    free(topk->counts);
    topk->slots = NULL;
    topk->counts = NULL;
}

const struct engram_collector_ops engram_topk_ops = {
    .kept = topk_kept,
    .scratch_size = topk_scratch_size,
    .open = topk_open,
    .begin = topk_begin,
    .offer = topk_offer,
    .finish = topk_finish,
    .fail = topk_fail,
    .again = topk_again,
    .wants = topk_wants,
    .gather = topk_gather,
    .close = topk_close,
};
