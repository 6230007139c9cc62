#define _GNU_SOURCE
#include "job/inputs.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/log.h"
#include "io/anndata.h"
#include "io/items.h"
#include "job/bases.h"
#include "job/question.h"
#include "job/sets.h"
#include "job/shard.h"

/* The two roles of a set. */
struct role {
    const char *option;      /* "--base" */
    const char *ann_dataset; /* its part in an ann-benchmarks file */
};
static const struct role BASE = {"--base", "/train"};
static const struct role QUERIES = {"--queries", "/test"};

/* A SET argument, taken apart. */
struct choice {
    struct engram_input_file *file;
    const char *dataset; /* NULL: the layout decides */
};

static bool same_file(const char *a, const char *b)
{
    struct stat left;
    struct stat right;

    return strcmp(a, b) == 0 || (stat(a, &left) == 0 && stat(b, &right) == 0 &&
                                 left.st_dev == right.st_dev && left.st_ino == right.st_ino);
}

/* The file at `path` with its layout; each file is read once. */
static enum engram_status open_file(const struct engram_job_options *options,
                                    struct engram_inputs *inputs, const char *path,
                                    struct engram_input_file **file)
{
    for (int i = 0; i < inputs->file_count; i++) {
        if (inputs->files[i].path != NULL && same_file(inputs->files[i].path, path)) {
            *file = &inputs->files[i];
            return ENGRAM_OK;
        }
    }
    if (inputs->file_count == inputs->file_room) {
        return engram_fail(&options->log, ENGRAM_ERR_INTERNAL, "too many input files");
    }
    *file = &inputs->files[inputs->file_count];
    char *copy = strdup(path);
    if (copy == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "%s: not enough memory", path);
    }
    enum engram_status status = engram_layout_read(path, &options->log, &(*file)->layout);
    if (status != ENGRAM_OK) {
        free(copy);
        return status;
    }
    (*file)->path = copy;
    inputs->file_count++;
    return ENGRAM_OK;
}

/* Looks for a dataset, or a group of items, that the list may not have yet. */
static enum engram_status look_up(const struct engram_job_options *options,
                                  struct engram_input_file *file, const char *name)
{
    enum engram_status status = engram_layout_add(&file->layout, file->path, name, &options->log);

    if (status != ENGRAM_OK || engram_anndata_refusal(&file->layout, name) != NULL) {
        return status;
    }
    return engram_layout_items(&file->layout, file->path, name, options->leaf, &options->log);
}

/* --leaf says what the items of a file are, where nothing else is chosen or recognised. */
static enum engram_status apply_leaf(const struct engram_job_options *options,
                                     const struct choice *choice)
{
    struct engram_layout *layout = &choice->file->layout;

    if (options->leaf == NULL || choice->dataset != NULL ||
        (layout->kind != ENGRAM_LAYOUT_NONE && layout->kind != ENGRAM_LAYOUT_ITEMS)) {
        return ENGRAM_OK;
    }
    return engram_layout_items(layout, choice->file->path,
                               layout->items != NULL ? engram_items_group(layout->items) : "/",
                               options->leaf, &options->log);
}

/* What a SET argument names: a dataset of INPUT, FILE::PATH, or a file. */
static enum engram_status choose(const struct engram_job_options *options,
                                 struct engram_inputs *inputs, const struct role *role,
                                 const char *set, struct choice *choice)
{
    struct engram_input_file *input = &inputs->files[0];
    char *path = NULL;
    char text[700];

    choice->dataset = NULL;
    enum engram_status status = look_up(options, input, set);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (engram_layout_find(&input->layout, set) != NULL) {
        choice->file = input;
        choice->dataset = set;
        return ENGRAM_OK;
    }
    status = engram_set_split(set, &options->log, &path, &choice->dataset);
    if (status == ENGRAM_OK && path != NULL) {
        status = open_file(options, inputs, path, &choice->file);
        free(path);
        if (status == ENGRAM_OK) {
            status = look_up(options, choice->file, choice->dataset);
        }
        return status;
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    if (engram_is_file(set)) {
        return open_file(options, inputs, set, &choice->file);
    }
    if (engram_anndata_refusal(&input->layout, set) != NULL) {
        choice->file = input;
        choice->dataset = set; /* by_choice refuses it by name */
        return ENGRAM_OK;
    }
    return engram_fail(&options->log, ENGRAM_ERR_NO_INPUT,
                       "%s %s: neither a dataset of %s nor a file; %s", role->option, set,
                       input->path, engram_inputs_candidates(&input->layout, text, sizeof text));
}

/* Refuses items that are no set. */
static enum engram_status check_items(const struct engram_job_options *options,
                                      const struct engram_set_part *set)
{
    const struct engram_items *items = set->dataset->items;
    const char *defect = items == NULL ? NULL : engram_items_defect(items);

    return defect == NULL
               ? ENGRAM_OK
               : engram_fail(&options->log, ENGRAM_ERR_DATA, "%s: %s", set->file->path, defect);
}

/* Whether a set was chosen by its name: what else is in the file does not matter then. */
static bool is_certain(const struct engram_layout *layout,
                       const struct engram_dataset_info *dataset)
{
    return dataset != NULL &&
           (layout->kind == ENGRAM_LAYOUT_ANN_BENCHMARKS ||
            (layout->kind == ENGRAM_LAYOUT_ANNDATA && strcmp(dataset->path, "/obsm/X_pca") == 0));
}

/* The set that the layout of a file gives to a role. */
static enum engram_status by_layout(const struct engram_job_options *options,
                                    const struct engram_input_file *file, const struct role *role,
                                    struct engram_set_part *set)
{
    const struct engram_layout *layout = &file->layout;
    char text[700];

    set->file = file;
    set->dataset = NULL;
    if (layout->kind == ENGRAM_LAYOUT_ANN_BENCHMARKS) {
        set->dataset = engram_layout_find(layout, role->ann_dataset);
    } else if (layout->kind == ENGRAM_LAYOUT_ANNDATA) {
        set->dataset = engram_anndata_vectors(layout);
    } else if (layout->kind == ENGRAM_LAYOUT_ITEMS) {
        for (size_t i = 0; i < layout->count; i++) {
            if (layout->datasets[i].items == layout->items) {
                set->dataset = &layout->datasets[i];
            }
        }
    } else if (layout->kind == ENGRAM_LAYOUT_SINGLE) {
        for (size_t i = 0; i < layout->count; i++) {
            if (engram_is_vectors(&layout->datasets[i])) {
                set->dataset = &layout->datasets[i];
            }
        }
    }
    if (layout->unreadable[0] != '\0' && !is_certain(layout, set->dataset)) {
        return engram_fail(&options->log, ENGRAM_ERR_DATA,
                           "%s: %s, so which dataset is to be searched is not clear; choose with "
                           "%s",
                           file->path, layout->unreadable, role->option);
    }
    if (set->dataset != NULL) {
        return check_items(options, set);
    }
    return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                       "%s: which dataset is to be searched is not clear; choose with %s; %s",
                       file->path, role->option,
                       layout->kind == ENGRAM_LAYOUT_ANNDATA
                           ? engram_anndata_explain(layout, text, sizeof text)
                           : engram_inputs_candidates(layout, text, sizeof text));
}

/* Takes the elements for those of --dtype. */
static enum engram_status read_as(const struct engram_job_options *options,
                                  const struct choice *choice,
                                  const struct engram_dataset_info *dataset)
{
    struct engram_layout *layout = &choice->file->layout;

    if (options->dtype == NULL || dataset == NULL) {
        return ENGRAM_OK;
    }
    return engram_dataset_read_as(&layout->datasets[dataset - layout->datasets], options->dtype,
                                  choice->file->path, &options->log);
}

static enum engram_status by_choice(const struct engram_job_options *options,
                                    const struct choice *choice, const struct role *role,
                                    struct engram_set_part *set)
{
    char text[700];

    if (choice->dataset == NULL) {
        enum engram_status found = by_layout(options, choice->file, role, set);
        return found == ENGRAM_OK ? read_as(options, choice, set->dataset) : found;
    }
    set->file = choice->file;
    set->dataset = engram_layout_find(&choice->file->layout, choice->dataset);
    enum engram_status status = read_as(options, choice, set->dataset);
    if (status != ENGRAM_OK) {
        return status;
    }
    const char *refusal =
        set->dataset != NULL ? NULL : engram_anndata_refusal(&set->file->layout, choice->dataset);
    if (refusal != NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_DATA, "%s: %s: %s", choice->file->path,
                           choice->dataset, refusal);
    }
    if (set->dataset == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_NO_INPUT, "%s: %s: no such dataset; %s",
                           choice->file->path, choice->dataset,
                           engram_inputs_candidates(&choice->file->layout, text, sizeof text));
    }
    if (!engram_is_vectors(set->dataset)) {
        return engram_fail(
            &options->log, ENGRAM_ERR_DATA,
            "%s: %s: is not a set of vectors (%s); %s needs a 2-D dataset of numbers",
            set->file->path, set->dataset->path,
            engram_dataset_shape(set->dataset, text, sizeof text), role->option);
    }
    return check_items(options, set);
}

/* Makes a set of choices. */
static enum engram_status make_set(const struct engram_job_options *options,
                                   const struct choice *choices, size_t count,
                                   const struct role *role, struct engram_set_ref *set)
{
    struct engram_set_part *parts = calloc(count, sizeof *parts);
    enum engram_status status = ENGRAM_OK;

    if (parts == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "not enough memory for %zu sets",
                           count);
    }
    for (size_t i = 0; status == ENGRAM_OK && i < count; i++) {
        status = by_choice(options, &choices[i], role, &parts[i]);
    }
    if (status == ENGRAM_OK) {
        status = engram_set_create(parts, count, &options->log, set);
    }
    free(parts);
    return status;
}

/* Everything that the options name, looked up: choices[0] is that of the queries. The layouts that
 * a truncated list can change are complete before any pointer into them is taken: first all
 * choices, then the sets. */
static enum engram_status choose_all(const struct engram_job_options *options,
                                     const struct engram_bases *bases, struct engram_inputs *inputs,
                                     struct choice *choices)
{
    enum engram_status status = ENGRAM_OK;

    for (size_t i = 0; status == ENGRAM_OK && i < bases->count; i++) {
        status = choose(options, inputs, &BASE, bases->sets[i], &choices[1 + i]);
    }
    if (status == ENGRAM_OK && options->queries != NULL) {
        status = choose(options, inputs, &QUERIES, options->queries, &choices[0]);
    }
    if (status == ENGRAM_OK) {
        status = apply_leaf(options, &choices[1]);
    }
    for (size_t i = 0; status == ENGRAM_OK && i <= bases->count; i++) {
        if (choices[i].file != choices[1].file) {
            status = apply_leaf(options, &choices[i]);
        }
    }
    for (int i = 0; status == ENGRAM_OK && options->ids != NULL && i < inputs->file_count; i++) {
        struct engram_input_file *file = &inputs->files[i];
        status = engram_layout_add(&file->layout, file->path, options->ids, &options->log);
    }
    return status;
}

/* Decides base, queries and self. */
static enum engram_status choose_sets(const struct engram_job_options *options,
                                      const struct engram_bases *bases,
                                      struct engram_inputs *inputs)
{
    const struct engram_input_file *input = &inputs->files[0];
    size_t count = bases->count > 0 ? bases->count : 1;
    struct choice *choices = calloc(count + 1, sizeof *choices);
    bool inside = true; /* the base lies in INPUT */

    if (choices == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "not enough memory for %zu sets",
                           count);
    }
    for (size_t i = 0; i <= count; i++) {
        choices[i].file = &inputs->files[0];
    }
    enum engram_status status = choose_all(options, bases, inputs, choices);
    if (status == ENGRAM_OK) {
        status = make_set(options, choices + 1, count, &BASE, &inputs->base);
    }
    for (size_t i = 1; i <= count; i++) {
        inside = inside && choices[i].file == input;
    }
    /* Without queries and another file there is one set, and nothing else to ask with. */
    inputs->self = options->self || (options->queries == NULL && inside &&
                                     input->layout.kind != ENGRAM_LAYOUT_ANN_BENCHMARKS);
    if (status == ENGRAM_OK && inputs->self) {
        inputs->queries = inputs->base;
    } else if (status == ENGRAM_OK) {
        status = make_set(options, choices, 1, &QUERIES, &inputs->queries);
    }
    free(choices);
    return status;
}

static enum engram_status choose_rows(const struct engram_job_options *options, const char *option,
                                      const int64_t range[2], struct engram_set_ref *set)
{
    int64_t rows = set->dataset->dims[0];

    set->first = range[0] < 0 ? 0 : range[0];
    set->last = range[1] < 0 ? rows : range[1];
    if (set->last > rows || set->first > rows) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "%s %" PRId64 ":%" PRId64 ": %s: %s has %" PRId64 " rows", option,
                           set->first, set->last, set->file->path, set->dataset->path, rows);
    }
    if (set->first > set->last) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "%s %" PRId64 ":%" PRId64 ": the range ends before it starts", option,
                           set->first, set->last);
    }
    return ENGRAM_OK;
}

static bool has_leaf(const struct engram_set_ref *set)
{
    bool found = false;

    for (size_t i = 0; i < set->part_count; i++) {
        const struct engram_items *items = set->parts[i].dataset->items;
        found = found || (items != NULL && engram_items_leaf(items) != NULL);
    }
    return found;
}

static enum engram_status check_together(const struct engram_job_options *options,
                                         const struct engram_inputs *inputs)
{
    const struct engram_set_ref *base = &inputs->base;
    const struct engram_set_ref *queries = &inputs->queries;

    if (base->dataset->dims[1] != queries->dataset->dims[1]) {
        return engram_fail(&options->log, ENGRAM_ERR_DATA,
                           "dimensions differ: %s: %s has %" PRId64 ", %s: %s has %" PRId64,
                           base->file->path, base->dataset->path, base->dataset->dims[1],
                           queries->file->path, queries->dataset->path, queries->dataset->dims[1]);
    }
    if (options->leaf != NULL && !has_leaf(base) && !has_leaf(queries)) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "--leaf %s: %s: %s does not consist of one dataset per item",
                           options->leaf, base->file->path, base->dataset->path);
    }
    return ENGRAM_OK;
}

/* Files are never moved: sets point to them. */
static enum engram_status make_room(const struct engram_job_options *options, size_t files,
                                    struct engram_inputs *inputs)
{
    inputs->files = files > INT_MAX ? NULL : calloc(files, sizeof *inputs->files);
    if (inputs->files == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "not enough memory for %zu files",
                           files);
    }
    inputs->file_room = (int)files;
    return ENGRAM_OK;
}

static void keep_ranges(struct engram_inputs *inputs)
{
    inputs->job_base[0] = inputs->base.first;
    inputs->job_base[1] = inputs->base.last;
    inputs->job_queries[0] = inputs->queries.first;
    inputs->job_queries[1] = inputs->queries.last;
}

enum engram_status engram_inputs_resolve(const struct engram_job_options *options,
                                         struct engram_inputs *inputs)
{
    struct engram_input_file *input = NULL;
    struct engram_bases bases;

    *inputs = (struct engram_inputs){0};
    if (options->input == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE, "no input file is named");
    }
    enum engram_status status = engram_question_limits(options, inputs);
    if (status != ENGRAM_OK) {
        return status;
    }
    status = engram_bases_expand(options, &bases);
    if (status == ENGRAM_OK) {
        status = make_room(options, bases.count + 2, inputs);
    }
    if (status == ENGRAM_OK) {
        status = open_file(options, inputs, options->input, &input);
    }
    if (status == ENGRAM_OK) {
        status = choose_sets(options, &bases, inputs);
    }
    engram_bases_free(&bases);
    if (status == ENGRAM_OK) {
        status = choose_rows(options, "--base-rows", options->base_rows, &inputs->base);
    }
    if (status == ENGRAM_OK) {
        bool groups = inputs->answer == ENGRAM_ANSWER_COMPONENTS; /* one set, one range */
        status = choose_rows(options, "--query-rows",
                             groups ? options->base_rows : options->query_rows, &inputs->queries);
    }
    if (status == ENGRAM_OK) {
        status = engram_inputs_choose_ids(options, inputs);
    }
    if (status == ENGRAM_OK) {
        status = engram_question_metric(options, inputs);
    }
    if (status == ENGRAM_OK &&
        (inputs->metric == ENGRAM_HAMMING || inputs->metric == ENGRAM_JACCARD)) {
        engram_set_want_bits(&inputs->base);
        engram_set_want_bits(&inputs->queries);
    }
    if (status == ENGRAM_OK) {
        status = check_together(options, inputs);
    }
    if (status == ENGRAM_OK) {
        status = engram_question_check(options, inputs);
    }
    if (status == ENGRAM_OK) {
        status = engram_row_data_read(options, inputs, &inputs->row_data);
    }
    if (status == ENGRAM_OK) {
        keep_ranges(inputs);
        status = engram_shard_take(options, inputs);
    }
    return status;
}

void engram_inputs_free(struct engram_inputs *inputs)
{
    engram_row_data_free(&inputs->row_data);
    for (int i = 0; i < inputs->file_count; i++) {
        engram_layout_free(&inputs->files[i].layout);
        free(inputs->files[i].path);
    }
    free(inputs->files);
    if (!inputs->self) {
        engram_set_free(&inputs->queries);
    }
    engram_set_free(&inputs->base);
    *inputs = (struct engram_inputs){0};
}

bool engram_inputs_shared(const struct engram_inputs *inputs)
{
    return inputs->self && inputs->base.first == inputs->queries.first &&
           inputs->base.last == inputs->queries.last;
}
