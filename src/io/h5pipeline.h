/* The filters of a dataset, where they are those that we undo ourselves. For src/io only. */
#ifndef ENGRAM_IO_H5PIPELINE_H
#define ENGRAM_IO_H5PIPELINE_H

#include <hdf5.h>
#include <stdbool.h>

#include "io/unfilter.h"

/* Takes them from a creation property list; the caller has filled in element and chunk_bytes. False
 * when there is one that unfilter.c does not know, or knows once only, or HDF5 failed. */
bool engram_h5_pipeline(hid_t creation, struct engram_pipeline *pipeline);

/* H5Dread_chunk into `room` bytes, which the caller has compared with H5Dget_chunk_storage_size. */
herr_t engram_h5_read_chunk(hid_t dataset, const hsize_t *corner, void *to, size_t room,
                            uint32_t *mask);

/* Whether a chunk of no bytes is in the file all the same: a damaged one, as no filter makes
 * nothing of something. `raw` has `room` bytes. Asking for its place looks at all chunks (1.10): it
 * comes second. */
bool engram_h5_is_empty_chunk(hid_t dataset, const hsize_t *corner, void *raw, size_t room);

#endif
