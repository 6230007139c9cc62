/* A job's identity: shapes, element types, content and semantic options; never path, time,
 * threads, memory or filter. Two jobs of one identity have the same result. */
#ifndef ENGRAM_JOB_IDENTITY_H
#define ENGRAM_JOB_IDENTITY_H

#include "io/ids.h"
#include "job/inputs.h"

/* Content hashes of one set, one for every ENGRAM_ROW_GRAIN rows counted from the first row of
 * the range, whatever slabs the rows came in. */
struct engram_content_hashes {
    uint64_t *grains;
    int64_t count;
    int64_t first;  /* row of the dataset that the range starts with */
    int64_t hashed; /* rows so far */
    int64_t known;  /* rows whose hashes an earlier run of the job left */
    uint64_t ids;   /* of the ids; 0 without */
};

/* For rows [first, last); freed with engram_content_free. RESOURCE. */
enum engram_status engram_content_create(int64_t first, int64_t last, const struct engram_log *log,
                                         struct engram_content_hashes *content);
void engram_content_free(struct engram_content_hashes *content);

/* Hashes rows, which start at `first_row` of the dataset; slabs are whole grains but for the last,
 * and come in order. Rows that were hashed before must hash to the same again, else false. Runs on
 * `threads` threads. */
bool engram_content_add(struct engram_content_hashes *content, const struct engram_set *slab,
                        int64_t first_row, int threads);
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
