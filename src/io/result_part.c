/* What the part of a shard has beyond other results, and datasets as they are stored, for joining
 * parts. */
#define _GNU_SOURCE

#include "base/log.h"
#include "base/reading.h"
#include "io/h5.h"
#include "io/result_internal.h"

static enum engram_status bad_part(const struct engram_result *result, const char *name,
                                   const char *what)
{
    return engram_fail(&result->log, ENGRAM_ERR_DATA,
                       "%s: %s %s; not a part of a result, or damaged", result->path, name, what);
}

static bool is_range(const int64_t range[2], int64_t rows)
{
    return range[0] >= 0 && range[0] <= range[1] && range[1] <= rows;
}

enum engram_status engram_result_read_shard(struct engram_result *result)
{
    struct engram_result_info *info = &result->info;
    bool found = false;

    for (int i = 0; i < 2; i++) {
        info->job_base_rows[i] = info->base_rows[i];
        info->job_query_rows[i] = info->query_rows[i];
    }
    enum engram_status status = engram_result_integers(result, "shard", 2, info->shard, &found);
    if (status != ENGRAM_OK || !found) {
        return status;
    }
    if (info->shard[0] < 1 || info->shard[0] > info->shard[1]) {
        return bad_part(result, "attribute `shard`", "is no shard");
    }
    status = engram_result_integers(result, "job_base_rows", 2, info->job_base_rows, NULL);
    if (status == ENGRAM_OK) {
        status = engram_result_integers(result, "job_query_rows", 2, info->job_query_rows, NULL);
    }
    if (status == ENGRAM_OK && (!is_range(info->job_base_rows, info->base_shape[0]) ||
                                !is_range(info->job_query_rows, info->query_shape[0]))) {
        return bad_part(result, "its row ranges", "do not fit its shapes");
    }
    return status;
}

/* How many content hashes there are of one set. */
static enum engram_status count_grains(const struct engram_result *result, const char *name,
                                       int64_t *grains)
{
    int64_t dims[2] = {-1, 0};
    hid_t opened = -1;
    enum engram_status status = engram_result_open_set(result, name, H5T_INTEGER, 1, dims, &opened);
    ENGRAM_H5_HANDLE hid_t dataset = opened;
    *grains = dataset >= 0 ? dims[0] : 0;
    return status;
}

/* The hashes of the part's own datasets. */
static enum engram_status read_hashes(const struct engram_result *result, int64_t *hashes,
                                      int64_t count)
{
    int64_t dims[2] = {count, 0};
    hid_t opened = -1;
    enum engram_status status =
        engram_result_open_set(result, "/content/answers", H5T_INTEGER, 1, dims, &opened);
    ENGRAM_H5_HANDLE hid_t dataset = opened;
    if (status == ENGRAM_OK &&
        !engram_result_slab(dataset, H5T_NATIVE_INT64, 0, count, 0, hashes)) {
        return engram_result_read_failure(result, "its hashes");
    }
    return status;
}

static const char *content_path(bool queries)
{
    return queries ? "/content/queries" : "/content/base";
}

enum engram_status engram_result_part(struct engram_result *result, struct engram_result_part *part)
{
    ENGRAM_H5_QUIET;
    ENGRAM_READING(result->path, NULL);
    const struct engram_result_info *info = &result->info;
    int64_t ids[2] = {0, 0};
    bool found = false;

    *part = (struct engram_result_part){
        .pairs = result->pairs,
        .id_width = {result->base_ids.width, result->query_ids.width},
        .label_width = result->labels.width,
    };
    if (info->shard[1] == 0) {
        return engram_fail(&result->log, ENGRAM_ERR_DATA,
                           "%s: is no part of a result: it was made without --shard", result->path);
    }
    enum engram_status status =
        engram_result_text(result, "job", part->job, sizeof part->job, NULL);
    if (status == ENGRAM_OK) {
        status = engram_result_integers(result, "ids_content", 2, ids, NULL);
    }
    if (status == ENGRAM_OK) {
        status = engram_result_integers(result, "compress", 1, &part->compress, NULL);
    }
    if (status == ENGRAM_OK) {
        status = engram_result_integers(result, "max_pairs", 1, &part->max_pairs, &found);
    }
    for (int i = 0; status == ENGRAM_OK && i < 2; i++) {
        part->ids_content[i] = (uint64_t)ids[i];
        status = count_grains(result, content_path(i == 1), &part->grains[i]);
    }
    if (status == ENGRAM_OK) {
        status = read_hashes(result, part->answers, ENGRAM_RESULT_HASHES);
    }
    if (status == ENGRAM_OK && (part->compress < 0 || part->compress > 9 || part->max_pairs < 0)) {
        status = bad_part(result, "attribute `compress` or `max_pairs`", "is out of range");
    }
    return status;
}

enum engram_status engram_result_content(struct engram_result *result, bool queries,
                                         uint64_t *grains)
{
    ENGRAM_H5_QUIET;
    ENGRAM_READING(result->path, content_path(queries));
    int64_t dims[2] = {-1, 0};
    hid_t opened = -1;
    enum engram_status status =
        engram_result_open_set(result, content_path(queries), H5T_INTEGER, 1, dims, &opened);
    ENGRAM_H5_HANDLE hid_t dataset = opened;
    if (status == ENGRAM_OK && dims[0] > 0 &&
        !engram_result_slab(dataset, H5T_NATIVE_INT64, 0, dims[0], 0, grains)) {
        return engram_result_read_failure(result, "its content hashes");
    }
    return status;
}

/* ---- datasets as they are stored */

/* Row numbers: of the base rows searched, or -1 where there need not be an answer. */
static enum engram_status check_rows(const struct engram_result *result, int64_t first,
                                     int64_t count, const int64_t *rows)
{
    const struct engram_result_info *info = &result->info;
    const bool groups = info->kind == ENGRAM_RESULT_COMPONENTS;
    const bool optional = info->kind == ENGRAM_RESULT_KNN || info->kind == ENGRAM_RESULT_LABELS;
    const int64_t width = info->kind == ENGRAM_RESULT_KNN ? result->width : 1;
    for (int64_t i = 0; i < count * width; i++) {
        int64_t last = groups ? info->base_rows[0] + first + i + 1 : info->base_rows[1];
        bool known = rows[i] >= info->base_rows[0] && rows[i] < last;
        if (!known && !(optional && rows[i] == -1)) {
            return engram_result_bad_row(
                result, info->kind == ENGRAM_RESULT_PAIRS ? 0 : first + i / width,
                info->kind == ENGRAM_RESULT_PAIRS ? "or one after it names a row that was not "
                                                    "searched"
                                                  : "it names a row that was not searched");
        }
    }
    return ENGRAM_OK;
}

static enum engram_status check_counts(const struct engram_result *result, int64_t first,
                                       int64_t count, const int32_t *counts)
{
    for (int64_t i = 0; i < count; i++) {
        if (counts[i] < 0 || counts[i] > result->info.k) {
            return engram_result_bad_row(result, first + i, "its count is not between 0 and k");
        }
    }
    return ENGRAM_OK;
}

static enum engram_status check_indptr(const struct engram_result *result, int64_t first,
                                       int64_t count, const int64_t *indptr)
{
    const struct engram_result_info *info = &result->info;
    const int64_t base = info->base_rows[1] - info->base_rows[0];
    const int64_t most = info->k < base ? info->k : base;
    for (int64_t i = 0; i < count; i++) {
        bool good = indptr[i] >= 0 && indptr[i] <= result->pairs &&
                    (first + i > 0 || indptr[i] == 0) &&
                    (first + i < info->queries || indptr[i] == result->pairs) &&
                    (i == 0 || (indptr[i] >= indptr[i - 1] && indptr[i] - indptr[i - 1] <= most));
        if (!good) {
            return engram_result_bad_row(result, first + i, "/pairs/indptr is not in order");
        }
    }
    return ENGRAM_OK;
}

static enum engram_status read_texts(struct engram_result *result,
                                     const struct engram_result_strings *strings, int64_t first,
                                     int64_t count, size_t width, void *data)
{
    ENGRAM_H5_HANDLE hid_t type = H5Tcopy(strings->type);
    if (type < 0 || H5Tset_size(type, width) < 0 || H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 ||
        !engram_result_slab(strings->dataset, type, first, count, 0, data)) {
        return engram_result_read_failure(result, "ids or labels");
    }
    return ENGRAM_OK;
}

/* Numbers of one of the datasets that are opened with the result. */
static enum engram_status read_numbers(struct engram_result *result, hid_t dataset, hid_t type,
                                       int64_t first, int64_t count, int64_t width, void *data)
{
    return engram_result_slab(dataset, type, first, count, width, data)
               ? ENGRAM_OK
               : engram_result_read_failure(result, "answers");
}

enum engram_status engram_result_read(struct engram_result *result, enum engram_result_set set,
                                      int64_t first, int64_t count, size_t width, void *data)
{
    ENGRAM_H5_QUIET;
    ENGRAM_READING(result->path, NULL);
    const enum engram_result_kind kind = result->info.kind;
    const int64_t cells =
        kind == ENGRAM_RESULT_KNN || kind == ENGRAM_RESULT_DENSE ? result->width : 0;
    enum engram_status status = ENGRAM_OK;

    switch (set) {
    case ENGRAM_RESULT_ROWS:
        status =
            read_numbers(result, result->rows_set, H5T_NATIVE_INT64, first, count, cells, data);
        return status == ENGRAM_OK ? check_rows(result, first, count, data) : status;
    case ENGRAM_RESULT_VALUES:
        return read_numbers(result, result->values_set,
                            result->info.float64 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT, first,
                            count, cells, data);
    case ENGRAM_RESULT_COUNTS:
        status = read_numbers(result, result->bounds_set, H5T_NATIVE_INT32, first, count, 0, data);
        return status == ENGRAM_OK ? check_counts(result, first, count, data) : status;
    case ENGRAM_RESULT_INDPTR:
        status = read_numbers(result, result->bounds_set, H5T_NATIVE_INT64, first, count, 0, data);
        return status == ENGRAM_OK ? check_indptr(result, first, count, data) : status;
    case ENGRAM_RESULT_LABEL_TEXTS:
        return read_texts(result, &result->labels, first, count, width, data);
    case ENGRAM_RESULT_QUERY_IDS:
        return read_texts(result, &result->query_ids, first, count, width, data);
    case ENGRAM_RESULT_BASE_IDS:
        return read_texts(result, &result->base_ids, first, count, width, data);
    }
    return ENGRAM_ERR_INTERNAL;
}
