/* Chunks packed by HDF5's scale-offset filter: are they long enough? For src/io only.
 *
 * The filter believes the number of bits that a chunk says each of its elements takes, and reads
 * behind the chunk's end when it is damaged: the values would be whatever lies there. */
#ifndef ENGRAM_IO_SCALEOFFSET_H
#define ENGRAM_IO_SCALEOFFSET_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engram_scaleoffset {
    uint64_t elements; /* of a chunk; 0: no such filter, or others, too */
    size_t bytes;      /* of one */
};

void engram_scaleoffset_find(hid_t creation, struct engram_scaleoffset *filter);

/* `size` bytes as they are stored. */
bool engram_scaleoffset_is_whole(const struct engram_scaleoffset *filter,
                                 const unsigned char *chunk, size_t size);

/* The chunks (of `extent`) that hold these rows and columns of a 2-D dataset. False: one is damaged
 * or cannot be read; HDF5's error stack says so. */
bool engram_scaleoffset_check(const struct engram_scaleoffset *filter, hid_t dataset,
                              const int64_t extent[2], const hsize_t start[2],
                              const hsize_t count[2]);

#endif
