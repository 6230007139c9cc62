/* engram-batch verify: a readable verdict on a result. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/summary.h"

/* Against the neighbours that the input holds, and what the differences are. */
static void print_recall(const struct engram_verify_report *report)
{
    char ties[32];
    char nearer[32];
    char farther[32];

    if (!report->has_truth) {
        return;
    }
    if (!report->truth_has_distances) {
        printf("recall      %.6f by row, of the neighbours that the input holds, without their "
               "distances\n",
               report->recall_by_index);
        return;
    }
    printf("recall      %.6f by row, %.6f by distance, of the neighbours that the input holds\n",
           report->recall_by_index, report->recall_by_distance);
    if (report->truth_ties + report->truth_nearer + report->truth_farther > 0) {
        engram_cli_format_count(ties, (uint64_t)report->truth_ties);
        engram_cli_format_count(nearer, (uint64_t)report->truth_nearer);
        engram_cli_format_count(farther, (uint64_t)report->truth_farther);
        printf("others      %s as far as the last of these: ties; %s nearer: these miss them; %s "
               "farther: errors\n",
               ties, nearer, farther);
    }
    if (report->truth_other_metric) {
        puts("            the input's distances to the same rows are others: found with another "
             "metric?");
    }
}

static void print_verdict(const struct engram_verify_report *report, enum engram_status status)
{
    char checked[32];
    char total[32];
    char answers[32];

    engram_cli_format_count(checked, (uint64_t)report->queries_checked);
    engram_cli_format_count(total, (uint64_t)report->queries_total);
    engram_cli_format_count(answers, (uint64_t)report->answers_checked);
    printf("checked     %s of %s queries, %s answers, against a float64 scan\n", checked, total,
           answers);
    if (report->errors > 0) {
        engram_cli_format_count(answers, (uint64_t)report->errors);
        printf("wrong       %s of them, first at query %lld\n", answers,
               (long long)report->first_error_query);
    }
    if (report->swaps > 0) {
        engram_cli_format_count(answers, (uint64_t)report->swaps);
        printf("swapped     %s of them with a neighbour at the same distance: no error\n", answers);
    }
    printf("difference  %.3g at most between a distance and the scan's, relative\n",
           report->largest_difference);
    print_recall(report);
    puts(status == ENGRAM_OK ? "verdict     the result agrees with the scan"
                             : "verdict     THE RESULT DIFFERS from the scan");
}

int engram_cli_verify(const struct engram_cli_options *options)
{
    struct engram_job_options job = options->job;
    struct engram_verify_report report;
    struct engram_cli_progress progress;

    memset(&report, 0, sizeof report);
    engram_cli_progress_init(&progress, options->progress, options->messages);
    job.progress = engram_cli_progress;
    job.progress_context = &progress;
    enum engram_status status = engram_job_verify(&job, options->sample, &report);
    engram_cli_clear_bar(options->messages);
    if ((status == ENGRAM_OK || status == ENGRAM_DIFFERENT) && options->messages->verbosity >= 0) {
        print_verdict(&report, status);
    }
    return engram_status_exit_code(status);
}
