/* A file that appears complete or not at all: written under a temporary name in the folder of its
 * final name, synced, renamed. Knows nothing of HDF5. */
#ifndef ENGRAM_IO_TEMPFILE_H
#define ENGRAM_IO_TEMPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "engram/status.h"

struct engram_tempfile {
    char *shown;  /* the final name as the user wrote it, for messages */
    char *target; /* the final name, absolute, symbolic links resolved */
    char *path;   /* the temporary name, absolute; NULL once renamed or removed */
    char *folder; /* of both, absolute */
    bool replace;
    int fd;        /* the temporary file, read and write */
    int folder_fd; /* -1 when the folder may be written but not read: it is not synced then */
};

/* Creates "NAME.tmp-RANDOM" beside `path`, exclusively, with the permissions of the file it will
 * replace, else those the umask gives. A symbolic link is followed: the file it points to is the
 * one that is replaced. Refused, CANT_CREATE: a folder, a device, a dangling link, a missing
 * folder, and without `replace` anything that exists. Errors: CANT_CREATE, PERMISSION, RESOURCE,
 * IO; `*file` is then empty. */
enum engram_status engram_tempfile_create(const char *path, bool replace,
                                          const struct engram_log *log,
                                          struct engram_tempfile *file);

/* Syncs the file, gives it its final name, syncs the folder and frees `*file`. Without `replace`
 * a file that appeared meanwhile is kept and CANT_CREATE returned. On every error the temporary
 * file is gone. */
enum engram_status engram_tempfile_publish(struct engram_tempfile *file,
                                           const struct engram_log *log);

/* Removes the temporary file and frees `*file`; an empty or all-zero one is allowed. */
void engram_tempfile_discard(struct engram_tempfile *file);

/* The whole of `size` bytes at `offset`, whatever number of system calls it takes; false with
 * errno set. A read past the end is EIO. */
bool engram_write_at(int fd, const void *data, size_t size, off_t offset);
bool engram_read_at(int fd, void *data, size_t size, off_t offset);

/* Whether errno says that there is no room: disk full, quota, size limit. */
bool engram_errno_is_full(int error);

#endif
