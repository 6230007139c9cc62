/* What a job's options mean for the files at hand: which datasets, which rows, which metric. */
#ifndef ENGRAM_JOB_INPUTS_H
#define ENGRAM_JOB_INPUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/job.h"
#include "io/layout.h"
#include "job/row_data.h"

/* One file that was looked into. */
struct engram_input_file {
    char *path;
    struct engram_layout layout;
};

/* One dataset, and the ids that belong to it. */
struct engram_set_part {
    const struct engram_input_file *file;
    const struct engram_dataset_info *dataset;
    const struct engram_dataset_info *ids; /* of all its rows; NULL without */
};

/* Rows [first, last) of a set. Points into the files of the struct engram_inputs it is part of. */
struct engram_set_ref {
    const struct engram_input_file *file;      /* of the first part */
    const struct engram_dataset_info *dataset; /* shape, and element type as it is searched */
    const struct engram_dataset_info *ids;     /* NULL unless all parts have ids */
    int64_t first, last;
    struct engram_set_part *parts; /* whose rows follow each other */
    size_t part_count;
    struct engram_source_part *sources; /* the same, for reading them */
    struct engram_dataset_info *whole;  /* what `dataset` is, unless it is the only part's */
};

struct engram_inputs {
    struct engram_input_file *files; /* files[0] is INPUT */
    int file_count;
    int file_room;
    struct engram_set_ref base;
    struct engram_set_ref queries; /* with self: the same parts, perhaps other rows */
    int64_t shard[2]; /* its number and how many there are; {0, 0}: the job is not cut */
    /* Row ranges of the whole job, of which a shard's sets are a share (job/shard.h). */
    int64_t job_base[2];
    int64_t job_queries[2];
    bool self;
    enum engram_metric metric;
    char metric_reason[128];
    int64_t k;                 /* INT64_MAX: no limit */
    enum engram_answer answer; /* with a threshold PAIRS, at most k a row */
    double max_distance;       /* +INFINITY: no limit */
    double min_similarity;     /* -INFINITY: no limit */
    bool similarity;           /* write similarities instead of distances */
    bool float64;              /* write float64 instead of float32 */
    struct engram_row_data row_data;
};

/* Reads the layouts and decides; `options->output` is not looked at. On failure files[] keeps what
 * was read, so that `inspect` can show the candidates beside the error, and nothing else counts. To
 * be freed in any case. Errors: USAGE, NO_INPUT, PERMISSION, DATA, RESOURCE, IO, INTERNAL. */
enum engram_status engram_inputs_resolve(const struct engram_job_options *options,
                                         struct engram_inputs *inputs);
void engram_inputs_free(struct engram_inputs *inputs);

/* Whether base and queries are the same rows. */
bool engram_inputs_shared(const struct engram_inputs *inputs);

/* Splits FILE::PATH at the last "::" whose left side is a file. `*file` is the caller's to free;
 * NULL when there is no such split. RESOURCE. */
enum engram_status engram_set_split(const char *set, const struct engram_log *log, char **file,
                                    const char **dataset);

/* Whether a dataset can be a set: two dimensions, numbers. */
bool engram_is_vectors(const struct engram_dataset_info *dataset);

/* One line for an error or a report: the datasets that could be chosen, with shape and type
 * (at most a handful), or what the file holds instead. Returns `text`. */
const char *engram_inputs_candidates(const struct engram_layout *layout, char *text, size_t size);

/* "200000 x 100 float32"; returns `text`. */
const char *engram_dataset_shape(const struct engram_dataset_info *dataset, char *text,
                                 size_t size);

#endif
