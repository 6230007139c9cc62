/* Whether a dataset can hold what it claims to hold. For src/io only.
 *
 * A shape costs nothing: a file of 2 KiB can claim 10^15 rows of fill values. So before anything is
 * allocated or read, what is asked for is compared with what was written. */
#ifndef ENGRAM_IO_CLAIM_H
#define ENGRAM_IO_CLAIM_H

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

#include "engram/status.h"
#include "io/layout.h"

struct engram_claim {
    const char *path;
    const char *name;
    const struct engram_log *log;
    hid_t dataset;
    const struct engram_dataset_info *info; /* as it is described now */
    uint64_t rows;                          /* that are asked for */
    uint64_t row_bytes;                     /* as stored */
    bool by_hdf5; /* HDF5 will unpack the chunks: see whether one is as large as its shape says */
};

/* DATA, logged: data that is not chunked does not lie inside the file, the index of chunks has no
 * room for as many as the shape takes, or by far the most of what is asked for was never written.
 * Fill values are allowed: 64 MiB of them, or 16 times what was written. Virtual and external
 * storage is not looked at. */
enum engram_status engram_h5_check_claim(const struct engram_claim *claim);

/* The second half of it, for so many bytes that were written. */
enum engram_status engram_h5_check_written(const struct engram_claim *claim, uint64_t written);

#endif
