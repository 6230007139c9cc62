#define _GNU_SOURCE
#include "job/budget.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/size.h"
#include "io/memory.h"
#include "io/source.h"
#include "job/parts.h"

/* Queries of a unit: whole grains where they fit, never fewer than a few strips of a tile. */
#define UNIT_MAX ((uint64_t)64 * ENGRAM_ROW_GRAIN)
#define UNIT_MIN ((uint64_t)64)

/* More for reading does not make it faster. */
#define READING_MAX ((uint64_t)256 << 20)

/* ---- what may be taken */

static uint64_t tighter(uint64_t a, uint64_t b)
{
    return b > 0 && b < a ? b : a;
}

/* 0: not set, or no number, or no limit. */
static uint64_t megabytes_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9') {
        return 0;
    }
    unsigned long long value = strtoull(text, &end, 10);
    return *end == '\0' ? engram_saturating_mul(value, (uint64_t)1 << 20) : 0;
}

/* Slurm says megabytes, and 0 for all memory of the node. */
static uint64_t slurm_limit(int threads)
{
    uint64_t node = megabytes_of("SLURM_MEM_PER_NODE");
    uint64_t each = megabytes_of("SLURM_MEM_PER_CPU");
    return node > 0 ? node : engram_saturating_mul(each, (uint64_t)threads);
}

uint64_t engram_budget_default(int threads)
{
    struct rlimit limit;
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    uint64_t least = UINT64_MAX;
    if (pages > 0 && page > 0) {
        least = (uint64_t)pages * (uint64_t)page;
    }
    least = tighter(least, engram_memory_cgroup_limit());
    least = tighter(least, slurm_limit(threads));
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        least = tighter(least, (uint64_t)limit.rlim_cur);
    }
    least = least == UINT64_MAX ? least : least / 5 * 4;
    return tighter(least, (uint64_t)engram_memory_available());
}

/* ---- what it is used for */

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t at_least(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t whole_grains(uint64_t rows)
{
    return rows / ENGRAM_ROW_GRAIN * ENGRAM_ROW_GRAIN;
}

/* Rows of `each` bytes that fit. */
static uint64_t fitting(uint64_t bytes, uint64_t each)
{
    return each == 0 ? UINT64_MAX : bytes / each;
}

static int64_t slab_of(uint64_t rows, uint64_t all)
{
    return rows >= all ? INT64_MAX : (int64_t)rows;
}

/* Before the slabs are there, or once they are gone. */
static uint64_t without_slabs(const struct engram_demand *demand)
{
    uint64_t ids = engram_saturating_add(demand->answers_least, demand->ids);
    return engram_saturating_add(demand->fixed, at_least(ids, demand->packing));
}

static uint64_t smallest(const struct engram_demand *demand, const struct engram_plan *plan)
{
    uint64_t base = at_most(plan->base_rows, ENGRAM_ROW_GRAIN);
    uint64_t queries = at_most(plan->query_rows, ENGRAM_ROW_GRAIN);
    uint64_t need = engram_saturating_add(demand->fixed, demand->answers_least);
    need = engram_saturating_add(need, demand->block);
    need = engram_saturating_add(need, demand->reading);
    need = engram_saturating_add(need, engram_saturating_mul(base, demand->base_row));
    need = engram_saturating_add(need, engram_saturating_mul(queries, demand->query_row));
    need = engram_saturating_add(
        need, engram_saturating_mul(at_most(queries, UNIT_MIN), demand->query_state));
    return at_least(need, without_slabs(demand));
}

/* As many slabs as `rows` at a time make, all of the same size, in multiples of `step`. */
static uint64_t evenly(uint64_t all, uint64_t rows, uint64_t step)
{
    uint64_t count = (all + rows - 1) / rows;
    uint64_t even = ((all + count - 1) / count + step - 1) / step * step;
    return at_most(even, rows);
}

/* Slabs begin on a grain, and where they can, with a chunk, which otherwise is unpacked twice. */
static uint64_t slab_step(const struct engram_demand *demand, uint64_t rows)
{
    uint64_t step = ENGRAM_ROW_GRAIN; /* a power of two */
    uint64_t odd = demand->base_chunk;
    while (odd > 0 && odd % 2 == 0 && step % 2 == 0) {
        odd /= 2;
        step /= 2;
    }
    step = engram_saturating_mul(odd > 0 ? odd : 1, ENGRAM_ROW_GRAIN);
    return step <= rows ? step : ENGRAM_ROW_GRAIN;
}

/* Base rows of a slab in so many bytes, of the whole grains that others than the last have. */
static uint64_t base_rows_in(const struct engram_demand *demand, const struct engram_plan *plan,
                             uint64_t bytes, uint64_t each)
{
    uint64_t rows = at_least(whole_grains(fitting(bytes, each)), ENGRAM_ROW_GRAIN);
    uint64_t half = whole_grains(plan->base_rows / 2 + ENGRAM_ROW_GRAIN);
    rows = at_most(rows, at_least(half, ENGRAM_ROW_GRAIN)); /* it did not fit whole */
    uint64_t step = slab_step(demand, rows);
    return evenly(plan->base_rows, rows / step * step, step);
}

/* The base in slabs. Each slab of queries reads and packs the base once, and each slab of the base
 * packs those queries once, which is cheaper: queries get two thirds. */
static void divide_both(const struct engram_demand *demand, uint64_t bytes,
                        struct engram_plan *plan)
{
    uint64_t least = engram_saturating_mul(ENGRAM_ROW_GRAIN, demand->base_row);
    uint64_t base_bytes = at_least(bytes / 3, at_most(least, bytes));
    uint64_t queries = whole_grains(fitting(bytes - base_bytes, demand->query_row));
    queries = at_least(at_most(queries, plan->query_rows), ENGRAM_ROW_GRAIN);
    queries = evenly(at_least(plan->query_rows, 1), queries, ENGRAM_ROW_GRAIN);
    uint64_t query_bytes =
        engram_saturating_mul(at_most(queries, plan->query_rows), demand->query_row);
    base_bytes = bytes > query_bytes ? bytes - query_bytes : 0;
    uint64_t most = engram_saturating_add(demand->base_row, demand->ahead_row);
    plan->read_ahead = engram_saturating_mul(ENGRAM_ROW_GRAIN, most) <= base_bytes;
    uint64_t ahead = plan->read_ahead ? demand->ahead_row : 0;
    plan->query_slab_rows = slab_of(queries, plan->query_rows);
    plan->base_slab_rows = slab_of(
        base_rows_in(demand, plan, base_bytes, engram_saturating_add(demand->base_lean, ahead)),
        plan->base_rows);
    plan->base_slab_least = slab_of(
        base_rows_in(demand, plan, base_bytes, engram_saturating_add(demand->base_row, ahead)),
        plan->base_rows);
}

static void divide_rows(const struct engram_demand *demand, uint64_t bytes,
                        struct engram_plan *plan)
{
    uint64_t base = engram_saturating_mul(plan->base_rows, demand->base_row);
    uint64_t least =
        engram_saturating_mul(at_most(plan->query_rows, ENGRAM_ROW_GRAIN), demand->query_row);
    plan->base_slab_rows = INT64_MAX;
    plan->base_slab_least = INT64_MAX;
    plan->query_slab_rows = INT64_MAX;
    plan->read_ahead = false;
    if (demand->shared && base <= bytes) {
        return;
    }
    if (engram_saturating_add(base, least) <= bytes) {
        uint64_t queries = whole_grains(fitting(bytes - base, demand->query_row));
        plan->query_slab_rows = slab_of(at_least(queries, ENGRAM_ROW_GRAIN), plan->query_rows);
        return;
    }
    divide_both(demand, bytes, plan);
}

/* Of a slab that holds all, or not. */
static uint64_t slab_bytes(int64_t slab, uint64_t all, uint64_t each)
{
    return engram_saturating_mul(slab == INT64_MAX ? all : (uint64_t)slab, each);
}

/* Whole grains, or a power of two that divides one. */
static uint64_t unit_of(uint64_t queries)
{
    uint64_t unit = UNIT_MIN;
    if (queries >= ENGRAM_ROW_GRAIN) {
        return whole_grains(at_most(queries, UNIT_MAX));
    }
    while (2 * unit <= queries) {
        unit *= 2;
    }
    return unit;
}

/* Slabs of queries are whole units, all of a size where one would not do. */
static void fit_units(struct engram_plan *plan, uint64_t unit)
{
    uint64_t slab = (uint64_t)plan->query_slab_rows;
    if (plan->query_slab_rows != INT64_MAX) {
        unit = at_least(at_most(unit, slab), 1);
        if (unit >= ENGRAM_ROW_GRAIN) {
            uint64_t units = at_least((slab + unit - 1) / unit, 1);
            unit = at_least(whole_grains(slab / units), 1);
        }
        plan->query_slab_rows = (int64_t)(slab / unit * unit);
    }
    plan->unit_queries = (int64_t)unit;
}

void engram_budget_divide(const struct engram_demand *demand, struct engram_plan *plan)
{
    uint64_t need = smallest(demand, plan);
    uint64_t budget = at_least(plan->budget_bytes, need);
    uint64_t spare = budget - need;
    uint64_t room = engram_saturating_add(
        demand->answers_least, at_most(spare / 4, demand->answers - demand->answers_least));
    uint64_t fixed = engram_saturating_add(demand->fixed, room);

    plan->smallest_bytes = need;
    plan->kept_bytes = fixed;
    plan->answer_room = room;
    plan->part_room = room >= demand->answers
                          ? SIZE_MAX
                          : (size_t)(room - demand->answers_least / ENGRAM_PARTS_LEAST *
                                                (ENGRAM_PARTS_LEAST - 1));
    uint64_t more = demand->block_most > demand->block ? demand->block_most - demand->block : 0;
    plan->block_bytes = (size_t)engram_saturating_add(demand->block, at_most(spare / 4, more));
    fixed = engram_saturating_add(fixed, plan->block_bytes);
    plan->reading_bytes =
        (size_t)at_least(demand->reading, at_most(spare / 8, at_most(READING_MAX, demand->stored)));
    uint64_t unit = unit_of(fitting(spare / 8, demand->query_state));
    if (room < demand->answers) {
        unit = at_most(unit, demand->answers_unit);
    }
    uint64_t state = engram_saturating_mul(at_most(unit, plan->query_rows), demand->query_state);
    fixed = engram_saturating_add(engram_saturating_add(fixed, plan->reading_bytes), state);
    divide_rows(demand, budget > fixed ? budget - fixed : 0, plan);
    fit_units(plan, unit);
    bool whole = plan->base_slab_rows == INT64_MAX;
    bool borrowed = demand->shared && whole;
    uint64_t each = whole ? demand->base_row : demand->base_lean;
    each = engram_saturating_add(each, plan->read_ahead ? demand->ahead_row : 0);
    plan->need_bytes =
        engram_saturating_add(fixed, slab_bytes(plan->base_slab_rows, plan->base_rows, each));
    if (!borrowed) {
        plan->need_bytes = engram_saturating_add(
            plan->need_bytes,
            slab_bytes(plan->query_slab_rows, plan->query_rows, demand->query_row));
    }
    plan->need_bytes = at_least(plan->need_bytes, without_slabs(demand));
}
