/* A value for every row of one set and the same row of the other. All the work is in reading, so
 * none of it is kept: a run that continues would have to read everything again anyway. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "job/state.h"
#include "kernels/kernels.h"

/* One side of a pairwise job: a stream of slabs, of which `used` rows are done. */
struct side {
    struct engram_source *source;
    struct engram_content_hashes *content;
    struct engram_slab slab;
    int64_t used;
};

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
    /* Nothing is kept, but OUTPUT is ours until the end. */
    enum engram_status status = engram_checkpoint_open(job, NULL);
    if (status != ENGRAM_OK) {
        return status;
    }
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
