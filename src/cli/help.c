/* --help and the man page, both written from the table of options. */
#include "cli/options.h"

#include <string.h>

#include "engram/version.h"

enum { HELP_COLUMN = 26 };

static const char *const GROUP_TITLES[] = {
    [ENGRAM_CLI_GROUP_SETS] =
        "What is searched (SET: a dataset in INPUT, another file, or FILE.h5::DATASET)",
    [ENGRAM_CLI_GROUP_QUESTION] = "What is found",
    [ENGRAM_CLI_GROUP_RESULT] = "The result",
    [ENGRAM_CLI_GROUP_RUN] = "How it runs (none of these changes the result)",
    [ENGRAM_CLI_GROUP_SHOW] = "What is shown",
    [ENGRAM_CLI_GROUP_VERIFY] = "What is checked",
    [ENGRAM_CLI_GROUP_MESSAGES] = "Messages",
};

struct example {
    unsigned commands; /* whose help shows it; all are in the man page */
    const char *line;
    const char *what;
};

static const struct example EXAMPLES[] = {
    {ENGRAM_CLI_ON_JOB | ENGRAM_CLI_ON_INSPECT, "engram-batch inspect words.h5", "what would run?"},
    {ENGRAM_CLI_ON_JOB, "engram-batch words.h5 near.h5", "10 nearest of every row"},
    {ENGRAM_CLI_ON_JOB | ENGRAM_CLI_ON_SHOW, "engram-batch show near.h5 king queen",
     "by id; or by row number"},
    {ENGRAM_CLI_ON_JOB | ENGRAM_CLI_ON_VERIFY, "engram-batch verify words.h5 near.h5",
     "check a sample"},
    {ENGRAM_CLI_ON_VERIFY, "engram-batch verify --full words.h5 near.h5", "check every query"},
    {ENGRAM_CLI_ON_SHOW, "engram-batch show --tsv near.h5 0 1 2", "for other programs"},
    {ENGRAM_CLI_ON_JOB, "engram-batch --base library.h5 -k 100 new.h5 near.h5",
     "search another file"},
    {ENGRAM_CLI_ON_JOB, "engram-batch --min-similarity 0.95 docs.h5 pairs.h5", "near duplicates"},
    {ENGRAM_CLI_ON_MERGE, "engram-batch --shard 1/3 words.h5 near.h5",
     "a third of the job; also 2/3 and 3/3"},
    {ENGRAM_CLI_ON_MERGE, "engram-batch merge near.shard-*-of-3.h5 near.h5", "join the thirds"},
    {ENGRAM_CLI_ON_INSPECT, "engram-batch inspect --base /a --queries /b two.h5",
     "options of the job"},
};

struct exit_code {
    int code;
    const char *meaning;
};

static const struct exit_code EXIT_CODES[] = {
    {0, "done, or OUTPUT is up to date already"},
    {1, "verify found a difference"},
    {64, "the command line is wrong, or asks for what this version or machine does not have"},
    {65, "malformed input, values past a stated limit, or too many pairs"},
    {66, "a file or dataset does not exist, or a shard is missing"},
    {69, "an HDF5 filter plugin is missing"},
    {70, "internal error"},
    {71, "not enough memory, or threads cannot be started"},
    {73, "OUTPUT exists already or cannot be created"},
    {74, "reading or writing failed, or the disk is full"},
    {75, "interrupted by a signal other than SIGINT; its work is kept, run the job again"},
    {77, "permission denied"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_shown(const struct engram_cli_option *option, unsigned group, unsigned commands)
{
    return option->group == group && (option->commands & commands) != 0;
}

static void print_help_option(FILE *stream, const struct engram_cli_option *option)
{
    int column =
        option->letter != 0 ? fprintf(stream, "  -%c", option->letter) : fprintf(stream, "    ");

    if (option->name != NULL) {
        column += fprintf(stream, "%s--%s", option->letter != 0 ? ", " : "  ", option->name);
    }
    if (option->argument != NULL) {
        column += fprintf(stream, " %s", option->argument);
    }
    for (const char *line = option->help; line != NULL;) {
        size_t length = strcspn(line, "\n");
        fprintf(stream, "%*s%.*s\n", column < HELP_COLUMN ? HELP_COLUMN - column : 1, "",
                (int)length, line);
        column = 0;
        line = line[length] == '\n' ? line + length + 1 : NULL;
    }
}

static void print_help_options(FILE *stream, unsigned commands)
{
    for (unsigned group = 0; group < COUNT(GROUP_TITLES); group++) {
        bool titled = false;
        for (size_t i = 0; i < engram_cli_table_size; i++) {
            const struct engram_cli_option *option = &engram_cli_table[i];
            if (is_shown(option, group, commands)) {
                if (!titled) {
                    fprintf(stream, "\n%s:\n", GROUP_TITLES[group]);
                    titled = true;
                }
                print_help_option(stream, option);
            }
        }
    }
}

/* Text broken into lines of at most 80 columns. */
static void print_wrapped(FILE *stream, const char *text)
{
    size_t column = 0;

    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        if (column > 0 && column + 1 + length > 80) {
            fputc('\n', stream);
            column = 0;
        }
        column += (size_t)fprintf(stream, "%s%.*s", column > 0 ? " " : "", (int)length, text);
        text += length + (text[length] == ' ');
    }
    fputc('\n', stream);
}

static void print_usage(FILE *stream, const char *before, int command)
{
    const struct engram_cli_command_text *text = &engram_cli_commands[command];

    fprintf(stream, "%s engram-batch %s%s[OPTIONS] %s\n", before, text->name,
            text->name[0] != '\0' ? " " : "", text->operands);
}

void engram_cli_print_help(FILE *stream, enum engram_cli_command command)
{
    unsigned commands = 1u << command;

    print_usage(stream, "Usage:", (int)command);
    if (command == ENGRAM_CLI_JOB) {
        for (int other = ENGRAM_CLI_INSPECT; other < ENGRAM_CLI_COMMANDS; other++) {
            print_usage(stream, "  or: ", other);
        }
        fputs("\nFinds the exact nearest neighbours of vectors in an HDF5 file and writes them to\n"
              "another. inspect tells what is in a file and what would run, show reads a\n"
              "result, verify checks one against an independent scan, merge joins the parts of\n"
              "a job that ran in shards.\n",
              stream);
    } else {
        fputc('\n', stream);
        print_wrapped(stream, engram_cli_commands[command].details);
    }
    print_help_options(stream, commands);
    fputs("\nExamples:\n", stream);
    for (size_t i = 0; i < COUNT(EXAMPLES); i++) {
        if ((EXAMPLES[i].commands & commands) != 0) {
            fprintf(stream, "  %-53s %s\n", EXAMPLES[i].line, EXAMPLES[i].what);
        }
    }
    if (command == ENGRAM_CLI_JOB) {
        fputs("\nExit status: 0 done or up to date, 64 wrong command line, 65 bad data, 66 no\n"
              "input, 71 memory or threads, 73 OUTPUT exists, 74 I/O error, 75 interrupted;\n"
              "all of them and more in the manual: man engram-batch.\n",
              stream);
    }
}

/* Text with what roff would take for itself escaped: backslashes, hyphens that must stay minus
 * signs, a control character at the start of a line. Newlines become blanks. */
static void print_roff(FILE *stream, const char *text)
{
    if (*text == '.' || *text == '\'') {
        fputs("\\&", stream);
    }
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '\\':
            fputs("\\e", stream);
            break;
        case '-':
            fputs("\\-", stream);
            break;
        case '`':
            fputs("\\(ga", stream);
            break;
        case '\'':
            fputs("\\(aq", stream);
            break;
        case '\n':
            fputc(' ', stream);
            break;
        default:
            fputc(*text, stream);
        }
    }
}

/* One paragraph: a line of source for each sentence would be roff style, but nobody edits this. */
static void print_paragraph(FILE *stream, const char *request, const char *text)
{
    fprintf(stream, "%s\n", request);
    print_roff(stream, text);
    fputc('\n', stream);
}

/* A tagged paragraph: the tag in bold. */
static void print_tagged(FILE *stream, const char *tag, const char *text)
{
    fputs(".TP\n.B ", stream);
    print_roff(stream, tag);
    fputc('\n', stream);
    print_roff(stream, text);
    fputc('\n', stream);
}

static void print_man_synopsis(FILE *stream)
{
    fputs(".SH SYNOPSIS\n", stream);
    for (int command = ENGRAM_CLI_JOB; command < ENGRAM_CLI_COMMANDS; command++) {
        const struct engram_cli_command_text *text = &engram_cli_commands[command];
        fprintf(stream, "%s.B engram\\-batch%s%s\n[\\fIOPTIONS\\fR] ",
                command > ENGRAM_CLI_JOB ? ".br\n" : "", text->name[0] != '\0' ? " " : "",
                text->name);
        print_roff(stream, text->operands);
        fputc('\n', stream);
    }
}

static void print_man_options(FILE *stream)
{
    fputs(".SH OPTIONS\n"
          "Long options may be shortened as far as they stay unambiguous; of an option that is\n"
          "given twice the last one counts; \\fB\\-\\-\\fR ends the options.\n"
          "The default is in brackets.\n",
          stream);
    for (unsigned group = 0; group < COUNT(GROUP_TITLES); group++) {
        fputs(".SS \"", stream);
        print_roff(stream, GROUP_TITLES[group]);
        fputs("\"\n", stream);
        for (size_t i = 0; i < engram_cli_table_size; i++) {
            const struct engram_cli_option *option = &engram_cli_table[i];
            if (!is_shown(option, group, ENGRAM_CLI_ON_ALL)) {
                continue;
            }
            fputs(".TP\n", stream);
            if (option->letter != 0) {
                fprintf(stream, "\\fB\\-%c\\fR%s", option->letter,
                        option->name != NULL ? ", " : "");
            }
            if (option->name != NULL) {
                fputs("\\fB\\-\\-", stream);
                print_roff(stream, option->name);
                fputs("\\fR", stream);
            }
            if (option->argument != NULL) {
                fprintf(stream, " \\fI%s\\fR", option->argument);
            }
            fputc('\n', stream);
            print_roff(stream, option->help);
            fputc('\n', stream);
        }
    }
}

static void print_man_output(FILE *stream)
{
    fputs(".SH OUTPUT\n", stream);
    print_paragraph(stream, ".PP",
                    "Row numbers are those of the dataset in the input, also with row ranges. "
                    "Smaller distances are nearer: cosine is 1 - cos, ip is minus the inner "
                    "product. Equal distances are ordered by row number.");
    print_tagged(stream, "/neighbors, /distances, /counts",
                 "A nearest-neighbour job writes int64 (queries, k), float32 (queries, k) and "
                 "int32 (queries). Entries past the count of a row are -1 and +inf.");
    print_tagged(
        stream, "/pairs",
        "With --max-distance or --min-similarity the result is a sparse matrix of distances in "
        "AnnData's CSR encoding: indptr, indices and data, each row best first; with -k a row "
        "has at most that many.");
    print_tagged(stream, "/query_ids, /base_ids",
                 "The ids of the rows, where the input has them, as fixed-length UTF-8.");
    print_tagged(
        stream, "shard, job, job_base_rows, job_query_rows, /content",
        "What the part of a shard has beside its answers, so that merge can tell which "
        "parts belong together: its number and how many shards there are, the shapes and "
        "options of the whole job, its row ranges, and hashes of the rows that were read.");
    print_paragraph(stream, ".PP",
                    "A row that holds NaN or infinity is never a neighbour, and as a query has "
                    "none; such rows are counted and reported. Root attributes name metric, k, "
                    "limits, datasets and shapes. One input and one set of options give the same "
                    "bytes, whatever the threads, the kernels and the filter.");
}

static void print_man_environment(FILE *stream)
{
    fputs(".SH ENVIRONMENT\n", stream);
    print_tagged(stream, "OMP_NUM_THREADS", "Threads, unless --threads is given.");
    print_tagged(stream, "OMP_PROC_BIND, OMP_PLACES",
                 "Where threads run, as in every OpenMP program.");
    print_tagged(stream, "ENGRAM_ISA", "Kernel set, unless --isa is given.");
    print_tagged(stream, "ENGRAM_CHECKPOINT_SECONDS",
                 "Seconds between saves of the work to OUTPUT.checkpoint. Default: 10 or more, so "
                 "that saving takes less than 2 % of the time.");
    print_tagged(stream, "HDF5_PLUGIN_PATH", "Where HDF5 looks for filter plugins.");
}

static void print_man_end(FILE *stream)
{
    fputs(".SH EXAMPLES\n", stream);
    for (size_t i = 0; i < COUNT(EXAMPLES); i++) {
        print_tagged(stream, EXAMPLES[i].line, EXAMPLES[i].what);
    }
    fputs(".SH NOTES\n", stream);
    print_paragraph(stream, ".PP",
                    "Results are exact: a fast filter only ever drops pairs that a proven bound "
                    "keeps out of the answer; all others are scored in float64 in a fixed order.");
    print_paragraph(stream, ".PP",
                    "OUTPUT is written under a temporary name in its folder, synced and renamed. "
                    "An existing OUTPUT that is not this job's finished result is refused without "
                    "--force. SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGUSR1 and SIGUSR2 end the job "
                    "without a result; a second SIGINT ends it at once.");
    print_paragraph(stream, ".PP",
                    "The first argument that is not an option names the command; a file of that "
                    "name is given as ./show.");
    fputs(".SH SEE ALSO\n.BR h5ls (1),\n.BR h5dump (1)\n", stream);
}

void engram_cli_print_man_page(FILE *stream)
{
    /* No date: the page must not change from build to build. */
    fputs(".TH ENGRAM\\-BATCH 1 \"\" \"engram\\-batch " ENGRAM_VERSION "\" \"User Commands\"\n"
          ".SH NAME\n"
          "engram\\-batch \\- exact nearest neighbours of vectors in HDF5 files\n",
          stream);
    print_man_synopsis(stream);
    fputs(".SH DESCRIPTION\n", stream);
    print_paragraph(stream, ".PP", engram_cli_commands[ENGRAM_CLI_JOB].details);
    print_paragraph(stream, ".PP",
                    "The input is recognised by its layout: train and test as in the files of "
                    "ann-benchmarks, or one two-dimensional numeric dataset, with or without ids, "
                    "whose rows are compared with each other. Everything else is chosen with "
                    "--base and --queries.");
    fputs(".SH COMMANDS\n", stream);
    for (int command = ENGRAM_CLI_INSPECT; command < ENGRAM_CLI_COMMANDS; command++) {
        print_tagged(stream, engram_cli_commands[command].name,
                     engram_cli_commands[command].details);
    }
    print_man_options(stream);
    print_man_output(stream);
    fputs(".SH EXIT STATUS\n", stream);
    for (size_t i = 0; i < COUNT(EXIT_CODES); i++) {
        char code[16];
        snprintf(code, sizeof code, "%d", EXIT_CODES[i].code);
        print_tagged(stream, code, EXIT_CODES[i].meaning);
    }
    print_man_environment(stream);
    print_man_end(stream);
}
