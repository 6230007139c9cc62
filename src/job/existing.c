/* What is there already under OUTPUT's name. */
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "io/result.h"
#include "io/tempfile.h"
#include "job/spooling.h"

/* OUTPUT exists and --force was not given: it is this job's result, or it is refused. */
static enum engram_status check_existing(struct engram_job_state *job)
{
    char found[ENGRAM_DIGEST_SIZE];
    char ours[ENGRAM_DIGEST_SIZE];
    const char *output = job->options->output;

    engram_result_digest(output, found);
    if (found[0] != '\0') {
        enum engram_status status = engram_feed_contents(job);
        if (status == ENGRAM_OK) {
            status = engram_feed_rest(job);
        }
        if (status != ENGRAM_OK) {
            return status;
        }
        engram_feed_digest(job, ours);
        if (strcmp(found, ours) == 0) {
            job->report->outcome = ENGRAM_JOB_UP_TO_DATE;
            engram_checkpoint_drop(job);
            return ENGRAM_OK;
        }
    }
    return engram_fail(&job->options->log, ENGRAM_ERR_CANT_CREATE,
                       "%s: exists and is not the finished result of this job (%s); name "
                       "another file, or use --force to replace it",
                       output,
                       found[0] == '\0' ? "it is no engram result"
                                        : "its input or options were different");
}

/* The result must not replace a file it is made from, under whatever name. */
static enum engram_status check_output_name(const struct engram_job_state *job, bool *is_file)
{
    const char *output = job->options->output;
    struct stat out;
    *is_file = stat(output, &out) == 0 && S_ISREG(out.st_mode);
    for (int i = 0; *is_file && i < job->inputs.file_count; i++) {
        struct stat in;
        if (stat(job->inputs.files[i].path, &in) == 0 && in.st_dev == out.st_dev &&
            in.st_ino == out.st_ino) {
            return engram_fail(&job->options->log, ENGRAM_ERR_USAGE,
                               "%s: is an input of this job; name another OUTPUT", output);
        }
    }
    return ENGRAM_OK;
}

/* Finds out before the search, not after it, that the result has no place to go. */
static enum engram_status try_to_create(struct engram_job_state *job)
{
    enum engram_status status = engram_tempfile_probe(job->options->output, job->options->force,
                                                      &job->options->log, &job->folder);
    if (status != ENGRAM_OK) {
        return status;
    }
    return engram_spooling_check_folder(job);
}

enum engram_status engram_check_output(struct engram_job_state *job, bool *finished)
{
    bool is_file;
    *finished = false;
    enum engram_status status = check_output_name(job, &is_file);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (is_file && !job->options->force) {
        *finished = true;
        return check_existing(job);
    }
    return try_to_create(job);
}
