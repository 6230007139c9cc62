#include "job/stream.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

struct engram_stream {
    struct engram_job_state *job;
    struct engram_source *base;
    struct engram_source *queries; /* NULL: they are the rows of the base */
    struct engram_prepared *prepared;
    struct engram_slab slab; /* of the base, prepared */
    bool whole;              /* one slab holds the base */
    bool loaded;             /* and it is there */
    bool given;              /* to these queries */
    bool started;            /* some slab of queries was given */
    bool checked;            /* these queries were checked */
    bool counted;            /* the whole base was seen once */
};

enum engram_status engram_stream_open(struct engram_job_state *job, struct engram_stream **stream)
{
    struct engram_stream *opened = calloc(1, sizeof *opened);
    *stream = opened;
    if (opened == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE, "not enough memory to read");
    }
    opened->job = job;
    opened->whole = job->plan.base_slab_rows == INT64_MAX;
    enum engram_status status =
        engram_feed_open(job, &job->inputs.base, job->plan.base_slab_rows, &opened->base);
    if (status == ENGRAM_OK && !(opened->whole && engram_inputs_shared(&job->inputs))) {
        status = engram_feed_open(job, &job->inputs.queries, job->plan.query_slab_rows,
                                  &opened->queries);
    }
    job->queries.what = job->query_name;
    job->queries.first_row = job->inputs.queries.first;
    return status;
}

/* The next slab of the base into memory; under no name yet. */
static enum engram_status load_base(struct engram_stream *stream)
{
    struct engram_job_state *job = stream->job;
    engram_prepared_free(stream->prepared);
    stream->prepared = NULL;
    enum engram_status status =
        engram_feed_next(job, stream->base, &job->base_content, &stream->slab);
    stream->slab.set.dim = job->inputs.base.dataset->dims[1];
    stream->loaded = status == ENGRAM_OK;
    return status;
}

enum engram_status engram_stream_queries(struct engram_stream *stream, bool *more)
{
    struct engram_job_state *job = stream->job;
    struct engram_slab slab;
    enum engram_status status = ENGRAM_OK;
    bool first = !stream->started;

    stream->started = true;
    stream->checked = false;
    if (!first) {
        engram_stream_again(stream);
    }
    if (stream->queries == NULL) {
        *more = first;
        status = first ? load_base(stream) : ENGRAM_OK;
        job->queries.set = stream->slab.set;
        return status;
    }
    status = engram_feed_next(job, stream->queries, &job->query_content, &slab);
    if (status != ENGRAM_OK) {
        return status;
    }
    *more = first || slab.set.rows > 0;
    job->queries.set = slab.set;
    job->queries.set.dim = job->inputs.queries.dataset->dims[1];
    job->queries.first_row = slab.first_row;
    return status;
}

/* What is said about single rows, for the rows of the slabs: slabs begin on a grain. */
static void limit_to_slabs(const struct engram_stream *stream,
                           struct engram_search_options *options, struct engram_request *request)
{
    const struct engram_job_state *job = stream->job;
    const struct engram_row_data *data = &job->inputs.row_data;
    size_t base = (size_t)(stream->slab.first_row - job->inputs.base.first);
    size_t queries = (size_t)(job->queries.first_row - job->inputs.job_queries[0]);
    options->allowed = data->allowed == NULL ? NULL : data->allowed + base / 8;
    request->base_groups = data->base_groups == NULL ? NULL : data->base_groups + base;
    request->query_groups = data->query_groups == NULL ? NULL : data->query_groups + queries;
}

static enum engram_status prepare(struct engram_stream *stream, struct engram_request *request)
{
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_job_state *job = stream->job;
    enum engram_status status = ENGRAM_OK;

    *request = engram_job_request(job);
    limit_to_slabs(stream, &options, request);
    options.metric = job->inputs.metric;
    options.k = request->k;
    options.max_distance = request->max_key;
    options.min_similarity = request->min_score;
    options.self = request->self;
    options.expected_rows = (int64_t)job->plan.base_rows;
    options.expected_queries =
        stream->whole ? (int64_t)job->plan.query_rows : job->queries.set.rows;
    /* AUTO leaves the choice between filters to a look at the data. */
    options.filter = request->filter;
    options.isa = job->plan.isa;
    options.threads = job->plan.threads;
    options.cancel = job->options->cancel;
    options.log = job->options->log;
    if (stream->prepared == NULL) {
        status = engram_prepare_named(&stream->slab.set, job->base_name, stream->slab.first_row,
                                      &options, &stream->prepared);
        if (status == ENGRAM_OK && !stream->counted) {
            job->report->search.skipped_base += stream->prepared->skipped;
        }
    }
    if (status == ENGRAM_OK && !stream->checked) {
        stream->checked = true;
        status = engram_queries_check(stream->prepared, &job->queries, request,
                                      &job->report->search.skipped_queries);
    }
    return status;
}

enum engram_status engram_stream_base(struct engram_stream *stream,
                                      const struct engram_prepared **prepared, int64_t *first_row,
                                      struct engram_request *request)
{
    bool fresh = !stream->whole || !stream->loaded;
    enum engram_status status = ENGRAM_OK;

    *prepared = NULL;
    if (stream->whole && stream->given) {
        stream->counted = true;
        return ENGRAM_OK;
    }
    if (fresh) {
        status = load_base(stream);
    }
    /* An empty base that is whole is prepared like any other: the queries are checked against it.
     */
    if (status != ENGRAM_OK || (stream->slab.set.rows == 0 && !stream->whole)) {
        stream->counted = true;
        return status;
    }
    uint64_t start = engram_clock_ns();
    status = prepare(stream, request);
    stream->job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    stream->given = true;
    *prepared = status == ENGRAM_OK ? stream->prepared : NULL;
    *first_row = stream->slab.first_row;
    return status;
}

void engram_stream_again(struct engram_stream *stream)
{
    stream->given = false;
    if (!stream->whole) {
        engram_source_rewind(stream->base);
    }
}

enum engram_status engram_stream_finish(struct engram_stream *stream)
{
    struct engram_job_state *job = stream->job;
    enum engram_status status = ENGRAM_OK;
    while (status == ENGRAM_OK &&
           job->base_content.hashed < job->inputs.base.last - job->inputs.base.first) {
        status = load_base(stream);
    }
    return status;
}

void engram_stream_close(struct engram_stream *stream)
{
    if (stream != NULL) {
        engram_prepared_free(stream->prepared);
        engram_source_close(stream->base);
        engram_source_close(stream->queries);
        free(stream);
    }
}
