/* The writer: a result file that appears complete or not at all.
 *
 * The file is built under a temporary name in OUTPUT's folder (created exclusively; see
 * tempfile.h), then synced, renamed onto OUTPUT, and the folder synced. Uncompressed datasets are
 * contiguous, allocated early, and written with pwrite at their offsets: any row range, in any
 * order. Compressed ones are chunked, each chunk deflated by zlib on all threads and written as a
 * whole: rows in order. Nothing in the file depends on time, machine, thread count, or on how rows
 * are cut into calls: the same declarations and rows give the same bytes (one version of HDF5 and
 * zlib). Chunk shapes depend on the dataset's shape only. Packed chunks lie in the file dataset by
 * dataset: those of a dataset whose predecessors are not complete yet wait in a nameless file in
 * OUTPUT's folder. So writing dataset after dataset is the cheapest order. */
#ifndef ENGRAM_IO_OUTPUT_H
#define ENGRAM_IO_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "engram/search.h"
#include "io/cells.h"
#include "io/ids.h"

struct engram_output;

/* `replace`: publishing may replace an existing file. Without it an existing file, also one that
 * appears while we write, is CANT_CREATE; so are folders, devices and dangling links, always. A
 * symbolic link stays: the file it points to is replaced. A file beyond RLIMIT_FSIZE is an error
 * only where SIGXFSZ is ignored, which is up to the application. `threads` 0: OpenMP's default.
 * Errors: CANT_CREATE, PERMISSION, IO. */
enum engram_status engram_output_create(const char *path, bool replace, int threads,
                                        const struct engram_log *log,
                                        struct engram_output **output);

/* Element types of results. */
enum engram_output_type {
    ENGRAM_OUT_F32,
    ENGRAM_OUT_F64,
    ENGRAM_OUT_I32,
    ENGRAM_OUT_I64,
    ENGRAM_OUT_BOOL /* an enumeration of FALSE and TRUE, as h5py has it; a byte each in memory */
};

/* Declares a dataset of rank 1 or 2; groups on the way are created. All datasets and attributes
 * are declared before the first engram_output_rows. `compress` 0: contiguous; 1-9: shuffle and
 * deflate. `*dataset` names it in engram_output_rows. */
enum engram_status engram_output_dataset(struct engram_output *output, const char *path,
                                         enum engram_output_type type, int rank,
                                         const int64_t dims[], int compress, int *dataset);

/* As engram_output_dataset, for `count` strings of `width` bytes, UTF-8 and NUL-padded. */
enum engram_status engram_output_strings(struct engram_output *output, const char *path,
                                         size_t width, int64_t count, int compress, int *dataset);

/* Declares and writes a dataset of fixed-length UTF-8 strings. */
enum engram_status engram_output_ids(struct engram_output *output, const char *path,
                                     const struct engram_ids *ids, int compress);

/* The same in pieces: the ids, `count` of them in all, follow in order before anything else is
 * declared. */
enum engram_status engram_output_ids_begin(struct engram_output *output, const char *path,
                                           size_t width, int64_t count, int compress, int *dataset);
enum engram_status engram_output_ids_next(struct engram_output *output, int dataset, int64_t count,
                                          const char *text);

/* Attributes of the object at `path` ("/" for the root). Text is of variable length, one integer
 * is a scalar, several are an array. */
enum engram_status engram_output_text(struct engram_output *output, const char *path,
                                      const char *name, const char *value);
enum engram_status engram_output_integers(struct engram_output *output, const char *path,
                                          const char *name, const int64_t *values, int count);
enum engram_status engram_output_number(struct engram_output *output, const char *path,
                                        const char *name, double value);

/* Writes rows [first, first + count); `data` is dense and in native byte order. */
enum engram_status engram_output_rows(struct engram_output *output, int dataset, int64_t first,
                                      int64_t count, const void *data);

/* Everything is declared and written but the rows of `dataset`, which is contiguous and not empty,
 * and those of contiguous datasets `late` (ENGRAM_LATE_SETS), unless it is NULL: hands the file
 * over for its cells to be written. `mark` stands in the digest's place, the only text that is not
 * final. Frees `output` whatever happens. IO. */
enum engram_status engram_output_settle(struct engram_output *output, int dataset, const int *late,
                                        const char *mark, struct engram_cells *cells);

/* Memory that writing a compressed dataset of rows x row_bytes takes. */
uint64_t engram_output_packing_bytes(uint64_t rows, uint64_t row_bytes, int threads);

/* From here on the rows of datasets that are declared are hashed: they have to come in order. */
void engram_output_keep_hashes(struct engram_output *output);

/* The hash (struct engram_hash_chain) of a dataset's rows so far. */
uint64_t engram_output_hash(const struct engram_output *output, int dataset);

/* Finishes, syncs and renames; frees `output` whatever happens. */
enum engram_status engram_output_publish(struct engram_output *output);

/* Drops everything, also the temporary file. NULL is allowed. */
void engram_output_discard(struct engram_output *output);

#endif
