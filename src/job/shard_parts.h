/* The parts of a sharded job: opened, and found to belong together and to be complete. */
#ifndef ENGRAM_JOB_SHARD_PARTS_H
#define ENGRAM_JOB_SHARD_PARTS_H

#include "io/result.h"
#include "job/identity.h"

/* One part; its file is open only while it is read. */
struct engram_shard_part {
    const char *path;
    char digest[ENGRAM_DIGEST_SIZE];
    int64_t queries; /* rows of its own */
    int64_t pairs;
    size_t label_width;
    size_t id_width[2];
    int64_t hashes[ENGRAM_RESULT_HASHES]; /* engram_result_part.answers */
};

struct engram_shard_parts {
    struct engram_log log;
    struct engram_shard_part *parts; /* by shard number */
    int64_t count;
    struct engram_result_info info; /* of the first shard, .. */
    struct engram_result_part part; /* .. also what parts have; but of all parts: */
    int64_t pairs;
    int64_t max_pairs; /* the least; 0: no limit */
    size_t label_width;
    size_t id_width[2];
    struct engram_content_hashes base; /* of the whole job */
    struct engram_content_hashes queries;
    uint64_t row_data[2];
    char digest[ENGRAM_DIGEST_SIZE]; /* of the result without shards */
};

/* The inputs of a job, as far as its result tells of them; they point into `info` and `datasets`,
 * of base and queries. */
void engram_shard_parts_inputs(struct engram_result_info *info,
                               struct engram_dataset_info datasets[2],
                               struct engram_inputs *inputs);

/* Looks at all parts. To be freed in any case. USAGE (a shard twice); NO_INPUT (a shard is missing,
 * or a file); DATA (no part, damaged, parts of different jobs); PERMISSION, IO, RESOURCE. */
enum engram_status engram_shard_parts_look(const char *const *paths, size_t count,
                                           const struct engram_log *log,
                                           struct engram_shard_parts *parts);
void engram_shard_parts_free(struct engram_shard_parts *parts);

/* Opens part `index` again; DATA when it is not the one that was looked at. */
enum engram_status engram_shard_parts_open(const struct engram_shard_parts *parts, int64_t index,
                                           struct engram_result **result);

/* The rows of the whole result that part `index` has: the first, and how many. Of groups every part
 * has all rows. */
void engram_shard_parts_rows(const struct engram_shard_parts *parts, int64_t index, int64_t *first,
                             int64_t *count);

#endif
