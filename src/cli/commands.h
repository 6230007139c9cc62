/* The commands. Each gets a parsed command line and returns the exit code; main closes stdout. */
#ifndef ENGRAM_CLI_COMMANDS_H
#define ENGRAM_CLI_COMMANDS_H

#include "cli/options.h"

int engram_cli_run(const struct engram_cli_options *options); /* the job */
int engram_cli_inspect(const struct engram_cli_options *options);
int engram_cli_show(const struct engram_cli_options *options);
int engram_cli_verify(const struct engram_cli_options *options);
int engram_cli_merge(const struct engram_cli_options *options);

/* run.c: signals that end a job in good order set the flag that is returned. */
const int *engram_cli_catch_signals(void);
/* After the job stopped: says so; dies by SIGINT, else the exit code. `saved`: the OUTPUT whose
 * checkpoint holds the work; NULL: there is none. */
int engram_cli_end_by_signal(const struct engram_log *log, const char *saved);

#endif
