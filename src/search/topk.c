/* The k best: a buffer of a few k answers a query; when it is full the k best stay and the limit
 * tightens. A heap would touch log k places for every answer; this touches one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"
#include "search/collector.h"

/* Room beyond k. The larger it is, the rarer are partitions, but the longer a limit stays as it
 * is: with room for c k answers about k (c - 1) ln(n / k) / ln(c) are scored. */
#define SLACK_MIN 8

/* The same of a sample, where limits are far off at first and each new one is worth much. */
#define SAMPLE_SLACK_MIN 2

/* Guessing limits. Of a sample of a share s of the rows the answers' part is about r = k s rows;
 * the r-th best of the sample, with a margin of GUESS_SIGMAS standard deviations sqrt(k s (1 - s))
 * of that number and GUESS_EXTRA, is a limit that nearly always lets at least k answers pass, and
 * few more: about r / s of all rows. The sample itself has to keep r answers a query instead of k.
 * Larger samples follow, that hold the ones before, and their guesses are tighter.
 *
 * A guess is proven in the end: if k answers below it were found, nothing else can be one.
 * Otherwise the query is scanned again, its whole strip with it, and the base comes from memory for
 * that strip alone, which costs about as much as scoring 70,000 pairs. So the margin is right when
 * one more in r lowers the chance of that by 1 / (70,000 s): about one query in 10,000 is expected
 * to be scanned again. (Of a time when it was one in 250 this took 6 % of a search by the float32
 * filter.) */
#define GUESS_SIGMAS 3.5
#define GUESS_EXTRA 3

/* Guessing ends when more than one query in GUESS_MISSES_MAX had to be scanned again. */
#define GUESS_MISSES_MAX 20
#define GUESS_TRIALS_MIN 100

/* Lists of fewer answers than this are not worth a team. */
#define GATHER_ALONE ((size_t)1 << 14)

struct engram_topk_luck {
    uint64_t trials; /* atomic, both */
    uint64_t misses;
};

struct topk_state {
    const struct engram_topk *topk;
    const struct engram_item *item;
    struct engram_hit *buffers; /* [queries][capacity] */
    size_t *used;               /* [queries] */
    double *guess;              /* [queries] +inf: none */
    bool *done;                 /* [queries] its answers are stored */
    size_t keep;                /* answers kept now: fewer while sampling */
    size_t room;                /* answers buffered before the worst are dropped */
    bool guessed;
};

void engram_topk_init(struct engram_topk *topk)
{
    int64_t k = topk->common.request->k;
    int64_t rows = topk->common.base_rows;
    topk->keep = (size_t)(k < rows ? k : rows);
    topk->capacity = topk->keep + topk->keep / 2 + SLACK_MIN;
    if (topk->capacity > (size_t)rows) {
        topk->capacity = (size_t)rows;
    }
}

static size_t topk_kept(const struct engram_collector *collector)
{
    return ((const struct engram_topk *)collector)->capacity;
}

static size_t topk_scratch_size(const struct engram_collector *collector, size_t queries)
{
    const struct engram_topk *topk = (const struct engram_topk *)collector;
    return sizeof(struct topk_state) +
           queries * (topk->capacity * sizeof(struct engram_hit) + sizeof(size_t) + sizeof(double) +
                      sizeof(bool)) +
           5 * ENGRAM_ARENA_ALIGN;
}

static enum engram_status topk_open(struct engram_collector *collector)
{
    struct engram_topk *topk = (struct engram_topk *)collector;
    size_t lists = 0;
    size_t slots = 0;
    if (!engram_size_mul((size_t)collector->queries, (size_t)collector->tiling.segments, &lists) ||
        !engram_size_mul(lists, topk->keep, &slots)) {
        slots = (size_t)-1;
    }
    topk->counts = calloc(lists + 1, sizeof *topk->counts);
    topk->slots = slots > (size_t)-1 / sizeof *topk->slots - 1
                      ? NULL
                      : engram_large_malloc((slots + 1) * sizeof *topk->slots);
    topk->luck = calloc(1, sizeof *topk->luck);
    if (topk->counts == NULL || topk->slots == NULL || topk->luck == NULL) {
        return engram_fail(&collector->request->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for %zu answers of each of %lld queries", topk->keep,
                           (long long)collector->queries);
    }
    return ENGRAM_OK;
}

static void *topk_begin(const struct engram_collector *collector, const struct engram_item *item,
                        struct engram_scratch *scratch, double *limit)
{
    const struct engram_topk *topk = (const struct engram_topk *)collector;
    struct topk_state *state = ENGRAM_SCRATCH_NEW(scratch, struct topk_state, 1);
    size_t answers;
    if (state == NULL || !engram_size_mul(item->queries, topk->capacity, &answers)) {
        return NULL;
    }
    state->topk = topk;
    state->item = item;
    state->buffers = ENGRAM_SCRATCH_NEW(scratch, struct engram_hit, answers);
    state->used = ENGRAM_SCRATCH_NEW(scratch, size_t, item->queries);
    state->guess = ENGRAM_SCRATCH_NEW(scratch, double, item->queries);
    state->done = ENGRAM_SCRATCH_NEW(scratch, bool, item->queries);
    if (state->buffers == NULL || state->used == NULL || state->guess == NULL ||
        state->done == NULL) {
        return NULL;
    }
    state->keep = topk->keep;
    state->room = topk->capacity;
    state->guessed = false;
    for (size_t q = 0; q < item->queries; q++) {
        state->used[q] = 0;
        state->guess[q] = INFINITY;
        state->done[q] = false;
        limit[q] = engram_known_limit(collector, item->first_query + (int64_t)q);
    }
    return state;
}

/* Keeps the best of a buffer; the key of the worst of them. */
static double keep_best(const struct topk_state *state, size_t q, size_t keep)
{
    struct engram_order order = state->topk->common.order;
    struct engram_hit *buffer = state->buffers + q * state->topk->capacity;
    double worst = -INFINITY;
    engram_hits_select(buffer, state->used[q], keep, order);
    state->used[q] = keep;
    for (size_t i = 0; i < keep; i++) {
        double key = engram_key(order, buffer[i].score);
        worst = key > worst ? key : worst;
    }
    return worst;
}

static void topk_offer(void *opaque, const struct engram_candidate *pairs, const double *scores,
                       size_t count, double *limit)
{
    struct topk_state *state = opaque;
    const struct engram_topk *topk = state->topk;
    for (size_t i = 0; i < count; i++) {
        size_t q = pairs[i].query;
        if (engram_key(topk->common.order, scores[i]) > limit[q]) {
            continue; /* the limit tightened since the pair was scored */
        }
        struct engram_hit *buffer = state->buffers + q * topk->capacity;
        buffer[state->used[q]++] = (struct engram_hit){scores[i], pairs[i].row};
        /* A buffer no larger than what is kept holds every row there is: it cannot overflow. */
        if (state->used[q] >= state->room && state->room > state->keep) {
            double worst = keep_best(state, q, state->keep);
            limit[q] = worst < limit[q] ? worst : limit[q];
        }
    }
}

static bool topk_sample(void *opaque, double share)
{
    struct topk_state *state = opaque;
    const struct engram_topk *topk = state->topk;
    double expected = (double)topk->keep * share;
    double keep = expected + GUESS_SIGMAS * sqrt(expected * (1 - share)) + GUESS_EXTRA;
    uint64_t trials = __atomic_load_n(&topk->luck->trials, __ATOMIC_RELAXED);
    uint64_t misses = __atomic_load_n(&topk->luck->misses, __ATOMIC_RELAXED);

    if (keep >= (double)topk->keep ||
        (trials >= GUESS_TRIALS_MIN && misses > trials / GUESS_MISSES_MAX)) {
        return false;
    }
    state->keep = (size_t)keep;
    state->room = state->keep + state->keep / 2 + SAMPLE_SLACK_MIN;
    if (state->room > topk->capacity) {
        state->room = topk->capacity; /* more than all that is kept */
    }
    state->guessed = true;
    return true;
}

static void topk_sampled(void *opaque, double *limit)
{
    struct topk_state *state = opaque;
    for (size_t q = 0; q < state->item->queries; q++) {
        if (state->used[q] >= state->keep) {
            double worst = keep_best(state, q, state->keep);
            /* Not tighter than a limit that holds anyway: then it is no guess. */
            state->guess[q] = worst;
            limit[q] = worst < limit[q] ? worst : limit[q];
        }
    }
    state->keep = state->topk->keep;
    state->room = state->topk->capacity;
}

/* Sorts the answers of query q into its slots. False: these may not be all, its limit was guessed
 * too tight. */
static bool store(const struct topk_state *state, size_t q)
{
    const struct engram_topk *topk = state->topk;
    const struct engram_collector *common = &topk->common;
    struct engram_hit *buffer = state->buffers + q * topk->capacity;
    size_t list =
        (size_t)(state->item->first_query + (int64_t)q) * (size_t)common->tiling.segments +
        (size_t)state->item->segment;

    struct engram_hit *slots = topk->slots + list * topk->keep;
    size_t kept = engram_hits_best_to(buffer, state->used[q], topk->keep, common->order, slots);
    for (size_t i = 0; i < kept; i++) {
        slots[i].tag += common->base_first_row;
    }
    topk->counts[list] = (uint32_t)kept;
    /* Whether the guess, if there was one, let all answers pass: k answers strictly below it were
     * found. (Of rows exactly at the guess the sample may have dropped some.) */
    return state->guess[q] == INFINITY ||
           (kept == topk->keep &&
            engram_key(common->order, slots[kept - 1].score) < state->guess[q]);
}

static bool topk_finish(void *opaque, double *limit)
{
    struct topk_state *state = opaque;
    const struct engram_topk *topk = state->topk;
    uint64_t misses = 0;
    for (size_t q = 0; q < state->item->queries; q++) {
        limit[q] = -INFINITY; /* nothing more of this query */
        if (!state->done[q]) {
            state->done[q] = store(state, q);
        }
        if (!state->done[q]) {
            misses++;
            state->used[q] = 0;
            state->guess[q] = INFINITY;
            limit[q] = engram_known_limit(&topk->common, state->item->first_query + (int64_t)q);
        }
    }
    if (state->guessed) {
        (void)__atomic_fetch_add(&topk->luck->trials, state->item->queries, __ATOMIC_RELAXED);
        (void)__atomic_fetch_add(&topk->luck->misses, misses, __ATOMIC_RELAXED);
        state->guessed = false;
    }
    return misses == 0;
}

static void topk_fail(const struct engram_collector *collector, const struct engram_item *item)
{
    const struct engram_topk *topk = (const struct engram_topk *)collector;
    for (size_t q = 0; q < item->queries; q++) {
        topk->counts[(size_t)(item->first_query + (int64_t)q) * (size_t)collector->tiling.segments +
                     (size_t)item->segment] = 0;
    }
}

static enum engram_status topk_again(struct engram_collector *collector, bool *again)
{
    (void)collector;
    *again = false;
    return ENGRAM_OK;
}

static bool topk_wants(const struct engram_collector *collector, struct engram_item *item)
{
    (void)collector;
    (void)item;
    return true;
}

/* Brings the lists of all segments of a query together, in place; counts[] of its first segment
 * becomes that of all. */
static void gather_query(const struct engram_topk *topk, int64_t query)
{
    size_t segments = (size_t)topk->common.tiling.segments;
    struct engram_hit *slots = topk->slots + (size_t)query * segments * topk->keep;
    uint32_t *counts = topk->counts + (size_t)query * segments;
    size_t total = counts[0];
    for (size_t s = 1; s < segments; s++) {
        if (counts[s] > 0) {
            memmove(slots + total, slots + s * topk->keep, counts[s] * sizeof *slots);
        }
        total += counts[s];
    }
    engram_hits_sort(slots, total, topk->common.order);
    counts[0] = (uint32_t)(total < topk->keep ? total : topk->keep);
}

static void gather_segments(const struct engram_topk *topk)
{
    const struct engram_collector *collector = &topk->common;
    const size_t slots = (size_t)collector->queries * (size_t)collector->tiling.segments;
    const int team = slots * topk->keep < GATHER_ALONE ? 1 : collector->threads;
#pragma omp parallel num_threads(team) if (team > 1)
    {
        fenv_t saved;
        engram_fp_enter(&saved);
#pragma omp for schedule(static)
        for (int64_t q = 0; q < collector->queries; q++) {
            gather_query(topk, q);
        }
        engram_fp_leave(&saved);
    }
}

/* The lists move together, where there are gaps, and the slots become the partial's. */
static enum engram_status topk_gather(struct engram_collector *collector,
                                      struct engram_partial *out)
{
    struct engram_topk *topk = (struct engram_topk *)collector;
    const size_t segments = (size_t)collector->tiling.segments;
    struct engram_hit *slots = topk->slots;
    size_t used = 0;

    if (segments > 1) {
        gather_segments(topk);
    }
    topk->slots = NULL;
    enum engram_status status =
        engram_partial_adopt(collector->request->metric, collector->first_query, collector->queries,
                             collector->request->k, slots, &collector->request->log, out);
    for (int64_t q = 0; status == ENGRAM_OK && q < collector->queries; q++) {
        const size_t list = (size_t)q * segments;
        const size_t count = segments == 0 ? 0 : topk->counts[list];
        if (count > 0 && used != list * topk->keep) {
            memmove(slots + used, slots + list * topk->keep, count * sizeof *slots);
        }
        used += count;
        out->indptr[q + 1] = (int64_t)used;
    }
    if (status == ENGRAM_OK && used < (size_t)collector->queries * segments * topk->keep) {
        struct engram_hit *fewer = realloc(slots, (used + 1) * sizeof *slots);
        out->hits = fewer != NULL ? fewer : slots;
    }
    return status;
}

static void topk_close(struct engram_collector *collector)
{
    struct engram_topk *topk = (struct engram_topk *)collector;
    free(topk->slots);
    free(topk->counts);
    free(topk->luck);
    topk->luck = NULL;
    topk->slots = NULL;
    topk->counts = NULL;
}

const struct engram_collector_ops engram_topk_ops = {
    .kept = topk_kept,
    .scratch_size = topk_scratch_size,
    .open = topk_open,
    .begin = topk_begin,
    .offer = topk_offer,
    .sample = topk_sample,
    .sampled = topk_sampled,
    .finish = topk_finish,
    .fail = topk_fail,
    .again = topk_again,
    .wants = topk_wants,
    .gather = topk_gather,
    .close = topk_close,
};
