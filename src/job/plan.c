#include "job/plan.h"

#include <inttypes.h>

#include "base/log.h"
#include "base/size.h"
#include "base/team.h"
#include "io/memory.h"
#include "io/source.h"
#include "job/publish.h"
#include "job/threads.h"
#include "kernels/kernels.h"
#include "search/filter.h"
#include "search/hits.h"

/* Less would make runs too many and too short. */
#define PAIR_BYTES_MIN ((size_t)64 << 20)

size_t engram_plan_pair_bytes = 0;

static uint64_t set_rows(const struct engram_set_ref *set)
{
    return (uint64_t)(set->last - set->first);
}

static uint64_t set_bytes(const struct engram_set_ref *set)
{
    return engram_saturating_mul(
        set_rows(set), engram_row_bytes(engram_source_dtype(set->dataset), set->dataset->dims[1]));
}

/* The filter's copy, norms and flags; a base that no search takes is not packed. */
static uint64_t packed_bytes(const struct engram_plan *plan, const struct engram_kernels *kernels,
                             enum engram_metric metric)
{
    int64_t rows = (int64_t)plan->base_rows;
    uint64_t bytes = engram_saturating_add(engram_saturating_mul(plan->base_rows, sizeof(double)),
                                           plan->base_rows / 8);
    if (rows > ENGRAM_ROWS_MAX || plan->dim > ENGRAM_DIM_MAX) {
        return bytes;
    }
    if (plan->filter == ENGRAM_FILTER_BITS) {
        return engram_saturating_add(bytes, engram_bit_pack_bytes(kernels, rows, plan->dim));
    }
    if (plan->filter == ENGRAM_FILTER_F32) {
        return engram_saturating_add(bytes,
                                     engram_f32_pack_bytes(kernels, metric, rows, plan->dim));
    }
    if (plan->filter == ENGRAM_FILTER_INT) {
        return engram_saturating_add(bytes, engram_int_pack_bytes(kernels, rows, plan->dim));
    }
    if (plan->filter == ENGRAM_FILTER_PREFIX) {
        return engram_saturating_add(bytes, engram_prefix_pack_bytes(kernels, rows, plan->dim));
    }
    return bytes;
}

/* Slots during the search, then the partial: at most two copies at a time. */
static uint64_t answer_bytes(const struct engram_plan *plan, int64_t k)
{
    uint64_t kept = (uint64_t)k < plan->base_rows ? (uint64_t)k : plan->base_rows;
    return engram_saturating_mul(engram_saturating_mul(plan->query_rows, kept),
                                 2 * sizeof(struct engram_hit));
}

bool engram_plan_spools(const struct engram_inputs *inputs)
{
    return inputs->answer == ENGRAM_ANSWER_PAIRS &&
           inputs->k >= inputs->base.last - inputs->base.first;
}

/* Half of what is left: the other half is for what the plan does not know. */
static size_t pair_bytes(const struct engram_plan *plan)
{
    size_t available = engram_memory_available();
    size_t left = plan->need_bytes < available ? available - (size_t)plan->need_bytes : 0;
    if (engram_plan_pair_bytes > 0) {
        return engram_plan_pair_bytes;
    }
    return left / 2 > PAIR_BYTES_MIN ? left / 2 : PAIR_BYTES_MIN;
}

/* Bytes of a side that a pairwise job has in memory at a time; at least a grain of rows. */
#define PAIRWISE_BYTES ((uint64_t)32 << 20)

/* What differs where the answer is a value for every pair asked about: no filter, no packed copy,
 * and answers leave as soon as they are there (dense), or rows do (pairwise). */
static void plan_matrix(const struct engram_inputs *inputs, struct engram_plan *plan)
{
    const bool dense = inputs->answer == ENGRAM_ANSWER_DENSE;
    const uint64_t cell = inputs->float64 ? sizeof(double) : sizeof(float);
    const int64_t width = dense ? (int64_t)plan->base_rows : 1;
    const uint64_t block =
        (uint64_t)engram_matrix_block_rows((int64_t)plan->query_rows, width, inputs->float64);
    const uint64_t row =
        set_rows(&inputs->base) > 0 ? set_bytes(&inputs->base) / plan->base_rows : 0;

    plan->filter = ENGRAM_FILTER_CANONICAL;
    plan->answer_bytes = engram_saturating_mul(engram_saturating_mul(block, (uint64_t)width), cell);
    if (dense) {
        return;
    }
    plan->base_slab_rows = row > 0 && PAIRWISE_BYTES / row > ENGRAM_ROW_GRAIN
                               ? (int64_t)(PAIRWISE_BYTES / row)
                               : ENGRAM_ROW_GRAIN;
    uint64_t slab = engram_saturating_mul(row, (uint64_t)plan->base_slab_rows);
    plan->rows_bytes = plan->rows_bytes / 2 < slab ? plan->rows_bytes : 2 * slab;
    plan->answer_bytes =
        engram_saturating_add(plan->answer_bytes, engram_saturating_mul(plan->query_rows, cell));
}

enum engram_status engram_plan_make(const struct engram_inputs *inputs,
                                    const struct engram_job_options *options,
                                    struct engram_plan *plan)
{
    const struct engram_kernels *kernels;
    enum engram_status status = engram_filter_check(options->filter, inputs->metric, &options->log);
    if (status == ENGRAM_OK) {
        status = engram_kernels_select(options->isa, &options->log, &kernels);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    *plan = (struct engram_plan){
        .base_rows = set_rows(&inputs->base),
        .query_rows = set_rows(&inputs->queries),
        .dim = inputs->base.dataset->dims[1],
        .threads = options->threads > 0 ? options->threads : engram_threads_default(),
        .isa = kernels->name,
        .base_slab_rows = INT64_MAX,
        .rows_bytes = set_bytes(&inputs->base),
    };
    /* Now, before anything starts a thread. */
    status = engram_team_prove(plan->threads, &options->log);
    if (status != ENGRAM_OK) {
        return status;
    }
    plan->filter = engram_filter_choose(options->filter, inputs->metric, (int64_t)plan->query_rows,
                                        (int64_t)plan->base_rows, plan->dim);
    bool shared = inputs->self && inputs->base.first == inputs->queries.first &&
                  inputs->base.last == inputs->queries.last;
    if (!shared) {
        plan->rows_bytes = engram_saturating_add(plan->rows_bytes, set_bytes(&inputs->queries));
    }
    plan->rows_bytes = engram_saturating_add(plan->rows_bytes, engram_row_data_bytes(inputs));
    plan->answer_bytes = engram_plan_spools(inputs) ? 0 : answer_bytes(plan, inputs->k);
    if (inputs->answer == ENGRAM_ANSWER_COMPONENTS) { /* of every row its group, and a forest */
        plan->answer_bytes =
            engram_saturating_mul(plan->base_rows, sizeof(int64_t) + sizeof(uint32_t));
    }
    const bool pairwise = inputs->answer == ENGRAM_ANSWER_PAIRWISE;
    if (pairwise || inputs->answer == ENGRAM_ANSWER_DENSE) {
        plan_matrix(inputs, plan);
    }
    plan->packed_bytes = pairwise ? 0 : packed_bytes(plan, kernels, inputs->metric);
    plan->need_bytes = engram_saturating_add(
        plan->rows_bytes, engram_saturating_add(plan->packed_bytes, plan->answer_bytes));
    plan->pair_bytes = pair_bytes(plan);
    plan->pairs =
        pairwise ? plan->query_rows : engram_saturating_mul(plan->base_rows, plan->query_rows);
    plan->gflop = 2e-9 * (double)plan->pairs * (double)plan->dim;
    return ENGRAM_OK;
}

enum engram_status engram_plan_check(const struct engram_plan *plan, const struct engram_log *log)
{
    size_t available = engram_memory_available();
    if (plan->need_bytes > available || plan->need_bytes == UINT64_MAX) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE,
                           "the job needs %s%.1f GiB of memory (rows %.1f, packed copy %.1f, "
                           "answers %.1f), but %.1f GiB can be had; take fewer rows (--base-rows, "
                           "--query-rows)",
                           plan->need_bytes == UINT64_MAX ? "more than " : "",
                           (double)plan->need_bytes / 0x1p30, (double)plan->rows_bytes / 0x1p30,
                           (double)plan->packed_bytes / 0x1p30, (double)plan->answer_bytes / 0x1p30,
                           (double)available / 0x1p30);
    }
    uint64_t at_once = plan->base_rows < (uint64_t)plan->base_slab_rows
                           ? plan->base_rows
                           : (uint64_t)plan->base_slab_rows;
    if (at_once > (uint64_t)ENGRAM_ROWS_MAX || plan->dim > ENGRAM_DIM_MAX) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE,
                           "%" PRIu64 " base rows x %" PRId64 " dimensions are more than one "
                           "search takes (%" PRId64 " x %" PRId64 "); take fewer (--base-rows)",
                           plan->base_rows, plan->dim, ENGRAM_ROWS_MAX, ENGRAM_DIM_MAX);
    }
    return ENGRAM_OK;
}
