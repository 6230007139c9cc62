/* Reads a result file that engram_output wrote (or one that claims to be). */
#ifndef ENGRAM_IO_RESULT_H
#define ENGRAM_IO_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/search.h"

enum engram_result_kind {
    ENGRAM_RESULT_KNN,
    ENGRAM_RESULT_PAIRS,
    ENGRAM_RESULT_DENSE,     /* /distances (queries, base rows searched) */
    ENGRAM_RESULT_PAIRWISE,  /* /distances (queries) */
    ENGRAM_RESULT_LABELS,    /* /labels, /label_distances, /label_rows */
    ENGRAM_RESULT_COMPONENTS /* /component, /keep: engram_result_components instead of rows */
};

/* The root attributes; the writer side is in job/publish.c. Optional numbers are NAN and optional
 * ranges {0, -1} when absent. */
struct engram_result_info {
    enum engram_result_kind kind;
    int64_t queries; /* rows of the result */
    int64_t k;       /* neighbours per row; INT64_MAX: no limit */
    enum engram_metric metric;
    double max_distance;
    double min_similarity;
    bool similarity; /* values are similarities, not distances */
    bool float64;    /* values are stored as float64, not float32 */
    bool self;
    char base_path[512]; /* dataset inside its file */
    char query_path[512];
    int64_t base_shape[2]; /* rows (whole dataset), dim */
    int64_t query_shape[2];
    int64_t base_rows[2]; /* half-open ranges that were searched */
    int64_t query_rows[2];
    /* Where row data (job/row_data.h) was found, inside its file, and its hash; "" without. */
    char subset_path[512];
    char groups_path[512];
    char query_groups_path[512];
    char labels_path[512];
    char row_data_hash[40];
    char digest[64];
    char format[16]; /* format version, "1.0" */
    bool has_query_ids;
    bool has_base_ids;
    int64_t shard[2]; /* the part of a shard: its number and how many there are; else {0, 0} */
    int64_t job_base_rows[2]; /* row ranges of the whole job; without a shard, those above */
    int64_t job_query_rows[2];
};

struct engram_result;

/* Errors: NO_INPUT, PERMISSION, DATA (not a result of ours, inconsistent shapes), IO. */
enum engram_status engram_result_open(const char *path, const struct engram_log *log,
                                      struct engram_result **result,
                                      struct engram_result_info *info);

/* The answers of query row `row` of the result: `*count` of them in `*rows` and `*values`
 * (distances or similarities, as the info says), owned by the result and valid until the next call.
 * Best first for k-NN and pairs; the row that gave the label; every base row searched, in order,
 * for a dense result, and the one base row of the pair for a pairwise one: there a value is NaN
 * where a row is not finite. Shapes, counts, indptr and row numbers are checked against the info:
 * DATA when they do not hold. */
enum engram_status engram_result_row(struct engram_result *result, int64_t row, int64_t *count,
                                     const int64_t **rows, const double **values);

/* One id of /query_ids or /base_ids, without reading all of them: `*length` bytes at `*text`, not
 * terminated, valid until the next call with the same `queries`. `row` counts from the first row of
 * that dataset: queries by row of the result, base ids by row of the base dataset. USAGE without a
 * log message when the result has no such ids or rows. */
enum engram_status engram_result_id(struct engram_result *result, bool queries, int64_t row,
                                    const char **text, size_t *length);

/* The label of query row `row`, as engram_result_id; "" when it has none. */
enum engram_status engram_result_label(struct engram_result *result, int64_t row, const char **text,
                                       size_t *length);

/* The groups of all rows at once, in arrays of info.queries entries for the caller to free:
 * component[i] is the row of the dataset that stands for row info.query_rows[0] + i, not above it.
 * DATA when it is no row searched; what `keep` says is not checked. */
enum engram_status engram_result_components(struct engram_result *result, int64_t **component,
                                            int8_t **keep);

/* Cheap look at an existing OUTPUT: its `digest` attribute, "" when there is none or the file is
 * not a finished result. Never fails loudly. */
void engram_result_digest(const char *path, char digest[64]);

#define ENGRAM_RESULT_HASHES 7

/* What the part of a shard holds beyond its answers; the writer is job/publish_part.c. */
struct engram_result_part {
    char job[1024];          /* the whole job's shapes and options, see job/identity.h */
    uint64_t ids_content[2]; /* hashes of the ids of base and queries; 0 without */
    int64_t compress;
    int64_t max_pairs;                     /* 0: no limit */
    int64_t grains[2];                     /* content hashes that there are of base and queries */
    int64_t pairs;                         /* a result of pairs: how many */
    size_t id_width[2];                    /* bytes of an id of base and queries; 0 without */
    size_t label_width;                    /* likewise of a label */
    int64_t answers[ENGRAM_RESULT_HASHES]; /* of datasets and attributes: job/publish_part.c */
};

/* DATA when the result is no part, or lacks something. */
enum engram_status engram_result_part(struct engram_result *result,
                                      struct engram_result_part *part);

/* All content hashes of the base or the queries, in an array of part.grains[queries] entries. */
enum engram_status engram_result_content(struct engram_result *result, bool queries,
                                         uint64_t *grains);

/* The datasets of a result, as they are stored. */
enum engram_result_set {
    ENGRAM_RESULT_ROWS,   /* int64: /neighbors, /pairs/indices, /label_rows, /component */
    ENGRAM_RESULT_VALUES, /* float or double, as info.float64 says */
    ENGRAM_RESULT_COUNTS, /* int32: of k-NN */
    ENGRAM_RESULT_INDPTR, /* int64: of pairs */
    ENGRAM_RESULT_LABEL_TEXTS,
    ENGRAM_RESULT_QUERY_IDS,
    ENGRAM_RESULT_BASE_IDS
};

/* Rows [first, first + count) of a dataset that the result has: entries as above, texts of `width`
 * bytes, padded with NULs. Counts, indptr and row numbers are checked as by engram_result_row. */
enum engram_status engram_result_read(struct engram_result *result, enum engram_result_set set,
                                      int64_t first, int64_t count, size_t width, void *data);

void engram_result_close(struct engram_result *result);

#endif
