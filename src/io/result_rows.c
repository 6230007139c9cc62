#define _GNU_SOURCE

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/reading.h"
#include "io/h5.h"
#include "io/h5read.h"
#include "io/result_internal.h"

/* Entries read at a time: enough for a full pass at the speed of the disk, little enough that one
 * row costs nothing. */
#define BLOCK_ENTRIES ((int64_t)1 << 16)

/* Ids are read at once up to this size; beyond it, the rows that are asked for. */
#define IDS_AT_ONCE ((size_t)256 << 20)

enum engram_status engram_result_bad_row(const struct engram_result *result, int64_t row,
                                         const char *what)
{
    return engram_fail(&result->log, ENGRAM_ERR_DATA, "%s: row %lld: %s; the file is damaged",
                       result->path, (long long)row, what);
}

enum engram_status engram_result_read_failure(const struct engram_result *result, const char *what)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    return engram_fail(&result->log, engram_h5_read_status(message), "%s: cannot read %s: %s",
                       result->path, what, message);
}

bool engram_result_slab(hid_t dataset, hid_t memory_type, int64_t first, int64_t count,
                        int64_t width, void *data)
{
    hsize_t start[2] = {(hsize_t)first, 0};
    hsize_t extent[2] = {(hsize_t)count, (hsize_t)width};
    engram_reading_bytes(8 * (uint64_t)count * (uint64_t)(width > 0 ? width : 1));
    ENGRAM_H5_HANDLE hid_t in_file = H5Dget_space(dataset);
    ENGRAM_H5_HANDLE hid_t in_memory = H5Screate_simple(width > 0 ? 2 : 1, extent, NULL);

    return in_file >= 0 && in_memory >= 0 &&
           H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, extent, NULL) >= 0 &&
           engram_h5_read(dataset, memory_type, in_memory, in_file, data) >= 0;
}

/* Makes bounds of row `row` available. */
static enum engram_status load_bounds(struct engram_result *result, int64_t row)
{
    int64_t first = row - row % BLOCK_ENTRIES;
    int64_t left = result->info.queries - first;
    int64_t count = left < BLOCK_ENTRIES ? left : BLOCK_ENTRIES;

    if (row >= result->bounds_first && row < result->bounds_first + result->bounds_count) {
        return ENGRAM_OK;
    }
    if (result->bounds == NULL) {
        result->bounds = malloc((size_t)(BLOCK_ENTRIES + 1) * sizeof *result->bounds);
    }
    if (result->bounds == NULL) {
        return engram_fail(&result->log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    result->bounds_count = 0;
    if (!engram_result_slab(result->bounds_set, H5T_NATIVE_INT64, first,
                            result->info.kind == ENGRAM_RESULT_PAIRS ? count + 1 : count, 0,
                            result->bounds)) {
        return engram_result_read_failure(result, "the row counts");
    }
    result->bounds_first = first;
    result->bounds_count = count;
    return ENGRAM_OK;
}

/* Makes dataset rows [first, first + need) available, and as many more as make a good read. */
static enum engram_status load_entries(struct engram_result *result, int64_t first, int64_t need,
                                       int64_t limit)
{
    enum engram_result_kind kind = result->info.kind;
    bool paired = result->rows_set >= 0; /* values have rows beside them */
    int64_t width = result->width;
    int64_t count = BLOCK_ENTRIES / width;
    int64_t matrix = kind == ENGRAM_RESULT_KNN || kind == ENGRAM_RESULT_DENSE ? width : 0;

    if (first >= result->first && first + need <= result->first + result->count) {
        return ENGRAM_OK;
    }
    count = count > need ? count : need;
    count = count < limit - first ? count : limit - first;
    result->count = 0;
    if (count * width > result->room) { /* no overflow: the dataset's size was checked */
        free(result->rows);
        free(result->values);
        result->room = 0;
        result->rows = calloc((size_t)(paired ? count * width : width), sizeof *result->rows);
        result->values = malloc((size_t)(count * width) * sizeof *result->values);
        if (result->rows == NULL || result->values == NULL) {
            return engram_fail(&result->log, ENGRAM_ERR_RESOURCE, "out of memory");
        }
        result->room = count * width;
    }
    if ((paired && !engram_result_slab(result->rows_set, H5T_NATIVE_INT64, first, count, matrix,
                                       result->rows)) ||
        !engram_result_slab(result->values_set, H5T_NATIVE_DOUBLE, first, count, matrix,
                            result->values)) {
        return engram_result_read_failure(result, "neighbours");
    }
    result->first = first;
    result->count = count;
    return ENGRAM_OK;
}

/* Finds where the answers of a row lie: `*start` (dataset row) and `*count`, checked. */
static enum engram_status locate(struct engram_result *result, int64_t row, int64_t *start,
                                 int64_t *count)
{
    const struct engram_result_info *info = &result->info;
    enum engram_status status = load_bounds(result, row);
    const int64_t *bounds;

    if (status != ENGRAM_OK) {
        return status;
    }
    bounds = result->bounds + (row - result->bounds_first);
    if (info->kind == ENGRAM_RESULT_KNN) {
        *start = row;
        *count = bounds[0];
        if (*count < 0 || *count > info->k) {
            return engram_result_bad_row(result, row, "its count is not between 0 and k");
        }
        return ENGRAM_OK;
    }
    if (bounds[0] < 0 || bounds[0] > bounds[1] || bounds[1] > result->pairs ||
        (row == 0 && bounds[0] != 0) || (row == info->queries - 1 && bounds[1] != result->pairs)) {
        return engram_result_bad_row(result, row, "/pairs/indptr is not in order");
    }
    *start = bounds[0];
    *count = bounds[1] - bounds[0];
    if (*count > info->k || *count > info->base_rows[1] - info->base_rows[0]) {
        return engram_result_bad_row(result, row, "it has more answers than there can be");
    }
    return ENGRAM_OK;
}

/* Row `row` of a dense or pairwise result. */
static enum engram_status matrix_row(struct engram_result *result, int64_t row, int64_t *count,
                                     const int64_t **rows, const double **values)
{
    const struct engram_result_info *info = &result->info;
    enum engram_status status = ENGRAM_OK;

    if (result->width > 0) {
        status = load_entries(result, row, 1, info->queries);
    }
    if (status != ENGRAM_OK || result->width == 0) {
        return status;
    }
    if (info->kind == ENGRAM_RESULT_PAIRWISE) {
        result->rows[0] = info->base_rows[0] + row;
    } else {
        for (int64_t i = 0; i < result->width; i++) {
            result->rows[i] = info->base_rows[0] + i;
        }
    }
    *count = result->width;
    *rows = result->rows;
    *values = result->values + (row - result->first) * result->width;
    return ENGRAM_OK;
}

/* The answer of row `row` of a result of labels; a row number of -1 is none. */
static enum engram_status label_row(struct engram_result *result, int64_t row, int64_t *count,
                                    const int64_t **rows, const double **values)
{
    enum engram_status status = load_entries(result, row, 1, result->info.queries);

    if (status != ENGRAM_OK) {
        return status;
    }
    *rows = result->rows + (row - result->first);
    *values = result->values + (row - result->first);
    *count = (*rows)[0] != -1;
    return ENGRAM_OK;
}

/* Whether the rows that a result row names were searched. */
static enum engram_status check_rows(const struct engram_result *result, int64_t row,
                                     const int64_t *rows, int64_t *count)
{
    const struct engram_result_info *info = &result->info;
    for (int64_t i = 0; i < *count; i++) {
        if (rows[i] < info->base_rows[0] || rows[i] >= info->base_rows[1]) {
            *count = 0;
            return engram_result_bad_row(result, row, "it names a row that was not searched");
        }
    }
    return ENGRAM_OK;
}

enum engram_status engram_result_row(struct engram_result *result, int64_t row, int64_t *count,
                                     const int64_t **rows, const double **values)
{
    ENGRAM_H5_QUIET;
    ENGRAM_READING(result->path, NULL);
    const struct engram_result_info *info = &result->info;
    bool knn = info->kind == ENGRAM_RESULT_KNN;
    int64_t start = 0;
    int64_t at;
    enum engram_status status;

    *count = 0;
    *rows = NULL;
    *values = NULL;
    if (row < 0 || row >= info->queries) {
        return engram_fail(&result->log, ENGRAM_ERR_USAGE, "%s: has no row %lld", result->path,
                           (long long)row);
    }
    if (info->kind == ENGRAM_RESULT_DENSE || info->kind == ENGRAM_RESULT_PAIRWISE) {
        return matrix_row(result, row, count, rows, values);
    }
    if (info->kind == ENGRAM_RESULT_LABELS) {
        status = label_row(result, row, count, rows, values);
        return status == ENGRAM_OK ? check_rows(result, row, *rows, count) : status;
    }
    status = locate(result, row, &start, count);
    if (status == ENGRAM_OK && *count > 0) {
        status = load_entries(result, start, knn ? 1 : *count, knn ? info->queries : result->pairs);
    }
    if (status != ENGRAM_OK || *count == 0) {
        *count = status == ENGRAM_OK ? *count : 0;
        return status;
    }
    at = (start - result->first) * result->width;
    *rows = result->rows + at;
    *values = result->values + at;
    return check_rows(result, row, *rows, count);
}

/* Reads the block of ids that row `row` is in: all of them when that is little. */
static enum engram_status load_ids(struct engram_result *result,
                                   struct engram_result_strings *strings, int64_t block,
                                   int64_t row)
{
    ENGRAM_H5_QUIET;
    ENGRAM_READING(result->path, NULL);
    /* No overflow, here and below: the size was checked when the dataset was opened. */
    size_t bytes = (size_t)strings->count * strings->width;
    int64_t left;

    strings->held = 0;
    strings->first = bytes <= IDS_AT_ONCE ? 0 : row;
    left = strings->count - strings->first;
    block = bytes <= IDS_AT_ONCE || block > left ? left : block;
    free(strings->text);
    strings->text = malloc((size_t)block * strings->width);
    if (strings->text == NULL) {
        return engram_fail(&result->log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    if (!engram_result_slab(strings->dataset, strings->type, strings->first, block, 0,
                            strings->text)) {
        return engram_result_read_failure(result, "ids");
    }
    strings->held = block;
    return ENGRAM_OK;
}

/* One of many strings; `in_order`: the next ones will be asked for as well. */
static enum engram_status one_string(struct engram_result *result,
                                     struct engram_result_strings *strings, bool in_order,
                                     int64_t row, const char **text, size_t *length)
{
    *text = "";
    *length = 0;
    if (strings->dataset < 0 || row < 0 || row >= strings->count) {
        return ENGRAM_ERR_USAGE;
    }
    if (row < strings->first || row >= strings->first + strings->held) {
        int64_t block = in_order ? (int64_t)(((size_t)1 << 20) / strings->width) + 1 : 1;
        enum engram_status status = load_ids(result, strings, block, row);

        if (status != ENGRAM_OK) {
            return status;
        }
    }
    *text = strings->text + (size_t)(row - strings->first) * strings->width;
    *length = strnlen(*text, strings->width);
    return ENGRAM_OK;
}

enum engram_status engram_result_id(struct engram_result *result, bool queries, int64_t row,
                                    const char **text, size_t *length)
{
    /* Queries are walked through in order, base rows are met in any. */
    return one_string(result, queries ? &result->query_ids : &result->base_ids, queries, row, text,
                      length);
}

enum engram_status engram_result_label(struct engram_result *result, int64_t row, const char **text,
                                       size_t *length)
{
    return one_string(result, &result->labels, true, row, text, length);
}

enum engram_status engram_result_components(struct engram_result *result, int64_t **component,
                                            int8_t **keep)
{
    ENGRAM_H5_QUIET;
    ENGRAM_READING(result->path, NULL);
    int64_t rows = result->info.queries;
    int64_t first = result->info.query_rows[0];
    enum engram_status status = ENGRAM_OK;

    *component = malloc(((size_t)rows + 1) * sizeof **component); /* the size was checked */
    *keep = malloc((size_t)rows + 1);
    if (*component == NULL || *keep == NULL) {
        status = engram_fail(&result->log, ENGRAM_ERR_RESOURCE, "out of memory");
    } else if (rows > 0 &&
               (!engram_result_slab(result->rows_set, H5T_NATIVE_INT64, 0, rows, 0, *component) ||
                !engram_result_slab(result->bounds_set, H5T_NATIVE_INT8, 0, rows, 0, *keep))) {
        status = engram_result_read_failure(result, "groups");
    }
    for (int64_t i = 0; status == ENGRAM_OK && i < rows; i++) {
        if ((*component)[i] < first || (*component)[i] > first + i) {
            status = engram_result_bad_row(
                result, i, "its group is not named after a row that is not above it");
        }
    }
    if (status != ENGRAM_OK) {
        free(*component);
        free(*keep);
        *component = NULL;
        *keep = NULL;
    }
    return status;
}
