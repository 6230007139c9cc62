/* What a finished job says about itself: to people on stderr, to programs as JSON. */
#ifndef ENGRAM_CLI_SUMMARY_H
#define ENGRAM_CLI_SUMMARY_H

#include "cli/options.h"

struct engram_cli_summary {
    const struct engram_cli_options *options;
    const struct engram_job_report *report;
    double total_seconds; /* the whole job, by the clock on the wall */
};

/* "1,234,567" */
void engram_cli_format_count(char text[32], uint64_t value);
/* "1.5 GiB", "512 bytes" */
void engram_cli_format_bytes(char text[32], uint64_t bytes);
/* "0.012 s", "42.1 s", "1234 s" */
void engram_cli_format_seconds(char text[32], double seconds);

/* "auto", "canonical", "f32", "int", "prefix" */
const char *engram_cli_filter_name(enum engram_filter filter);
/* Why `filter` is the one; `reason` as of struct engram_filter_choice, or NULL. */
const char *engram_cli_filter_reason(enum engram_filter asked, enum engram_filter filter,
                                     const char *reason);
/* The same of a job that ran. */
const char *engram_cli_ran_because(const struct engram_cli_summary *summary);
/* What was estimated of the filter that ran; its cost is 0 where nothing was. */
struct engram_filter_estimate engram_cli_estimate(const struct engram_filter_choice *choice);
/* Of all pairs, what the filter left to be scored; NAN when none ran. */
double engram_cli_scored_share(const struct engram_search_stats *search);
/* "neighbors", "pairs", "dense", ... */
const char *engram_cli_answer_name(enum engram_answer answer);
/* 10^9 operations that the plain formula takes: a multiplication and an addition for every element
 * of every pair. */
double engram_cli_gflop(const struct engram_job_report *report);

/* To stderr, unless -q. */
void engram_cli_print_summary(const struct engram_cli_summary *summary);

/* Writes the JSON summary to `path`: under a temporary name that is renamed when it is complete,
 * or straight into what is not a regular file. Logs what fails: CANT_CREATE, PERMISSION, IO. */
enum engram_status engram_cli_write_stats(const struct engram_cli_summary *summary,
                                          const char *path);

#endif
