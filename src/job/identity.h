/* A job's identity: shapes, element types, content and semantic options; never path, time,
 * threads, memory or filter. Two jobs of one identity have the same result. */
#ifndef ENGRAM_JOB_IDENTITY_H
#define ENGRAM_JOB_IDENTITY_H

#include "io/ids.h"
#include "io/source.h"
#include "job/inputs.h"

/* What is known of a grain. */
enum {
    ENGRAM_GRAIN_HASHED = 1, /* its hash: by this run or .. */
    ENGRAM_GRAIN_EARLY = 2,  /* .. an earlier one of the same job */
    ENGRAM_GRAIN_SEEN = 4,   /* this run, or another rank of it, read it */
    ENGRAM_GRAIN_SAVED = 8   /* the checkpoint has its hash */
};

/* Content hashes of one set, one for every ENGRAM_ROW_GRAIN rows counted from the first row of
 * the range, whatever slabs the rows came in, and in whatever order. */
struct engram_content_hashes {
    uint64_t *grains;
    unsigned char *marks; /* of each grain, as above */
    int64_t count;
    int64_t first;   /* row of the dataset that the range starts with */
    int64_t rows;    /* of the range */
    int64_t seen;    /* grains; all of them: the content is known */
    int64_t skipped; /* rows of those that are not finite */
    uint64_t ids;    /* of the ids; 0 without */
};

/* What a grain's rows hash to, and how many of them are not finite. */
struct engram_grain_sum {
    uint64_t hash;
    int64_t skipped;
};

/* For rows [first, last); freed with engram_content_free. RESOURCE. */
enum engram_status engram_content_create(int64_t first, int64_t last, const struct engram_log *log,
                                         struct engram_content_hashes *content);
void engram_content_free(struct engram_content_hashes *content);

/* Grains of a slab, which is whole grains but for the last. */
static inline int64_t engram_slab_grains(const struct engram_set *slab)
{
    return (slab->rows + ENGRAM_ROW_GRAIN - 1) / ENGRAM_ROW_GRAIN;
}

/* Sums of them, on `threads` threads. */
void engram_content_sum(const struct engram_set *slab, int threads, struct engram_grain_sum *sums);

/* Takes over what grain `grain` of the range was found to be; false: it is known to be another. */
bool engram_content_note(struct engram_content_hashes *content, int64_t grain,
                         const struct engram_grain_sum *sum);

/* Both for a slab that starts at `first_row` of the dataset. The first grain of the range that is
 * known to be another; -1: none. */
int64_t engram_content_add(struct engram_content_hashes *content, const struct engram_set *slab,
                           int64_t first_row, int threads);

/* Whether some rows of [first, last) of the dataset were not seen. */
bool engram_content_unseen(const struct engram_content_hashes *content, int64_t first,
                           int64_t last);
void engram_content_add_ids(struct engram_content_hashes *content, const struct engram_ids *ids);

/* The shapes and the semantic options of the whole job, also of a shard of it: lines of text. */
#define ENGRAM_IDENTITY_TEXT 1024
void engram_identity_text(const struct engram_inputs *inputs, int compress,
                          char text[ENGRAM_IDENTITY_TEXT]);

/* What is known of the identity before any row is read, as text: all but the content of the rows;
 * of `base` and `queries` only the ids count. */
#define ENGRAM_IDENTITY_EARLY (ENGRAM_IDENTITY_TEXT + 256)
void engram_identity_early(const struct engram_inputs *inputs, int compress,
                           const struct engram_content_hashes *base,
                           const struct engram_content_hashes *queries,
                           char text[ENGRAM_IDENTITY_EARLY]);

/* What an identity is made of. */
struct engram_identity {
    const char *text; /* engram_identity_text */
    const struct engram_content_hashes *base;
    const struct engram_content_hashes *queries; /* of a shard: its own */
    int64_t shard[2];                            /* {0, 0}: the whole job */
    uint64_t row_data[2];                        /* engram_row_data.hashes */
};

#define ENGRAM_DIGEST_SIZE 64

/* 32 hexadecimal digits. */
void engram_identity_of(const struct engram_identity *identity, char digest[ENGRAM_DIGEST_SIZE]);

/* The same, of a job. */
void engram_identity_digest(const struct engram_inputs *inputs, int compress,
                            const struct engram_content_hashes *base,
                            const struct engram_content_hashes *queries,
                            char digest[ENGRAM_DIGEST_SIZE]);

#endif
