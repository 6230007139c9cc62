#define _GNU_SOURCE
#include "io/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/anndata.h"
#include "io/layout_internal.h"

void engram_layout_free(struct engram_layout *layout)
{
    for (size_t i = 0; i < layout->count; i++) {
        engram_items_free(layout->datasets[i].items);
        free(layout->datasets[i].path);
    }
    for (size_t i = 0; i < layout->alias_count; i++) {
        free(layout->aliases[i].path);
        free(layout->aliases[i].target);
    }
    free(layout->datasets);
    free(layout->aliases);
    *layout = (struct engram_layout){0};
}

static int by_path(const void *a, const void *b)
{
    const struct engram_dataset_info *left = a;
    const struct engram_dataset_info *right = b;

    return strcmp(left->path, right->path);
}

static bool is_matrix(const struct engram_dataset_info *dataset)
{
    return dataset != NULL && dataset->rank == 2 && dataset->items == NULL &&
           dataset->content == ENGRAM_CONTENT_NUMERIC;
}

static enum engram_layout_kind kind_of(const struct engram_layout *layout)
{
    size_t matrices = 0;

    if (layout->items != NULL) {
        return ENGRAM_LAYOUT_ITEMS;
    }
    if (is_matrix(engram_layout_find(layout, "/train")) &&
        is_matrix(engram_layout_find(layout, "/test"))) {
        return ENGRAM_LAYOUT_ANN_BENCHMARKS;
    }
    if (layout->anndata) {
        return ENGRAM_LAYOUT_ANNDATA;
    }
    for (size_t i = 0; i < layout->count; i++) {
        matrices += is_matrix(&layout->datasets[i]);
    }
    return matrices == 1 && !layout->truncated ? ENGRAM_LAYOUT_SINGLE : ENGRAM_LAYOUT_NONE;
}

void engram_layout_sort(struct engram_layout *layout)
{
    if (layout->count > 0) {
        qsort(layout->datasets, layout->count, sizeof layout->datasets[0], by_path);
    }
}

static void finish(struct engram_layout *layout)
{
    engram_layout_sort(layout);
    layout->kind = kind_of(layout);
}

enum engram_status engram_layout_read(const char *path, const struct engram_log *log,
                                      struct engram_layout *layout)
{
    /* The names that decide are looked for first, so that no number of other datasets can push
     * them out of the list. */
    static const char *const first[] = {"/train", "/test", "/X", "/obsm/X_pca"};

    *layout = (struct engram_layout){0};
    enum engram_status status = engram_scan(path, first, 4, true, log, layout);
    if (status == ENGRAM_OK) {
        finish(layout);
        if (layout->obs_ids[0] != '\0') {
            status = engram_layout_add(layout, path, layout->obs_ids, log);
        }
    }
    if (status == ENGRAM_OK) {
        status = engram_layout_guess_items(layout, path, log);
    }
    if (status != ENGRAM_OK) {
        engram_layout_free(layout);
    }
    return status;
}

enum engram_status engram_layout_add(struct engram_layout *layout, const char *path,
                                     const char *dataset, const struct engram_log *log)
{
    char *name = NULL;

    if (!layout->truncated || engram_layout_find(layout, dataset) != NULL) {
        return ENGRAM_OK;
    }
    if (asprintf(&name, "/%s", dataset + strspn(dataset, "/")) < 0) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s: not enough memory", path);
    }
    const char *const names[] = {name};
    enum engram_status status = engram_scan(path, names, 1, false, log, layout);
    free(name);
    finish(layout);
    return status;
}

/* Length without slashes at the end. */
static size_t path_length(const char *path)
{
    size_t length = strlen(path);

    while (length > 0 && path[length - 1] == '/') {
        length--;
    }
    return length;
}

/* Equal but for slashes at the start and the end. */
static bool same_path(const char *a, const char *b)
{
    a += strspn(a, "/");
    b += strspn(b, "/");
    size_t length = path_length(a);
    return length == path_length(b) && memcmp(a, b, length) == 0;
}

const struct engram_dataset_info *engram_layout_find(const struct engram_layout *layout,
                                                     const char *path)
{
    const char *target = path;

    for (size_t i = 0; i < layout->alias_count; i++) {
        if (same_path(layout->aliases[i].path, path)) {
            target = layout->aliases[i].target;
            break;
        }
    }
    for (size_t i = 0; i < layout->count; i++) {
        if (same_path(layout->datasets[i].path, target)) {
            return &layout->datasets[i];
        }
    }
    return NULL;
}

/* Length of the group part of a path, its last slash included. */
static size_t group_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

static bool same_group(const char *a, const char *b)
{
    size_t length = group_length(a);

    return length == group_length(b) && strncmp(a, b, length) == 0;
}

static bool are_ids(const struct engram_dataset_info *candidate,
                    const struct engram_dataset_info *vectors)
{
    return candidate->content == ENGRAM_CONTENT_STRINGS && candidate->rank == 1 &&
           candidate->dims[0] == vectors->dims[0];
}

/* How strongly a name says "the ids of `vectors`": 0 not at all, 1000 by being named after it. */
static int name_rank(const char *name, const char *vectors)
{
    static const char *const usual[] = {"ids",       "id",    "names",      "name",  "keys",
                                        "key",       "index", "_index",     "words", "texts",
                                        "filenames", "paths", "accessions", "text"};
    size_t length = strlen(vectors);
    int count = (int)(sizeof usual / sizeof usual[0]);

    if (strncmp(name, vectors, length) == 0 && (name[length] == '_' || name[length] == '.')) {
        for (int i = 0; i < count; i++) {
            if (strcmp(name + length + 1, usual[i]) == 0) {
                return 1000 - i;
            }
        }
    }
    for (int i = 0; i < count; i++) {
        if (strcmp(name, usual[i]) == 0) {
            return 500 - i;
        }
    }
    return 0;
}

/* In an ann-benchmarks file with as many queries as base rows a plain "ids" could belong to
 * either: only a name that says so counts. */
static int least_rank(const struct engram_layout *layout, const struct engram_dataset_info *vectors)
{
    const struct engram_dataset_info *train = engram_layout_find(layout, "/train");
    const struct engram_dataset_info *test = engram_layout_find(layout, "/test");
    bool unclear = layout->kind == ENGRAM_LAYOUT_ANN_BENCHMARKS && train != test &&
                   (vectors == train || vectors == test) && train->dims[0] == test->dims[0];

    return unclear ? 501 : 0;
}

const struct engram_dataset_info *engram_layout_ids_for(const struct engram_layout *layout,
                                                        const struct engram_dataset_info *vectors)
{
    const struct engram_dataset_info *best = NULL;
    const struct engram_dataset_info *anywhere = NULL;
    int best_rank = -1;
    size_t near = 0;
    size_t all = 0;
    int least = least_rank(layout, vectors);

    if (vectors->items != NULL) {
        return vectors;
    }
    if (layout->kind == ENGRAM_LAYOUT_ANNDATA && layout->obs_ids[0] != '\0' &&
        engram_anndata_has_obs_rows(vectors)) {
        best = engram_layout_find(layout, layout->obs_ids);
        return best != NULL && are_ids(best, vectors) ? best : NULL;
    }
    for (size_t i = 0; i < layout->count; i++) {
        const struct engram_dataset_info *candidate = &layout->datasets[i];
        if (!are_ids(candidate, vectors)) {
            continue;
        }
        all++;
        anywhere = candidate;
        if (!same_group(candidate->path, vectors->path)) {
            continue;
        }
        near++;
        int rank = name_rank(candidate->path + group_length(candidate->path),
                             vectors->path + group_length(vectors->path));
        if (rank > best_rank) {
            best = candidate;
            best_rank = rank;
        }
    }
    if (near == 0) {
        return all == 1 && !layout->truncated && least == 0 ? anywhere : NULL;
    }
    return best_rank >= least && (best_rank > 0 || near == 1) ? best : NULL;
}
