#define _GNU_SOURCE

#include "io/fileio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

bool engram_errno_is_full(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

bool engram_file_is_planted(const struct stat *info, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - path) + 1; /* with the slash: "/", too */
    char *folder = length == 0 ? strdup(".") : strndup(path, length);
    struct stat around;
    /* Of a folder whose file is open a failure says nothing about whose the file is. */
    bool looked = folder != NULL && stat(folder, &around) == 0;

    free(folder);
    return looked && info->st_uid != geteuid() && info->st_uid != around.st_uid &&
           (around.st_mode & S_ISVTX) != 0 && (around.st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

enum engram_status engram_write_failure(const char *shown, int error, const struct engram_log *log)
{
    if (engram_errno_is_full(error)) {
        return engram_fail(log, ENGRAM_ERR_IO,
                           "%s: cannot write: %s; free some space, or write to another disk", shown,
                           error == EDQUOT  ? "disk quota exceeded"
                           : error == EFBIG ? "the file is larger than the limit (ulimit -f) or "
                                              "the file system allows"
                                            : "the disk is full");
    }
    return engram_fail(log, error == ENOMEM ? ENGRAM_ERR_RESOURCE : ENGRAM_ERR_IO,
                       "%s: cannot write: %s", shown, strerror(error));
}

bool engram_write_at(int fd, const void *data, size_t size, off_t offset)
{
    const unsigned char *from = data;

    while (size > 0) {
        ssize_t done = pwrite(fd, from, size, offset);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            errno = done == 0 ? ENOSPC : errno;
            return false;
        }
        from += done;
        size -= (size_t)done;
        offset += done;
    }
    return true;
}

bool engram_read_at(int fd, void *data, size_t size, off_t offset)
{
    unsigned char *to = data;

    while (size > 0) {
        ssize_t done = pread(fd, to, size, offset);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            errno = done == 0 ? EIO : errno;
            return false;
        }
        to += done;
        size -= (size_t)done;
        offset += done;
    }
    return true;
}
