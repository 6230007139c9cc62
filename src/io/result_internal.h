/* What the parts of the result reader share: result.c opens, result_attr.c reads attributes,
 * result_rows.c rows and ids, result_part.c what parts of shards have. */
#ifndef ENGRAM_IO_RESULT_INTERNAL_H
#define ENGRAM_IO_RESULT_INTERNAL_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/result.h"

/* One of /query_ids and /base_ids. */
struct engram_result_strings {
    hid_t dataset; /* -1: none */
    hid_t type;
    int64_t count;
    size_t width;
    char *text; /* rows [first, first + held) */
    int64_t first;
    int64_t held;
};

struct engram_result {
    char *path;
    struct engram_log log;
    hid_t file;
    struct engram_result_info info;
    /* k-NN: /neighbors, /distances, /counts. Pairs: /pairs/indices, data, indptr. Dense and
     * pairwise: /distances alone. */
    hid_t rows_set;
    hid_t values_set;
    hid_t bounds_set;
    int64_t width; /* k-NN, dense: entries of a row; else 1 */
    int64_t pairs; /* entries in all, pairs only */
    /* Bounds of result rows [bounds_first, bounds_first + bounds_count): counts, or indptr with
     * one entry more. */
    int64_t *bounds;
    int64_t bounds_first;
    int64_t bounds_count;
    /* Rows of the datasets [first, first + count): whole rows of k-NN and dense results, or
     * pairs. Without rows_set one row of `rows`, which says what the dataset leaves out. */
    int64_t *rows;
    double *values;
    int64_t room; /* entries that fit into values, and into rows where there is a rows_set */
    int64_t first;
    int64_t count;
    struct engram_result_strings query_ids;
    struct engram_result_strings base_ids;
    struct engram_result_strings labels;
};

/* Attributes of the root group. `*found` tells whether there is one; when there is and it does not
 * fit, DATA. `found` NULL: DATA when there is none. */
enum engram_status engram_result_text(const struct engram_result *result, const char *name,
                                      char *text, size_t size, bool *found);
enum engram_status engram_result_integers(const struct engram_result *result, const char *name,
                                          int count, int64_t *values, bool *found);
enum engram_status engram_result_number(const struct engram_result *result, const char *name,
                                        double *value, bool *found);

/* DATA: `name` `what`; not a result of ours, or damaged. */
enum engram_status engram_result_bad(const struct engram_result *result, const char *name,
                                     const char *what);

/* Opens a dataset of ours: its class, rank and shape (-1: any, and told) have to fit, as does what
 * is stored. DATA. */
enum engram_status engram_result_open_set(const struct engram_result *result, const char *name,
                                          H5T_class_t class, int rank, int64_t dims[2],
                                          hid_t *dataset);

/* Reads rows [first, first + count) of a dataset whose rows have `width` entries (rank 2), or one
 * (`width` 0, rank 1). */
bool engram_result_slab(hid_t dataset, hid_t memory_type, int64_t first, int64_t count,
                        int64_t width, void *data);

/* What HDF5 says why it could not. */
enum engram_status engram_result_read_failure(const struct engram_result *result, const char *what);

/* DATA: what is wrong with a row. */
enum engram_status engram_result_bad_row(const struct engram_result *result, int64_t row,
                                         const char *what);

/* result_part.c: info.shard and the ranges of the whole job. */
enum engram_status engram_result_read_shard(struct engram_result *result);

#endif
