/* Walks over the links of a file. For src/io/layout.c. */
#ifndef ENGRAM_IO_SCAN_H
#define ENGRAM_IO_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "io/layout.h"

/* Appends to `layout` the datasets with the paths `names` as far as they exist and, when `all`,
 * every other dataset of the file and the root attribute `distance`. The caller sorts. After an
 * error `layout` is consistent and may hold a part. */
enum engram_status engram_scan(const char *path, const char *const *names, size_t name_count,
                               bool all, const struct engram_log *log,
                               struct engram_layout *layout);

/* Whether `name` leads to a group of the file, by links inside it. */
enum engram_status engram_scan_is_group(const char *path, const char *name,
                                        const struct engram_log *log, bool *is_group);

#endif
