/* The value of every pair: item by item to its place in the caller's matrix. */
#include <math.h>

#include "search/collector.h"

struct dense_state {
    const struct engram_dense_collector *dense;
    const struct engram_item *item;
};

static size_t dense_scratch_size(const struct engram_collector *collector, size_t queries)
{
    (void)collector;
    (void)queries;
    return sizeof(struct dense_state) + ENGRAM_ARENA_ALIGN;
}

static enum engram_status dense_open(struct engram_collector *collector)
{
    (void)collector;
    return ENGRAM_OK;
}

static void *dense_begin(const struct engram_collector *collector, const struct engram_item *item,
                         struct engram_scratch *scratch, double *limit)
{
    struct dense_state *state = ENGRAM_SCRATCH_NEW(scratch, struct dense_state, 1);
    if (state == NULL) {
        return NULL;
    }
    *state = (struct dense_state){(const struct engram_dense_collector *)collector, item};
    for (size_t q = 0; q < item->queries; q++) {
        limit[q] = (double)INFINITY;
    }
    return state;
}

static void dense_cells(void *opaque, size_t query, int64_t first_row, size_t count,
                        const double *scores)
{
    const struct dense_state *state = opaque;
    const struct engram_dense_collector *dense = state->dense;
    size_t at =
        ((size_t)state->item->first_query + query) * dense->values.stride + (size_t)first_row;
    engram_values_put(&dense->values, dense->common.order, at, count, scores);
}

static enum engram_status dense_gather(struct engram_collector *collector,
                                       struct engram_partial *out)
{
    (void)collector;
    (void)out;
    return ENGRAM_OK;
}

static void dense_close(struct engram_collector *collector)
{
    (void)collector;
}

const struct engram_collector_ops engram_dense_ops = {
    .kept = engram_collector_keeps_none,
    .scratch_size = dense_scratch_size,
    .open = dense_open,
    .begin = dense_begin,
    .cells = dense_cells,
    .sample = engram_collector_no_sample,
    .sampled = engram_collector_not_sampled,
    .finish = engram_collector_finished,
    .fail = engram_collector_failed,
    .again = engram_collector_once,
    .wants = engram_collector_wants_all,
    .gather = dense_gather,
    .close = dense_close,
};
