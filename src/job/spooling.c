#include "job/spooling.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/size.h"
#include "io/spoolfile.h"

enum engram_status engram_spooling_check_folder(const struct engram_job_state *job)
{
    const char *folder = job->options->tmpdir;
    int fd = folder == NULL ? -1 : engram_spoolfile_open(folder);
    if (folder == NULL) {
        return ENGRAM_OK;
    }
    if (fd >= 0) {
        (void)close(fd);
        return ENGRAM_OK;
    }
    enum engram_status status = engram_status_of_errno(errno);
    return engram_fail(&job->options->log,
                       status == ENGRAM_ERR_NO_INPUT ? ENGRAM_ERR_CANT_CREATE : status,
                       "%s: cannot create temporary data: %s; name another folder with --tmpdir",
                       folder, strerror(errno));
}

/* Bytes of a pair in OUTPUT, when it is not compressed. */
static uint64_t output_bytes(const struct engram_inputs *inputs)
{
    return sizeof(int64_t) + (inputs->float64 ? sizeof(double) : sizeof(float));
}

enum engram_status engram_spooling_start(struct engram_job_state *job)
{
    const struct engram_job_options *options = job->options;
    const struct engram_inputs *inputs = &job->inputs;
    const struct engram_spool_options spool = {
        .folder = job->folder,
        .tmpdir = options->tmpdir != NULL ? options->tmpdir : job->folder,
        .metric = inputs->metric,
        .first_query = inputs->queries.first,
        .queries = inputs->queries.last - inputs->queries.first,
        .first_row = inputs->base.first,
        .rows = inputs->base.last - inputs->base.first,
        .memory = job->plan.pair_bytes / 2,
        .cancel = options->cancel,
        .log = options->log,
    };
    engram_logf(&options->log, ENGRAM_LOG_INFO,
                "pairs: up to %.1f MiB in memory; beyond that 16 bytes a pair in the checkpoint in "
                "%s (%.1f GiB free), and %" PRIu64 " bytes a pair in the result",
                (double)job->plan.pair_bytes / 0x1p20, job->folder,
                (double)engram_disk_free(job->folder) / 0x1p30, output_bytes(inputs));
    enum engram_status status = engram_spool_create(&spool, &job->answers.spool);
    job->spill = (struct engram_spill){engram_spool_take, job->answers.spool,
                                       job->plan.pair_bytes - spool.memory};
    return status;
}

void engram_spooling_request(const struct engram_job_state *job, struct engram_request *request)
{
    request->spill = &job->spill;
    request->max_pairs = job->options->max_pairs;
    request->pairs_before = job->answers.spool == NULL ? 0 : engram_spool_total(job->answers.spool);
}

/* With a k the search of a unit drops pairs again, so only what it leaves can be counted: that
 * never becomes less. */
enum engram_status engram_spooling_check_count(struct engram_job_state *job)
{
    int64_t total = 0;
    enum engram_status status = ENGRAM_OK;
    if (job->options->max_pairs == 0) {
        return ENGRAM_OK;
    }
    if (job->answers.spool != NULL) {
        total = engram_spool_total(job->answers.spool);
    } else {
        status = engram_parts_total(&job->answers.parts, &total);
    }
    return status == ENGRAM_OK && total > job->options->max_pairs
               ? engram_pairs_too_many(job->options->max_pairs, &job->options->log)
               : status;
}

enum engram_status engram_spooling_check_output(const struct engram_job_state *job)
{
    if (job->answers.spool == NULL || job->options->compress > 0) {
        return ENGRAM_OK;
    }
    uint64_t pairs = (uint64_t)engram_spool_total(job->answers.spool);
    uint64_t need =
        engram_saturating_add(engram_saturating_mul(pairs, output_bytes(&job->inputs)),
                              engram_saturating_mul((uint64_t)job->report->query_count + 1, 8));
    uint64_t free_bytes = engram_disk_free(job->folder);
    if (need <= free_bytes) {
        return ENGRAM_OK;
    }
    return engram_fail(&job->options->log, ENGRAM_ERR_IO,
                       "%s: the result with %" PRIu64 " pairs needs %" PRIu64 " bytes, and %" PRIu64
                       " are free; free some space, write to another "
                       "disk, or narrow the threshold",
                       job->options->output, pairs, need, free_bytes);
}
