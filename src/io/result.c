#define _GNU_SOURCE

#include "io/result.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/reading.h"
#include "base/size.h"
#include "io/h5.h"
#include "io/objheader.h"
#include "io/result_internal.h"

#define FORMAT_MAJOR 1

/* Deflate never shrinks by more than this; HDF5's own zero filling knows no bound, but our files
 * hold every chunk. It keeps the memory we ask for in proportion to the file's real size. */
#define DEFLATE_LIMIT 1040

enum engram_status engram_result_bad(const struct engram_result *result, const char *name,
                                     const char *what)
{
    return engram_fail(&result->log, ENGRAM_ERR_DATA,
                       "%s: %s %s; not a result of engram-batch, or damaged", result->path, name,
                       what);
}

/* Whether `bytes` can really be in the dataset. */
static bool is_stored(hid_t dataset, size_t bytes)
{
    ENGRAM_H5_HANDLE hid_t creation = H5Dget_create_plist(dataset);
    hsize_t stored = H5Dget_storage_size(dataset);

    if (creation < 0) {
        return false;
    }
    if (H5Pget_layout(creation) != H5D_CHUNKED) {
        return stored >= bytes && H5Pget_external_count(creation) == 0;
    }
    return stored >= bytes / DEFLATE_LIMIT && (stored > 0 || bytes == 0);
}

enum engram_status engram_result_open_set(const struct engram_result *result, const char *name,
                                          H5T_class_t class, int rank, int64_t dims[2],
                                          hid_t *dataset)
{
    ENGRAM_H5_HANDLE hid_t access = engram_h5_link_access(H5P_DATASET_ACCESS);
    hsize_t found[2] = {0, 0};
    size_t bytes = 0;

    engram_reading_at(name);
    *dataset = access < 0 ? -1 : engram_h5_open_dataset(result->file, name, access);
    if (*dataset < 0) {
        return engram_result_bad(result, name, "is missing or cannot be opened");
    }
    ENGRAM_H5_HANDLE hid_t type = H5Dget_type(*dataset);
    ENGRAM_H5_HANDLE hid_t space = H5Dget_space(*dataset);
    if (type < 0 || H5Tget_class(type) != class ||
        (class == H5T_STRING && H5Tis_variable_str(type) != 0)) {
        return engram_result_bad(result, name, "has another element type");
    }
    if (space < 0 || H5Sget_simple_extent_type(space) != H5S_SIMPLE ||
        H5Sget_simple_extent_ndims(space) != rank ||
        H5Sget_simple_extent_dims(space, found, NULL) != rank) {
        return engram_result_bad(result, name, "has another number of dimensions");
    }
    bytes = H5Tget_size(type);
    for (int d = 0; d < rank; d++) {
        if (found[d] > INT64_MAX || (dims[d] >= 0 && (hsize_t)dims[d] != found[d])) {
            return engram_result_bad(result, name,
                                     "does not have the shape that the other parts tell");
        }
        dims[d] = (int64_t)found[d];
        if (!engram_size_mul(bytes, (size_t)found[d], &bytes)) {
            return engram_result_bad(result, name, "claims an impossible size");
        }
    }
    return is_stored(*dataset, bytes)
               ? ENGRAM_OK
               : engram_result_bad(result, name, "claims more data than the file holds");
}

/* 1, 0, or negative: whether the root group has a link of that name. */
static htri_t has_link(const struct engram_result *result, const char *name)
{
    return H5Lexists(result->file, name, H5P_DEFAULT);
}

static enum engram_status check_format(struct engram_result *result)
{
    struct engram_result_info *info = &result->info;
    bool found = false;
    char *end = NULL;
    long major;
    enum engram_status status =
        engram_result_text(result, "format_version", info->format, sizeof info->format, &found);

    if (status != ENGRAM_OK) {
        return status;
    }
    if (!found) {
        return engram_fail(&result->log, ENGRAM_ERR_DATA,
                           "%s: is not a result of engram-batch (no attribute `format_version`)",
                           result->path);
    }
    major = strtol(info->format, &end, 10);
    if (end == info->format || (*end != '.' && *end != '\0')) {
        return engram_result_bad(result, "attribute `format_version`", "is not a version");
    }
    if (major != FORMAT_MAJOR) {
        return engram_fail(&result->log, ENGRAM_ERR_DATA,
                           "%s: has result format %s; this version reads %d.x only", result->path,
                           info->format, FORMAT_MAJOR);
    }
    return ENGRAM_OK;
}

static enum engram_status read_metric(struct engram_result *result)
{
    char name[64];
    enum engram_status status = engram_result_text(result, "metric", name, sizeof name, NULL);

    if (status != ENGRAM_OK) {
        return status;
    }
    if (engram_metric_parse(name, &result->info.metric) != ENGRAM_OK) {
        return engram_result_bad(result, "attribute `metric`",
                                 "names a metric that is not known here");
    }
    return ENGRAM_OK;
}

/* Results of the first versions are distances and do not say so. */
static enum engram_status read_values(struct engram_result *result)
{
    char name[32];
    bool found = false;
    enum engram_status status = engram_result_text(result, "values", name, sizeof name, &found);

    result->info.similarity = found && strcmp(name, "similarity") == 0;
    if (status == ENGRAM_OK && found && !result->info.similarity && strcmp(name, "distance") != 0) {
        return engram_result_bad(result, "attribute `values`",
                                 "is neither distance nor similarity");
    }
    return status;
}

static enum engram_status read_attributes(struct engram_result *result)
{
    struct engram_result_info *info = &result->info;
    int64_t self = 0;
    bool found = false;
    enum engram_status status;

    info->k = INT64_MAX;
    info->max_distance = NAN;
    info->min_similarity = NAN;
    if ((status = check_format(result)) != ENGRAM_OK ||
        (status = read_metric(result)) != ENGRAM_OK ||
        (status = read_values(result)) != ENGRAM_OK ||
        (status = engram_result_integers(result, "k", 1, &info->k, &found)) != ENGRAM_OK ||
        (status = engram_result_number(result, "max_distance", &info->max_distance, &found)) !=
            ENGRAM_OK ||
        (status = engram_result_number(result, "min_similarity", &info->min_similarity, &found)) !=
            ENGRAM_OK ||
        (status = engram_result_integers(result, "self", 1, &self, NULL)) != ENGRAM_OK ||
        (status = engram_result_text(result, "base_dataset", info->base_path,
                                     sizeof info->base_path, NULL)) != ENGRAM_OK ||
        (status = engram_result_text(result, "query_dataset", info->query_path,
                                     sizeof info->query_path, NULL)) != ENGRAM_OK ||
        (status = engram_result_integers(result, "base_shape", 2, info->base_shape, NULL)) !=
            ENGRAM_OK ||
        (status = engram_result_integers(result, "query_shape", 2, info->query_shape, NULL)) !=
            ENGRAM_OK ||
        (status = engram_result_integers(result, "base_rows", 2, info->base_rows, NULL)) !=
            ENGRAM_OK ||
        (status = engram_result_integers(result, "query_rows", 2, info->query_rows, NULL)) !=
            ENGRAM_OK ||
        (status = engram_result_text(result, "digest", info->digest, sizeof info->digest,
                                     &found)) != ENGRAM_OK) {
        return status;
    }
    info->self = self != 0;
    return info->k > 0 ? ENGRAM_OK : engram_result_bad(result, "attribute `k`", "is not positive");
}

/* Attributes that results of jobs with row data have. */
static enum engram_status read_row_data(struct engram_result *result)
{
    struct engram_result_info *info = &result->info;
    bool found = false;
    enum engram_status status = engram_result_text(result, "subset_dataset", info->subset_path,
                                                   sizeof info->subset_path, &found);
    if (status == ENGRAM_OK) {
        status = engram_result_text(result, "exclude_same_dataset", info->groups_path,
                                    sizeof info->groups_path, &found);
    }
    if (status == ENGRAM_OK) {
        status = engram_result_text(result, "exclude_same_query_dataset", info->query_groups_path,
                                    sizeof info->query_groups_path, &found);
    }
    if (status == ENGRAM_OK) {
        status = engram_result_text(result, "labels_dataset", info->labels_path,
                                    sizeof info->labels_path, &found);
    }
    if (status == ENGRAM_OK) {
        status = engram_result_text(result, "row_data_hash", info->row_data_hash,
                                    sizeof info->row_data_hash, &found);
    }
    return status;
}

static bool is_range(const int64_t range[2], int64_t rows)
{
    return range[0] >= 0 && range[0] <= range[1] && range[1] <= rows;
}

static enum engram_status check_ranges(struct engram_result *result)
{
    struct engram_result_info *info = &result->info;

    if (!is_range(info->base_rows, info->base_shape[0])) {
        return engram_result_bad(result, "attribute `base_rows`", "is no range of the base's rows");
    }
    if (!is_range(info->query_rows, info->query_shape[0])) {
        return engram_result_bad(result, "attribute `query_rows`",
                                 "is no range of the queries' rows");
    }
    info->queries = info->query_rows[1] - info->query_rows[0];
    if (info->queries == INT64_MAX) {
        return engram_result_bad(result, "attribute `query_rows`", "claims an impossible size");
    }
    return ENGRAM_OK;
}

static const char *values_path(const struct engram_result *result)
{
    return result->info.similarity ? "/similarities" : "/distances";
}

/* Opens the dataset of distances or similarities. */
static enum engram_status open_values(struct engram_result *result, const char *name, int rank,
                                      int64_t dims[2])
{
    enum engram_status status =
        engram_result_open_set(result, name, H5T_FLOAT, rank, dims, &result->values_set);

    if (status != ENGRAM_OK) {
        return status;
    }
    ENGRAM_H5_HANDLE hid_t type = H5Dget_type(result->values_set);
    result->info.float64 = type >= 0 && H5Tget_size(type) > sizeof(float);
    return ENGRAM_OK;
}

static enum engram_status open_knn(struct engram_result *result)
{
    int64_t dims[2] = {result->info.queries, result->info.k};
    enum engram_status status;

    if (result->info.k == INT64_MAX) {
        return engram_result_bad(result, "attribute `k`", "is missing");
    }
    result->info.kind = ENGRAM_RESULT_KNN;
    result->width = result->info.k;
    if ((status = engram_result_open_set(result, "/neighbors", H5T_INTEGER, 2, dims,
                                         &result->rows_set)) != ENGRAM_OK ||
        (status = open_values(result, values_path(result), 2, dims)) != ENGRAM_OK) {
        return status;
    }
    return engram_result_open_set(result, "/counts", H5T_INTEGER, 1, dims, &result->bounds_set);
}

static enum engram_status open_pairs(struct engram_result *result)
{
    int64_t bounds[2] = {0, 0};
    int64_t pairs[2] = {-1, 0};
    enum engram_status status;

    result->info.kind = ENGRAM_RESULT_PAIRS;
    result->width = 1;
    bounds[0] = result->info.queries + 1;
    if ((status = engram_result_open_set(result, "/pairs/indptr", H5T_INTEGER, 1, bounds,
                                         &result->bounds_set)) != ENGRAM_OK ||
        (status = engram_result_open_set(result, "/pairs/indices", H5T_INTEGER, 1, pairs,
                                         &result->rows_set)) != ENGRAM_OK ||
        (status = open_values(result, "/pairs/data", 1, pairs)) != ENGRAM_OK) {
        return status;
    }
    result->pairs = pairs[0];
    return ENGRAM_OK;
}

/* A dense or pairwise result: distances and nothing else. */
static enum engram_status open_matrix(struct engram_result *result)
{
    const struct engram_result_info *info = &result->info;
    int64_t dims[2] = {info->queries, info->base_rows[1] - info->base_rows[0]};
    char kind[16];
    enum engram_status status = engram_result_text(result, "answer", kind, sizeof kind, NULL);

    if (status != ENGRAM_OK) {
        return status;
    }
    if (strcmp(kind, "pairwise") == 0) {
        result->info.kind = ENGRAM_RESULT_PAIRWISE;
        result->width = 1;
        return dims[0] == dims[1] ? open_values(result, values_path(result), 1, dims)
                                  : engram_result_bad(result, "attribute `query_rows`",
                                                      "is no range as long as the base's");
    }
    if (strcmp(kind, "dense") != 0) {
        return engram_result_bad(result, "attribute `answer`",
                                 "names a kind that is not known here");
    }
    result->info.kind = ENGRAM_RESULT_DENSE;
    result->width = dims[1];
    return open_values(result, values_path(result), 2, dims);
}

static enum engram_status open_ids(struct engram_result *result, const char *name, int64_t rows,
                                   struct engram_result_strings *strings, bool *has)
{
    int64_t dims[2] = {rows, 0};
    htri_t exists = has_link(result, name);
    enum engram_status status;

    *has = false;
    if (exists < 0) {
        return engram_result_bad(result, name, "cannot be opened");
    }
    if (exists == 0) {
        return ENGRAM_OK;
    }
    status = engram_result_open_set(result, name, H5T_STRING, 1, dims, &strings->dataset);
    if (status != ENGRAM_OK) {
        return status;
    }
    strings->type = H5Dget_type(strings->dataset);
    strings->width = strings->type < 0 ? 0 : H5Tget_size(strings->type);
    if (strings->width == 0) {
        return engram_result_bad(result, name, "cannot be read");
    }
    strings->count = rows;
    *has = true;
    return ENGRAM_OK;
}

/* One row at most for every query, and what its label is. */
static enum engram_status open_labels(struct engram_result *result)
{
    int64_t dims[2] = {result->info.queries, 0};
    bool found = false;
    enum engram_status status = open_ids(result, "/labels", dims[0], &result->labels, &found);

    result->info.kind = ENGRAM_RESULT_LABELS;
    result->width = 1;
    if (status == ENGRAM_OK) {
        status =
            engram_result_open_set(result, "/label_rows", H5T_INTEGER, 1, dims, &result->rows_set);
    }
    if (status == ENGRAM_OK) {
        status = open_values(
            result, result->info.similarity ? "/label_similarities" : "/label_distances", 1, dims);
    }
    return status;
}

static enum engram_status open_components(struct engram_result *result)
{
    int64_t dims[2] = {result->info.queries, 0};
    enum engram_status status =
        engram_result_open_set(result, "/component", H5T_INTEGER, 1, dims, &result->rows_set);

    result->info.kind = ENGRAM_RESULT_COMPONENTS;
    result->width = 1;
    return status == ENGRAM_OK
               ? engram_result_open_set(result, "/keep", H5T_ENUM, 1, dims, &result->bounds_set)
               : status;
}

static enum engram_status open_all(struct engram_result *result)
{
    ENGRAM_READING(result->path, NULL);
    struct engram_result_info *info = &result->info;
    enum engram_status status = engram_h5_open(result->path, &result->log, &result->file);
    ENGRAM_H5_QUIET;

    if (status != ENGRAM_OK || (status = read_attributes(result)) != ENGRAM_OK ||
        (status = read_row_data(result)) != ENGRAM_OK ||
        (status = check_ranges(result)) != ENGRAM_OK ||
        (status = engram_result_read_shard(result)) != ENGRAM_OK) {
        return status;
    }
    if (has_link(result, "neighbors") > 0) {
        status = open_knn(result);
    } else if (has_link(result, "pairs") > 0) {
        status = open_pairs(result);
    } else if (has_link(result, "labels") > 0) {
        status = open_labels(result);
    } else if (has_link(result, "component") > 0) {
        status = open_components(result);
    } else if (has_link(result, values_path(result) + 1) > 0) {
        status = open_matrix(result);
    } else {
        status = engram_result_bad(result, "/neighbors, /pairs or /distances", "is missing");
    }
    if (status != ENGRAM_OK ||
        (status = open_ids(result, "/query_ids", info->queries, &result->query_ids,
                           &info->has_query_ids)) != ENGRAM_OK) {
        return status;
    }
    return open_ids(result, "/base_ids", info->base_shape[0], &result->base_ids,
                    &info->has_base_ids);
}

enum engram_status engram_result_open(const char *path, const struct engram_log *log,
                                      struct engram_result **result,
                                      struct engram_result_info *info)
{
    struct engram_result *made = calloc(1, sizeof *made);
    enum engram_status status;

    *result = NULL;
    if (made == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    made->file = made->rows_set = made->values_set = made->bounds_set = -1;
    made->query_ids.dataset = made->query_ids.type = -1;
    made->base_ids.dataset = made->base_ids.type = -1;
    made->labels.dataset = made->labels.type = -1;
    made->log = log != NULL ? *log : (struct engram_log){NULL, NULL};
    made->path = strdup(path);
    status = made->path != NULL ? open_all(made)
                                : engram_fail(log, ENGRAM_ERR_RESOURCE, "out of memory");
    if (status != ENGRAM_OK) {
        engram_result_close(made);
        return status;
    }
    *info = made->info;
    *result = made;
    return ENGRAM_OK;
}

void engram_result_digest(const char *path, char digest[64])
{
    struct engram_result *result = NULL;
    struct engram_result_info info;

    digest[0] = '\0';
    if (engram_result_open(path, NULL, &result, &info) == ENGRAM_OK) {
        snprintf(digest, sizeof info.digest, "%s", info.digest);
        engram_result_close(result);
    }
}

static void close_strings(struct engram_result_strings *strings)
{
    engram_h5_close(&strings->dataset);
    engram_h5_close(&strings->type);
    free(strings->text);
}

static void close_handles(struct engram_result *result)
{
    ENGRAM_H5_QUIET;
    ENGRAM_READING(result->path, NULL);
    close_strings(&result->query_ids);
    close_strings(&result->base_ids);
    close_strings(&result->labels);
    engram_h5_close(&result->rows_set);
    engram_h5_close(&result->values_set);
    engram_h5_close(&result->bounds_set);
    engram_h5_close(&result->file);
}

void engram_result_close(struct engram_result *result)
{
    if (result == NULL) {
        return;
    }
    close_handles(result);
    free(result->bounds);
    free(result->rows);
    free(result->values);
    free(result->path);
    free(result);
}
