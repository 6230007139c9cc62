/* A set that is stored as one dataset per item: each key names a row, in the order of the keys'
 * bytes. A compact table, without handles: some thirty bytes and the key an item. */
#ifndef ENGRAM_IO_ITEMS_H
#define ENGRAM_IO_ITEMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/search.h"
#include "io/ids.h"

struct engram_items;

/* Which datasets of a file are items. */
struct engram_items_where {
    const char *group; /* absolute; all datasets below it, or ... */
    const char *leaf;  /* ... those of this name; NULL: all */
    int64_t dim;       /* what most items have, so that the odd one is named; 0: as the first */
};

/* Walks over the file once. An item is a dataset of numbers of shape (d,) or (1, d); its key is the
 * path below the group, with `leaf` the path of the group it lies in. Its attribute `original_id`
 * (one string) is the row's id, where there is one that is not empty, else the key. Soft links to
 * datasets count as items. What is wrong with the items is no error but a defect: the table then
 * holds the good ones and must not be searched. On success the caller frees with engram_items_free.
 * Errors: as engram_layout_read. */
enum engram_status engram_items_read(const char *path, const struct engram_items_where *where,
                                     const struct engram_log *log, struct engram_items **items);
void engram_items_free(struct engram_items *items);

/* Why the items are no set, and what to do; NULL: they are one. */
const char *engram_items_defect(const struct engram_items *items);

const char *engram_items_group(const struct engram_items *items);
const char *engram_items_leaf(const struct engram_items *items); /* NULL: without */
int64_t engram_items_count(const struct engram_items *items);
int64_t engram_items_dim(const struct engram_items *items);

/* F32 where every value of every stored type is exact in it, else F64. */
enum engram_dtype engram_items_dtype(const struct engram_items *items);

/* Whether every element of every item is a bool. */
bool engram_items_are_bools(const struct engram_items *items);

/* "float16", "float16 and float32"; returns `text`. */
const char *engram_items_types(const struct engram_items *items, char *text, size_t size);

/* The key, and the id, of one row. */
const char *engram_items_key(const struct engram_items *items, int64_t row);
const char *engram_items_id(const struct engram_items *items, int64_t row);

/* Rows whose id is an `original_id`. */
int64_t engram_items_named(const struct engram_items *items);

/* Ids of rows [first, last), laid out as engram_ids_read does. RESOURCE. `path` is for messages. */
enum engram_status engram_items_ids(const struct engram_items *items, const char *path,
                                    int64_t first, int64_t last, const struct engram_log *log,
                                    struct engram_ids *ids);

#endif
