/* engram-batch inspect: what is in the files, what the job would make of them, what it would take.
 * Nothing is read but descriptions and a sample of the rows. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/size.h"
#include "cli/commands.h"
#include "cli/datasets.h"
#include "cli/inspect_search.h"
#include "cli/inspect_sets.h"
#include "cli/summary.h"
#include "io/items.h"
#include "io/spoolfile.h"
#include "job/inputs.h"
#include "job/plan.h"
#include "search/hits.h"

/* Datasets listed of a file without -v. */
enum { LISTED = 40 };

/* Why a decision failed, kept until the datasets to choose from are listed. */
struct kept_error {
    struct engram_log log;
    char message[1024];
};

static void keep_error(void *context, enum engram_log_level level, const char *message)
{
    struct kept_error *kept = context;

    if (level == ENGRAM_LOG_ERROR && kept->message[0] == '\0') {
        snprintf(kept->message, sizeof kept->message, "%s", message);
    } else {
        engram_logf(&kept->log, level, "%s", message);
    }
}

static void print_escaped(const char *text)
{
    engram_cli_print_escaped(stdout, text, strlen(text));
}

static void print_files(const struct engram_inputs *inputs, size_t limit)
{
    for (int i = 0; i < inputs->file_count; i++) {
        const struct engram_layout *layout = &inputs->files[i].layout;
        print_escaped(inputs->files[i].path);
        puts(layout->count == 0 ? ": no datasets" : "");
        engram_cli_print_datasets(stdout, layout, limit);
        if (layout->distance[0] != '\0') {
            fputs("  attribute distance = \"", stdout);
            print_escaped(layout->distance);
            puts("\"");
        }
        if (layout->outside[0] != '\0') {
            fputs("  ", stdout);
            print_escaped(layout->outside);
            putchar('\n');
        }
        putchar('\n');
    }
}

/* How rows that are datasets of their own are named, with the first names. */
static void print_items(const struct engram_dataset_info *dataset)
{
    const struct engram_items *items = dataset->items;
    char count[32];

    if (items == NULL) {
        return;
    }
    fputs("items    each row is a dataset", stdout);
    if (engram_items_leaf(items) != NULL) {
        fputs(" named ", stdout);
        print_escaped(engram_items_leaf(items));
        fputs(", its id the path of its group", stdout);
    } else if (engram_items_named(items) < engram_items_count(items)) {
        fputs(", its id the key", stdout);
    }
    if (engram_items_named(items) == engram_items_count(items)) {
        fputs(", its id the attribute original_id", stdout);
    } else if (engram_items_named(items) > 0) {
        engram_cli_format_count(count, (uint64_t)engram_items_named(items));
        printf(", or for %s the attribute original_id", count);
    }
    for (int64_t row = 0; row < 3 && row < engram_items_count(items); row++) {
        fputs(row == 0 ? ": " : ", ", stdout);
        print_escaped(engram_items_id(items, row));
    }
    puts(engram_items_count(items) > 3 ? ", ..." : "");
}

/* Strings that could be the ids of a set for which none were recognised. */
static void print_possible_ids(const struct engram_set_ref *set)
{
    const struct engram_layout *layout = &set->file->layout;

    for (size_t i = 0; i < layout->count; i++) {
        const struct engram_dataset_info *strings = &layout->datasets[i];
        if (strings->rank == 1 && strings->content == ENGRAM_CONTENT_STRINGS &&
            strings->dims[0] == set->dataset->dims[0]) {
            fputs(" (--ids would take ", stdout);
            print_escaped(strings->path);
            fputs(")", stdout);
            return;
        }
    }
}

static void print_set(const char *label, const struct engram_inputs *inputs,
                      const struct engram_set_ref *set)
{
    char rows[32];
    char dims[32];

    engram_cli_format_count(rows, (uint64_t)(set->last - set->first));
    engram_cli_format_count(dims, (uint64_t)set->dataset->dims[1]);
    printf("%s", label);
    if (set->file != &inputs->files[0]) {
        print_escaped(set->file->path);
        fputs("::", stdout);
    }
    print_escaped(set->dataset->path);
    if (set->part_count > 1) {
        printf(" and %zu more sets", set->part_count - 1);
    }
    printf(", %s x %s %s", rows, dims, set->dataset->type_name);
    if (set->first != 0 || set->last != set->dataset->dims[0]) {
        printf(", rows %lld:%lld", (long long)set->first, (long long)set->last);
    }
    if (set->ids == set->dataset && set->dataset->items != NULL) {
        fputs(", ids of the items", stdout);
    } else if (set->ids != NULL) {
        fputs(", ids ", stdout);
        print_escaped(set->ids->path);
    } else {
        fputs(", no ids", stdout);
        if (set->part_count == 1) {
            print_possible_ids(set);
        }
    }
    putchar('\n');
    print_items(set->dataset);
}

/* A value for every pair asked about, instead of the best. */
static bool is_matrix(const struct engram_inputs *inputs)
{
    return inputs->answer == ENGRAM_ANSWER_DENSE || inputs->answer == ENGRAM_ANSWER_PAIRWISE;
}

static void print_decision(const struct engram_inputs *inputs, const struct engram_job_options *job)
{
    char allowed[192];

    engram_cli_print_layout(inputs, job);
    print_set("base     ", inputs, &inputs->base);
    if (inputs->self && inputs->queries.first == inputs->base.first &&
        inputs->queries.last == inputs->base.last) {
        puts(is_matrix(inputs) ? "queries  the base" : "queries  the base; no row matches itself");
    } else {
        print_set("queries  ", inputs, &inputs->queries);
    }
    if (inputs->shard[1] > 0) {
        engram_cli_format_count(allowed,
                                (uint64_t)(inputs->job_queries[1] - inputs->job_queries[0]));
        printf("shard    %lld of %lld, of %s queries; merge joins the parts\n",
               (long long)inputs->shard[0], (long long)inputs->shard[1], allowed);
    }
    engram_row_data_describe(inputs, allowed, sizeof allowed);
    if (allowed[0] != '\0') {
        printf("allowed  %s\n", allowed);
    }
    printf("metric   %s (", engram_metric_name(inputs->metric));
    print_escaped(inputs->metric_reason);
    fputs(")\nanswers  ", stdout);
    if (is_matrix(inputs)) {
        printf("a %s for %s, %s", inputs->similarity ? "similarity" : "distance",
               inputs->answer == ENGRAM_ANSWER_DENSE ? "every pair" : "each row and the same row",
               inputs->float64 ? "float64" : "float32");
    } else if (inputs->answer == ENGRAM_ANSWER_LABELS) {
        fputs("the label of the nearest labelled row of every query", stdout);
    } else if (inputs->answer == ENGRAM_ANSWER_COMPONENTS) {
        fputs("groups that chains of pairs connect", stdout);
    } else if (inputs->k != INT64_MAX) {
        printf("the %lld nearest of every query", (long long)inputs->k);
    } else {
        fputs("every pair", stdout);
    }
    if (isfinite(inputs->max_distance)) {
        printf(", distance <= %.9g", inputs->max_distance);
    }
    if (isfinite(inputs->min_similarity)) {
        printf(", similarity >= %.9g", inputs->min_similarity);
    }
    putchar('\n');
}

/* Nobody can know how many pairs there will be: what each takes, and how many there may be. */
static void print_disk(const struct engram_plan *plan, const struct engram_inputs *inputs,
                       const struct engram_job_options *job)
{
    const uint64_t result = inputs->float64 ? 16 : 12;
    const uint64_t spool = sizeof(struct engram_hit);
    const char *folder = job->tmpdir;
    uint64_t most = plan->pairs;
    char text[32];

    if (job->max_pairs > 0 && (uint64_t)job->max_pairs < most) {
        most = (uint64_t)job->max_pairs;
    }
    printf("disk     %llu bytes a pair in OUTPUT, and, until it is there, %llu in its checkpoint",
           (unsigned long long)result, (unsigned long long)spool);
    engram_cli_format_bytes(text, engram_saturating_mul(most, result + spool));
    printf("; %s at the very most\n", text);
    if (folder != NULL) {
        engram_cli_format_bytes(text, engram_disk_free(folder));
        fputs("         pieces that are too many to be merged at once: in ", stdout);
        print_escaped(folder);
        printf(" (%s free)\n", text);
    }
}

/* What does not fit into memory as a whole. */
static void print_slabs(const struct engram_plan *plan)
{
    const bool base = plan->base_slab_rows != INT64_MAX;
    const bool queries = plan->query_slab_rows != INT64_MAX;
    char budget[32];
    char rows[2][32];

    if (!base && !queries) {
        return;
    }
    engram_cli_format_bytes(budget, plan->budget_bytes);
    engram_cli_format_count(rows[0], base ? (uint64_t)plan->base_slab_rows : plan->base_rows);
    engram_cli_format_count(rows[1], queries ? (uint64_t)plan->query_slab_rows : plan->query_rows);
    uint64_t times = engram_plan_readings(plan, !plan->base_outer);
    printf("slabs    for a budget of %s: %s base rows and %s queries at a time; %s read %llu %s\n",
           budget, rows[0], rows[1], plan->base_outer ? "the queries are" : "the base is",
           (unsigned long long)times, times == 1 ? "time" : "times");
}

static void print_plan(const struct engram_plan *plan, const struct engram_inputs *inputs,
                       const struct engram_job_options *job)
{
    char memory[4][32];

    engram_cli_format_bytes(memory[0], plan->need_bytes);
    engram_cli_format_bytes(memory[1], plan->rows_bytes);
    engram_cli_format_bytes(memory[2], plan->packed_bytes);
    engram_cli_format_bytes(memory[3], plan->answer_bytes);
    printf("kernels  %s, %d %s\n", plan->isa, plan->threads,
           plan->threads == 1 ? "thread" : "threads");
    engram_cli_print_search(inputs, job, plan);
    if (engram_plan_spools(inputs)) {
        engram_cli_format_bytes(memory[3], plan->pair_bytes);
        printf("memory   %s and up to %s for the pairs found: rows %s, packed copy %s\n", memory[0],
               memory[3], memory[1], memory[2]);
        print_disk(plan, inputs, job);
    } else {
        printf("memory   %s: rows %s, packed copy %s, answers %s\n", memory[0], memory[1],
               memory[2], memory[3]);
    }
    print_slabs(plan);
    if (is_matrix(inputs)) {
        uint64_t cell = inputs->float64 ? sizeof(double) : sizeof(float);
        engram_cli_format_bytes(memory[0], engram_saturating_mul(plan->pairs, cell));
        printf("disk     %s in OUTPUT%s\n", memory[0],
               job->compress == 0                      ? ""
               : inputs->answer == ENGRAM_ANSWER_DENSE ? ", and as much beside it before they are "
                                                         "compressed"
                                                       : ", before compression");
    }
}

int engram_cli_inspect(const struct engram_cli_options *options)
{
    struct kept_error kept = {.log = options->job.log};
    struct engram_job_options job = options->job;
    struct engram_inputs inputs;
    struct engram_plan plan;

    job.log.call = keep_error;
    job.log.context = &kept;
    enum engram_status status = engram_inputs_resolve(&job, &inputs);
    print_files(&inputs, options->messages->verbosity > 0 ? SIZE_MAX : LISTED);
    if (status == ENGRAM_OK) {
        print_decision(&inputs, &job);
        status = engram_cli_print_samples(&inputs, &job);
    }
    if (status == ENGRAM_OK) {
        status = engram_plan_make(&inputs, &job, &plan);
    }
    if (status == ENGRAM_OK) {
        print_plan(&plan, &inputs, &job);
        status = engram_plan_check(&plan, &job.log);
    }
    engram_inputs_free(&inputs);
    if (kept.message[0] != '\0') {
        (void)fflush(stdout); /* the error belongs below the list; main checks the stream */
        engram_logf(&kept.log, ENGRAM_LOG_ERROR, "%s", kept.message);
    }
    return engram_status_exit_code(status);
}
