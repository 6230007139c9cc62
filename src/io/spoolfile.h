/* Temporary data on disk: files without a name, which vanish with their descriptor, whatever ends
 * the process; and the room there is for them. */
#ifndef ENGRAM_IO_SPOOLFILE_H
#define ENGRAM_IO_SPOOLFILE_H

#include <stdint.h>
#include <sys/types.h>

/* A file without a name in `folder`, read and write; -1 with errno set. */
int engram_spoolfile_open(const char *folder);

/* Gives the room of a range back to the file system, where that is possible; what was in it is
 * lost. */
void engram_spoolfile_drop(int fd, off_t offset, off_t size);

/* Bytes that are free on the file system of `path`, UINT64_MAX when it does not say. Quotas are
 * not counted: only a write finds them. */
uint64_t engram_disk_free(const char *path);

#endif
