/* Undoes the filters that we know, shuffle, deflate and fletcher32, one chunk at a time. Knows
 * nothing of HDF5's library: it runs on many threads at once. */
#ifndef ENGRAM_IO_UNFILTER_H
#define ENGRAM_IO_UNFILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/status.h"

enum engram_chunk_filter {
    ENGRAM_CHUNK_SHUFFLE,
    ENGRAM_CHUNK_DEFLATE,
    ENGRAM_CHUNK_FLETCHER32,
    ENGRAM_CHUNK_FILTERS /* their number */
};

/* A dataset's filters in the order in which they were applied; each kind at most once. */
struct engram_pipeline {
    int count;
    enum engram_chunk_filter kind[ENGRAM_CHUNK_FILTERS];
    size_t shuffle_element; /* bytes that SHUFFLE took for one element, > 0 */
    size_t element;         /* bytes of a stored element */
    size_t chunk_bytes;     /* of a whole chunk without filters, a multiple of `element` */
};

/* The elements of a chunk in some memory. A shuffle that was applied first is left to whoever
 * reads the elements, which saves a pass over the memory. */
struct engram_elements {
    const unsigned char *bytes;
    size_t plane; /* 0: one element after the other; else byte b of element i is at b * plane + i */
};

/* What one thread needs. */
struct engram_unfilter {
    struct engram_inflater *inflater; /* NULL without DEFLATE */
    unsigned char *work[2];           /* NULL where the pipeline does not need it */
    size_t work_bytes;                /* of each */
};

/* The most bytes that a packed chunk may have: deflate can expand what it cannot compress. */
size_t engram_unfilter_packed_limit(const struct engram_pipeline *pipeline);

/* Bytes that engram_unfilter_create allocates; SIZE_MAX when they do not fit. */
size_t engram_unfilter_bytes(const struct engram_pipeline *pipeline);

/* False: no memory; may be destroyed either way. */
bool engram_unfilter_create(const struct engram_pipeline *pipeline,
                            struct engram_unfilter *unfilter);
void engram_unfilter_destroy(struct engram_unfilter *unfilter);

/* Unpacks `size` bytes of a chunk as stored; bit i of `mask` says that filter i was not applied.
 * `found` points into `packed` or `unfilter` and has pipeline->chunk_bytes bytes. After DATA or
 * RESOURCE *why says what is wrong with the chunk ("its checksum is wrong"). Logs nothing. */
enum engram_status engram_unfilter_chunk(const struct engram_pipeline *pipeline,
                                         struct engram_unfilter *unfilter,
                                         const unsigned char *packed, size_t size, uint32_t mask,
                                         struct engram_elements *found, const char **why);

/* Copies elements [first, first + count) of planes to `to`, the bytes of each in reverse when
 * `reverse`. */
void engram_unshuffle(const unsigned char *planes, size_t plane, size_t element, bool reverse,
                      size_t first, size_t count, void *to);

/* HDF5's Fletcher checksum of `size` bytes. */
uint32_t engram_fletcher32(const unsigned char *bytes, size_t size);

#endif
