/* Answers in the order in which threads found them become lists in the total order: counted,
 * placed query by query, each list sorted. */
#include <stdlib.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"
#include "search/pairs.h"

/* Where answers go. */
struct placing {
    const struct engram_pair_collector *pairs;
    struct engram_pair_lists lists;
    int64_t *ends;           /* [lists] counts, then where the next answer of a query goes */
    struct engram_hit *hits; /* all of them */
    bool run;                /* tags of a run, else of a partial */
    int64_t first_row;       /* global row that is row 0 of a run */
};

struct engram_pair_lists engram_pairs_lists(const struct engram_collector *collector)
{
    int64_t first = collector->first_query;
    int64_t last = first + collector->queries;
    if (collector->symmetric) {
        int64_t row = collector->base_first_row + collector->first_row;
        int64_t end = row + collector->base_rows;
        first = first < row ? first : row;
        last = last > end ? last : end;
    }
    return (struct engram_pair_lists){first, last - first};
}

/* Global rows of both sides of a pair. */
static int64_t query_of(const struct engram_collector *common, const struct engram_hit *hit)
{
    return common->first_query + ENGRAM_HIT_QUERY(hit->tag);
}

static int64_t row_of(const struct engram_collector *common, const struct engram_hit *hit)
{
    return common->base_first_row + ENGRAM_HIT_ROW(hit->tag);
}

static size_t total_answers(const struct engram_pair_collector *pairs)
{
    size_t total = 0;
    for (const struct engram_pair_room *room = pairs->rooms; room != NULL; room = room->next) {
        total += room->used;
    }
    return pairs->common.symmetric ? 2 * total : total;
}

static void count_answers(const struct placing *placing, const struct engram_pair_room *room)
{
    const struct engram_collector *common = &placing->pairs->common;
#pragma omp parallel for schedule(static) num_threads(common->threads)
    for (size_t h = 0; h < room->used; h++) {
        int64_t query = query_of(common, &room->hits[h]) - placing->lists.first;
        (void)__atomic_fetch_add(&placing->ends[query], 1, __ATOMIC_RELAXED);
        if (common->symmetric) {
            int64_t row = row_of(common, &room->hits[h]) - placing->lists.first;
            (void)__atomic_fetch_add(&placing->ends[row], 1, __ATOMIC_RELAXED);
        }
    }
}

/* Both rows are global. */
static void place(const struct placing *placing, double score, int64_t query, int64_t row)
{
    int64_t list = query - placing->lists.first;
    int64_t to = __atomic_fetch_add(&placing->ends[list], 1, __ATOMIC_RELAXED);
    placing->hits[to] = (struct engram_hit){
        score, placing->run ? ENGRAM_HIT_TAG(list, row - placing->first_row) : row};
}

static void place_answers(const struct placing *placing, const struct engram_pair_room *room)
{
    const struct engram_collector *common = &placing->pairs->common;
#pragma omp parallel for schedule(static) num_threads(common->threads)
    for (size_t h = 0; h < room->used; h++) {
        const struct engram_hit *hit = &room->hits[h];
        int64_t query = query_of(common, hit);
        int64_t row = row_of(common, hit);
        place(placing, hit->score, query, row);
        if (common->symmetric) {
            place(placing, hit->score, row, query);
        }
    }
}

static void sort_lists(const struct placing *placing)
{
    const struct engram_collector *common = &placing->pairs->common;
#pragma omp parallel num_threads(common->threads)
    {
        fenv_t saved;
        engram_fp_enter(&saved); /* keys may be denormal */
#pragma omp for schedule(dynamic, 16)
        for (int64_t q = 0; q < placing->lists.count; q++) {
            int64_t first = q == 0 ? 0 : placing->ends[q - 1];
            if (engram_request_cancelled(common->request)) {
                continue;
            }
            engram_hits_sort(placing->hits + first, (size_t)(placing->ends[q] - first),
                             common->order);
        }
        engram_fp_leave(&saved);
    }
}

/* `ends`: all zero; afterwards the end of every query's list. CANCELLED: the lists are not sorted.
 */
static enum engram_status gather(const struct placing *placing)
{
    int64_t running = 0;
    const struct engram_pair_room *rooms = placing->pairs->rooms;
    for (const struct engram_pair_room *room = rooms; room != NULL; room = room->next) {
        count_answers(placing, room);
    }
    for (int64_t q = 0; q < placing->lists.count; q++) {
        int64_t count = placing->ends[q];
        placing->ends[q] = running;
        running += count;
    }
    for (const struct engram_pair_room *room = rooms; room != NULL; room = room->next) {
        place_answers(placing, room);
    }
    sort_lists(placing);
    return engram_request_cancelled(placing->pairs->common.request) ? ENGRAM_ERR_CANCELLED
                                                                    : ENGRAM_OK;
}

enum engram_status engram_pairs_gather_run(const struct engram_pair_collector *pairs,
                                           struct engram_run *run)
{
    const struct engram_collector *common = &pairs->common;
    struct placing placing = {.pairs = pairs, .lists = engram_pairs_lists(common), .run = true};
    placing.first_row = common->symmetric ? placing.lists.first : common->base_first_row;
    *run = (struct engram_run){.count = total_answers(pairs),
                               .first_query = placing.lists.first,
                               .first_row = placing.first_row};
    if (run->count == 0) {
        return ENGRAM_OK;
    }
    if (engram_size_mul(run->count, sizeof *run->hits, &run->bytes)) {
        run->hits = engram_pages_alloc(run->bytes);
        placing.ends = calloc((size_t)placing.lists.count + 1, sizeof *placing.ends);
    }
    if (run->hits == NULL || placing.ends == NULL) {
        free(placing.ends);
        return engram_fail(&common->request->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to sort %zu pairs", run->count);
    }
    placing.hits = run->hits;
    enum engram_status status = gather(&placing);
    free(placing.ends);
    return status;
}

enum engram_status engram_pairs_gather_partial(const struct engram_pair_collector *pairs,
                                               struct engram_partial *partial)
{
    const struct engram_collector *common = &pairs->common;
    const struct engram_pair_lists lists = engram_pairs_lists(common);
    enum engram_status status =
        engram_partial_create(common->request->metric, lists.first, lists.count, common->request->k,
                              (int64_t)total_answers(pairs), &common->request->log, partial);
    if (status == ENGRAM_OK) {
        const struct placing placing = {
            .pairs = pairs, .lists = lists, .ends = partial->indptr + 1, .hits = partial->hits};
        status = gather(&placing);
        if (status != ENGRAM_OK) {
            engram_partial_free(partial);
        }
    }
    return status;
}
