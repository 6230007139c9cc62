/* The answers that are a value for every pair asked about: all pairs, or row by row. Values are
 * computed while the result is written. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "job/stream.h"
#include "kernels/kernels.h"

/* What the values are computed from. */
struct matrix {
    struct engram_job_state *job;
    struct engram_stream *stream;
    bool started;
    uint64_t search_ns;
};

/* One side of a pairwise job: a stream of slabs, of which `used` rows are done. */
struct side {
    struct engram_source *source;
    struct engram_content_hashes *content;
    struct engram_slab slab;
    int64_t used;
};

/* Rows [first, last) of the queries in memory against every slab of the base. */
static enum engram_status fill_rows(struct matrix *m, int64_t first, int64_t last,
                                    const struct engram_values *values)
{
    struct engram_job_state *job = m->job;
    const size_t size = values->float32 ? sizeof(float) : sizeof(double);
    const struct engram_prepared *prepared;
    struct engram_request request;
    int64_t first_row;
    enum engram_status status = engram_stream_base(m->stream, &prepared, &first_row, &request);
    while (status == ENGRAM_OK && prepared != NULL) {
        struct engram_values columns = *values;
        columns.data =
            (unsigned char *)values->data + (size_t)(first_row - job->inputs.base.first) * size;
        status = engram_unit_dense(prepared, &job->queries, first, last, &request, &columns,
                                   &job->report->search);
        job->searching.before += (uint64_t)(last - first) * (uint64_t)prepared->rows;
        if (status == ENGRAM_OK) {
            status = engram_stream_base(m->stream, &prepared, &first_row, &request);
        }
    }
    return status;
}

/* Where the base is one slab, it stays, and a slab of queries may be many blocks; else a block is a
 * slab of queries. */
static enum engram_status fill_dense(void *context, int64_t first, int64_t count,
                                     const struct engram_values *values)
{
    struct matrix *m = context;
    const struct engram_query_rows *queries = &m->job->queries;
    struct engram_values rows = *values;
    uint64_t start = engram_clock_ns();
    enum engram_status status = ENGRAM_OK;
    rows.stride = (size_t)m->job->report->base_count;
    first += m->job->inputs.queries.first;
    for (int64_t last = first + count; status == ENGRAM_OK && first < last;) {
        bool more = true;
        if (first >= queries->first_row + queries->set.rows) {
            status = engram_stream_queries(m->stream, &more);
            if (status == ENGRAM_OK && !more) {
                status = engram_fail(&m->job->options->log, ENGRAM_ERR_INTERNAL,
                                     "%s: fewer rows than there were", m->job->query_name);
            }
        } else {
            engram_stream_again(m->stream);
        }
        int64_t end = queries->first_row + queries->set.rows;
        end = end < last ? end : last;
        if (status == ENGRAM_OK) {
            status = fill_rows(m, first - queries->first_row, end - queries->first_row, &rows);
        }
        rows.data =
            (unsigned char *)rows.data +
            (size_t)(end - first) * rows.stride * (rows.float32 ? sizeof(float) : sizeof(double));
        first = end;
    }
    m->search_ns += engram_clock_ns() - start;
    return status;
}

/* The result, computed on the way. */
static enum engram_status publish(struct matrix *m)
{
    struct engram_job_state *job = m->job;
    job->answers.fill = fill_dense;
    job->answers.fill_context = m;
    job->answers.block_bytes = job->plan.block_bytes;
    job->report->answers = job->plan.pairs;
    enum engram_status status = engram_job_publish(job);
    job->report->search_seconds += (double)m->search_ns * 1e-9;
    job->report->write_seconds -= (double)m->search_ns * 1e-9;
    return status;
}

/* The result holds the identity, and is written while rows are read: what is not in memory at the
 * start is read for it before. */
static enum engram_status know_content(struct matrix *m)
{
    struct engram_job_state *job = m->job;
    const struct engram_prepared *prepared;
    struct engram_request request;
    int64_t first_row;
    enum engram_status status = ENGRAM_OK;
    if (job->plan.base_slab_rows != INT64_MAX) {
        status = engram_feed_hash(job, &job->inputs.base, &job->base_content);
    }
    if (status == ENGRAM_OK && job->plan.query_slab_rows != INT64_MAX &&
        !engram_inputs_shared(&job->inputs)) {
        status = engram_feed_hash(job, &job->inputs.queries, &job->query_content);
    }
    if (status == ENGRAM_OK) {
        status = engram_stream_queries(m->stream, &m->started);
    }
    if (status == ENGRAM_OK) {
        status = engram_stream_base(m->stream, &prepared, &first_row, &request);
    }
    return status;
}

enum engram_status engram_job_dense(struct engram_job_state *job)
{
    struct matrix m = {.job = job};
    enum engram_status status = engram_stream_open(job, &m.stream);
    if (status == ENGRAM_OK) {
        status = know_content(&m);
    }
    if (status == ENGRAM_OK) {
        status = publish(&m);
    }
    engram_stream_close(m.stream);
    return status;
}

/* ---- row by row */

static enum engram_status fill_pairwise(void *context, int64_t first, int64_t count,
                                        const struct engram_values *values)
{
    const unsigned char *known = context;
    const size_t size = values->float32 ? sizeof(float) : sizeof(double);
    memcpy(values->data, known + (size_t)first * size, (size_t)count * size);
    return ENGRAM_OK;
}

static enum engram_status open_side(struct engram_job_state *job, const struct engram_set_ref *set,
                                    struct engram_content_hashes *content, struct side *side)
{
    *side = (struct side){.content = content};
    return engram_feed_open(job, set, job->plan.base_slab_rows, &side->source);
}

/* Rows that the side has in memory and are not done; reads the next slab when there are none. */
static enum engram_status rows_left(struct engram_job_state *job, struct side *side, int64_t *left)
{
    enum engram_status status = ENGRAM_OK;
    if (side->used == side->slab.set.rows) {
        side->used = 0;
        status = engram_feed_next(job, side->source, side->content, &side->slab);
    }
    *left = status == ENGRAM_OK ? side->slab.set.rows - side->used : 0;
    return status;
}

/* The next `count` rows of a side. */
static struct engram_query_rows take_rows(struct side *side, const struct engram_set_ref *set,
                                          const char *what, int64_t count)
{
    struct engram_query_rows rows = {
        .set = side->slab.set, .first_row = side->slab.first_row + side->used, .what = what};
    rows.set.data = (const unsigned char *)rows.set.data + (size_t)side->used * rows.set.stride;
    rows.set.rows = count;
    rows.set.dim = set->dataset->dims[1];
    side->used += count;
    return rows;
}

/* Both sides slab by slab; with `shared` there is one for both. */
static enum engram_status stream_sides(struct engram_job_state *job, struct side *left,
                                       struct side *right, const struct engram_values *values)
{
    const struct engram_request request = engram_job_request(job);
    const struct engram_kernels *kernels;
    int64_t rows[2] = {0, 0};
    int64_t done = 0;
    enum engram_status status = engram_kernels_select(job->plan.isa, &job->options->log, &kernels);
    while (status == ENGRAM_OK) {
        status = rows_left(job, left, &rows[0]);
        if (status == ENGRAM_OK && left != right) {
            status = rows_left(job, right, &rows[1]);
        }
        int64_t count = left == right || rows[0] < rows[1] ? rows[0] : rows[1];
        if (status != ENGRAM_OK || count == 0) {
            break;
        }
        struct engram_query_rows a = take_rows(left, &job->inputs.queries, job->query_name, count);
        struct engram_query_rows b =
            left == right ? a : take_rows(right, &job->inputs.base, job->base_name, count);
        struct engram_values part = *values;
        part.data = (unsigned char *)part.data +
                    (size_t)done * (values->float32 ? sizeof(float) : sizeof(double));
        uint64_t start = engram_clock_ns();
        status = engram_unit_pairwise(kernels, &a, &b, &request, &part, &job->report->search);
        job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
        done += count;
        job->searching.before = (uint64_t)done;
        engram_stage_tell(&job->searching, 0, 0);
    }
    return status;
}

enum engram_status engram_job_pairwise(struct engram_job_state *job)
{
    const bool shared = engram_inputs_shared(&job->inputs);
    struct side sides[2] = {0};
    struct engram_values values = {.float32 = !job->inputs.float64,
                                   .similarity = job->inputs.similarity};
    enum engram_status status = ENGRAM_OK;
    values.data = calloc((size_t)job->report->query_count + 1,
                         values.float32 ? sizeof(float) : sizeof(double));
    if (values.data == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the answers");
    }
    status = open_side(job, &job->inputs.base, &job->base_content, &sides[0]);
    if (status == ENGRAM_OK && !shared) {
        status = open_side(job, &job->inputs.queries, &job->query_content, &sides[1]);
    }
    if (status == ENGRAM_OK) {
        status = stream_sides(job, shared ? &sides[0] : &sides[1], &sides[0], &values);
    }
    engram_source_close(sides[0].source);
    engram_source_close(sides[1].source);
    if (status == ENGRAM_OK) {
        job->answers.fill = fill_pairwise;
        job->answers.fill_context = values.data;
        job->answers.block_bytes = job->plan.block_bytes;
        job->report->answers = (uint64_t)job->report->query_count;
        status = engram_job_publish(job);
    }
    free(values.data);
    return status;
}
