/* Duplicate groups: search and publication. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "job/state.h"
#include "search/prepared.h"

/* Numbers for the report; `sizes` is zeroed and has room for a number for every row. */
static void count_groups(const int64_t *component, int64_t rows, int32_t *sizes,
                         struct engram_job_report *report)
{
    for (int64_t i = 0; i < rows; i++) {
        int32_t size = ++sizes[component[i]];
        report->kept_rows += size == 1;
        report->groups += size == 2;
        report->largest_group = size > report->largest_group ? size : report->largest_group;
    }
}

/* Rows within the slab become rows of the dataset. */
static enum engram_status finish(struct engram_job_state *job, int64_t rows)
{
    int64_t *component = job->answers.component;
    int32_t *sizes = calloc((size_t)rows + 1, sizeof *sizes);
    if (sizes == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to count the groups");
    }
    count_groups(component, rows, sizes, job->report);
    free(sizes);
    for (int64_t i = 0; i < rows; i++) {
        component[i] += job->inputs.base.first;
    }
    job->report->answers = (uint64_t)rows;
    return ENGRAM_OK;
}

static enum engram_status search(struct engram_job_state *job, const struct engram_slab *slab)
{
    struct engram_request request;
    struct engram_prepared *prepared = NULL;
    enum engram_status status = engram_job_prepare(job, slab, &request, &prepared);
    uint64_t start = engram_clock_ns();
    if (status == ENGRAM_OK) {
        status = engram_unit_components(prepared, &job->queries, &request, job->answers.component,
                                        &job->report->search);
    }
    engram_prepared_free(prepared);
    job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

enum engram_status engram_job_components(struct engram_job_state *job)
{
    int64_t rows = job->inputs.base.last - job->inputs.base.first;
    struct engram_source *source = NULL;
    struct engram_slab slab;

    job->answers.component = malloc(((size_t)rows + 1) * sizeof *job->answers.component);
    if (job->answers.component == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the groups");
    }
    enum engram_status status = engram_job_load_queries(job);
    if (status == ENGRAM_OK) {
        status = engram_feed_open(job, &job->inputs.base, INT64_MAX, &source);
    }
    if (status == ENGRAM_OK) {
        status = engram_feed_next(job, source, &job->base_content, &slab);
    }
    if (status == ENGRAM_OK) {
        job->queries.set = slab.set;
        job->queries.set.dim = job->inputs.base.dataset->dims[1];
        status = search(job, &slab);
    }
    if (status == ENGRAM_OK) {
        status = finish(job, rows);
    }
    if (status == ENGRAM_OK) {
        status = engram_job_publish(job);
    }
    engram_source_close(source);
    return status;
}
