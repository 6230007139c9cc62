/* Checks a result against a scan of its own: plain float64 loops that share nothing with the
 * kernels but the reader of the files. */
#define _GNU_SOURCE
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/size.h"
#include "base/team.h"
#include "io/result.h"
#include "io/source.h"
#include "job/state.h"
#include "job/threads.h"
#include "job/truth.h"

/* One side, read whole. */
struct side {
    struct engram_source *source;
    struct engram_set set;
    int64_t first; /* dataset row of its first row */
};

struct verification {
    const struct engram_job_options *options;
    struct engram_verify_report *report;
    struct engram_inputs inputs;
    struct engram_result_info info;
    struct engram_result *result;
    struct side base;
    struct side queries;
    int threads;
    struct engram_stage_progress reading;
    struct engram_stage_progress checking;
};

/* Room for one query; one a thread. */
struct bench {
    double *query;  /* [dim] */
    double *row;    /* [dim] */
    double *keys;   /* [base rows] NAN: not eligible */
    double *errors; /* [base rows] bound of the rounding error of a key, ours and the scan's */
    double *sorted; /* [base rows] eligible keys, then sorted */
    bool *answered; /* [base rows] */
};

/* What was found about one query. */
struct finding {
    int64_t answers;
    int64_t swaps;
    int64_t errors;
    double difference;
};

static double element(const struct engram_set *set, int64_t row, int64_t i)
{
    const unsigned char *data = (const unsigned char *)set->data + (size_t)row * set->stride;
    return set->dtype == ENGRAM_F32 ? (double)((const float *)(const void *)data)[i]
                                    : ((const double *)(const void *)data)[i];
}

/* Copies a row; false when it is not finite. `*scale` is its largest magnitude. */
static bool load_row(const struct engram_set *set, int64_t row, double *out, double *scale)
{
    bool finite = true;
    *scale = 0;
    for (int64_t i = 0; i < set->dim; i++) {
        out[i] = element(set, row, i);
        finite = finite && isfinite(out[i]);
        *scale = fabs(out[i]) > *scale ? fabs(out[i]) : *scale;
    }
    return finite;
}

/* Key and similarity of a pair by textbook formulas; `error` bounds what float64 rounding can do
 * to this key and to the canonical one together: each sums dim terms, so each errs by at most
 * (dim + 8) 2^-53 of the sum of magnitudes. */
static double plain_key(enum engram_metric metric, const double *q, double q_scale, const double *x,
                        double x_scale, int64_t dim, double *error)
{
    double unit = 2 * (double)(dim + 8) * 0x1p-53;
    double dot = 0;
    double magnitude = 0;
    double squares[2] = {0, 0};
    double apart = 0;
    /* Cosine does not depend on scale; without it, 1e300 squared would be infinite. */
    double qs = metric == ENGRAM_COSINE && q_scale > 0 ? q_scale : 1;
    double xs = metric == ENGRAM_COSINE && x_scale > 0 ? x_scale : 1;

    for (int64_t i = 0; i < dim; i++) {
        double a = q[i] / qs;
        double b = x[i] / xs;
        dot += a * b;
        magnitude += fabs(a * b);
        squares[0] += a * a;
        squares[1] += b * b;
        apart += (q[i] - x[i]) * (q[i] - x[i]);
    }
    switch (metric) {
    case ENGRAM_COSINE:
        *error = 4 * unit;
        if (squares[0] == 0 || squares[1] == 0) {
            return 1;
        }
        return 1 - fmax(-1, fmin(1, dot / (sqrt(squares[0]) * sqrt(squares[1]))));
    case ENGRAM_IP:
        *error = unit * magnitude + (double)dim * 0x1p-1073;
        return -dot;
    case ENGRAM_L2:
        *error = unit * sqrt(apart) + sqrt((double)dim) * 0x1p-536;
        return sqrt(apart);
    default:
        *error = unit * apart + (double)dim * 0x1p-1073;
        return apart;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Scans the base for query `q`; returns how many rows are eligible, or -1: the query is not. */
static int64_t scan(const struct verification *v, struct bench *bench, int64_t q)
{
    double q_scale;
    double x_scale;
    int64_t eligible = 0;
    if (!load_row(&v->queries.set, q, bench->query, &q_scale)) {
        return -1;
    }
    for (int64_t r = 0; r < v->base.set.rows; r++) {
        bool self = v->info.self && q + v->queries.first == r + v->base.first;
        bench->answered[r] = false;
        bench->keys[r] = NAN;
        if (!load_row(&v->base.set, r, bench->row, &x_scale) || self) {
            continue;
        }
        bench->keys[r] = plain_key(v->info.metric, bench->query, q_scale, bench->row, x_scale,
                                   v->base.set.dim, &bench->errors[r]);
        bench->sorted[eligible++] = bench->keys[r];
    }
    qsort(bench->sorted, (size_t)eligible, sizeof *bench->sorted, compare_doubles);
    return eligible;
}

/* Whether a key lies within the limits: 1 yes, 0 no, -1 too near to tell. */
static int within_limits(const struct engram_result_info *info, double key, double error)
{
    double similarity = info->metric == ENGRAM_COSINE ? 1 - key : -key;
    int verdict = 1;
    if (!isnan(info->max_distance)) {
        verdict = key + error < info->max_distance ? 1 : key - error > info->max_distance ? 0 : -1;
    }
    if (!isnan(info->min_similarity) && verdict != 0) {
        int other = similarity - error > info->min_similarity   ? 1
                    : similarity + error < info->min_similarity ? 0
                                                                : -1;
        verdict = other < verdict ? other : verdict;
        verdict = other == 0 ? 0 : verdict;
    }
    return verdict;
}

/* A stored float32 against a key: the difference beyond float32 rounding, relative to the key. */
static double difference(float stored, double key)
{
    if (isinf(stored)) {
        return fabs(key) > 0x1.fffffep127 ? 0 : INFINITY;
    }
    double rounding = fabs(key) * 0x1p-24 + 0x1p-150;
    double beyond = fabs((double)stored - key) - rounding;
    return beyond <= 0 ? 0 : beyond / (fabs(key) > 1 ? fabs(key) : 1);
}

/* Checks answer i of a query; false: it is wrong. */
static bool check_answer(const struct verification *v, struct bench *bench, int64_t i, int64_t row,
                         float distance, struct finding *finding)
{
    int64_t local = row - v->base.first;
    if (local < 0 || local >= v->base.set.rows || isnan(bench->keys[local]) ||
        bench->answered[local]) {
        return false;
    }
    bench->answered[local] = true;
    double key = bench->keys[local];
    double slack = 2 * bench->errors[local];
    double off = difference(distance, key);
    finding->difference = off > finding->difference ? off : finding->difference;
    if (off * (fabs(key) > 1 ? fabs(key) : 1) > slack || within_limits(&v->info, key, slack) == 0) {
        return false;
    }
    /* With k, the i-th answer must be as near as the i-th of the scan. */
    if (v->info.k != INT64_MAX && key != bench->sorted[i]) {
        if (fabs(key - bench->sorted[i]) > 2 * slack) {
            return false;
        }
        finding->swaps++;
    }
    return true;
}

/* Rows that had to be answered and were not. */
static int64_t missing(const struct verification *v, const struct bench *bench, int64_t eligible,
                       int64_t count)
{
    int64_t expected = 0;
    int64_t unsure = 0;
    int64_t absent = 0;
    for (int64_t r = 0; r < v->base.set.rows; r++) {
        if (isnan(bench->keys[r])) {
            continue;
        }
        int within = within_limits(&v->info, bench->keys[r], 2 * bench->errors[r]);
        expected += within == 1;
        unsure += within < 0;
        absent += within == 1 && !bench->answered[r];
    }
    if (v->info.k == INT64_MAX) {
        return absent;
    }
    /* The i-th answers were compared with the i-th of the scan: only their number is left. */
    int64_t least = expected < v->info.k ? expected : v->info.k;
    int64_t most = expected + unsure < v->info.k ? expected + unsure : v->info.k;
    (void)eligible;
    return count < least ? least - count : count > most ? count - most : 0;
}

static struct finding check_query(const struct verification *v, struct bench *bench, int64_t q,
                                  int64_t count, const int64_t *rows, const float *distances)
{
    struct finding finding = {.answers = count};
    int64_t eligible = scan(v, bench, q);
    if (eligible < 0) {
        finding.errors = count;
        return finding;
    }
    for (int64_t i = 0; i < count; i++) {
        bool ordered = i == 0 || distances[i - 1] <= distances[i];
        if (i >= eligible || !ordered ||
            !check_answer(v, bench, i, rows[i], distances[i], &finding)) {
            finding.errors++;
        }
    }
    finding.errors += missing(v, bench, eligible, count);
    return finding;
}

static void bench_free(struct bench *bench)
{
    free(bench->query);
    free(bench->row);
    free(bench->keys);
    free(bench->errors);
    free(bench->sorted);
    free(bench->answered);
}

static bool bench_make(const struct verification *v, struct bench *bench)
{
    size_t dim = (size_t)v->base.set.dim + 1;
    size_t rows = (size_t)v->base.set.rows + 1;
    *bench = (struct bench){
        .query = calloc(dim, sizeof(double)),
        .row = calloc(dim, sizeof(double)),
        .keys = calloc(rows, sizeof(double)),
        .errors = calloc(rows, sizeof(double)),
        .sorted = calloc(rows, sizeof(double)),
        .answered = calloc(rows, sizeof(bool)),
    };
    return bench->query != NULL && bench->row != NULL && bench->keys != NULL &&
           bench->errors != NULL && bench->sorted != NULL && bench->answered != NULL;
}

/* A query's answers, copied: the result's own memory lasts for one call only. */
struct answers {
    int64_t query;
    int64_t count;
    int64_t *rows;
    float *distances;
};

static enum engram_status take_answers(struct verification *v, int64_t query, struct answers *out)
{
    const int64_t *rows;
    const float *distances;
    *out = (struct answers){.query = query};
    enum engram_status status = engram_result_row(v->result, query, &out->count, &rows, &distances);
    if (status != ENGRAM_OK) {
        return status;
    }
    size_t count = (size_t)out->count;
    out->rows = malloc((count + 1) * sizeof *rows);
    out->distances = malloc((count + 1) * sizeof *distances);
    if (out->rows == NULL || out->distances == NULL) {
        return engram_fail(&v->options->log, ENGRAM_ERR_RESOURCE, "not enough memory to verify");
    }
    if (count > 0) {
        memcpy(out->rows, rows, count * sizeof *rows);
        memcpy(out->distances, distances, count * sizeof *distances);
    }
    return ENGRAM_OK;
}

static void add_finding(struct engram_verify_report *report, const struct finding *finding,
                        int64_t query)
{
    report->queries_checked++;
    report->answers_checked += finding->answers;
    report->swaps += finding->swaps;
    report->errors += finding->errors;
    if (finding->errors > 0 &&
        (report->first_error_query < 0 || query < report->first_error_query)) {
        report->first_error_query = query;
    }
    if (finding->difference > report->largest_difference) {
        report->largest_difference = finding->difference;
    }
}

/* Checks `count` queries at once, one a thread at a time. */
static enum engram_status check_batch(struct verification *v, struct bench *benches,
                                      struct answers *batch, int64_t count)
{
#pragma omp parallel for schedule(dynamic) num_threads(v->threads)
    for (int64_t i = 0; i < count; i++) {
        struct finding finding = check_query(v, &benches[omp_get_thread_num()], batch[i].query,
                                             batch[i].count, batch[i].rows, batch[i].distances);
#pragma omp critical(engram_verify)
        add_finding(v->report, &finding, batch[i].query);
    }
    const int *cancel = v->options->cancel;
    return cancel != NULL && __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0 ? ENGRAM_ERR_CANCELLED
                                                                            : ENGRAM_OK;
}

static enum engram_status check_all(struct verification *v, struct bench *benches,
                                    struct answers *batch, int64_t room, int64_t sample)
{
    int64_t total = v->info.queries;
    int64_t wanted = sample == 0 || sample > total ? total : sample;
    enum engram_status status = ENGRAM_OK;
    v->checking = (struct engram_stage_progress){
        v->options, ENGRAM_STAGE_SEARCH, 0,
        engram_saturating_mul((uint64_t)wanted, (uint64_t)v->base.set.rows)};
    for (int64_t done = 0; status == ENGRAM_OK && done < wanted;) {
        int64_t count = wanted - done < room ? wanted - done : room;
        for (int64_t i = 0; i < room; i++) {
            batch[i] = (struct answers){0};
        }
        for (int64_t i = 0; status == ENGRAM_OK && i < count; i++) {
            /* Spread evenly: (done + i) * total / wanted without overflow. */
            int64_t nth = done + i;
            int64_t query = nth * (total / wanted) + nth * (total % wanted) / wanted;
            status = take_answers(v, query, &batch[i]);
        }
        if (status == ENGRAM_OK) {
            status = check_batch(v, benches, batch, count);
        }
        for (int64_t i = 0; i < count; i++) {
            free(batch[i].rows);
            free(batch[i].distances);
        }
        done += count;
        engram_stage_tell(&v->checking,
                          engram_saturating_mul((uint64_t)done, (uint64_t)v->base.set.rows), 0);
    }
    return status;
}

static enum engram_status check_results(struct verification *v, int64_t sample)
{
    int64_t room = 4 * (int64_t)v->threads;
    struct bench *benches = calloc((size_t)v->threads, sizeof *benches);
    struct answers *batch = calloc((size_t)room, sizeof *batch);
    bool ok = benches != NULL && batch != NULL;
    for (int t = 0; ok && t < v->threads; t++) {
        ok = bench_make(v, &benches[t]);
    }
    enum engram_status status =
        ok ? check_all(v, benches, batch, room, sample)
           : engram_fail(&v->options->log, ENGRAM_ERR_RESOURCE, "not enough memory to verify");
    for (int t = 0; benches != NULL && t < v->threads; t++) {
        bench_free(&benches[t]);
    }
    free(benches);
    free(batch);
    return status;
}

static enum engram_status read_side(struct verification *v, const struct engram_set_ref *ref,
                                    struct side *side)
{
    const struct engram_source_options options = {
        .path = ref->file->path,
        .dataset = ref->dataset,
        .first = ref->first,
        .last = ref->last,
        .slab_rows = INT64_MAX,
        .threads = v->threads,
        .cancel = v->options->cancel,
        .progress = engram_stage_tell,
        .progress_context = &v->reading,
        .log = v->options->log,
    };
    struct engram_slab slab;
    enum engram_status status = engram_source_open(&options, &side->source);
    if (status == ENGRAM_OK) {
        status = engram_source_next(side->source, &slab);
    }
    if (status == ENGRAM_OK) {
        side->set = slab.set;
        side->set.dim = ref->dataset->dims[1];
        side->first = ref->first;
        v->reading.before += (uint64_t)slab.set.rows;
    }
    return status;
}

/* The sets that the result says it was made from. */
static enum engram_status resolve(struct verification *v)
{
    struct engram_job_options job = *v->options;
    const struct engram_result_info *info = &v->info;
    memcpy(job.base_rows, info->base_rows, sizeof job.base_rows);
    memcpy(job.query_rows, info->query_rows, sizeof job.query_rows);
    job.metric_given = true;
    job.metric = info->metric;
    job.self = info->self;
    job.k = info->k == INT64_MAX ? 0 : info->k;
    job.max_distance_given = info->k == INT64_MAX;
    job.max_distance = INFINITY;
    if (job.base == NULL) {
        job.base = info->base_path;
    }
    if (job.queries == NULL && !info->self) {
        job.queries = info->query_path;
    }
    enum engram_status status = engram_inputs_resolve(&job, &v->inputs);
    if (status != ENGRAM_OK) {
        return status;
    }
    const int64_t *base = v->inputs.base.dataset->dims;
    const int64_t *queries = v->inputs.queries.dataset->dims;
    if (base[0] != info->base_shape[0] || base[1] != info->base_shape[1] ||
        queries[0] != info->query_shape[0] || queries[1] != info->query_shape[1] ||
        v->inputs.queries.last - v->inputs.queries.first != info->queries) {
        return engram_fail(&v->options->log, ENGRAM_ERR_DATA,
                           "%s: was not made from these sets (its shapes differ); give the "
                           "--base and --queries of the job",
                           v->options->output);
    }
    return ENGRAM_OK;
}

static enum engram_status verify(struct verification *v, int64_t sample)
{
    const struct engram_job_options *options = v->options;
    v->threads = options->threads > 0 ? options->threads : engram_threads_default();
    enum engram_status status = engram_team_prove(v->threads, &options->log);
    if (status == ENGRAM_OK) {
        status = engram_result_open(options->output, &options->log, &v->result, &v->info);
    }
    if (status == ENGRAM_OK) {
        status = resolve(v);
    }
    if (status == ENGRAM_OK) {
        v->reading = (struct engram_stage_progress){
            options, ENGRAM_STAGE_READ, 0,
            (uint64_t)(v->inputs.base.last - v->inputs.base.first) + (uint64_t)v->info.queries};
        status = read_side(v, &v->inputs.base, &v->base);
    }
    if (status == ENGRAM_OK) {
        status = read_side(v, &v->inputs.queries, &v->queries);
    }
    if (status == ENGRAM_OK) {
        v->report->queries_total = v->info.queries;
        status = check_results(v, sample);
    }
    if (status == ENGRAM_OK) {
        status = engram_truth_recall(&v->inputs, &v->info, v->result, options, v->report);
    }
    return status == ENGRAM_OK && v->report->errors > 0 ? ENGRAM_DIFFERENT : status;
}

enum engram_status engram_job_verify(const struct engram_job_options *options, int64_t sample,
                                     struct engram_verify_report *report)
{
    struct engram_verify_report unused;
    if (options == NULL || options->size != sizeof *options || options->input == NULL ||
        options->output == NULL || sample < 0) {
        return ENGRAM_ERR_USAGE;
    }
    struct verification v = {.options = options, .report = report == NULL ? &unused : report};
    *v.report = (struct engram_verify_report){.first_error_query = -1};
    enum engram_status status = verify(&v, sample);
    engram_source_close(v.base.source);
    engram_source_close(v.queries.source);
    engram_result_close(v.result);
    engram_inputs_free(&v.inputs);
    return status;
}
