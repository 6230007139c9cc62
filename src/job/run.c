/* The job: read, search, publish. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "job/sets.h"
#include "job/spooling.h"
#include "kernels/kernels.h"
#include "search/prepared.h"

/* Queries of a unit: whole grains. A threshold self-join is one unit, so that each pair of rows is
 * looked at once for both. */
#define UNIT_QUERIES ((int64_t)64 * ENGRAM_ROW_GRAIN)

enum engram_status engram_job_load_queries(struct engram_job_state *job)
{
    struct engram_slab slab;
    job->queries.first_row = job->inputs.queries.first;
    job->queries.what = job->query_name;
    if (engram_feed_shared(&job->inputs) && job->plan.base_slab_rows == INT64_MAX) {
        return ENGRAM_OK;
    }
    enum engram_status status =
        engram_feed_open(job, &job->inputs.queries, INT64_MAX, &job->query_source);
    if (status == ENGRAM_OK) {
        status = engram_feed_next(job, job->query_source, &job->query_content, &slab);
    }
    if (status == ENGRAM_OK) {
        job->queries.set = slab.set;
        job->queries.set.dim = job->inputs.queries.dataset->dims[1];
    }
    return status;
}

static int64_t unit_queries(const struct engram_job_state *job)
{
    bool join = engram_plan_spools(&job->inputs) && engram_feed_shared(&job->inputs);
    return join ? INT64_MAX : UNIT_QUERIES;
}

static enum engram_status create_answers(struct engram_job_state *job)
{
    int64_t queries = job->inputs.queries.last - job->inputs.queries.first;
    int64_t unit = unit_queries(job) < queries ? unit_queries(job) : queries;
    job->answers.count = unit == 0 ? 0 : (queries - 1) / unit + 1;
    job->answers.parts = calloc((size_t)job->answers.count + 1, sizeof *job->answers.parts);
    if (job->answers.parts == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the answers");
    }
    for (int64_t i = 0; i < job->answers.count; i++) {
        int64_t first = i * unit;
        int64_t count = queries - first < unit ? queries - first : unit;
        enum engram_status status =
            engram_partial_create(job->inputs.metric, job->inputs.queries.first + first, count,
                                  job->inputs.k, 0, &job->options->log, &job->answers.parts[i]);
        if (status != ENGRAM_OK) {
            return status;
        }
    }
    return ENGRAM_OK;
}

/* One unit: its partial is merged into what is known of the same queries. */
static enum engram_status run_unit(struct engram_job_state *job,
                                   const struct engram_prepared *prepared, int64_t base_first_row,
                                   int64_t part, const struct engram_request *request)
{
    struct engram_partial *known = &job->answers.parts[part];
    struct engram_partial found;
    int64_t first = known->first_query - job->queries.first_row;
    enum engram_status status =
        engram_unit_search(prepared, base_first_row, &job->queries, first, first + known->queries,
                           request, known, &found, &job->report->search);
    if (status != ENGRAM_OK) {
        return status;
    }
    job->searching.before += (uint64_t)known->queries * (uint64_t)prepared->rows;
    if (known->indptr[known->queries] == 0) {
        engram_partial_free(known);
        *known = found;
        return ENGRAM_OK;
    }
    status = engram_partial_merge(known, &found, &job->options->log);
    engram_partial_free(&found);
    return status;
}

static enum engram_filter plan_filter(const struct engram_job_state *job)
{
    bool open =
        job->options->filter == ENGRAM_FILTER_AUTO && job->plan.filter != ENGRAM_FILTER_CANONICAL;
    return open ? ENGRAM_FILTER_AUTO : job->plan.filter;
}

struct engram_request engram_job_request(struct engram_job_state *job)
{
    return (struct engram_request){
        .metric = job->inputs.metric,
        .k = job->inputs.k,
        .max_key = job->inputs.max_distance,
        .min_score = job->inputs.min_similarity,
        .self = job->inputs.self,
        .query_groups = job->inputs.row_data.query_groups,
        .filter = plan_filter(job),
        .threads = job->plan.threads,
        .cancel = job->options->cancel,
        .progress = engram_stage_tell,
        .progress_context = &job->searching,
        .log = job->options->log,
    };
}

/* What is said about single rows, for the rows of a slab: slabs begin on a grain. */
static void limit_to_slab(const struct engram_job_state *job, const struct engram_slab *slab,
                          struct engram_search_options *options, struct engram_request *request)
{
    const struct engram_row_data *data = &job->inputs.row_data;
    size_t first = (size_t)(slab->first_row - job->inputs.base.first);
    options->allowed = data->allowed == NULL ? NULL : data->allowed + first / 8;
    request->base_groups = data->base_groups == NULL ? NULL : data->base_groups + first;
}

enum engram_status engram_job_prepare(struct engram_job_state *job, const struct engram_slab *slab,
                                      struct engram_request *request,
                                      struct engram_prepared **prepared)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_set base = slab->set;
    uint64_t start = engram_clock_ns();

    base.dim = job->inputs.base.dataset->dims[1];
    options.metric = job->inputs.metric;
    options.k = job->inputs.k;
    options.max_distance = job->inputs.max_distance;
    options.min_similarity = job->inputs.min_similarity;
    options.self = job->inputs.self;
    options.expected_queries = (int64_t)job->plan.query_rows;
    *request = engram_job_request(job);
    limit_to_slab(job, slab, &options, request);
    /* AUTO leaves the choice between filters to a look at the data. */
    options.filter = plan_filter(job);
    options.isa = job->plan.isa;
    options.threads = job->plan.threads;
    options.cancel = job->options->cancel;
    options.log = job->options->log;
    enum engram_status status =
        engram_prepare_named(&base, job->base_name, slab->first_row, &options, prepared);
    if (status == ENGRAM_OK) {
        job->report->search.skipped_base += (*prepared)->skipped;
        status = engram_queries_check(*prepared, &job->queries, request,
                                      &job->report->search.skipped_queries);
    }
    job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

/* All queries against one slab of the base. */
static enum engram_status search_slab(struct engram_job_state *job, const struct engram_slab *slab)
{
    struct engram_request request;
    struct engram_prepared *prepared = NULL;
    enum engram_status status = engram_job_prepare(job, slab, &request, &prepared);
    uint64_t start = engram_clock_ns();

    for (int64_t part = 0; status == ENGRAM_OK && part < job->answers.count; part++) {
        engram_spooling_request(job, &request);
        status = run_unit(job, prepared, slab->first_row, part, &request);
        if (status == ENGRAM_OK) {
            status = engram_spooling_check_count(job);
        }
    }
    engram_prepared_free(prepared);
    job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

/* Streams the base past the queries. */
static enum engram_status search_base(struct engram_job_state *job)
{
    struct engram_source *source = NULL;
    struct engram_slab slab;
    enum engram_status status =
        engram_feed_open(job, &job->inputs.base, job->plan.base_slab_rows, &source);
    bool borrow = job->query_source == NULL;
    do {
        if (status == ENGRAM_OK) {
            status = engram_feed_next(job, source, &job->base_content, &slab);
        }
        if (status == ENGRAM_OK && borrow) {
            job->queries.set = slab.set;
            job->queries.set.dim = job->inputs.base.dataset->dims[1];
            borrow = false;
        } else if (status == ENGRAM_OK && slab.set.rows == 0) {
            break;
        }
        if (status == ENGRAM_OK) {
            status = search_slab(job, &slab);
        }
        /* A slab source gives its memory to the next slab: borrowed queries allow only one. */
    } while (status == ENGRAM_OK && job->query_source != NULL);
    engram_source_close(source);
    return status;
}

enum engram_status engram_job_publish(struct engram_job_state *job)
{
    char digest[ENGRAM_DIGEST_SIZE];
    struct engram_stage_progress writing = {job->options, ENGRAM_STAGE_WRITE, 0,
                                            (uint64_t)job->report->query_count};
    uint64_t start = engram_clock_ns();
    engram_feed_digest(job, digest);
    const struct engram_publish_options options = {
        .path = job->options->output,
        .replace = job->options->force,
        .compress = job->options->compress,
        .threads = job->plan.threads,
        .digest = digest,
        .cancel = job->options->cancel,
        .progress = job->answers.fill == NULL ? engram_stage_tell : NULL, /* it tells itself */
        .progress_context = &writing,
        .log = job->options->log,
    };
    for (int64_t i = 0; i < job->answers.count; i++) {
        const struct engram_partial *part = &job->answers.parts[i];
        job->report->answers += (uint64_t)part->indptr[part->queries];
    }
    if (job->answers.spool != NULL) {
        job->report->answers = (uint64_t)engram_spool_total(job->answers.spool);
    }
    enum engram_status status = engram_spooling_check_output(job);
    if (status == ENGRAM_OK) {
        status = engram_publish(&job->inputs, &job->answers, &options);
    }
    job->report->write_seconds = (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

/* Neighbours and pairs: first all answers, then OUTPUT. */
static enum engram_status compute_answers(struct engram_job_state *job)
{
    enum engram_status status = create_answers(job);
    if (status == ENGRAM_OK) {
        status = engram_spooling_start(job);
    }
    if (status == ENGRAM_OK) {
        status = engram_job_load_queries(job);
    }
    if (status == ENGRAM_OK) {
        status = search_base(job);
    }
    if (status == ENGRAM_OK) {
        status = engram_job_publish(job);
    }
    return status;
}

static enum engram_status compute(struct engram_job_state *job)
{
    enum engram_status status = engram_plan_check(&job->plan, &job->options->log);
    if (status == ENGRAM_OK) {
        status = engram_feed_contents(job);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    switch (job->inputs.answer) {
    case ENGRAM_ANSWER_DENSE:
        return engram_job_dense(job);
    case ENGRAM_ANSWER_PAIRWISE:
        return engram_job_pairwise(job);
    case ENGRAM_ANSWER_COMPONENTS:
        return engram_job_components(job);
    default:
        return compute_answers(job);
    }
}

static void start_report(struct engram_job_state *job)
{
    const struct engram_inputs *inputs = &job->inputs;
    struct engram_job_report *report = job->report;
    report->metric = inputs->metric;
    memcpy(report->metric_reason, inputs->metric_reason, sizeof report->metric_reason);
    report->self = inputs->self;
    report->k = inputs->k;
    report->answer = inputs->answer;
    report->base_count = inputs->base.last - inputs->base.first;
    report->allowed_rows = inputs->row_data.allowed_rows;
    engram_row_data_describe(inputs, report->allowed_reason, sizeof report->allowed_reason);
    report->query_count = inputs->queries.last - inputs->queries.first;
    report->dim = inputs->base.dataset->dims[1];
    report->base_dtype = engram_source_dtype(inputs->base.dataset);
    report->search.threads = job->plan.threads;
    report->search.isa = job->plan.isa;
    report->search.filter = job->plan.filter;
    (void)engram_set_name(&inputs->base, job->base_name, sizeof job->base_name);
    (void)engram_set_name(&inputs->queries, job->query_name, sizeof job->query_name);
    job->reading = (struct engram_stage_progress){
        job->options, ENGRAM_STAGE_READ, 0,
        (uint64_t)report->base_count +
            (engram_feed_shared(inputs) ? 0 : (uint64_t)report->query_count)};
    job->searching =
        (struct engram_stage_progress){job->options, ENGRAM_STAGE_SEARCH, 0, job->plan.pairs};
}

static enum engram_status run(struct engram_job_state *job)
{
    bool finished;
    enum engram_status status = engram_inputs_resolve(job->options, &job->inputs);
    if (status == ENGRAM_OK) {
        status = engram_plan_make(&job->inputs, job->options, &job->plan);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    start_report(job);
    status = engram_check_output(job, &finished);
    return status == ENGRAM_OK && !finished ? compute(job) : status;
}

enum engram_status engram_job_run(const struct engram_job_options *options,
                                  struct engram_job_report *report)
{
    struct engram_job_report unused;
    fenv_t saved;

    if (options == NULL || options->size != sizeof *options || options->input == NULL ||
        options->output == NULL || options->compress < 0 || options->compress > 9) {
        return ENGRAM_ERR_USAGE;
    }
    struct engram_job_state job = {.options = options, .report = report == NULL ? &unused : report};
    memset(job.report, 0, sizeof *job.report);
    engram_fp_enter(&saved);
    enum engram_status status = run(&job);
    engram_fp_leave(&saved);
    for (int64_t i = 0; job.answers.parts != NULL && i < job.answers.count; i++) {
        engram_partial_free(&job.answers.parts[i]);
    }
    free(job.answers.parts);
    free(job.answers.component);
    engram_spool_free(job.answers.spool);
    free(job.folder);
    engram_source_close(job.query_source);
    engram_content_free(&job.base_content);
    engram_content_free(&job.query_content);
    engram_inputs_free(&job.inputs);
    return status;
}
