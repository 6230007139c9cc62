/* What is in a file: a plain, serialisable description, and what its layout says about the job.
 * Nothing here holds an HDF5 handle. */
#ifndef ENGRAM_IO_LAYOUT_H
#define ENGRAM_IO_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/search.h"

enum engram_storage {
    ENGRAM_STORAGE_CONTIGUOUS,
    ENGRAM_STORAGE_CHUNKED,
    ENGRAM_STORAGE_COMPACT,
    ENGRAM_STORAGE_VIRTUAL,
    ENGRAM_STORAGE_EXTERNAL
};

enum engram_content {
    ENGRAM_CONTENT_NUMERIC, /* integers or floats that we can search */
    ENGRAM_CONTENT_STRINGS, /* fixed or variable-length strings */
    ENGRAM_CONTENT_OTHER    /* compound, opaque, array, long double, ... */
};

/* One dataset. */
struct engram_dataset_info {
    char *path;                 /* absolute inside the file, "/embeddings" */
    int rank;                   /* 0: scalar or null */
    int64_t dims[4];            /* the first four */
    enum engram_content content;
    enum engram_dtype dtype;    /* stored element type, NUMERIC only (bfloat16 reads as F32) */
    enum engram_storage storage;
    int64_t chunk[4];           /* chunk shape, CHUNKED only */
    char type_name[48];         /* for people: "float32", "float16 big-endian", "int8" */
    char filters[96];           /* for people: "shuffle, deflate 6"; "" without */
};

enum engram_layout_kind {
    ENGRAM_LAYOUT_NONE,           /* not recognised: the user has to choose */
    ENGRAM_LAYOUT_ANN_BENCHMARKS, /* /train and /test, both 2-D numeric */
    ENGRAM_LAYOUT_SINGLE          /* exactly one 2-D numeric dataset */
};

struct engram_layout {
    enum engram_layout_kind kind;
    struct engram_dataset_info *datasets; /* in the order of their paths' bytes */
    size_t count;
    bool truncated;               /* more datasets than are listed */
    char distance[64];            /* root attribute `distance`; "" without */
};

/* Describes the file at `path`. On success the caller frees with engram_layout_free.
 * Errors: NO_INPUT, PERMISSION, DATA (not HDF5, malformed), RESOURCE, IO. */
enum engram_status engram_layout_read(const char *path, const struct engram_log *log,
                                      struct engram_layout *layout);
void engram_layout_free(struct engram_layout *layout);

/* By path, with or without the leading slash; NULL when there is none. */
const struct engram_dataset_info *engram_layout_find(const struct engram_layout *layout,
                                                     const char *path);

/* The dataset of ids that belongs to `rows` vectors at `path`: strings of that length, in the
 * same group; a usual name (ids, id, names, keys, ...) wins among several; NULL without or when
 * nothing decides. */
const struct engram_dataset_info *engram_layout_ids_for(const struct engram_layout *layout,
                                                        const struct engram_dataset_info *vectors);

#endif
