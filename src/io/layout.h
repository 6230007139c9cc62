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
    ENGRAM_STORAGE_EXTERNAL,
    ENGRAM_STORAGE_ITEMS /* a dataset for each row */
};

enum engram_content {
    ENGRAM_CONTENT_NUMERIC, /* integers or floats that we can search */
    ENGRAM_CONTENT_STRINGS, /* fixed or variable-length strings */
    ENGRAM_CONTENT_OTHER    /* compound, opaque, array, long double, ... */
};

/* How a dataset holds bits, where it does. */
enum engram_bits_form {
    ENGRAM_BITS_NONE,
    ENGRAM_BITS_BOOL,  /* each element is 0 or 1 */
    ENGRAM_BITS_PACKED /* eight to a byte as numpy.packbits does: an integer attribute `nbits`
                          that fits the rows' bytes says so; the last of `dims` counts bits */
};

struct engram_items;

/* One dataset, or one member of a one-dimensional compound dataset: an array of numbers in each
 * element is two-dimensional then; or a group of datasets that each hold one row. */
struct engram_dataset_info {
    char *path; /* absolute inside the file, "/embeddings" */
    const char
        *member;     /* the end of `path`: the name of a member of the dataset before; else NULL */
    int rank;        /* 0: scalar or null */
    int64_t dims[4]; /* the first four */
    enum engram_content content;
    enum engram_dtype dtype; /* stored element type, NUMERIC only (bfloat16 reads as F32) */
    enum engram_bits_form bits;
    size_t element_bytes; /* of one stored element; 0: it is no raw bytes */
    char read_as[12];     /* see engram_dataset_read_as; "" */
    enum engram_storage storage;
    int64_t chunk[4];           /* chunk shape, CHUNKED only */
    char type_name[48];         /* for people: "float32", "float16 big-endian", "int8" */
    char filters[96];           /* for people: "shuffle, deflate 6"; "" without */
    struct engram_items *items; /* ITEMS: the layout's; rank is 2, and `path` that of the group */
};

/* A second name of a listed dataset: a soft link, or one more hard link. */
struct engram_dataset_alias {
    char *path;
    char *target; /* path under which the dataset is listed */
};

enum engram_layout_kind {
    ENGRAM_LAYOUT_NONE,           /* not recognised: the user has to choose */
    ENGRAM_LAYOUT_ANN_BENCHMARKS, /* /train and /test, both 2-D numeric */
    ENGRAM_LAYOUT_ANNDATA,        /* obs and var, with obsm or X: see io/anndata.h */
    ENGRAM_LAYOUT_SINGLE,         /* exactly one 2-D numeric dataset */
    ENGRAM_LAYOUT_ITEMS           /* a dataset for each row */
};

struct engram_layout {
    enum engram_layout_kind kind;
    struct engram_dataset_info *datasets; /* in the order of their paths' bytes */
    size_t count;
    bool truncated;                       /* more datasets than are listed */
    struct engram_dataset_alias *aliases; /* in no particular order */
    size_t alias_count;
    char distance[64]; /* root attribute `distance`; "" without */
    bool anndata;      /* obs and var are there, and obsm or X: see io/anndata.h */
    char obs_ids[160]; /* AnnData: path of the dataset that names the rows of `obs`; "" without */
    const struct engram_items *items; /* ITEMS: the set that the layout stands for */
    char outside[400];    /* for people: the first external link and where it leads; "" without */
    char unreadable[320]; /* for people: the first object that HDF5 cannot describe; "" without */
    char hint[400];       /* for people who have to choose: what the datasets may be; "" without */
};

/* Describes the file at `path`. Every dataset is listed once, under the first path that leads to
 * it; external links are not followed. A dataset that cannot be described is a warning, and listed
 * as OTHER. On success the caller frees with engram_layout_free; on failure `layout` is empty.
 * Errors: NO_INPUT, PERMISSION, DATA (not HDF5, malformed), RESOURCE, IO. */
enum engram_status engram_layout_read(const char *path, const struct engram_log *log,
                                      struct engram_layout *layout);
void engram_layout_free(struct engram_layout *layout);

/* Looks one name up in the file itself and adds it to the list, for a list that is truncated:
 * pointers into layout->datasets move. OK also when the file has no such dataset, and does nothing
 * when the list is complete or has the name already. Errors: as engram_layout_read. */
enum engram_status engram_layout_add(struct engram_layout *layout, const char *path,
                                     const char *dataset, const struct engram_log *log);

/* Takes the elements of a dataset for another type of the same size, for raw bits: a dataset of
 * uint16 that holds "bfloat16" or "float16", opaque bytes, ... "bits": each byte holds eight.
 * USAGE when there is no such type, DATA when the elements cannot be it; each logged. */
enum engram_status engram_dataset_read_as(struct engram_dataset_info *dataset, const char *type,
                                          const char *path, const struct engram_log *log);

/* Makes a set of the items below a group, or of those named `leaf` (NULL: recognised), and adds it
 * to the list under the path of the group: pointers into layout->datasets move. OK also when there
 * is no such group, and does nothing when the list has the name already (with the same leaf, if one
 * is given). Errors: as engram_layout_read. */
enum engram_status engram_layout_items(struct engram_layout *layout, const char *path,
                                       const char *group, const char *leaf,
                                       const struct engram_log *log);

/* By path or alias, with or without the leading slash; NULL when there is none. */
const struct engram_dataset_info *engram_layout_find(const struct engram_layout *layout,
                                                     const char *path);

/* The dataset of ids that belongs to `vectors`. Items bring their own: `vectors` itself. Else: 1-D
 * strings, one for each row, in the same group; among several, "<name of vectors>_ids" and then a
 * usual name (ids, id, names, keys, ...) wins. Without one there, the only dataset of that kind in
 * the file. NULL when nothing decides. */
const struct engram_dataset_info *engram_layout_ids_for(const struct engram_layout *layout,
                                                        const struct engram_dataset_info *vectors);

#endif
