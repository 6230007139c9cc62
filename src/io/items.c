#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/size.h"
#include "io/items_internal.h"
#include "io/memory.h"

void engram_items_free(struct engram_items *items)
{
    if (items == NULL) {
        return;
    }
    free(items->group);
    free(items->leaf);
    free(items->list);
    free(items->texts);
    free(items);
}

const char *engram_items_defect(const struct engram_items *items)
{
    return items->defect[0] == '\0' ? NULL : items->defect;
}

const char *engram_items_group(const struct engram_items *items)
{
    return items->group;
}

const char *engram_items_leaf(const struct engram_items *items)
{
    return items->leaf;
}

int64_t engram_items_count(const struct engram_items *items)
{
    return (int64_t)items->count;
}

int64_t engram_items_dim(const struct engram_items *items)
{
    return items->dim;
}

enum engram_dtype engram_item_dtype(const struct engram_item_type *type)
{
    enum engram_dtype dtype = type->type.dtype;

    return dtype == ENGRAM_F32 || dtype == ENGRAM_F16 || engram_dtype_size(dtype) < sizeof(float)
               ? ENGRAM_F32
               : ENGRAM_F64;
}

enum engram_dtype engram_items_dtype(const struct engram_items *items)
{
    for (int i = 0; i < items->type_count; i++) {
        if (engram_item_dtype(&items->types[i]) == ENGRAM_F64) {
            return ENGRAM_F64;
        }
    }
    return ENGRAM_F32;
}

bool engram_items_are_bools(const struct engram_items *items)
{
    for (int i = 0; i < items->type_count; i++) {
        if (items->types[i].type.bits != ENGRAM_BITS_BOOL) {
            return false;
        }
    }
    return items->type_count > 0;
}

const char *engram_items_types(const struct engram_items *items, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (int i = 0; i < items->type_count && used + 1 < size; i++) {
        int written = snprintf(text + used, size - used, "%s%s", i > 0 ? " and " : "",
                               items->types[i].type.name);
        used += written > 0 ? (size_t)written : 0;
    }
    return text;
}

const char *engram_items_key(const struct engram_items *items, int64_t row)
{
    return items->texts + items->list[row].text;
}

const char *engram_items_id(const struct engram_items *items, int64_t row)
{
    const char *key = engram_items_key(items, row);

    return items->list[row].named ? key + strlen(key) + 1 : key;
}

int64_t engram_items_named(const struct engram_items *items)
{
    return items->named;
}

char *engram_items_path(const struct engram_items *items, int64_t row)
{
    const char *group = strcmp(items->group, "/") == 0 ? "" : items->group;
    char *path = NULL;

    return asprintf(&path, "%s/%s%s%s", group, engram_items_key(items, row),
                    items->leaf != NULL ? "/" : "", items->leaf != NULL ? items->leaf : "") < 0
               ? NULL
               : path;
}

bool engram_items_stamp(const char *path, struct engram_items_stamp *stamp)
{
    struct stat info;

    if (stat(path, &info) != 0) {
        return false;
    }
    *stamp = (struct engram_items_stamp){info.st_dev, info.st_ino, info.st_size, info.st_mtim};
    return true;
}

bool engram_items_same_stamp(const struct engram_items_stamp *a, const struct engram_items_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Room for `more` bytes of texts. */
static bool make_room(struct engram_items *items, size_t more)
{
    size_t wanted = 0;

    if (more <= items->room - items->used) {
        return true;
    }
    if (!engram_size_add(items->used, more, &wanted) || wanted > SIZE_MAX / 4) {
        return false;
    }
    wanted += wanted / 2 + 4096;
    char *larger = realloc(items->texts, wanted);
    if (larger == NULL) {
        return false;
    }
    items->texts = larger;
    items->room = wanted;
    return true;
}

bool engram_items_add(struct engram_items *items, const struct engram_item *item, const char *key,
                      size_t key_length, const char *id)
{
    size_t id_size = id == NULL ? 0 : strlen(id) + 1;
    size_t bytes = 0;

    if (items->count == items->capacity) {
        size_t wanted = items->capacity == 0 ? 256 : items->capacity + items->capacity / 2;
        if (!engram_size_mul(wanted, sizeof *items->list, &bytes)) {
            return false;
        }
        struct engram_item *larger = realloc(items->list, bytes);
        if (larger == NULL) {
            return false;
        }
        items->list = larger;
        items->capacity = wanted;
    }
    if (!engram_size_add(key_length + 1, id_size, &bytes) || !make_room(items, bytes)) {
        return false;
    }
    struct engram_item *added = &items->list[items->count++];
    *added = *item;
    added->text = items->used;
    added->named = id != NULL;
    items->named += id != NULL;
    memcpy(items->texts + items->used, key, key_length);
    items->texts[items->used + key_length] = '\0';
    if (id != NULL) {
        memcpy(items->texts + items->used + key_length + 1, id, id_size);
    }
    items->used += bytes;
    return true;
}

/* Keys hold no NUL, so this is the order of their bytes. Keys are paths, and different. */
static int by_key(const void *a, const void *b, void *texts)
{
    const struct engram_item *left = a;
    const struct engram_item *right = b;

    return strcmp((const char *)texts + left->text, (const char *)texts + right->text);
}

void engram_items_sort(struct engram_items *items)
{
    size_t in_order = 1;

    /* HDF5 gives the links of one group in this order already. */
    while (in_order < items->count &&
           by_key(&items->list[in_order - 1], &items->list[in_order], items->texts) <= 0) {
        in_order++;
    }
    if (in_order < items->count) {
        qsort_r(items->list, items->count, sizeof items->list[0], by_key, items->texts);
    }
}

enum engram_status engram_items_ids(const struct engram_items *items, const char *path,
                                    int64_t first, int64_t last, const struct engram_log *log,
                                    struct engram_ids *ids)
{
    size_t width = 1;
    size_t bytes = 0;

    *ids = (struct engram_ids){.width = 1};
    for (int64_t row = first; row < last; row++) {
        size_t length = strlen(engram_items_id(items, row));
        width = length > width ? length : width;
    }
    if (!engram_size_mul((size_t)(last - first), width, &bytes) ||
        bytes > engram_memory_available() ||
        (ids->text = calloc(bytes > 0 ? bytes : 1, 1)) == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE,
                           "%s: %s: not enough memory for %lld ids of up to %zu bytes", path,
                           items->group, (long long)(last - first), width);
    }
    for (int64_t row = first; row < last; row++) {
        const char *id = engram_items_id(items, row);
        memcpy(ids->text + (size_t)(row - first) * width, id, strlen(id));
    }
    ids->count = last - first;
    ids->width = width;
    return ENGRAM_OK;
}
