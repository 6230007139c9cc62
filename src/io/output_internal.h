/* What the rooms of the writer share: output.c declares, output_attr.c writes attributes,
 * output_rows.c rows. */
#ifndef ENGRAM_IO_OUTPUT_INTERNAL_H
#define ENGRAM_IO_OUTPUT_INTERNAL_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "io/output.h"
#include "io/tempfile.h"

/* A packed chunk that waits in the spool for its place in the file. */
struct engram_output_parked {
    off_t offset;
    size_t size;
};

/* One dataset. Rows are `row_bytes` long; element size and shape never change. */
struct engram_output_set {
    char *path;
    hid_t id;   /* -1 once the file is complete as far as HDF5 is concerned */
    hid_t type; /* in the file; also in memory, on the hosts we support */
    int rank;
    hsize_t dims[2];
    size_t element; /* bytes of one element */
    size_t row_bytes;
    int level;                       /* deflate level; 0: contiguous */
    haddr_t offset;                  /* contiguous: of the first byte in the file */
    bool strings;                    /* ids: written while datasets are declared */
    hsize_t rows_written;            /* rows taken from the caller; packed: the next row */
    struct engram_hash_chain *chain; /* of the rows, if they are hashed */
    /* Packed only. */
    hsize_t chunk_rows;
    hsize_t chunk_columns;
    hsize_t chunks;         /* in all */
    hsize_t chunks_written; /* in the file */
    size_t chunk_bytes;
    size_t batch;         /* chunks packed at a time */
    unsigned char *stage; /* rows that do not fill a batch yet; batch x chunk_bytes */
    hsize_t staged;       /* rows in it */
    struct engram_output_parked *parked;
    size_t parked_count;
    size_t parked_room;
};

struct engram_output {
    struct engram_tempfile temporary;
    struct engram_log log;
    int threads;
    hid_t file; /* -1 once only pwrite is left to do */
    bool rows_begun;
    bool hashes;       /* rows are hashed */
    uint64_t reserved; /* the file system holds room for the file up to here */
    struct engram_output_set *sets;
    size_t count;
    size_t turn; /* the set whose chunks go straight into the file */
    /* Work space for one batch of chunks. */
    unsigned char *scratch;
    size_t scratch_size;
    unsigned char *packed;
    size_t packed_size;
    size_t *packed_sizes;
    size_t packed_count;
    int spool; /* -1: none yet */
    off_t spool_end;
};

/* Logs what stopped HDF5 just now, told from its error stack: "SHOWN: cannot WHAT: ...". */
enum engram_status engram_output_h5_failure(struct engram_output *output, const char *what);

/* Logs a failed system call on the file or the spool. */
enum engram_status engram_output_errno_failure(struct engram_output *output, int error);

/* Fills in chunk_rows and what follows from it, for the set's shape and nothing else; makes it
 * contiguous when it is empty or a row does not fit into a chunk. */
void engram_output_plan_chunks(struct engram_output_set *set, int threads);

/* Takes the next `count` rows of a packed set. */
enum engram_status engram_output_feed(struct engram_output *output, struct engram_output_set *set,
                                      hsize_t count, const void *data);

/* Hashes the next rows, if they are to be hashed. INTERNAL when they are not the next. */
enum engram_status engram_output_hash_rows(struct engram_output *output,
                                           struct engram_output_set *set, hsize_t first,
                                           hsize_t count, const void *data);

/* Rows of a contiguous dataset while HDF5 has the file open. */
enum engram_status engram_output_by_h5(struct engram_output *output,
                                       const struct engram_output_set *set, hsize_t first,
                                       hsize_t count, const void *data);

/* Makes sure that the file can grow by `bytes` and a little metadata; IO, logged, when it cannot.
 * Comes before every HDF5 call that makes the file grow: when a write fails inside HDF5 (1.10 at
 * least) the file cannot be closed any more, and the library crashes at exit. */
enum engram_status engram_output_reserve(struct engram_output *output, size_t bytes);

/* Ends the declarations. */
enum engram_status engram_output_begin_rows(struct engram_output *output);

/* UTF-8 text of `size` bytes, or H5T_VARIABLE; negative on failure. The caller closes it. */
hid_t engram_output_string_type(size_t size);

#endif
