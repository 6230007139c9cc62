/* The mergeable state of a unit's answer.
 *
 * A unit is a query range x base range. Its partial holds, for every query of the range, the best
 * answers among the base rows of the range: score (float64) and global base row, in the total
 * order, at most `k` a query. Merging partials of the same queries is associative, commutative
 * and idempotent by row, so units may be computed in any cut and any order, twice, or elsewhere:
 * checkpoints, shards and messages are serialised partials. float32 appears at publication only. */
#ifndef ENGRAM_SEARCH_PARTIAL_H
#define ENGRAM_SEARCH_PARTIAL_H

#include <stddef.h>
#include <stdint.h>

#include "search/hits.h"

struct engram_partial {
    enum engram_metric metric;
    int64_t first_query; /* global row of the first query */
    int64_t queries;
    int64_t k;               /* INT64_MAX: no limit */
    int64_t *indptr;         /* queries + 1 entries: answers of query i are hits[indptr[i]].. */
    struct engram_hit *hits; /* tag: global base row */
};

/* A partial with room for `hit_count` answers and a zeroed indptr. RESOURCE when memory fails. */
enum engram_status engram_partial_create(enum engram_metric metric, int64_t first_query,
                                         int64_t queries, int64_t k, int64_t hit_count,
                                         const struct engram_log *log,
                                         struct engram_partial *partial);

/* A partial of `hits`, from malloc, which become its own, on failure too (RESOURCE; NULL is one);
 * a zeroed indptr. */
enum engram_status engram_partial_adopt(enum engram_metric metric, int64_t first_query,
                                        int64_t queries, int64_t k, struct engram_hit *hits,
                                        const struct engram_log *log,
                                        struct engram_partial *partial);

/* Zeroes `*partial`; one that is all zero is allowed. */
void engram_partial_free(struct engram_partial *partial);

/* `*into` becomes the merge of `*into` and `from`, which must agree in metric and k; answers to
 * queries that `into` does not have are left out. On failure (RESOURCE) `*into` is unchanged. */
enum engram_status engram_partial_merge(struct engram_partial *into,
                                        const struct engram_partial *from,
                                        const struct engram_log *log);

/* Bytes of the serialised form: a header, one count a query, the answers, a checksum; little
 * endian on every host. */
size_t engram_partial_serialized_size(const struct engram_partial *partial);

/* Writes exactly engram_partial_serialized_size bytes. */
void engram_partial_serialize(const struct engram_partial *partial, unsigned char *bytes);

/* DATA when `bytes` is no undamaged serialised partial (checksum, version, order, ranges). */
enum engram_status engram_partial_deserialize(const unsigned char *bytes, size_t size,
                                              const struct engram_log *log,
                                              struct engram_partial *partial);

#endif
