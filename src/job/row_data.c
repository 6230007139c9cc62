#define _GNU_SOURCE
#include "job/row_data.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/size.h"
#include "io/column.h"
#include "job/inputs.h"
#include "job/sets.h"

/* Where an option's value was found. */
struct place {
    char *file;       /* to be freed */
    const char *name; /* in the file; points into the option's value */
};

static enum engram_status no_memory(const struct engram_job_options *options)
{
    return engram_fail(&options->log, ENGRAM_ERR_RESOURCE,
                       "not enough memory for what is said about single rows");
}

/* A value names a dataset of `file`, or FILE::PATH. `place->file` is NULL, with OK, when it is
 * neither. */
static enum engram_status locate(const struct engram_job_options *options, const char *file,
                                 const char *value, struct place *place)
{
    *place = (struct place){NULL, value};
    if (engram_column_exists(file, value)) {
        place->file = strdup(file);
        return place->file != NULL ? ENGRAM_OK : no_memory(options);
    }
    return engram_set_split(value, &options->log, &place->file, &place->name);
}

static enum engram_status not_found(const struct engram_job_options *options, const char *option,
                                    const char *value, const char *file)
{
    return engram_fail(&options->log, ENGRAM_ERR_NO_INPUT,
                       "%s %s: no such dataset in %s; name one of it, or FILE.h5::PATH", option,
                       value, file);
}

static void keep_path(char path[ENGRAM_ROW_DATA_PATH], const char *name)
{
    (void)snprintf(path, ENGRAM_ROW_DATA_PATH, "%s%s", name[0] == '/' ? "" : "/", name);
}

static enum engram_status wrong_count(const struct engram_job_options *options,
                                      const struct place *place, int64_t count, const char *file,
                                      const struct engram_dataset_info *dataset)
{
    return engram_fail(&options->log, ENGRAM_ERR_DATA,
                       "%s: %s: has %" PRId64 " entries, but %s: %s has %" PRId64 " rows",
                       place->file, place->name, count, file, dataset->path, dataset->dims[0]);
}

static bool get_bit(const uint8_t *bits, int64_t i)
{
    return (bits[i >> 3] >> (i & 7) & 1) != 0;
}

static bool all_zero_or_one(const struct engram_column *column)
{
    for (int64_t i = 0; i < column->count; i++) {
        if (column->numbers[i] != 0 && column->numbers[i] != 1) {
            return false;
        }
    }
    return true;
}

/* The columns of that name of all files that a set is made of, one behind the other. */
static enum engram_status append_parts(const struct engram_job_options *options,
                                       const struct engram_set_ref *set, const char *name,
                                       struct engram_column *column)
{
    enum engram_status status = ENGRAM_OK;
    for (size_t i = 1; status == ENGRAM_OK && i < set->part_count; i++) {
        const struct engram_set_part *part = &set->parts[i];
        const struct place place = {part->file->path, name};
        struct engram_column more;
        status = engram_column_read(place.file, name, &options->log, &more);
        if (status == ENGRAM_OK && more.count != part->dataset->dims[0]) {
            status = wrong_count(options, &place, more.count, part->file->path, part->dataset);
        } else if (status == ENGRAM_OK && more.kind != column->kind) {
            status =
                engram_fail(&options->log, ENGRAM_ERR_DATA, "%s: %s: is of another type than in %s",
                            place.file, name, set->file->path);
        } else if (status == ENGRAM_OK) {
            status = engram_column_append(column, &more, &options->log);
        }
        engram_column_free(&more);
    }
    return status;
}

/* What an option says of the rows of a set: one column, or for a set of several parts one in each
 * file. `path` is where it is inside its file; `place` is the caller's to free. */
static enum engram_status read_column(const struct engram_job_options *options, const char *option,
                                      const char *value, const struct engram_set_ref *set,
                                      struct place *place, char path[ENGRAM_ROW_DATA_PATH],
                                      struct engram_column *column)
{
    *column = (struct engram_column){0};
    enum engram_status status = locate(options, set->file->path, value, place);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (place->file == NULL) {
        return not_found(options, option, value, set->file->path);
    }
    keep_path(path, place->name);
    status = engram_column_read(place->file, place->name, &options->log, column);
    if (status == ENGRAM_OK && set->part_count > 1 && place->name == value &&
        column->count == set->parts[0].dataset->dims[0]) {
        status = append_parts(options, set, value, column);
    }
    return status;
}

/* Sets the bits of the rows that a column allows. */
static enum engram_status take_subset(const struct engram_job_options *options,
                                      const struct place *place, const struct engram_column *column,
                                      const struct engram_set_ref *base,
                                      struct engram_row_data *data)
{
    int64_t rows = base->dataset->dims[0];

    if (column->kind != ENGRAM_COLUMN_NUMBERS && column->kind != ENGRAM_COLUMN_BOOLS) {
        return engram_fail(&options->log, ENGRAM_ERR_DATA,
                           "%s: %s: a subset has to be bools or row numbers, not strings",
                           place->file, place->name);
    }
    /* Numbers that could be either are a mask: nobody lists rows 0 and 1 as often as there are
     * rows.
     */
    data->subset_mask =
        column->kind == ENGRAM_COLUMN_BOOLS || (column->count == rows && all_zero_or_one(column));
    if (data->subset_mask && column->count != rows) {
        return wrong_count(options, place, column->count, base->file->path, base->dataset);
    }
    for (int64_t i = 0; i < column->count; i++) {
        int64_t row = data->subset_mask ? i : column->numbers[i];
        if (data->subset_mask && column->numbers[i] == 0) {
            continue;
        }
        if (row < 0 || row >= rows) {
            return engram_fail(&options->log, ENGRAM_ERR_DATA,
                               "%s: %s: entry %" PRId64 " is %" PRId64 ", but %s: %s has rows 0 to "
                               "%" PRId64,
                               place->file, place->name, i, row, base->file->path,
                               base->dataset->path, rows - 1);
        }
        if (row >= base->first && row < base->last) {
            row -= base->first;
            data->allowed[row >> 3] |= (uint8_t)(1U << (row & 7));
        }
    }
    return ENGRAM_OK;
}

static enum engram_status make_allowed(const struct engram_job_options *options,
                                       const struct engram_set_ref *base,
                                       struct engram_row_data *data, uint8_t fill)
{
    size_t bytes = (size_t)(base->last - base->first) / 8 + 1;
    data->allowed = malloc(bytes);
    if (data->allowed == NULL) {
        return no_memory(options);
    }
    memset(data->allowed, fill, bytes);
    return ENGRAM_OK;
}

static enum engram_status read_subset(const struct engram_job_options *options,
                                      const struct engram_set_ref *base,
                                      struct engram_row_data *data)
{
    struct engram_column column;
    struct place place = {0};

    if (options->subset == NULL) {
        return ENGRAM_OK;
    }
    enum engram_status status =
        read_column(options, "--subset", options->subset, base, &place, data->subset_path, &column);
    if (status == ENGRAM_OK) {
        status = make_allowed(options, base, data, 0);
    }
    if (status == ENGRAM_OK) {
        status = take_subset(options, &place, &column, base, data);
    }
    engram_column_free(&column);
    free(place.file);
    return status;
}

/* The groups of one set, by row of its dataset; `path` is where they are inside the file. */
static enum engram_status read_groups(const struct engram_job_options *options,
                                      const struct engram_set_ref *set, const char *value,
                                      struct engram_labels *groups, char path[ENGRAM_ROW_DATA_PATH])
{
    struct engram_column column;
    struct place place = {0};
    enum engram_status status =
        read_column(options, "--exclude-same", value, set, &place, path, &column);
    if (status == ENGRAM_OK) {
        status = engram_labels_of(&column, &options->log, groups);
    }
    if (status == ENGRAM_OK && groups->count != set->dataset->dims[0]) {
        status = wrong_count(options, &place, groups->count, set->file->path, set->dataset);
    }
    engram_column_free(&column);
    free(place.file);
    return status;
}

/* Groups of the set's range, for the caller to free. */
static int64_t *cut_range(const struct engram_labels *groups, const struct engram_set_ref *set)
{
    size_t count = (size_t)(set->last - set->first);
    int64_t *cut = malloc((count + 1) * sizeof *cut);
    if (cut != NULL && count > 0) {
        memcpy(cut, groups->codes + set->first, count * sizeof *cut);
    }
    return cut;
}

/* "PATH" for both sets, or "PATH,PATH": base, queries. Where the option's value itself names a
 * dataset, its comma is part of the name. */
static enum engram_status split_groups(const struct engram_job_options *options,
                                       const struct engram_set_ref *base, char **first,
                                       const char **second)
{
    struct place whole;
    char *comma = NULL;

    *first = strdup(options->exclude_same);
    enum engram_status status =
        *first == NULL ? no_memory(options)
                       : locate(options, base->file->path, options->exclude_same, &whole);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (!engram_column_exists(whole.file != NULL ? whole.file : base->file->path, whole.name)) {
        comma = strchr(*first, ',');
    }
    free(whole.file);
    *second = *first;
    if (comma != NULL) {
        *comma = '\0';
        *second = comma + 1;
    }
    return ENGRAM_OK;
}

static enum engram_status take_groups(const struct engram_job_options *options,
                                      const struct engram_inputs *inputs,
                                      struct engram_row_data *data, const char *base_value,
                                      const char *query_value)
{
    const struct engram_set_ref *base = &inputs->base;
    const struct engram_set_ref *queries = &inputs->queries;
    struct engram_labels groups = {0};
    struct engram_labels asked = {0};
    bool same = base->dataset == queries->dataset;

    enum engram_status status = read_groups(options, base, base_value, &groups, data->groups_path);
    if (status == ENGRAM_OK && !same) {
        status = read_groups(options, queries, query_value, &asked, data->query_groups_path);
    }
    if (status == ENGRAM_OK && !same) {
        status = engram_labels_unite(&groups, &asked, &options->log);
    }
    if (status == ENGRAM_OK) {
        data->base_groups = cut_range(&groups, base);
        data->query_groups = same && base->first == queries->first && base->last == queries->last
                                 ? data->base_groups
                                 : cut_range(same ? &groups : &asked, queries);
        if (data->base_groups == NULL || data->query_groups == NULL) {
            status = no_memory(options);
        }
    }
    engram_labels_free(&groups);
    engram_labels_free(&asked);
    return status;
}

static enum engram_status read_exclude_same(const struct engram_job_options *options,
                                            const struct engram_inputs *inputs,
                                            struct engram_row_data *data)
{
    char *first = NULL;
    const char *second = NULL;

    if (options->exclude_same == NULL) {
        return ENGRAM_OK;
    }
    enum engram_status status = split_groups(options, &inputs->base, &first, &second);
    if (status == ENGRAM_OK) {
        status = take_groups(options, inputs, data, first, second);
    }
    free(first);
    return status;
}

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

static enum engram_status read_label_file(const struct engram_job_options *options,
                                          const struct engram_set_ref *base,
                                          struct engram_row_data *data)
{
    struct engram_ids ids = {0};

    if (!is_file(options->labels)) {
        return not_found(options, "--labels", options->labels, base->file->path);
    }
    if (base->ids == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_USAGE,
                           "--labels %s: %s: %s has no ids to match it with; name them with --ids",
                           options->labels, base->file->path, base->dataset->path);
    }
    enum engram_status status =
        engram_set_read_ids(base, 0, base->dataset->dims[0], &options->log, &ids);
    if (status == ENGRAM_OK) {
        status = engram_labels_read_file(options->labels, &ids, &options->log, &data->labels,
                                         &data->unknown);
    }
    engram_ids_free(&ids);
    return status;
}

/* Rows without a label are no answers. */
static enum engram_status allow_labelled(const struct engram_job_options *options,
                                         const struct engram_set_ref *base,
                                         struct engram_row_data *data)
{
    enum engram_status status =
        data->allowed != NULL ? ENGRAM_OK : make_allowed(options, base, data, 0xff);
    for (int64_t r = 0; status == ENGRAM_OK && r < base->last - base->first; r++) {
        bool labelled = data->labels.codes[base->first + r] >= 0;
        data->labelled += labelled;
        if (!labelled) {
            data->allowed[r >> 3] &= (uint8_t) ~(1U << (r & 7));
        }
    }
    return status;
}

static enum engram_status read_labels(const struct engram_job_options *options,
                                      const struct engram_set_ref *base,
                                      struct engram_row_data *data)
{
    struct engram_column column = {0};
    struct place place;

    if (options->labels == NULL) {
        return ENGRAM_OK;
    }
    enum engram_status status = locate(options, base->file->path, options->labels, &place);
    if (status == ENGRAM_OK && place.file == NULL) {
        status = read_label_file(options, base, data);
    } else if (status == ENGRAM_OK) {
        free(place.file);
        status = read_column(options, "--labels", options->labels, base, &place, data->labels_path,
                             &column);
        if (status == ENGRAM_OK) {
            status = engram_labels_of(&column, &options->log, &data->labels);
        }
        engram_column_free(&column);
    }
    if (status == ENGRAM_OK && data->labels.count != base->dataset->dims[0]) {
        status = wrong_count(options, &place, data->labels.count, base->file->path, base->dataset);
    }
    free(place.file);
    return status == ENGRAM_OK ? allow_labelled(options, base, data) : status;
}

static uint64_t chain(uint64_t hash, const void *bytes, size_t size)
{
    return size == 0 ? hash + 1 : engram_hash64(bytes, size, hash);
}

/* The content, whatever the paths. */
static void hash_content(const struct engram_inputs *inputs, struct engram_row_data *data)
{
    size_t base = (size_t)(inputs->base.last - inputs->base.first);
    size_t queries = (size_t)(inputs->queries.last - inputs->queries.first);
    const struct engram_labels *labels = &data->labels;

    for (uint64_t i = 0; i < 2; i++) {
        uint64_t hash = i + 1;
        if (data->allowed != NULL) {
            hash = chain(hash + 10, data->allowed, base / 8 + 1);
        }
        if (data->base_groups != NULL) {
            hash = chain(hash + 20, data->base_groups, base * sizeof(int64_t));
            hash = chain(hash, data->query_groups, queries * sizeof(int64_t));
        }
        if (labels->codes != NULL) {
            size_t names = (size_t)labels->names.count;
            hash = chain(hash + 30, labels->codes, (size_t)labels->count * sizeof(int64_t));
            hash = chain(hash, labels->names.ends, names * sizeof(size_t));
            hash = chain(hash, labels->names.text, names == 0 ? 0 : labels->names.ends[names - 1]);
        }
        data->hashes[i] = hash == i + 1 ? 0 : hash;
    }
}

/* Clears what lies past the last row, and counts. */
static void count_allowed(const struct engram_set_ref *base, struct engram_row_data *data)
{
    int64_t rows = base->last - base->first;

    data->allowed_rows = data->allowed == NULL ? rows : 0;
    if (data->allowed == NULL) {
        return;
    }
    data->allowed[rows >> 3] &= (uint8_t)((1U << (rows & 7)) - 1);
    for (int64_t r = 0; r < rows; r++) {
        data->allowed_rows += get_bit(data->allowed, r);
    }
}

enum engram_status engram_row_data_read(const struct engram_job_options *options,
                                        const struct engram_inputs *inputs,
                                        struct engram_row_data *data)
{
    *data = (struct engram_row_data){0};
    enum engram_status status = read_subset(options, &inputs->base, data);
    if (status == ENGRAM_OK) {
        status = read_exclude_same(options, inputs, data);
    }
    if (status == ENGRAM_OK) {
        status = read_labels(options, &inputs->base, data);
    }
    if (status == ENGRAM_OK) {
        count_allowed(&inputs->base, data);
        hash_content(inputs, data);
    } else {
        engram_row_data_free(data);
    }
    return status;
}

bool engram_row_data_parse_hash(const char *text, uint64_t hashes[2])
{
    hashes[0] = 0;
    hashes[1] = 0;
    size_t length = strlen(text);
    if ((length != 0 && length != 32) || strspn(text, "0123456789abcdef") != length) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        uint64_t digit = (uint64_t)(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
        hashes[i / 16] = hashes[i / 16] << 4 | digit;
    }
    return true;
}

bool engram_row_data_hash(const struct engram_row_data *data, char text[33])
{
    (void)snprintf(text, 33, "%016" PRIx64 "%016" PRIx64, data->hashes[0], data->hashes[1]);
    return data->hashes[0] != 0 || data->hashes[1] != 0;
}

void engram_row_data_describe(const struct engram_inputs *inputs, char *text, size_t size)
{
    const struct engram_row_data *data = &inputs->row_data;
    const char *groups = data->base_groups != NULL ? "no match within a group" : "";
    char labels[80] = "";
    char subset[80] = "";

    if (data->allowed != NULL) {
        const char *how = data->subset_path[0] == '\0' ? ""
                          : data->subset_mask          ? ", by a mask"
                                                       : ", by row numbers";
        (void)snprintf(subset, sizeof subset, "%" PRId64 " of %" PRId64 " base rows%s%s",
                       data->allowed_rows, inputs->base.last - inputs->base.first, how,
                       groups[0] != '\0' ? "; " : "");
    }
    if (data->labels.codes != NULL) {
        int length = snprintf(labels, sizeof labels, "; %" PRId64 " %s with a label",
                              data->labelled, data->labelled == 1 ? "row" : "rows");
        if (data->unknown > 0 && length > 0) {
            (void)snprintf(labels + length, sizeof labels - (size_t)length,
                           ", %" PRId64 " unknown %s", data->unknown,
                           data->unknown == 1 ? "id" : "ids");
        }
    }
    (void)snprintf(text, size, "%s%s%s", subset, groups, labels);
}

uint64_t engram_row_data_bytes(const struct engram_inputs *inputs)
{
    const struct engram_row_data *data = &inputs->row_data;
    uint64_t base = (uint64_t)(inputs->base.last - inputs->base.first);
    uint64_t queries = (uint64_t)(inputs->job_queries[1] - inputs->job_queries[0]);
    uint64_t bytes = data->allowed != NULL ? base / 8 : 0;

    if (data->base_groups != NULL) {
        bytes += base * sizeof(int64_t);
        bytes += data->query_groups != data->base_groups ? queries * sizeof(int64_t) : 0;
    }
    if (data->labels.codes != NULL) {
        int64_t names = data->labels.names.count;
        bytes += (uint64_t)data->labels.count * sizeof(int64_t);
        bytes += names == 0 ? 0 : data->labels.names.ends[names - 1] + 8 * (uint64_t)names;
    }
    return bytes;
}

void engram_row_data_free(struct engram_row_data *data)
{
    if (data->query_groups != data->base_groups) {
        free(data->query_groups);
    }
    free(data->base_groups);
    free(data->allowed);
    engram_labels_free(&data->labels);
    *data = (struct engram_row_data){0};
}
