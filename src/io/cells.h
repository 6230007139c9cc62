/* The cells of a matrix on their way into a result: a file beside OUTPUT that outlives the process,
 * written at any place in any order. It is either the result itself, complete but for these cells
 * and its digest (engram_output_settle), or, where the result is to be compressed, a plain file of
 * which that is made.
 *
 * A random mark is in the file until it is complete, in place of the digest, and the place says
 * which one: so a file is recognised. */
#ifndef ENGRAM_IO_CELLS_H
#define ENGRAM_IO_CELLS_H

#include <stdbool.h>
#include <stdint.h>

#include "io/tempfile.h"

/* Characters of a mark and of a digest. */
#define ENGRAM_MARK_LENGTH 32

#define ENGRAM_LATE_SETS 3

/* Where everything is; a plain description that is as good in another process. */
struct engram_cells_place {
    uint64_t bytes;                     /* of the whole file */
    uint64_t offset;                    /* of the first cell */
    uint64_t rows;                      /* of the matrix .. */
    uint64_t row_bytes;                 /* .. and their size */
    uint64_t mark_at;                   /* where the mark is */
    uint64_t late_at[ENGRAM_LATE_SETS]; /* likewise of datasets that the caller fills in at the end;
                                           0 without */
    bool packed;                        /* a plain file */
    char mark[ENGRAM_MARK_LENGTH + 1];
};

struct engram_cells {
    struct engram_cells_place place;
    struct engram_tempfile file;
    struct engram_log log;
    bool complete; /* the digest is in its place */
};

/* A new mark. False without randomness. */
bool engram_cells_draw_mark(char mark[ENGRAM_MARK_LENGTH + 1]);

/* Makes a plain file for rows x row_bytes of cells that are to be packed later. Errors: as
 * engram_tempfile_create. */
enum engram_status engram_cells_create(const char *path, bool replace, uint64_t rows,
                                       uint64_t row_bytes, const char *mark,
                                       const struct engram_log *log, struct engram_cells *cells);

/* Opens the file that an earlier process left; `digest`, or NULL, is what it may hold instead of
 * its mark. `*found` false, with OK: there is none, or it is not the one. */
enum engram_status engram_cells_open(const char *path, bool replace,
                                     const struct engram_cells_place *place, const char *digest,
                                     const struct engram_log *log, struct engram_cells *cells,
                                     bool *found);

/* Writes bytes [first, first + bytes) of each of `count` rows, which are `stride` bytes apart in
 * `data`. IO. */
enum engram_status engram_cells_write(struct engram_cells *cells, uint64_t row, uint64_t count,
                                      uint64_t first, size_t bytes, const void *data,
                                      size_t stride);

/* Writes `bytes` to the dataset at place.late_at[which], from byte `first` on; none to one that is
 * empty. IO. */
enum engram_status engram_cells_write_late(struct engram_cells *cells, int which, size_t first,
                                           const void *data, size_t bytes);

/* The hash of all cells (struct engram_hash_chain), once they are there. RESOURCE, IO. */
enum engram_status engram_cells_hash(const struct engram_cells *cells, uint64_t *hash);

/* The hash of bytes [first, first + bytes) of each of `count` rows. RESOURCE, IO. */
enum engram_status engram_cells_hash_part(const struct engram_cells *cells, uint64_t row,
                                          uint64_t count, uint64_t first, uint64_t bytes,
                                          uint64_t *hash);

/* The hash of everything in the file but the cells, the mark, and `late[i]` bytes of the dataset at
 * place.late_at[i]: what is there from the start and stays. RESOURCE, IO. */
enum engram_status engram_cells_hash_frame(const struct engram_cells *cells,
                                           const uint64_t late[ENGRAM_LATE_SETS], uint64_t *hash);

/* Reads whole rows. IO. */
enum engram_status engram_cells_read(const struct engram_cells *cells, uint64_t row, uint64_t count,
                                     void *to);

/* Everything written so far survives a loss of power. IO. */
enum engram_status engram_cells_sync(struct engram_cells *cells);

/* Every cell is there: puts the digest in its place and makes the file the result. An error leaves
 * `*cells` as it was. */
enum engram_status engram_cells_publish(struct engram_cells *cells, const char *digest);

/* Closes the file; `keep` leaves it for another process. An empty or all-zero `*cells` is
 * allowed. */
void engram_cells_close(struct engram_cells *cells, bool keep);

#endif
