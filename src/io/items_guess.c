#include "io/items_guess.h"

#include <stdio.h>
#include <string.h>

/* So many different names at most are leaves; more are keys. */
#define LEAVES 8

/* Items that it takes to make an exception of a dataset that is different; of the only one. */
#define MANY 8
#define FEW 4

/* What lies below one group. */
struct census {
    size_t datasets;
    size_t items;    /* (d,) or (1, d) numbers */
    size_t alike;    /* of the most frequent d */
    size_t integers; /* of the items */
    size_t matrices; /* 2-D numbers of more rows */
    size_t deep;     /* numbers of three dimensions and more */
    size_t heights;  /* changes of the number of rows between one matrix and the next */
    bool same_width; /* all matrices have the same number of columns */
    int64_t dim;     /* the most frequent d */
    int64_t width;   /* of the first matrix */
    int64_t height;  /* of the last matrix */
    size_t first;    /* index of the first item */
    size_t last;     /* and the last */
};

/* The numbers of a dataset that could be an item, else 0. */
static int64_t item_dim(const struct engram_dataset_info *dataset)
{
    if (dataset->content != ENGRAM_CONTENT_NUMERIC || dataset->items != NULL ||
        dataset->member != NULL) {
        return 0;
    }
    if (dataset->rank == 1) {
        return dataset->dims[0];
    }
    return dataset->rank == 2 && dataset->dims[0] == 1 ? dataset->dims[1] : 0;
}

static bool is_float(const struct engram_dataset_info *dataset)
{
    return dataset->dtype == ENGRAM_F16 || dataset->dtype == ENGRAM_F32 ||
           dataset->dtype == ENGRAM_F64;
}

static bool is_matrix(const struct engram_dataset_info *dataset)
{
    return dataset->content == ENGRAM_CONTENT_NUMERIC && dataset->items == NULL &&
           dataset->rank == 2 && dataset->dims[0] != 1;
}

static bool is_below(const struct engram_dataset_info *dataset, const char *group, size_t length)
{
    return strncmp(dataset->path, group, length) == 0 && dataset->path[length] == '/';
}

static const char *base_name(const char *path)
{
    return strrchr(path, '/') + 1; /* paths are absolute */
}

static void count_matrix(struct census *census, const struct engram_dataset_info *dataset)
{
    if (census->matrices == 0) {
        census->width = dataset->dims[1];
        census->same_width = true;
    } else {
        census->heights += dataset->dims[0] != census->height;
        census->same_width = census->same_width && dataset->dims[1] == census->width;
    }
    census->height = dataset->dims[0];
    census->matrices++;
}

/* Items of that dimension. */
static size_t count_dim(const struct engram_layout *layout, const char *group, size_t length,
                        int64_t dim)
{
    size_t count = 0;

    for (size_t i = 0; i < layout->count; i++) {
        count +=
            is_below(&layout->datasets[i], group, length) && item_dim(&layout->datasets[i]) == dim;
    }
    return count;
}

/* The most frequent dimension by majority vote, then its count. */
static struct census take_census(const struct engram_layout *layout, const char *group,
                                 size_t length)
{
    struct census census = {0};
    size_t votes = 0;

    for (size_t i = 0; i < layout->count; i++) {
        const struct engram_dataset_info *dataset = &layout->datasets[i];
        if (!is_below(dataset, group, length)) {
            continue;
        }
        int64_t dim = item_dim(dataset);
        census.datasets++;
        census.deep += dataset->content == ENGRAM_CONTENT_NUMERIC && dataset->rank > 2;
        if (is_matrix(dataset)) {
            count_matrix(&census, dataset);
        }
        if (dim == 0) {
            continue;
        }
        census.first = census.items == 0 ? i : census.first;
        census.last = i;
        census.items++;
        census.integers += !is_float(dataset);
        if (votes == 0) {
            census.dim = dim;
        }
        votes = census.dim == dim ? votes + 1 : votes - 1;
    }
    census.alike = census.items == 0 ? 0 : count_dim(layout, group, length, census.dim);
    return census;
}

/* ---- one leaf in each group */

struct leaf {
    const char *name;
    size_t count;
    bool fixed; /* an item, of the same dimension everywhere */
    bool floats;
    bool varies; /* a matrix, not of the same shape everywhere */
    bool matrix;
    int64_t dims[2];
};

static void count_leaf(struct leaf *leaf, const struct engram_dataset_info *dataset)
{
    int64_t dim = item_dim(dataset);

    if (leaf->count == 0) {
        leaf->fixed = dim > 0;
        leaf->floats = is_float(dataset);
        leaf->dims[0] = dim > 0 ? dim : dataset->dims[0];
        leaf->dims[1] = dim > 0 ? 0 : dataset->dims[1];
    }
    leaf->fixed = leaf->fixed && dim == leaf->dims[0];
    leaf->matrix = leaf->matrix || is_matrix(dataset);
    leaf->varies =
        leaf->varies ||
        (dim == 0 && (dataset->dims[0] != leaf->dims[0] || dataset->dims[1] != leaf->dims[1]));
    leaf->count++;
}

/* The different names below `group`, each in its own group. Returns how many there are; 0: they are
 * no leaves. */
static int list_leaves(const struct engram_layout *layout, const char *group, size_t length,
                       struct leaf leaves[LEAVES], size_t *groups)
{
    const char *parent = NULL;
    int count = 0;

    *groups = 0;
    for (size_t i = 0; i < layout->count; i++) {
        const struct engram_dataset_info *dataset = &layout->datasets[i];
        if (!is_below(dataset, group, length)) {
            continue;
        }
        const char *name = base_name(dataset->path);
        size_t parent_length = (size_t)(name - dataset->path);
        if (parent_length <= length + 1) {
            return 0;
        }
        if (parent == NULL || strncmp(parent, dataset->path, parent_length) != 0 ||
            strchr(parent + parent_length, '/') != NULL) {
            (*groups)++;
        }
        parent = dataset->path;
        int at = 0;
        while (at < count && strcmp(leaves[at].name, name) != 0) {
            at++;
        }
        if (at == LEAVES) {
            return 0;
        }
        if (at == count) {
            leaves[count++] = (struct leaf){.name = name};
        }
        count_leaf(&leaves[at], dataset);
    }
    return count;
}

static const struct leaf *leaf_named(const struct leaf *leaves, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(leaves[i].name, name) == 0) {
            return &leaves[i];
        }
    }
    return NULL;
}

/* The leaf that is meant, as far as that is clear: hloc's global descriptor; else the only one of
 * fixed shape. Local features (hloc) bring vectors along that are no descriptions of an item. */
static const struct leaf *choose_leaf(const struct leaf *leaves, int count, size_t groups)
{
    const struct leaf *best = leaf_named(leaves, count, "global_descriptor");
    const struct leaf *only = NULL;
    bool matrices = false;

    if (best != NULL) {
        return best;
    }
    if (leaf_named(leaves, count, "keypoints") != NULL) {
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        if (leaves[i].matrix && !leaves[i].varies) {
            return NULL; /* groups of arrays, such as /train and /test, rather than items */
        }
        matrices = matrices || leaves[i].matrix;
        if (!leaves[i].fixed || strcmp(leaves[i].name, "image_size") == 0) {
            continue;
        }
        if (only != NULL) {
            return NULL;
        }
        only = &leaves[i];
    }
    if (only != NULL && count > 1 && (groups < 3 || !only->floats) && matrices) {
        return NULL;
    }
    return only;
}

static void hint_leaves(const struct leaf *leaves, int count, size_t groups,
                        struct engram_items_guess *guess)
{
    size_t used = 0;
    size_t size = sizeof guess->hint;

    used += (size_t)snprintf(guess->hint, size, "each of %zu%s groups holds ", groups,
                             groups > 1000 ? " or more" : "");
    for (int i = 0; i < count && used < size; i++) {
        int written = snprintf(guess->hint + used, size - used, "%s%.40s (%s%lld)",
                               i == 0           ? ""
                               : i == count - 1 ? " and "
                                                : ", ",
                               leaves[i].name,
                               leaves[i].fixed    ? ""
                               : leaves[i].matrix ? "matrices such as one of height "
                                                  : "lengths vary, such as ",
                               (long long)leaves[i].dims[0]);
        used += written > 0 ? (size_t)written : 0;
    }
    if (used < size) {
        snprintf(guess->hint + used, size - used,
                 "; if one of them is the vector of an item, name it with --leaf");
    }
}

/* True when the datasets are leaves, whether or not it is clear which of them. */
static bool guess_leaf(const struct engram_layout *layout, const char *group, size_t length,
                       struct engram_items_guess *guess)
{
    struct leaf leaves[LEAVES];
    size_t groups = 0;
    size_t fixed = 0;
    int count = list_leaves(layout, group, length, leaves, &groups);
    /* The list may end within a group. */
    size_t least = layout->truncated && groups > 1 ? groups - 1 : groups;

    if (count == 0 || (groups < 2 && strcmp(leaves[0].name, "global_descriptor") != 0)) {
        return false;
    }
    const struct leaf *leaf = choose_leaf(leaves, count, groups);
    if (leaf != NULL && leaf->count < least) {
        leaf = NULL;
    }
    for (int i = 0; i < count; i++) {
        bool partial = leaves[i].count < least;
        fixed += leaves[i].fixed;
        /* Some groups have more than others: no leaves, unless one is clear and the others are
         * something else. */
        if (partial && (leaf == NULL || groups < 3 ||
                        (leaves[i].fixed && leaves[i].dims[0] == leaf->dims[0]))) {
            return false;
        }
    }
    if (leaf != NULL) {
        guess->found = true;
        guess->group = group;
        guess->group_length = length;
        guess->leaf = leaf->name;
        guess->dim = leaf->fixed ? leaf->dims[0] : 0;
        return true;
    }
    if (fixed == 0 && leaf_named(leaves, count, "keypoints") == NULL) {
        return false;
    }
    hint_leaves(leaves, count, groups, guess);
    return true;
}

/* ---- all datasets of a group */

/* Length of the deepest group that holds both paths. */
static size_t common_group(const char *a, const char *b)
{
    size_t slash = 0;

    for (size_t i = 0; a[i] == b[i] && a[i] != '\0'; i++) {
        slash = a[i] == '/' ? i : slash;
    }
    return slash;
}

static void accept(const struct engram_layout *layout, const struct census *census, size_t least,
                   struct engram_items_guess *guess)
{
    const char *first = layout->datasets[census->first].path;
    size_t length = census->first == census->last
                        ? (size_t)(base_name(first) - first) - 1
                        : common_group(first, layout->datasets[census->last].path);

    guess->found = true;
    guess->group = first;
    guess->group_length = length > least ? length : least;
    guess->dim = census->dim;
}

/* Whether all there is can be taken for items. */
static bool all_items(const struct census *census)
{
    if (census->items != census->datasets || census->dim < 2) {
        return false;
    }
    /* A lone vector of floats is a set of one (a query); of integers rather labels. Different
     * dimensions are a mistake in a set of floats; of integers rather no set. */
    return census->integers == 0 || (census->items > 1 && census->alike == census->items);
}

/* Whether some datasets among many items are a mistake that has to be told. */
static bool items_and_odd(const struct census *census)
{
    size_t odd = census->datasets - census->alike;

    if (census->integers > 0 || census->dim < 2) {
        return false;
    }
    if (census->matrices > 0) {
        /* A matrix with vectors of its height, or a few of its width (its mean, say), is a set
         * of its own. */
        bool many = odd == 1 ? census->alike >= FEW || (int64_t)census->alike > census->height
                             : census->alike >= MANY * odd;
        return many && census->height != census->dim && census->width == census->dim;
    }
    return census->alike > odd && census->alike > 1;
}

/* The only group at the top, if it is the only one, in which all are items. Otherwise such groups
 * are hinted at. */
static bool guess_one_group(const struct engram_layout *layout, const char *under, size_t least,
                            bool only, struct engram_items_guess *guess)
{
    struct census found = {0};
    size_t groups = 0;

    for (size_t i = 0; i < layout->count;) {
        const char *path = layout->datasets[i].path;
        const char *end =
            is_below(&layout->datasets[i], under, least) ? strchr(path + least + 1, '/') : NULL;
        if (end == NULL) {
            i++;
            continue;
        }
        struct census census = take_census(layout, path, (size_t)(end - path));
        if (census.items > 1 && census.alike == census.items && all_items(&census)) {
            snprintf(guess->hint, sizeof guess->hint,
                     "%s%.*s holds %s%zu datasets of %lld numbers, a set of one vector per item",
                     groups > 0 ? "among others " : "", (int)(end - path < 200 ? end - path : 200),
                     path, layout->truncated ? "at least " : "", census.items,
                     (long long)census.dim);
            found = census;
            groups++;
        }
        while (i < layout->count && is_below(&layout->datasets[i], path, (size_t)(end - path))) {
            i++;
        }
    }
    /* Vectors of the same dimension elsewhere belong to them, or are another set. */
    if (groups != 1 || !only || count_dim(layout, under, least, found.dim) != found.items) {
        return false;
    }
    guess->hint[0] = '\0';
    accept(layout, &found, least, guess);
    return true;
}

static void hint_matrices(const struct census *census, struct engram_items_guess *guess)
{
    static const char advice[] = "average each over all but its last dimension and store one "
                                 "vector an item (numpy: x.mean(axis=0); bio_embeddings: reduce)";

    /* An item of one residue is a vector. */
    size_t alike = census->dim == census->width ? census->alike : 0;

    if (census->matrices > 1 && census->same_width && census->width > 1 && census->heights > 0 &&
        census->matrices + alike > 2 && census->matrices + alike == census->datasets) {
        snprintf(guess->hint, sizeof guess->hint,
                 "if each is one item with a vector for each of its residues or tokens (%lld "
                 "numbers), %s",
                 (long long)census->width, advice);
    } else if (census->deep > 1 && census->deep == census->datasets) {
        snprintf(guess->hint, sizeof guess->hint,
                 "if each is one item with vectors of several layers, residues or tokens, %s",
                 advice);
    }
}

void engram_items_guess(const struct engram_layout *layout, const char *under,
                        struct engram_items_guess *guess)
{
    size_t length = strcmp(under, "/") == 0 ? 0 : strlen(under);
    struct census census = take_census(layout, under, length);

    *guess = (struct engram_items_guess){0};
    if (census.datasets == 0) {
        return;
    }
    if (guess_leaf(layout, under, length, guess)) {
        return;
    }
    if (all_items(&census)) {
        accept(layout, &census, length, guess);
    } else if (guess_one_group(layout, under, length, census.matrices == 0, guess)) {
        return;
    } else if (items_and_odd(&census)) {
        accept(layout, &census, length, guess);
        guess->hint[0] = '\0';
        /* The odd ones may lie outside the group of the others, and have to be seen. */
        guess->group_length = length;
    } else if (guess->hint[0] == '\0') {
        hint_matrices(&census, guess);
    }
}
