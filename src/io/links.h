/* Walking over links: what the walkers (scan.c, items_scan.c) share. For src/io only. */
#ifndef ENGRAM_IO_LINKS_H
#define ENGRAM_IO_LINKS_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/status.h"

#if H5_VERSION_GE(1, 12, 0)
#define ENGRAM_H5_LINK_INFO H5L_info2_t
#define ENGRAM_H5_LINK_ITERATE H5Literate2
#else
#define ENGRAM_H5_LINK_INFO H5L_info_t
#define ENGRAM_H5_LINK_ITERATE H5Literate
#endif

/* Groups inside groups that are followed. */
#define ENGRAM_LINK_DEPTH 64

/* Identifies an object inside the file. */
struct engram_object_key {
    unsigned char bytes[16];
};

/* Kind and identity of the object that `name` leads to; negative when HDF5 cannot tell. */
herr_t engram_h5_object_info(hid_t location, const char *name, hid_t link_access, H5O_type_t *type,
                             struct engram_object_key *key);

/* Where in the file the header of that object is. */
uint64_t engram_object_address(const struct engram_object_key *key);

/* The identity of the object that a hard link leads to. */
void engram_h5_link_target(const ENGRAM_H5_LINK_INFO *link, struct engram_object_key *key);

/* Objects that were met, each with a text that belongs to the caller. */
struct engram_seen {
    struct engram_object_key key;
    const char *path; /* NULL: a free slot */
};
struct engram_seen_table {
    struct engram_seen *slots; /* open addressing, a power of two of them */
    size_t count;
    size_t used;
};

/* The slot of `key`; its path is NULL when the object is new. NULL without memory. Valid until the
 * next call. */
struct engram_seen *engram_seen_lookup(struct engram_seen_table *table,
                                       const struct engram_object_key *key);
void engram_seen_mark(struct engram_seen_table *table, struct engram_seen *slot,
                      const struct engram_object_key *key, const char *path);

/* The path of the link in hand, grown and cut as the walk goes down and up; starts as zeros. */
struct engram_link_path {
    char *text; /* NULL: nothing was pushed yet */
    size_t length;
    size_t size;
};

/* Appends "/name"; the caller cuts it off again. False without memory. */
bool engram_link_path_push(struct engram_link_path *path, const char *name);
void engram_link_path_cut(struct engram_link_path *path, size_t length);

#endif
