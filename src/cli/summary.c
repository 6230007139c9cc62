#define _GNU_SOURCE

#include "cli/summary.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/log.h"
#include "cli/progress.h"
#include "io/memory.h"
#include "job/foresee.h"

void engram_cli_format_count(char text[32], uint64_t value)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    char *end = text;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            *end++ = ',';
        }
        *end++ = digits[i];
    }
    *end = '\0';
}

void engram_cli_format_bytes(char text[32], uint64_t bytes)
{
    static const char *const UNITS[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1023.5) {
        value /= 1024;
        unit++;
    }
    snprintf(text, 32, "%.*f %s", unit > 0 && value < 99.5 ? 1 : 0, value, UNITS[unit]);
}

void engram_cli_format_seconds(char text[32], double seconds)
{
    int decimals = seconds < 9.995 ? 3 : seconds < 999.5 ? 1 : 0;
    snprintf(text, 32, "%.*f s", decimals, seconds);
}

/* The summary is put together here and written at once. */
struct text {
    char bytes[8192];
    size_t used;
};

/* Appends; cuts what does not fit. */
__attribute__((format(printf, 2, 3))) static void append(struct text *text, const char *format, ...)
{
    va_list arguments;
    size_t room = sizeof text->bytes - text->used;

    va_start(arguments, format);
    int added = vsnprintf(text->bytes + text->used, room, format, arguments);
    va_end(arguments);
    if (added > 0) {
        text->used += (size_t)added < room ? (size_t)added : room - 1;
    }
}

/* A count and its noun. */
static void append_count(struct text *text, uint64_t value, const char *singular,
                         const char *plural)
{
    char count[32];

    engram_cli_format_count(count, value);
    append(text, "%s %s", count, value == 1 ? singular : plural);
}

static void append_escaped(struct text *text, const char *value)
{
    if (sizeof text->bytes - text->used > 1) {
        text->used += engram_cli_escape(text->bytes + text->used, sizeof text->bytes - text->used,
                                        value, strlen(value));
    }
}

static void append_sets(struct text *text, const struct engram_job_report *report)
{
    append(text, "  sets     ");
    if (report->self) {
        append_count(text, (uint64_t)report->query_count, "row", "rows");
        append(text, " against ");
        if (report->query_count == report->base_count) {
            append(text, "each other");
        } else {
            append_count(text, (uint64_t)report->base_count, "row", "rows");
            append(text, " of the same set");
        }
    } else {
        append_count(text, (uint64_t)report->query_count, "query", "queries");
        append(text, " against ");
        append_count(text, (uint64_t)report->base_count, "base row", "base rows");
    }
    append(text, ", ");
    append_count(text, (uint64_t)report->dim, "dimension", "dimensions");
    append(text, ", %s\n", engram_dtype_name(report->base_dtype));
    if (report->allowed_reason[0] != '\0') {
        append(text, "  allowed  %s\n", report->allowed_reason);
    }
}

static void append_answers(struct text *text, const struct engram_cli_summary *summary)
{
    const struct engram_job_report *report = summary->report;
    bool similarity = summary->options->job.similarity;

    switch (report->answer) {
    case ENGRAM_ANSWER_PAIRS:
        append_count(text, report->answers, "pair", "pairs");
        return;
    case ENGRAM_ANSWER_DENSE:
    case ENGRAM_ANSWER_PAIRWISE:
        append_count(text, report->answers, similarity ? "similarity" : "distance",
                     similarity ? "similarities" : "distances");
        append(text,
               report->answer == ENGRAM_ANSWER_DENSE ? ", one of every pair" : ", row by row");
        return;
    case ENGRAM_ANSWER_LABELS:
        append_count(text, report->answers, "label", "labels");
        return;
    case ENGRAM_ANSWER_COMPONENTS:
        append_count(text, (uint64_t)report->groups, "group", "groups");
        append(text, " of two rows or more");
        return;
    case ENGRAM_ANSWER_KNN:
        append_count(text, report->answers, "neighbour", "neighbours");
    }
}

static void append_groups(struct text *text, const struct engram_job_report *report)
{
    append(text, "  groups   ");
    append_count(text, (uint64_t)report->kept_rows, "row", "rows");
    append(text, " kept, the largest group has ");
    append_count(text, (uint64_t)report->largest_group, "row", "rows");
    append(text, report->largest_group > 2
                     ? "; chains of near pairs may join rows that are far apart\n"
                     : "\n");
}

static void append_question(struct text *text, const struct engram_cli_summary *summary)
{
    const struct engram_job_options *job = &summary->options->job;
    const struct engram_job_report *report = summary->report;

    append(text, "  metric   %s (", engram_metric_name(report->metric));
    append_escaped(text, report->metric_reason);
    append(text, ")\n  answers  ");
    append_answers(text, summary);
    if (report->k != INT64_MAX && report->answer != ENGRAM_ANSWER_LABELS) {
        append(text, ", k = %lld", (long long)report->k);
    }
    if (job->max_distance_given) {
        append(text, ", distance <= %.9g", job->max_distance);
    }
    if (job->min_similarity_given) {
        append(text, ", similarity >= %.9g", job->min_similarity);
    }
    append(text, "\n");
    if (report->answer == ENGRAM_ANSWER_COMPONENTS) {
        append_groups(text, report);
    }
}

const char *engram_cli_filter_name(enum engram_filter filter)
{
    switch (filter) {
    case ENGRAM_FILTER_AUTO:
        return "auto";
    case ENGRAM_FILTER_CANONICAL:
        return "canonical";
    case ENGRAM_FILTER_F32:
        return "f32";
    case ENGRAM_FILTER_INT:
        return "int";
    case ENGRAM_FILTER_BITS:
        return "bits";
    case ENGRAM_FILTER_PREFIX:
        return "prefix";
    }
    return "unknown";
}

const char *engram_cli_filter_reason(enum engram_filter asked, enum engram_filter filter,
                                     const char *reason)
{
    if (asked == filter) {
        return "forced";
    }
    return reason != NULL ? reason : "f32 or prefix if a sample of the rows says so";
}

const char *engram_cli_ran_because(const struct engram_cli_summary *summary)
{
    const struct engram_job_report *report = summary->report;
    const enum engram_filter asked = summary->options->job.filter;
    const char *reason = report->search.choice.reason;

    if (reason == NULL) {
        reason = engram_job_filter_reason(report->answer, asked, report->metric,
                                          report->query_count, report->base_count, report->dim);
    }
    return engram_cli_filter_reason(asked, report->search.filter, reason);
}

struct engram_filter_estimate engram_cli_estimate(const struct engram_filter_choice *choice)
{
    switch (choice->filter) {
    case ENGRAM_FILTER_F32:
        return choice->f32;
    case ENGRAM_FILTER_INT:
        return choice->integer;
    case ENGRAM_FILTER_PREFIX:
        return choice->prefix;
    default:
        return (struct engram_filter_estimate){0};
    }
}

double engram_cli_scored_share(const struct engram_search_stats *search)
{
    bool ran = search->pairs > 0 && search->filter != ENGRAM_FILTER_CANONICAL;
    return ran ? (double)search->rescored / (double)search->pairs : NAN;
}

const char *engram_cli_answer_name(enum engram_answer answer)
{
    switch (answer) {
    case ENGRAM_ANSWER_KNN:
        return "neighbors";
    case ENGRAM_ANSWER_PAIRS:
        return "pairs";
    case ENGRAM_ANSWER_DENSE:
        return "dense";
    case ENGRAM_ANSWER_PAIRWISE:
        return "pairwise";
    case ENGRAM_ANSWER_LABELS:
        return "labels";
    case ENGRAM_ANSWER_COMPONENTS:
        return "components";
    }
    return "unknown";
}

double engram_cli_gflop(const struct engram_job_report *report)
{
    double rows = report->answer == ENGRAM_ANSWER_PAIRWISE ? 1 : (double)report->base_count;
    double pairs = (double)report->query_count * rows - (double)report->pairs_before;
    return 2e-9 * pairs * (double)report->dim;
}

static void append_search(struct text *text, const struct engram_job_report *report)
{
    const struct engram_search_stats *search = &report->search;
    char rate[16];
    char bytes[32];

    append(text, "  search   ");
    append_count(text, search->pairs, "pair", "pairs");
    if (report->search_seconds > 0) {
        engram_cli_format_rate(rate, (double)search->pairs / report->search_seconds);
        append(text, ", %spairs/s, %.1f GFLOP/s", rate,
               engram_cli_gflop(report) / report->search_seconds);
    }
    if (search->pairs > 0) {
        append(text, ", %.3g %% rescored", 100 * (double)search->rescored / (double)search->pairs);
    }
    engram_cli_format_bytes(bytes, search->arena_high_water);
    append(text, "\n  kernels  %s, %s filter, ", search->isa != NULL ? search->isa : "none",
           engram_cli_filter_name(search->filter));
    append_count(text, (uint64_t)search->threads, "thread", "threads");
    append(text, ", arena high-water mark %s\n", bytes);
}

static void append_times(struct text *text, const struct engram_cli_summary *summary)
{
    const struct engram_job_report *report = summary->report;
    char total[32];
    char stages[3][32];

    engram_cli_format_seconds(total, summary->total_seconds);
    engram_cli_format_seconds(stages[0], report->read_seconds);
    engram_cli_format_seconds(stages[1], report->search_seconds);
    engram_cli_format_seconds(stages[2], report->write_seconds);
    append(text, "  time     %s: read %s, search %s, write %s\n", total, stages[0], stages[1],
           stages[2]);
    if (report->continued) {
        append(text, "  earlier  runs did ");
        append_count(text, report->pairs_before, "pair", "pairs");
        append(text, "\n");
    }
}

/* How the filter was chosen, and how what was expected of it compares with what it did. */
static void append_filter(struct text *text, const struct engram_cli_summary *summary)
{
    const struct engram_search_stats *search = &summary->report->search;
    const struct engram_filter_estimate estimate = engram_cli_estimate(&search->choice);

    append(text, "  filter   %s: %s", engram_cli_filter_name(search->filter),
           engram_cli_ran_because(summary));
    if (estimate.axes > 0) {
        append(text, "; %d axes", estimate.axes);
    }
    if (estimate.cost > 0) {
        append(text, "; %.2g %% of the pairs expected to be scored", 100 * estimate.share);
    }
    if (!isnan(engram_cli_scored_share(search))) {
        append(text, estimate.cost > 0 ? "; %.2g %% were" : "; %.2g %% of the pairs were scored",
               100 * engram_cli_scored_share(search));
    }
    append(text, "\n");
}

static void append_details(struct text *text, const struct engram_job_report *report)
{
    const struct engram_search_stats *search = &report->search;
    const size_t peak = engram_memory_peak();
    char bytes[32];

    append(text,
           "  scratch  %llu from the caller, %llu from the arena, %llu from the stack, %llu "
           "refused\n",
           (unsigned long long)search->scratch[0], (unsigned long long)search->scratch[1],
           (unsigned long long)search->scratch[2], (unsigned long long)search->scratch[3]);
    append(text, "  scored   %llu rescored, %llu without a filter\n",
           (unsigned long long)search->rescored, (unsigned long long)search->canonical);
    append(text, "  skipped  %lld queries and %lld base rows with NaN or infinity\n",
           (long long)search->skipped_queries, (long long)search->skipped_base);
    if (peak > 0) {
        engram_cli_format_bytes(bytes, peak);
        append(text, "  memory   %s at most\n", bytes);
    }
}

void engram_cli_print_summary(const struct engram_cli_summary *summary)
{
    const struct engram_cli_options *options = summary->options;
    const struct engram_job_report *report = summary->report;
    struct text text = {.used = 0};
    bool written = report->outcome == ENGRAM_JOB_WRITTEN;

    if (options->messages->verbosity < 0) {
        return;
    }
    append(&text, "engram-batch: %s", written ? "wrote " : "");
    append_escaped(&text, options->job.output);
    append(&text, "%s\n", written ? "" : " is up to date");
    if (written) {
        append_sets(&text, report);
        append_question(&text, summary);
        append_search(&text, report);
        append_times(&text, summary);
        if (options->messages->verbosity > 0) {
            append_filter(&text, summary);
            append_details(&text, report);
        }
    }
    engram_cli_write_stderr(text.bytes, text.used);
}
