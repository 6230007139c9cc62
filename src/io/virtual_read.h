/* Rows of a virtual dataset, read from its sources one by one. For src/io only.
 *
 * H5Dread would do that itself, but takes a source that it cannot open at that moment (memory,
 * descriptors) for one that is not there, and gives fill values; nor are chunks looked at. */
#ifndef ENGRAM_IO_VIRTUAL_READ_H
#define ENGRAM_IO_VIRTUAL_READ_H

#include <hdf5.h>
#include <stdbool.h>

struct engram_source;

/* One mapping: what is selected in `to` is what is selected in `from`, element by element. */
struct engram_virtual_part {
    hid_t file; /* negative: the dataset's own file */
    hid_t dataset;
    hid_t from;    /* selection in the source, which has the source's extent */
    hid_t to;      /* and in the virtual dataset */
    hsize_t first; /* rows that hold `to`, half-open */
    hsize_t end;
};

/* Both spaces are copied. False: HDF5 failed. */
bool engram_virtual_part_select(struct engram_virtual_part *part, hid_t from, hid_t extent,
                                hid_t to);
void engram_virtual_part_close(struct engram_virtual_part *part);

/* Rows [first, first + count) as source->file_space has them selected. False: HDF5 failed. */
bool engram_virtual_read(const struct engram_source *source, hsize_t first, hsize_t count,
                         hid_t memory_space, void *to);

#endif
