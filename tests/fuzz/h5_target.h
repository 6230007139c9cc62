/* What the targets that read HDF5 files share. */
#ifndef FUZZ_H5_TARGET_H
#define FUZZ_H5_TARGET_H

#include "fuzz.h"
#include "image.h"
#include "io/layout.h"
#include "isolate.h"

/* Failures that reading a hostile file may end in. */
#define FUZZ_READ_FAILURES                                                                         \
    (FUZZ_ALLOW(ENGRAM_ERR_DATA) | FUZZ_ALLOW(ENGRAM_ERR_NO_INPUT) |                               \
     FUZZ_ALLOW(ENGRAM_ERR_PLUGIN) | FUZZ_ALLOW(ENGRAM_ERR_RESOURCE) | FUZZ_ALLOW(ENGRAM_ERR_IO))

/* Elements that a target reads of one dataset at most: it shall be quick. */
#define FUZZ_ELEMENTS 200000

/* The file's layout, checked; false when it has none. */
bool fuzz_layout(const char *path, struct engram_layout *layout);

/* Handles of HDF5 that are open, and should not be. */
void fuzz_check_handles(void);

#endif
