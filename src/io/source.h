/* A stream of row slabs out of one dataset. */
#ifndef ENGRAM_IO_SOURCE_H
#define ENGRAM_IO_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/search.h"
#include "io/layout.h"

/* Rows are cut, hashed and (later) checkpointed on this grain; it never depends on memory,
 * threads or filter. */
#define ENGRAM_ROW_GRAIN 1024

/* Rows [first_row, first_row + set.rows) of the dataset, as float32 where every stored value is
 * exact in float32, else float64, or as bits where those are asked for, the stride filled in. The
 * memory belongs to the source and stays valid until the next call of engram_source_next or
 * engram_source_close. */
struct engram_slab {
    struct engram_set set; /* set.rows == 0: the end */
    int64_t first_row;
};

struct engram_source;

/* One of several datasets whose rows follow each other. */
struct engram_source_part {
    const char *path;
    const struct engram_dataset_info *dataset;
};

/* Opens rows [first, last) of `dataset` in the file `path`, to be given in slabs of at most
 * `slab_rows` rows (rounded up to the grain; INT64_MAX: one slab). `threads` touch slab memory
 * first, and read: contiguous data by pread, chunks packed with any of shuffle, deflate and
 * fletcher32 by unpacking them; the rest goes through H5Dread. HDF5, log and progress are called
 * by the calling thread only. With `parts` their rows come one after the other, and `dataset` is
 * what they are together: number of rows, dimension, and the element type of slabs, which has to
 * hold that of all parts, or is ENGRAM_BITS: then every value has to be 0 or 1. One part is opened
 * at a time. `path`, `dataset` and `parts` are looked at until the source is closed. `cancel` as in
 * engram_search_options. `progress` may be NULL. Errors: NO_INPUT, PERMISSION, DATA, PLUGIN,
 * RESOURCE, IO. */
struct engram_source_options {
    const char *path;
    const struct engram_dataset_info *dataset;
    const struct engram_source_part *parts; /* NULL: one dataset */
    size_t part_count;
    int64_t first, last;
    int64_t slab_rows;
    int threads;
    size_t buffer_bytes; /* for buffers, as far as that is enough; 0: what is fastest */
    bool allow_external; /* read external files and virtual sources in other files */
    bool by_hdf5;        /* read by H5Dread whatever the storage: to compare with */
    const int *cancel;
    void (*progress)(void *context, uint64_t rows_done, uint64_t rows_total);
    void *progress_context;
    struct engram_log log;
};
enum engram_status engram_source_open(const struct engram_source_options *options,
                                      struct engram_source **source);

/* Reads the next slab. 64-bit integers beyond 2^53 are DATA, naming file, dataset and row.
 * A failed read names file, dataset and rows. */
enum engram_status engram_source_next(struct engram_source *source, struct engram_slab *slab);

/* Begins to read the next slab in a thread of its own, with as many threads more for unpacking as
 * `threads` says; engram_source_next then waits for it, and has its errors. The slab in use stays
 * as it is. Until then nothing else may call HDF5. Takes the memory of a second slab; does nothing
 * where that, or threads, cannot be had, and before the first slab was read. */
void engram_source_start(struct engram_source *source);

/* The next slab is the one that starts with this row; slabs lie where those from the first row on
 * do. What was read ahead, if it is another one, is waited for and dropped. */
void engram_source_seek(struct engram_source *source, int64_t row);

/* The next slab is the first one again. */
void engram_source_rewind(struct engram_source *source);

/* Slabs have fewer rows than options.slab_rows from now on, and take less memory: of the slab in
 * use, too, only so many rows stay. To be called before anything is read ahead. */
void engram_source_limit(struct engram_source *source, int64_t slab_rows);

/* Hands the last slab's memory over to the caller, who frees it with engram_pages_free(data,
 * *bytes). */
void *engram_source_take(struct engram_source *source, size_t *bytes);

/* Where the rows that were asked for lie in the file. False unless they are stored contiguously and
 * read as they lie there. */
bool engram_source_extent(const struct engram_source *source, uint64_t *offset, uint64_t *bytes);

void engram_source_close(struct engram_source *source);

/* The element type that slabs of this dataset have: ENGRAM_F32, ENGRAM_F64, or ENGRAM_BITS for a
 * description that asks for them. */
enum engram_dtype engram_source_dtype(const struct engram_dataset_info *dataset);

#endif
