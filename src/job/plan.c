#include "job/plan.h"

#include <inttypes.h>
#include <math.h>

#include "base/log.h"
#include "base/size.h"
#include "base/team.h"
#include "io/output.h"
#include "io/source.h"
#include "job/budget.h"
#include "job/parts.h"
#include "job/ranks.h"
#include "job/threads.h"
#include "kernels/kernels.h"
#include "search/filter.h"
#include "search/hits.h"

/* Pairs in memory, and blocks of a dense result: with less, runs are too many and writes too short;
 * with more than the second nothing gets faster. */
#define BLOCK_MIN ((uint64_t)8 << 20)
#define BLOCK_MOST ((uint64_t)64 << 20)

/* Code, tables of libraries and buffers of the writer; a thread's stack and arena. */
#define PROCESS_BYTES ((uint64_t)28 << 20)
#define THREAD_BYTES ((uint64_t)3 << 20)

/* An id, as long as most are, with all that reading it takes; engram_plan_check_ids looks again
 * when their lengths are known. */
#define ID_BYTES ((uint64_t)64)

size_t engram_plan_pair_bytes = 0;

static uint64_t set_rows(const struct engram_set_ref *set)
{
    return (uint64_t)(set->last - set->first);
}

/* A row's share of a filter's copy, norms and flags. */
static uint64_t packed_row_bytes(const struct engram_inputs *inputs, enum engram_filter filter,
                                 int64_t dim, const struct engram_kernels *kernels)
{
    const int64_t rows = ENGRAM_ROW_GRAIN;
    size_t bytes = 0;
    if (dim <= ENGRAM_DIM_MAX && filter == ENGRAM_FILTER_F32) {
        bytes = engram_f32_pack_bytes(kernels, inputs->metric, rows, dim);
    } else if (dim <= ENGRAM_DIM_MAX && filter == ENGRAM_FILTER_BITS) {
        bytes = engram_bit_pack_bytes(kernels, rows, dim);
    } else if (dim <= ENGRAM_DIM_MAX && filter == ENGRAM_FILTER_INT) {
        bytes = engram_int_pack_bytes(kernels, rows, dim);
    } else if (dim <= ENGRAM_DIM_MAX && filter == ENGRAM_FILTER_PREFIX) {
        bytes = engram_prefix_pack_bytes(kernels, rows, dim);
    }
    return bytes / (size_t)rows + sizeof(double) + 1;
}

/* Where a look at the data will choose between the integer filters and the float32 filter: what the
 * largest copy takes, or the smallest that is sure to do. */
static uint64_t most_packed(const struct engram_inputs *inputs, const struct engram_plan *plan,
                            const struct engram_kernels *kernels)
{
    uint64_t own = packed_row_bytes(inputs, plan->filter, plan->dim, kernels);
    uint64_t f32 = packed_row_bytes(inputs, ENGRAM_FILTER_F32, plan->dim, kernels);
    return plan->open_filter && plan->filter == ENGRAM_FILTER_INT && f32 > own ? f32 : own;
}

static uint64_t least_packed(const struct engram_inputs *inputs, const struct engram_plan *plan,
                             const struct engram_kernels *kernels)
{
    uint64_t own = packed_row_bytes(inputs, plan->filter, plan->dim, kernels);
    uint64_t prefix = packed_row_bytes(inputs, ENGRAM_FILTER_PREFIX, plan->dim, kernels);
    return plan->open_filter && plan->filter == ENGRAM_FILTER_INT && prefix > own ? prefix : own;
}

/* Answers that a search keeps of a query. */
static uint64_t kept(const struct engram_inputs *inputs, const struct engram_plan *plan)
{
    return (uint64_t)inputs->k < plan->base_rows ? (uint64_t)inputs->k : plan->base_rows;
}

bool engram_plan_spools(const struct engram_inputs *inputs)
{
    return inputs->answer == ENGRAM_ANSWER_PAIRS &&
           inputs->k >= inputs->base.last - inputs->base.first;
}

/* What differs where the answer is a value for every pair asked about: no filter, no packed copy,
 * and answers leave as soon as they are there (dense), or rows do (pairwise). */
static bool is_matrix(const struct engram_inputs *inputs)
{
    return inputs->answer == ENGRAM_ANSWER_DENSE || inputs->answer == ENGRAM_ANSWER_PAIRWISE;
}

/* Bytes of answers until they are written. */
static uint64_t answer_bytes(const struct engram_inputs *inputs, const struct engram_plan *plan)
{
    const uint64_t cell = inputs->float64 ? sizeof(double) : sizeof(float);
    switch (inputs->answer) {
    case ENGRAM_ANSWER_DENSE: /* none but the block's */
        return 0;
    case ENGRAM_ANSWER_PAIRWISE:
        return engram_saturating_mul(plan->query_rows, cell);
    case ENGRAM_ANSWER_COMPONENTS: /* a forest, the components, their sizes: of all rows */
        return engram_saturating_mul(plan->base_rows, 2 * sizeof(uint32_t) + sizeof(int64_t));
    default:
        if (engram_plan_spools(inputs)) {
            return engram_saturating_mul(plan->query_rows, 3 * sizeof(int64_t));
        }
        return engram_saturating_mul(
            plan->query_rows,
            engram_saturating_add(
                8, engram_saturating_mul(kept(inputs, plan), sizeof(struct engram_hit))));
    }
}

/* The least for answers on their way out. */
static uint64_t block_bytes(const struct engram_inputs *inputs)
{
    if (engram_plan_spools(inputs)) {
        return engram_plan_pair_bytes > 0 ? engram_plan_pair_bytes : BLOCK_MIN;
    }
    return is_matrix(inputs) ? BLOCK_MIN : 0;
}

/* What it takes to compress a dense result, after everything else. */
static uint64_t packing_bytes(const struct engram_inputs *inputs,
                              const struct engram_job_options *options,
                              const struct engram_plan *plan)
{
    const uint64_t cell = inputs->float64 ? sizeof(double) : sizeof(float);
    const uint64_t row = engram_saturating_mul(plan->base_rows, cell);
    if (inputs->answer != ENGRAM_ANSWER_DENSE || options->compress == 0) {
        return 0;
    }
    return engram_saturating_add(engram_output_packing_bytes(plan->query_rows, row, plan->threads),
                                 row > BLOCK_MIN ? row : BLOCK_MIN);
}

/* Bytes of a row of a set in memory. */
static uint64_t row_bytes(const struct engram_set_ref *set)
{
    return engram_row_bytes(engram_source_dtype(set->dataset), set->dataset->dims[1]);
}

static uint64_t chunk_rows(const struct engram_dataset_info *dataset)
{
    bool chunked = dataset->storage == ENGRAM_STORAGE_CHUNKED && dataset->chunk[0] > 1;
    return chunked ? (uint64_t)dataset->chunk[0] : 1;
}

/* The most that buffers for reading a set are of use for: what lies in the file as one run is read
 * to where it belongs, or by small blocks. */
static uint64_t reading_most(const struct engram_set_ref *set, uint64_t rows, int threads)
{
    const struct engram_dataset_info *dataset = set->dataset;
    if (dataset->storage == ENGRAM_STORAGE_CONTIGUOUS) {
        return engram_saturating_mul((uint64_t)threads + 1, (uint64_t)1 << 20);
    }
    return engram_saturating_mul(rows, row_bytes(set));
}

/* The least that reading a set takes: a few of its chunks, packed and unpacked. */
static uint64_t reading_bytes(const struct engram_set_ref *set)
{
    const struct engram_dataset_info *dataset = set->dataset;
    uint64_t bytes = (uint64_t)1 << 20;
    if (dataset->storage == ENGRAM_STORAGE_CHUNKED) {
        uint64_t chunk = engram_saturating_mul((uint64_t)dataset->chunk[0],
                                               dataset->rank > 1 ? (uint64_t)dataset->chunk[1] : 1);
        bytes = engram_saturating_add(bytes, engram_saturating_mul(chunk, 4 * sizeof(double)));
    }
    return bytes;
}

static uint64_t id_bytes(const struct engram_set_ref *set)
{
    return set->ids == NULL ? 0 : engram_saturating_mul((uint64_t)set->dataset->dims[0], ID_BYTES);
}

/* Tables with an entry for every so many rows: content hashes and parts of the answers. */
static uint64_t table_bytes(const struct engram_inputs *inputs, const struct engram_plan *plan)
{
    uint64_t grains = plan->base_rows / ENGRAM_ROW_GRAIN + plan->query_rows / ENGRAM_ROW_GRAIN;
    uint64_t parts = plan->query_rows / (uint64_t)engram_parts_rows(inputs->k);
    return engram_saturating_add(engram_saturating_mul(grains, sizeof(uint64_t) + 1),
                                 engram_saturating_mul(parts, sizeof(struct engram_part)));
}

static struct engram_demand demand_of(const struct engram_inputs *inputs,
                                      const struct engram_job_options *options,
                                      const struct engram_kernels *kernels,
                                      const struct engram_plan *plan)
{
    const bool pairwise = inputs->answer == ENGRAM_ANSWER_PAIRWISE;
    const bool shared = engram_inputs_shared(inputs);
    const bool keeps = inputs->answer == ENGRAM_ANSWER_KNN ||
                       inputs->answer == ENGRAM_ANSWER_LABELS ||
                       (inputs->answer == ENGRAM_ANSWER_PAIRS && !engram_plan_spools(inputs));
    struct engram_demand demand = {
        .fixed = PROCESS_BYTES + THREAD_BYTES * (uint64_t)plan->threads,
        .answers = answer_bytes(inputs, plan),
        .answers_least = answer_bytes(inputs, plan),
        .block = block_bytes(inputs),
        .block_most = engram_plan_spools(inputs) || is_matrix(inputs) ? BLOCK_MOST : 0,
        .packing = packing_bytes(inputs, options, plan),
        .reading = reading_bytes(&inputs->base),
        .stored =
            engram_saturating_add(reading_most(&inputs->base, plan->base_rows, plan->threads),
                                  reading_most(&inputs->queries, plan->query_rows, plan->threads)),
        .base_row = row_bytes(&inputs->base),
        .base_lean = row_bytes(&inputs->base),
        .ahead_row = row_bytes(&inputs->base),
        .base_chunk = chunk_rows(inputs->base.dataset),
        .query_row = row_bytes(&inputs->queries),
        .query_state =
            keeps ? engram_saturating_mul(kept(inputs, plan), 2 * sizeof(struct engram_hit))
                  : sizeof(struct engram_hit),
        .shared = shared,
    };
    if (keeps) {
        uint64_t least = engram_saturating_mul(ENGRAM_PARTS_LEAST,
                                               engram_parts_bytes(inputs->k, kept(inputs, plan)));
        demand.answers_least = least < demand.answers ? least : demand.answers;
        demand.answers_unit = (uint64_t)engram_parts_rows(inputs->k);
    }
    demand.fixed = engram_saturating_add(demand.fixed, engram_row_data_bytes(inputs));
    demand.fixed = engram_saturating_add(demand.fixed, table_bytes(inputs, plan));
    demand.ids = id_bytes(&inputs->base);
    if (!shared) {
        demand.reading = engram_saturating_add(demand.reading, reading_bytes(&inputs->queries));
        uint64_t ids = id_bytes(&inputs->queries);
        demand.ids = ids > demand.ids ? ids : demand.ids;
    }
    if (!pairwise) {
        demand.base_row =
            engram_saturating_add(demand.base_row, most_packed(inputs, plan, kernels));
        demand.base_lean =
            engram_saturating_add(demand.base_lean, least_packed(inputs, plan, kernels));
    }
    return demand;
}

static uint64_t times(uint64_t rows, uint64_t slab)
{
    return (rows + slab - 1) / slab;
}

uint64_t engram_plan_readings(const struct engram_plan *plan, bool base)
{
    const bool parts = plan->base_slab_rows != INT64_MAX && plan->query_slab_rows != INT64_MAX;
    if (!parts || base == plan->base_outer) {
        return 1;
    }
    return base ? times(plan->query_rows, (uint64_t)plan->query_slab_rows)
                : times(plan->base_rows, (uint64_t)plan->base_slab_rows);
}

/* Where neither set fits, one is read once and the other again and again. The cells of a dense
 * result can be written in any order, so it may be either: the one that reads less. */
static void choose_order(const struct engram_inputs *inputs, const struct engram_demand *demand,
                         struct engram_plan *plan)
{
    const uint64_t base_bytes = engram_saturating_mul(plan->base_rows, row_bytes(&inputs->base));
    const uint64_t query_bytes =
        engram_saturating_mul(plan->query_rows, row_bytes(&inputs->queries));
    if (inputs->answer != ENGRAM_ANSWER_DENSE || plan->base_slab_rows == INT64_MAX ||
        plan->query_slab_rows == INT64_MAX || demand->base_row == 0 || demand->query_row == 0) {
        return;
    }
    /* A quarter for the inner set, as the budget has it, and whole grains. */
    const uint64_t both = (uint64_t)plan->base_slab_rows * demand->base_row +
                          (uint64_t)plan->query_slab_rows * demand->query_row;
    uint64_t queries = both / 4 / demand->query_row / ENGRAM_ROW_GRAIN * ENGRAM_ROW_GRAIN;
    queries = queries > ENGRAM_ROW_GRAIN ? queries : ENGRAM_ROW_GRAIN;
    uint64_t taken = engram_saturating_mul(queries, demand->query_row);
    uint64_t base = taken < both ? (both - taken) / demand->base_row : 0;
    base = base / ENGRAM_ROW_GRAIN * ENGRAM_ROW_GRAIN;
    if (base == 0 || base >= plan->base_rows || queries >= plan->query_rows) {
        return;
    }
    uint64_t by_queries = engram_saturating_add(
        query_bytes, engram_saturating_mul(
                         base_bytes, times(plan->query_rows, (uint64_t)plan->query_slab_rows)));
    uint64_t by_base = engram_saturating_add(
        base_bytes, engram_saturating_mul(query_bytes, times(plan->base_rows, base)));
    if (by_base < by_queries) {
        plan->base_outer = true;
        plan->read_ahead = false;
        plan->base_slab_rows = (int64_t)base;
        plan->base_slab_least = (int64_t)base;
        plan->query_slab_rows = (int64_t)queries;
    }
}

/* Slabs, and what pairs may take of what they leave. */
static void divide(const struct engram_inputs *inputs, const struct engram_job_options *options,
                   const struct engram_kernels *kernels, struct engram_plan *plan)
{
    struct engram_demand demand = demand_of(inputs, options, kernels, plan);
    plan->rows_bytes = engram_saturating_mul(plan->base_rows, row_bytes(&inputs->base));
    if (!demand.shared) {
        plan->rows_bytes = engram_saturating_add(
            plan->rows_bytes, engram_saturating_mul(plan->query_rows, demand.query_row));
    }
    plan->packed_bytes =
        engram_saturating_mul(plan->base_rows, demand.base_row - row_bytes(&inputs->base));
    if (inputs->answer == ENGRAM_ANSWER_DENSE) {
        /* The block has room for one value of every row of the slab at least. */
        uint64_t cell = inputs->float64 ? sizeof(double) : sizeof(float);
        demand.base_row = engram_saturating_add(demand.base_row, cell);
        demand.base_lean = engram_saturating_add(demand.base_lean, cell);
    }
    engram_budget_divide(&demand, plan);
    choose_order(inputs, &demand, plan);
    plan->answer_bytes = engram_plan_spools(inputs)
                             ? 0
                             : engram_saturating_add(plan->answer_room, plan->block_bytes);
    plan->pair_bytes = engram_plan_pair_bytes > 0 ? engram_plan_pair_bytes : plan->block_bytes;
    if (engram_plan_pair_bytes == 0 && plan->need_bytes < plan->budget_bytes) {
        plan->pair_bytes += (size_t)((plan->budget_bytes - plan->need_bytes) / 2);
    }
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
    };
    /* Now, before anything starts a thread. */
    status = engram_team_prove(plan->threads, &options->log);
    if (status != ENGRAM_OK) {
        return status;
    }
    plan->filter = engram_filter_choose(options->filter, inputs->metric, (int64_t)plan->query_rows,
                                        (int64_t)plan->base_rows, plan->dim);
    plan->open_filter = options->filter == ENGRAM_FILTER_AUTO;
    if (is_matrix(inputs)) {
        plan->filter = ENGRAM_FILTER_CANONICAL;
    }
    plan->budget_bytes =
        options->memory > 0 ? options->memory : engram_budget_default(plan->threads);
    divide(inputs, options, kernels, plan);
    const bool pairwise = inputs->answer == ENGRAM_ANSWER_PAIRWISE;
    plan->pairs =
        pairwise ? plan->query_rows : engram_saturating_mul(plan->base_rows, plan->query_rows);
    plan->gflop = 2e-9 * (double)plan->pairs * (double)plan->dim;
    return ENGRAM_OK;
}

uint64_t engram_plan_part(uint64_t memory)
{
    const uint64_t taken = engram_ranks_bytes();
    if (engram_ranks_count() == 1) {
        return memory;
    }
    return memory > taken + 8 ? (memory - taken) / 8 * 7 : 1; /* 0 would be "as much as there is" */
}

/* In MiB, the --memory of which so much is left for the plan; rounded up. */
static double memory_for(uint64_t planned)
{
    const double part = engram_ranks_count() > 1 ? 7.0 / 8.0 : 1.0;
    return floor(((double)planned / part + (double)engram_ranks_bytes()) / 0x1p20) + 1;
}

enum engram_status engram_plan_check(const struct engram_plan *plan, const struct engram_log *log)
{
    if (plan->smallest_bytes > plan->budget_bytes || plan->smallest_bytes == UINT64_MAX) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE,
                           "%.0f MiB of memory are too little for this job; the smallest that "
                           "works is --memory %.0fM",
                           (double)plan->budget_bytes / 0x1p20, memory_for(plan->smallest_bytes));
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

enum engram_status engram_plan_check_ids(const struct engram_plan *plan, uint64_t bytes,
                                         const char *what, const struct engram_log *log)
{
    uint64_t need = engram_saturating_add(plan->kept_bytes, bytes);
    if (need <= plan->budget_bytes) {
        return ENGRAM_OK;
    }
    return engram_fail(log, ENGRAM_ERR_RESOURCE,
                       "%s: %.0f MiB of memory are too little for its ids; the smallest that works "
                       "is --memory %.0fM",
                       what, (double)plan->budget_bytes / 0x1p20, memory_for(need));
}
