/* Checks a result: reads it and the sets that it was made from, query by query (check.c). */
#define _GNU_SOURCE
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/size.h"
#include "base/team.h"
#include "job/check_components.h"
#include "job/sets.h"
#include "job/state.h"
#include "job/threads.h"
#include "job/truth.h"

/* Progress is reported at most this often. */
#define PROGRESS_NS ((uint64_t)100 * 1000 * 1000)

struct verification {
    const struct engram_job_options *options;
    struct engram_verify_report *report;
    struct engram_inputs inputs;
    struct engram_result *result;
    struct engram_source *base_source; /* they own the rows */
    struct engram_source *query_source;
    struct engram_check check;
    struct engram_component_check groups; /* results of --components */
    int threads;
    struct engram_stage_progress reading;
    uint64_t told; /* when progress was last reported */
};

/* A query's answers, copied: the result's own memory lasts for one call only. */
struct answers {
    int64_t query;
    int64_t count;
    int64_t *rows;
    double *values;
    bool wrong_label; /* the label is not the one of the row */
};

static enum engram_status take_answers(struct verification *v, int64_t query, struct answers *out)
{
    const int64_t *rows;
    const double *values;
    *out = (struct answers){.query = query};
    if (v->check.info.kind == ENGRAM_RESULT_COMPONENTS) {
        return ENGRAM_OK; /* they are there already */
    }
    enum engram_status status = engram_result_row(v->result, query, &out->count, &rows, &values);
    if (status != ENGRAM_OK) {
        return status;
    }
    size_t count = (size_t)out->count;
    out->rows = malloc((count + 1) * sizeof *rows);
    out->values = malloc((count + 1) * sizeof *values);
    if (out->rows == NULL || out->values == NULL) {
        return engram_fail(&v->options->log, ENGRAM_ERR_RESOURCE, "not enough memory to verify");
    }
    if (count > 0) {
        memcpy(out->rows, rows, count * sizeof *rows);
        memcpy(out->values, values, count * sizeof *values);
    }
    return ENGRAM_OK;
}

/* Compares the label of a result row with the one of the base row that gave it. */
static enum engram_status check_label(struct verification *v, struct answers *answers)
{
    const struct engram_labels *labels = &v->inputs.row_data.labels;
    char room[24];
    const char *wanted = "";
    const char *text;
    size_t wanted_length = 0;
    size_t length;
    enum engram_status status = engram_result_label(v->result, answers->query, &text, &length);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (answers->count > 0 && labels->codes[answers->rows[0]] >= 0) {
        wanted = engram_labels_name(labels, labels->codes[answers->rows[0]], room, &wanted_length);
    }
    answers->wrong_label = length != wanted_length || memcmp(text, wanted, length) != 0;
    return ENGRAM_OK;
}

static void add_finding(struct engram_verify_report *report, const struct engram_finding *finding,
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

/* A row of a result of groups. Scans run at the same time, what they found is taken in turns. */
static void check_group(struct verification *v, struct engram_check_room *room, int64_t q)
{
    int64_t eligible = engram_check_scan(&v->check, room, q);
#pragma omp critical(engram_verify)
    {
        struct engram_finding finding =
            engram_check_component(&v->check, &v->groups, room, q, eligible);
        add_finding(v->report, &finding, q);
    }
}

/* Checks `count` queries at once, one a thread at a time. */
static enum engram_status check_batch(struct verification *v, struct engram_check_room *rooms,
                                      struct answers *batch, int64_t count)
{
#pragma omp parallel for schedule(dynamic) num_threads(v->threads)
    for (int64_t i = 0; i < count; i++) {
        if (v->check.info.kind == ENGRAM_RESULT_COMPONENTS) {
            check_group(v, &rooms[omp_get_thread_num()], batch[i].query);
            continue;
        }
        struct engram_finding finding =
            engram_check_query(&v->check, &rooms[omp_get_thread_num()], batch[i].query,
                               batch[i].count, batch[i].rows, batch[i].values);
        finding.errors += batch[i].wrong_label;
#pragma omp critical(engram_verify)
        add_finding(v->report, &finding, batch[i].query);
    }
    const int *cancel = v->options->cancel;
    return cancel != NULL && __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0 ? ENGRAM_ERR_CANCELLED
                                                                            : ENGRAM_OK;
}

static void tell_checked(struct verification *v, int64_t done, int64_t wanted)
{
    uint64_t rows = (uint64_t)v->check.base.rows;
    uint64_t now = engram_clock_ns();
    struct engram_stage_progress stage = {v->options, ENGRAM_STAGE_SEARCH, 0,
                                          engram_saturating_mul((uint64_t)wanted, rows), NULL};
    if (now - v->told >= PROGRESS_NS || done == wanted) {
        v->told = now;
        engram_stage_tell(&stage, engram_saturating_mul((uint64_t)done, rows), 0);
    }
}

static enum engram_status check_all(struct verification *v, struct engram_check_room *rooms,
                                    struct answers *batch, int64_t room, int64_t sample)
{
    int64_t total = v->check.info.queries;
    int64_t wanted = sample == 0 || sample > total ? total : sample;
    enum engram_status status = ENGRAM_OK;
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
            if (status == ENGRAM_OK && v->check.info.kind == ENGRAM_RESULT_LABELS) {
                status = check_label(v, &batch[i]);
            }
        }
        if (status == ENGRAM_OK) {
            status = check_batch(v, rooms, batch, count);
        }
        for (int64_t i = 0; i < count; i++) {
            free(batch[i].rows);
            free(batch[i].values);
        }
        done += count;
        tell_checked(v, done, wanted);
    }
    return status;
}

/* With all pairs at hand, whether chains of them hold the groups together. */
static void check_chains(struct verification *v)
{
    int64_t first = -1;
    int64_t apart = engram_check_connected(&v->check, &v->groups, &first);
    if (apart > 0 && (v->report->first_error_query < 0 || first < v->report->first_error_query)) {
        v->report->first_error_query = first;
    }
    v->report->errors += apart;
}

static enum engram_status check_results(struct verification *v, int64_t sample)
{
    int64_t room = 4 * (int64_t)v->threads;
    struct engram_check_room *rooms = calloc((size_t)v->threads, sizeof *rooms);
    struct answers *batch = calloc((size_t)room, sizeof *batch);
    bool ok = rooms != NULL && batch != NULL;
    for (int t = 0; ok && t < v->threads; t++) {
        ok = engram_check_room_make(&v->check, &rooms[t]);
    }
    enum engram_status status =
        ok ? ENGRAM_OK
           : engram_fail(&v->options->log, ENGRAM_ERR_RESOURCE, "not enough memory to verify");
    if (status == ENGRAM_OK && v->check.info.kind == ENGRAM_RESULT_COMPONENTS) {
        status = engram_component_check_make(v->result, v->check.info.queries, &v->options->log,
                                             &v->groups);
    }
    if (status == ENGRAM_OK) {
        status = check_all(v, rooms, batch, room, sample);
    }
    if (status == ENGRAM_OK && v->check.info.kind == ENGRAM_RESULT_COMPONENTS &&
        v->report->queries_checked == v->check.info.queries) {
        check_chains(v);
    }
    for (int t = 0; rooms != NULL && t < v->threads; t++) {
        engram_check_room_free(&rooms[t]);
    }
    free(rooms);
    free(batch);
    return status;
}

static enum engram_status read_side(struct verification *v, const struct engram_set_ref *ref,
                                    struct engram_source **source, struct engram_set *rows,
                                    int64_t *first)
{
    const struct engram_source_options options = {
        .slab_rows = INT64_MAX,
        .threads = v->threads,
        .allow_external = v->options->allow_external,
        .cancel = v->options->cancel,
        .progress = engram_stage_tell,
        .progress_context = &v->reading,
        .log = v->options->log,
    };
    struct engram_slab slab;
    enum engram_status status = engram_set_open(ref, &options, source);
    if (status == ENGRAM_OK) {
        status = engram_source_next(*source, &slab);
    }
    if (status == ENGRAM_OK) {
        *rows = slab.set;
        rows->dim = ref->dataset->dims[1];
        *first = ref->first;
        v->reading.before += (uint64_t)slab.set.rows;
    }
    return status;
}

/* The row data that the result says it was made with, unless the options name it. USAGE when it is
 * a file that only they can name. */
static enum engram_status name_row_data(const struct verification *v,
                                        struct engram_job_options *job, char groups[1100])
{
    const struct engram_result_info *info = &v->check.info;
    if (job->subset == NULL && info->subset_path[0] != '\0') {
        job->subset = info->subset_path;
    }
    if (job->exclude_same == NULL && info->groups_path[0] != '\0') {
        (void)snprintf(groups, 1100, "%s%s%s", info->groups_path,
                       info->query_groups_path[0] != '\0' ? "," : "", info->query_groups_path);
        job->exclude_same = groups;
    }
    if (job->labels == NULL && info->kind == ENGRAM_RESULT_LABELS) {
        job->labels = info->labels_path;
        if (info->labels_path[0] == '\0') {
            return engram_fail(&v->options->log, ENGRAM_ERR_USAGE,
                               "%s: its labels came from a text file; name it with --labels",
                               v->options->output);
        }
    }
    return ENGRAM_OK;
}

/* The same file names can lead to other data by now. */
static enum engram_status check_row_data(struct verification *v)
{
    const struct engram_row_data *data = &v->inputs.row_data;
    char hash[33];
    bool any = engram_row_data_hash(data, hash);
    if (strcmp(any ? hash : "", v->check.info.row_data_hash) != 0) {
        return engram_fail(&v->options->log, ENGRAM_ERR_DATA,
                           "%s: was made with another subset, other groups or other labels; give "
                           "the --subset, --exclude-same and --labels of the job",
                           v->options->output);
    }
    v->check.allowed = data->allowed;
    v->check.base_groups = data->base_groups;
    if (data->query_groups != NULL) { /* of all queries of the job, of which a shard has some */
        v->check.query_groups =
            data->query_groups + (v->inputs.queries.first - v->inputs.job_queries[0]);
    }
    return ENGRAM_OK;
}

/* The groups of a part are those of its share of the pairs only. */
static enum engram_status refuse_groups_of_part(const struct verification *v)
{
    const struct engram_result_info *info = &v->check.info;
    if (info->shard[1] == 0 || info->kind != ENGRAM_RESULT_COMPONENTS) {
        return ENGRAM_OK;
    }
    return engram_fail(&v->options->log, ENGRAM_ERR_DATA,
                       "%s: is shard %lld of %lld, whose groups are not complete; merge the parts "
                       "and verify the result",
                       v->options->output, (long long)info->shard[0], (long long)info->shard[1]);
}

/* The sets that the result says it was made from. */
static enum engram_status resolve(struct verification *v)
{
    struct engram_job_options job = *v->options;
    const struct engram_result_info *info = &v->check.info;
    memcpy(job.base_rows, info->job_base_rows, sizeof job.base_rows);
    if (info->kind != ENGRAM_RESULT_COMPONENTS) { /* there they are the base's */
        memcpy(job.query_rows, info->job_query_rows, sizeof job.query_rows);
    }
    job.shard = info->shard[0];
    job.shards = info->shard[1];
    job.metric_given = true;
    job.metric = info->metric;
    job.self = info->self;
    job.all = info->kind == ENGRAM_RESULT_DENSE;
    job.pairwise = info->kind == ENGRAM_RESULT_PAIRWISE;
    job.k = info->k == INT64_MAX || info->kind == ENGRAM_RESULT_LABELS ? 0 : info->k;
    job.components = info->kind == ENGRAM_RESULT_COMPONENTS;
    job.max_distance_given = info->kind == ENGRAM_RESULT_PAIRS || job.components;
    job.max_distance = INFINITY;
    const char *const base_path = info->base_path;
    if (job.base_count == 0) {
        job.bases = &base_path;
        job.base_count = 1;
    }
    if (job.queries == NULL && !info->self) {
        job.queries = info->query_path;
    }
    char groups[1100];
    enum engram_status status = name_row_data(v, &job, groups);
    if (status == ENGRAM_OK) {
        status = engram_inputs_resolve(&job, &v->inputs);
    }
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
    return check_row_data(v);
}

static enum engram_status verify(struct verification *v, int64_t sample)
{
    const struct engram_job_options *options = v->options;
    v->threads = options->threads > 0 ? options->threads : engram_threads_default();
    enum engram_status status = engram_team_prove(v->threads, &options->log);
    if (status == ENGRAM_OK) {
        status = engram_result_open(options->output, &options->log, &v->result, &v->check.info);
    }
    if (status == ENGRAM_OK) {
        status = refuse_groups_of_part(v);
    }
    if (status == ENGRAM_OK) {
        status = resolve(v);
    }
    if (status == ENGRAM_OK) {
        v->reading =
            (struct engram_stage_progress){options, ENGRAM_STAGE_READ, 0,
                                           (uint64_t)(v->inputs.base.last - v->inputs.base.first) +
                                               (uint64_t)v->check.info.queries,
                                           NULL};
        status =
            read_side(v, &v->inputs.base, &v->base_source, &v->check.base, &v->check.base_first);
    }
    if (status == ENGRAM_OK) {
        status = read_side(v, &v->inputs.queries, &v->query_source, &v->check.queries,
                           &v->check.query_first);
    }
    if (status == ENGRAM_OK) {
        v->report->queries_total = v->check.info.queries;
        status = check_results(v, sample);
    }
    /* The neighbours that a file brings along know of no subsets and groups. */
    if (status == ENGRAM_OK && v->check.info.row_data_hash[0] == '\0') {
        status = engram_truth_recall(&v->inputs, &v->check.info, v->result, options, v->report);
    }
    return status == ENGRAM_OK && v->report->errors > 0 ? ENGRAM_DIFFERENT : status;
}

enum engram_status engram_job_verify(const struct engram_job_options *options, int64_t sample,
                                     struct engram_verify_report *report)
{
    struct engram_verify_report unused = {0};
    if (options == NULL || options->size != sizeof *options || options->input == NULL ||
        options->output == NULL || sample < 0) {
        return ENGRAM_ERR_USAGE;
    }
    struct verification v = {.options = options, .report = report == NULL ? &unused : report};
    *v.report = (struct engram_verify_report){.first_error_query = -1};
    enum engram_status status = verify(&v, sample);
    engram_source_close(v.base_source);
    engram_source_close(v.query_source);
    engram_component_check_free(&v.groups);
    engram_result_close(v.result);
    engram_inputs_free(&v.inputs);
    return status;
}
