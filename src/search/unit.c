#include "search/unit.h"

#include <inttypes.h>
#include <omp.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernels/bits.h"
#include "search/block.h"
#include "search/filter.h"
#include "search/pairs.h"
#include "search/team.h"

/* Queries of a block are a multiple of this in a canonical scan. */
#define CANONICAL_STRIP 2

/* Progress is reported at most this often. */
#define PROGRESS_NS ((uint64_t)100 * 1000 * 1000)

void (*engram_unit_loop_hook)(bool entering) = NULL;
size_t engram_unit_arena_limit = (size_t)-1;

enum engram_status engram_queries_check(const struct engram_prepared *prepared,
                                        const struct engram_query_rows *queries,
                                        const struct engram_request *request, int64_t *skipped)
{
    struct engram_bad_row bad = ENGRAM_BAD_ROW_NONE;
    const struct engram_set *set = &queries->set;
    int64_t not_finite = 0;
    int team;

    if (set->dim != (int64_t)prepared->dim) {
        return engram_fail(&request->log, ENGRAM_ERR_DATA,
                           "%s: %" PRId64 " dimensions, but the base has %zu", queries->what,
                           set->dim, prepared->dim);
    }
    enum engram_status status =
        engram_set_check_metric(set, queries->what, prepared->metric, &request->log);
    if (status == ENGRAM_OK) {
        status = engram_team_size(request->threads, &request->log, &team);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
#pragma omp parallel num_threads(team) reduction(+ : not_finite)
    {
        struct engram_bad_row mine = ENGRAM_BAD_ROW_NONE;
#pragma omp for schedule(static)
        for (int64_t r = 0; r < set->rows; r++) {
            struct engram_row_look look =
                engram_row_look(set->dtype, engram_set_row(set, r), prepared->dim);
            engram_bad_row_note(&mine, &look, prepared->metric, r);
            not_finite += !look.finite;
        }
#pragma omp critical(engram_queries_check)
        engram_bad_row_join(&bad, &mine);
    }
    *skipped += not_finite;
    return engram_bad_row_status(&bad, queries->what, queries->first_row, prepared->metric,
                                 &request->log);
}

/* What the threads of a round share. */
struct round {
    struct engram_block_context context;
    struct engram_collector *collector;
    size_t arena_size;
    int team;
    int status; /* atomic; the first failure */
    uint64_t pairs_done;
    uint64_t next_progress;
    struct engram_search_stats *stats;
};

static void fail_round(struct round *round, enum engram_status status)
{
    int none = ENGRAM_OK;
    (void)__atomic_compare_exchange_n(&round->status, &none, (int)status, false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED);
}

static struct engram_item item_at(const struct engram_collector *collector, int64_t index)
{
    const struct engram_tiling *tiling = &collector->tiling;
    struct engram_item item = {
        .index = index, .block = index % tiling->blocks, .segment = index / tiling->blocks};
    item.first_query = item.block * (int64_t)tiling->block_queries;
    int64_t left = collector->queries - item.first_query;
    item.queries = left < (int64_t)tiling->block_queries ? (size_t)left : tiling->block_queries;
    int64_t first = item.segment * tiling->segment_rows;
    int64_t last = first + tiling->segment_rows;
    last = last < collector->base_rows ? last : collector->base_rows;
    item.first_row = collector->first_row + first;
    item.last_row = collector->first_row + last;
    return item;
}

/* The calling thread, which OpenMP numbers 0, tells the caller how far we are. */
static void tell_progress(struct round *round)
{
    const struct engram_request *request = round->context.request;
    if (request->progress == NULL || omp_get_thread_num() != 0) {
        return;
    }
    uint64_t now = engram_clock_ns();
    if (now >= round->next_progress) {
        round->next_progress = now + PROGRESS_NS;
        /* Items whose answers did not fit are done again in the next round, and counted again. */
        uint64_t done = __atomic_load_n(&round->pairs_done, __ATOMIC_RELAXED);
        uint64_t total = round->context.pairs_total;
        request->progress(request->progress_context, done < total ? done : total, total);
    }
}

static void add_stats(struct engram_search_stats *stats, const struct engram_block_counts *counts,
                      const uint64_t served[ENGRAM_SCRATCH_LEVELS],
                      const struct engram_arena *arena)
{
    size_t high_water = engram_arena_high_water(arena);
    stats->pairs += counts->pairs;
    stats->rescored += counts->rescored;
    stats->canonical += counts->canonical;
    for (int level = 0; level < ENGRAM_SCRATCH_LEVELS; level++) {
        stats->scratch[level] += served[level];
    }
    if (high_water > stats->arena_high_water) {
        stats->arena_high_water = high_water;
    }
}

/* One pass over the items that the collector wants. */
static void run_round(struct round *round)
{
    const int64_t first = round->collector->first_item;
    const int64_t last = round->collector->last_item;
#pragma omp parallel num_threads(round->team)
    {
        fenv_t saved;
        struct engram_arena arena;
        struct engram_block_counts counts = {0};
        uint64_t served[ENGRAM_SCRATCH_LEVELS] = {0};
        engram_fp_enter(&saved);
        if (engram_arena_create(&arena, round->arena_size) != ENGRAM_OK) {
            fail_round(round, ENGRAM_ERR_RESOURCE);
        }
        if (omp_get_thread_num() == 0) {
            round->stats->threads = omp_get_num_threads(); /* may be fewer than asked for */
        }
        if (engram_unit_loop_hook != NULL) {
            engram_unit_loop_hook(true);
        }
#pragma omp for schedule(dynamic) nowait
        for (int64_t i = first; i < last; i++) {
            struct engram_item item = item_at(round->collector, i);
            if (__atomic_load_n(&round->status, __ATOMIC_RELAXED) != ENGRAM_OK ||
                !round->collector->ops->wants(round->collector, &item)) {
                continue;
            }
            ENGRAM_SCRATCH_SCOPE(scratch, &arena, NULL, 0);
            enum engram_status status = engram_block_run(&round->context, &item, &scratch, &counts);
            engram_scratch_count(&scratch, served);
            if (status != ENGRAM_OK) {
                fail_round(round, status);
            }
            tell_progress(round);
        }
        if (engram_unit_loop_hook != NULL) {
            engram_unit_loop_hook(false);
        }
#pragma omp critical(engram_unit_stats)
        add_stats(round->stats, &counts, served, &arena);
        engram_arena_destroy(&arena);
        engram_fp_leave(&saved);
    }
}

static enum engram_status run_rounds(struct round *round)
{
    bool again = true;
    enum engram_status status = ENGRAM_OK;
    while (status == ENGRAM_OK && again) {
        run_round(round);
        status = (enum engram_status)round->status;
        if (status == ENGRAM_OK && engram_request_cancelled(round->context.request)) {
            status = ENGRAM_ERR_CANCELLED; /* raised while the last items ran */
        }
        if (status == ENGRAM_ERR_RESOURCE) {
            return engram_fail(&round->context.request->log, status,
                               "not enough scratch memory for the search (%zu bytes a thread)",
                               round->arena_size);
        }
        if (status == ENGRAM_OK) {
            status = round->collector->ops->again(round->collector, &again);
        }
    }
    return status;
}

/* The collector and tiling of a unit are made; runs it. */
static enum engram_status run_unit(struct round *round, struct engram_partial *out)
{
    const struct engram_prepared *prepared = round->context.prepared;
    struct engram_collector *collector = round->collector;
    const struct engram_filter_ops *filter = round->context.filter;
    struct engram_tiling_input input = {
        .queries = collector->queries,
        .rows = collector->base_rows,
        .dim = engram_metric_of_bits(prepared->metric) ? engram_bits_words(prepared->dim)
                                                       : prepared->dim,
        .row_bytes = filter == NULL ? 0 : filter->row_bytes(prepared),
        .strip = filter == NULL ? CANONICAL_STRIP : filter->strip_queries(prepared),
        .panel = filter == NULL ? 1 : filter->panel_rows(prepared),
        .kept = collector->ops->kept(collector),
        .threads = round->team,
    };
    collector->tiling = engram_tiling_make(&input);
    collector->last_item = collector->tiling.blocks * collector->tiling.segments;
    collector->threads = round->team;
    round->arena_size = engram_block_scratch_size(&round->context);
    if (round->arena_size > engram_unit_arena_limit) {
        round->arena_size = engram_unit_arena_limit;
    }
    enum engram_status status = collector->ops->open(collector);
    if (status == ENGRAM_OK) {
        status = run_rounds(round);
    }
    if (status == ENGRAM_OK) {
        status = collector->ops->gather(collector, out);
    }
    collector->ops->close(collector);
    return status;
}

/* Whether queries and base are not only called the same rows (self) but are the same memory, and
 * every row may be an answer to the rows it answers. */
static bool is_symmetric(const struct engram_prepared *prepared, int64_t base_first_row,
                         const struct engram_query_rows *queries, int64_t first, int64_t last,
                         const struct engram_request *request)
{
    return request->self && request->rows[1] == 0 && first == 0 && last == queries->set.rows &&
           last == prepared->rows && queries->first_row == base_first_row &&
           prepared->owned == NULL && queries->set.data == (const void *)prepared->view.data &&
           queries->set.dtype == engram_prepared_dtype(prepared) &&
           queries->set.stride == prepared->view.stride && !prepared->masked &&
           request->base_groups == request->query_groups;
}

/* What all collectors of a unit share. */
static void set_common(struct engram_collector *collector, const struct engram_prepared *prepared,
                       int64_t base_first_row, const struct engram_query_rows *queries,
                       int64_t first, int64_t last, const struct engram_request *request)
{
    collector->request = request;
    collector->order = engram_metric_order(request->metric);
    collector->queries = last - first;
    collector->first_query = queries->first_row + first;
    collector->base_first_row = base_first_row;
    collector->base_rows = prepared->rows;
    if (request->rows[1] > 0) {
        int64_t end = request->rows[1] < prepared->rows ? request->rows[1] : prepared->rows;
        collector->first_row = request->rows[0];
        collector->base_rows = end > request->rows[0] ? end - request->rows[0] : 0;
    }
}

/* Answers count for both sides: which rows are on both. */
static void set_symmetric(struct engram_collector *collector)
{
    int64_t first = collector->base_first_row + collector->first_row;
    int64_t last = first + collector->base_rows;
    int64_t end = collector->first_query + collector->queries;
    collector->symmetric = true;
    collector->both[0] = first > collector->first_query ? first : collector->first_query;
    collector->both[1] = last < end ? last : end;
    if (collector->both[1] < collector->both[0]) {
        collector->both[1] = collector->both[0];
    }
}

/* Pairs that are answered, those of the other side included. */
static uint64_t pairs_of(const struct engram_collector *collector)
{
    uint64_t pairs = (uint64_t)collector->queries * (uint64_t)collector->base_rows;
    uint64_t both = (uint64_t)(collector->both[1] - collector->both[0]);
    return collector->symmetric ? 2 * pairs - both * both : pairs;
}

/* Queries [first, ..) of `queries` past the prepared set into the collector, which is complete but
 * for its tiling. */
static enum engram_status collect(const struct engram_prepared *prepared,
                                  const struct engram_query_rows *queries, int64_t first,
                                  struct engram_collector *collector, struct engram_partial *out,
                                  struct engram_search_stats *stats)
{
    const struct engram_request *request = collector->request;
    enum engram_filter filter = engram_prepared_filter(prepared, request->filter);
    struct round round = {
        .context = {.prepared = prepared,
                    .queries = queries,
                    .request = request,
                    .collector = collector,
                    .filter = engram_filter_ops(filter),
                    .first_query = first,
                    .base_first_row = collector->base_first_row,
                    .pairs_total = pairs_of(collector)},
        .collector = collector,
        .status = ENGRAM_OK,
        .stats = stats,
    };
    round.context.pairs_done = &round.pairs_done;
    enum engram_status status = engram_team_size(request->threads, &request->log, &round.team);
    if (status != ENGRAM_OK) {
        return status;
    }
    stats->isa = prepared->kernels->name;
    stats->filter = filter;
    stats->choice = prepared->choice;
    fenv_t saved;
    engram_fp_enter(&saved);
    status = run_unit(&round, out);
    engram_fp_leave(&saved);
    return status;
}

static enum engram_status cannot_mirror(const struct engram_request *request)
{
    return engram_fail(&request->log, ENGRAM_ERR_USAGE,
                       "only all pairs of a set with itself count for both sides");
}

enum engram_status engram_unit_search(const struct engram_prepared *prepared,
                                      int64_t base_first_row,
                                      const struct engram_query_rows *queries, int64_t first,
                                      int64_t last, const struct engram_request *request,
                                      const struct engram_partial *known,
                                      struct engram_partial *out, struct engram_search_stats *stats)
{
    /* A k that cannot cut anything off, with a limit that will: slots for k answers of every query
     * would be memory for nothing. */
    bool limited = request->max_key < INFINITY || request->min_score > -INFINITY;
    struct engram_topk topk = {.common.ops = &engram_topk_ops};
    struct engram_pair_collector pairs = {.common.ops = &engram_pair_ops};

    *out = (struct engram_partial){0};
    set_common(&topk.common, prepared, base_first_row, queries, first, last, request);
    topk.common.known = known;
    if (request->k != INT64_MAX && request->spill == NULL &&
        !(limited && request->k >= topk.common.base_rows)) {
        engram_topk_init(&topk);
        return request->mirror ? cannot_mirror(request)
                               : collect(prepared, queries, first, &topk.common, out, stats);
    }
    set_common(&pairs.common, prepared, base_first_row, queries, first, last, request);
    if (request->mirror || is_symmetric(prepared, base_first_row, queries, first, last, request)) {
        set_symmetric(&pairs.common);
    }
    if (request->mirror && (!request->self || prepared->masked ||
                            engram_pairs_lists(&pairs.common).count > INT32_MAX)) {
        return cannot_mirror(request);
    }
    return collect(prepared, queries, first, &pairs.common, out, stats);
}

enum engram_status engram_unit_components(const struct engram_prepared *prepared,
                                          int64_t base_first_row,
                                          const struct engram_query_rows *queries, int64_t first,
                                          int64_t last, const struct engram_request *request,
                                          struct engram_forest *forest,
                                          struct engram_search_stats *stats)
{
    struct engram_component_collector components = {
        .common = {.ops = &engram_component_ops},
        .parents = forest->parents,
        .queries = (uint32_t)(queries->first_row + first - forest->first_row),
        .base = (uint32_t)(base_first_row - forest->first_row)};
    set_common(&components.common, prepared, base_first_row, queries, first, last, request);
    /* An edge has no direction: no pair need be looked at from both sides. */
    set_symmetric(&components.common);
    return collect(prepared, queries, first, &components.common, NULL, stats);
}

enum engram_status engram_unit_dense(const struct engram_prepared *prepared,
                                     const struct engram_query_rows *queries, int64_t first,
                                     int64_t last, const struct engram_request *request,
                                     const struct engram_values *values,
                                     struct engram_search_stats *stats)
{
    struct engram_request all = *request;
    all.max_key = (double)INFINITY;
    all.min_score = -(double)INFINITY;
    all.self = false;
    all.filter = ENGRAM_FILTER_CANONICAL;
    struct engram_dense_collector dense = {.common = {.ops = &engram_dense_ops}, .values = *values};
    set_common(&dense.common, prepared, 0, queries, first, last, &all);
    return collect(prepared, queries, first, &dense.common, NULL, stats);
}
