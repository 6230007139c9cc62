#define _GNU_SOURCE

#include "io/tempfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/leftover.h"
#include "base/log.h"
#include "io/spoolfile.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* A name has at most 255 bytes on every file system that matters; the suffix needs room too. Of a
 * longer name a hash stands for the rest. */
#define BASE_NAME_KEPT 200

/* Others that look at the file hold its lock for a moment. */
#define ATTEMPTS 100

enum lock { LOCK_OURS, LOCK_TAKEN };

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

void engram_tempfile_leave(struct engram_tempfile *file)
{
    if (file->shown != NULL) {
        forget(file);
    }
}

void engram_tempfile_discard(struct engram_tempfile *file)
{
    if (file->shown != NULL && file->path != NULL) {
        (void)unlink(file->path);
    }
    engram_tempfile_leave(file);
}

/* Decides which file `path` means and whether it may be written. On success file->target may still
 * be relative. */
static enum engram_status check_target(struct engram_tempfile *file, const struct engram_log *log)
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
    file->mode = (int)(info.st_mode & 0777);
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

static bool make_name(struct engram_tempfile *file, const char *suffix)
{
    const char *base = strrchr(file->target, '/') + 1;
    const int folder = (int)(base - file->target);
    const size_t length = strlen(base);
    int made =
        length <= BASE_NAME_KEPT
            ? asprintf(&file->path, "%s%s", file->target, suffix)
            : asprintf(&file->path, "%.*s%.*s-%016llx%s", folder, file->target, BASE_NAME_KEPT,
                       base, (unsigned long long)engram_hash64(base, length, 0), suffix);
    file->path = made < 0 ? NULL : file->path;
    return made >= 0;
}

/* Decides on all names. */
static enum engram_status find_place(const char *path, const char *suffix, bool replace,
                                     const struct engram_log *log, struct engram_tempfile *file)
{
    *file = (struct engram_tempfile){.replace = replace, .mode = -1, .fd = -1, .folder_fd = -1};
    file->shown = strdup(path);
    if (file->shown == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    enum engram_status status = check_target(file, log);
    if (status == ENGRAM_OK) {
        status = resolve_folder(file, log);
    }
    if (status == ENGRAM_OK && !make_name(file, suffix)) {
        status = engram_fail(log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    if (status == ENGRAM_OK) {
        /* A folder without read permission can still be written, only not be synced. */
        file->folder_fd = open(file->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    return status;
}

/* Locks of this kind end with the descriptor, and HDF5's own, which are of another kind, do not
 * meet them. A file system without locks is no obstacle. */
static enum lock lock_file(int fd)
{
#ifdef F_OFD_SETLK
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &whole) != 0 && (errno == EAGAIN || errno == EACCES)) {
        return LOCK_TAKEN;
    }
#else
    (void)fd;
#endif
    return LOCK_OURS;
}

/* Whether the open file still has its name. */
static bool still_named(const struct engram_tempfile *file)
{
    struct stat opened;
    struct stat named;
    return fstat(file->fd, &opened) == 0 && lstat(file->path, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

static void close_file(struct engram_tempfile *file)
{
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    file->fd = -1;
}

/* Opens and locks what is there under the temporary name; file->fd stays -1, with OK, when nothing
 * is. */
static enum engram_status open_left_behind(struct engram_tempfile *file,
                                           const struct engram_log *log)
{
    struct stat info;
    file->fd = open(file->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file->fd < 0 && errno == ENOENT) {
        return ENGRAM_OK;
    }
    if (file->fd < 0 || fstat(file->fd, &info) != 0 || !S_ISREG(info.st_mode) ||
        engram_file_is_planted(&info, file->path)) {
        enum engram_status status = engram_status_of_errno(errno);
        close_file(file);
        return engram_fail(log, status == ENGRAM_ERR_PERMISSION ? status : ENGRAM_ERR_CANT_CREATE,
                           "%s: is in the way; remove it, or name another OUTPUT", file->path);
    }
    if (lock_file(file->fd) == LOCK_TAKEN) {
        close_file(file);
        return engram_fail(log, ENGRAM_ERR_CANT_CREATE,
                           "%s: another process is at work on this OUTPUT; wait for it, or name "
                           "another OUTPUT",
                           file->path);
    }
    if (!still_named(file)) {
        close_file(file);
    }
    return ENGRAM_OK;
}

static enum engram_status remove_left_behind(struct engram_tempfile *file,
                                             const struct engram_log *log)
{
    enum engram_status status = open_left_behind(file, log);
    if (status == ENGRAM_OK && file->fd >= 0 && unlink(file->path) != 0) {
        status = engram_fail(log, create_status(errno), "%s: cannot be removed: %s", file->path,
                             strerror(errno));
    }
    close_file(file);
    return status;
}

static enum engram_status open_temporary(struct engram_tempfile *file, const struct engram_log *log)
{
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        file->fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                        file->mode >= 0 ? 0600 : 0666);
        if (file->fd >= 0 && lock_file(file->fd) == LOCK_OURS && still_named(file)) {
            engram_leftover_add(file->path);
            return ENGRAM_OK;
        }
        if (file->fd >= 0) {
            close_file(file);
        } else if (errno != EEXIST) {
            return engram_fail(log, create_status(errno),
                               "%s: cannot create a file in folder %s: %s", file->shown,
                               file->folder, strerror(errno));
        } else {
            enum engram_status status = remove_left_behind(file, log);
            if (status != ENGRAM_OK) {
                return status;
            }
        }
    }
    return engram_fail(log, ENGRAM_ERR_CANT_CREATE, "%s: comes and goes", file->path);
}

enum engram_status engram_tempfile_create(const char *path, const char *suffix, bool replace,
                                          const struct engram_log *log,
                                          struct engram_tempfile *file)
{
    enum engram_status status = find_place(path, suffix, replace, log, file);
    if (status == ENGRAM_OK) {
        status = open_temporary(file, log);
    }
    if (status != ENGRAM_OK) {
        engram_tempfile_leave(file); /* what has its name is not ours */
    }
    return status;
}

enum engram_status engram_tempfile_continue(const char *path, const char *suffix, bool replace,
                                            const struct engram_log *log,
                                            struct engram_tempfile *file)
{
    enum engram_status status = find_place(path, suffix, replace, log, file);
    if (status == ENGRAM_OK) {
        status = open_left_behind(file, log);
    }
    if (status != ENGRAM_OK || file->fd < 0) {
        engram_tempfile_leave(file);
    }
    return status;
}

enum engram_status engram_tempfile_probe(const char *path, bool replace,
                                         const struct engram_log *log, char **folder)
{
    struct engram_tempfile file;
    enum engram_status status = find_place(path, ENGRAM_TEMPFILE_SUFFIX, replace, log, &file);
    if (status == ENGRAM_OK) {
        file.fd = engram_spoolfile_open(file.folder);
        if (file.fd < 0) {
            status =
                engram_fail(log, create_status(errno), "%s: cannot create a file in folder %s: %s",
                            path, file.folder, strerror(errno));
        }
    }
    if (status == ENGRAM_OK) {
        *folder = file.folder;
        file.folder = NULL;
    }
    engram_tempfile_leave(&file);
    return status;
}

void engram_tempfile_sweep(const char *path, const char *suffix)
{
    struct engram_tempfile file;
    if (find_place(path, suffix, true, NULL, &file) == ENGRAM_OK) {
        (void)remove_left_behind(&file, NULL);
    }
    engram_tempfile_leave(&file);
}

static int sync_folder(const struct engram_tempfile *file)
{
    bool failed = file->folder_fd >= 0 && fsync(file->folder_fd) != 0 && errno != EINVAL &&
                  errno != ENOTSUP && errno != EBADF;
    return failed ? errno : 0;
}

enum engram_status engram_tempfile_settle(struct engram_tempfile *file,
                                          const struct engram_log *log)
{
    if (fsync(file->fd) != 0) {
        return engram_write_failure(file->shown, errno, log);
    }
    int error = sync_folder(file);
    return error == 0 ? ENGRAM_OK : engram_write_failure(file->shown, error, log);
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

/* The file is whole: to disk with it, and give it the permissions of the one it replaces. */
static enum engram_status finish_file(struct engram_tempfile *file, const struct engram_log *log)
{
    if (file->mode >= 0 && fchmod(file->fd, (mode_t)file->mode) != 0 && errno != EPERM &&
        errno != ENOTSUP) {
        return engram_fail(log, ENGRAM_ERR_IO, "%s: cannot set permissions: %s", file->shown,
                           strerror(errno));
    }
    if (!still_named(file)) {
        return engram_fail(log, ENGRAM_ERR_CANT_CREATE, "%s: another program moved %s away",
                           file->shown, file->path);
    }
    int failed = fsync(file->fd);
    int error = errno;
    int fd = file->fd;
    file->fd = -1;
    if (close(fd) != 0 && errno != EINTR && failed == 0) {
        failed = -1; /* some network file systems report a full disk only here */
        error = errno;
    }
    return failed == 0 ? ENGRAM_OK : engram_write_failure(file->shown, error, log);
}

enum engram_status engram_tempfile_publish(struct engram_tempfile *file,
                                           const struct engram_log *log)
{
    enum engram_status status = finish_file(file, log);
    if (status != ENGRAM_OK) {
        return status;
    }
    if ((file->replace ? rename(file->path, file->target)
                       : rename_without_replacing(file->path, file->target)) != 0) {
        if (errno == EEXIST) {
            return engram_fail(log, ENGRAM_ERR_CANT_CREATE,
                               "%s: appeared while the result was computed and was left alone; "
                               "name another file, or use --force to replace it",
                               file->shown);
        }
        return engram_errno_is_full(errno)
                   ? engram_write_failure(file->shown, errno, log)
                   : engram_fail(log, create_status(errno), "%s: cannot create: %s", file->shown,
                                 strerror(errno));
    }
    engram_leftover_published(file->target);
    int error = sync_folder(file);
    if (error != 0) {
        /* The file is complete under its name; only a crash of the machine could take it back. */
        engram_logf(log, ENGRAM_LOG_WARNING, "%s: written, but its folder cannot be synced: %s",
                    file->shown, strerror(error));
    }
    forget(file);
    return ENGRAM_OK;
}
