/* H5Dread after a look at the chunks that it will unpack. For src/io only.
 *
 * HDF5 uses as much of what a chunk's filters give as the dataset's shape says, however little that
 * was: of a damaged chunk the rest is whatever lies in memory. So every chunk that holds what is
 * selected is unpacked once before, by ourselves, where all its filters are known (deflate,
 * shuffle, fletcher32, scale-offset, nbit, szip); what plugins give is believed. Elements that are
 * not stored as their type says (a compound with texts) are, too. */
#ifndef ENGRAM_IO_H5READ_H
#define ENGRAM_IO_H5READ_H

#include <hdf5.h>

/* Whether H5Dread leaves elements that were never written as they are in memory: the dataset says
 * that it has no fill value, or that it is not to be used. Negative: HDF5 failed. */
int engram_h5_leaves_elements(hid_t creation);

/* As H5Dread, but for elements that it would leave: they are zero. Negative also for a chunk that
 * is not whole, with a message on HDF5's error stack. */
herr_t engram_h5_read(hid_t dataset, hid_t memory_type, hid_t memory_space, hid_t file_space,
                      void *to);

#endif
