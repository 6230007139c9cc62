/* The HDF5 library as a whole. */
#ifndef ENGRAM_IO_LIBRARY_H
#define ENGRAM_IO_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

/* For programs, before anything else of src/io: HDF5 shall do nothing when the process ends. What
 * it would do is flush files that we close ourselves, and print when it cannot. False: it cannot
 * start, for want of memory; it may also crash then (HDF5 1.10). */
bool engram_io_start(void);

/* "HDF5 1.10.8, zlib 1.2.13": what runs, not what was compiled against. */
void engram_io_versions(char *text, size_t size);

#endif
