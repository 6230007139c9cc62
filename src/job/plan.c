#include "job/plan.h"

#include "base/log.h"
#include "io/memory.h"
#include "io/source.h"
#include "job/threads.h"
#include "kernels/kernels.h"
#include "search/filter.h"
#include "search/hits.h"

static uint64_t set_rows(const struct engram_set_ref *set)
{
    return (uint64_t)(set->last - set->first);
}

static uint64_t set_bytes(const struct engram_set_ref *set)
{
    /* Rows and dimensions are bounded by what engram_inputs_resolve accepts: no overflow. */
    return set_rows(set) * (uint64_t)set->dataset->dims[1] *
           engram_dtype_size(engram_source_dtype(set->dataset));
}

enum engram_status engram_plan_make(const struct engram_inputs *inputs,
                                    const struct engram_job_options *options,
                                    struct engram_plan *plan)
{
    const struct engram_kernels *kernels;
    enum engram_status status = engram_kernels_select(options->isa, &options->log, &kernels);
    if (status != ENGRAM_OK) {
        return status;
    }
    uint64_t base_rows = set_rows(&inputs->base);
    uint64_t query_rows = set_rows(&inputs->queries);
    int64_t dim = inputs->base.dataset->dims[1];
    uint64_t kept = (uint64_t)inputs->k < base_rows ? (uint64_t)inputs->k : base_rows;

    *plan = (struct engram_plan){
        .threads = options->threads > 0 ? options->threads : engram_threads_default(),
        .isa = kernels->name,
        .filter =
            engram_filter_choose(options->filter, (int64_t)query_rows, (int64_t)base_rows, dim),
        .base_slab_rows = INT64_MAX,
        .pairs = base_rows * query_rows,
        .rows_bytes = set_bytes(&inputs->base),
        .packed_bytes = base_rows * sizeof(double) + base_rows / 8,
    };
    bool shared = inputs->self && inputs->base.first == inputs->queries.first &&
                  inputs->base.last == inputs->queries.last;
    if (!shared) {
        plan->rows_bytes += set_bytes(&inputs->queries);
    }
    if (plan->filter == ENGRAM_FILTER_F32) {
        plan->packed_bytes +=
            engram_f32_pack_bytes(kernels, inputs->metric, (int64_t)base_rows, dim);
    } else if (plan->filter == ENGRAM_FILTER_INT) {
        plan->packed_bytes += engram_int_pack_bytes(kernels, (int64_t)base_rows, dim);
    }
    if (inputs->k != INT64_MAX) {
        /* Slots during the search, then the partial: at most two copies at a time. */
        plan->answer_bytes = 2 * query_rows * kept * sizeof(struct engram_hit);
    }
    plan->gflop = 2e-9 * (double)plan->pairs * (double)dim;
    return ENGRAM_OK;
}

enum engram_status engram_plan_check_memory(const struct engram_plan *plan,
                                            const struct engram_log *log)
{
    uint64_t need = plan->rows_bytes + plan->packed_bytes + plan->answer_bytes;
    size_t available = engram_memory_available();
    if (need > available) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE,
                           "the job needs %.1f GiB of memory (rows %.1f, packed copy %.1f, answers "
                           "%.1f), but %.1f GiB can be had; take fewer rows (--base-rows, "
                           "--query-rows)",
                           (double)need / 0x1p30, (double)plan->rows_bytes / 0x1p30,
                           (double)plan->packed_bytes / 0x1p30, (double)plan->answer_bytes / 0x1p30,
                           (double)available / 0x1p30);
    }
    return ENGRAM_OK;
}
