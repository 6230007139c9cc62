/* The commands. Each gets a parsed command line and returns the exit code; main closes stdout. */
#ifndef ENGRAM_CLI_COMMANDS_H
#define ENGRAM_CLI_COMMANDS_H

#include "cli/options.h"

int engram_cli_run(const struct engram_cli_options *options); /* the job */
int engram_cli_inspect(const struct engram_cli_options *options);
int engram_cli_show(const struct engram_cli_options *options);
int engram_cli_verify(const struct engram_cli_options *options);

#endif
