/* Files that have to go when the process ends before its time: unfinished results and the like. Who
 * makes such a file registers it; a program's signal handler removes them. */
#ifndef ENGRAM_BASE_LEFTOVER_H
#define ENGRAM_BASE_LEFTOVER_H

/* Registers a file by its absolute path, which stays the caller's and must not change until
 * engram_leftover_done with the same pointer. There is room for a few files only: beyond that one
 * is not registered, which only matters after a crash. Thread-safe. */
void engram_leftover_add(const char *path);
void engram_leftover_done(const char *path);

/* The file `path` has its final name now. A program that crashes later may have found its memory
 * overwritten before it wrote the file, so that is removed with the others. Copied; of the last one
 * only. */
void engram_leftover_published(const char *path);

/* Removes them all. Async-signal-safe: for handlers. */
void engram_leftover_remove(void);

#endif
