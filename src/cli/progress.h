/* How far the job is: a bar on a terminal, sparse lines elsewhere. */
#ifndef ENGRAM_CLI_PROGRESS_H
#define ENGRAM_CLI_PROGRESS_H

#include "cli/options.h"

/* All state; the callback allocates nothing. */
struct engram_cli_progress {
    struct engram_cli_messages *messages;
    enum engram_cli_progress_mode mode; /* never AUTO */
    double line_interval;               /* seconds between lines, at least */
    enum engram_job_stage stage;        /* the one that was reported last */
    bool started;
    double stage_start; /* monotonic seconds */
    double last_output;
    int last_step; /* tenth of the stage that the last line told of */
};

/* Resolves `mode` AUTO by looking at stderr and starts the clock. */
void engram_cli_progress_init(struct engram_cli_progress *progress,
                              enum engram_cli_progress_mode mode,
                              struct engram_cli_messages *messages);

/* An engram_job_progress_fn; `context` is a struct engram_cli_progress. */
void engram_cli_progress(void *context, enum engram_job_stage stage, uint64_t done, uint64_t total);

/* "1.23 G", "45 k", "7 ": a count with three digits and a decimal prefix, for a unit to follow. */
void engram_cli_format_rate(char text[16], double value);

#endif
