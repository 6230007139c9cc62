/* engram-batch merge: joins the parts of a sharded job. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/summary.h"

static void print_summary(const struct engram_cli_options *options,
                          const struct engram_merge_report *report)
{
    const bool written = report->outcome == ENGRAM_JOB_WRITTEN;
    char name[4096];
    char text[4096 + 256];
    char counts[3][32];

    (void)engram_cli_escape(name, sizeof name, options->job.output, strlen(options->job.output));
    engram_cli_format_count(counts[0], (uint64_t)report->query_count);
    engram_cli_format_count(counts[1], (uint64_t)report->base_count);
    engram_cli_format_count(counts[2], (uint64_t)report->pairs);
    if (!written) {
        (void)snprintf(text, sizeof text, "%s is up to date", name);
    } else if (report->answer == ENGRAM_ANSWER_PAIRS) {
        (void)snprintf(text, sizeof text, "wrote %s: %d %s, %s queries, %s base rows, %s pairs",
                       name, options->part_count, options->part_count == 1 ? "part" : "parts",
                       counts[0], counts[1], counts[2]);
    } else {
        (void)snprintf(text, sizeof text, "wrote %s: %d %s, %s queries, %s base rows", name,
                       options->part_count, options->part_count == 1 ? "part" : "parts", counts[0],
                       counts[1]);
    }
    engram_cli_say(options->messages, text);
}

int engram_cli_merge(const struct engram_cli_options *options)
{
    struct engram_merge_options merge = ENGRAM_MERGE_OPTIONS_INIT;
    struct engram_merge_report report;
    struct engram_cli_progress progress;

    merge.parts = (const char *const *)options->parts;
    merge.part_count = (size_t)options->part_count;
    merge.output = options->job.output;
    merge.force = options->job.force;
    merge.max_pairs = options->job.max_pairs;
    merge.threads = options->job.threads;
    merge.memory = options->job.memory;
    merge.log = options->job.log;
    engram_cli_progress_init(&progress, options->progress, options->messages);
    merge.progress = engram_cli_progress;
    merge.progress_context = &progress;
    merge.cancel = engram_cli_catch_signals();

    enum engram_status status = engram_job_merge(&merge, &report);
    engram_cli_clear_bar(options->messages);
    if (status == ENGRAM_ERR_CANCELLED) {
        return engram_cli_end_by_signal(&merge.log, NULL);
    }
    if (status == ENGRAM_OK) {
        print_summary(options, &report);
    }
    return engram_status_exit_code(status);
}
