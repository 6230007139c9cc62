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
    int64_t *ends;           /* [queries] counts, then where the next answer of a query goes */
    struct engram_hit *hits; /* all of them */
    bool run;                /* tags of a run, else of a partial */
};

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
        int64_t tag = room->hits[h].tag;
        (void)__atomic_fetch_add(&placing->ends[ENGRAM_HIT_QUERY(tag)], 1, __ATOMIC_RELAXED);
        if (common->symmetric) {
            (void)__atomic_fetch_add(&placing->ends[ENGRAM_HIT_ROW(tag)], 1, __ATOMIC_RELAXED);
        }
    }
}

static void place(const struct placing *placing, double score, int64_t query, int64_t row)
{
    int64_t to = __atomic_fetch_add(&placing->ends[query], 1, __ATOMIC_RELAXED);
    placing->hits[to] =
        (struct engram_hit){score, placing->run ? ENGRAM_HIT_TAG(query, row)
                                                : placing->pairs->common.base_first_row + row};
}

static void place_answers(const struct placing *placing, const struct engram_pair_room *room)
{
    const struct engram_collector *common = &placing->pairs->common;
#pragma omp parallel for schedule(static) num_threads(common->threads)
    for (size_t h = 0; h < room->used; h++) {
        const struct engram_hit *hit = &room->hits[h];
        place(placing, hit->score, ENGRAM_HIT_QUERY(hit->tag), ENGRAM_HIT_ROW(hit->tag));
        if (common->symmetric) {
            place(placing, hit->score, ENGRAM_HIT_ROW(hit->tag), ENGRAM_HIT_QUERY(hit->tag));
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
        for (int64_t q = 0; q < common->queries; q++) {
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
    for (int64_t q = 0; q < placing->pairs->common.queries; q++) {
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
    struct placing placing = {.pairs = pairs, .run = true};
    *run = (struct engram_run){.count = total_answers(pairs),
                               .first_query = common->first_query,
                               .first_row = common->base_first_row};
    if (run->count == 0) {
        return ENGRAM_OK;
    }
    if (engram_size_mul(run->count, sizeof *run->hits, &run->bytes)) {
        run->hits = engram_pages_alloc(run->bytes);
        placing.ends = calloc((size_t)common->queries + 1, sizeof *placing.ends);
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
    enum engram_status status = engram_partial_create(
        common->request->metric, common->first_query, common->queries, common->request->k,
        (int64_t)total_answers(pairs), &common->request->log, partial);
    if (status == ENGRAM_OK) {
        const struct placing placing = {pairs, partial->indptr + 1, partial->hits, false};
        status = gather(&placing);
        if (status != ENGRAM_OK) {
            engram_partial_free(partial);
        }
    }
    return status;
}
