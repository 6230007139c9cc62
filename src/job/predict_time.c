#include "job/predict_time.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "io/source.h"
#include "job/sets.h"

/* A search of fewer elements than this, a pair counted as so many more, takes less than half a
 * second with the slowest kernels; so does reading fewer bytes, compressed or not. */
#define SHORT_ELEMENTS 2e8
#define PAIR_ELEMENTS 32
#define SHORT_BYTES ((uint64_t)32 << 20)

/* Rows searched on either side, and how long a search has to take to be believed. */
#define ROWS_MAX ((int64_t)4096)
#define ENOUGH_SECONDS 0.015

/* A search that takes so long is not repeated. */
#define MANY_SECONDS 0.05

/* The longest base that is tried, by repeating rows. */
#define LONG_ROWS ((int64_t)16384)
#define LONG_BYTES ((int64_t)32 << 20)

/* After this no larger one is tried. */
#define BUDGET_SECONDS 0.1

/* Elements looked at by the first search, which only shows how large the next may be. */
#define FIRST_ELEMENTS 2e7

/* What is read to see how fast reading is. */
#define READ_BYTES ((int64_t)8 << 20)

/* What one search over the sample took. */
struct timing {
    double seconds;
    double pairs;
    double queries;
    double scored; /* pairs that the filter left */
};

/* A way of searching: so many of the queries, by so many threads. */
struct trial {
    int64_t queries;
    int threads;
    struct timing found;
};

struct calibration {
    const struct engram_inputs *inputs;
    const struct engram_plan *plan;
    struct engram_search_options search;
    struct engram_set base; /* every other row of the sample; the rest are queries */
    struct engram_set queries;
    struct engram_prepared *prepared;
    unsigned char *again; /* the base again and again, as long as a base may well be: .. */
    struct engram_prepared *prepared_long; /* .. what a query costs by itself does not count */
    int64_t long_rows;
    double prepare_seconds; /* of these */
};

static double since(uint64_t start)
{
    return (double)(engram_clock_ns() - start) * 1e-9;
}

static double at_most(double value, double most)
{
    return value < most ? value : most;
}

/* Each pair of rows is looked at once, for both. */
static bool halves(const struct engram_inputs *inputs)
{
    bool all_pairs = inputs->answer == ENGRAM_ANSWER_COMPONENTS || inputs->k == INT64_MAX;
    return all_pairs && inputs->self && engram_inputs_shared(inputs) &&
           inputs->row_data.allowed == NULL &&
           inputs->row_data.base_groups == inputs->row_data.query_groups;
}

static bool is_short(const struct engram_plan *plan, double pairs)
{
    return pairs * (double)(plan->dim + PAIR_ELEMENTS) < SHORT_ELEMENTS &&
           plan->rows_bytes < SHORT_BYTES;
}

/* ---- one search */

static enum engram_status search_nearest(const struct calibration *c, struct engram_set queries,
                                         struct engram_search_stats *stats)
{
    struct engram_search_options search = c->search;
    enum engram_status status = ENGRAM_ERR_RESOURCE;
    search.k = search.k < c->base.rows ? search.k : c->base.rows;
    int64_t *rows = calloc((size_t)(queries.rows * search.k) + 1, sizeof *rows);
    if (rows != NULL) {
        status = engram_search_knn(c->prepared, &queries, &search, rows, NULL, NULL, stats);
    }
    free(rows);
    return status;
}

/* `nothing`: with a limit that no pair is within, which leaves the tile. */
static enum engram_status search_pairs(const struct calibration *c, struct engram_set queries,
                                       bool nothing, struct engram_search_stats *stats)
{
    struct engram_search_options search = c->search;
    struct engram_pairs pairs = {0};
    if (nothing) {
        search.k = INT64_MAX;
        search.max_distance = c->inputs->metric == ENGRAM_IP ? -DBL_MAX : -1;
    }
    enum engram_status status = engram_search_pairs(
        search.k == INT64_MAX ? c->prepared_long : c->prepared, &queries, &search, &pairs, stats);
    engram_pairs_free(&pairs);
    return status;
}

/* A value for every pair, or for row i and row i. */
static enum engram_status search_all(const struct calibration *c, struct engram_set queries,
                                     struct engram_search_stats *stats)
{
    const bool dense = c->inputs->answer == ENGRAM_ANSWER_DENSE;
    size_t values = (size_t)(queries.rows * (dense ? c->base.rows : 1));
    enum engram_status status = ENGRAM_ERR_RESOURCE;
    struct engram_set base = c->base;
    double *distances = calloc(values + 1, sizeof *distances);
    base.rows = queries.rows;
    if (distances != NULL) {
        status = dense ? engram_search_dense(c->prepared, &queries, &c->search, distances, stats)
                       : engram_search_pairwise(&queries, &base, &c->search, distances, stats);
    }
    free(distances);
    return status;
}

static bool is_matrix(const struct engram_inputs *inputs)
{
    return inputs->answer == ENGRAM_ANSWER_DENSE || inputs->answer == ENGRAM_ANSWER_PAIRWISE;
}

static bool has_limit(const struct engram_inputs *inputs)
{
    return isfinite(inputs->max_distance) || isfinite(inputs->min_similarity);
}

static bool search_once(const struct calibration *calibration, const struct trial *trial,
                        bool nothing, struct timing *timing)
{
    struct calibration own = *calibration;
    const struct calibration *c = &own;
    struct engram_search_stats stats = {0};
    struct engram_set first = c->queries;
    enum engram_status status;
    first.rows = trial->queries;
    own.search.threads = trial->threads;
    uint64_t start = engram_clock_ns();
    if (is_matrix(c->inputs)) {
        status = search_all(c, first, &stats);
    } else if (nothing || has_limit(c->inputs)) {
        status = search_pairs(c, first, nothing, &stats);
    } else {
        status = search_nearest(c, first, &stats);
    }
    *timing = (struct timing){since(start), (double)stats.pairs, (double)trial->queries,
                              (double)stats.rescored};
    return status == ENGRAM_OK && stats.pairs > 0;
}

/* ---- what the sample says of the job */

/* How often a query finds its limit anew. */
static double base_slabs(const struct engram_plan *plan)
{
    double rows = at_most((double)plan->base_rows, (double)plan->base_slab_rows);
    return rows > 0 ? ceil((double)plan->base_rows / rows) : 1;
}

/* Seconds of searching `pairs` pairs, without packing. For the k nearest, a query leaves some pairs
 * while it finds its limit: about as many in a long base as in the sample, because limits are
 * guessed first. After that it leaves a share. */
static double scale(const struct calibration *c, const struct engram_filter_choice *choice,
                    double pairs, const struct timing *found, const struct timing *tile)
{
    const double rate = found->seconds / found->pairs;
    if (is_matrix(c->inputs) || c->inputs->k == INT64_MAX) {
        return pairs * rate;
    }
    double looking = at_most(tile->seconds / tile->pairs, rate);
    double finding = (rate - looking) * found->pairs;
    double scoring = found->scored > 0 ? finding / found->scored : 0;
    double share = choice->filter == ENGRAM_FILTER_F32 ? choice->f32.share : choice->integer.share;
    double queries = (double)c->plan->query_rows;
    return pairs * looking + queries * finding / found->queries * base_slabs(c->plan) +
           pairs * share * scoring;
}

/* The prefix filter is measured by the integer filter: finding axes is not what a job spends its
 * time on, but all that a sample would. */
static double by_choice(const struct engram_filter_choice *choice)
{
    bool both = choice->prefix.cost > 0 && choice->integer.cost > 0;
    return choice->filter == ENGRAM_FILTER_PREFIX && both
               ? at_most(choice->prefix.cost / choice->integer.cost, 1)
               : 1;
}

static int64_t first_queries(const struct calibration *c)
{
    double elements = (double)c->base.rows * (double)(c->plan->dim + PAIR_ELEMENTS);
    double queries = floor(FIRST_ELEMENTS / elements);
    queries = queries < 1 ? 1 : at_most(queries, 512);
    return queries < (double)c->queries.rows ? (int64_t)queries : c->queries.rows;
}

/* The quicker of two: others may use the machine, too, and a search waits for all its threads. */
static bool search_twice(const struct calibration *c, const struct trial *trial, bool nothing,
                         struct timing *best)
{
    struct timing again;
    bool ok = search_once(c, trial, nothing, best);
    if (ok && best->seconds < MANY_SECONDS) {
        ok = search_once(c, trial, nothing, &again);
        *best = ok && again.seconds < best->seconds ? again : *best;
    }
    return ok;
}

/* Lets searches grow until one takes long enough. The best a query is kept, which on a busy machine
 * may be the first one, by a single thread. */
static bool find_trial(const struct calibration *c, struct trial *first, struct trial *best)
{
    const uint64_t start = engram_clock_ns();
    struct trial trial = {.queries = first_queries(c), .threads = 1};
    bool ok = search_twice(c, &trial, false, &trial.found);
    *best = *first = trial;
    trial.threads = c->plan->threads;
    for (bool more = ok; more && ok;) {
        ok = search_twice(c, &trial, false, &trial.found);
        bool better =
            trial.found.seconds / trial.found.queries < best->found.seconds / best->found.queries;
        more = trial.queries < c->queries.rows && since(start) < BUDGET_SECONDS &&
               (better || trial.found.seconds < ENOUGH_SECONDS);
        *best = ok && better ? trial : *best;
        bool last = trial.queries >= c->queries.rows / 4;
        trial.queries = last ? c->queries.rows : trial.queries * 4;
    }
    return ok;
}

static bool time_search(const struct calibration *c, const struct engram_filter_choice *choice,
                        double pairs, double *seconds)
{
    struct timing tile = {0};
    struct timing one = {0};
    struct trial first;
    struct trial best;
    bool ok = find_trial(c, &first, &best);
    if (ok && !is_matrix(c->inputs)) {
        ok = search_twice(c, &best, true, &tile) && search_twice(c, &first, true, &one);
        tile = ok && one.seconds / one.pairs < tile.seconds / tile.pairs ? one : tile;
    }
    if (ok) {
        *seconds = scale(c, choice, pairs, &best.found, &tile) * by_choice(choice);
    }
    return ok;
}

/* Splits the sample, leaving rows out evenly where it is large. */
static void choose_rows(struct calibration *c, const struct engram_set *sample)
{
    int64_t step = sample->rows / 2 / ROWS_MAX + 1;
    size_t stride =
        sample->stride != 0 ? sample->stride : engram_row_bytes(sample->dtype, sample->dim);
    int64_t most = (int64_t)at_most((double)c->plan->query_rows, (double)INT32_MAX);
    c->base = *sample;
    c->base.rows = sample->rows / 2 / step;
    c->base.stride = stride * 2 * (size_t)step;
    c->queries = c->base;
    c->queries.data = (const unsigned char *)sample->data + stride * (size_t)step;
    c->queries.rows = c->queries.rows < most ? c->queries.rows : most;
}

static bool prepare_long(struct calibration *c)
{
    size_t row_bytes = engram_row_bytes(c->base.dtype, c->base.dim);
    int64_t rows = LONG_BYTES / (int64_t)(row_bytes > 0 ? row_bytes : 1);
    struct engram_set set = c->base;
    rows = rows < LONG_ROWS ? rows : LONG_ROWS;
    rows = (uint64_t)rows < c->plan->base_rows ? rows : (int64_t)c->plan->base_rows;
    rows = rows > c->base.rows ? rows : c->base.rows;
    c->again = calloc((size_t)rows + 1, row_bytes + 1);
    if (c->again == NULL) {
        return false;
    }
    for (int64_t i = 0; i < rows; i++) {
        memcpy(c->again + (size_t)i * row_bytes,
               (const unsigned char *)c->base.data + (size_t)(i % c->base.rows) * c->base.stride,
               row_bytes);
    }
    set.data = c->again;
    set.stride = row_bytes;
    set.rows = c->long_rows = rows;
    uint64_t start = engram_clock_ns();
    enum engram_status status = engram_prepare(&set, &c->search, &c->prepared_long);
    c->prepare_seconds = since(start);
    return status == ENGRAM_OK;
}

static bool measure_search(struct calibration *c, const struct engram_filter_choice *choice,
                           double pairs, double *seconds)
{
    const struct engram_inputs *inputs = c->inputs;
    c->search = (struct engram_search_options)ENGRAM_SEARCH_OPTIONS_INIT;
    c->search.metric = inputs->metric;
    c->search.k = inputs->k;
    c->search.max_distance = inputs->max_distance;
    c->search.min_similarity = inputs->min_similarity;
    c->search.filter = choice->filter == ENGRAM_FILTER_PREFIX ? ENGRAM_FILTER_INT : choice->filter;
    c->search.isa = c->plan->isa;
    c->search.threads = c->plan->threads;
    bool ok = c->queries.rows > 0 && prepare_long(c) &&
              engram_prepare(&c->base, &c->search, &c->prepared) == ENGRAM_OK;
    ok = ok && time_search(c, choice, pairs, seconds);
    engram_prepared_free(c->prepared);
    engram_prepared_free(c->prepared_long);
    free(c->again);
    return ok;
}

/* ---- reading */

/* Seconds a row, reading some rows at the start as the job will. */
static bool time_reading(const struct engram_inputs *inputs,
                         const struct engram_job_options *options, const struct engram_plan *plan,
                         double *seconds)
{
    const struct engram_dataset_info *dataset = inputs->base.dataset;
    const struct engram_source_options reading = {.slab_rows = INT64_MAX,
                                                  .threads = plan->threads,
                                                  .buffer_bytes = plan->reading_bytes / 2,
                                                  .allow_external = options->allow_external,
                                                  .cancel = options->cancel};
    size_t row_bytes = engram_row_bytes(engram_source_dtype(dataset), dataset->dims[1]);
    int64_t rows = READ_BYTES / (int64_t)(row_bytes > 0 ? row_bytes : 1) + 1;
    struct engram_set_ref range = inputs->base;
    struct engram_source *source = NULL;
    struct engram_slab slab;
    range.last = rows < range.last - range.first ? range.first + rows : range.last;
    uint64_t start = engram_clock_ns();
    bool ok = engram_set_open(&range, &reading, &source) == ENGRAM_OK &&
              engram_source_next(source, &slab) == ENGRAM_OK && slab.set.rows > 0;
    *seconds = ok ? since(start) / (double)slab.set.rows : 0;
    engram_source_close(source);
    return ok;
}

/* ---- all of it */

void engram_job_predict_time(const struct engram_inputs *inputs,
                             const struct engram_job_options *options,
                             const struct engram_plan *plan,
                             const struct engram_filter_choice *choice,
                             struct engram_row_sample *sample,
                             struct engram_time_prediction *prediction)
{
    struct calibration c = {.inputs = inputs, .plan = plan};
    double pairs = (double)plan->pairs / (halves(inputs) ? 2 : 1);
    double row_seconds = 0;
    *prediction = (struct engram_time_prediction){
        .least = is_matrix(inputs) || inputs->k == INT64_MAX, .kind = ENGRAM_TIME_SHORT};
    if (is_short(plan, pairs)) {
        return;
    }
    prediction->kind = ENGRAM_TIME_UNKNOWN;
    if (sample->rows == NULL && !engram_row_sample_read(inputs, options, sample)) {
        return;
    }
    uint64_t start = engram_clock_ns();
    choose_rows(&c, &sample->set);
    if (!measure_search(&c, choice, pairs, &prediction->search) ||
        !time_reading(inputs, options, plan, &row_seconds)) {
        return;
    }
    double base_rows = (double)plan->base_rows * (double)engram_plan_readings(plan, true);
    double query_rows = (double)plan->query_rows * (double)engram_plan_readings(plan, false);
    bool once = engram_inputs_shared(inputs) && plan->base_slab_rows == INT64_MAX;
    prediction->read = row_seconds * (base_rows + (once ? 0 : query_rows));
    if (inputs->answer != ENGRAM_ANSWER_PAIRWISE) {
        prediction->search += base_rows * c.prepare_seconds / (double)c.long_rows;
    }
    double sum = prediction->search + prediction->read;
    double longer = prediction->search > prediction->read ? prediction->search : prediction->read;
    prediction->total = plan->read_ahead ? longer : sum;
    prediction->kind = ENGRAM_TIME_MEASURED;
    prediction->calibration = since(start);
}
