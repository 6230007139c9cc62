/* The tile of hamming and jaccard at work. Counts are exact; all that is left to show is that a
 * query's limits, turned into 16-bit numbers, never ask for more than they should.
 *
 * Hamming. With d positions at which two rows of n bits differ, key = fl(d / n) >= d / n (1 -
 * 2^-53), so key <= K means d <= K n (1 + 2^-52); T, the whole part of K n (1 + 2^-50) in float64,
 * is no less. The tile counts a = 8 bytes - d positions, and keeps a >= 8 bytes - T.
 *
 * Jaccard. With b bits in both, of |q| and |x|, J = b / (|q| + |x| - b), score = fl(J) and
 * key = fl(1 - score). An answer has score >= s = max(min_score, 1 - K - 2^-52 (1 + |K|)), so, if
 * s > 0, J >= s (1 - 2^-52), which is b >= c (|q| + |x|) with c = s / (1 + s) up to a few 2^-52;
 * we lower c by 2^-40. The tile keeps b 2^f >= level + floor(slope |x| 2^f / 2^16), with
 * level = floor(c |q| 2^f) and slope = floor(c 2^16): no more than c (|q| + |x|) 2^f. */
#include <math.h>
#include <string.h>

#include "search/filter.h"

#define NOTHING 65535 /* as a level: no count reaches it */

struct bit_state {
    const struct engram_prepared *prepared;
    uint8_t *strips; /* [strip][2 * bytes][strip queries] */
    uint16_t *level; /* [queries, padded to strips] */
    uint16_t *slope;
    double *sizes; /* [queries] |q| (jaccard) */
};

static size_t strip_queries(const struct engram_prepared *prepared)
{
    return prepared->kernels->bit_queries;
}

static size_t panel_rows(const struct engram_prepared *prepared)
{
    return prepared->kernels->bit_rows;
}

static size_t row_bytes(const struct engram_prepared *prepared)
{
    return prepared->bits.bytes;
}

static size_t padded(const struct engram_prepared *prepared, size_t queries)
{
    size_t width = prepared->kernels->bit_queries;
    return (queries + width - 1) / width * width;
}

static size_t scratch_size(const struct engram_prepared *prepared, size_t queries)
{
    size_t places = padded(prepared, queries);
    return sizeof(struct bit_state) +
           places * (2 * row_bytes(prepared) + 2 * sizeof(uint16_t) + sizeof(double)) +
           5 * ENGRAM_ARENA_ALIGN;
}

static void *begin(const struct engram_prepared *prepared, size_t queries,
                   struct engram_scratch *scratch)
{
    size_t places = padded(prepared, queries);
    size_t strip_bytes = places * 2 * row_bytes(prepared);
    struct bit_state *state = ENGRAM_SCRATCH_NEW(scratch, struct bit_state, 1);
    if (state == NULL) {
        return NULL;
    }
    *state = (struct bit_state){
        .prepared = prepared,
        .strips = ENGRAM_SCRATCH_NEW(scratch, uint8_t, strip_bytes),
        .level = ENGRAM_SCRATCH_NEW(scratch, uint16_t, places),
        .slope = ENGRAM_SCRATCH_NEW(scratch, uint16_t, places),
        .sizes = ENGRAM_SCRATCH_NEW(scratch, double, places),
    };
    if (state->strips == NULL || state->level == NULL || state->slope == NULL ||
        state->sizes == NULL) {
        return NULL;
    }
    memset(state->strips, 0, strip_bytes);
    for (size_t q = 0; q < places; q++) {
        state->level[q] = NOTHING;
        state->slope[q] = 0;
    }
    return state;
}

static void load(void *opaque, size_t q, const struct engram_query_view *query)
{
    struct bit_state *state = opaque;
    size_t bytes = row_bytes(state->prepared);
    size_t width = state->prepared->kernels->bit_queries;
    uint8_t *strip = state->strips + q / width * width * 2 * bytes + q % width;
    const uint8_t *from = (const uint8_t *)query->bits;

    for (size_t b = 0; b < bytes; b++) {
        strip[2 * b * width] = (uint8_t)(from[b] << 4);
        strip[(2 * b + 1) * width] = from[b] & 0xf0;
    }
    state->sizes[q] = query->self_product;
}

static uint16_t hamming_level(const struct engram_prepared *prepared, double max_key)
{
    double places = 8 * (double)prepared->bits.bytes;
    if (max_key < 0) {
        return NOTHING;
    }
    double most = floor(max_key * (double)prepared->dim * (1 + 0x1p-50));
    return most >= places ? 0 : (uint16_t)ldexp(places - most, prepared->bits.shift);
}

static void limit(void *opaque, size_t q, double max_key, double min_score)
{
    struct bit_state *state = opaque;
    const struct engram_prepared *prepared = state->prepared;
    if (prepared->metric == ENGRAM_HAMMING) {
        state->level[q] = hamming_level(prepared, max_key);
        return;
    }
    double least = 1 - max_key - 0x1p-52 * (1 + fabs(max_key));
    least = least > min_score ? least : min_score;
    state->slope[q] = 0;
    if (max_key < 0 || least > 1 + 0x1p-40) {
        state->level[q] = NOTHING; /* no key and no score is like that */
    } else if (least > 0) {
        double share = least / (1 + least) * (1 - 0x1p-40);
        state->level[q] = (uint16_t)ldexp(share * state->sizes[q], prepared->bits.shift);
        state->slope[q] = (uint16_t)ldexp(share, 16);
    } else {
        state->level[q] = 0;
    }
}

static size_t scan(void *opaque, size_t strip, size_t panel, size_t panels,
                   struct engram_candidate *out)
{
    const struct bit_state *state = opaque;
    const struct engram_prepared *prepared = state->prepared;
    const struct engram_bit_pack *pack = &prepared->bits;
    size_t first = strip * prepared->kernels->bit_queries;
    size_t row = panel * prepared->kernels->bit_rows;
    const struct engram_bit_strip args = {
        .op = engram_metric_bit_op(prepared->metric),
        .shift = pack->shift,
        .strip = state->strips + first * 2 * pack->bytes,
        .panels = pack->panels + row * pack->bytes,
        .sizes = pack->sizes + row,
        .level = state->level + first,
        .slope = state->slope + first,
        .live = prepared->live + row / 8,
        .bytes = pack->bytes,
        .panel_count = panels,
        .first_query = (uint32_t)first,
        .first_row = (uint32_t)row,
    };
    return prepared->kernels->bit_tile(&args, out);
}

const struct engram_filter_ops engram_bit_filter = {
    .name = "bits",
    .strip_queries = strip_queries,
    .panel_rows = panel_rows,
    .row_bytes = row_bytes,
    .scratch_size = scratch_size,
    .begin = begin,
    .load = load,
    .limit = limit,
    .scan = scan,
};
