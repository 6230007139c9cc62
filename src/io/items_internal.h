/* The table of items, for the files that fill it (items_scan.c), keep it (items.c) and read by it
 * (source_items.c). */
#ifndef ENGRAM_IO_ITEMS_INTERNAL_H
#define ENGRAM_IO_ITEMS_INTERNAL_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "io/h5type.h"
#include "io/items.h"

/* Different element types that one set may have. */
#define ENGRAM_ITEM_TYPES 32

/* One of them. */
struct engram_item_type {
    struct engram_h5_type type;
    size_t bytes; /* of an element */
    bool swapped; /* not in native byte order */
};

/* What its values need, F32 or F64. */
enum engram_dtype engram_item_dtype(const struct engram_item_type *type);

#define ENGRAM_ITEM_NOWHERE UINT64_MAX

struct engram_item {
    uint64_t offset; /* of its bytes in the file; NOWHERE: only HDF5 can read it */
    uint64_t text;   /* where its key starts in the texts, NUL-terminated; after that its id */
    uint8_t type;
    bool named; /* has an id besides its key */
    bool row;   /* shape (1, d) */
};

/* What tells whether the file is still the one that was looked at. */
struct engram_items_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct engram_items {
    char *group;
    char *leaf;
    int64_t dim; /* 0: no item yet */
    struct engram_item *list;
    size_t count;
    size_t capacity;
    char *texts;
    size_t used;
    size_t room;
    int64_t named;
    struct engram_item_type types[ENGRAM_ITEM_TYPES];
    int type_count;
    struct engram_items_stamp stamp;
    char defect[1024]; /* "" without */
};

/* False when the file cannot be looked at, with errno. */
bool engram_items_stamp(const char *path, struct engram_items_stamp *stamp);
bool engram_items_same_stamp(const struct engram_items_stamp *a,
                             const struct engram_items_stamp *b);

/* Appends an item; `id` may be NULL. False without memory. */
bool engram_items_add(struct engram_items *items, const struct engram_item *item, const char *key,
                      size_t key_length, const char *id);

/* Brings the items into the order of their keys. */
void engram_items_sort(struct engram_items *items);

/* The whole path of an item inside the file; to be freed. NULL without memory. */
char *engram_items_path(const struct engram_items *items, int64_t row);

#endif
