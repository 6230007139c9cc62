#define _GNU_SOURCE

#include "cli/options.h"

#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#include "base/log.h"
#include "cli/parser.h"
#include "job/shard.h"

enum { DEFAULT_SAMPLE = 100 };

/* The table has fewer entries; checked when the arrays are filled. */
enum { OPTIONS_MAX = 64 };

/* The table in getopt's form. */
struct getopt_tables {
    struct option longs[OPTIONS_MAX + 1];
    char shorts[2 + 2 * OPTIONS_MAX + 1];
};

/* `prefix`: "+:" stops at the first operand, ":" permutes; the colon tells a missing value from an
 * unknown option. */
static void fill_getopt_tables(struct getopt_tables *tables, const char *prefix)
{
    size_t longs = 0;
    char *shorts = stpcpy(tables->shorts, prefix);

    memset(tables->longs, 0, sizeof tables->longs);
    for (size_t i = 0; i < engram_cli_table_size && i < OPTIONS_MAX; i++) {
        const struct engram_cli_option *option = &engram_cli_table[i];
        if (option->name != NULL) {
            struct option *entry = &tables->longs[longs++];
            entry->name = option->name;
            entry->has_arg = option->argument != NULL ? required_argument : no_argument;
            entry->val = option->id;
        }
        if (option->letter != 0) {
            *shorts++ = option->letter;
            if (option->argument != NULL) {
                *shorts++ = ':';
            }
        }
    }
    *shorts = '\0';
    opterr = 0;
    optind = 0; /* glibc and musl: start afresh */
}

enum engram_cli_command engram_cli_find_command(int *argc, char **argv)
{
    static const char *const NAMES[] = {NULL, "inspect", "show", "verify", "merge"};
    struct getopt_tables tables;

    fill_getopt_tables(&tables, "+:");
    while (*argc > 0 && getopt_long(*argc, argv, tables.shorts, tables.longs, NULL) != -1) {
    }
    if (*argc < 2 || optind >= *argc) {
        return ENGRAM_CLI_JOB;
    }
    int position = optind;
    for (int command = ENGRAM_CLI_INSPECT; command <= ENGRAM_CLI_MERGE; command++) {
        if (strcmp(argv[position], NAMES[command]) == 0) {
            argv[0] = argv[position];
            memmove(&argv[position], &argv[position + 1],
                    (size_t)(*argc - position) * sizeof argv[0]); /* the final NULL too */
            *argc -= 1;
            return (enum engram_cli_command)command;
        }
    }
    return ENGRAM_CLI_JOB;
}

int engram_cli_usage_error(enum engram_cli_command command, struct engram_cli_messages *messages,
                           const char *format, ...)
{
    /* What is wrong is cut where that is needed for the hint to fit. */
    char wrong[900];
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(wrong, sizeof wrong, format, arguments);
    va_end(arguments);
    bool has_help = command != ENGRAM_CLI_JOB;
    snprintf(text, sizeof text, "%s; try 'engram-batch %s%s--help'",
             length >= 0 ? wrong : "wrong arguments",
             has_help ? engram_cli_commands[command].name : "", has_help ? " " : "");
    engram_cli_log(messages, ENGRAM_LOG_ERROR, text);
    return engram_status_exit_code(ENGRAM_ERR_USAGE);
}

/* How an option is written: "--base", or "-k" where there is no long name. */
static void option_spelling(const struct engram_cli_option *option, char spelling[32])
{
    if (option->name != NULL) {
        snprintf(spelling, 32, "--%s", option->name);
    } else {
        snprintf(spelling, 32, "-%c", option->letter);
    }
}

static const struct engram_cli_option *find_option(int id)
{
    for (size_t i = 0; i < engram_cli_table_size; i++) {
        if (engram_cli_table[i].id == id) {
            return &engram_cli_table[i];
        }
    }
    return NULL;
}

/* A long option that getopt_long did not take: unknown, or the beginning of several. */
static int refuse_long(struct engram_cli_parser *parser, const char *word)
{
    size_t length = strcspn(word, "=");
    char candidates[512] = "";
    size_t used = 0;

    for (size_t i = 0; i < engram_cli_table_size; i++) {
        const char *name = engram_cli_table[i].name;
        if (name != NULL && length > 2 && strncmp(name, word + 2, length - 2) == 0 &&
            used < sizeof candidates) {
            int added = snprintf(candidates + used, sizeof candidates - used, "%s--%s",
                                 used > 0 ? ", " : "", name);
            used += added > 0 ? (size_t)added : 0;
        }
    }
    if (used > 0) {
        return USAGE_ERROR(parser, "option %.*s is ambiguous: %s", (int)length, word, candidates);
    }
    return USAGE_ERROR(parser, "unknown option %.*s", (int)(length < 512 ? length : 512), word);
}

/* getopt_long returned '?': optopt tells which option was wrong, if it is one of ours. */
static int refuse_option(struct engram_cli_parser *parser, char **argv)
{
    const struct engram_cli_option *option = optopt != 0 ? find_option(optopt) : NULL;

    if (option != NULL && option->name != NULL) {
        return USAGE_ERROR(parser, "option --%s takes no value", option->name);
    }
    if (optopt != 0) {
        return USAGE_ERROR(parser, "unknown option -%c", optopt);
    }
    return refuse_long(parser, argv[optind - 1]);
}

/* Checks that the option exists in this version and for this command, then applies it. */
static int handle_option(struct engram_cli_parser *parser, int id, char **argv)
{
    char spelling[32];

    if (id == '?') {
        return refuse_option(parser, argv);
    }
    const struct engram_cli_option *option = find_option(id == ':' ? optopt : id);
    if (option == NULL) {
        return USAGE_ERROR(parser, "internal error: option %d is not in the table", id);
    }
    option_spelling(option, spelling);
    if ((option->commands & 1u << parser->command) == 0) {
        return parser->command == ENGRAM_CLI_JOB
                   ? USAGE_ERROR(parser, "option %s needs another command", spelling)
                   : USAGE_ERROR(parser, "option %s does not belong to %s", spelling,
                                 engram_cli_commands[parser->command].name);
    }
    if (id == ':') {
        return USAGE_ERROR(parser, "option %s needs a value: %s", spelling, option->argument);
    }
    parser->argument = optarg;
    return engram_cli_apply_option(parser, id);
}

/* OUTPUT, and which of its rows. */
static int take_shown(struct engram_cli_parser *parser, int count, char **operands)
{
    struct engram_cli_options *options = parser->options;

    if (count == 0) {
        return USAGE_ERROR(parser, "OUTPUT.h5 is missing");
    }
    options->job.output = operands[0];
    options->shown = operands + 1;
    options->shown_count = count - 1;
    if (options->shown_count > 0 && options->show_rows >= 0) {
        return USAGE_ERROR(parser, "either ids and row numbers, or option --rows");
    }
    return 0;
}

/* The parts, and OUTPUT behind them. */
static int take_parts(struct engram_cli_parser *parser, int count, char **operands)
{
    struct engram_cli_options *options = parser->options;

    if (count < 2) {
        return count == 0 ? USAGE_ERROR(parser, "PART.h5 and OUTPUT.h5 are missing")
                          : USAGE_ERROR(parser, "OUTPUT.h5 is missing after '%s'", operands[0]);
    }
    options->parts = operands;
    options->part_count = count - 1;
    options->job.output = operands[count - 1];
    for (int i = 0; i < count - 1; i++) {
        if (operands[i][0] == '\0') {
            return USAGE_ERROR(parser, "the name of a PART.h5 is empty");
        }
    }
    return 0;
}

/* INPUT, and OUTPUT where the command has one. */
static int take_files(struct engram_cli_parser *parser, int count, char **operands)
{
    struct engram_job_options *job = &parser->options->job;
    int wanted = parser->command == ENGRAM_CLI_INSPECT ? 1 : 2;

    if (count == 0) {
        return USAGE_ERROR(parser, "%s",
                           wanted == 1 ? "INPUT.h5 is missing"
                                       : "INPUT.h5 and OUTPUT.h5 are missing");
    }
    if (count < wanted) {
        return USAGE_ERROR(parser, "OUTPUT.h5 is missing after '%s'", operands[0]);
    }
    if (count > wanted) {
        return USAGE_ERROR(parser, "one argument too many: '%s'", operands[wanted]);
    }
    job->input = operands[0];
    job->output = wanted == 2 ? operands[1] : NULL;
    return 0;
}

/* With --shard OUTPUT is the name of the whole, of which the job makes a part. */
static int name_part(struct engram_cli_parser *parser)
{
    struct engram_cli_options *options = parser->options;
    struct engram_job_options *job = &options->job;

    if (job->shards == 0 || job->output == NULL) {
        return 0;
    }
    if (!engram_shard_path(job->output, job->shard, job->shards, options->part,
                           sizeof options->part)) {
        return USAGE_ERROR(parser, "the name of OUTPUT.h5 is too long");
    }
    job->output = options->part;
    return 0;
}

static int take_operands(struct engram_cli_parser *parser, int count, char **operands)
{
    const struct engram_job_options *job = &parser->options->job;
    int code = parser->command == ENGRAM_CLI_SHOW    ? take_shown(parser, count, operands)
               : parser->command == ENGRAM_CLI_MERGE ? take_parts(parser, count, operands)
                                                     : take_files(parser, count, operands);

    if (code == 0 && job->input != NULL && job->input[0] == '\0') {
        return USAGE_ERROR(parser, "the name of INPUT.h5 is empty");
    }
    if (code == 0 && job->output != NULL && job->output[0] == '\0') {
        return USAGE_ERROR(parser, "the name of OUTPUT.h5 is empty");
    }
    return code == 0 ? name_part(parser) : code;
}

int engram_cli_parse(enum engram_cli_command command, int argc, char **argv,
                     struct engram_cli_messages *messages, struct engram_cli_options *options)
{
    static const struct engram_job_options JOB_DEFAULTS = ENGRAM_JOB_OPTIONS_INIT;
    struct engram_cli_parser parser = {options, command, NULL};
    struct getopt_tables tables;

    memset(options, 0, sizeof *options);
    options->command = command;
    options->job = JOB_DEFAULTS;
    options->messages = messages;
    options->job.log = engram_cli_log_to(messages);
    options->sample = DEFAULT_SAMPLE;
    options->show_rows = -1;
    if (argc < 1) {
        return USAGE_ERROR(&parser, "INPUT.h5 and OUTPUT.h5 are missing");
    }
    fill_getopt_tables(&tables, ":");
    for (;;) {
        int id = getopt_long(argc, argv, tables.shorts, tables.longs, NULL);
        if (id == -1) {
            break;
        }
        int code = handle_option(&parser, id, argv);
        if (code != 0 || options->action != ENGRAM_CLI_RUN) {
            return code;
        }
    }
    return take_operands(&parser, argc - optind, argv + optind);
}
