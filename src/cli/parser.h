/* What options.c (which option is it?) and apply.c (what does its value mean?) share. */
#ifndef ENGRAM_CLI_PARSER_H
#define ENGRAM_CLI_PARSER_H

#include "cli/options.h"

/* The current option: what it belongs to, and its value. */
struct engram_cli_parser {
    struct engram_cli_options *options;
    enum engram_cli_command command;
    const char *argument;
};

/* Reports what is wrong with the command line; the exit code. */
#define USAGE_ERROR(parser, ...)                                                                   \
    engram_cli_usage_error((parser)->command, (parser)->options->messages, __VA_ARGS__)

/* Applies one option that is available and belongs to the command. 0, or the exit code. */
int engram_cli_apply_option(struct engram_cli_parser *parser, int id);

#endif
