#define _GNU_SOURCE

#include "io/tempfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/leftover.h"
#include "base/log.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* A name has at most 255 bytes on every file system that matters; the suffix needs room too. */
#define BASE_NAME_KEPT 200
#define NAME_ATTEMPTS 100

bool engram_errno_is_full(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
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

/* The status of an output file that cannot be made: a missing folder is no missing input. */
static enum engram_status create_status(int error)
{
    enum engram_status status = engram_status_of_errno(error);

    if (status == ENGRAM_ERR_PERMISSION || status == ENGRAM_ERR_RESOURCE) {
        return status;
    }
    return engram_errno_is_full(error) || error == EIO ? ENGRAM_ERR_IO : ENGRAM_ERR_CANT_CREATE;
}

static void forget(struct engram_tempfile *file)
{
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    if (file->folder_fd >= 0) {
        (void)close(file->folder_fd);
    }
    engram_leftover_done(file->path);
    free(file->shown);
    free(file->target);
    free(file->path);
    free(file->folder);
    *file = (struct engram_tempfile){.fd = -1, .folder_fd = -1};
}

void engram_tempfile_discard(struct engram_tempfile *file)
{
    if (file->shown == NULL) {
        return;
    }
    if (file->path != NULL) {
        (void)unlink(file->path);
    }
    forget(file);
}

/* Decides which file `path` means and whether it may be written; `*mode` becomes the permissions
 * of the file that is replaced, else stays. On success file->target may still be relative. */
static enum engram_status check_target(struct engram_tempfile *file, const struct engram_log *log,
                                       mode_t *mode)
{
    const char *path = file->shown;
    struct stat info;

    file->target = NULL;
    if (lstat(path, &info) != 0) {
        if (errno != ENOENT) {
            return engram_fail(log, create_status(errno), "%s: cannot create: %s", path,
                               strerror(errno));
        }
        if (path[0] == '\0' || path[strlen(path) - 1] == '/') {
            return engram_fail(log, ENGRAM_ERR_CANT_CREATE,
                               "%s: cannot create: the output must be a file name", path);
        }
        file->target = strdup(path);
        return file->target != NULL ? ENGRAM_OK
                                    : engram_fail(log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    file->target = realpath(path, NULL);
    if (file->target == NULL || stat(file->target, &info) != 0) {
        int error = errno;

        if (error == ENOENT) {
            return engram_fail(log, ENGRAM_ERR_CANT_CREATE,
                               "%s: is a symbolic link to a file that does not exist; remove it or "
                               "name the file itself",
                               path);
        }
        return engram_fail(log, create_status(error), "%s: cannot create: %s", path,
                           strerror(error));
    }
    if (S_ISDIR(info.st_mode)) {
        return engram_fail(log, ENGRAM_ERR_CANT_CREATE,
                           "%s: is a folder; name a file in it, such as %s%sresult.h5", path, path,
                           path[strlen(path) - 1] == '/' ? "" : "/");
    }
    if (!S_ISREG(info.st_mode)) {
        return engram_fail(log, ENGRAM_ERR_CANT_CREATE, "%s: exists and is not a regular file",
                           path);
    }
    if (!file->replace) {
        return engram_fail(log, ENGRAM_ERR_CANT_CREATE,
                           "%s: exists already; name another file, or use --force to replace it",
                           path);
    }
    *mode = info.st_mode & 0777;
    return ENGRAM_OK;
}

/* Makes folder and target absolute. */
static enum engram_status resolve_folder(struct engram_tempfile *file, const struct engram_log *log)
{
    char *slash = strrchr(file->target, '/');
    const char *base = slash != NULL ? slash + 1 : file->target;
    char *parent =
        slash == NULL
            ? strdup(".")
            : strndup(file->target, slash == file->target ? 1 : (size_t)(slash - file->target));
    char *target = NULL;
    enum engram_status status = ENGRAM_OK;

    if (parent == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    file->folder = realpath(parent, NULL);
    if (file->folder == NULL) {
        int error = errno;

        status = engram_fail(log, create_status(error), "%s: cannot create: folder %s: %s",
                             file->shown, parent, strerror(error));
    } else if (asprintf(&target, "%s/%s", strcmp(file->folder, "/") == 0 ? "" : file->folder,
                        base) < 0) {
        status = engram_fail(log, ENGRAM_ERR_RESOURCE, "out of memory");
    } else {
        free(file->target);
        file->target = target;
    }
    free(parent);
    return status;
}

/* A fresh name beside the target; false without memory or randomness. */
static bool draw_name(const struct engram_tempfile *file, char **path)
{
    const char *base = strrchr(file->target, '/') + 1;
    size_t folder = (size_t)(base - file->target);
    unsigned char random[6];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    return asprintf(path, "%.*s%.*s.tmp-%02x%02x%02x%02x%02x%02x", (int)folder, file->target,
                    BASE_NAME_KEPT, base, random[0], random[1], random[2], random[3], random[4],
                    random[5]) >= 0;
}

static enum engram_status open_temporary(struct engram_tempfile *file, const mode_t *mode,
                                         const struct engram_log *log)
{
    for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
        char *path = NULL;

        if (!draw_name(file, &path)) {
            return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s: cannot make a temporary name: %s",
                               file->shown, strerror(errno));
        }
        file->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode != NULL ? *mode : 0666);
        if (file->fd >= 0) {
            file->path = path;
            engram_leftover_add(path);
            break;
        }
        free(path);
        if (errno != EEXIST) {
            int error = errno;

            return engram_fail(log, create_status(error),
                               "%s: cannot create a file in folder %s: %s", file->shown,
                               file->folder, strerror(error));
        }
    }
    if (file->fd < 0) {
        return engram_fail(log, ENGRAM_ERR_CANT_CREATE, "%s: no free temporary name in %s",
                           file->shown, file->folder);
    }
    if (mode != NULL && fchmod(file->fd, *mode) != 0 && errno != EPERM && errno != ENOTSUP) {
        return engram_fail(log, ENGRAM_ERR_IO, "%s: cannot set permissions: %s", file->shown,
                           strerror(errno));
    }
    return ENGRAM_OK;
}

enum engram_status engram_tempfile_create(const char *path, bool replace,
                                          const struct engram_log *log,
                                          struct engram_tempfile *file)
{
    const mode_t unknown = (mode_t)-1;
    mode_t mode = unknown;
    enum engram_status status;

    *file = (struct engram_tempfile){.replace = replace, .fd = -1, .folder_fd = -1};
    file->shown = strdup(path);
    if (file->shown == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    status = check_target(file, log, &mode);
    if (status == ENGRAM_OK) {
        status = resolve_folder(file, log);
    }
    if (status == ENGRAM_OK) {
        /* A folder without read permission can still be written, only not be synced. */
        file->folder_fd = open(file->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        status = open_temporary(file, mode != unknown ? &mode : NULL, log);
    }
    if (status != ENGRAM_OK) {
        engram_tempfile_discard(file);
    }
    return status;
}

/* rename that fails with EEXIST where something has the new name. */
static int rename_without_replacing(const char *from, const char *to)
{
    struct stat info;

#ifdef SYS_renameat2
    if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != ENOSYS && errno != EINVAL && errno != ENOTSUP) {
        return -1;
    }
#endif
    if (link(from, to) == 0) {
        /* The file has its name; a temporary name that stays behind would be untidy, not wrong. */
        (void)unlink(from);
        return 0;
    }
    if (errno != EPERM && errno != ENOTSUP && errno != ENOSYS && errno != EMLINK) {
        return -1;
    }
    /* Neither exists here (FAT, some FUSE file systems): a look before is the best there is. */
    if (lstat(to, &info) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

enum engram_status engram_tempfile_publish(struct engram_tempfile *file,
                                           const struct engram_log *log)
{
    enum engram_status status = ENGRAM_OK;
    int fd = file->fd;
    int failed;
    int error;

    failed = fsync(fd);
    error = errno;
    file->fd = -1;
    if (close(fd) != 0 && errno != EINTR && failed == 0) {
        failed = -1; /* some network file systems report a full disk only here */
        error = errno;
    }
    if (failed != 0) {
        status =
            engram_fail(log, ENGRAM_ERR_IO, "%s: cannot write: %s", file->shown, strerror(error));
    } else if ((file->replace ? rename(file->path, file->target)
                              : rename_without_replacing(file->path, file->target)) != 0) {
        error = errno;
        if (error == EEXIST) {
            status = engram_fail(log, ENGRAM_ERR_CANT_CREATE,
                                 "%s: appeared while the result was computed and was left alone; "
                                 "name another file, or use --force to replace it",
                                 file->shown);
        } else {
            status = engram_fail(log, create_status(error), "%s: cannot create: %s", file->shown,
                                 strerror(error));
        }
    }
    if (status != ENGRAM_OK) {
        engram_tempfile_discard(file);
        return status;
    }
    engram_leftover_done(file->path);
    free(file->path);
    file->path = NULL;
    if (file->folder_fd >= 0 && fsync(file->folder_fd) != 0 && errno != EINVAL &&
        errno != ENOTSUP && errno != EBADF) {
        /* The file is complete under its name; only a crash of the machine could take it back. */
        engram_logf(log, ENGRAM_LOG_WARNING, "%s: written, but its folder cannot be synced: %s",
                    file->shown, strerror(errno));
    }
    forget(file);
    return ENGRAM_OK;
}
