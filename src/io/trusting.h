/* HDF5's filters that trust what they are given: scale-offset, nbit and szip. For src/io only.
 *
 * They take from the parameters of the dataset, or from a chunk itself, how much it unpacks to, and
 * read behind the end of one that is too short, or leave the rest as malloc gave it: the values
 * would be whatever lies there. */
#ifndef ENGRAM_IO_TRUSTING_H
#define ENGRAM_IO_TRUSTING_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ENGRAM_TRUSTING_VALUES = 64 }; /* parameters that are looked at */

struct engram_trusting {
    H5Z_filter_t filter;
    size_t count; /* of parameters */
    unsigned values[ENGRAM_TRUSTING_VALUES];
    size_t chunk_bytes; /* what a chunk has to unpack to */
};

bool engram_trusting_is_known(H5Z_filter_t filter);

/* Whether it leaves every chunk as it is. */
bool engram_trusting_is_idle(const struct engram_trusting *filter);

/* Why `size` bytes, as the filter gave them when it was applied, do not unpack to a whole chunk
 * (also want of memory, in words that engram_h5_read_status() knows); NULL: they do. */
const char *engram_trusting_damage(const struct engram_trusting *filter,
                                   const unsigned char *packed, size_t size);

#endif
