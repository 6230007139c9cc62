#define _GNU_SOURCE
#include "search/partial.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"

enum engram_status engram_partial_adopt(enum engram_metric metric, int64_t first_query,
                                        int64_t queries, int64_t k, struct engram_hit *hits,
                                        const struct engram_log *log,
                                        struct engram_partial *partial)
{
    *partial = (struct engram_partial){
        .metric = metric, .first_query = first_query, .queries = queries, .k = k, .hits = hits};
    partial->indptr = hits == NULL ? NULL : calloc((size_t)queries + 1, sizeof *partial->indptr);
    if (partial->indptr == NULL) {
        engram_partial_free(partial);
        return engram_fail(log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the answers of %lld queries", (long long)queries);
    }
    return ENGRAM_OK;
}

enum engram_status engram_partial_create(enum engram_metric metric, int64_t first_query,
                                         int64_t queries, int64_t k, int64_t hit_count,
                                         const struct engram_log *log,
                                         struct engram_partial *partial)
{
    size_t bytes;
    struct engram_hit *hits = NULL;
    if (engram_size_mul((size_t)hit_count, sizeof *hits, &bytes)) {
        hits = engram_large_malloc(bytes);
    }
    return engram_partial_adopt(metric, first_query, queries, k, hits, log, partial);
}

void engram_partial_free(struct engram_partial *partial)
{
    free(partial->indptr);
    free(partial->hits);
    *partial = (struct engram_partial){0};
}

/* Merges two sorted lists of one query, dropping second copies of a row, up to `limit` answers. */
static int64_t merge_lists(const struct engram_hit *a, int64_t a_count, const struct engram_hit *b,
                           int64_t b_count, int64_t limit, struct engram_order order,
                           struct engram_hit *out)
{
    int64_t count = 0;
    while ((a_count > 0 || b_count > 0) && count < limit) {
        /* A row has one canonical score, so copies of it meet here as equals. */
        if (a_count > 0 && b_count > 0 && a->tag == b->tag) {
            b++;
            b_count--;
        } else if (b_count == 0 || (a_count > 0 && engram_hit_less(order, a, b))) {
            out[count++] = *a++;
            a_count--;
        } else {
            out[count++] = *b++;
            b_count--;
        }
    }
    return count;
}

/* The answers of queries [first, last) of `into` become those of `merged`, which has no others. */
static enum engram_status splice(struct engram_partial *into, int64_t first, int64_t last,
                                 const struct engram_partial *merged, const struct engram_log *log)
{
    const int64_t used = into->indptr[into->queries];
    const int64_t from = into->indptr[first];
    const int64_t to = into->indptr[last];
    const int64_t count = merged->indptr[last - first];
    const int64_t more = count - (to - from); /* a merge drops nothing, so never negative */
    if (more > 0) {
        struct engram_hit *hits = reallocarray(into->hits, (size_t)(used + more), sizeof *hits);
        if (hits == NULL) {
            return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for %lld answers",
                               (long long)(used + more));
        }
        into->hits = hits;
        memmove(hits + to + more, hits + to, (size_t)(used - to) * sizeof *hits);
    }
    memcpy(into->hits + from, merged->hits, (size_t)count * sizeof *into->hits);
    for (int64_t q = first; q < last; q++) {
        into->indptr[q + 1] = from + merged->indptr[q - first + 1];
    }
    for (int64_t q = last; more > 0 && q < into->queries; q++) {
        into->indptr[q + 1] += more;
    }
    return ENGRAM_OK;
}

enum engram_status engram_partial_merge(struct engram_partial *into,
                                        const struct engram_partial *from,
                                        const struct engram_log *log)
{
    struct engram_partial merged;
    const struct engram_order order = engram_metric_order(into->metric);
    const int64_t shift =
        into->first_query - from->first_query; /* of a query, to its number there */
    const int64_t first = shift < 0 ? -shift : 0;
    const int64_t last =
        from->queries - shift < into->queries ? from->queries - shift : into->queries;
    int64_t used = 0;

    if (into->metric != from->metric || into->k != from->k) {
        return engram_fail(log, ENGRAM_ERR_INTERNAL,
                           "partials of different questions cannot be merged");
    }
    if (first >= last || from->indptr[last + shift] == from->indptr[first + shift]) {
        return ENGRAM_OK;
    }
    enum engram_status status =
        engram_partial_create(into->metric, into->first_query + first, last - first, into->k,
                              into->indptr[last] - into->indptr[first] +
                                  from->indptr[last + shift] - from->indptr[first + shift],
                              log, &merged);
    if (status != ENGRAM_OK) {
        return status;
    }
    for (int64_t q = first; q < last; q++) {
        int64_t a = into->indptr[q];
        int64_t b = from->indptr[q + shift];
        used += merge_lists(into->hits + a, into->indptr[q + 1] - a, from->hits + b,
                            from->indptr[q + shift + 1] - b, into->k, order, merged.hits + used);
        merged.indptr[q - first + 1] = used;
    }
    if (last - first == into->queries) {
        struct engram_partial old = *into;
        *into = merged;
        merged = old;
    } else {
        status = splice(into, first, last, &merged, log);
    }
    engram_partial_free(&merged);
    return status;
}

/* Serialised form, all little endian:
 *   u64 magic, version, metric, first_query, queries, k; u64 counts[queries];
 *   {f64 score bits, i64 row} hits[]; u64 XXH64 of everything before. */
#define MAGIC 0x4c41495452415045U /* "EPARTIAL" */
#define VERSION 1U
#define HEADER_WORDS 6U

size_t engram_partial_serialized_size(const struct engram_partial *partial)
{
    return 8 * (HEADER_WORDS + (size_t)partial->queries +
                2 * (size_t)partial->indptr[partial->queries] + 1);
}

void engram_partial_serialize(const struct engram_partial *partial, unsigned char *bytes)
{
    const uint64_t header[HEADER_WORDS] = {MAGIC,
                                           VERSION,
                                           (uint64_t)partial->metric,
                                           (uint64_t)partial->first_query,
                                           (uint64_t)partial->queries,
                                           (uint64_t)partial->k};
    unsigned char *to = bytes;
    for (size_t i = 0; i < HEADER_WORDS; i++, to += 8) {
        engram_store64le(to, header[i]);
    }
    for (int64_t q = 0; q < partial->queries; q++, to += 8) {
        engram_store64le(to, (uint64_t)(partial->indptr[q + 1] - partial->indptr[q]));
    }
    for (int64_t i = 0; i < partial->indptr[partial->queries]; i++, to += 16) {
        uint64_t bits;
        memcpy(&bits, &partial->hits[i].score, sizeof bits);
        engram_store64le(to, bits);
        engram_store64le(to + 8, (uint64_t)partial->hits[i].tag);
    }
    engram_store64le(to, engram_hash64(bytes, (size_t)(to - bytes), 0));
}

/* Reads counts and answers; false when they contradict each other or are out of order. */
static bool read_body(const unsigned char *counts, const unsigned char *hits, int64_t hit_count,
                      struct engram_partial *partial)
{
    struct engram_order order = engram_metric_order(partial->metric);
    for (int64_t q = 0; q < partial->queries; q++) {
        uint64_t count = engram_load64le(counts + 8 * q);
        if (count > (uint64_t)(hit_count - partial->indptr[q]) || count > (uint64_t)partial->k) {
            return false;
        }
        partial->indptr[q + 1] = partial->indptr[q] + (int64_t)count;
        for (int64_t i = partial->indptr[q]; i < partial->indptr[q + 1]; i++) {
            uint64_t bits = engram_load64le(hits + 16 * i);
            struct engram_hit *hit = &partial->hits[i];
            memcpy(&hit->score, &bits, sizeof bits);
            hit->tag = (int64_t)engram_load64le(hits + 16 * i + 8);
            if (hit->tag < 0 || !isfinite(hit->score) ||
                (i > partial->indptr[q] && !engram_hit_less(order, hit - 1, hit))) {
                return false;
            }
        }
    }
    return partial->indptr[partial->queries] == hit_count;
}

enum engram_status engram_partial_deserialize(const unsigned char *bytes, size_t size,
                                              const struct engram_log *log,
                                              struct engram_partial *partial)
{
    const char *const damaged = "a serialised partial is damaged";
    uint64_t header[HEADER_WORDS];
    size_t words = size / 8;

    *partial = (struct engram_partial){0};
    if (size % 8 != 0 || words < HEADER_WORDS + 1 ||
        engram_load64le(bytes + size - 8) != engram_hash64(bytes, size - 8, 0)) {
        return engram_fail(log, ENGRAM_ERR_DATA, "%s: wrong size or checksum", damaged);
    }
    for (size_t i = 0; i < HEADER_WORDS; i++) {
        header[i] = engram_load64le(bytes + 8 * i);
    }
    words -= HEADER_WORDS + 1;
    if (header[0] != MAGIC || header[1] != VERSION || header[2] > ENGRAM_JACCARD ||
        header[3] > INT64_MAX || header[4] > words || header[5] == 0 || header[5] > INT64_MAX ||
        (words - header[4]) % 2 != 0) {
        return engram_fail(log, ENGRAM_ERR_DATA, "%s: unusable header", damaged);
    }
    int64_t hit_count = (int64_t)((words - header[4]) / 2);
    enum engram_status status =
        engram_partial_create((enum engram_metric)header[2], (int64_t)header[3], (int64_t)header[4],
                              (int64_t)header[5], hit_count, log, partial);
    if (status != ENGRAM_OK) {
        return status;
    }
    const unsigned char *counts = bytes + (size_t)8 * HEADER_WORDS;
    if (!read_body(counts, counts + 8 * header[4], hit_count, partial)) {
        engram_partial_free(partial);
        return engram_fail(log, ENGRAM_ERR_DATA, "%s: answers out of order", damaged);
    }
    return ENGRAM_OK;
}
