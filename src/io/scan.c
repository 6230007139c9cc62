#define _GNU_SOURCE
#include "io/scan.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/reading.h"
#include "io/attribute.h"
#include "io/describe.h"
#include "io/h5.h"
#include "io/links.h"
#include "io/member.h"
#include "io/objheader.h"

/* Enough for every layout we know; a file beyond one of these limits is marked as truncated. */
#define DATASET_LIMIT 4096
#define GROUP_LIMIT 65536
#define ALIAS_LIMIT 4096
#define WARNING_LIMIT 4

struct scan {
    const char *file_path;
    const struct engram_log *log;
    struct engram_layout *layout;
    hid_t file;
    hid_t link_access;
    hid_t group_access;
    hid_t dataset_access;
    size_t capacity;       /* of layout->datasets */
    size_t alias_capacity; /* of layout->aliases */
    /* Datasets with the path where they are listed, groups with "". */
    struct engram_seen_table seen;
    size_t groups;
    char **soft; /* paths of soft links, looked at when all hard links are known */
    size_t soft_count;
    struct engram_link_path path; /* of the link in hand */
    bool wanted;                  /* by name: listed beyond the limit too */
    int depth;
    int warnings;
    enum engram_status status; /* what ended the walk */
};

static int no_memory(struct scan *scan)
{
    scan->status = engram_fail(scan->log, ENGRAM_ERR_RESOURCE,
                               "%s: not enough memory to list the datasets", scan->file_path);
    return -1;
}

/* The slot of `key`; its path is NULL when the object is new. NULL without memory. */
static struct engram_seen *lookup(struct scan *scan, const struct engram_object_key *key)
{
    struct engram_seen *slot = engram_seen_lookup(&scan->seen, key);

    if (slot == NULL) {
        (void)no_memory(scan);
    }
    return slot;
}

static herr_t object_info(const struct scan *scan, hid_t location, const char *name,
                          H5O_type_t *type, struct engram_object_key *key)
{
    return engram_h5_object_info(location, name, scan->link_access, type, key);
}

/* An object that HDF5 cannot describe: what is wrong with it alone is no obstacle, 0; a failing
 * disk or want of memory is, and so is a failure that HDF5 knows nothing of: -1. */
static int unreadable(struct scan *scan, const char *path, const char *message)
{
    struct engram_layout *layout = scan->layout;
    enum engram_status status = engram_h5_read_status(message);

    if (status != ENGRAM_ERR_DATA || strcmp(message, ENGRAM_H5_NO_MESSAGE) == 0) {
        scan->status = engram_fail(scan->log, status, "%s: %s: cannot be described (%s)",
                                   scan->file_path, path, message);
        return -1;
    }
    if (layout->unreadable[0] == '\0') {
        (void)snprintf(layout->unreadable, sizeof layout->unreadable,
                       "%.150s cannot be read (%.120s)", path, message);
    }
    scan->warnings++;
    if (scan->warnings <= WARNING_LIMIT) {
        engram_logf(scan->log, ENGRAM_LOG_WARNING,
                    "%s: %s: cannot be described and is ignored (%s)", scan->file_path, path,
                    message);
    }
    return 0;
}

/* Grows an array that doubles; NULL without memory. */
static void *grown(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    size_t wanted = *capacity == 0 ? 16 : 2 * *capacity;
    void *larger = realloc(array, wanted * size); /* the limits above keep this small */
    if (larger != NULL) {
        *capacity = wanted;
    }
    return larger;
}

static int add_alias(struct scan *scan, const char *path, const char *target)
{
    struct engram_layout *layout = scan->layout;

    if (strcmp(path, target) == 0) {
        return 0;
    }
    if (layout->alias_count >= ALIAS_LIMIT) {
        layout->truncated = true;
        return 0;
    }
    struct engram_dataset_alias *aliases =
        grown(layout->aliases, layout->alias_count, &scan->alias_capacity, sizeof *aliases);
    if (aliases == NULL) {
        return no_memory(scan);
    }
    layout->aliases = aliases;
    struct engram_dataset_alias *alias = &aliases[layout->alias_count];
    alias->path = strdup(path);
    alias->target = strdup(target);
    if (alias->path == NULL || alias->target == NULL) {
        free(alias->path);
        free(alias->target);
        return no_memory(scan);
    }
    layout->alias_count++;
    return 0;
}

/* One more entry of the list, with its own copy of `path`; NULL without memory. */
static struct engram_dataset_info *new_entry(struct scan *scan, const char *path)
{
    struct engram_layout *layout = scan->layout;
    struct engram_dataset_info *datasets =
        grown(layout->datasets, layout->count, &scan->capacity, sizeof *datasets);

    if (datasets == NULL) {
        (void)no_memory(scan);
        return NULL;
    }
    layout->datasets = datasets;
    struct engram_dataset_info *info = &datasets[layout->count];
    *info = (struct engram_dataset_info){.path = strdup(path), .content = ENGRAM_CONTENT_OTHER};
    if (info->path == NULL) {
        (void)no_memory(scan);
        return NULL;
    }
    layout->count++;
    snprintf(info->type_name, sizeof info->type_name, "unreadable");
    return info;
}

/* Lists the members of a compound dataset that can be sets or ids, as "path/member". */
static int add_members(struct scan *scan, hid_t dataset, const char *path)
{
    int next = 0;
    int result = 0;
    char *name = NULL;

    while (result == 0 && (name = engram_h5_next_member(dataset, &next)) != NULL) {
        char *full = NULL;
        struct engram_dataset_info *info = NULL;
        if (scan->layout->count >= DATASET_LIMIT && !scan->wanted) {
            scan->layout->truncated = true;
            result = 1;
        } else if (asprintf(&full, "%s/%s", path, name) < 0) {
            result = no_memory(scan);
        } else {
            info = new_entry(scan, full);
            free(full);
            result = info == NULL ? -1 : 0;
        }
        if (info != NULL) {
            info->member = info->path + strlen(path) + 1;
            if (engram_h5_describe_member(dataset, info->member, info) < 0) {
                info->content = ENGRAM_CONTENT_OTHER;
            }
        }
        (void)H5free_memory(name);
    }
    return result;
}

/* Lists the dataset at `path` and remembers it under `key`. */
static int add_dataset(struct scan *scan, const char *path, struct engram_seen *slot,
                       const struct engram_object_key *key)
{
    char message[200];
    struct engram_dataset_info *info = new_entry(scan, path);

    if (info == NULL) {
        return -1;
    }
    engram_seen_mark(&scan->seen, slot, key, info->path);
    ENGRAM_H5_HANDLE hid_t dataset = engram_h5_open_dataset(scan->file, path, scan->dataset_access);
    if (dataset < 0 || engram_h5_describe(dataset, info) < 0) {
        info->content = ENGRAM_CONTENT_OTHER;
        return unreadable(scan, path, engram_h5_message(message, sizeof message));
    }
    return info->content == ENGRAM_CONTENT_OTHER && info->rank == 1
               ? add_members(scan, dataset, path)
               : 0;
}

/* 0 to go on, 1 to stop at a limit, -1 after an error. */
static int visit_dataset(struct scan *scan, const char *path, const struct engram_object_key *key)
{
    struct engram_seen *slot = lookup(scan, key);

    if (slot == NULL) {
        return -1;
    }
    if (slot->path != NULL) {
        return slot->path[0] == '\0' ? 0 : add_alias(scan, path, slot->path);
    }
    if (scan->layout->count >= DATASET_LIMIT && !scan->wanted) {
        scan->layout->truncated = true;
        return 1;
    }
    return add_dataset(scan, path, slot, key);
}

static int remember_soft(struct scan *scan)
{
    if (scan->soft_count >= ALIAS_LIMIT) {
        scan->layout->truncated = true;
        return 0;
    }
    if (scan->soft == NULL) {
        scan->soft = calloc(ALIAS_LIMIT, sizeof *scan->soft);
    }
    char *copy = scan->soft == NULL ? NULL : strdup(scan->path.text);
    if (copy == NULL) {
        return no_memory(scan);
    }
    scan->soft[scan->soft_count++] = copy;
    return 0;
}

static int visit_group(struct scan *scan, hid_t parent, const char *name,
                       const struct engram_object_key *key);

static int visit_hard(struct scan *scan, hid_t group, const char *name)
{
    H5O_type_t type = H5O_TYPE_UNKNOWN;
    struct engram_object_key key;
    char message[200];

    if (object_info(scan, group, name, &type, &key) < 0) {
        return unreadable(scan, scan->path.text, engram_h5_message(message, sizeof message));
    }
    if (type == H5O_TYPE_DATASET) {
        return visit_dataset(scan, scan->path.text, &key);
    }
    return type == H5O_TYPE_GROUP ? visit_group(scan, group, name, &key) : 0;
}

/* Other files are not followed by links, but the reader of a message may look for what is there. */
static void note_external(struct scan *scan, hid_t group, const char *name, size_t bytes)
{
    char *value = bytes > 0 && scan->layout->outside[0] == '\0' ? malloc(bytes) : NULL;
    const char *file = NULL;
    const char *object = NULL;

    if (value != NULL && H5Lget_val(group, name, value, bytes, H5P_DEFAULT) >= 0 &&
        H5Lunpack_elink_val(value, bytes, NULL, &file, &object) >= 0) {
        snprintf(scan->layout->outside, sizeof scan->layout->outside,
                 "%.90s is a link into another file, which is not followed: name %.90s::%.90s "
                 "instead",
                 scan->path.text, file, object);
    }
    free(value);
}

static herr_t visit_link(hid_t group, const char *name, const ENGRAM_H5_LINK_INFO *link,
                         void *context)
{
    struct scan *scan = context;
    size_t length = scan->path.length;
    int result = engram_link_path_push(&scan->path, name) ? 0 : no_memory(scan);

    engram_reading_at(result == 0 ? scan->path.text : name);
    if (result == 0 && link->type == H5L_TYPE_HARD) {
        result = visit_hard(scan, group, name);
    } else if (result == 0 && link->type == H5L_TYPE_SOFT) {
        result = remember_soft(scan);
    } else if (result == 0 && link->type == H5L_TYPE_EXTERNAL) {
        note_external(scan, group, name, link->u.val_size);
    }
    engram_link_path_cut(&scan->path, length);
    return result;
}

static int visit_group(struct scan *scan, hid_t parent, const char *name,
                       const struct engram_object_key *key)
{
    char message[200];
    struct engram_seen *slot = lookup(scan, key);

    if (slot == NULL) {
        return -1;
    }
    if (slot->path != NULL) {
        return 0;
    }
    if (scan->depth >= ENGRAM_LINK_DEPTH || scan->groups >= GROUP_LIMIT) {
        scan->layout->truncated = true;
        return 0;
    }
    engram_seen_mark(&scan->seen, slot, key, "");
    scan->groups++;
    ENGRAM_H5_HANDLE hid_t group = H5Gopen2(parent, name, scan->group_access);
    herr_t result = -1;
    if (group >= 0) {
        scan->depth++;
        result = ENGRAM_H5_LINK_ITERATE(group, H5_INDEX_NAME, H5_ITER_INC, NULL, visit_link, scan);
        scan->depth--;
    }
    if (result < 0 && scan->status == ENGRAM_OK) {
        engram_h5_message(message, sizeof message);
        if (scan->depth == 0) {
            scan->status = engram_h5_malformed(scan->file_path, message, scan->log);
            return -1;
        }
        return unreadable(scan, scan->path.text, message);
    }
    return result;
}

/* Looks `path` up in the file, whatever kinds of links inside the file lead there; it may name a
 * member of a compound dataset. */
static int visit_path(struct scan *scan, const char *path)
{
    H5O_type_t type = H5O_TYPE_UNKNOWN;
    struct engram_object_key key;
    const char *member = NULL;

    engram_reading_at(path);
    if (object_info(scan, scan->file, path, &type, &key) >= 0) {
        /* Not a soft link that leads nowhere or out of the file. */
        return type == H5O_TYPE_DATASET ? visit_dataset(scan, path, &key) : 0;
    }
    ENGRAM_H5_HANDLE hid_t dataset = engram_h5_open_member(scan->file, path, &member);
    if (dataset < 0 || member == NULL) {
        return 0;
    }
    char *whole = strndup(path, (size_t)(member - path) - 1);
    if (whole == NULL) {
        return no_memory(scan);
    }
    int result = object_info(scan, scan->file, whole, &type, &key) < 0
                     ? 0
                     : visit_dataset(scan, whole, &key);
    free(whole);
    return result;
}

/* Reads the root attribute `distance`. Anything but one string counts as absent; what cannot be
 * read becomes a text that names no metric. */
static void read_distance(struct scan *scan)
{
    char *text = scan->layout->distance;

    engram_reading_at("attribute distance");
    if (engram_h5_text_attribute(scan->file, "distance", text, sizeof scan->layout->distance) < 0) {
        (void)snprintf(text, sizeof scan->layout->distance, "(cannot be read)");
    }
    for (; *text != '\0'; text++) {
        *text = (unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text;
    }
}

static int walk(struct scan *scan, const char *const *names, size_t name_count, bool all)
{
    H5O_type_t type = H5O_TYPE_UNKNOWN;
    struct engram_object_key root;
    char message[200];
    int result = 0;

    scan->wanted = true;
    for (size_t i = 0; result == 0 && i < name_count; i++) {
        result = visit_path(scan, names[i]);
    }
    scan->wanted = false;
    if (!all || result != 0) {
        return result;
    }
    if (object_info(scan, scan->file, "/", &type, &root) < 0) {
        engram_h5_message(message, sizeof message);
        scan->status = engram_h5_malformed(scan->file_path, message, scan->log);
        return -1;
    }
    result = visit_group(scan, scan->file, "/", &root);
    for (size_t i = 0; result == 0 && i < scan->soft_count; i++) {
        result = visit_path(scan, scan->soft[i]);
    }
    if (result >= 0) {
        read_distance(scan);
        engram_h5_find_obs(scan->file, scan->layout);
    }
    return result;
}

enum engram_status engram_scan(const char *path, const char *const *names, size_t name_count,
                               bool all, const struct engram_log *log, struct engram_layout *layout)
{
    struct scan scan = {.file_path = path,
                        .log = log,
                        .layout = layout,
                        .capacity = layout->count,
                        .alias_capacity = layout->alias_count};
    ENGRAM_READING(path, NULL);
    ENGRAM_H5_HANDLE hid_t file = -1;
    enum engram_status status = engram_h5_open(path, log, &file);

    if (status != ENGRAM_OK) {
        return status;
    }
    ENGRAM_H5_QUIET;
    ENGRAM_H5_HANDLE hid_t link_access = engram_h5_link_access(H5P_LINK_ACCESS);
    ENGRAM_H5_HANDLE hid_t group_access = engram_h5_link_access(H5P_GROUP_ACCESS);
    ENGRAM_H5_HANDLE hid_t dataset_access = engram_h5_link_access(H5P_DATASET_ACCESS);
    if (link_access < 0 || group_access < 0 || dataset_access < 0) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s: HDF5 cannot create property lists", path);
    }
    scan.file = file;
    scan.link_access = link_access;
    scan.group_access = group_access;
    scan.dataset_access = dataset_access;
    (void)walk(&scan, names, name_count, all);
    if (scan.warnings > WARNING_LIMIT) {
        engram_logf(log, ENGRAM_LOG_WARNING, "%s: %d more objects cannot be described", path,
                    scan.warnings - WARNING_LIMIT);
    }
    for (size_t i = 0; i < scan.soft_count; i++) {
        free(scan.soft[i]);
    }
    free(scan.soft);
    free(scan.seen.slots);
    free(scan.path.text);
    return scan.status;
}

enum engram_status engram_scan_is_group(const char *path, const char *name,
                                        const struct engram_log *log, bool *is_group)
{
    H5O_type_t type = H5O_TYPE_UNKNOWN;
    struct engram_object_key key;
    ENGRAM_READING(path, name);
    ENGRAM_H5_HANDLE hid_t file = -1;
    enum engram_status status = engram_h5_open(path, log, &file);

    *is_group = false;
    if (status != ENGRAM_OK) {
        return status;
    }
    ENGRAM_H5_QUIET;
    ENGRAM_H5_HANDLE hid_t access = engram_h5_link_access(H5P_LINK_ACCESS);
    if (access < 0) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s: HDF5 cannot create property lists", path);
    }
    *is_group =
        engram_h5_object_info(file, name, access, &type, &key) >= 0 && type == H5O_TYPE_GROUP;
    return ENGRAM_OK;
}
