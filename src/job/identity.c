#include "job/identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/hash.h"
#include "base/log.h"
#include "search/rows.h"

/* Any two different numbers: two 64-bit hashes make a digest of 128 bits. */
#define SEED_HIGH 1
#define SEED_LOW 2

enum engram_status engram_content_create(int64_t first, int64_t last, const struct engram_log *log,
                                         struct engram_content_hashes *content)
{
    int64_t count = (last - first + ENGRAM_ROW_GRAIN - 1) / ENGRAM_ROW_GRAIN;
    *content = (struct engram_content_hashes){.count = count, .first = first, .rows = last - first};
    content->grains = calloc((size_t)count + 1, sizeof *content->grains);
    content->marks = calloc((size_t)count + 1, sizeof *content->marks);
    if (content->grains == NULL || content->marks == NULL) {
        engram_content_free(content);
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for content hashes");
    }
    return ENGRAM_OK;
}

void engram_content_free(struct engram_content_hashes *content)
{
    free(content->grains);
    free(content->marks);
    *content = (struct engram_content_hashes){0};
}

/* Hash of rows [first, last) of a slab; rows may lie apart, so their hashes are chained. */
static uint64_t grain_hash(const struct engram_set *slab, int64_t first, int64_t last)
{
    size_t row_bytes = engram_row_bytes(slab->dtype, slab->dim);
    const unsigned char *data = (const unsigned char *)slab->data + (size_t)first * slab->stride;
    uint64_t hash = 0;
    if (slab->stride == row_bytes) {
        return engram_hash64(data, (size_t)(last - first) * row_bytes, 0);
    }
    for (int64_t r = first; r < last; r++, data += slab->stride) {
        hash = engram_hash64(data, row_bytes, hash);
    }
    return hash;
}

/* Rows [first, last) of a slab that are not finite; as a rule there are none. */
static int64_t count_skipped(const struct engram_set *slab, int64_t first, int64_t last)
{
    const size_t dim = (size_t)slab->dim;
    int64_t skipped = 0;
    if (slab->stride == engram_row_bytes(slab->dtype, slab->dim) &&
        engram_row_finite(slab->dtype, engram_set_row(slab, first), (size_t)(last - first) * dim)) {
        return 0;
    }
    for (int64_t r = first; r < last; r++) {
        skipped += !engram_row_finite(slab->dtype, engram_set_row(slab, r), dim);
    }
    return skipped;
}

/* Rows that are not finite are looked for here, and not where they are prepared, as every grain is
 * read in every run, by some rank, and counts once. */
static struct engram_grain_sum sum_grain(const struct engram_set *slab, int64_t grain)
{
    int64_t first = grain * ENGRAM_ROW_GRAIN;
    int64_t last = first + ENGRAM_ROW_GRAIN < slab->rows ? first + ENGRAM_ROW_GRAIN : slab->rows;
    return (struct engram_grain_sum){grain_hash(slab, first, last),
                                     count_skipped(slab, first, last)};
}

void engram_content_sum(const struct engram_set *slab, int threads, struct engram_grain_sum *sums)
{
    const int64_t grains = engram_slab_grains(slab);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t g = 0; g < grains; g++) {
        sums[g] = sum_grain(slab, g);
    }
}

/* A grain that was seen now, or (false) is known to be another. */
static bool meet(struct engram_content_hashes *content, int64_t grain, uint64_t hash)
{
    unsigned char *marks = &content->marks[grain];
    if ((*marks & ENGRAM_GRAIN_HASHED) != 0 && content->grains[grain] != hash) {
        return false;
    }
    content->grains[grain] = hash;
    *marks |= ENGRAM_GRAIN_HASHED | ENGRAM_GRAIN_SEEN;
    return true;
}

bool engram_content_note(struct engram_content_hashes *content, int64_t grain,
                         const struct engram_grain_sum *sum)
{
    bool seen = (content->marks[grain] & ENGRAM_GRAIN_SEEN) != 0;
    bool same = meet(content, grain, sum->hash);
    content->seen += same && !seen;
    content->skipped += same && !seen ? sum->skipped : 0;
    return same;
}

int64_t engram_content_add(struct engram_content_hashes *content, const struct engram_set *slab,
                           int64_t first_row, int threads)
{
    const int64_t start = (first_row - content->first) / ENGRAM_ROW_GRAIN;
    const int64_t grains = engram_slab_grains(slab);
    int64_t differs = INT64_MAX;
    int64_t seen = 0;
    int64_t skipped = 0;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(min : differs)            \
    reduction(+ : seen, skipped)
    for (int64_t g = 0; g < grains; g++) {
        bool again = (content->marks[start + g] & ENGRAM_GRAIN_SEEN) != 0;
        struct engram_grain_sum sum = sum_grain(slab, g);
        if (!meet(content, start + g, sum.hash)) {
            differs = start + g < differs ? start + g : differs;
        } else if (!again) {
            seen++;
            skipped += sum.skipped;
        }
    }
    content->seen += seen;
    content->skipped += skipped;
    return differs == INT64_MAX ? -1 : differs;
}

bool engram_content_unseen(const struct engram_content_hashes *content, int64_t first, int64_t last)
{
    bool unseen = false;
    for (int64_t row = first - content->first; !unseen && row < last - content->first;
         row += ENGRAM_ROW_GRAIN) {
        unseen = (content->marks[row / ENGRAM_ROW_GRAIN] & ENGRAM_GRAIN_SEEN) == 0;
    }
    return unseen;
}

void engram_content_add_ids(struct engram_content_hashes *content, const struct engram_ids *ids)
{
    content->ids =
        engram_hash64(ids->text, (size_t)ids->count * ids->width, (uint64_t)ids->width + 1);
}

static uint64_t content_hash(const struct engram_content_hashes *content, uint64_t seed)
{
    uint64_t hash = seed ^ content->ids;
    for (int64_t g = 0; g < content->count; g++) {
        unsigned char word[16];
        engram_store64le(word, hash);
        engram_store64le(word + 8, content->grains[g]);
        hash = engram_hash64(word, sizeof word, seed);
    }
    return hash;
}

/* One side of the identity as text. */
static int describe_set(char *text, size_t size, const struct engram_set_ref *set,
                        const int64_t range[2])
{
    return snprintf(text, size,
                    "%s %" PRId64 " x %" PRId64 " rows %" PRId64 ":%" PRId64 " ids %d\n",
                    engram_dtype_name(set->dataset->dtype), set->dataset->dims[0],
                    set->dataset->dims[1], range[0], range[1], set->ids != NULL);
}

void engram_identity_text(const struct engram_inputs *inputs, int compress,
                          char text[ENGRAM_IDENTITY_TEXT])
{
    char sets[2][256];
    (void)describe_set(sets[0], sizeof sets[0], &inputs->base, inputs->job_base);
    (void)describe_set(sets[1], sizeof sets[1], &inputs->queries, inputs->job_queries);
    /* %a: every bit of a limit counts. */
    (void)snprintf(
        text, ENGRAM_IDENTITY_TEXT,
        "engram 1\nbase %squeries %sself %d\nmetric %s\nk %" PRId64
        "\nanswer %d similarity %d float64 %d\nmax_distance %a\nmin_similarity %a\ncompress %d\n",
        sets[0], sets[1], inputs->self, engram_metric_name(inputs->metric), inputs->k,
        (int)inputs->answer, inputs->similarity, inputs->float64, inputs->max_distance,
        inputs->min_similarity, compress);
}

void engram_identity_of(const struct engram_identity *identity, char digest[ENGRAM_DIGEST_SIZE])
{
    const uint64_t seeds[2] = {SEED_HIGH, SEED_LOW};
    char shard[64] = "";
    char text[ENGRAM_IDENTITY_TEXT + sizeof shard];
    uint64_t hashes[2];

    if (identity->shard[1] > 0) {
        (void)snprintf(shard, sizeof shard, "shard %" PRId64 " of %" PRId64 "\n",
                       identity->shard[0], identity->shard[1]);
    }
    (void)snprintf(text, sizeof text, "%s%s", identity->text, shard);
    for (int i = 0; i < 2; i++) {
        unsigned char words[32];
        engram_store64le(words, engram_hash64(text, strlen(text), seeds[i]));
        engram_store64le(words + 8, content_hash(identity->base, seeds[i]));
        engram_store64le(words + 16, content_hash(identity->queries, seeds[i]));
        engram_store64le(words + 24, identity->row_data[i]);
        hashes[i] = engram_hash64(words, sizeof words, seeds[i]);
    }
    (void)snprintf(digest, ENGRAM_DIGEST_SIZE, "%016" PRIx64 "%016" PRIx64, hashes[0], hashes[1]);
}

void engram_identity_early(const struct engram_inputs *inputs, int compress,
                           const struct engram_content_hashes *base,
                           const struct engram_content_hashes *queries,
                           char text[ENGRAM_IDENTITY_EARLY])
{
    engram_identity_text(inputs, compress, text);
    size_t length = strlen(text);
    (void)snprintf(text + length, ENGRAM_IDENTITY_EARLY - length,
                   "shard %" PRId64 " of %" PRId64 "\nbase_ids %016" PRIx64 " query_ids %016" PRIx64
                   " rows %016" PRIx64 " %016" PRIx64 "\n",
                   inputs->shard[0], inputs->shard[1], base->ids, queries->ids,
                   inputs->row_data.hashes[0], inputs->row_data.hashes[1]);
}

void engram_identity_digest(const struct engram_inputs *inputs, int compress,
                            const struct engram_content_hashes *base,
                            const struct engram_content_hashes *queries,
                            char digest[ENGRAM_DIGEST_SIZE])
{
    char text[ENGRAM_IDENTITY_TEXT];
    struct engram_identity identity = {
        .text = text,
        .base = base,
        .queries = queries,
        .shard = {inputs->shard[0], inputs->shard[1]},
        .row_data = {inputs->row_data.hashes[0], inputs->row_data.hashes[1]},
    };
    engram_identity_text(inputs, compress, text);
    engram_identity_of(&identity, digest);
}
