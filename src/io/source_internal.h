/* What the files that read rows share: source.c (slabs), source_slab.c, source_open.c (what the
 * dataset is and how it is read), source_h5.c, contiguous.c and chunks.c (the ways to read). */
#ifndef ENGRAM_IO_SOURCE_INTERNAL_H
#define ENGRAM_IO_SOURCE_INTERNAL_H

#include <hdf5.h>
#include <stdbool.h>

#include "base/log.h"
#include "io/h5type.h"
#include "io/readahead.h"
#include "io/source.h"
#include "io/unfilter.h"
#include "io/widen.h"

/* Bytes read between two looks at the cancel flag, two reports of progress. */
#define ENGRAM_PIECE_BYTES ((size_t)64 << 20)

/* How the stored bytes are got at. */
enum engram_source_way {
    ENGRAM_WAY_H5,         /* H5Dread: everything that the others cannot do */
    ENGRAM_WAY_CONTIGUOUS, /* pread by all threads */
    ENGRAM_WAY_CHUNKS,     /* raw chunks, unpacked by all threads */
    ENGRAM_WAY_PARTS,      /* other sources, one after the other, perhaps converted */
    ENGRAM_WAY_ITEMS       /* a dataset for each row: where they lie, pread by all threads */
};

/* A slab that is read while the last one is still in use. */
struct engram_ahead {
    int64_t first;
    int64_t rows;
    void *slab;
    size_t bytes;
    enum engram_status status;
    enum engram_log_level level;
    char message[1024]; /* to be told by the calling thread; "": none */
    bool refused;       /* it was tried to get memory and threads for it */
};

struct engram_virtual_part;

struct engram_source {
    struct engram_source_options options; /* its log is engram_source_log */
    struct engram_log log;                /* the caller's */
    struct engram_readahead *thread;      /* NULL: none */
    struct engram_ahead ahead;
    bool in_background; /* the thread is reading: written by the caller while it is idle */
    char *path;
    char *name;                       /* of the dataset */
    const char *member;               /* in `name`: the member that is read; NULL */
    const struct engram_items *items; /* ITEMS: the caller's */
    hid_t file;
    hid_t dataset;
    hid_t file_space;
    struct engram_virtual_part *parts; /* VIRTUAL: its sources, held open */
    size_t part_count;
    hid_t memory_type;  /* as H5Dread delivers: stored type in native order, or the slab's */
    size_t memory_row;  /* bytes of a row of it; a member is one element for a whole row */
    int fd;             /* HDF5's own; -1 when it reads by other means than system calls */
    uint64_t file_size; /* when it was opened */
    enum engram_source_way way;
    struct engram_h5_type type;
    struct engram_stored stored; /* not for CUSTOM floats */
    enum engram_dtype slab_dtype;
    bool direct; /* H5Dread writes into the slab, nothing is left to widen */
    int64_t all_rows;
    int64_t dim;
    int64_t next;      /* dataset row */
    int64_t chunk[2];  /* rows, columns; 1 and dim when not chunked */
    size_t row_bytes;  /* of the slab */
    uint64_t offset;   /* CONTIGUOUS: of the dataset in the file */
    bool plain_edges;  /* CHUNKS: chunks that the dataset's edges cut are not filtered */
    bool fill_inexact; /* CHUNKS: the fill value is an integer without exact float64 */
    _Alignas(8) unsigned char fill[8]; /* CHUNKS: one element of a slab */
    struct engram_pipeline pipeline;
    struct engram_chunk_reader *chunks; /* CHUNKS; NULL until the first slab */
    void *stage;                        /* buffers of the other ways; NULL where none are needed */
    size_t stage_bytes;
    void *slab;
    size_t slab_bytes;
    struct engram_source_part single; /* PARTS: a dataset that has to be converted */
    size_t part_at;                   /* PARTS: the part that is open */
    int64_t part_first;               /* and the row that its first row is */
    struct engram_source *part;       /* NULL: none */
    char missing_filter[80];          /* an optional filter that is not there; "" */
};

#define ENGRAM_SOURCE_FAIL(source, status, format, ...)                                            \
    engram_fail(&(source)->options.log, status, "%s: %s: " format, (source)->path, (source)->name, \
                __VA_ARGS__)

/* Hands on what is said while rows are read; keeps it while that is in the background. */
void engram_source_log(void *context, enum engram_log_level level, const char *message);

/* Bytes of the buffers that reading slabs of `rows` rows takes and that are not there yet. */
size_t engram_source_missing_buffers(const struct engram_source *source, int64_t rows);
enum engram_status engram_source_allocate_buffers(struct engram_source *source, size_t bytes);

/* Reads rows [first, first + rows) to `to`, with buffers that are there. */
enum engram_status engram_source_fill(struct engram_source *source, int64_t first, int64_t rows,
                                      void *to);

/* A failed HDF5 call, with HDF5's own message. */
enum engram_status engram_source_h5_failure(const struct engram_source *source, const char *what);

/* A 64-bit integer beyond 2^53. */
enum engram_status engram_source_inexact(const struct engram_source *source, int64_t row,
                                         int64_t column);

/* Whether the caller wants to stop, and the message for it. */
bool engram_source_cancelled(const struct engram_source *source);
enum engram_status engram_source_interrupted(const struct engram_source *source);

/* Tells the caller that all rows before `row` are read. */
void engram_source_report(const struct engram_source *source, int64_t row);

/* HDF5 gives zeros for what lies behind the end of a file that got shorter after it was opened, so
 * somebody has to look. IO when it did, else OK. */
enum engram_status engram_source_check_size(const struct engram_source *source);

/* Threads that may be used, at least 1. */
int engram_source_threads(const struct engram_source *source);

/* The file as the operating system knows it, where HDF5 reads it by plain system calls. */
void engram_source_find_descriptor(struct engram_source *source);

/* Opens the dataset, checks it and decides how it is read. */
enum engram_status engram_source_prepare(struct engram_source *source);

/* ---- the ways: bytes of buffers for slabs of `rows` rows, and reading rows [first, first + rows)
 * of the dataset to `to`. What is read at once: piece_rows, in whole rows of chunks. */
/* A box as `memory_type` by H5Dread. False leaves HDF5's error stack. */
bool engram_h5_fetch(const struct engram_source *source, const hsize_t start[2],
                     const hsize_t count[2], void *to);

size_t engram_h5_stage_bytes(const struct engram_source *source, int64_t rows);
enum engram_status engram_h5_read_rows(struct engram_source *source, int64_t first, int64_t rows,
                                       void *to);
int64_t engram_source_piece_rows(const struct engram_source *source);

size_t engram_contiguous_stage_bytes(const struct engram_source *source);
enum engram_status engram_contiguous_read_rows(struct engram_source *source, int64_t first,
                                               int64_t rows, void *to);

/* A filter that must be undone and cannot be is PLUGIN. */
enum engram_status engram_source_check_filters(struct engram_source *source, hid_t creation);
/* Data outside the dataset itself, which take `bytes`: allowed, there, and large enough. */
enum engram_status engram_source_check_external(struct engram_source *source, hid_t creation,
                                                uint64_t bytes);
struct engram_claim;
enum engram_status engram_source_check_virtual(struct engram_source *source, hid_t creation,
                                               const struct engram_claim *claim);

/* Sets up a source whose options have parts, or a dataset that is converted. */
enum engram_status engram_parts_prepare(struct engram_source *source);
/* Opens the parts that hold these rows, which shows whether they can hold what they claim. */
enum engram_status engram_parts_check_rows(struct engram_source *source, int64_t first,
                                           int64_t rows);
/* Looks at the cancel flag and reports progress by itself. */
enum engram_status engram_parts_read_rows(struct engram_source *source, int64_t first, int64_t rows,
                                          void *to);

/* Opens a single dataset as it is stored: rows of packed bits as the numbers of their bytes. */
enum engram_status engram_source_open_stored(const struct engram_source_options *options,
                                             struct engram_source **source);
/* Reads rows into memory of the caller. */
enum engram_status engram_source_read(struct engram_source *source, int64_t first, int64_t rows,
                                      void *to);

size_t engram_chunks_bytes(const struct engram_source *source);
enum engram_status engram_chunks_create(struct engram_source *source);
void engram_chunks_free(struct engram_chunk_reader *reader);
/* Looks at the cancel flag and reports progress by itself. */
enum engram_status engram_chunks_read_rows(struct engram_source *source, int64_t first,
                                           int64_t rows, void *to);

/* For items; in place of engram_source_prepare's look at a dataset. */
enum engram_status engram_items_prepare(struct engram_source *source);
size_t engram_items_stage_bytes(const struct engram_source *source, int64_t rows);
/* Looks at the cancel flag and reports progress by itself. */
enum engram_status engram_items_read_rows(struct engram_source *source, int64_t first, int64_t rows,
                                          void *to);

#endif
