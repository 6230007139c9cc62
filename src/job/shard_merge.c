/* Joins the parts of a sharded job: what may be merged into which OUTPUT, with how much memory. The
 * result is written as by the job itself (publish.c), with rows from the parts (shard_copy.c). */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/size.h"
#include "base/team.h"
#include "job/budget.h"
#include "job/shard_merge.h"
#include "job/threads.h"
#include "search/collector.h"

/* Rows are read and written in blocks: with less it gets slower, with more no faster. */
#define BLOCK_MIN ((uint64_t)1 << 20)
#define BLOCK_MOST ((uint64_t)64 << 20)

/* Code, libraries and the buffers of publication; a thread's stack. */
#define PROCESS_BYTES ((uint64_t)28 << 20)
#define THREAD_BYTES ((uint64_t)1 << 20)

static void describe(struct engram_merging *m)
{
    const struct engram_result_info *info = &m->parts.info;
    engram_shard_parts_inputs(&m->parts.info, m->datasets, &m->inputs);
    memcpy(m->inputs.row_data.hashes, m->parts.row_data, sizeof m->inputs.row_data.hashes);
    m->report->answer = m->inputs.answer;
    m->report->metric = m->inputs.metric;
    m->report->query_count = info->job_query_rows[1] - info->job_query_rows[0];
    m->report->base_count = info->job_base_rows[1] - info->job_base_rows[0];
    m->report->pairs = m->parts.pairs;
}

/* ---- memory */

/* The widest row that is copied as one. */
static uint64_t widest_row(const struct engram_merging *m)
{
    uint64_t width = 1;
    if (m->inputs.answer == ENGRAM_ANSWER_KNN) {
        width = (uint64_t)m->inputs.k;
    } else if (m->inputs.answer == ENGRAM_ANSWER_DENSE) {
        width = (uint64_t)m->report->base_count;
    }
    uint64_t widest = engram_saturating_mul(width, sizeof(int64_t));
    for (int i = 0; i < 2; i++) {
        widest = m->parts.id_width[i] > widest ? m->parts.id_width[i] : widest;
    }
    return m->parts.label_width > widest ? m->parts.label_width : widest;
}

/* Chunks of a compressed result on their way out, and HDF5's when it reads parts. */
static uint64_t packing_bytes(const struct engram_merging *m, uint64_t row)
{
    const uint64_t counts[] = {(uint64_t)m->report->query_count, (uint64_t)m->parts.pairs,
                               (uint64_t)m->parts.info.base_shape[0]};
    uint64_t rows = 1;
    if (m->parts.part.compress == 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        rows = counts[i] > rows ? counts[i] : rows;
    }
    uint64_t reading = engram_saturating_mul(2, row > BLOCK_MIN ? row : BLOCK_MIN);
    return engram_saturating_add(engram_output_packing_bytes(rows, row, m->threads), reading);
}

static enum engram_status plan(struct engram_merging *m)
{
    const struct engram_merge_options *options = m->options;
    m->threads = options->threads > 0 ? options->threads : engram_threads_default();
    uint64_t row = widest_row(m);
    uint64_t least = row > BLOCK_MIN ? row : BLOCK_MIN;
    uint64_t fixed = PROCESS_BYTES + (uint64_t)m->threads * THREAD_BYTES;
    uint64_t rows = (uint64_t)(m->parts.base.count + m->parts.queries.count) * sizeof(uint64_t);

    fixed = engram_saturating_add(fixed, packing_bytes(m, row));
    if (m->inputs.answer == ENGRAM_ANSWER_KNN) { /* the room of publication */
        fixed = engram_saturating_add(fixed, engram_saturating_mul(3, row));
    }
    if (m->inputs.answer == ENGRAM_ANSWER_COMPONENTS) {
        rows += (uint64_t)m->report->base_count * sizeof(uint32_t);
    }
    fixed = engram_saturating_add(fixed, rows);
    uint64_t smallest = engram_saturating_add(fixed, least);
    uint64_t budget = options->memory > 0 ? options->memory : engram_budget_default(m->threads);
    if (smallest > budget || smallest == UINT64_MAX) {
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE,
                           "%.0f MiB of memory are too little for this merge; the smallest that "
                           "works is --memory %.0fM",
                           (double)budget / 0x1p20, floor((double)smallest / 0x1p20) + 1);
    }
    uint64_t more = BLOCK_MOST > least ? BLOCK_MOST - least : 0;
    uint64_t spare = (budget - smallest) / 2;
    m->block_bytes = (size_t)(least + (spare < more ? spare : more));
    m->block = malloc(m->block_bytes);
    if (m->block == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "not enough memory to merge");
    }
    return engram_team_prove(m->threads, &options->log);
}

/* ---- OUTPUT */

static bool same_file(const struct stat *a, const char *path)
{
    struct stat b;
    return stat(path, &b) == 0 && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

/* OUTPUT must be none of the parts, nor a part that was taken for OUTPUT because no OUTPUT was
 * named; and no file is named twice. */
static enum engram_status check_names(const struct engram_merge_options *options)
{
    struct engram_result *result = NULL;
    struct engram_result_info info = {0};
    struct stat output;
    if (stat(options->output, &output) != 0 || !S_ISREG(output.st_mode)) {
        return ENGRAM_OK;
    }
    for (size_t i = 0; i < options->part_count; i++) {
        if (same_file(&output, options->parts[i])) {
            return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                               "%s: is one of the parts; name another OUTPUT", options->output);
        }
    }
    if (engram_result_open(options->output, NULL, &result, &info) == ENGRAM_OK) {
        engram_result_close(result);
    }
    return info.shard[1] == 0 ? ENGRAM_OK
                              : engram_fail(&options->log, ENGRAM_ERR_USAGE,
                                            "%s: is a part itself (shard %" PRId64 " of %" PRId64
                                            "); the last name is that of OUTPUT",
                                            options->output, info.shard[0], info.shard[1]);
}

static enum engram_status check_existing(const struct engram_merging *m, bool *finished)
{
    const char *output = m->options->output;
    char found[ENGRAM_DIGEST_SIZE];
    struct stat info;
    *finished = false;
    if (m->options->force || stat(output, &info) != 0 || !S_ISREG(info.st_mode)) {
        return ENGRAM_OK; /* what else stands in the way is found when the file is created */
    }
    engram_result_digest(output, found);
    *finished = strcmp(found, m->parts.digest) == 0;
    return *finished ? ENGRAM_OK
                     : engram_fail(&m->options->log, ENGRAM_ERR_CANT_CREATE,
                                   "%s: exists and is not the finished result of these parts (%s); "
                                   "name another file, or use --force to replace it",
                                   output,
                                   found[0] == '\0' ? "it is no engram result"
                                                    : "its input or options were different");
}

static enum engram_status publish(struct engram_merging *m)
{
    const struct engram_merge_options *options = m->options;
    const struct engram_finished_rows finished = {
        .pairs = m->parts.pairs,
        .label_width = m->parts.label_width,
        .id_width = {m->parts.id_width[0], m->parts.id_width[1]},
        .write_ids = engram_merging_write_ids,
        .write = engram_merging_write,
        .context = m,
    };
    struct engram_answers answers = {.finished = &finished};
    const struct engram_publish_options publishing = {
        .path = options->output,
        .replace = options->force,
        .compress = (int)m->parts.part.compress,
        .threads = m->threads,
        .digest = m->parts.digest,
        .cancel = options->cancel,
        .log = options->log,
    };
    m->total = engram_merging_rows(m);
    return engram_publish(&m->inputs, &answers, &publishing);
}

static enum engram_status merge(struct engram_merging *m)
{
    const struct engram_merge_options *options = m->options;
    bool finished = false;
    enum engram_status status = check_names(options);
    if (status == ENGRAM_OK) {
        status =
            engram_shard_parts_look(options->parts, options->part_count, &options->log, &m->parts);
    }
    if (status == ENGRAM_OK) {
        describe(m);
        status = check_existing(m, &finished);
    }
    if (status != ENGRAM_OK || finished) {
        m->report->outcome = ENGRAM_JOB_UP_TO_DATE;
        return status;
    }
    int64_t most = options->max_pairs > 0 ? options->max_pairs : m->parts.max_pairs;
    if (most > 0 && m->parts.pairs > most) {
        return engram_pairs_too_many(most, &options->log);
    }
    status = plan(m);
    return status == ENGRAM_OK ? publish(m) : status;
}

enum engram_status engram_job_merge(const struct engram_merge_options *options,
                                    struct engram_merge_report *report)
{
    struct engram_merge_report unused = {0};
    if (options == NULL || options->size != sizeof *options || options->part_count == 0 ||
        options->parts == NULL || options->output == NULL) {
        return ENGRAM_ERR_USAGE;
    }
    struct engram_merging m = {.options = options, .report = report == NULL ? &unused : report};
    *m.report = (struct engram_merge_report){0};
    enum engram_status status = merge(&m);
    free(m.block);
    engram_shard_parts_free(&m.parts);
    return status;
}
