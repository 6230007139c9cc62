/* Sets of one dataset per item in a layout: a table of their own in place of thousands of entries.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/items_guess.h"
#include "io/layout_internal.h"

/* Whether a dataset is one of the items. What is odd among them stays on the list. */
static bool is_item(const struct engram_dataset_info *dataset, const struct engram_items *items)
{
    const char *group = engram_items_group(items);
    size_t length = strcmp(group, "/") == 0 ? 0 : strlen(group);
    const char *leaf = engram_items_leaf(items);

    bool vector = dataset->rank == 1 || (dataset->rank == 2 && dataset->dims[0] == 1);

    return dataset->items == NULL && vector && dataset->content == ENGRAM_CONTENT_NUMERIC &&
           dataset->dims[dataset->rank - 1] == engram_items_dim(items) &&
           strncmp(dataset->path, group, length) == 0 && dataset->path[length] == '/' &&
           (leaf == NULL || strcmp(strrchr(dataset->path, '/') + 1, leaf) == 0);
}

/* Takes the items off the list of datasets, and an older table of the same group. */
static void drop_items(struct engram_layout *layout, const struct engram_items *items)
{
    size_t kept = 0;

    for (size_t i = 0; i < layout->count; i++) {
        struct engram_dataset_info *dataset = &layout->datasets[i];
        bool same = dataset->items != NULL && strcmp(dataset->path, engram_items_group(items)) == 0;
        if (same || is_item(dataset, items)) {
            engram_items_free(dataset->items);
            free(dataset->path);
        } else {
            layout->datasets[kept++] = *dataset;
        }
    }
    layout->count = kept;
}

static enum engram_status take_items(struct engram_layout *layout, struct engram_items *items,
                                     const char *path, const struct engram_log *log)
{
    char *group = strdup(engram_items_group(items));
    struct engram_dataset_info *datasets =
        realloc(layout->datasets, (layout->count + 1) * sizeof *datasets);

    if (datasets != NULL) {
        layout->datasets = datasets;
    }
    if (group == NULL || datasets == NULL) {
        free(group);
        engram_items_free(items);
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s: not enough memory to list the datasets",
                           path);
    }
    /* With a table of all datasets there is nothing that was not listed. */
    if (strcmp(group, "/") == 0 && engram_items_leaf(items) == NULL &&
        engram_items_defect(items) == NULL) {
        layout->truncated = false;
    }
    drop_items(layout, items);
    struct engram_dataset_info *info = &layout->datasets[layout->count++];
    *info = (struct engram_dataset_info){
        .path = group,
        .rank = 2,
        .dims = {engram_items_count(items), engram_items_dim(items)},
        .content = ENGRAM_CONTENT_NUMERIC,
        .dtype = engram_items_dtype(items),
        .bits = engram_items_are_bools(items) ? ENGRAM_BITS_BOOL : ENGRAM_BITS_NONE,
        .storage = ENGRAM_STORAGE_ITEMS,
        .items = items,
    };
    (void)engram_items_types(items, info->type_name, sizeof info->type_name);
    engram_layout_sort(layout);
    return ENGRAM_OK;
}

/* The leaf of a table that has the group within its own; NULL without. */
static const char *leaf_above(const struct engram_layout *layout, const char *group)
{
    for (size_t i = 0; i < layout->count; i++) {
        const struct engram_items *items = layout->datasets[i].items;
        size_t length = items == NULL ? 0 : strlen(engram_items_group(items));
        if (items != NULL &&
            (length == 1 ||
             (strncmp(engram_items_group(items), group, length) == 0 && group[length] == '/'))) {
            return engram_items_leaf(items);
        }
    }
    return NULL;
}

static enum engram_status read_items(struct engram_layout *layout, const char *path,
                                     const struct engram_items_where *where,
                                     const struct engram_log *log, struct engram_items **items)
{
    enum engram_status status = engram_items_read(path, where, log, items);

    return status == ENGRAM_OK ? take_items(layout, *items, path, log) : status;
}

enum engram_status engram_layout_guess_items(struct engram_layout *layout, const char *path,
                                             const struct engram_log *log)
{
    struct engram_items_guess guess;
    struct engram_items *items = NULL;
    char *group = NULL;
    char *leaf = NULL;

    if (layout->kind != ENGRAM_LAYOUT_NONE &&
        (layout->kind != ENGRAM_LAYOUT_SINGLE || layout->count == 1)) {
        return ENGRAM_OK;
    }
    if (engram_layout_find(layout, "size_train") != NULL) {
        return ENGRAM_OK; /* ann-benchmarks' sparse form */
    }
    engram_items_guess(layout, "/", &guess);
    memcpy(layout->hint, guess.hint, sizeof layout->hint);
    if (!guess.found) {
        return ENGRAM_OK;
    }
    /* Copies: what they point to is freed when the table takes its place. */
    group = guess.group_length == 0 ? strdup("/") : strndup(guess.group, guess.group_length);
    leaf = guess.leaf == NULL ? NULL : strdup(guess.leaf);
    const struct engram_items_where where = {group, leaf, guess.dim};
    enum engram_status status =
        group == NULL || (guess.leaf != NULL && leaf == NULL)
            ? engram_fail(log, ENGRAM_ERR_RESOURCE, "%s: not enough memory", path)
            : read_items(layout, path, &where, log, &items);
    if (status == ENGRAM_OK) {
        layout->kind = ENGRAM_LAYOUT_ITEMS;
        layout->items = items;
    }
    free(group);
    free(leaf);
    return status;
}

enum engram_status engram_layout_items(struct engram_layout *layout, const char *path,
                                       const char *group, const char *leaf,
                                       const struct engram_log *log)
{
    struct engram_items_where where = {.leaf = leaf};
    struct engram_items *items = NULL;
    struct engram_items_guess guess;
    char *name = NULL;
    char *copy = NULL;
    bool is_group = false;

    if (asprintf(&name, "/%s", group + strspn(group, "/")) < 0) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s: not enough memory", path);
    }
    for (size_t end = strlen(name); end > 1 && name[end - 1] == '/'; end--) {
        name[end - 1] = '\0';
    }
    const struct engram_dataset_info *known = engram_layout_find(layout, name);
    enum engram_status status =
        known != NULL ? ENGRAM_OK : engram_scan_is_group(path, name, log, &is_group);
    bool again = known != NULL && known->items != NULL && leaf != NULL &&
                 (engram_items_leaf(known->items) == NULL ||
                  strcmp(engram_items_leaf(known->items), leaf) != 0);
    if (status != ENGRAM_OK || (known != NULL && !again) || (known == NULL && !is_group)) {
        free(name);
        return status;
    }
    bool stands =
        known != NULL ? known->items == layout->items : leaf != NULL && strcmp(name, "/") == 0;
    where.group = name;
    if (leaf == NULL) {
        engram_items_guess(layout, name, &guess);
        const char *found = guess.leaf != NULL ? guess.leaf : leaf_above(layout, name);
        copy = found == NULL ? NULL : strdup(found);
        where.leaf = copy;
        where.dim = guess.dim;
    }
    status = read_items(layout, path, &where, log, &items);
    if (status == ENGRAM_OK && stands) {
        layout->kind = ENGRAM_LAYOUT_ITEMS;
        layout->items = items;
    }
    free(copy);
    free(name);
    return status;
}
