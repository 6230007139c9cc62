/* Walks over the items of a file: each is opened once, for its type, shape, place and id. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/reading.h"
#include "io/describe.h"
#include "io/h5.h"
#include "io/heap.h"
#include "io/items_internal.h"
#include "io/links.h"
#include "io/objheader.h"

/* One of the limits of struct engram_set. */
#define DIM_LIMIT ((int64_t)1 << 24)

/* Of an `original_id` of fixed length. */
#define ID_LIMIT 65536

#define ODD_ID "has an attribute original_id that cannot be read"

struct walk {
    const char *file_path;
    const struct engram_log *log;
    struct engram_items *items;
    hid_t file;
    hid_t link_access;
    hid_t group_access;
    struct engram_seen_table groups;
    struct engram_link_path path; /* below the group */
    int depth;
    struct engram_heap heap;         /* of the texts of `original_id` */
    char *fixed;                     /* ID_LIMIT + 1 bytes; NULL before the first need */
    hid_t types[ENGRAM_ITEM_TYPES];  /* of the file, to compare with */
    size_t odd;                      /* datasets that are no items like the others */
    char *odd_path;                  /* the first of them */
    char odd_what[120];              /* what it is */
    struct engram_dataset_info info; /* of the dataset in hand, where it takes a close look */
    enum engram_status status;       /* what ended the walk */
};

static int no_memory(struct walk *walk)
{
    walk->status = engram_fail(walk->log, ENGRAM_ERR_RESOURCE,
                               "%s: not enough memory to list the items", walk->file_path);
    return -1;
}

/* Notes a dataset that is not an item like the others; the first one is named. */
__attribute__((format(printf, 2, 3))) static int note_odd(struct walk *walk, const char *format,
                                                          ...)
{
    va_list arguments;

    walk->odd++;
    if (walk->odd_path != NULL) {
        return 0;
    }
    va_start(arguments, format);
    (void)vsnprintf(walk->odd_what, sizeof walk->odd_what, format, arguments);
    va_end(arguments);
    walk->odd_path = strdup(walk->path.text);
    return walk->odd_path == NULL ? no_memory(walk) : 0;
}

/* The index of the element type of `dataset`, -1 when it is none that we read (`type` says what it
 * is), -2 when there are too many. */
static int find_type(struct walk *walk, hid_t dataset, struct engram_h5_type *found)
{
    struct engram_items *items = walk->items;
    ENGRAM_H5_HANDLE hid_t type = H5Dget_type(dataset);

    found->content = ENGRAM_CONTENT_OTHER;
    snprintf(found->name, sizeof found->name, "unreadable");
    if (type < 0) {
        return -1;
    }
    for (int i = 0; i < items->type_count; i++) {
        if (H5Tequal(type, walk->types[i]) > 0) {
            return i;
        }
    }
    engram_h5_classify(type, found);
    size_t bytes = H5Tget_size(type);
    if (found->content != ENGRAM_CONTENT_NUMERIC || found->dtype == ENGRAM_BITS || bytes == 0) {
        return -1;
    }
    if (items->type_count == ENGRAM_ITEM_TYPES) {
        return -2;
    }
    hid_t kept = H5Tcopy(type);
    if (kept < 0) {
        return -1;
    }
    walk->types[items->type_count] = kept;
    items->types[items->type_count] = (struct engram_item_type){
        *found, bytes, bytes > 1 && H5Tget_order(type) != H5Tget_order(H5T_NATIVE_INT)};
    return items->type_count++;
}

/* The numbers of an item, or what it is instead (0). */
static int64_t item_dim(struct walk *walk, hid_t dataset, bool *row, int *result)
{
    hsize_t dims[H5S_MAX_RANK] = {0};
    ENGRAM_H5_HANDLE hid_t space = H5Dget_space(dataset);
    H5S_class_t kind = space < 0 ? H5S_NO_CLASS : H5Sget_simple_extent_type(space);
    int rank = kind == H5S_SIMPLE ? H5Sget_simple_extent_dims(space, dims, NULL) : 0;

    *row = rank == 2 && dims[0] == 1;
    if (rank == 1 || *row) {
        hsize_t dim = dims[rank - 1];
        if (dim > 0 && dim <= (hsize_t)DIM_LIMIT) {
            return (int64_t)dim;
        }
        *result = dim == 0 ? note_odd(walk, "is empty")
                           : note_odd(walk, "has %llu numbers (the limit is %lld)",
                                      (unsigned long long)dim, (long long)DIM_LIMIT);
    } else if (rank == 2) {
        *result = note_odd(walk,
                           "is a matrix, %llu x %llu (one vector for each residue, token or "
                           "keypoint?)",
                           (unsigned long long)dims[0], (unsigned long long)dims[1]);
    } else {
        *result = rank == 0 ? note_odd(walk, "holds no vector but a single value")
                            : note_odd(walk, "has %d dimensions", rank);
    }
    return 0;
}

/* Where the bytes of an item lie, when they can be read without HDF5. False: it is odd, or HDF5
 * failed (*result). */
static bool find_place(struct walk *walk, hid_t dataset, struct engram_item *item, int *result)
{
    const struct engram_item_type *type = &walk->items->types[item->type];
    uint64_t bytes = (uint64_t)walk->items->dim * type->bytes; /* both are small */
    haddr_t offset = H5Dget_offset(dataset);

    item->offset = ENGRAM_ITEM_NOWHERE;
    if (offset == HADDR_UNDEF) {
        /* Compact, in chunks, or never written; elsewhere? */
        if (engram_h5_describe(dataset, &walk->info) < 0) {
            *result = note_odd(walk, "cannot be described");
            return false;
        }
        bool elsewhere = walk->info.storage == ENGRAM_STORAGE_VIRTUAL ||
                         walk->info.storage == ENGRAM_STORAGE_EXTERNAL;
        if (elsewhere) {
            *result = note_odd(walk, "keeps its data in other files");
        } else if (walk->info.storage == ENGRAM_STORAGE_COMPACT &&
                   H5Dget_storage_size(dataset) < bytes) {
            *result = note_odd(walk, "is damaged: it holds less than its shape says");
            elsewhere = true;
        }
        return !elsewhere;
    }
    uint64_t size = (uint64_t)walk->items->stamp.size;
    if (H5Dget_storage_size(dataset) < bytes || bytes > size || offset > size - bytes) {
        *result = note_odd(walk, "is damaged: it takes %llu bytes at offset %llu of a file of %llu",
                           (unsigned long long)bytes, (unsigned long long)offset,
                           (unsigned long long)size);
        return false;
    }
    if (type->type.encoding != ENGRAM_ENCODING_CUSTOM) {
        item->offset = offset;
    }
    return true;
}

/* The string in the attribute `original_id`, to be freed; NULL without. *result: -1 no memory. One
 * that HDF5 cannot read makes the item odd. */
static char *read_id(struct walk *walk, hid_t dataset, int *result)
{
    char *text = NULL;
    char *id = NULL;
    htri_t exists = H5Aexists(dataset, "original_id");

    if (exists <= 0) {
        *result = exists < 0 ? note_odd(walk, ODD_ID) : 0;
        return NULL;
    }
    ENGRAM_H5_HANDLE hid_t attribute = H5Aopen(dataset, "original_id", H5P_DEFAULT);
    ENGRAM_H5_HANDLE hid_t type = attribute < 0 ? -1 : H5Aget_type(attribute);
    ENGRAM_H5_HANDLE hid_t space = attribute < 0 ? -1 : H5Aget_space(attribute);
    hssize_t values = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
    if (type < 0 || values < 0) {
        *result = note_odd(walk, ODD_ID);
        return NULL;
    }
    if (H5Tget_class(type) != H5T_STRING || values != 1) {
        return NULL;
    }
    size_t size = H5Tget_size(type);
    if (H5Tis_variable_str(type) > 0) {
        if (engram_heap_read_text(&walk->heap, attribute, type, &text) < 0) {
            *result = note_odd(walk, ODD_ID);
        } else if (text != NULL) {
            id = strdup(text);
            *result = id == NULL ? no_memory(walk) : 0;
            (void)engram_h5_reclaim(type, space, &text);
        }
    } else if (size > 0 && size <= ID_LIMIT) {
        if (walk->fixed == NULL && (walk->fixed = malloc(ID_LIMIT + 1)) == NULL) {
            *result = no_memory(walk);
            return NULL;
        }
        if (H5Aread(attribute, type, walk->fixed) < 0) {
            *result = note_odd(walk, ODD_ID);
        } else {
            size_t length = strnlen(walk->fixed, size);
            while (H5Tget_strpad(type) == H5T_STR_SPACEPAD && length > 0 &&
                   walk->fixed[length - 1] == ' ') {
                length--;
            }
            id = strndup(walk->fixed, length);
            *result = id == NULL ? no_memory(walk) : 0;
        }
    }
    if (id != NULL && id[0] == '\0') {
        free(id);
        id = NULL;
    }
    return id;
}

static int visit_dataset(struct walk *walk, hid_t dataset, size_t group_length)
{
    struct engram_items *items = walk->items;
    struct engram_item item = {0};
    struct engram_h5_type found;
    int result = 0;

    if (items->leaf != NULL && group_length == 0) {
        return note_odd(walk, "lies in no group of its own, whose name would be its key");
    }
    int type = find_type(walk, dataset, &found);
    if (type < 0) {
        return type == -1 ? note_odd(walk, "is no vector of numbers (%s)", found.name)
                          : note_odd(walk, "has one more type of numbers (%s)", found.name);
    }
    item.type = (uint8_t)type;
    int64_t dim = item_dim(walk, dataset, &item.row, &result);
    if (dim == 0) {
        return result;
    }
    if (items->dim == 0) {
        items->dim = dim;
    }
    if (dim != items->dim) {
        return note_odd(walk, "has %lld numbers", (long long)dim);
    }
    if (!find_place(walk, dataset, &item, &result)) {
        return result;
    }
    char *id = read_id(walk, dataset, &result);
    /* The key is the path without its first slash; with a leaf, that of the group. */
    size_t length = items->leaf != NULL ? group_length : walk->path.length;
    if (result == 0 &&
        !engram_items_add(items, &item, walk->path.text + 1, length > 0 ? length - 1 : 0, id)) {
        result = no_memory(walk);
    }
    free(id);
    return result;
}

static int visit_group(struct walk *walk, hid_t group, const struct engram_object_key *key);

/* What a link leads to. `group_length`: the length of the path of the group it is in. */
static int visit_object(struct walk *walk, hid_t group, const char *name,
                        const ENGRAM_H5_LINK_INFO *link, size_t group_length)
{
    const char *leaf = walk->items->leaf;
    bool wanted = leaf == NULL || strcmp(name, leaf) == 0;

    if (leaf != NULL && link->type != H5L_TYPE_HARD && !wanted) {
        return 0;
    }
    if (link->type != H5L_TYPE_HARD && link->type != H5L_TYPE_SOFT) {
        return note_odd(walk, "is a link to another file");
    }
    ENGRAM_H5_HANDLE hid_t object =
        engram_h5_open_linked(&walk->heap, group, name, link, walk->link_access);
    H5I_type_t kind = object < 0 ? H5I_BADID : H5Iget_type(object);
    if (kind == H5I_DATASET) {
        return wanted ? visit_dataset(walk, object, group_length) : 0;
    }
    if (kind == H5I_GROUP && link->type == H5L_TYPE_HARD) {
        struct engram_object_key key;
        engram_h5_link_target(link, &key);
        return visit_group(walk, object, &key);
    }
    if (kind == H5I_BADID) { /* it could have been a group that holds items */
        return note_odd(walk, "cannot be opened");
    }
    /* A dataset whose header lost its shape looks like a type. */
    return kind == H5I_DATATYPE && wanted ? note_odd(walk, "is a type and no dataset") : 0;
}

static herr_t visit_link(hid_t group, const char *name, const ENGRAM_H5_LINK_INFO *link,
                         void *context)
{
    struct walk *walk = context;
    size_t length = walk->path.length;
    int result;

    if (engram_link_path_push(&walk->path, name)) {
        engram_reading_at(walk->path.text);
        result = visit_object(walk, group, name, link, length);
    } else {
        result = no_memory(walk);
    }
    engram_link_path_cut(&walk->path, length);
    return result;
}

static int visit_group(struct walk *walk, hid_t group, const struct engram_object_key *key)
{
    char message[200];
    struct engram_seen *slot = engram_seen_lookup(&walk->groups, key);

    if (slot == NULL) {
        return no_memory(walk);
    }
    if (slot->path != NULL) {
        return 0;
    }
    engram_seen_mark(&walk->groups, slot, key, "");
    if (walk->depth >= ENGRAM_LINK_DEPTH) {
        return note_odd(walk, "lies deeper than %d groups", ENGRAM_LINK_DEPTH);
    }
    walk->depth++;
    herr_t result =
        ENGRAM_H5_LINK_ITERATE(group, H5_INDEX_NAME, H5_ITER_INC, NULL, visit_link, walk);
    walk->depth--;
    if (result < 0 && walk->status == ENGRAM_OK) {
        engram_h5_message(message, sizeof message);
        walk->status = engram_h5_malformed(walk->file_path, message, walk->log);
    }
    return result < 0 ? -1 : 0;
}

/* Says what is wrong, naming an item that is as it should be beside the first one that is not. */
static void describe_defect(struct walk *walk)
{
    struct engram_items *items = walk->items;
    const char *group = strcmp(items->group, "/") == 0 ? "" : items->group;
    char others[64] = "";
    char like[320];

    if (walk->odd == 0 && items->count == 0) {
        snprintf(items->defect, sizeof items->defect,
                 "no group below %.200s holds a dataset%s%.80s", items->group,
                 items->leaf != NULL ? " named " : "", items->leaf != NULL ? items->leaf : "");
    }
    if (walk->odd == 0) {
        return;
    }
    if (walk->odd > 1) {
        snprintf(others, sizeof others, ", and %zu more do not fit either", walk->odd - 1);
    }
    if (items->count > 0) {
        snprintf(like, sizeof like,
                 "%zu datasets are items of %lld numbers (such as %.100s/%.120s)", items->count,
                 (long long)items->dim, group, engram_items_key(items, 0));
    } else {
        snprintf(like, sizeof like, "one vector for each item was expected");
    }
    snprintf(
        items->defect, sizeof items->defect,
        "%s, but %.200s%.160s %s%s; make it one vector like the others (average a matrix over its "
        "rows), take it out, or name another group with --base",
        like, group, walk->odd_path, walk->odd_what, others);
}

/* Each object is looked at once, which HDF5's adaptive cache of metadata takes for a reason to grow
 * to 32 MiB; at a constant size that holds the links of a large group, opening a dataset takes half
 * the time in old-style groups (8.6 instead of 15 microseconds). A failure costs time only. */
static void keep_cache_small(hid_t file)
{
    H5AC_cache_config_t config = {.version = H5AC__CURR_CACHE_CONFIG_VERSION};

    if (H5Fget_mdc_config(file, &config) < 0) {
        return;
    }
    config.set_initial_size = true;
    config.initial_size = config.min_size = config.max_size = (size_t)8 << 20;
    config.incr_mode = H5C_incr__off;
    config.flash_incr_mode = H5C_flash_incr__off;
    config.decr_mode = H5C_decr__off;
    (void)H5Fset_mdc_config(file, &config);
}

static enum engram_status walk_file(struct walk *walk)
{
    struct engram_items *items = walk->items;
    struct engram_object_key key;
    H5O_type_t type = H5O_TYPE_UNKNOWN;
    char message[200];
    ENGRAM_H5_HANDLE hid_t link_access = engram_h5_link_access(H5P_LINK_ACCESS);
    ENGRAM_H5_HANDLE hid_t group_access = engram_h5_link_access(H5P_GROUP_ACCESS);

    if (link_access < 0 || group_access < 0) {
        return engram_fail(walk->log, ENGRAM_ERR_RESOURCE, "%s: HDF5 cannot create property lists",
                           walk->file_path);
    }
    walk->link_access = link_access;
    ENGRAM_H5_HANDLE hid_t group = H5Gopen2(walk->file, items->group, group_access);
    if (group < 0 ||
        engram_h5_object_info(walk->file, items->group, link_access, &type, &key) < 0) {
        engram_h5_message(message, sizeof message);
        return engram_fail(walk->log, engram_h5_read_status(message),
                           "%s: %s: cannot be opened (%s)", walk->file_path, items->group, message);
    }
    (void)visit_group(walk, group, &key);
    if (walk->status == ENGRAM_OK) {
        engram_items_sort(items);
        describe_defect(walk);
    }
    return walk->status;
}

enum engram_status engram_items_read(const char *path, const struct engram_items_where *where,
                                     const struct engram_log *log, struct engram_items **items)
{
    struct walk walk = {.file_path = path, .log = log};
    ENGRAM_READING(path, where->group);
    ENGRAM_H5_HANDLE hid_t file = -1;

    *items = NULL;
    walk.items = calloc(1, sizeof *walk.items);
    if (walk.items == NULL || (walk.items->group = strdup(where->group)) == NULL ||
        (where->leaf != NULL && (walk.items->leaf = strdup(where->leaf)) == NULL)) {
        engram_items_free(walk.items);
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s: not enough memory", path);
    }
    walk.items->dim = where->dim;
    /* Before it is opened: a change after that shows. */
    bool there = engram_items_stamp(path, &walk.items->stamp);
    enum engram_status status =
        there ? engram_h5_open(path, log, &file)
              : engram_fail(log, engram_status_of_errno(errno), "%s: %s", path, strerror(errno));
    if (status == ENGRAM_OK) {
        ENGRAM_H5_QUIET;
        walk.file = file;
        keep_cache_small(file);
        status = walk_file(&walk);
    }
    for (int i = 0; i < walk.items->type_count; i++) {
        engram_h5_close(&walk.types[i]);
    }
    free(walk.groups.slots);
    free(walk.path.text);
    free(walk.odd_path);
    free(walk.fixed);
    engram_heap_close(&walk.heap);
    if (status != ENGRAM_OK) {
        engram_items_free(walk.items);
        return status;
    }
    *items = walk.items;
    return ENGRAM_OK;
}
