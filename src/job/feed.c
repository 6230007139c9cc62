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
#include "job/ranks.h"
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

struct engram_content_hashes *engram_feed_content(struct engram_job_state *job, bool queries)
{
    return queries && !engram_inputs_shared(&job->inputs) ? &job->query_content
                                                          : &job->base_content;
}

enum engram_status engram_feed_changed(const struct engram_job_state *job,
                                       const struct engram_content_hashes *content, int64_t grain)
{
    const int64_t first = grain * ENGRAM_ROW_GRAIN;
    const int64_t last =
        first + ENGRAM_ROW_GRAIN < content->rows ? first + ENGRAM_ROW_GRAIN : content->rows;
    const char *since = "they were read first";
    const char *what = engram_ranks_count() > 1
                           ? "or are not the same for all ranks; run the job again"
                           : "run the job again";
    if ((content->marks[grain] & ENGRAM_GRAIN_EARLY) != 0) {
        since = "the checkpoint was written";
        what = "use --from-scratch to drop it, or give the job the input that it had";
    }
    return engram_fail(&job->options->log, ENGRAM_ERR_CANT_CREATE,
                       "%s: rows %" PRId64 " to %" PRId64 " changed since %s; %s",
                       content == &job->base_content ? job->base_name : job->query_name,
                       content->first + first, content->first + last - 1, since, what);
}

enum engram_status engram_feed_next(struct engram_job_state *job, struct engram_source *source,
                                    struct engram_content_hashes *content, struct engram_slab *slab)
{
    uint64_t start = engram_clock_ns();
    enum engram_status status = engram_source_next(source, slab);
    if (status == ENGRAM_OK) {
        job->reading.before += (uint64_t)slab->set.rows;
        int64_t other = engram_content_add(content, &slab->set, slab->first_row, job->plan.threads);
        status = other < 0 ? ENGRAM_OK : engram_feed_changed(job, content, other);
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

/* What was not seen of a set, at most `rows` rows at a time. */
static enum engram_status hash_unseen(struct engram_job_state *job,
                                      const struct engram_set_ref *set, int64_t rows,
                                      struct engram_content_hashes *content)
{
    struct engram_source *source = NULL;
    enum engram_status status = ENGRAM_OK;
    rows = rows < HASH_ROWS ? rows : HASH_ROWS;
    if (content->seen < content->count) {
        status = engram_feed_open(job, set, rows, &source);
    }
    for (int64_t row = set->first; status == ENGRAM_OK && row < set->last; row += rows) {
        struct engram_slab slab;
        if (engram_content_unseen(content, row, row + rows < set->last ? row + rows : set->last)) {
            engram_source_seek(source, row);
            status = engram_feed_next(job, source, content, &slab);
        }
    }
    engram_source_close(source);
    return status;
}

enum engram_status engram_feed_rest(struct engram_job_state *job)
{
    const struct engram_inputs *inputs = &job->inputs;
    enum engram_status status =
        hash_unseen(job, &inputs->base, job->plan.base_slab_rows, &job->base_content);
    if (status == ENGRAM_OK && !engram_inputs_shared(inputs)) {
        status = hash_unseen(job, &inputs->queries, job->plan.query_slab_rows, &job->query_content);
    }
    return status;
}

struct engram_content_hashes engram_feed_query_content(const struct engram_job_state *job)
{
    struct engram_content_hashes queries = job->query_content;
    if (engram_inputs_shared(&job->inputs)) {
        queries.grains = job->base_content.grains;
        queries.skipped = job->base_content.skipped;
    }
    return queries;
}

void engram_feed_digest(const struct engram_job_state *job, char digest[ENGRAM_DIGEST_SIZE])
{
    const struct engram_content_hashes queries = engram_feed_query_content(job);
    engram_identity_digest(&job->inputs, job->options->compress, &job->base_content, &queries,
                           digest);
}
