#include "search/block_internal.h"

#include <math.h>
#include <string.h>

#include "kernels/bits.h"

/* Pairs scored in one call of the canonical kernel; a few cache lines of results. */
#define BATCH 256

/* Fewer candidates than this wait for those of the next step: their rows lie anywhere, and are
 * fetched ahead only within a call of the canonical kernel. */
#define WORTH_SCORING 64

/* A pass of one strip over a step of the scan appends at most this many candidates. */
static size_t step_candidates(const struct engram_block_context *context)
{
    const struct engram_filter_ops *filter = context->filter;
    if (filter == NULL) {
        return 0;
    }
    return context->collector->tiling.block_panels * filter->panel_rows(context->prepared) *
           filter->strip_queries(context->prepared);
}

/* Rows of bits stay packed, in words as large as a double. */
static size_t wide_stride(const struct engram_prepared *prepared)
{
    if (engram_metric_of_bits(prepared->metric)) {
        return engram_bits_words(prepared->dim);
    }
    return (prepared->dim + 7) & ~(size_t)7;
}

size_t engram_block_scratch_size(const struct engram_block_context *context)
{
    const struct engram_prepared *prepared = context->prepared;
    size_t queries = context->collector->tiling.block_queries;
    size_t raw = queries * ENGRAM_CANONICAL_ROWS > BATCH ? queries * ENGRAM_CANONICAL_ROWS : BATCH;
    size_t bytes = queries * wide_stride(prepared) * sizeof(double);

    bytes += queries * (3 * sizeof(double) + 2 * sizeof(bool));
    bytes += raw * sizeof(double);
    bytes += (2 * step_candidates(context) + BATCH) * sizeof(struct engram_candidate);
    if (context->filter != NULL) {
        bytes += context->filter->scratch_size(prepared, queries);
    }
    bytes += context->collector->ops->scratch_size(context->collector, queries);
    return bytes + 16 * ENGRAM_ARENA_ALIGN;
}

/* Takes all memory of the item. */
static bool take_scratch(struct engram_block *b, struct engram_scratch *scratch)
{
    const struct engram_block_context *context = b->context;
    const struct engram_prepared *prepared = context->prepared;
    size_t room = context->collector->tiling.block_queries * ENGRAM_CANONICAL_ROWS;

    b->stride = wide_stride(prepared);
    b->candidate_room = 2 * step_candidates(context) + BATCH;
    b->wide = ENGRAM_SCRATCH_NEW(scratch, double, b->queries * b->stride);
    b->self_products = ENGRAM_SCRATCH_NEW(scratch, double, b->queries);
    b->usable = ENGRAM_SCRATCH_NEW(scratch, bool, b->queries);
    b->limit = ENGRAM_SCRATCH_NEW(scratch, double, b->queries);
    b->seen = ENGRAM_SCRATCH_NEW(scratch, double, b->queries);
    b->awake = ENGRAM_SCRATCH_NEW(scratch, bool, b->queries);
    b->raw = ENGRAM_SCRATCH_NEW(scratch, double, room > BATCH ? room : BATCH);
    b->candidates = ENGRAM_SCRATCH_NEW(scratch, struct engram_candidate, b->candidate_room);
    if (context->filter != NULL) {
        b->filtered = context->filter->begin(prepared, b->queries, scratch);
    }
    return b->wide != NULL && b->self_products != NULL && b->usable != NULL && b->limit != NULL &&
           b->seen != NULL && b->awake != NULL && b->raw != NULL && b->candidates != NULL &&
           (context->filter == NULL || b->filtered != NULL);
}

/* Query q of a block of bits. */
static void load_bits(struct engram_block *b, size_t q, const void *row)
{
    const struct engram_block_context *context = b->context;
    const struct engram_prepared *prepared = context->prepared;
    uint64_t *words = engram_block_words(b) + q * b->stride;

    engram_bits_load(row, prepared->dim, words);
    b->usable[q] = true;
    b->self_products[q] = (double)prepared->dim;
    if (prepared->metric == ENGRAM_JACCARD) {
        const struct engram_bit_rows one = {words, 0};
        const struct engram_base_rows self = {row, 0};
        prepared->kernels->bits_tile[ENGRAM_BIT_COMMON](&one, 1, &self, 1, prepared->dim,
                                                        &b->self_products[q]);
    }
    if (context->filter != NULL) {
        const struct engram_query_view view = {NULL, b->self_products[q], 1, words};
        context->filter->load(b->filtered, q, &view);
    }
}

/* Looks at query q and widens it; its canonical self product (cosine). Float32 rows are never
 * scaled, and the kernel set looks at them as they lie. */
static struct engram_row_look load_row(struct engram_block *b, size_t q, const void *row)
{
    const struct engram_prepared *prepared = b->context->prepared;
    const bool cosine = prepared->metric == ENGRAM_COSINE;
    enum engram_dtype dtype = b->context->queries->set.dtype;
    double *wide = b->wide + q * b->stride;
    double *product = &b->self_products[q];
    struct engram_row_look look;

    *product = 0;
    engram_row_widen(dtype, row, prepared->dim, wide);
    if (dtype == ENGRAM_F32) {
        const struct engram_base_rows one = {row, 0};
        uint32_t top;
        float largest;
        prepared->kernels->f32_look(&one, 1, prepared->dim, &top, cosine ? product : NULL);
        memcpy(&largest, &top, sizeof largest);
        return (struct engram_row_look){top < 0x7f800000U, true, (double)largest};
    }
    look = engram_row_look(ENGRAM_F64, wide, prepared->dim);
    if (look.finite && cosine) {
        struct engram_wide_rows one = {wide, b->stride};
        struct engram_base_rows self = {(const unsigned char *)wide, 0};
        engram_row_scale_cosine(wide, prepared->dim, look.largest);
        prepared->kernels->canonical_tile[ENGRAM_OP_DOT][ENGRAM_WORK_F64](&one, 1, &self, 1,
                                                                          prepared->dim, product);
    }
    return look;
}

/* Widens, checks, scales and packs the queries. */
static void load_queries(struct engram_block *b)
{
    const struct engram_block_context *context = b->context;
    const struct engram_set *set = &context->queries->set;

    for (size_t q = 0; q < b->queries; q++) {
        int64_t row = context->first_query + b->item->first_query + (int64_t)q;
        if (set->dtype == ENGRAM_BITS) {
            load_bits(b, q, engram_set_row(set, row));
            continue;
        }
        struct engram_row_look look = load_row(b, q, engram_set_row(set, row));
        b->usable[q] = look.finite;
        if (look.finite && context->filter != NULL) {
            const struct engram_query_view view = {b->wide + q * b->stride, b->self_products[q],
                                                   look.largest, NULL};
            context->filter->load(b->filtered, q, &view);
        }
    }
}

/* Under symmetry an answer counts for both sides, so both have to be allowed. */
static void rule_out_queries(struct engram_block *b)
{
    const struct engram_block_context *context = b->context;
    const struct engram_collector *collector = context->collector;
    const uint8_t *allowed = context->request->allowed_queries;
    size_t first = (size_t)(context->first_query + b->item->first_query);
    int64_t row = engram_block_first_query_row(b);
    for (size_t q = 0; collector->symmetric && q < b->queries; q++, row++) {
        bool known = row >= 0 && row < context->prepared->rows;
        b->usable[q] =
            b->usable[q] && (!known || engram_prepared_live(context->prepared, (size_t)row));
    }
    for (size_t q = 0; allowed != NULL && q < b->queries; q++) {
        b->usable[q] = b->usable[q] && (allowed[(first + q) >> 3] >> ((first + q) & 7) & 1) != 0;
    }
}

/* Tells the filter the limit of query q. */
static void refresh(struct engram_block *b, size_t q)
{
    const struct engram_block_context *context = b->context;
    if (context->filter != NULL && b->usable[q]) {
        context->filter->limit(b->filtered, q, b->limit[q], context->request->min_score);
    }
    b->seen[q] = b->limit[q];
}

void engram_block_start_pass(struct engram_block *b)
{
    const struct engram_filter_ops *filter = b->context->filter;
    size_t width = filter == NULL ? 1 : filter->strip_queries(b->context->prepared);
    for (size_t q = 0; q < b->queries; q++) {
        bool awake = b->usable[q] && b->limit[q] > -(double)INFINITY;
        b->awake[q / width] = q % width == 0 ? awake : b->awake[q / width] || awake;
        refresh(b, q);
    }
}

/* Whether the pair may be an answer at all, before any score. */
static inline bool eligible(const struct engram_block *b, struct engram_candidate pair)
{
    const struct engram_block_context *context = b->context;
    const struct engram_request *request = context->request;
    const struct engram_collector *collector = context->collector;
    if (!b->usable[pair.query]) {
        return false;
    }
    int64_t query = context->first_query + b->item->first_query + (int64_t)pair.query;
    if (request->self) {
        int64_t global = context->queries->first_row + query;
        int64_t row = context->base_first_row + (int64_t)pair.row;
        if (row == global || (collector->symmetric && row < global && row >= collector->both[0] &&
                              global < collector->both[1])) {
            return false;
        }
    }
    if (request->base_groups != NULL && request->query_groups[query] >= 0 &&
        request->query_groups[query] == request->base_groups[pair.row]) {
        return false;
    }
    return collector->ops->redundant == NULL ||
           !collector->ops->redundant(collector, query - context->first_query, (int64_t)pair.row);
}

/* Canonical sums into scores, in place. */
static void score_sums(const struct engram_block *b, const struct engram_candidate *pairs,
                       double *raw, size_t count)
{
    const double *base_products = b->context->prepared->self_products;
    enum engram_metric metric = b->context->prepared->metric;
    double qq[64];
    double xx[64];

    for (size_t i = 0; i < count; i += 64) {
        size_t some = count - i < 64 ? count - i : 64;
        for (size_t j = 0; j < some; j++) {
            qq[j] = b->self_products[pairs[i + j].query];
            xx[j] = base_products == NULL ? 0 : base_products[pairs[i + j].row];
        }
        if (metric == ENGRAM_COSINE) { /* a constant, so that the loop vectorises */
            for (size_t j = 0; j < some; j++) {
                raw[i + j] = engram_score(ENGRAM_COSINE, raw[i + j], qq[j], xx[j]);
            }
            continue;
        }
        for (size_t j = 0; j < some; j++) {
            raw[i + j] = engram_score(metric, raw[i + j], qq[j], xx[j]);
        }
    }
}

/* Turns canonical sums into scores, drops what lies outside the limits, gives the rest to the
 * collector. `pairs` and `raw` are overwritten. */
static void settle(struct engram_block *b, struct engram_candidate *pairs, double *raw,
                   size_t count)
{
    const struct engram_block_context *context = b->context;
    struct engram_order order = context->collector->order;
    double min_score = context->request->min_score;
    size_t kept = 0;

    score_sums(b, pairs, raw, count);
    for (size_t i = 0; i < count; i++) {
        struct engram_candidate pair = pairs[i];
        double score = raw[i];
        pairs[kept] = pair; /* no branch: as often as not it would be predicted wrongly */
        raw[kept] = score;
        kept += (engram_key(order, score) <= b->limit[pair.query]) & (score >= min_score);
    }
    if (kept == 0) {
        return;
    }
    context->collector->ops->offer(b->collected, pairs, raw, kept, b->limit);
    for (size_t i = 0; i < kept; i++) {
        if (b->limit[pairs[i].query] != b->seen[pairs[i].query]) {
            refresh(b, pairs[i].query);
        }
    }
}

/* Canonical sums, or counts of bits, of listed pairs. */
static void sum_pairs(const struct engram_block *b, const struct engram_candidate *pairs,
                      size_t count)
{
    const struct engram_prepared *prepared = b->context->prepared;
    const struct engram_kernels *kernels = prepared->kernels;
    enum engram_metric metric = prepared->metric;
    if (engram_metric_of_bits(metric)) {
        const struct engram_bit_rows queries = {engram_block_words(b), b->stride};
        kernels->bits_pairs[engram_metric_bit_op(metric)](&queries, &prepared->view, prepared->dim,
                                                          pairs, count, b->raw);
        return;
    }
    const struct engram_wide_rows queries = {b->wide, b->stride};
    kernels->canonical_pairs[engram_metric_op(metric)][prepared->type](
        &queries, &prepared->view, prepared->dim, pairs, count, b->raw);
}

/* The same of all queries with rows [first, first + rows). */
static void sum_tile(const struct engram_block *b, size_t first, size_t rows)
{
    const struct engram_prepared *prepared = b->context->prepared;
    const struct engram_kernels *kernels = prepared->kernels;
    enum engram_metric metric = prepared->metric;
    const struct engram_base_rows base = {prepared->view.data + first * prepared->view.stride,
                                          prepared->view.stride};
    if (engram_metric_of_bits(metric)) {
        const struct engram_bit_rows queries = {engram_block_words(b), b->stride};
        kernels->bits_tile[engram_metric_bit_op(metric)](&queries, b->queries, &base, rows,
                                                         prepared->dim, b->raw);
        return;
    }
    const struct engram_wide_rows queries = {b->wide, b->stride};
    kernels->canonical_tile[engram_metric_op(metric)][prepared->type](&queries, b->queries, &base,
                                                                      rows, prepared->dim, b->raw);
}

/* Scores the candidates found so far, as far as they are eligible; how many these are. Panels hold
 * rows beyond the ends of the scan where these are no multiples of theirs. */
static size_t rescore(struct engram_block *b)
{
    const uint64_t rows = (uint64_t)(b->item->last_row - b->first_row);
    size_t kept = 0;

    for (size_t i = 0; i < b->candidate_count; i++) {
        const struct engram_candidate pair = b->candidates[i];
        b->candidates[kept] = pair;
        kept += (uint64_t)((int64_t)pair.row - b->first_row) < rows && eligible(b, pair);
    }
    b->candidate_count = 0;
    b->counts->rescored += kept;
    for (size_t i = 0; i < kept; i += BATCH) {
        size_t count = kept - i < BATCH ? kept - i : BATCH;
        sum_pairs(b, b->candidates + i, count);
        settle(b, b->candidates + i, b->raw, count);
    }
    return kept;
}

/* Hands the scores of all queries with rows [first, first + count) to the collector; `raw` holds
 * their sums and is overwritten. */
static void give_cells(struct engram_block *b, size_t first, size_t count)
{
    const struct engram_prepared *prepared = b->context->prepared;
    const double *products = prepared->self_products;
    const bool some = prepared->masked || prepared->skipped > 0; /* rows without a value */
    products = products == NULL ? NULL : products + first;
    for (size_t q = 0; q < b->queries; q++) {
        double *raw = b->raw + q * count;
        double qq = b->self_products[q];
        engram_scores(prepared->metric, raw, count, qq, products);
        for (size_t i = 0; (some || !b->usable[q]) && i < count; i++) {
            if (!b->usable[q] || !engram_prepared_live(prepared, first + i)) {
                raw[i] = (double)NAN;
            }
        }
        b->context->collector->ops->cells(b->collected, q, (int64_t)first, count, raw);
    }
}

void engram_block_score_all(struct engram_block *b, int64_t first, int64_t last)
{
    const struct engram_prepared *prepared = b->context->prepared;

    for (int64_t r = first; r < last; r += ENGRAM_CANONICAL_ROWS) {
        size_t rows = (size_t)(last - r < ENGRAM_CANONICAL_ROWS ? last - r : ENGRAM_CANONICAL_ROWS);
        sum_tile(b, (size_t)r, rows);
        b->counts->canonical += rows * b->queries;
        if (b->context->collector->ops->cells != NULL) {
            give_cells(b, (size_t)r, rows);
            continue;
        }
        for (size_t q = 0; q < b->queries; q++) {
            double *raw = b->raw + q * rows; /* compacted in place: kept <= i */
            size_t kept = 0;
            for (size_t i = 0; i < rows; i++) {
                size_t row = (size_t)r + i;
                struct engram_candidate pair = {(uint32_t)q, (uint32_t)row};
                bool live = prepared->live[row >> 3] >> (row & 7) & 1;
                if (live && eligible(b, pair)) {
                    b->candidates[kept] = pair;
                    raw[kept++] = raw[i];
                }
            }
            settle(b, b->candidates, raw, kept);
        }
    }
}

uint64_t engram_block_score_panels(struct engram_block *b, size_t panel, size_t panels)
{
    const struct engram_filter_ops *filter = b->context->filter;
    const struct engram_prepared *prepared = b->context->prepared;
    size_t width = filter->strip_queries(prepared);
    size_t most = panels * filter->panel_rows(prepared) * width;
    uint64_t scored = 0;

    for (size_t strip = 0; strip < (b->queries + width - 1) / width; strip++) {
        if (!b->awake[strip]) {
            continue;
        }
        if (b->candidate_room - b->candidate_count < most) {
            scored += rescore(b);
        }
        b->candidate_count +=
            filter->scan(b->filtered, strip, panel, panels, b->candidates + b->candidate_count);
    }
    bool wait = b->candidate_count < WORTH_SCORING && b->context->collector->ops->step == NULL;
    return wait ? scored : scored + rescore(b);
}

uint64_t engram_block_score_waiting(struct engram_block *b)
{
    return rescore(b);
}

static uint64_t common_length(int64_t first, int64_t last, const int64_t range[2])
{
    first = first > range[0] ? first : range[0];
    last = last < range[1] ? last : range[1];
    return last > first ? (uint64_t)(last - first) : 0;
}

void engram_block_report(const struct engram_block *b, int64_t first, int64_t last)
{
    const struct engram_collector *collector = b->context->collector;
    uint64_t pairs = (uint64_t)(last - first) * b->queries;
    if (collector->symmetric) {
        /* The other side of each, but for those that are looked at from both. */
        int64_t query = collector->first_query + b->item->first_query;
        int64_t row = collector->base_first_row;
        pairs = 2 * pairs - common_length(query, query + (int64_t)b->queries, collector->both) *
                                common_length(row + first, row + last, collector->both);
    }
    b->counts->pairs += pairs;
    (void)__atomic_fetch_add(b->context->pairs_done, pairs, __ATOMIC_RELAXED);
}

enum engram_status engram_block_run(const struct engram_block_context *context,
                                    const struct engram_item *item, struct engram_scratch *scratch,
                                    struct engram_block_counts *counts)
{
    const struct engram_collector *collector = context->collector;
    struct engram_block b = {
        .context = context, .item = item, .counts = counts, .queries = item->queries};

    if (take_scratch(&b, scratch)) {
        load_queries(&b);
        rule_out_queries(&b);
        b.collected = collector->ops->begin(collector, item, scratch, b.limit);
    }
    if (b.collected == NULL) {
        collector->ops->fail(collector, item);
        return ENGRAM_ERR_RESOURCE;
    }
    enum engram_status status = engram_block_scan(&b);
    if (status != ENGRAM_OK) {
        collector->ops->fail(collector, item);
    }
    return status;
}
