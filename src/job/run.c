#define _GNU_SOURCE
/* The job: read, search, publish. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/result.h"
#include "io/source.h"
#include "job/identity.h"
#include "job/plan.h"
#include "job/publish.h"
#include "kernels/kernels.h"
#include "search/prepared.h"
#include "search/unit.h"

/* Queries of a unit: whole grains. */
#define UNIT_QUERIES ((int64_t)64 * ENGRAM_ROW_GRAIN)

/* Progress of one stage that is made of several calls. */
struct stage {
    const struct engram_job_options *options;
    enum engram_job_stage stage;
    uint64_t before; /* done by earlier calls */
    uint64_t total;
};

struct job {
    const struct engram_job_options *options;
    struct engram_job_report *report;
    struct engram_inputs inputs;
    struct engram_plan plan;
    struct engram_content_hashes base_content;
    struct engram_content_hashes query_content;
    struct engram_source *query_source; /* NULL: the queries lie in the base slab */
    struct engram_query_rows queries;
    char query_name[512];
    char base_name[512];
    struct engram_answers answers;
    struct stage reading;
    struct stage searching;
};

static void tell(void *context, uint64_t done, uint64_t total)
{
    const struct stage *stage = context;
    (void)total;
    if (stage->options->progress != NULL) {
        stage->options->progress(stage->options->progress_context, stage->stage,
                                 stage->before + done, stage->total);
    }
}

static enum engram_status open_source(struct job *job, const struct engram_set_ref *set,
                                      int64_t slab_rows, struct engram_source **source)
{
    const struct engram_source_options options = {
        .path = set->file->path,
        .dataset = set->dataset,
        .first = set->first,
        .last = set->last,
        .slab_rows = slab_rows,
        .threads = job->plan.threads,
        .cancel = job->options->cancel,
        .progress = tell,
        .progress_context = &job->reading,
        .log = job->options->log,
    };
    return engram_source_open(&options, source);
}

/* Reads the next slab and hashes it. */
static enum engram_status next_slab(struct job *job, struct engram_source *source,
                                    struct engram_content_hashes *content, struct engram_slab *slab)
{
    uint64_t start = engram_clock_ns();
    enum engram_status status = engram_source_next(source, slab);
    if (status == ENGRAM_OK) {
        engram_content_add(content, &slab->set, job->plan.threads);
        job->reading.before += (uint64_t)slab->set.rows;
    }
    job->report->read_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

static enum engram_status hash_ids(struct job *job, const struct engram_set_ref *set,
                                   struct engram_content_hashes *content)
{
    struct engram_ids ids;
    if (set->ids == NULL) {
        return ENGRAM_OK;
    }
    enum engram_status status = engram_ids_read(set->file->path, set->ids->path, 0,
                                                set->dataset->dims[0], &job->options->log, &ids);
    if (status == ENGRAM_OK) {
        engram_content_add_ids(content, &ids);
        engram_ids_free(&ids);
    }
    return status;
}

static bool same_rows(const struct engram_inputs *inputs)
{
    return inputs->self && inputs->base.first == inputs->queries.first &&
           inputs->base.last == inputs->queries.last;
}

static enum engram_status create_contents(struct job *job)
{
    const struct engram_inputs *inputs = &job->inputs;
    const struct engram_log *log = &job->options->log;
    enum engram_status status =
        engram_content_create(inputs->base.last - inputs->base.first, log, &job->base_content);
    if (status == ENGRAM_OK) {
        status = engram_content_create(inputs->queries.last - inputs->queries.first, log,
                                       &job->query_content);
    }
    if (status == ENGRAM_OK) {
        status = hash_ids(job, &inputs->base, &job->base_content);
    }
    if (status == ENGRAM_OK) {
        status = hash_ids(job, &inputs->queries, &job->query_content);
    }
    return status;
}

/* All queries into memory, unless they are the rows of the (single) base slab. */
static enum engram_status load_queries(struct job *job)
{
    struct engram_slab slab;
    job->queries.first_row = job->inputs.queries.first;
    job->queries.what = job->query_name;
    if (same_rows(&job->inputs) && job->plan.base_slab_rows == INT64_MAX) {
        return ENGRAM_OK;
    }
    enum engram_status status =
        open_source(job, &job->inputs.queries, INT64_MAX, &job->query_source);
    if (status == ENGRAM_OK) {
        status = next_slab(job, job->query_source, &job->query_content, &slab);
    }
    if (status == ENGRAM_OK) {
        job->queries.set = slab.set;
        job->queries.set.dim = job->inputs.queries.dataset->dims[1];
    }
    return status;
}

static enum engram_status create_answers(struct job *job)
{
    int64_t queries = job->inputs.queries.last - job->inputs.queries.first;
    job->answers.count = (queries + UNIT_QUERIES - 1) / UNIT_QUERIES;
    job->answers.parts = calloc((size_t)job->answers.count + 1, sizeof *job->answers.parts);
    if (job->answers.parts == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the answers");
    }
    for (int64_t i = 0; i < job->answers.count; i++) {
        int64_t first = i * UNIT_QUERIES;
        int64_t count = queries - first < UNIT_QUERIES ? queries - first : UNIT_QUERIES;
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
static enum engram_status run_unit(struct job *job, const struct engram_prepared *prepared,
                                   int64_t base_first_row, int64_t part,
                                   const struct engram_request *request)
{
    struct engram_partial *known = &job->answers.parts[part];
    struct engram_partial found;
    int64_t first = part * UNIT_QUERIES;
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

static struct engram_request make_request(struct job *job)
{
    return (struct engram_request){
        .metric = job->inputs.metric,
        .k = job->inputs.k,
        .max_key = job->inputs.max_distance,
        .min_score = job->inputs.min_similarity,
        .self = job->inputs.self,
        .filter = job->plan.filter,
        .threads = job->plan.threads,
        .cancel = job->options->cancel,
        .progress = tell,
        .progress_context = &job->searching,
        .log = job->options->log,
    };
}

/* All queries against one slab of the base. */
static enum engram_status search_slab(struct job *job, const struct engram_slab *slab)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_request request = make_request(job);
    struct engram_prepared *prepared = NULL;
    struct engram_set base = slab->set;
    uint64_t start = engram_clock_ns();

    base.dim = job->inputs.base.dataset->dims[1];
    options.metric = job->inputs.metric;
    options.filter = job->plan.filter;
    options.isa = job->plan.isa;
    options.threads = job->plan.threads;
    options.cancel = job->options->cancel;
    options.log = job->options->log;
    enum engram_status status =
        engram_prepare_named(&base, job->base_name, slab->first_row, &options, &prepared);
    if (status == ENGRAM_OK) {
        job->report->search.skipped_base += prepared->skipped;
        status = engram_queries_check(prepared, &job->queries, &request,
                                      &job->report->search.skipped_queries);
    }
    for (int64_t part = 0; status == ENGRAM_OK && part < job->answers.count; part++) {
        status = run_unit(job, prepared, slab->first_row, part, &request);
    }
    engram_prepared_free(prepared);
    job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

/* Streams the base past the queries. */
static enum engram_status search_base(struct job *job)
{
    struct engram_source *source = NULL;
    struct engram_slab slab;
    enum engram_status status =
        open_source(job, &job->inputs.base, job->plan.base_slab_rows, &source);
    bool borrow = job->query_source == NULL;
    do {
        if (status == ENGRAM_OK) {
            status = next_slab(job, source, &job->base_content, &slab);
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

/* Identity of the finished job; rows that were borrowed were hashed once. */
static void make_digest(const struct job *job, char digest[ENGRAM_DIGEST_SIZE])
{
    struct engram_content_hashes queries = job->query_content;
    if (same_rows(&job->inputs)) {
        queries.grains = job->base_content.grains;
    }
    engram_identity_digest(&job->inputs, job->options->compress, &job->base_content, &queries,
                           digest);
}

static enum engram_status publish(struct job *job)
{
    char digest[ENGRAM_DIGEST_SIZE];
    struct stage writing = {job->options, ENGRAM_STAGE_WRITE, 0,
                            (uint64_t)job->report->query_count};
    uint64_t start = engram_clock_ns();
    make_digest(job, digest);
    const struct engram_publish_options options = {
        .path = job->options->output,
        .replace = job->options->force,
        .compress = job->options->compress,
        .threads = job->plan.threads,
        .digest = digest,
        .cancel = job->options->cancel,
        .progress = tell,
        .progress_context = &writing,
        .log = job->options->log,
    };
    for (int64_t i = 0; i < job->answers.count; i++) {
        const struct engram_partial *part = &job->answers.parts[i];
        job->report->answers += (uint64_t)part->indptr[part->queries];
    }
    enum engram_status status = engram_publish(&job->inputs, &job->answers, &options);
    job->report->write_seconds = (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

static enum engram_status compute(struct job *job)
{
    enum engram_status status = engram_plan_check_memory(&job->plan, &job->options->log);
    if (status == ENGRAM_OK) {
        status = create_contents(job);
    }
    if (status == ENGRAM_OK) {
        status = create_answers(job);
    }
    if (status == ENGRAM_OK) {
        status = load_queries(job);
    }
    if (status == ENGRAM_OK) {
        status = search_base(job);
    }
    if (status == ENGRAM_OK) {
        status = publish(job);
    }
    return status;
}

/* Reads and hashes a set without keeping it. */
static enum engram_status hash_set(struct job *job, const struct engram_set_ref *set,
                                   struct engram_content_hashes *content)
{
    struct engram_source *source = NULL;
    struct engram_slab slab;
    enum engram_status status = open_source(job, set, UNIT_QUERIES, &source);
    do {
        if (status == ENGRAM_OK) {
            status = next_slab(job, source, content, &slab);
        }
    } while (status == ENGRAM_OK && slab.set.rows > 0);
    engram_source_close(source);
    return status;
}

/* OUTPUT exists and --force was not given: it is this job's result, or it is refused. */
static enum engram_status check_existing(struct job *job)
{
    char found[ENGRAM_DIGEST_SIZE];
    char ours[ENGRAM_DIGEST_SIZE];
    const char *output = job->options->output;

    engram_result_digest(output, found);
    if (found[0] != '\0') {
        enum engram_status status = create_contents(job);
        if (status == ENGRAM_OK) {
            status = hash_set(job, &job->inputs.base, &job->base_content);
        }
        if (status == ENGRAM_OK && !same_rows(&job->inputs)) {
            status = hash_set(job, &job->inputs.queries, &job->query_content);
        }
        if (status != ENGRAM_OK) {
            return status;
        }
        make_digest(job, ours);
        if (strcmp(found, ours) == 0) {
            job->report->outcome = ENGRAM_JOB_UP_TO_DATE;
            return ENGRAM_OK;
        }
    }
    return engram_fail(&job->options->log, ENGRAM_ERR_CANT_CREATE,
                       "%s: exists and is not the finished result of this job (%s); use another "
                       "name, or --force to replace it",
                       output,
                       found[0] == '\0' ? "it is no engram result"
                                        : "its input or options were different");
}

/* The result must not replace a file it is made from, under whatever name. */
static enum engram_status check_output_name(const struct job *job, bool *exists)
{
    const char *output = job->options->output;
    struct stat out;
    *exists = lstat(output, &out) == 0;
    if (!*exists && errno != ENOENT) {
        return engram_fail(&job->options->log,
                           errno == EACCES ? ENGRAM_ERR_PERMISSION : ENGRAM_ERR_CANT_CREATE,
                           "%s: cannot be created: %s", output, strerror(errno));
    }
    if (stat(output, &out) != 0) {
        return ENGRAM_OK;
    }
    for (int i = 0; i < job->inputs.file_count; i++) {
        struct stat in;
        if (stat(job->inputs.files[i].path, &in) == 0 && in.st_dev == out.st_dev &&
            in.st_ino == out.st_ino) {
            return engram_fail(&job->options->log, ENGRAM_ERR_USAGE,
                               "%s: is an input of this job; choose another name for the result",
                               output);
        }
    }
    return ENGRAM_OK;
}

/* Finds out before the search, not after it, that the result has no place to go. */
static enum engram_status check_folder(const struct job *job)
{
    const char *output = job->options->output;
    const char *slash = strrchr(output, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(output, (size_t)(slash - output) + 1);
    if (folder == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE, "not enough memory");
    }
    int failed = access(folder, W_OK | X_OK) != 0 ? errno : 0;
    free(folder);
    if (failed != 0) {
        return engram_fail(&job->options->log,
                           failed == EACCES || failed == EROFS ? ENGRAM_ERR_PERMISSION
                                                               : ENGRAM_ERR_CANT_CREATE,
                           "%s: its folder cannot be written to: %s", output, strerror(failed));
    }
    return ENGRAM_OK;
}

static void start_report(struct job *job)
{
    const struct engram_inputs *inputs = &job->inputs;
    struct engram_job_report *report = job->report;
    report->metric = inputs->metric;
    memcpy(report->metric_reason, inputs->metric_reason, sizeof report->metric_reason);
    report->self = inputs->self;
    report->k = inputs->k;
    report->pairs_result = inputs->pairs_result;
    report->base_count = inputs->base.last - inputs->base.first;
    report->query_count = inputs->queries.last - inputs->queries.first;
    report->dim = inputs->base.dataset->dims[1];
    report->base_dtype = engram_source_dtype(inputs->base.dataset);
    report->search.threads = job->plan.threads;
    report->search.isa = job->plan.isa;
    report->search.filter = job->plan.filter;
    (void)snprintf(job->base_name, sizeof job->base_name, "%s: %s", inputs->base.file->path,
                   inputs->base.dataset->path);
    (void)snprintf(job->query_name, sizeof job->query_name, "%s: %s", inputs->queries.file->path,
                   inputs->queries.dataset->path);
    job->reading = (struct stage){job->options, ENGRAM_STAGE_READ, 0,
                                  (uint64_t)report->base_count +
                                      (same_rows(inputs) ? 0 : (uint64_t)report->query_count)};
    job->searching = (struct stage){job->options, ENGRAM_STAGE_SEARCH, 0, job->plan.pairs};
}

static enum engram_status run(struct job *job)
{
    bool exists;
    enum engram_status status = engram_inputs_resolve(job->options, &job->inputs);
    if (status == ENGRAM_OK) {
        status = engram_plan_make(&job->inputs, job->options, &job->plan);
    }
    if (status == ENGRAM_OK) {
        status = check_output_name(job, &exists);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    start_report(job);
    if (exists && !job->options->force) {
        return check_existing(job);
    }
    status = check_folder(job);
    return status == ENGRAM_OK ? compute(job) : status;
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
    struct job job = {.options = options, .report = report == NULL ? &unused : report};
    memset(job.report, 0, sizeof *job.report);
    engram_fp_enter(&saved);
    enum engram_status status = run(&job);
    engram_fp_leave(&saved);
    for (int64_t i = 0; job.answers.parts != NULL && i < job.answers.count; i++) {
        engram_partial_free(&job.answers.parts[i]);
    }
    free(job.answers.parts);
    engram_source_close(job.query_source);
    engram_content_free(&job.base_content);
    engram_content_free(&job.query_content);
    engram_inputs_free(&job.inputs);
    return status;
}
