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
    int64_t next;            /* row at which the next slab of this pass begins */
    int64_t next_query;      /* likewise of queries */
    bool over;               /* there is none */
    bool whole;              /* one slab holds the base */
    bool loaded;             /* a slab is there */
    bool given;              /* these queries' pass over the base has begun */
    bool upward;             /* slabs are given from the first to the last */
    bool started;            /* slabs of queries were asked for */
    bool checked;            /* these queries were checked */
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
    opened->next_query = job->inputs.queries.first;
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
    }
    if (status == ENGRAM_OK && !stream->checked) {
        int64_t skipped = 0; /* known from reading */
        stream->checked = true;
        status = engram_queries_check(stream->prepared, &job->queries, request, &skipped);
    }
    return status;
}

/* ---- slabs of the base, up and down in turn: the one that ends a pass begins the next */

static int64_t rows_at(const struct engram_stream *stream, int64_t row)
{
    int64_t left = stream->job->inputs.base.last - row;
    return stream->whole || left < stream->slab_rows ? left : stream->slab_rows;
}

/* Whether something is left to do of the queries in memory and the slab at `row`, so that it has to
 * be read. Sets without rows are looked at, too. */
static bool is_useful(const struct engram_stream *stream, int64_t row)
{
    struct engram_job_state *job = stream->job;
    const int64_t query = job->queries.first_row;
    const struct engram_unit unit = {.queries = {query, query + job->queries.set.rows},
                                     .base = {row, row + rows_at(stream, row)}};
    return unit.queries[0] == unit.queries[1] || unit.base[0] == unit.base[1] ||
           engram_units_left(job, &unit);
}

/* To the slab that follows one of `rows` rows in this pass. */
static void step(struct engram_stream *stream, int64_t rows)
{
    const struct engram_set_ref *base = &stream->job->inputs.base;
    if (stream->upward) {
        stream->next += rows;
        stream->over = stream->next >= base->last;
    } else {
        stream->over = stream->next == base->first;
        stream->next = stream->next - base->first < stream->slab_rows
                           ? base->first
                           : stream->next - stream->slab_rows;
    }
}

/* To the next slab of this pass that is of use. */
static void skip_useless(struct engram_stream *stream)
{
    while (!stream->over && !is_useful(stream, stream->next)) {
        step(stream, rows_at(stream, stream->next));
    }
}

static void begin_pass(struct engram_stream *stream)
{
    const struct engram_set_ref *base = &stream->job->inputs.base;
    const struct engram_slab *slab = &stream->slab;
    stream->upward = !stream->loaded || slab->first_row + slab->set.rows < base->last;
    stream->next = stream->upward ? base->first : slab->first_row;
    stream->over = base->first == base->last;
    stream->given = true;
}

/* Nothing is read any more when this returns. */
static void stop_reading(struct engram_stream *stream)
{
    engram_source_seek(stream->base, stream->job->inputs.base.last);
}

/* The slab that comes next in this pass is read while this one is searched. */
static void read_ahead(struct engram_stream *stream)
{
    step(stream, stream->slab.set.rows);
    skip_useless(stream);
    if (!stream->over) {
        engram_source_seek(stream->base, stream->next);
        if (stream->job->plan.read_ahead) {
            engram_source_start(stream->base);
        }
    }
}

/* Of a base that does not fit: the next slab for these queries. What others do meanwhile, or an
 * earlier run did, is not read here: engram_feed_rest sees to the content. */
static enum engram_status load_next(struct engram_stream *stream, bool *more)
{
    if (!stream->given) {
        begin_pass(stream);
    }
    skip_useless(stream);
    *more = !stream->over;
    if (stream->over) {
        stop_reading(stream);
        return ENGRAM_OK;
    }
    if (stream->loaded && stream->slab.first_row == stream->next) {
        return ENGRAM_OK;
    }
    engram_source_seek(stream->base, stream->next);
    return load_base(stream);
}

/* Of one that does: once for these queries. */
static enum engram_status load_whole(struct engram_stream *stream, bool *more)
{
    *more = !stream->given && is_useful(stream, stream->job->inputs.base.first);
    stream->given = true;
    return *more && !stream->loaded ? load_base(stream) : ENGRAM_OK;
}

enum engram_status engram_stream_base(struct engram_stream *stream,
                                      const struct engram_prepared **prepared, int64_t *first_row,
                                      struct engram_request *request)
{
    bool more;
    *prepared = NULL;
    enum engram_status status =
        stream->whole ? load_whole(stream, &more) : load_next(stream, &more);
    if (status != ENGRAM_OK || !more) {
        return status;
    }
    uint64_t start = engram_clock_ns();
    status = prepare(stream, request);
    stream->job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    if (status == ENGRAM_OK && !stream->whole) {
        read_ahead(stream);
    }
    *prepared = status == ENGRAM_OK ? stream->prepared : NULL;
    *first_row = stream->slab.first_row;
    return status;
}

/* ---- slabs of queries */

/* To the next slab of queries of which something is left to do. Without rows there is one slab. */
static bool find_queries(struct engram_stream *stream)
{
    struct engram_job_state *job = stream->job;
    const struct engram_set_ref *queries = &job->inputs.queries;
    const int64_t rows = job->plan.query_slab_rows;
    struct engram_unit all = engram_units_all(job);
    bool first = stream->next_query == queries->first && !stream->started;
    while (stream->next_query < queries->last) {
        int64_t left = queries->last - stream->next_query;
        all.queries[0] = stream->next_query;
        all.queries[1] = stream->next_query + (rows < left ? rows : left);
        if (all.base[0] == all.base[1] || engram_units_left(job, &all)) {
            return true;
        }
        stream->next_query = all.queries[1];
    }
    return first && queries->first == queries->last;
}

enum engram_status engram_stream_queries(struct engram_stream *stream, bool *more)
{
    struct engram_job_state *job = stream->job;
    struct engram_slab slab;
    bool first = !stream->started;

    stream->checked = false;
    stream->given = false;
    if (!stream->whole) {
        stop_reading(stream);
    }
    if (stream->queries == NULL) {
        stream->started = true;
        *more = first;
        enum engram_status status = first ? load_base(stream) : ENGRAM_OK;
        job->queries.set = stream->slab.set;
        return status;
    }
    *more = find_queries(stream);
    stream->started = true;
    if (!*more) {
        return ENGRAM_OK;
    }
    engram_source_seek(stream->queries, stream->next_query);
    enum engram_status status =
        engram_feed_next(job, stream->queries, engram_feed_content(job, true), &slab);
    if (status != ENGRAM_OK) {
        return status;
    }
    stream->next_query += slab.set.rows;
    job->queries.set = slab.set;
    job->queries.set.dim = job->inputs.queries.dataset->dims[1];
    job->queries.first_row = slab.first_row;
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
