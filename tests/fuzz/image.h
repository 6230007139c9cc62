/* HDF5 files as bytes: where their structures are, so that a mutator hits fields instead of noise,
 * and their checksums, so that a change is read instead of refused. Follows the "HDF5 File Format
 * Specification Version 3.0" for offsets and lengths of 8 bytes, which is what libraries write. */
#ifndef FUZZ_IMAGE_H
#define FUZZ_IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* Changes a few fields, bytes or structures, and mostly repairs the checksums. */
size_t image_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* Rewrites every checksum that is found, which leaves an undamaged file as it is. Returns how many
 * there are. */
size_t image_repair(uint8_t *data, size_t size);

#endif
