/* Groups of rows that pairs within the limits connect. No pair is kept: each joins two trees of a
 * forest that all threads share. A root only ever gets a parent with a lower row, by compare and
 * swap, so no cycle can arise, the root of a tree is its lowest row, and the trees in the end
 * depend on the set of pairs alone, not on their order. */
#include <stdlib.h>

#include "base/log.h"
#include "search/unit.h"

struct component_state {
    const struct engram_component_collector *components;
    const struct engram_item *item;
};

/* The root above a row. Halves the path on the way: what is skipped is still an ancestor, whatever
 * other threads do meanwhile. */
static uint32_t find_root(uint32_t *parents, uint32_t row)
{
    uint32_t parent = __atomic_load_n(&parents[row], __ATOMIC_RELAXED);
    while (parent != row) {
        uint32_t above = __atomic_load_n(&parents[parent], __ATOMIC_RELAXED);
        if (above != parent) {
            (void)__atomic_compare_exchange_n(&parents[row], &parent, above, true, __ATOMIC_RELAXED,
                                              __ATOMIC_RELAXED);
        }
        row = above;
        parent = __atomic_load_n(&parents[row], __ATOMIC_RELAXED);
    }
    return row;
}

static void join(uint32_t *parents, uint32_t a, uint32_t b)
{
    for (;;) {
        a = find_root(parents, a);
        b = find_root(parents, b);
        if (a == b) {
            return;
        }
        uint32_t low = a < b ? a : b;
        uint32_t high = a < b ? b : a;
        uint32_t still_root = high;
        if (__atomic_compare_exchange_n(&parents[high], &still_root, low, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            return;
        }
    }
}

static size_t component_scratch_size(const struct engram_collector *collector, size_t queries)
{
    (void)collector;
    (void)queries;
    return sizeof(struct component_state) + ENGRAM_ARENA_ALIGN;
}

enum engram_status engram_forest_create(int64_t first_row, int64_t rows,
                                        const struct engram_log *log, struct engram_forest *forest)
{
    *forest = (struct engram_forest){.first_row = first_row, .rows = rows};
    if (rows <= ENGRAM_FOREST_ROWS_MAX) {
        forest->parents = malloc(((size_t)rows + 1) * sizeof *forest->parents);
    }
    if (forest->parents == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the components of %lld rows", (long long)rows);
    }
    for (int64_t r = 0; r < rows; r++) {
        forest->parents[r] = (uint32_t)r;
    }
    return ENGRAM_OK;
}

void engram_forest_free(struct engram_forest *forest)
{
    free(forest->parents);
    *forest = (struct engram_forest){0};
}

void engram_forest_join(struct engram_forest *forest, int64_t i, int64_t j)
{
    join(forest->parents, (uint32_t)i, (uint32_t)j);
}

int64_t engram_forest_root(const struct engram_forest *forest, int64_t i)
{
    return find_root(forest->parents, (uint32_t)i);
}

static enum engram_status component_open(struct engram_collector *collector)
{
    (void)collector;
    return ENGRAM_OK;
}

static void *component_begin(const struct engram_collector *collector,
                             const struct engram_item *item, struct engram_scratch *scratch,
                             double *limit)
{
    struct component_state *state = ENGRAM_SCRATCH_NEW(scratch, struct component_state, 1);
    if (state == NULL) {
        return NULL;
    }
    *state = (struct component_state){(const struct engram_component_collector *)collector, item};
    for (size_t q = 0; q < item->queries; q++) {
        limit[q] = collector->request->max_key;
    }
    return state;
}

static void component_offer(void *opaque, const struct engram_candidate *pairs,
                            const double *scores, size_t count, double *limit)
{
    const struct component_state *state = opaque;
    const struct engram_component_collector *components = state->components;
    (void)scores;
    (void)limit;
    for (size_t i = 0; i < count; i++) {
        join(components->parents,
             components->queries + (uint32_t)state->item->first_query + pairs[i].query,
             components->base + pairs[i].row);
    }
}

/* Rows of one component stay together: near duplicates without number cost no scores. */
static bool component_redundant(const struct engram_collector *collector, int64_t query,
                                int64_t row)
{
    const struct engram_component_collector *components =
        (const struct engram_component_collector *)collector;
    uint32_t *parents = components->parents;
    return find_root(parents, components->queries + (uint32_t)query) ==
           find_root(parents, components->base + (uint32_t)row);
}

static enum engram_status component_gather(struct engram_collector *collector,
                                           struct engram_partial *out)
{
    (void)collector;
    (void)out;
    return ENGRAM_OK;
}

static void component_close(struct engram_collector *collector)
{
    (void)collector;
}

const struct engram_collector_ops engram_component_ops = {
    .kept = engram_collector_keeps_none,
    .scratch_size = component_scratch_size,
    .open = component_open,
    .begin = component_begin,
    .offer = component_offer,
    .redundant = component_redundant,
    .sample = engram_collector_no_sample,
    .sampled = engram_collector_not_sampled,
    .finish = engram_collector_finished,
    .fail = engram_collector_failed,
    .again = engram_collector_once,
    .wants = engram_collector_wants_all,
    .gather = component_gather,
    .close = component_close,
};
