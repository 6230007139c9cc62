/* The job: read, search, publish. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/size.h"
#include "job/budget.h"
#include "job/crew.h"
#include "job/ranks.h"
#include "job/sets.h"
#include "job/spooling.h"
#include "job/threads.h"
#include "kernels/kernels.h"
#include "search/prepared.h"

/* Of a message that another rank left. */
#define WHY_SIZE 512

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
        .filter = plan_filter(job),
        .threads = job->plan.threads,
        .cancel = job->options->cancel,
        .progress = engram_stage_tell,
        .progress_context = &job->searching,
        .log = job->options->log,
    };
}

struct engram_publish_options engram_job_publish_options(const struct engram_job_state *job,
                                                         const char *digest)
{
    struct engram_publish_options options = {
        .path = job->options->output,
        .replace = job->options->force,
        .compress = job->options->compress,
        .threads = job->plan.threads,
        .digest = digest,
        .cancel = job->options->cancel,
        .log = job->options->log,
    };
    if (job->inputs.shard[1] > 0) {
        options.part = (struct engram_part_content){
            .base = &job->base_content,
            .queries = engram_feed_query_content(job),
            .max_pairs = job->options->max_pairs,
        };
    }
    return options;
}

enum engram_status engram_job_publish(struct engram_job_state *job)
{
    if (engram_ranks_self() > 0) { /* rank 0 has the answers */
        return ENGRAM_OK;
    }
    char digest[ENGRAM_DIGEST_SIZE];
    struct engram_stage_progress writing = {job->options, ENGRAM_STAGE_WRITE, 0,
                                            (uint64_t)job->report->query_count, &job->checkpoint};
    uint64_t start = engram_clock_ns();
    engram_feed_digest(job, digest);
    struct engram_publish_options options = engram_job_publish_options(job, digest);
    options.progress = engram_stage_tell;
    options.progress_context = &writing;
    int64_t answers = 0;
    enum engram_status status = engram_parts_total(&job->answers.parts, &answers);
    job->report->answers += (uint64_t)answers;
    if (job->answers.spool != NULL) {
        job->report->answers = (uint64_t)engram_spool_total(job->answers.spool);
    }
    if (status == ENGRAM_OK) {
        status = engram_spooling_check_output(job);
    }
    if (status == ENGRAM_OK) {
        status = engram_publish(&job->inputs, &job->answers, &options);
    }
    job->report->write_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

static enum engram_status answer(struct engram_job_state *job)
{
    switch (job->inputs.answer) {
    case ENGRAM_ANSWER_DENSE:
        return engram_job_dense(job);
    case ENGRAM_ANSWER_PAIRWISE: /* little but reading, which rank 0 does in any case */
        return engram_ranks_self() > 0 ? ENGRAM_OK : engram_job_pairwise(job);
    case ENGRAM_ANSWER_COMPONENTS:
        return engram_job_components(job);
    default:
        return engram_plan_spools(&job->inputs) ? engram_job_pairs(job) : engram_job_answers(job);
    }
}

static enum engram_status compute(struct engram_job_state *job)
{
    enum engram_status status = engram_plan_check(&job->plan, &job->options->log);
    if (status == ENGRAM_OK) {
        status = engram_feed_contents(job);
    }
    if (status == ENGRAM_OK) {
        status = answer(job);
    }
    job->report->rows_read = job->reading.before;
    /* Whatever this run, an earlier one or another rank had to search: all was read. */
    job->report->search.skipped_base = job->base_content.skipped;
    job->report->search.skipped_queries = engram_feed_query_content(job).skipped;
    return status;
}

/* Rows that will be read; of two sets of which neither fits one is read more than once. */
static uint64_t rows_to_read(const struct engram_job_state *job)
{
    const struct engram_plan *plan = &job->plan;
    bool borrowed = plan->base_slab_rows == INT64_MAX && engram_inputs_shared(&job->inputs);
    uint64_t base = engram_saturating_mul(plan->base_rows, engram_plan_readings(plan, true));
    uint64_t queries = engram_saturating_mul(plan->query_rows, engram_plan_readings(plan, false));
    return engram_saturating_add(base, borrowed ? 0 : queries);
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
    job->reading = (struct engram_stage_progress){job->options, ENGRAM_STAGE_READ, 0,
                                                  rows_to_read(job), &job->checkpoint};
    job->searching = (struct engram_stage_progress){job->options, ENGRAM_STAGE_SEARCH, 0,
                                                    job->plan.pairs, &job->checkpoint};
}

static enum engram_status run(struct engram_job_state *job)
{
    bool finished = false;
    enum engram_status status = engram_inputs_resolve(job->options, &job->inputs);
    if (status == ENGRAM_OK) {
        status = engram_plan_make(&job->inputs, job->options, &job->plan);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    start_report(job);
    if (engram_ranks_self() == 0) {
        status = engram_check_output(job, &finished);
    }
    return status == ENGRAM_OK && !finished ? compute(job) : status;
}

/* All ranks cut the same slabs: the least that one of them may take. */
static uint64_t memory_of_all(const struct engram_job_options *options)
{
    int threads = options->threads > 0 ? options->threads : engram_threads_default();
    return engram_ranks_least(options->memory > 0
                                  ? options->memory
                                  : engram_budget_default(threads) / (uint64_t)engram_ranks_here());
}

/* Keeps the first error for rank 0, which tells it with the rank's number. */
static void keep_first(void *context, enum engram_log_level level, const char *message)
{
    char *first = context;
    if (level == ENGRAM_LOG_ERROR && first[0] == '\0') {
        (void)snprintf(first, WHY_SIZE, "%s", message);
    }
}

static void finish(struct engram_job_state *job, enum engram_status *status)
{
    engram_checkpoint_close(job, *status);
    *status = engram_crew_close(job, *status);
    engram_dense_close(job, *status);
    engram_parts_free(&job->answers.parts);
    free(job->answers.component);
    engram_spool_free(job->answers.spool);
    engram_forest_free(&job->forest);
    free(job->folder);
    engram_content_free(&job->base_content);
    engram_content_free(&job->query_content);
    engram_inputs_free(&job->inputs);
}

enum engram_status engram_job_run(const struct engram_job_options *options,
                                  struct engram_job_report *report)
{
    struct engram_job_report unused = {0};
    char why[WHY_SIZE] = "";
    fenv_t saved;

    if (options == NULL || options->size != sizeof *options || options->input == NULL ||
        options->output == NULL || options->compress < 0 || options->compress > 9) {
        return ENGRAM_ERR_USAGE;
    }
    struct engram_job_options own = *options;
    struct engram_job_state job = {.options = &own, .report = report == NULL ? &unused : report};
    memset(job.report, 0, sizeof *job.report);
    job.report->ranks = engram_ranks_count();
    if (engram_ranks_self() > 0) {
        own.log = (struct engram_log){keep_first, why};
    }
    if (engram_ranks_count() > 1) {
        own.memory = engram_plan_part(memory_of_all(options));
    }
    engram_fp_enter(&saved);
    enum engram_status status = engram_crew_start(&job);
    if (status == ENGRAM_OK) {
        status = run(&job);
    }
    engram_fp_leave(&saved);
    finish(&job, &status);
    if (engram_ranks_self() > 0) {
        engram_ranks_leave(status, why);
    }
    return status;
}
