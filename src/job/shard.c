#include "job/shard.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "io/source.h"

void engram_shard_cut(int64_t first, int64_t last, int64_t number, int64_t count, int64_t share[2])
{
    int64_t rows = last - first;
    int64_t grains = rows / ENGRAM_ROW_GRAIN + (rows % ENGRAM_ROW_GRAIN != 0);
    for (int i = 0; i < 2; i++) {
        int64_t before = number - 1 + i; /* shards */
        /* before * grains / count, rounded up: the first shards have more. Without that product:
         * shards are few enough for the product of the remainders. */
        int64_t grain = before * (grains / count) + (before * (grains % count) + count - 1) / count;
        share[i] = grain < grains ? first + grain * ENGRAM_ROW_GRAIN : last;
    }
}

enum engram_status engram_shard_take(const struct engram_job_options *options,
                                     struct engram_inputs *inputs)
{
    struct engram_set_ref *base = &inputs->base;
    struct engram_set_ref *queries = &inputs->queries;
    int64_t share[2];

    if (options->shards == 0 && options->shard == 0) {
        return ENGRAM_OK;
    }
    if (options->shards < 1 || options->shards > ENGRAM_SHARDS_MAX || options->shard < 1 ||
        options->shard > options->shards) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "--shard %" PRId64 "/%" PRId64 ": is not a shard I/N with 1 <= I <= N",
                           options->shard, options->shards);
    }
    inputs->shard[0] = options->shard;
    inputs->shard[1] = options->shards;
    engram_shard_cut(queries->first, queries->last, options->shard, options->shards, share);
    if (inputs->answer == ENGRAM_ANSWER_PAIRWISE) { /* each query has one base row */
        base->last = base->first + (share[1] - queries->first);
        base->first += share[0] - queries->first;
    }
    queries->first = share[0];
    queries->last = share[1];
    return ENGRAM_OK;
}

bool engram_shard_path(const char *output, int64_t number, int64_t count, char *path, size_t size)
{
    const char *slash = strrchr(output, '/');
    const char *name = slash == NULL ? output : slash + 1;
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name) {
        dot = name + strlen(name);
    }
    int length = snprintf(path, size, "%.*s.shard-%" PRId64 "-of-%" PRId64 "%s",
                          (int)(dot - output), output, number, count, dot);
    return length >= 0 && (size_t)length < size;
}
