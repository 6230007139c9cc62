#define _GNU_SOURCE

#include "io/spoolfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/size.h"

#define NAME_ATTEMPTS 100

/* Where nameless files do not exist: a name that is taken away at once. */
static int open_and_unlink(const char *folder)
{
    for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
        uint64_t random;
        char *path = NULL;

        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
            return -1;
        }
        if (asprintf(&path, "%s/engram-batch.tmp-%016llx", folder, (unsigned long long)random) <
            0) {
            errno = ENOMEM;
            return -1;
        }
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        int error = errno;
        if (fd >= 0 && unlink(path) != 0) {
            error = errno;
            (void)close(fd);
            fd = -1;
        }
        free(path);
        errno = error;
        if (fd >= 0 || error != EEXIST) {
            return fd;
        }
    }
    return -1;
}

int engram_spoolfile_open(const char *folder)
{
#ifdef O_TMPFILE
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    /* Kernels and file systems without O_TMPFILE say one of these. */
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)) {
        return fd;
    }
#endif
    return open_and_unlink(folder);
}

void engram_spoolfile_drop(int fd, off_t offset, off_t size)
{
#ifdef FALLOC_FL_PUNCH_HOLE
    if (size > 0) {
        /* Best effort: the room comes back when the file is closed at the latest. */
        (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
    }
#else
    (void)fd;
    (void)offset;
    (void)size;
#endif
}

uint64_t engram_disk_free(const char *path)
{
    struct statvfs info;

    /* Some file systems do not know their size and say 0. */
    if (statvfs(path, &info) != 0 || info.f_blocks == 0) {
        return UINT64_MAX;
    }
    return engram_saturating_mul(info.f_bavail, info.f_frsize);
}
