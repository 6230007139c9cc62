/* What the two rooms of merging share: shard_merge.c decides, shard_copy.c copies rows. */
#ifndef ENGRAM_JOB_SHARD_MERGE_H
#define ENGRAM_JOB_SHARD_MERGE_H

#include "base/hash.h"
#include "job/publish_internal.h"
#include "job/shard_parts.h"

struct engram_merging {
    const struct engram_merge_options *options;
    struct engram_merge_report *report;
    struct engram_shard_parts parts;
    struct engram_inputs inputs; /* what publication has to know of them */
    struct engram_dataset_info datasets[2];
    int threads;
    size_t block_bytes;
    void *block;
    struct engram_hash_chain chain; /* of the dataset of a part that is being read */
    uint64_t done;                  /* rows, for progress */
    uint64_t total;
};

/* The functions of struct engram_finished_rows; `context` is a struct engram_merging. */
enum engram_status engram_merging_write_ids(void *context, struct engram_output *output,
                                            int dataset, bool queries);
enum engram_status engram_merging_write(void *context, struct engram_publication *p);

/* Rows of all datasets, for progress. */
uint64_t engram_merging_rows(const struct engram_merging *m);

#endif
