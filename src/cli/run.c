/* engram-batch INPUT OUTPUT: runs the job, reacts to signals, reports. */
#define _GNU_SOURCE

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/summary.h"
#include "job/ranks.h"

/* Signals that end the job in good order. */
static const struct {
    int number;
    const char *name;
} ENDING_SIGNALS[] = {
    {SIGINT, "SIGINT"},   {SIGTERM, "SIGTERM"}, {SIGHUP, "SIGHUP"},
    {SIGXCPU, "SIGXCPU"}, {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"},
};
enum { ENDING_SIGNAL_COUNT = sizeof ENDING_SIGNALS / sizeof ENDING_SIGNALS[0] };

/* Set by the handler, by whichever thread it runs on; polled by the job. */
static int cancel_flag;
static int cancel_signal;

static void on_signal(int number)
{
    __atomic_store_n(&cancel_signal, number, __ATOMIC_RELAXED);
    __atomic_store_n(&cancel_flag, 1, __ATOMIC_RELAXED);
}

const int *engram_cli_catch_signals(void)
{
    struct sigaction action;
    struct sigaction old;

    for (size_t i = 0; i < ENDING_SIGNAL_COUNT; i++) {
        int number = ENDING_SIGNALS[i].number;
        memset(&action, 0, sizeof action);
        action.sa_handler = on_signal;
        sigemptyset(&action.sa_mask);
        /* Reads and writes go on; the flag is polled. A second SIGINT meets the default: the end,
         * at once. */
        action.sa_flags = SA_RESTART | (number == SIGINT ? (int)SA_RESETHAND : 0);
        /* What the parent ignores (nohup, a shell's background job) stays ignored. */
        if (sigaction(number, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            (void)sigaction(number, &action, NULL);
        }
    }
    /* A reader of our messages that goes away does not end the job. */
    (void)signal(SIGPIPE, SIG_IGN);
    return &cancel_flag;
}

/* After the job stopped and cleaned up. SIGINT: dies by it, so that a shell stops its loop too.
 * Every other signal comes from a scheduler or a person who will run the job again: an exit code
 * says so. */
int engram_cli_end_by_signal(const struct engram_log *log, const char *saved)
{
    int number = __atomic_load_n(&cancel_signal, __ATOMIC_RELAXED);

    const char *name = "a signal";

    for (size_t i = 0; i < ENDING_SIGNAL_COUNT; i++) {
        if (ENDING_SIGNALS[i].number == number) {
            name = ENDING_SIGNALS[i].name;
        }
    }
    if (saved != NULL) {
        engram_logf(log, ENGRAM_LOG_ERROR,
                    "stopped by %s; the work so far is in %s.checkpoint, run the same command "
                    "again to go on",
                    name, saved);
    } else {
        engram_logf(log, ENGRAM_LOG_ERROR,
                    "stopped by %s; nothing was written, run the same command again", name);
    }
    if (number == SIGINT && engram_ranks_count() == 1) {
        (void)fflush(NULL);
        (void)signal(SIGINT, SIG_DFL);
        (void)raise(SIGINT);
    }
    return engram_status_exit_code(ENGRAM_ERR_CANCELLED);
}

/* Whether `path` is the file that `set` names: FILE, or FILE::DATASET. */
static bool names_same_file(const char *path, const char *set)
{
    char file[4096];
    struct stat a;
    struct stat b;

    if (set == NULL) {
        return false;
    }
    if (strcmp(path, set) == 0) {
        return true;
    }
    if (stat(path, &a) != 0) {
        return false;
    }
    if (stat(set, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino) {
        return true;
    }
    const char *colons = strstr(set, "::");
    if (colons == NULL || (size_t)(colons - set) >= sizeof file) {
        return false;
    }
    memcpy(file, set, (size_t)(colons - set));
    file[colons - set] = '\0';
    return stat(file, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* The statistics must not land on a file of the job. */
static bool stats_would_overwrite(const struct engram_cli_options *options)
{
    const struct engram_job_options *job = &options->job;

    if (options->stats == NULL) {
        return false;
    }
    for (size_t i = 0; i < job->base_count; i++) {
        if (names_same_file(options->stats, job->bases[i])) {
            return true;
        }
    }
    return names_same_file(options->stats, job->input) ||
           names_same_file(options->stats, job->output) ||
           names_same_file(options->stats, job->queries) ||
           names_same_file(options->stats, job->labels);
}

/* Rows without answers are no error but must not go unseen. */
static void warn_of_skipped_rows(const struct engram_cli_options *options,
                                 const struct engram_job_report *report)
{
    const struct engram_search_stats *search = &report->search;
    const bool matrix =
        report->answer == ENGRAM_ANSWER_DENSE || report->answer == ENGRAM_ANSWER_PAIRWISE;

    if (search->skipped_queries > 0) {
        engram_logf(&options->job.log, ENGRAM_LOG_WARNING,
                    "queries that hold NaN or infinity: %lld; %s",
                    (long long)search->skipped_queries,
                    matrix ? "their values are NaN" : "they have no neighbours");
    }
    if (search->skipped_base > 0) {
        engram_logf(&options->job.log, ENGRAM_LOG_WARNING,
                    "base rows that hold NaN or infinity: %lld; %s",
                    (long long)search->skipped_base,
                    matrix ? "their values are NaN" : "they are never neighbours");
    }
}

/* The environment's word on how often work is saved; false when it is no number. */
static bool set_interval(struct engram_job_options *job)
{
    const char *text = getenv("ENGRAM_CHECKPOINT_SECONDS");
    char *end;
    if (text == NULL || *text == '\0') {
        return true;
    }
    job->checkpoint_seconds = strtod(text, &end);
    job->checkpoint_seconds_given = true;
    return *end == '\0' && job->checkpoint_seconds >= 0; /* false for NaN, too */
}

static double monotonic_seconds(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int engram_cli_run(const struct engram_cli_options *options)
{
    struct engram_job_options job = options->job;
    struct engram_job_report report;
    struct engram_cli_progress progress;
    double start = monotonic_seconds();

    if (stats_would_overwrite(options)) {
        return engram_cli_usage_error(ENGRAM_CLI_JOB, options->messages,
                                      "option --stats: '%s' is a file of the job itself",
                                      options->stats);
    }
    memset(&report, 0, sizeof report);
    engram_cli_progress_init(&progress, options->progress, options->messages);
    job.progress = engram_cli_progress;
    job.progress_context = &progress;
    job.cancel = engram_cli_catch_signals();
    if (!set_interval(&job)) {
        return engram_cli_usage_error(ENGRAM_CLI_JOB, options->messages,
                                      "ENGRAM_CHECKPOINT_SECONDS: '%s' is no number of seconds",
                                      getenv("ENGRAM_CHECKPOINT_SECONDS"));
    }

    enum engram_status status = engram_job_run(&job, &report);
    if (engram_ranks_self() > 0) {
        return engram_status_exit_code(status);
    }
    engram_cli_clear_bar(options->messages);
    if (status == ENGRAM_ERR_CANCELLED) {
        return engram_cli_end_by_signal(&job.log, report.saved ? job.output : NULL);
    }
    if (status != ENGRAM_OK) {
        if (report.saved) {
            engram_logf(&job.log, ENGRAM_LOG_WARNING,
                        "the work so far is in %s.checkpoint; run the same command again to go on",
                        job.output);
        }
        return engram_status_exit_code(status);
    }
    struct engram_cli_summary summary = {options, &report, monotonic_seconds() - start};
    warn_of_skipped_rows(options, &report);
    engram_cli_print_summary(&summary);
    if (options->stats != NULL) {
        if (stats_would_overwrite(options)) { /* OUTPUT under another name; it exists now */
            status = engram_fail(&job.log, ENGRAM_ERR_IO,
                                 "%s: statistics not written: it is the output", options->stats);
        } else {
            status = engram_cli_write_stats(&summary, options->stats);
        }
    }
    return engram_status_exit_code(status);
}
