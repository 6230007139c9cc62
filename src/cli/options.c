#define _GNU_SOURCE

#include "cli/options.h"

#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/log.h"
#include "base/team.h"
#include "cli/numbers.h"
#include "cli/option_ids.h"

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
            if (option->group == ENGRAM_CLI_GROUP_LATER) {
                /* Refused by name, whether or not a value follows. */
                entry->has_arg = optional_argument;
            }
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
    bool has_help = command != ENGRAM_CLI_JOB && command != ENGRAM_CLI_MERGE;
    snprintf(text, sizeof text, "%s; try 'engram-batch %s%s--help'",
             length >= 0 ? wrong : "wrong arguments",
             has_help ? engram_cli_commands[command].name : "", has_help ? " " : "");
    engram_cli_log(messages, ENGRAM_LOG_ERROR, text);
    return engram_status_exit_code(ENGRAM_ERR_USAGE);
}

/* What the functions below need; `argument` is the current option's value. */
struct parser {
    struct engram_cli_options *options;
    enum engram_cli_command command;
    const char *argument;
};

#define USAGE_ERROR(parser, ...)                                                                   \
    engram_cli_usage_error((parser)->command, (parser)->options->messages, __VA_ARGS__)

static int parse_name(struct parser *parser, const char *option, const char **value)
{
    if (parser->argument[0] == '\0') {
        return USAGE_ERROR(parser, "option %s: the value is empty", option);
    }
    *value = parser->argument;
    return 0;
}

static int parse_integer(struct parser *parser, const char *option, int64_t smallest,
                         int64_t largest, int64_t *value)
{
    if (!engram_cli_parse_integer(parser->argument, smallest, largest, value)) {
        return USAGE_ERROR(parser, "option %s: '%s' is not a whole number from %lld to %lld",
                           option, parser->argument, (long long)smallest, (long long)largest);
    }
    return 0;
}

static int parse_int(struct parser *parser, const char *option, int smallest, int largest,
                     int *value)
{
    int64_t wide = 0;
    int code = parse_integer(parser, option, smallest, largest, &wide);

    if (code == 0) {
        *value = (int)wide;
    }
    return code;
}

static int parse_range(struct parser *parser, const char *option, int64_t range[2])
{
    if (!engram_cli_parse_range(parser->argument, range)) {
        return USAGE_ERROR(parser,
                           "option %s: '%s' is not a row range A:B, A: or :B with 0 <= A <= B",
                           option, parser->argument);
    }
    return 0;
}

static int parse_limit(struct parser *parser, const char *option, bool infinite, bool *given,
                       double *value)
{
    double number;

    if (!engram_cli_parse_double(parser->argument, &number) ||
        (isinf(number) && (!infinite || number < 0))) {
        return USAGE_ERROR(parser, "option %s: '%s' is not a finite number%s", option,
                           parser->argument, infinite ? " or inf" : "");
    }
    *given = true;
    *value = number;
    return 0;
}

static bool is_one_of(const char *text, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcmp(text, *names) == 0) {
            return true;
        }
    }
    return false;
}

static int parse_metric(struct parser *parser)
{
    static const char *const LATER[] = {"l1", "manhattan", "cityblock", "hamming", "jaccard", NULL};
    struct engram_job_options *job = &parser->options->job;

    if (engram_metric_parse(parser->argument, &job->metric) == ENGRAM_OK) {
        job->metric_given = true;
        return 0;
    }
    if (is_one_of(parser->argument, LATER)) {
        return USAGE_ERROR(parser, "metric %s is not available in this version", parser->argument);
    }
    return USAGE_ERROR(parser,
                       "option --metric: '%s' is none of cosine (angular), ip (dot), l2 "
                       "(euclidean), sqeuclidean",
                       parser->argument);
}

static int parse_filter(struct parser *parser)
{
    static const char *const LATER[] = {"prefix", NULL};
    enum engram_filter *filter = &parser->options->job.filter;

    if (strcmp(parser->argument, "auto") == 0) {
        *filter = ENGRAM_FILTER_AUTO;
    } else if (strcmp(parser->argument, "canonical") == 0) {
        *filter = ENGRAM_FILTER_CANONICAL;
    } else if (strcmp(parser->argument, "f32") == 0) {
        *filter = ENGRAM_FILTER_F32;
    } else if (strcmp(parser->argument, "int") == 0) {
        *filter = ENGRAM_FILTER_INT;
    } else if (is_one_of(parser->argument, LATER)) {
        return USAGE_ERROR(parser, "filter %s is not available in this version", parser->argument);
    } else {
        return USAGE_ERROR(parser, "option --filter: '%s' is none of auto, canonical, f32, int",
                           parser->argument);
    }
    return 0;
}

static int parse_progress(struct parser *parser)
{
    static const char *const NAMES[] = {
        [ENGRAM_CLI_PROGRESS_AUTO] = "auto",
        [ENGRAM_CLI_PROGRESS_BAR] = "bar",
        [ENGRAM_CLI_PROGRESS_LINES] = "lines",
        [ENGRAM_CLI_PROGRESS_NONE] = "none",
    };

    for (int mode = ENGRAM_CLI_PROGRESS_AUTO; mode <= ENGRAM_CLI_PROGRESS_NONE; mode++) {
        if (strcmp(parser->argument, NAMES[mode]) == 0) {
            parser->options->progress = (enum engram_cli_progress_mode)mode;
            return 0;
        }
    }
    return USAGE_ERROR(parser, "option --progress: '%s' is none of auto, bar, lines, none",
                       parser->argument);
}

/* Options of the command itself; the job knows nothing of them. */
static int apply_own_option(struct parser *parser, int id)
{
    struct engram_cli_options *options = parser->options;

    switch (id) {
    case 'n':
        return parse_integer(parser, "--rows", 0, INT64_MAX, &options->show_rows);
    case OPT_TSV:
        options->tsv = true;
        return 0;
    case OPT_FULL:
        options->sample = 0;
        return 0;
    case OPT_SAMPLE:
        return parse_integer(parser, "--sample", 1, INT32_MAX, &options->sample);
    case OPT_PROGRESS:
        return parse_progress(parser);
    case OPT_STATS:
        return parse_name(parser, "--stats", &options->stats);
    case 'q':
        options->messages->verbosity = -1;
        return 0;
    case 'v':
        options->messages->verbosity =
            options->messages->verbosity < 0 ? 1 : options->messages->verbosity + 1;
        return 0;
    case 'h':
        options->action = ENGRAM_CLI_HELP;
        return 0;
    case OPT_VERSION:
        options->action = ENGRAM_CLI_VERSION;
        return 0;
    default:
        return USAGE_ERROR(parser, "internal error: option %d is not handled", id);
    }
}

/* One option that is available and belongs to the command. */
static int apply_option(struct parser *parser, int id)
{
    struct engram_job_options *job = &parser->options->job;

    switch (id) {
    case OPT_BASE:
        return parse_name(parser, "--base", &job->base);
    case OPT_QUERIES:
        return parse_name(parser, "--queries", &job->queries);
    case OPT_SELF:
        job->self = true;
        return 0;
    case OPT_BASE_ROWS:
        return parse_range(parser, "--base-rows", job->base_rows);
    case OPT_QUERY_ROWS:
        return parse_range(parser, "--query-rows", job->query_rows);
    case OPT_IDS:
        return parse_name(parser, "--ids", &job->ids);
    case OPT_METRIC:
        return parse_metric(parser);
    case 'k':
        return parse_integer(parser, "-k", 1, INT32_MAX, &job->k);
    case OPT_MAX_DISTANCE:
        return parse_limit(parser, "--max-distance", true, &job->max_distance_given,
                           &job->max_distance);
    case OPT_MIN_SIMILARITY:
        return parse_limit(parser, "--min-similarity", false, &job->min_similarity_given,
                           &job->min_similarity);
    case OPT_COMPRESS:
        return parse_int(parser, "--compress", 0, 9, &job->compress);
    case OPT_FORCE:
        job->force = true;
        return 0;
    case OPT_THREADS:
        return parse_int(parser, "--threads", 1, ENGRAM_THREADS_MAX, &job->threads);
    case OPT_ISA:
        return parse_name(parser, "--isa", &job->isa);
    case OPT_FILTER:
        return parse_filter(parser);
    default:
        return apply_own_option(parser, id);
    }
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
static int refuse_long(struct parser *parser, const char *word)
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
static int refuse_option(struct parser *parser, char **argv)
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
static int handle_option(struct parser *parser, int id, char **argv)
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
    if (option->group == ENGRAM_CLI_GROUP_LATER) {
        return USAGE_ERROR(parser, "option %s is not available in this version", spelling);
    }
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
    return apply_option(parser, id);
}

/* OUTPUT, and which of its rows. */
static int take_shown(struct parser *parser, int count, char **operands)
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

/* INPUT, and OUTPUT where the command has one. */
static int take_files(struct parser *parser, int count, char **operands)
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

static int take_operands(struct parser *parser, int count, char **operands)
{
    const struct engram_job_options *job = &parser->options->job;
    int code = parser->command == ENGRAM_CLI_SHOW ? take_shown(parser, count, operands)
                                                  : take_files(parser, count, operands);

    if (code == 0 && job->input != NULL && job->input[0] == '\0') {
        return USAGE_ERROR(parser, "the name of INPUT.h5 is empty");
    }
    if (code == 0 && job->output != NULL && job->output[0] == '\0') {
        return USAGE_ERROR(parser, "the name of OUTPUT.h5 is empty");
    }
    return code;
}

int engram_cli_parse(enum engram_cli_command command, int argc, char **argv,
                     struct engram_cli_messages *messages, struct engram_cli_options *options)
{
    static const struct engram_job_options JOB_DEFAULTS = ENGRAM_JOB_OPTIONS_INIT;
    struct parser parser = {options, command, NULL};
    struct getopt_tables tables;

    memset(options, 0, sizeof *options);
    options->command = command;
    options->job = JOB_DEFAULTS;
    options->messages = messages;
    options->job.log = engram_cli_log_to(messages);
    options->sample = DEFAULT_SAMPLE;
    options->show_rows = -1;
    if (command == ENGRAM_CLI_MERGE) {
        return USAGE_ERROR(&parser, "command merge is not available in this version");
    }
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
