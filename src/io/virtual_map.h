/* The mapping of a virtual dataset as it is stored, looked at before HDF5 reads it: HDF5 allocates
 * for as many sources as it claims, and decodes their selections without asking where it ends.
 * Plain bytes, no HDF5. */
#ifndef ENGRAM_IO_VIRTUAL_MAP_H
#define ENGRAM_IO_VIRTUAL_MAP_H

#include <stddef.h>

/* What is wrong with a mapping of so many bytes, where lengths have `length_bytes` (8 at most);
 * NULL: all that it claims is there. The rest of a mapping from the first thing on that is of a
 * version that is not known here is left to HDF5, and so is the checksum at its end. */
const char *engram_virtual_map_damage(const unsigned char *bytes, size_t size, size_t length_bytes);

#endif
