/* Row i against row i: little work for much data, so all that counts is to look at each row once.
 */
#include <inttypes.h>
#include <omp.h>

#include "base/log.h"
#include "engram/arena.h"
#include "kernels/bits.h"
#include "search/team.h"
#include "search/unit.h"

/* Rows of an item, as far as both sides of it, widened, stay in a cache. */
#define ITEM_ROWS ((size_t)64)
#define ITEM_BYTES ((size_t)256 << 10)

/* What the threads share. */
struct pairwise {
    const struct engram_kernels *kernels;
    const struct engram_query_rows *sides[2];
    const struct engram_request *request;
    const struct engram_values *values;
    size_t dim;
    size_t stride; /* doubles, or words of bits, from one row to the next */
    size_t item_rows;
};

/* Rows of one side, widened; bits: in words, in the same place. */
struct wide_side {
    double *rows;
    double *self_products;
    bool *usable;
};

/* A thread's own. */
struct pairwise_counts {
    struct engram_bad_row bad[2];
    int64_t skipped[2];
    uint64_t served[ENGRAM_SCRATCH_LEVELS];
    enum engram_status status;
};

static size_t scratch_size(const struct pairwise *p)
{
    size_t side = p->item_rows * (p->stride * sizeof(double) + sizeof(double) + sizeof(bool));
    return 2 * side + p->item_rows * (sizeof(struct engram_candidate) + sizeof(double)) +
           16 * ENGRAM_ARENA_ALIGN;
}

static void load_bits(const struct pairwise *p, const unsigned char *row, size_t i,
                      const struct wide_side *side)
{
    uint64_t *words = (uint64_t *)(void *)side->rows + i * p->stride;
    engram_bits_load(row, p->dim, words);
    side->usable[i] = true;
    side->self_products[i] = (double)p->dim;
    if (p->request->metric == ENGRAM_JACCARD) {
        const struct engram_bit_rows one = {words, 0};
        const struct engram_base_rows self = {row, 0};
        p->kernels->bits_tile[ENGRAM_BIT_COMMON](&one, 1, &self, 1, p->dim,
                                                 &side->self_products[i]);
    }
}

/* Widens, looks at and scales rows [first, first + count) of a side. */
static void load_side(const struct pairwise *p, int s, int64_t first, size_t count,
                      const struct wide_side *side, struct pairwise_counts *counts)
{
    const struct engram_set *set = &p->sides[s]->set;
    for (size_t i = 0; i < count; i++) {
        double *wide = side->rows + i * p->stride;
        const void *row = engram_set_row(set, first + (int64_t)i);
        if (set->dtype == ENGRAM_BITS) {
            load_bits(p, row, i, side);
            continue;
        }
        struct engram_row_look look = engram_row_look(set->dtype, row, p->dim);
        engram_bad_row_note(&counts->bad[s], &look, p->request->metric, first + (int64_t)i);
        counts->skipped[s] += !look.finite;
        side->usable[i] = look.finite;
        side->self_products[i] = 0;
        engram_row_widen(set->dtype, row, p->dim, wide);
        if (look.finite && p->request->metric == ENGRAM_COSINE) {
            const struct engram_wide_rows one = {wide, p->stride};
            const struct engram_base_rows self = {(const unsigned char *)wide, 0};
            engram_row_scale_cosine(wide, p->dim, look.largest);
            p->kernels->canonical_tile[ENGRAM_OP_DOT][ENGRAM_WORK_F64](&one, 1, &self, 1, p->dim,
                                                                       &side->self_products[i]);
        }
    }
}

static bool take_side(const struct pairwise *p, struct engram_scratch *scratch,
                      struct wide_side *side)
{
    side->rows = ENGRAM_SCRATCH_NEW(scratch, double, p->item_rows * p->stride);
    side->self_products = ENGRAM_SCRATCH_NEW(scratch, double, p->item_rows);
    side->usable = ENGRAM_SCRATCH_NEW(scratch, bool, p->item_rows);
    return side->rows != NULL && side->self_products != NULL && side->usable != NULL;
}

/* Canonical sums, or counts of bits: 64 elements to a word, so a row of words is a row of bits. */
static void sum_pairs(const struct pairwise *p, const struct wide_side sides[2],
                      const struct engram_candidate *pairs, size_t count, double *sums)
{
    enum engram_metric metric = p->request->metric;
    const struct engram_base_rows right = {(const unsigned char *)sides[1].rows,
                                           p->stride * sizeof(double)};
    if (engram_metric_of_bits(metric)) {
        const struct engram_bit_rows left = {(const uint64_t *)(void *)sides[0].rows, p->stride};
        p->kernels->bits_pairs[engram_metric_bit_op(metric)](&left, &right, p->dim, pairs, count,
                                                             sums);
        return;
    }
    const struct engram_wide_rows left = {sides[0].rows, p->stride};
    p->kernels->canonical_pairs[engram_metric_op(metric)][ENGRAM_WORK_F64](&left, &right, p->dim,
                                                                           pairs, count, sums);
}

/* Rows [first, first + count). */
static enum engram_status run_item(const struct pairwise *p, int64_t first, size_t count,
                                   struct engram_scratch *scratch, struct pairwise_counts *counts)
{
    enum engram_metric metric = p->request->metric;
    struct wide_side sides[2];
    bool good = take_side(p, scratch, &sides[0]) && take_side(p, scratch, &sides[1]);
    struct engram_candidate *pairs =
        ENGRAM_SCRATCH_NEW(scratch, struct engram_candidate, p->item_rows);
    double *scores = ENGRAM_SCRATCH_NEW(scratch, double, p->item_rows);
    if (!good || pairs == NULL || scores == NULL) {
        return ENGRAM_ERR_RESOURCE;
    }
    for (int s = 0; s < 2; s++) {
        load_side(p, s, first, count, &sides[s], counts);
    }
    for (size_t i = 0; i < count; i++) {
        pairs[i] = (struct engram_candidate){(uint32_t)i, (uint32_t)i};
    }
    sum_pairs(p, sides, pairs, count, scores);
    for (size_t i = 0; i < count; i++) {
        bool both = sides[0].usable[i] && sides[1].usable[i];
        scores[i] = both ? engram_score(metric, scores[i], sides[0].self_products[i],
                                        sides[1].self_products[i])
                         : (double)NAN;
    }
    engram_values_put(p->values, engram_metric_order(metric), (size_t)first, count, scores);
    return ENGRAM_OK;
}

static void join_counts(struct pairwise_counts *into, const struct pairwise_counts *from)
{
    for (int s = 0; s < 2; s++) {
        engram_bad_row_join(&into->bad[s], &from->bad[s]);
        into->skipped[s] += from->skipped[s];
    }
    for (int level = 0; level < ENGRAM_SCRATCH_LEVELS; level++) {
        into->served[level] += from->served[level];
    }
    into->status = into->status != ENGRAM_OK ? into->status : from->status;
}

/* All rows on `team` threads. */
static void run_items(const struct pairwise *p, int team, struct pairwise_counts *all,
                      struct engram_search_stats *stats)
{
    const int64_t rows = p->sides[0]->set.rows;
    const int64_t step = (int64_t)p->item_rows;
#pragma omp parallel num_threads(team)
    {
        fenv_t saved;
        struct engram_arena arena;
        struct pairwise_counts mine = {.bad = {ENGRAM_BAD_ROW_NONE, ENGRAM_BAD_ROW_NONE}};
        engram_fp_enter(&saved);
        mine.status = engram_arena_create(&arena, scratch_size(p));
        if (engram_unit_loop_hook != NULL) {
            engram_unit_loop_hook(true);
        }
#pragma omp for schedule(dynamic, 16) nowait
        for (int64_t first = 0; first < rows; first += step) {
            if (mine.status != ENGRAM_OK || engram_request_cancelled(p->request)) {
                continue;
            }
            ENGRAM_SCRATCH_SCOPE(scratch, &arena, NULL, 0);
            size_t count = (size_t)(rows - first < step ? rows - first : step);
            mine.status = run_item(p, first, count, &scratch, &mine);
            engram_scratch_count(&scratch, mine.served);
        }
        if (engram_unit_loop_hook != NULL) {
            engram_unit_loop_hook(false);
        }
#pragma omp critical(engram_pairwise)
        {
            join_counts(all, &mine);
            size_t high_water = engram_arena_high_water(&arena);
            stats->arena_high_water =
                high_water > stats->arena_high_water ? high_water : stats->arena_high_water;
            stats->threads = omp_get_num_threads();
        }
        engram_arena_destroy(&arena);
        engram_fp_leave(&saved);
    }
}

/* What the rows had to say, left side first. */
static enum engram_status conclude(const struct pairwise *p, const struct pairwise_counts *all)
{
    const struct engram_log *log = &p->request->log;
    if (engram_request_cancelled(p->request)) {
        return ENGRAM_ERR_CANCELLED;
    }
    if (all->status == ENGRAM_ERR_RESOURCE) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE,
                           "not enough scratch memory for the search (%zu bytes a thread)",
                           scratch_size(p));
    }
    enum engram_status status = all->status;
    for (int s = 0; s < 2 && status == ENGRAM_OK; s++) {
        status = engram_bad_row_status(&all->bad[s], p->sides[s]->what, p->sides[s]->first_row,
                                       p->request->metric, log);
    }
    return status;
}

enum engram_status engram_unit_pairwise(const struct engram_kernels *kernels,
                                        const struct engram_query_rows *left,
                                        const struct engram_query_rows *right,
                                        const struct engram_request *request,
                                        const struct engram_values *values,
                                        struct engram_search_stats *stats)
{
    int team;
    if (left->set.dim != right->set.dim) {
        return engram_fail(&request->log, ENGRAM_ERR_DATA,
                           "%s: %" PRId64 " dimensions, but %s has %" PRId64, left->what,
                           left->set.dim, right->what, right->set.dim);
    }
    struct pairwise p = {.kernels = kernels,
                         .sides = {left, right},
                         .request = request,
                         .values = values,
                         .dim = (size_t)left->set.dim};
    p.stride = engram_metric_of_bits(request->metric) ? engram_bits_words(p.dim)
                                                      : (p.dim + 7) & ~(size_t)7;
    size_t fitting = ITEM_BYTES / (2 * sizeof(double) * (p.stride > 0 ? p.stride : 1));
    p.item_rows = fitting < 4 ? 4 : fitting > ITEM_ROWS ? ITEM_ROWS : fitting;
    enum engram_status status = engram_team_size(request->threads, &request->log, &team);
    if (status != ENGRAM_OK) {
        return status;
    }
    struct pairwise_counts all = {.bad = {ENGRAM_BAD_ROW_NONE, ENGRAM_BAD_ROW_NONE}};
    run_items(&p, team, &all, stats);
    stats->isa = kernels->name;
    stats->filter = ENGRAM_FILTER_CANONICAL;
    stats->pairs += (uint64_t)left->set.rows;
    stats->canonical += (uint64_t)left->set.rows;
    stats->skipped_queries += all.skipped[0];
    stats->skipped_base += all.skipped[1];
    for (int level = 0; level < ENGRAM_SCRATCH_LEVELS; level++) {
        stats->scratch[level] += all.served[level];
    }
    return conclude(&p, &all);
}
