/* A file that appears complete or not at all: written under a temporary name in the folder of its
 * final name, synced, renamed. Knows nothing of HDF5.
 *
 * The temporary name follows from the final one, so that what a killed process left behind is found
 * again: to be continued, or to be removed. A lock tells whether its process lives; on file systems
 * without locks that is up to the caller. */
#ifndef ENGRAM_IO_TEMPFILE_H
#define ENGRAM_IO_TEMPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "engram/status.h"
#include "io/fileio.h"

/* What is added to the final name. A file may be written in two steps, of which the first one has a
 * name of its own. */
#define ENGRAM_TEMPFILE_SUFFIX ".checkpoint.h5"
#define ENGRAM_TEMPFILE_CELLS_SUFFIX ".checkpoint.cells"

struct engram_tempfile {
    char *shown;  /* the final name as the user wrote it, for messages */
    char *target; /* the final name, absolute, symbolic links resolved */
    char *path;   /* the temporary name, absolute; NULL once renamed or removed */
    char *folder; /* of both, absolute */
    bool replace;
    int mode;      /* permissions of the file that is replaced; -1: none */
    int fd;        /* the temporary file, read and write, locked */
    int folder_fd; /* -1 when the folder may be written but not read: it is not synced then */
};

/* Creates the temporary file, exclusively, and removes one that a dead process left under its name.
 * Permissions are those that the umask gives, or, of a file that will replace another one, the
 * owner's alone until it does. A symbolic link is followed: the file it points to is the one that
 * is replaced. Refused, CANT_CREATE: a folder, a device, a dangling link, a missing folder, without
 * `replace` anything that exists, and when another process is writing the same file. Errors:
 * CANT_CREATE, PERMISSION, RESOURCE, IO; `*file` is then empty. */
enum engram_status engram_tempfile_create(const char *path, const char *suffix, bool replace,
                                          const struct engram_log *log,
                                          struct engram_tempfile *file);

/* Opens what an earlier process left instead; `*file` is empty, with OK, when there is nothing. */
enum engram_status engram_tempfile_continue(const char *path, const char *suffix, bool replace,
                                            const struct engram_log *log,
                                            struct engram_tempfile *file);

/* Whether engram_tempfile_create would succeed; leaves nothing behind. `*folder`, of the final name
 * and absolute, is the caller's. */
enum engram_status engram_tempfile_probe(const char *path, bool replace,
                                         const struct engram_log *log, char **folder);

/* Removes what a dead process left under the temporary name, if it can be removed. */
void engram_tempfile_sweep(const char *path, const char *suffix);

/* Syncs the file and the folder: the file survives a loss of power under its temporary name. */
enum engram_status engram_tempfile_settle(struct engram_tempfile *file,
                                          const struct engram_log *log);

/* Syncs the file, gives it its final name, syncs the folder and frees `*file`. Without `replace`
 * a file that appeared meanwhile is kept and CANT_CREATE returned. After an error the temporary
 * file is there as before, to be discarded or left. */
enum engram_status engram_tempfile_publish(struct engram_tempfile *file,
                                           const struct engram_log *log);

/* Frees `*file`; the temporary file stays for another process. */
void engram_tempfile_leave(struct engram_tempfile *file);

/* Removes the temporary file and frees `*file`; an empty or all-zero one is allowed. */
void engram_tempfile_discard(struct engram_tempfile *file);

#endif
