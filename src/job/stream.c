#include "job/stream.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

/* Rows that the filter, means and axes that slabs share are found from. */
#define MODEL_ROWS ((int64_t)4096)
#define MODEL_ROWS_MIN ((int64_t)256)

struct engram_stream {
    struct engram_job_state *job;
    struct engram_source *base;
    struct engram_source *queries; /* NULL: they are the rows of the base */
    struct engram_prepared *model; /* what all slabs have in common; NULL: not needed, or not yet */
    struct engram_prepared *prepared;
    struct engram_slab slab; /* of the base, prepared */
    int64_t slab_rows;       /* of the base, but for the last slab */
    int64_t left;            /* base rows that these queries still have to see */
    bool whole;              /* one slab holds the base */
    bool loaded;             /* a slab is there */
    bool given;              /* some slab was given to these queries */
    bool upward;             /* slabs are given from the first to the last */
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
    opened->slab_rows = job->plan.base_slab_rows;
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
static void limit_to_slabs(const struct engram_job_state *job, int64_t base_first_row,
                           struct engram_search_options *options, struct engram_request *request)
{
    const struct engram_row_data *data = &job->inputs.row_data;
    size_t base = (size_t)(base_first_row - job->inputs.base.first);
    size_t queries = (size_t)(job->queries.first_row - job->inputs.job_queries[0]);
    options->allowed = data->allowed == NULL ? NULL : data->allowed + base / 8;
    request->base_groups = data->base_groups == NULL ? NULL : data->base_groups + base;
    request->query_groups = data->query_groups == NULL ? NULL : data->query_groups + queries;
}

void engram_slab_question(struct engram_job_state *job, int64_t base_first_row,
                          struct engram_search_options *options, struct engram_request *request)
{
    *options = (struct engram_search_options)ENGRAM_SEARCH_OPTIONS_INIT;
    *request = engram_job_request(job);
    limit_to_slabs(job, base_first_row, options, request);
    options->metric = job->inputs.metric;
    options->k = request->k;
    options->max_distance = request->max_key;
    options->min_similarity = request->min_score;
    options->self = request->self;
    options->expected_rows = (int64_t)job->plan.base_rows;
    options->expected_queries = (int64_t)job->plan.query_rows;
    /* AUTO leaves the choice between filters to a look at the data. */
    options->filter = request->filter;
    options->isa = job->plan.isa;
    options->threads = job->plan.threads;
    options->cancel = job->options->cancel;
    options->log = job->options->log;
}

/* Packed by two filters they take less than the packed slab and the one read ahead, neither of
 * which is there yet. */
static int64_t model_rows(const struct engram_stream *stream)
{
    int64_t rows = stream->slab.set.rows / (stream->job->plan.read_ahead ? 2 : 5);
    return rows < MODEL_ROWS_MIN ? MODEL_ROWS_MIN : rows > MODEL_ROWS ? MODEL_ROWS : rows;
}

/* One filter, its axes and its means for all slabs: found once, from rows all over the first slab.
 * Where they take more memory than the least, slabs are smaller. */
static enum engram_status make_model(struct engram_stream *stream,
                                     const struct engram_search_options *question)
{
    struct engram_job_state *job = stream->job;
    struct engram_search_options options = *question;
    struct engram_set sample = stream->slab.set;
    int64_t step = (sample.rows - 1) / model_rows(stream) + 1;
    sample.rows = (sample.rows - 1) / step + 1;
    sample.stride *= (size_t)step;
    options.allowed = NULL; /* of the slab's rows, and these are some of them */
    enum engram_status status = engram_prepare_model(
        &sample, job->base_name, (int64_t)job->plan.base_rows, &options, &stream->model);
    if (status == ENGRAM_OK && job->plan.base_slab_least < stream->slab_rows &&
        stream->model->choice.filter == ENGRAM_FILTER_F32) {
        stream->slab_rows = job->plan.base_slab_least;
        engram_source_limit(stream->base, stream->slab_rows);
        stream->slab.set.rows = stream->slab_rows;
    }
    return status;
}

static bool wants_model(const struct engram_stream *stream)
{
    enum engram_filter filter = stream->job->plan.filter;
    return !stream->whole && stream->model == NULL &&
           (filter == ENGRAM_FILTER_F32 || filter == ENGRAM_FILTER_INT ||
            filter == ENGRAM_FILTER_PREFIX);
}

static enum engram_status prepare(struct engram_stream *stream, struct engram_request *request)
{
    struct engram_job_state *job = stream->job;
    struct engram_search_options options;
    enum engram_status status = ENGRAM_OK;

    engram_slab_question(job, stream->slab.first_row, &options, request);
    if (wants_model(stream) && stream->prepared == NULL) {
        status = make_model(stream, &options);
    }
    if (status == ENGRAM_OK && stream->prepared == NULL) {
        status = engram_prepare_like(stream->model, &stream->slab.set, job->base_name,
                                     stream->slab.first_row, &options, &stream->prepared);
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

/* ---- slabs of the base, up and down in turn: the one that ends a pass begins the next */

/* First row of the slab that follows in this pass. */
static int64_t next_row(const struct engram_stream *stream)
{
    const struct engram_slab *slab = &stream->slab;
    return stream->upward ? slab->first_row + slab->set.rows : slab->first_row - stream->slab_rows;
}

/* A new pass, if it can with the slab that is there. True: it is to be read first. */
static bool begin_pass(struct engram_stream *stream)
{
    const struct engram_set_ref *base = &stream->job->inputs.base;
    const struct engram_slab *slab = &stream->slab;
    stream->left = base->last - base->first;
    stream->upward = !stream->loaded || slab->first_row + slab->set.rows < base->last;
    if (stream->loaded && (!stream->upward || slab->first_row == base->first)) {
        return false;
    }
    engram_source_seek(stream->base, base->first);
    return true;
}

/* The slab that comes next in this pass is read while this one is searched. */
static void read_ahead(struct engram_stream *stream)
{
    stream->left -= stream->slab.set.rows;
    if (stream->left > 0) {
        engram_source_seek(stream->base, next_row(stream));
        if (stream->job->plan.read_ahead) {
            engram_source_start(stream->base);
        }
    }
}

/* Of a base that does not fit: the next slab for these queries. */
static enum engram_status load_next(struct engram_stream *stream, bool *more)
{
    bool read = stream->given ? stream->left > 0 : begin_pass(stream);
    *more = stream->left > 0;
    return read ? load_base(stream) : ENGRAM_OK;
}

/* Whether all of the queries in memory and the slab is done, so that it need not be prepared. */
static bool nothing_left(const struct engram_stream *stream)
{
    const struct engram_job_state *job = stream->job;
    const int64_t query = job->queries.first_row;
    const int64_t row = stream->slab.first_row;
    const struct engram_unit unit = {.queries = {query, query + job->queries.set.rows},
                                     .base = {row, row + stream->slab.set.rows}};
    struct engram_unit left;
    return job->done.count > 0 && stream->slab.set.rows > 0 && job->queries.set.rows > 0 &&
           !engram_done_left(&job->done, &unit, &left);
}

/* The same, past slabs of which nothing is left to do. */
static enum engram_status load_useful(struct engram_stream *stream, bool *more)
{
    enum engram_status status = load_next(stream, more);
    while (status == ENGRAM_OK && *more && nothing_left(stream)) {
        stream->given = true;
        read_ahead(stream);
        status = load_next(stream, more);
    }
    return status;
}

enum engram_status engram_stream_base(struct engram_stream *stream,
                                      const struct engram_prepared **prepared, int64_t *first_row,
                                      struct engram_request *request)
{
    bool more = !stream->given;
    enum engram_status status = ENGRAM_OK;

    *prepared = NULL;
    if (!stream->whole) {
        status = load_useful(stream, &more);
    } else if (more && !stream->loaded) {
        status = load_base(stream);
    }
    if (status != ENGRAM_OK || !more) {
        stream->counted = stream->counted || status == ENGRAM_OK;
        return status;
    }
    uint64_t start = engram_clock_ns();
    status = prepare(stream, request);
    stream->job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    stream->given = true;
    if (status == ENGRAM_OK && !stream->whole) {
        read_ahead(stream);
    }
    *prepared = status == ENGRAM_OK ? stream->prepared : NULL;
    *first_row = stream->slab.first_row;
    return status;
}

void engram_stream_again(struct engram_stream *stream)
{
    stream->given = false;
    if (!stream->whole && stream->left > 0) {
        engram_source_rewind(stream->base); /* nothing is read any more when this returns */
    }
}

enum engram_status engram_stream_finish(struct engram_stream *stream)
{
    struct engram_job_state *job = stream->job;
    enum engram_status status = ENGRAM_OK;
    if (!stream->whole) {
        engram_source_seek(stream->base, job->inputs.base.first + job->base_content.hashed);
    }
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
        engram_prepared_free(stream->model);
        engram_source_close(stream->base);
        engram_source_close(stream->queries);
        free(stream);
    }
}
