/* Describes one open dataset. For the files in src/io only. */
#ifndef ENGRAM_IO_DESCRIBE_H
#define ENGRAM_IO_DESCRIBE_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>

#include "io/h5type.h"
#include "io/layout.h"

/* Fills everything of `info` but its path and `read_as`. Opens no other file: not the sources of a
 * virtual dataset and not the raw files of an external one. Negative when HDF5 cannot tell. */
herr_t engram_h5_describe(hid_t dataset, struct engram_dataset_info *info);

/* Elements of `bytes` bytes of the type `found`. */
void engram_h5_set_type(struct engram_dataset_info *info, const struct engram_h5_type *found,
                        size_t bytes);

/* The name of filter `filter` for people ("deflate"); `given` is the name in the file, perhaps "".
 */
void engram_h5_filter_name(H5Z_filter_t filter, const char *given, char *text, size_t size);

/* After a read of `dataset` (or -1) failed: is a filter that it needs not there? `text` then says
 * which, and what to do; else it is left alone. */
bool engram_h5_missing_filter(hid_t dataset, char *text, size_t size);

#endif
