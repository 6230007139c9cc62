/* The integer filter at work, and with axes the prefix filter; the mathematics is in bound_int.h
 * and bound_prefix.h. */
#include <math.h>
#include <string.h>

#include "search/bound_int.h"
#include "search/filter.h"
#include "search/pack_prefix.h"

struct int_state {
    const struct engram_prepared *prepared;
    int8_t *strips;  /* [strip][groups][strip queries][4] */
    int32_t *offset; /* the rest: [queries, padded to strips] */
    float *level;
    float *row_error;
    float *query_error;
    float *slope;
    struct engram_int_query *queries;
    double *dense; /* [dim], or that of a coded row where it is larger */
    int8_t *codes; /* [of a coded row] */
    float *flat;   /* engram_prefix_query_room */
};

static size_t strip_queries(const struct engram_prepared *prepared)
{
    return prepared->kernels->int_queries;
}

static size_t panel_rows(const struct engram_prepared *prepared)
{
    return prepared->kernels->int_rows;
}

static size_t row_bytes(const struct engram_prepared *prepared)
{
    return prepared->codes.groups * 4;
}

static size_t padded(const struct engram_prepared *prepared, size_t queries)
{
    size_t width = prepared->kernels->int_queries;
    return (queries + width - 1) / width * width;
}

static size_t dense_size(const struct engram_prepared *prepared)
{
    size_t coded = prepared->codes.dim;
    return coded > prepared->dim ? coded : prepared->dim;
}

static size_t scratch_size(const struct engram_prepared *prepared, size_t queries)
{
    size_t places = padded(prepared, queries);
    return sizeof(struct int_state) + places * (row_bytes(prepared) + 5 * sizeof(float)) +
           queries * sizeof(struct engram_int_query) + dense_size(prepared) * (sizeof(double) + 1) +
           engram_prefix_query_room(prepared) * sizeof(float) + 11 * ENGRAM_ARENA_ALIGN;
}

static void *begin(const struct engram_prepared *prepared, size_t queries,
                   struct engram_scratch *scratch)
{
    size_t places = padded(prepared, queries);
    struct int_state *state = ENGRAM_SCRATCH_NEW(scratch, struct int_state, 1);
    if (state == NULL) {
        return NULL;
    }
    *state = (struct int_state){
        .prepared = prepared,
        .strips = ENGRAM_SCRATCH_NEW(scratch, int8_t, places * row_bytes(prepared)),
        .offset = ENGRAM_SCRATCH_NEW(scratch, int32_t, places),
        .level = ENGRAM_SCRATCH_NEW(scratch, float, places),
        .row_error = ENGRAM_SCRATCH_NEW(scratch, float, places),
        .query_error = ENGRAM_SCRATCH_NEW(scratch, float, places),
        .slope = ENGRAM_SCRATCH_NEW(scratch, float, places),
        .queries = ENGRAM_SCRATCH_NEW(scratch, struct engram_int_query, queries),
        .dense = ENGRAM_SCRATCH_NEW(scratch, double, dense_size(prepared)),
        .codes = ENGRAM_SCRATCH_NEW(scratch, int8_t, dense_size(prepared)),
        .flat = ENGRAM_SCRATCH_NEW(scratch, float, engram_prefix_query_room(prepared)),
    };
    if (state->strips == NULL || state->offset == NULL || state->level == NULL ||
        state->row_error == NULL || state->query_error == NULL || state->slope == NULL ||
        state->queries == NULL || state->dense == NULL || state->codes == NULL ||
        state->flat == NULL) {
        return NULL;
    }
    memset(state->strips, 0, places * row_bytes(prepared));
    for (size_t q = 0; q < places; q++) {
        state->offset[q] = 0;
        state->level[q] = INFINITY;
        state->row_error[q] = 0;
        state->query_error[q] = 0;
        state->slope[q] = 0;
    }
    return state;
}

static void load(void *opaque, size_t q, const struct engram_query_view *view)
{
    struct int_state *state = opaque;
    const struct engram_prepared *prepared = state->prepared;
    const struct engram_projection *projection = &prepared->codes.projection;
    struct engram_int_query *query = &state->queries[q];
    struct engram_projected projected;
    size_t width = prepared->kernels->int_queries;
    int8_t *strip = state->strips + (q / width * width * prepared->codes.groups + q % width) * 4;

    double factor = engram_projection_factor(projection, view->wide, view->self_product,
                                             view->largest, &projected);
    projected.norm2 = engram_project(projection, factor, view->wide, state->dense);
    if (prepared->codes.prefix) {
        engram_prefix_query(prepared, projected.norm2, state->dense, state->flat);
    }
    engram_int_query_make(prepared, state->dense, &projected, state->codes, query);
    for (size_t i = 0; i < prepared->codes.dim; i += 4) {
        size_t left = prepared->codes.dim - i;
        memcpy(strip + i * width, state->codes + i, left < 4 ? left : 4);
    }
    state->offset[q] = (int32_t)(-query->code_sum * prepared->kernels->int_base_limit);
    state->row_error[q] = engram_round_up(query->row_error);
    state->query_error[q] = engram_round_up(query->query_error);
    state->slope[q] = engram_round_up(query->slope);
}

static void limit(void *opaque, size_t q, double max_key, double min_score)
{
    struct int_state *state = opaque;
    state->level[q] = engram_int_level(state->prepared, &state->queries[q], max_key, min_score);
}

static size_t scan(void *opaque, size_t strip, size_t panel, size_t panels,
                   struct engram_candidate *out)
{
    const struct int_state *state = opaque;
    const struct engram_prepared *prepared = state->prepared;
    const struct engram_int_pack *pack = &prepared->codes;
    size_t first = strip * prepared->kernels->int_queries;
    size_t row = panel * prepared->kernels->int_rows;
    const struct engram_int_strip args = {
        .strip = state->strips + first * pack->groups * 4,
        .panels = pack->panels + row * pack->groups * 4,
        .heads = pack->heads + panel,
        .bias = pack->bias + row,
        .offset = state->offset + first,
        .level = state->level + first,
        .row_error = state->row_error + first,
        .query_error = state->query_error + first,
        .slope = state->slope + first,
        .live = prepared->live + row / 8,
        .groups = pack->groups,
        .panel_count = panels,
        .first_query = (uint32_t)first,
        .first_row = (uint32_t)row,
    };
    return prepared->kernels->int_tile(&args, out);
}

const struct engram_filter_ops engram_int_filter = {
    .name = "int",
    .strip_queries = strip_queries,
    .panel_rows = panel_rows,
    .row_bytes = row_bytes,
    .scratch_size = scratch_size,
    .begin = begin,
    .load = load,
    .limit = limit,
    .scan = scan,
};
