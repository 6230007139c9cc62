/* The file job: embedding sets in HDF5 in, neighbours out.
 *
 * Functions here may be called by one thread at a time per process unless the HDF5 library was
 * built thread-safe. HDF5 itself is only ever called by the calling thread. */
#ifndef ENGRAM_JOB_H
#define ENGRAM_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/search.h"
#include "engram/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum engram_job_stage { ENGRAM_STAGE_READ = 0, ENGRAM_STAGE_SEARCH = 1, ENGRAM_STAGE_WRITE = 2 };

/* Called about ten times a second by the calling thread; `done` and `total` are rows while
 * reading and writing, pairs while searching. */
typedef void (*engram_job_progress_fn)(void *context, enum engram_job_stage stage, uint64_t done,
                                       uint64_t total);

/* What a job answers; a result holds one kind. */
enum engram_answer {
    ENGRAM_ANSWER_KNN = 0,       /* k nearest: /neighbors, /distances, /counts */
    ENGRAM_ANSWER_PAIRS = 1,     /* within a threshold: /pairs (CSR) */
    ENGRAM_ANSWER_DENSE = 2,     /* every pair: /distances (queries, base) */
    ENGRAM_ANSWER_PAIRWISE = 3,  /* row i against row i: /distances (queries) */
    ENGRAM_ANSWER_LABELS = 4,    /* label of the nearest labelled row: /labels, /label_distances */
    ENGRAM_ANSWER_COMPONENTS = 5 /* groups of a threshold self-join: /component, /keep */
};

/* One job. Strings are borrowed for the duration of the call. Start from ENGRAM_JOB_OPTIONS_INIT.
 * A SET names a dataset in INPUT, another file (its layout decides), or "FILE.h5::PATH". */
struct engram_job_options {
    size_t size;              /* sizeof(struct engram_job_options) */
    const char *input;        /* path of the input file; only ever opened for reading */
    const char *output;       /* path of the result */
    const char *const *bases; /* SETs that make up the base, in this order, each perhaps
                                 "@LIST.txt"; NULL: the layout decides */
    size_t base_count;
    const char *queries;  /* SET, or NULL */
    const char *ids;      /* dataset of row ids in the file of the set, or NULL: recognised */
    const char *leaf;     /* name of the dataset in each item's group, or NULL: recognised */
    const char *dtype;    /* element type of raw bits ("bfloat16"), or NULL: as stored */
    bool allow_external;  /* follow external files and virtual sources outside the file */
    bool self;            /* queries = base; a row never matches itself */
    int64_t base_rows[2]; /* half-open row range; {0, -1}: all rows */
    int64_t query_rows[2];
    bool metric_given; /* else the file decides (attribute `distance`), else cosine */
    enum engram_metric metric;
    int64_t k; /* 0: not given (10 for a k-NN job, no limit with a threshold) */
    bool max_distance_given;
    double max_distance;
    bool min_similarity_given;
    double min_similarity;
    bool all;           /* the dense matrix */
    bool pairwise;      /* row i against row i */
    bool components;    /* duplicate groups */
    const char *labels; /* TSV file "id<TAB>label", or a dataset; or NULL */
    /* Each a dataset of the base's file, or "FILE.h5::PATH"; or NULL. Base rows that may be
     * answers: bools or 0 and 1 for all rows of the base's dataset, or row numbers. */
    const char *subset;
    /* Group labels of all rows (strings, integers, a categorical column): no match within a group.
     * For the queries in the queries' file, when that is another set; or "BASE_PATH,QUERIES_PATH".
     */
    const char *exclude_same;
    bool similarity;    /* write similarities instead of distances */
    bool float64;       /* write float64 instead of float32 */
    int64_t max_pairs;  /* more pairs are an error; 0: no limit */
    const char *tmpdir; /* where spools go; NULL: OUTPUT's folder */
    int compress;       /* deflate level of the results, 0 .. 9 */
    /* Shard `shard` of `shards`, from 1: answers its share of the queries alone. OUTPUT is a part
     * then, which engram_job_merge joins with the others. {0, 0}: the whole job. */
    int64_t shard;
    int64_t shards;
    uint64_t memory; /* bytes that the process may take; 0: 80 % of what the machine, the cgroup,
                        Slurm and limits allow */
    int threads;     /* 0: OMP_NUM_THREADS, else what the machine allows */
    const char *isa; /* NULL: ENGRAM_ISA, else the best there is */
    enum engram_filter filter;
    bool force;        /* replace an existing OUTPUT */
    bool from_scratch; /* drop a checkpoint that an earlier run left */
    bool checkpoint_seconds_given;
    double checkpoint_seconds;       /* between saves; 0: after every unit, and units are as small
                                        as can be (for tests). Default: 10 seconds or more, so that
                                        saving takes less than 2 % of the time */
    const int *cancel;               /* as in engram_search_options */
    engram_job_progress_fn progress; /* or NULL */
    void *progress_context;
    struct engram_log log;
};

#define ENGRAM_JOB_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(struct engram_job_options), .base_rows = {0, -1}, .query_rows = { 0, -1 }   \
    }

enum engram_job_outcome {
    ENGRAM_JOB_WRITTEN = 0,
    ENGRAM_JOB_UP_TO_DATE = 1 /* OUTPUT is this job's finished result already */
};

/* What a job was and did. Text fields are always terminated. */
struct engram_job_report {
    enum engram_job_outcome outcome;
    enum engram_metric metric;
    char metric_reason[128]; /* "attribute `distance` is \"angular\"", "default", ... */
    bool self;
    int64_t k; /* INT64_MAX: no limit */
    enum engram_answer answer;
    int64_t base_count;       /* rows searched (after row ranges) */
    int64_t allowed_rows;     /* of them, how many --subset and --labels allow as answers */
    char allowed_reason[192]; /* for people: why fewer, and what else is said of rows; "" */
    int64_t query_count;
    int64_t dim;
    enum engram_dtype base_dtype; /* as searched: float32 or float64 */
    uint64_t answers;             /* neighbours or pairs written */
    int64_t kept_rows;            /* groups: rows that stand for one, ... */
    int64_t groups;               /* ... groups of two rows or more, ... */
    int64_t largest_group;        /* ... rows of the largest */
    int ranks;                    /* processes that took part */
    uint64_t ranks_peak_bytes;    /* the most memory that another process took; 0: none */
    uint64_t rows_read;           /* by this process, base and queries, again counted again */
    bool continued;               /* an earlier run's checkpoint was there */
    bool saved;                   /* ended early, and its work is in OUTPUT.checkpoint */
    uint64_t pairs_before;        /* pairs that earlier runs looked at */
    uint64_t saves;               /* how often work was saved, .. */
    double save_seconds;          /* .. and what that took */
    double read_seconds;
    double search_seconds; /* packing included */
    double write_seconds;
    struct engram_search_stats search;
};

/* Runs the job. OUTPUT appears complete or not at all: it is written under a temporary name in the
 * same folder, synced and renamed. `report` may be NULL.
 * Errors: USAGE; NO_INPUT, PERMISSION, DATA, PLUGIN, IO about the input; CANT_CREATE (OUTPUT
 * exists and is not this job's finished result, or its folder cannot be written); IO (write
 * failed, disk full); RESOURCE; CANCELLED. On every error there is no new OUTPUT and no leftover.
 */
ENGRAM_API ENGRAM_MUST_CHECK enum engram_status engram_job_run(
    const struct engram_job_options *options, struct engram_job_report *report);

/* Joins the parts of a sharded job. Start from ENGRAM_MERGE_OPTIONS_INIT. */
struct engram_merge_options {
    size_t size;              /* sizeof(struct engram_merge_options) */
    const char *const *parts; /* paths, in any order */
    size_t part_count;
    const char *output;
    bool force;        /* replace an existing OUTPUT */
    int64_t max_pairs; /* more pairs are an error; 0: the least that a part was made with */
    int threads;       /* 0: as for a job; they compress */
    uint64_t memory;   /* bytes that the process may take; 0: as for a job */
    const int *cancel;
    engram_job_progress_fn progress; /* or NULL; all is ENGRAM_STAGE_WRITE */
    void *progress_context;
    struct engram_log log;
};

#define ENGRAM_MERGE_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct engram_merge_options)                                                \
    }

struct engram_merge_report {
    enum engram_job_outcome outcome;
    enum engram_answer answer;
    enum engram_metric metric;
    int64_t query_count; /* of the whole job */
    int64_t base_count;
    int64_t pairs; /* a result of pairs: how many */
};

/* Writes the result that the job has without shards, byte for byte, from its parts alone, a block
 * at a time. `report` may be NULL. Errors: USAGE (a shard is there twice; OUTPUT is a part); DATA
 * (not a part, damaged, parts of different jobs or inputs, too many pairs); NO_INPUT (a shard is
 * missing, or a file); CANT_CREATE, PERMISSION, IO, RESOURCE, CANCELLED as for a job. */
ENGRAM_API ENGRAM_MUST_CHECK enum engram_status engram_job_merge(
    const struct engram_merge_options *options, struct engram_merge_report *report);

/* What a verification found. A *swap* is an answer that differs from the scan but whose distance
 * agrees with the scan's at the same rank within the rounding bound; it counts as agreement. */
struct engram_verify_report {
    int64_t queries_checked;
    int64_t queries_total;
    int64_t answers_checked;
    int64_t swaps;
    int64_t errors; /* answers that are wrong or missing */
    int64_t first_error_query;
    double largest_difference; /* of a distance from the scan's, relative to its scale */
    bool has_truth;            /* the input file holds neighbours of its own */
    double recall_by_index;    /* of our result against that truth, 0 .. 1 */
    double recall_by_distance;
    bool truth_has_distances; /* else recall by distance is recall by row */
    /* Answers that are not among the truth's neighbours, by their distance against the truth's
     * last, 1e-3 relative: the same (ties), nearer (the truth misses them), farther. */
    int64_t truth_ties;
    int64_t truth_nearer;
    int64_t truth_farther;
    bool truth_other_metric; /* most rows that both have are at other distances there */
};

/* Checks the result `options->output` against an independent float64 scan of `options->input`;
 * the job's semantic options are taken from the result; base and queries must be given when they
 * were given to the job and name another file. `sample`: number of queries checked, spread
 * evenly; 0: all. Returns ENGRAM_DIFFERENT when errors were found; else as engram_job_run. */
ENGRAM_API ENGRAM_MUST_CHECK enum engram_status engram_job_verify(
    const struct engram_job_options *options, int64_t sample, struct engram_verify_report *report);

#ifdef __cplusplus
}
#endif

#endif
