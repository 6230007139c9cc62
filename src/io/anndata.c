#include "io/anndata.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PCA "/obsm/X_pca"

/* Sets that are named in a message. */
#define NAMED 8

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_set(const struct engram_dataset_info *dataset)
{
    return dataset != NULL && dataset->rank == 2 && dataset->content == ENGRAM_CONTENT_NUMERIC;
}

bool engram_anndata_has_obs_rows(const struct engram_dataset_info *dataset)
{
    return strcmp(dataset->path, "/X") == 0 || starts_with(dataset->path, "/obsm/") ||
           starts_with(dataset->path, "/layers/");
}

bool engram_layout_is_sparse(const struct engram_layout *layout, const char *path)
{
    static const char *const parts[] = {"data", "indices", "indptr"};
    char name[256];

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        int length = snprintf(name, sizeof name, "/%s/%s", path + strspn(path, "/"), parts[i]);
        if (length < 0 || (size_t)length >= sizeof name ||
            engram_layout_find(layout, name) == NULL) {
            return false;
        }
    }
    return true;
}

const char *engram_anndata_refusal(const struct engram_layout *layout, const char *path)
{
    char name[256];
    int length = snprintf(name, sizeof name, "/%s/", path + strspn(path, "/"));

    if (engram_layout_is_sparse(layout, path)) {
        return "is a sparse matrix, which cannot be searched; store it dense (AnnData: "
               ".toarray()), or search an embedding of it";
    }
    if (!layout->anndata || !starts_with(name, "/obsm/") || strcmp(name, "/obsm/") == 0 ||
        (size_t)length >= sizeof name) {
        return NULL;
    }
    for (size_t i = 0; i < layout->count; i++) {
        if (starts_with(layout->datasets[i].path, name) && layout->datasets[i].rank == 1) {
            return "is a table with a dataset for each column (a DataFrame), which cannot be "
                   "searched; store it as one array (.to_numpy())";
        }
    }
    return NULL;
}

/* How many sets obsm holds, those named X_* first; `*first` is the first of them. */
static size_t count_sets(const struct engram_layout *layout, const char *prefix,
                         const struct engram_dataset_info **first)
{
    size_t count = 0;

    *first = NULL;
    for (size_t i = 0; i < layout->count; i++) {
        const struct engram_dataset_info *dataset = &layout->datasets[i];
        if (is_set(dataset) && starts_with(dataset->path, prefix)) {
            *first = count == 0 ? dataset : *first;
            count++;
        }
    }
    return count;
}

const struct engram_dataset_info *engram_anndata_vectors(const struct engram_layout *layout)
{
    const struct engram_dataset_info *pca = engram_layout_find(layout, PCA);
    const struct engram_dataset_info *x = engram_layout_find(layout, "/X");
    const struct engram_dataset_info *first = NULL;
    const struct engram_dataset_info *any = NULL;

    if (is_set(pca)) {
        return pca;
    }
    size_t named = count_sets(layout, "/obsm/X_", &first);
    if (layout->truncated || named > 1 || engram_anndata_refusal(layout, PCA) != NULL) {
        return NULL;
    }
    if (named == 1) {
        return first;
    }
    return count_sets(layout, "/obsm/", &any) == 0 && is_set(x) ? x : NULL;
}

struct line {
    char *text;
    size_t size;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int written = vsnprintf(line->text + line->used, line->size - line->used, format, arguments);
    va_end(arguments);
    if (written > 0) {
        line->used += (size_t)written;
        line->used = line->used < line->size ? line->used : line->size - 1;
    }
}

const char *engram_anndata_explain(const struct engram_layout *layout, char *text, size_t size)
{
    const struct engram_dataset_info *first = NULL;
    const struct engram_dataset_info *x = engram_layout_find(layout, "/X");
    struct line line = {text, size, 0};
    bool several = count_sets(layout, "/obsm/X_", &first) > 0;
    const char *prefix = several ? "/obsm/X_" : "/obsm/";
    size_t sets = count_sets(layout, prefix, &first);
    size_t named = 0;

    text[0] = '\0';
    if (engram_anndata_refusal(layout, PCA) != NULL) {
        add(&line, "it is AnnData whose obsm/X_pca %s", engram_anndata_refusal(layout, PCA));
    } else {
        add(&line, "it is AnnData without obsm/X_pca");
    }
    for (size_t i = 0; i < layout->count && named < NAMED; i++) {
        const struct engram_dataset_info *dataset = &layout->datasets[i];
        if (is_set(dataset) && starts_with(dataset->path, prefix)) {
            add(&line, "%s%s", named == 0 ? "; it has " : ", ", dataset->path + 1);
            named++;
        }
    }
    if (sets > named) {
        add(&line, " and %zu more", sets - named);
    }
    if (sets > 0 && is_set(x)) {
        add(&line, ", and X itself");
    } else if (is_set(x)) {
        add(&line, "; it has X");
    }
    if (engram_layout_is_sparse(layout, "/X")) {
        add(&line, "; X is a sparse matrix, which cannot be searched: compute an embedding "
                   "(scanpy.pp.pca), or store X dense (adata.X = adata.X.toarray())");
    }
    return text;
}
