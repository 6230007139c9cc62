/* The values of the options. */
#include <math.h>
#include <string.h>

#include "base/team.h"
#include "cli/numbers.h"
#include "cli/option_ids.h"
#include "cli/parser.h"
#include "job/shard.h"

static int parse_name(struct engram_cli_parser *parser, const char *option, const char **value)
{
    if (parser->argument[0] == '\0') {
        return USAGE_ERROR(parser, "option %s: the value is empty", option);
    }
    *value = parser->argument;
    return 0;
}

static int parse_base(struct engram_cli_parser *parser)
{
    struct engram_cli_options *options = parser->options;
    if (options->job.base_count == ENGRAM_CLI_BASES_MAX) {
        return USAGE_ERROR(parser,
                           "option --base: given more than %d times; name the sets in a file, one "
                           "a line, and give --base @FILE",
                           ENGRAM_CLI_BASES_MAX);
    }
    options->job.bases = options->bases;
    return parse_name(parser, "--base", &options->bases[options->job.base_count++]);
}

static int parse_integer(struct engram_cli_parser *parser, const char *option, int64_t smallest,
                         int64_t largest, int64_t *value)
{
    if (!engram_cli_parse_integer(parser->argument, smallest, largest, value)) {
        return USAGE_ERROR(parser, "option %s: '%s' is not a whole number from %lld to %lld",
                           option, parser->argument, (long long)smallest, (long long)largest);
    }
    return 0;
}

static int parse_int(struct engram_cli_parser *parser, const char *option, int smallest,
                     int largest, int *value)
{
    int64_t wide = 0;
    int code = parse_integer(parser, option, smallest, largest, &wide);

    if (code == 0) {
        *value = (int)wide;
    }
    return code;
}

static int parse_memory(struct engram_cli_parser *parser)
{
    if (!engram_cli_parse_size(parser->argument, &parser->options->job.memory)) {
        return USAGE_ERROR(parser, "option --memory: '%s' is not a size like 512M or 4G",
                           parser->argument);
    }
    return 0;
}

static int parse_shard(struct engram_cli_parser *parser)
{
    struct engram_job_options *job = &parser->options->job;
    if (!engram_cli_parse_share(parser->argument, ENGRAM_SHARDS_MAX, &job->shard, &job->shards)) {
        return USAGE_ERROR(parser, "option --shard: '%s' is not I/N with 1 <= I <= N <= %lld",
                           parser->argument, (long long)ENGRAM_SHARDS_MAX);
    }
    return 0;
}

static int parse_range(struct engram_cli_parser *parser, const char *option, int64_t range[2])
{
    if (!engram_cli_parse_range(parser->argument, range)) {
        return USAGE_ERROR(parser,
                           "option %s: '%s' is not a row range A:B, A: or :B with 0 <= A <= B",
                           option, parser->argument);
    }
    return 0;
}

static int parse_limit(struct engram_cli_parser *parser, const char *option, bool infinite,
                       bool *given, double *value)
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

static int parse_metric(struct engram_cli_parser *parser)
{
    struct engram_job_options *job = &parser->options->job;

    if (engram_metric_parse(parser->argument, &job->metric) == ENGRAM_OK) {
        job->metric_given = true;
        return 0;
    }
    return USAGE_ERROR(parser,
                       "option --metric: '%s' is none of cosine (angular), ip (dot), l2 "
                       "(euclidean), sqeuclidean, l1 (manhattan, cityblock), hamming, jaccard",
                       parser->argument);
}

static int parse_filter(struct engram_cli_parser *parser)
{
    enum engram_filter *filter = &parser->options->job.filter;

    if (strcmp(parser->argument, "auto") == 0) {
        *filter = ENGRAM_FILTER_AUTO;
    } else if (strcmp(parser->argument, "canonical") == 0) {
        *filter = ENGRAM_FILTER_CANONICAL;
    } else if (strcmp(parser->argument, "f32") == 0) {
        *filter = ENGRAM_FILTER_F32;
    } else if (strcmp(parser->argument, "int") == 0) {
        *filter = ENGRAM_FILTER_INT;
    } else if (strcmp(parser->argument, "prefix") == 0) {
        *filter = ENGRAM_FILTER_PREFIX;
    } else {
        return USAGE_ERROR(parser,
                           "option --filter: '%s' is none of auto, canonical, f32, int, prefix",
                           parser->argument);
    }
    return 0;
}

static int parse_progress(struct engram_cli_parser *parser)
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
static int apply_own_option(struct engram_cli_parser *parser, int id)
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

static bool apply_switch(struct engram_job_options *job, int id)
{
    switch (id) {
    case OPT_SELF:
        job->self = true;
        return true;
    case OPT_ALLOW_EXTERNAL:
        job->allow_external = true;
        return true;
    case OPT_ALL:
        job->all = true;
        return true;
    case OPT_PAIRWISE:
        job->pairwise = true;
        return true;
    case OPT_COMPONENTS:
        job->components = true;
        return true;
    case OPT_SIMILARITY:
        job->similarity = true;
        return true;
    case OPT_FLOAT64:
        job->float64 = true;
        return true;
    case OPT_FORCE:
        job->force = true;
        return true;
    case OPT_FROM_SCRATCH:
        job->from_scratch = true;
        return true;
    default:
        return false;
    }
}

int engram_cli_apply_option(struct engram_cli_parser *parser, int id)
{
    struct engram_job_options *job = &parser->options->job;

    switch (id) {
    case OPT_BASE:
        return parse_base(parser);
    case OPT_QUERIES:
        return parse_name(parser, "--queries", &job->queries);
    case OPT_BASE_ROWS:
        return parse_range(parser, "--base-rows", job->base_rows);
    case OPT_QUERY_ROWS:
        return parse_range(parser, "--query-rows", job->query_rows);
    case OPT_IDS:
        return parse_name(parser, "--ids", &job->ids);
    case OPT_LEAF:
        return parse_name(parser, "--leaf", &job->leaf);
    case OPT_DTYPE:
        return parse_name(parser, "--dtype", &job->dtype);
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
    case OPT_LABELS:
        return parse_name(parser, "--labels", &job->labels);
    case OPT_SUBSET:
        return parse_name(parser, "--subset", &job->subset);
    case OPT_EXCLUDE_SAME:
        return parse_name(parser, "--exclude-same", &job->exclude_same);
    case OPT_MAX_PAIRS:
        return parse_integer(parser, "--max-pairs", 1, INT64_MAX, &job->max_pairs);
    case OPT_TMPDIR:
        return parse_name(parser, "--tmpdir", &job->tmpdir);
    case OPT_COMPRESS:
        return parse_int(parser, "--compress", 0, 9, &job->compress);
    case OPT_THREADS:
        return parse_int(parser, "--threads", 1, ENGRAM_THREADS_MAX, &job->threads);
    case OPT_MEMORY:
        return parse_memory(parser);
    case OPT_SHARD:
        return parse_shard(parser);
    case OPT_ISA:
        return parse_name(parser, "--isa", &job->isa);
    case OPT_FILTER:
        return parse_filter(parser);
    default:
        return apply_switch(job, id) ? 0 : apply_own_option(parser, id);
    }
}
