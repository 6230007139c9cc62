/* The options of the command line: one table feeds the parser, --help and the man page. */
#ifndef ENGRAM_CLI_OPTIONS_H
#define ENGRAM_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/messages.h"
#include "engram/job.h"

enum engram_cli_command {
    ENGRAM_CLI_JOB,
    ENGRAM_CLI_INSPECT,
    ENGRAM_CLI_SHOW,
    ENGRAM_CLI_VERIFY,
    ENGRAM_CLI_MERGE
};

enum { ENGRAM_CLI_COMMANDS = ENGRAM_CLI_MERGE + 1 };

/* Sets of commands, for the table. */
enum {
    ENGRAM_CLI_ON_JOB = 1 << ENGRAM_CLI_JOB,
    ENGRAM_CLI_ON_INSPECT = 1 << ENGRAM_CLI_INSPECT,
    ENGRAM_CLI_ON_SHOW = 1 << ENGRAM_CLI_SHOW,
    ENGRAM_CLI_ON_VERIFY = 1 << ENGRAM_CLI_VERIFY,
    ENGRAM_CLI_ON_MERGE = 1 << ENGRAM_CLI_MERGE,
    ENGRAM_CLI_ON_ALL = 31
};

/* Sections of help and man page. */
enum engram_cli_group {
    ENGRAM_CLI_GROUP_SETS,
    ENGRAM_CLI_GROUP_QUESTION,
    ENGRAM_CLI_GROUP_RESULT,
    ENGRAM_CLI_GROUP_RUN,
    ENGRAM_CLI_GROUP_SHOW,
    ENGRAM_CLI_GROUP_VERIFY,
    ENGRAM_CLI_GROUP_MESSAGES
};

struct engram_cli_option {
    int id;               /* what getopt_long returns: the short letter, or a number above 255 */
    const char *name;     /* without dashes; NULL: short only */
    char letter;          /* 0: long only */
    const char *argument; /* its name in the help; NULL: takes none */
    enum engram_cli_group group;
    unsigned commands; /* ENGRAM_CLI_ON_* that take it */
    const char *help;  /* lines separated by \n; NULL in the last group */
};

extern const struct engram_cli_option engram_cli_table[];
extern const size_t engram_cli_table_size;

/* Commands in the order of enum engram_cli_command: what they are called and what they do. */
struct engram_cli_command_text {
    const char *name;     /* "" for the job */
    const char *operands; /* "INPUT.h5 OUTPUT.h5" */
    const char *summary;  /* one line, "show what is in a file and what would run" */
    const char *details;  /* for --help of the command and the man page */
};
extern const struct engram_cli_command_text engram_cli_commands[ENGRAM_CLI_COMMANDS];

enum engram_cli_action { ENGRAM_CLI_RUN, ENGRAM_CLI_HELP, ENGRAM_CLI_VERSION };

enum engram_cli_progress_mode {
    ENGRAM_CLI_PROGRESS_AUTO,
    ENGRAM_CLI_PROGRESS_BAR,
    ENGRAM_CLI_PROGRESS_LINES,
    ENGRAM_CLI_PROGRESS_NONE
};

/* Times that --base may be given; a list file takes more. */
#define ENGRAM_CLI_BASES_MAX 256

/* A parsed command line. Strings point into argv, and job.bases to `bases`. */
struct engram_cli_options {
    enum engram_cli_command command;
    enum engram_cli_action action;
    struct engram_job_options job; /* input and output are the operands; log is set */
    struct engram_cli_messages *messages;
    enum engram_cli_progress_mode progress;
    const char *bases[ENGRAM_CLI_BASES_MAX];
    char part[4352];   /* with --shard: what OUTPUT becomes */
    const char *stats; /* NULL: none */
    int64_t sample;    /* verify: queries checked; 0: all of them */
    int64_t show_rows; /* show: how many of the first rows; -1: not given */
    char **shown;      /* show: ids and row numbers */
    int shown_count;
    char **parts; /* merge */
    int part_count;
    bool tsv;
};

/* Finds the command: the first argument that is not an option (nor an option's value). When it
 * names a command, argv becomes {command name, the other arguments...} and *argc shrinks by one;
 * otherwise the command is the job and argv stays as it is. */
enum engram_cli_command engram_cli_find_command(int *argc, char **argv);

/* Parses the arguments of `command`. Returns 0, or the exit code (64) after it wrote what is wrong
 * to stderr. `messages` takes -q and -v and becomes the log's context. */
int engram_cli_parse(enum engram_cli_command command, int argc, char **argv,
                     struct engram_cli_messages *messages, struct engram_cli_options *options);

/* Writes one line, what is wrong and where to find help, to stderr; returns 64. */
__attribute__((format(printf, 3, 4))) int engram_cli_usage_error(
    enum engram_cli_command command, struct engram_cli_messages *messages, const char *format, ...);

/* help.c; `stream` keeps its error state. */
void engram_cli_print_help(FILE *stream, enum engram_cli_command command);
void engram_cli_print_man_page(FILE *stream);

#endif
