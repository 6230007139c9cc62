/* Reading and writing at offsets, and what is said when it fails. */
#ifndef ENGRAM_IO_FILEIO_H
#define ENGRAM_IO_FILEIO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "engram/status.h"

/* The whole of `size` bytes at `offset`, whatever number of system calls it takes; false with
 * errno set. A read past the end is EIO. */
bool engram_write_at(int fd, const void *data, size_t size, off_t offset);
bool engram_read_at(int fd, void *data, size_t size, off_t offset);

/* Whether errno says that there is no room: disk full, quota, size limit. */
bool engram_errno_is_full(int error);

/* Whether a file that was found at `path` may be a trap: in a folder such as /tmp, where everybody
 * makes files and removes only their own, it belongs neither to us nor to the folder's owner. */
bool engram_file_is_planted(const struct stat *info, const char *path);

/* Logs a failed write to a result, named as the user wrote it, with what to do: IO, or RESOURCE. */
enum engram_status engram_write_failure(const char *shown, int error, const struct engram_log *log);

#endif
