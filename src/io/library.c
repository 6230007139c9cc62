#include "io/library.h"

#include <hdf5.h>
#include <stdio.h>

void engram_io_start(void)
{
    /* Fails only when it was called before. */
    (void)H5dont_atexit();
}

void engram_io_versions(char *text, size_t size)
{
    unsigned major = 0;
    unsigned minor = 0;
    unsigned release = 0;

    (void)H5get_libversion(&major, &minor, &release);
    (void)snprintf(text, size, "HDF5 %u.%u.%u", major, minor, release);
}
