/* Object headers (section IV of HDF5's file format), looked at before HDF5 reads them. For src/io
 * only.
 *
 * H5Dopen of a virtual dataset reads its mapping, and allocates by what that claims: a file of 8 KB
 * could cost gigabytes. So the header is read by ourselves first, as far as it takes to know that
 * the dataset is no virtual one, or that its mapping is whole. What is not known here (versions,
 * drivers) is left to HDF5. */
#ifndef ENGRAM_IO_OBJHEADER_H
#define ENGRAM_IO_OBJHEADER_H

#include <hdf5.h>

#include "io/heap.h"
#include "io/links.h"

/* What is wrong with the object whose header is at `address`, so that HDF5 had better not open it
 * (also a failure to read it or want of memory, in words that engram_h5_read_status() knows); NULL:
 * it may. `heap`: of its file; engram_heap_open_bytes is enough. */
const char *engram_objheader_damage(struct engram_heap *heap, uint64_t address);

/* H5Dopen2 and H5Oopen of what `name` leads to, looked at before. Damage is an error in HDF5's
 * stack. All that inputs hold is opened by these. */
hid_t engram_h5_open_dataset(hid_t location, const char *name, hid_t access);
hid_t engram_h5_open_object(hid_t location, const char *name, hid_t access);

/* The same for one link of many in a file: `heap` is zero at first, stays open, and is closed by
 * the caller. */
hid_t engram_h5_open_linked(struct engram_heap *heap, hid_t group, const char *name,
                            const ENGRAM_H5_LINK_INFO *link, hid_t access);

#endif
