/* Texts of variable length, looked at before HDF5 reads them. For src/io only.
 *
 * Such a text is stored as a reference: its length, and an object of a "global heap" (section III.E
 * of HDF5's file format). HDF5 allocates and clears the length before it looks for the object, and
 * then copies as many bytes as the object has, whatever the length: a damaged length costs
 * gigabytes, and a damaged object overruns HDF5's memory, which shows at any later moment, or
 * never. So references are read as they are stored, and the heap is read by ourselves. */
#ifndef ENGRAM_IO_HEAP_H
#define ENGRAM_IO_HEAP_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGRAM_HEAP_COLLECTIONS 64 /* a power of two */

/* Where an object of the heap is in the file. */
struct engram_heap_object {
    uint64_t at;
    uint64_t size; /* UINT64_MAX: there is none */
};

/* A part of the heap: its objects. */
struct engram_heap_collection {
    uint64_t address; /* 0: none */
    const char *damage;
    struct engram_heap_object *objects;
    size_t count;
};

/* All zero is closed. */
struct engram_heap {
    hid_t reference; /* HDF5's type of a reference as it is stored: bytes, no text */
    size_t size;     /* of one */
    uint64_t base;   /* where in the file its addresses begin */
    uint64_t file_bytes;
    size_t address_bytes;
    size_t length_bytes;
    int fd;     /* HDF5's; -1: HDF5 does not read a plain file, the heap cannot be looked at */
    bool ready; /* open */
    struct engram_heap_collection collections[ENGRAM_HEAP_COLLECTIONS];
    unsigned char *window; /* of the file */
    uint64_t window_start;
    size_t window_bytes;
};

/* The heap of the file that `object` (a dataset or an attribute) is in, which stays open as long.
 * Negative when HDF5 fails. To be closed in either case. */
herr_t engram_heap_open(struct engram_heap *heap, hid_t object);

/* The same, without what it takes to read references: for those that look at the file's bytes. */
herr_t engram_heap_open_bytes(struct engram_heap *heap, hid_t object);
void engram_heap_close(struct engram_heap *heap);

/* Whether the texts of type `type`, which is one of variable length, are made of bytes: their
 * lengths count elements of any size. */
bool engram_heap_holds_bytes(hid_t type);

/* What is wrong with a reference ("is damaged", ...; also a failure to read the heap, in words that
 * engram_h5_read_status() knows); NULL: HDF5 can read its text. *length: the bytes it claims. */
const char *engram_heap_damage(struct engram_heap *heap, const unsigned char *reference,
                               uint64_t *length);

/* `bytes` (a few) of the file at `offset`, which it has, valid until the next call; NULL: *damage
 * says why not. */
const unsigned char *engram_heap_look(struct engram_heap *heap, uint64_t offset, size_t bytes,
                                      const char **damage);

/* Where in the file (*at) object `index` of the collection at `address` is; what is wrong, or NULL.
 */
const char *engram_heap_find(struct engram_heap *heap, uint64_t address, uint64_t index,
                             uint64_t *at, uint64_t *size);

/* H5Aread of the single text of `attribute`, whose type `type` is one of variable length; the
 * caller gives *text back by engram_h5_reclaim. Opens `heap` on first use. Damage is an error in
 * HDF5's stack. */
herr_t engram_heap_read_text(struct engram_heap *heap, hid_t attribute, hid_t type, char **text);

#endif
