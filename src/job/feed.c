#define _GNU_SOURCE
#include "job/state.h"

#include <inttypes.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/size.h"
#include "job/sets.h"

/* Rows in memory at a time when they are only hashed. */
#define HASH_ROWS ((int64_t)64 * ENGRAM_ROW_GRAIN)

void engram_stage_tell(void *context, uint64_t done, uint64_t total)
{
    const struct engram_stage_progress *stage = context;
    uint64_t all = stage->before + done;
    (void)total;
    engram_checkpoint_beat(stage->checkpoint);
    /* A dense job reads more often than can be said at its start. */
    if (stage->options->progress != NULL) {
        stage->options->progress(stage->options->progress_context, stage->stage,
                                 all < stage->total ? all : stage->total, stage->total);
    }
}

enum engram_status engram_feed_open(struct engram_job_state *job, const struct engram_set_ref *set,
                                    int64_t slab_rows, struct engram_source **source)
{
    const struct engram_source_options options = {
        .slab_rows = slab_rows,
        .threads = job->plan.threads,
        .buffer_bytes = job->plan.reading_bytes / 2, /* base and queries are open together */
        .allow_external = job->options->allow_external,
        .cancel = job->options->cancel,
        .progress = engram_stage_tell,
        .progress_context = &job->reading,
        .log = job->options->log,
    };
    return engram_set_open(set, &options, source);
}

/* Rows are not what they were when they were read first, perhaps by an earlier run. */
static enum engram_status changed(const struct engram_job_state *job,
                                  const struct engram_content_hashes *content,
                                  const struct engram_slab *slab)
{
    bool earlier = content->known > 0;
    return engram_fail(&job->options->log, earlier ? ENGRAM_ERR_CANT_CREATE : ENGRAM_ERR_DATA,
                       "%s: rows %" PRId64 " to %" PRId64 " changed since %s",
                       content == &job->base_content ? job->base_name : job->query_name,
                       slab->first_row, slab->first_row + slab->set.rows - 1,
                       earlier ? "the checkpoint was written; use --from-scratch to drop it, or "
                                 "give the job the input that it had"
                               : "they were read first; run the job again");
}

enum engram_status engram_feed_next(struct engram_job_state *job, struct engram_source *source,
                                    struct engram_content_hashes *content, struct engram_slab *slab)
{
    uint64_t start = engram_clock_ns();
    enum engram_status status = engram_source_next(source, slab);
    if (status == ENGRAM_OK) {
        job->reading.before += (uint64_t)slab->set.rows;
        if (!engram_content_add(content, &slab->set, slab->first_row, job->plan.threads)) {
            status = changed(job, content, slab);
        }
    }
    job->report->read_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

/* What reading them takes at the most: texts in a buffer that doubles, their ends, and all at equal
 * width; parts are joined in a copy. */
static uint64_t id_bytes(const struct engram_set_ref *set, const struct engram_ids *ids)
{
    uint64_t texts = 0;
    for (int64_t i = 0; i < ids->count; i++) {
        texts += strnlen(ids->text + (size_t)i * ids->width, ids->width);
    }
    uint64_t each = (set->part_count > 1 ? 2 : 1) * (uint64_t)ids->width + sizeof(size_t);
    return engram_saturating_add(engram_saturating_mul((uint64_t)ids->count, each), 2 * texts);
}

/* The C library would keep what was freed. */
static void give_back_memory(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

static enum engram_status hash_ids(struct engram_job_state *job, const struct engram_set_ref *set,
                                   struct engram_content_hashes *content)
{
    struct engram_ids ids;
    if (set->ids == NULL) {
        return ENGRAM_OK;
    }
    enum engram_status status =
        engram_set_read_ids(set, 0, set->dataset->dims[0], &job->options->log, &ids);
    if (status == ENGRAM_OK) {
        engram_content_add_ids(content, &ids);
        status = engram_plan_check_ids(
            &job->plan, id_bytes(set, &ids),
            content == &job->base_content ? job->base_name : job->query_name, &job->options->log);
        engram_ids_free(&ids);
        give_back_memory();
    }
    return status;
}

enum engram_status engram_feed_contents(struct engram_job_state *job)
{
    const struct engram_inputs *inputs = &job->inputs;
    const struct engram_log *log = &job->options->log;
    enum engram_status status =
        engram_content_create(inputs->base.first, inputs->base.last, log, &job->base_content);
    if (status == ENGRAM_OK) {
        status = engram_content_create(inputs->queries.first, inputs->queries.last, log,
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

enum engram_status engram_feed_hash(struct engram_job_state *job, const struct engram_set_ref *set,
                                    struct engram_content_hashes *content)
{
    struct engram_source *source = NULL;
    struct engram_slab slab;
    enum engram_status status = engram_feed_open(job, set, HASH_ROWS, &source);
    do {
        if (status == ENGRAM_OK) {
            status = engram_feed_next(job, source, content, &slab);
        }
    } while (status == ENGRAM_OK && slab.set.rows > 0);
    engram_source_close(source);
    return status;
}

/* Rows that were borrowed were hashed once. */
struct engram_content_hashes engram_feed_query_content(const struct engram_job_state *job)
{
    struct engram_content_hashes queries = job->query_content;
    if (engram_inputs_shared(&job->inputs)) {
        queries.grains = job->base_content.grains;
    }
    return queries;
}

void engram_feed_digest(const struct engram_job_state *job, char digest[ENGRAM_DIGEST_SIZE])
{
    const struct engram_content_hashes queries = engram_feed_query_content(job);
    engram_identity_digest(&job->inputs, job->options->compress, &job->base_content, &queries,
                           digest);
}
