#define _GNU_SOURCE
#include "job/inputs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/log.h"
#include "io/anndata.h"
#include "io/items.h"
#include "job/question.h"

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
        if (same_file(inputs->files[i].path, path)) {
            *file = &inputs->files[i];
            return ENGRAM_OK;
        }
    }
    if (inputs->file_count == ENGRAM_INPUT_FILES) {
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

static bool is_file(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

enum engram_status engram_set_split(const char *set, const struct engram_log *log, char **file,
                                    const char **dataset)
{
    char *left = strdup(set);

    *file = NULL;
    if (left == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s: not enough memory", set);
    }
    for (size_t at = strlen(left); at-- > 0;) {
        if (left[at] == ':' && set[at + 1] == ':') {
            left[at] = '\0';
            if (is_file(left)) {
                *file = left;
                *dataset = set + at + 2;
                return ENGRAM_OK;
            }
        }
    }
    free(left);
    return ENGRAM_OK;
}

/* Looks for a dataset, or a group of items, that the list may not have yet. */
static enum engram_status look_up(const struct engram_job_options *options,
                                  struct engram_input_file *file, const char *name)
{
    enum engram_status status = engram_layout_add(&file->layout, file->path, name, &options->log);

    if (status != ENGRAM_OK || engram_layout_is_sparse(&file->layout, name)) {
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
    if (is_file(set)) {
        return open_file(options, inputs, set, &choice->file);
    }
    if (engram_layout_is_sparse(&input->layout, set)) {
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
                                      const struct engram_set_ref *set)
{
    const struct engram_items *items = set->dataset->items;
    const char *defect = items == NULL ? NULL : engram_items_defect(items);

    return defect == NULL
               ? ENGRAM_OK
               : engram_fail(&options->log, ENGRAM_ERR_DATA, "%s: %s", set->file->path, defect);
}

/* The set that the layout of a file gives to a role. */
static enum engram_status by_layout(const struct engram_job_options *options,
                                    const struct engram_input_file *file, const struct role *role,
                                    struct engram_set_ref *set)
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

static enum engram_status by_choice(const struct engram_job_options *options,
                                    const struct choice *choice, const struct role *role,
                                    struct engram_set_ref *set)
{
    char text[700];

    if (choice->dataset == NULL) {
        return by_layout(options, choice->file, role, set);
    }
    set->file = choice->file;
    set->dataset = engram_layout_find(&choice->file->layout, choice->dataset);
    if (set->dataset == NULL && engram_layout_is_sparse(&set->file->layout, choice->dataset)) {
        return engram_fail(&options->log, ENGRAM_ERR_DATA,
                           "%s: %s: is a sparse matrix, which cannot be searched; store it dense "
                           "(AnnData: .toarray()), or search an embedding of it",
                           choice->file->path, choice->dataset);
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

/* Decides base, queries and self. The layouts that a truncated list can change are complete before
 * any pointer into them is taken: first all choices, then the sets. */
static enum engram_status choose_sets(const struct engram_job_options *options,
                                      struct engram_inputs *inputs)
{
    const struct engram_input_file *input = &inputs->files[0];
    struct choice base = {&inputs->files[0], NULL};
    struct choice queries = {&inputs->files[0], NULL};
    enum engram_status status = ENGRAM_OK;

    if (options->base_count > 0) {
        status = choose(options, inputs, &BASE, options->bases[0], &base);
    }
    if (status == ENGRAM_OK && options->queries != NULL) {
        status = choose(options, inputs, &QUERIES, options->queries, &queries);
    }
    if (status == ENGRAM_OK) {
        status = apply_leaf(options, &base);
    }
    if (status == ENGRAM_OK && base.file != queries.file) {
        status = apply_leaf(options, &queries);
    }
    for (int i = 0; status == ENGRAM_OK && options->ids != NULL && i < inputs->file_count; i++) {
        struct engram_input_file *file = &inputs->files[i];
        status = engram_layout_add(&file->layout, file->path, options->ids, &options->log);
    }
    if (status == ENGRAM_OK) {
        status = by_choice(options, &base, &BASE, &inputs->base);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    inputs->self = options->self;
    if (options->queries == NULL && base.file == input &&
        input->layout.kind != ENGRAM_LAYOUT_ANN_BENCHMARKS) {
        inputs->self = true; /* one set and nothing else to ask with */
    }
    if (inputs->self) {
        inputs->queries = inputs->base;
        return ENGRAM_OK;
    }
    return by_choice(options, &queries, &QUERIES, &inputs->queries);
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

/* Whether the ids named by --ids fit a set; *found says whether its file has them at all. */
static bool fits_ids(const struct engram_set_ref *set, const char *path, bool *found,
                     const struct engram_dataset_info **ids)
{
    const struct engram_dataset_info *named = engram_layout_find(&set->file->layout, path);

    *found = *found || named != NULL;
    if (named == NULL || named->content != ENGRAM_CONTENT_STRINGS || named->rank != 1 ||
        named->dims[0] != set->dataset->dims[0]) {
        return false;
    }
    *ids = named;
    return true;
}

static enum engram_status choose_ids(const struct engram_job_options *options,
                                     struct engram_inputs *inputs)
{
    bool found = false;

    inputs->base.ids = engram_layout_ids_for(&inputs->base.file->layout, inputs->base.dataset);
    inputs->queries.ids =
        engram_layout_ids_for(&inputs->queries.file->layout, inputs->queries.dataset);
    if (options->ids == NULL) {
        return ENGRAM_OK;
    }
    bool base = fits_ids(&inputs->base, options->ids, &found, &inputs->base.ids);
    bool queries = fits_ids(&inputs->queries, options->ids, &found, &inputs->queries.ids);
    if (base || queries) {
        return ENGRAM_OK;
    }
    if (!found) {
        return engram_fail(&options->log, ENGRAM_ERR_NO_INPUT, "%s: --ids %s: no such dataset",
                           inputs->base.file->path, options->ids);
    }
    return engram_fail(&options->log, ENGRAM_ERR_DATA,
                       "%s: --ids %s: is not a 1-D dataset of strings, one for each of the %" PRId64
                       " rows of %s",
                       inputs->base.file->path, options->ids, inputs->base.dataset->dims[0],
                       inputs->base.dataset->path);
}

static bool has_leaf(const struct engram_set_ref *set)
{
    return set->dataset->items != NULL && engram_items_leaf(set->dataset->items) != NULL;
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

enum engram_status engram_inputs_resolve(const struct engram_job_options *options,
                                         struct engram_inputs *inputs)
{
    struct engram_input_file *input = NULL;

    *inputs = (struct engram_inputs){0};
    if (options->input == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE, "no input file is named");
    }
    enum engram_status status = engram_question_limits(options, inputs);
    if (status == ENGRAM_OK) {
        status = open_file(options, inputs, options->input, &input);
    }
    if (status == ENGRAM_OK) {
        status = choose_sets(options, inputs);
    }
    if (status == ENGRAM_OK) {
        status = choose_rows(options, "--base-rows", options->base_rows, &inputs->base);
    }
    if (status == ENGRAM_OK) {
        status = choose_rows(options, "--query-rows", options->query_rows, &inputs->queries);
    }
    if (status == ENGRAM_OK) {
        status = choose_ids(options, inputs);
    }
    if (status == ENGRAM_OK) {
        status = engram_question_metric(options, inputs);
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
    return status;
}

void engram_inputs_free(struct engram_inputs *inputs)
{
    engram_row_data_free(&inputs->row_data);
    for (int i = 0; i < inputs->file_count; i++) {
        engram_layout_free(&inputs->files[i].layout);
        free(inputs->files[i].path);
    }
    *inputs = (struct engram_inputs){0};
}
