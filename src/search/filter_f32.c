/* The float32 filter at work; the mathematics is in bound_f32.h. */
#include <math.h>
#include <string.h>

#include "search/filter.h"

struct f32_state {
    const struct engram_prepared *prepared;
    float *strips;    /* [strip][depth][strip queries] */
    float *threshold; /* [queries, padded to strips] */
    struct engram_projected *queries;
    float *dense; /* [depth] */
    size_t strip_count;
    const float *ahead; /* panels of the next step */
    size_t ahead_bytes;
};

static size_t strip_queries(const struct engram_prepared *prepared)
{
    return prepared->kernels->f32_queries;
}

static size_t panel_rows(const struct engram_prepared *prepared)
{
    return prepared->kernels->f32_rows;
}

static size_t row_bytes(const struct engram_prepared *prepared)
{
    return prepared->f32.bound.depth * sizeof(float);
}

static size_t padded(const struct engram_prepared *prepared, size_t queries)
{
    size_t width = prepared->kernels->f32_queries;
    return (queries + width - 1) / width * width;
}

static size_t scratch_size(const struct engram_prepared *prepared, size_t queries)
{
    size_t places = padded(prepared, queries);
    return sizeof(struct f32_state) + (places + 1) * row_bytes(prepared) + places * sizeof(float) +
           queries * sizeof(struct engram_projected) + 5 * ENGRAM_ARENA_ALIGN;
}

static void *begin(const struct engram_prepared *prepared, size_t queries,
                   struct engram_scratch *scratch)
{
    size_t places = padded(prepared, queries);
    size_t depth = prepared->f32.bound.depth;
    struct f32_state *state = ENGRAM_SCRATCH_NEW(scratch, struct f32_state, 1);
    if (state == NULL) {
        return NULL;
    }
    state->prepared = prepared;
    state->strip_count = places / prepared->kernels->f32_queries;
    state->ahead = prepared->f32.panels;
    state->ahead_bytes = 0;
    state->strips = ENGRAM_SCRATCH_NEW(scratch, float, places *depth);
    state->threshold = ENGRAM_SCRATCH_NEW(scratch, float, places);
    state->queries = ENGRAM_SCRATCH_NEW(scratch, struct engram_projected, queries);
    state->dense = ENGRAM_SCRATCH_NEW(scratch, float, depth);
    if (state->strips == NULL || state->threshold == NULL || state->queries == NULL ||
        state->dense == NULL) {
        return NULL;
    }
    memset(state->strips, 0, places * depth * sizeof *state->strips);
    for (size_t q = 0; q < places; q++) {
        state->threshold[q] = INFINITY;
    }
    return state;
}

static void load(void *opaque, size_t q, const struct engram_query_view *query)
{
    struct f32_state *state = opaque;
    const struct engram_f32_pack *pack = &state->prepared->f32;
    size_t width = state->prepared->kernels->f32_queries;
    float *strip = state->strips + q / width * width * pack->bound.depth + q % width;

    engram_f32_project(&pack->bound, pack->mean, query->wide, query->self_product, query->largest,
                       &state->queries[q], state->dense);
    for (size_t k = 0; k < pack->bound.depth; k++) {
        strip[k * width] = state->dense[k];
    }
}

static void limit(void *opaque, size_t q, double max_key, double min_score)
{
    struct f32_state *state = opaque;
    state->threshold[q] =
        engram_f32_threshold(&state->prepared->f32.bound, &state->queries[q], max_key, min_score);
}

static void announce(void *opaque, size_t panel, size_t panels)
{
    struct f32_state *state = opaque;
    const struct engram_f32_pack *pack = &state->prepared->f32;
    size_t floats = panel_rows(state->prepared) * pack->bound.depth;
    if (panel >= pack->panel_count) {
        state->ahead_bytes = 0;
        return;
    }
    if (panels > pack->panel_count - panel) {
        panels = pack->panel_count - panel;
    }
    state->ahead = pack->panels + panel * floats;
    state->ahead_bytes = panels * floats * sizeof(float);
}

static size_t scan(void *opaque, size_t strip, size_t panel, size_t panels,
                   struct engram_candidate *out)
{
    const struct f32_state *state = opaque;
    const struct engram_prepared *prepared = state->prepared;
    const struct engram_kernels *kernels = prepared->kernels;
    size_t depth = prepared->f32.bound.depth;
    /* Each strip has its share of the next panels fetched. */
    size_t share = state->ahead_bytes / state->strip_count / sizeof(float);
    const struct engram_f32_strip args = {
        .strip = state->strips + strip * kernels->f32_queries * depth,
        .panels = prepared->f32.panels + panel * kernels->f32_rows * depth,
        .threshold = state->threshold + strip * kernels->f32_queries,
        .live = prepared->live + panel * kernels->f32_rows / 8,
        .ahead = state->ahead + strip * share,
        .ahead_bytes = share * sizeof(float),
        .depth = depth,
        .panel_count = panels,
        .first_query = (uint32_t)(strip * kernels->f32_queries),
        .first_row = (uint32_t)(panel * kernels->f32_rows),
    };
    return prepared->metric == ENGRAM_L1 ? kernels->l1_tile(&args, out)
                                         : kernels->f32_tile(&args, out);
}

const struct engram_filter_ops engram_f32_filter = {
    .name = "f32",
    .strip_queries = strip_queries,
    .panel_rows = panel_rows,
    .row_bytes = row_bytes,
    .scratch_size = scratch_size,
    .begin = begin,
    .load = load,
    .limit = limit,
    .scan = scan,
    .announce = announce,
};
