/* A job cut into shards by its queries: which share is whose, and what a part is called. */
#ifndef ENGRAM_JOB_SHARD_H
#define ENGRAM_JOB_SHARD_H

#include <stddef.h>
#include <stdint.h>

#include "job/inputs.h"

/* Shards of one job. */
#define ENGRAM_SHARDS_MAX ((int64_t)1000000)

/* Rows [share[0], share[1]) of queries [first, last) are those of shard `number`, 1 .. `count`. The
 * cut is at whole grains counted from the first row, the shares differ by a grain at most, and
 * those of more shards than grains are empty. */
void engram_shard_cut(int64_t first, int64_t last, int64_t number, int64_t count, int64_t share[2]);

/* Narrows inputs that are resolved to the share that the options name, if they name one. USAGE. */
enum engram_status engram_shard_take(const struct engram_job_options *options,
                                     struct engram_inputs *inputs);

/* "out.h5": "out.shard-2-of-7.h5"; a name without an extension gets none. False when `size` bytes
 * are too few. */
bool engram_shard_path(const char *output, int64_t number, int64_t count, char *path, size_t size);

#endif
