/* The JSON summary (--stats). */
#define _GNU_SOURCE

#include "cli/summary.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "engram/version.h"
#include "io/memory.h"

/* JSON objects as they are written, one member a line. */
struct json {
    FILE *stream;
    bool first;
    int depth;
};

static void json_key(struct json *json, const char *key)
{
    fprintf(json->stream, "%s\n%*s\"%s\": ", json->first ? "" : ",", 2 * json->depth, "", key);
    json->first = false;
}

/* JSON is UTF-8: bytes that are not become U+FFFD, one by one. */
static void json_text(struct json *json, const char *key, const char *value)
{
    json_key(json, key);
    if (value == NULL) {
        fputs("null", json->stream);
        return;
    }
    fputc('"', json->stream);
    size_t left = strlen(value);
    for (const unsigned char *byte = (const unsigned char *)value; left > 0;) {
        uint32_t point;
        size_t size = engram_cli_utf8(byte, left, &point);
        if (size == 0) {
            fputs("\\ufffd", json->stream);
            size = 1;
        } else if (*byte < 0x20 || *byte == 0x7f) {
            fprintf(json->stream, "\\u%04x", *byte);
        } else {
            if (*byte == '"' || *byte == '\\') {
                fputc('\\', json->stream);
            }
            fwrite(byte, 1, size, json->stream);
        }
        byte += size;
        left -= size;
    }
    fputc('"', json->stream);
}

static void json_signed(struct json *json, const char *key, int64_t value)
{
    json_key(json, key);
    fprintf(json->stream, "%lld", (long long)value);
}

static void json_unsigned(struct json *json, const char *key, uint64_t value)
{
    json_key(json, key);
    fprintf(json->stream, "%llu", (unsigned long long)value);
}

/* JSON has neither infinity nor NaN: null. */
static void json_number(struct json *json, const char *key, double value)
{
    json_key(json, key);
    if (isfinite(value)) {
        fprintf(json->stream, "%.17g", value);
    } else {
        fputs("null", json->stream);
    }
}

static void json_bool(struct json *json, const char *key, bool value)
{
    json_key(json, key);
    fputs(value ? "true" : "false", json->stream);
}

/* An object as a member: members until json_close. */
static void json_open(struct json *json, const char *key)
{
    json_key(json, key);
    fputc('{', json->stream);
    json->first = true;
    json->depth++;
}

static void json_close(struct json *json)
{
    json->depth--;
    json->first = false;
    fprintf(json->stream, "\n%*s}", 2 * json->depth, "");
}

static void json_filter(struct json *json, const struct engram_cli_summary *summary)
{
    const struct engram_search_stats *search = &summary->report->search;
    const struct engram_filter_estimate estimate = engram_cli_estimate(&search->choice);

    json_open(json, "filter");
    json_text(json, "name", engram_cli_filter_name(search->filter));
    json_signed(json, "axes", estimate.axes);
    json_number(json, "predicted_share", estimate.cost > 0 ? estimate.share : NAN);
    json_number(json, "actual_share", engram_cli_scored_share(search));
    json_text(json, "reason", engram_cli_ran_because(summary));
    json_close(json);
}

static void json_job(struct json *json, const struct engram_cli_summary *summary)
{
    const struct engram_job_options *job = &summary->options->job;
    const struct engram_job_report *report = summary->report;

    json_text(json, "version", ENGRAM_VERSION);
    json_text(json, "outcome", report->outcome == ENGRAM_JOB_WRITTEN ? "written" : "up to date");
    json_text(json, "input", job->input);
    json_text(json, "output", job->output);
    json_text(json, "metric", engram_metric_name(report->metric));
    json_text(json, "metric_reason", report->metric_reason);
    json_bool(json, "self", report->self);
    if (report->k == INT64_MAX) {
        json_number(json, "k", NAN);
    } else {
        json_signed(json, "k", report->k);
    }
    json_number(json, "max_distance", job->max_distance_given ? job->max_distance : NAN);
    json_number(json, "min_similarity", job->min_similarity_given ? job->min_similarity : NAN);
    json_text(json, "result", engram_cli_answer_name(report->answer));
    json_text(json, "values", job->similarity ? "similarity" : "distance");
    json_text(json, "values_dtype", job->float64 ? "float64" : "float32");
    json_signed(json, "queries", report->query_count);
    json_signed(json, "base_rows", report->base_count);
    json_signed(json, "allowed_rows", report->allowed_rows);
    json_signed(json, "dimensions", report->dim);
    json_text(json, "dtype", engram_dtype_name(report->base_dtype));
    json_unsigned(json, "answers", report->answers);
    if (report->answer == ENGRAM_ANSWER_COMPONENTS) {
        json_signed(json, "kept_rows", report->kept_rows);
        json_signed(json, "groups", report->groups);
        json_signed(json, "largest_group", report->largest_group);
    }
}

static void json_search(struct json *json, const struct engram_cli_summary *summary)
{
    const struct engram_job_report *report = summary->report;
    const struct engram_search_stats *search = &report->search;
    double seconds = report->search_seconds;
    const size_t peak = engram_memory_peak();

    json_number(json, "total_seconds", summary->total_seconds);
    json_number(json, "read_seconds", report->read_seconds);
    json_unsigned(json, "rows_read", report->rows_read);
    json_signed(json, "ranks", report->ranks);
    json_number(json, "search_seconds", seconds);
    json_number(json, "write_seconds", report->write_seconds);
    json_unsigned(json, "pairs", search->pairs);
    json_unsigned(json, "pairs_of_earlier_runs", report->pairs_before);
    json_unsigned(json, "saves", report->saves);
    json_number(json, "save_seconds", report->save_seconds);
    /* Without a search (up to date) there is no rate: null. */
    json_number(json, "pairs_per_second", seconds > 0 ? (double)search->pairs / seconds : NAN);
    json_number(json, "gflops", seconds > 0 ? engram_cli_gflop(report) / seconds : NAN);
    json_unsigned(json, "rescored_pairs", search->rescored);
    json_number(json, "rescored_share",
                search->pairs > 0 ? (double)search->rescored / (double)search->pairs : NAN);
    json_unsigned(json, "canonical_pairs", search->canonical);
    json_text(json, "isa", search->isa);
    json_filter(json, summary);
    json_signed(json, "threads", search->threads);
    json_unsigned(json, "arena_high_water_bytes", search->arena_high_water);
    json_unsigned(json, "scratch_caller", search->scratch[0]);
    json_unsigned(json, "scratch_arena", search->scratch[1]);
    json_unsigned(json, "scratch_stack", search->scratch[2]);
    json_unsigned(json, "scratch_refused", search->scratch[3]);
    json_signed(json, "skipped_queries", search->skipped_queries);
    json_signed(json, "skipped_base_rows", search->skipped_base);
    if (peak > 0) {
        json_unsigned(json, "peak_rss_bytes", peak);
    }
    if (report->ranks > 1) {
        json_unsigned(json, "other_ranks_peak_rss_bytes", report->ranks_peak_bytes);
    }
}

/* Takes over `fd`. */
static bool write_json(const struct engram_cli_summary *summary, int fd)
{
    FILE *stream = fdopen(fd, "w");

    if (stream == NULL) {
        (void)close(fd);
        return false;
    }
    struct json json = {stream, true, 1};
    fputc('{', stream);
    json_job(&json, summary);
    json_search(&json, summary);
    fputs("\n}\n", stream);
    bool failed = ferror(stream) != 0;
    return fclose(stream) == 0 && !failed;
}

static enum engram_status stats_failed(const struct engram_cli_summary *summary, const char *path)
{
    return engram_fail(&summary->options->job.log, ENGRAM_ERR_IO, "%s: cannot write statistics: %s",
                       path, errno != 0 ? strerror(errno) : "a write failed");
}

/* Devices, pipes, symbolic links: what is there stays there. */
static enum engram_status write_in_place(const struct engram_cli_summary *summary, const char *path)
{
    int fd;

    /* Opening /dev/stdout again would truncate a file that the shell appends to. */
    if (strcmp(path, "/dev/stdout") == 0) {
        fd = dup(STDOUT_FILENO);
    } else if (strcmp(path, "/dev/stderr") == 0) {
        fd = dup(STDERR_FILENO);
    } else {
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    }
    if (fd < 0 || !write_json(summary, fd)) {
        return stats_failed(summary, path);
    }
    return ENGRAM_OK;
}

enum engram_status engram_cli_write_stats(const struct engram_cli_summary *summary,
                                          const char *path)
{
    struct stat status;
    char *temporary = NULL;

    errno = 0;
    if (lstat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        return write_in_place(summary, path);
    }
    if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
        errno = ENOMEM;
        return stats_failed(summary, path);
    }
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        enum engram_status failure = stats_failed(summary, path);
        free(temporary);
        return failure;
    }
    /* mkostemp gives 0600; the umask is read by setting it, there is no other portable way. */
    mode_t mask = umask(0);
    (void)umask(mask);
    (void)fchmod(fd, 0666 & ~mask);
    enum engram_status result = ENGRAM_OK;
    if (!write_json(summary, fd) || rename(temporary, path) != 0) {
        result = stats_failed(summary, path);
        (void)unlink(temporary);
    }
    free(temporary);
    return result;
}
