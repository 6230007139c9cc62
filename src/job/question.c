#include "job/question.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "search/metric.h"

#define DEFAULT_K 10

/* The options that ask for a kind of answer of their own, of which there can be one. */
static enum engram_status choose_answer(const struct engram_job_options *options,
                                        struct engram_inputs *inputs)
{
    const struct {
        bool given;
        const char *name;
        enum engram_answer answer;
    } kinds[] = {
        {options->all, "--all", ENGRAM_ANSWER_DENSE},
        {options->pairwise, "--pairwise", ENGRAM_ANSWER_PAIRWISE},
        {options->labels != NULL, "--labels", ENGRAM_ANSWER_LABELS},
        {options->components, "--components", ENGRAM_ANSWER_COMPONENTS},
    };
    const char *chosen = NULL;
    bool threshold = options->max_distance_given || options->min_similarity_given;

    inputs->answer = threshold ? ENGRAM_ANSWER_PAIRS : ENGRAM_ANSWER_KNN;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!kinds[i].given) {
            continue;
        }
        if (chosen != NULL) {
            return engram_fail(&options->log, ENGRAM_ERR_USAGE, "%s and %s exclude each other",
                               chosen, kinds[i].name);
        }
        chosen = kinds[i].name;
        inputs->answer = kinds[i].answer;
    }
    return ENGRAM_OK;
}

/* What one kind of answer has no use for: silence would let a mistake through. */
static enum engram_status check_combination(const struct engram_job_options *options,
                                            const struct engram_inputs *inputs)
{
    bool threshold = options->max_distance_given || options->min_similarity_given;
    bool matrix = inputs->answer == ENGRAM_ANSWER_DENSE || inputs->answer == ENGRAM_ANSWER_PAIRWISE;
    bool groups = inputs->answer == ENGRAM_ANSWER_COMPONENTS;
    bool labels = inputs->answer == ENGRAM_ANSWER_LABELS;
    const char *const kind = inputs->answer == ENGRAM_ANSWER_DENSE      ? "--all"
                             : inputs->answer == ENGRAM_ANSWER_PAIRWISE ? "--pairwise"
                             : labels                                   ? "--labels"
                                                                        : "--components";
    const struct {
        bool wrong;
        const char *name;
    } pairs[] = {
        {(matrix || groups || labels) && options->k > 0, "-k"},
        {matrix && options->max_distance_given, "--max-distance"},
        {matrix && options->min_similarity_given, "--min-similarity"},
        {matrix && options->subset != NULL, "--subset"},
        {matrix && options->exclude_same != NULL, "--exclude-same"},
        {(matrix || groups || labels) && options->max_pairs > 0, "--max-pairs"},
        {groups && options->similarity, "--similarity"},
        {groups && options->float64, "--float64"},
        {groups && options->queries != NULL, "--queries"},
        {groups && (options->query_rows[0] != 0 || options->query_rows[1] != -1), "--query-rows"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (pairs[i].wrong) {
            return engram_fail(&options->log, ENGRAM_ERR_USAGE, "%s and %s exclude each other",
                               kind, pairs[i].name);
        }
    }
    if (groups && !threshold) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "--components needs a threshold: --max-distance or --min-similarity");
    }
    if (inputs->answer == ENGRAM_ANSWER_KNN && options->max_pairs > 0) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "--max-pairs needs a threshold: --max-distance or --min-similarity");
    }
    if (options->self && options->queries != NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "--self and --queries exclude each other");
    }
    return ENGRAM_OK;
}

/* k of each kind of answer. */
static int64_t choose_k(const struct engram_job_options *options, enum engram_answer answer)
{
    if (options->k > 0) {
        return options->k;
    }
    switch (answer) {
    case ENGRAM_ANSWER_KNN:
        return DEFAULT_K;
    case ENGRAM_ANSWER_LABELS:
        return 1;
    default:
        return INT64_MAX;
    }
}

enum engram_status engram_question_limits(const struct engram_job_options *options,
                                          struct engram_inputs *inputs)
{
    inputs->max_distance = options->max_distance_given ? options->max_distance : (double)INFINITY;
    inputs->min_similarity =
        options->min_similarity_given ? options->min_similarity : -(double)INFINITY;
    if (isnan(inputs->max_distance) || isnan(inputs->min_similarity)) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE, "%s is not a number",
                           isnan(inputs->max_distance) ? "--max-distance" : "--min-similarity");
    }
    if (options->k < 0 || options->k > INT32_MAX) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "-k %" PRId64 ": has to be from 1 to %" PRId32, options->k, INT32_MAX);
    }
    enum engram_status status = choose_answer(options, inputs);
    if (status == ENGRAM_OK) {
        status = check_combination(options, inputs);
    }
    inputs->k = choose_k(options, inputs->answer);
    inputs->similarity = options->similarity;
    inputs->float64 = options->float64;
    return status;
}

/* The metric that the text of the attribute `distance` names. */
static enum engram_status metric_of_attribute(const struct engram_job_options *options,
                                              const struct engram_input_file *file,
                                              enum engram_metric *metric)
{
    const char *given = file->layout.distance;
    char lower[sizeof file->layout.distance];

    for (size_t i = 0; i < sizeof lower; i++) {
        char c = given[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        if (c == '\0') {
            break;
        }
    }
    if (engram_metric_parse(lower, metric) == ENGRAM_OK) {
        return ENGRAM_OK;
    }
    if (strcmp(lower, "normalized_euclidean") == 0) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "%s: attribute `distance` is \"%s\", a metric that is not supported; "
                           "choose one with --metric",
                           file->path, given);
    }
    return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                       "%s: attribute `distance` is \"%s\", which names no known metric; choose "
                       "one with --metric",
                       file->path, given);
}

enum engram_status engram_question_metric(const struct engram_job_options *options,
                                          struct engram_inputs *inputs)
{
    const struct engram_input_file *file = inputs->base.file;
    const char *reason = "default";

    inputs->metric = ENGRAM_COSINE;
    if (options->metric_given) {
        inputs->metric = options->metric;
        reason = "option --metric";
    } else if (file->layout.distance[0] != '\0') {
        enum engram_status status = metric_of_attribute(options, file, &inputs->metric);
        if (status != ENGRAM_OK) {
            return status;
        }
        snprintf(inputs->metric_reason, sizeof inputs->metric_reason,
                 "attribute `distance` is \"%s\"", file->layout.distance);
        return ENGRAM_OK;
    } else if (file->layout.kind == ENGRAM_LAYOUT_ANNDATA) {
        inputs->metric = ENGRAM_L2;
        reason = "AnnData";
    } else if (inputs->base.dataset->bits != ENGRAM_BITS_NONE) {
        inputs->metric = ENGRAM_HAMMING;
        reason = "bits";
    } else if (file->layout.kind == ENGRAM_LAYOUT_ANN_BENCHMARKS) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "%s: an ann-benchmarks file without the attribute `distance`; name the "
                           "metric with --metric",
                           file->path);
    }
    snprintf(inputs->metric_reason, sizeof inputs->metric_reason, "%s", reason);
    return ENGRAM_OK;
}

enum engram_status engram_question_check(const struct engram_job_options *options,
                                         const struct engram_inputs *inputs)
{
    if ((options->min_similarity_given || inputs->similarity) &&
        !engram_metric_is_similarity(inputs->metric)) {
        return engram_fail(
            &options->log, ENGRAM_ERR_USAGE,
            "%s needs metric cosine, ip or jaccard, and the metric is %s (%s); use %s--metric",
            options->min_similarity_given ? "--min-similarity" : "--similarity",
            engram_metric_name(inputs->metric), inputs->metric_reason,
            options->min_similarity_given ? "--max-distance or " : "");
    }
    if (inputs->answer == ENGRAM_ANSWER_COMPONENTS && !inputs->self) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "--components needs one set (--self): base and queries differ");
    }
    int64_t base = inputs->base.last - inputs->base.first;
    int64_t queries = inputs->queries.last - inputs->queries.first;
    if (inputs->answer == ENGRAM_ANSWER_PAIRWISE && base != queries) {
        return engram_fail(&options->log, ENGRAM_ERR_DATA,
                           "--pairwise needs as many queries as base rows: %s: %s gives %" PRId64
                           " rows, %s: %s gives %" PRId64
                           "; choose rows with --query-rows and --base-rows",
                           inputs->queries.file->path, inputs->queries.dataset->path, queries,
                           inputs->base.file->path, inputs->base.dataset->path, base);
    }
    return ENGRAM_OK;
}
