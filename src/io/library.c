#include "io/library.h"

#include <hdf5.h>
#include <stdio.h>

#include "io/codec.h"

bool engram_io_start(void)
{
    /* Fails only when it was called before. */
    (void)H5dont_atexit();
    return H5open() >= 0;
}

void engram_io_versions(char *text, size_t size)
{
    unsigned major = 0;
    unsigned minor = 0;
    unsigned release = 0;

    char codec[64];

    (void)H5get_libversion(&major, &minor, &release);
    engram_codec_versions(codec, sizeof codec);
    (void)snprintf(text, size, "HDF5 %u.%u.%u, %s", major, minor, release, codec);
}
