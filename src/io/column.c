#define _GNU_SOURCE
#include "io/column.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/reading.h"
#include "base/size.h"
#include "io/claim.h"
#include "io/describe.h"
#include "io/h5.h"
#include "io/h5read.h"
#include "io/member.h"
#include "io/memory.h"
#include "io/objheader.h"

struct reader {
    const char *path;
    const char *name;
    const struct engram_log *log;
};

static enum engram_status hdf5_failure(const struct reader *reader, const char *what)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    return engram_fail(reader->log, engram_h5_read_status(message), "%s: %s: %s (%s)", reader->path,
                       reader->name, what, message);
}

static enum engram_status read_failure(const struct reader *reader, hid_t dataset)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    enum engram_status status = engram_h5_read_status(message);
    if (engram_h5_missing_filter(dataset, message, sizeof message)) {
        status = ENGRAM_ERR_PLUGIN;
    }
    return engram_fail(reader->log, status, "%s: %s: cannot be read (%s)", reader->path,
                       reader->name, message);
}

static enum engram_status wrong(const struct reader *reader, const char *what)
{
    return engram_fail(reader->log, ENGRAM_ERR_DATA, "%s: %s: %s", reader->path, reader->name,
                       what);
}

/* The kind of object a name leads to; H5I_BADID when there is none. A member of a compound dataset
 * counts as a dataset. */
static H5I_type_t object_kind(hid_t file, const char *name)
{
    const char *member = NULL;
    ENGRAM_H5_HANDLE hid_t access = engram_h5_link_access(H5P_LINK_ACCESS);
    ENGRAM_H5_HANDLE hid_t object = access < 0 ? -1 : engram_h5_open_object(file, name, access);

    if (object >= 0) {
        return H5Iget_type(object);
    }
    ENGRAM_H5_HANDLE hid_t dataset = engram_h5_open_member(file, name, &member);
    if (dataset < 0 || member == NULL) {
        return H5I_BADID;
    }
    ENGRAM_H5_HANDLE hid_t whole = H5Dget_type(dataset);
    ENGRAM_H5_HANDLE hid_t type = whole < 0 ? -1 : engram_h5_member_type(whole, member);
    return type < 0 ? H5I_BADID : H5I_DATASET;
}

bool engram_column_exists(const char *path, const char *name)
{
    ENGRAM_READING(path, name);
    ENGRAM_H5_HANDLE hid_t file = -1;

    if (name[0] == '\0' || engram_h5_open(path, NULL, &file) != ENGRAM_OK) {
        return false;
    }
    ENGRAM_H5_QUIET;
    H5I_type_t kind = object_kind(file, name);
    return kind == H5I_DATASET || kind == H5I_GROUP;
}

/* Reads `count` numbers of an integer or enumeration type. */
static enum engram_status read_numbers(const struct reader *reader, hid_t dataset,
                                       const char *member, hid_t type, struct engram_column *column)
{
    bool is_unsigned = H5Tget_class(type) == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_NONE;
    hid_t plain = H5Tcopy(is_unsigned ? H5T_NATIVE_UINT64 : H5T_NATIVE_INT64);
    ENGRAM_H5_HANDLE hid_t memory =
        member == NULL ? plain : engram_h5_member_memory_type(member, plain, 0);
    size_t bytes = 0;

    if (memory < 0) {
        return hdf5_failure(reader, "its type cannot be read");
    }
    if (!engram_size_mul((size_t)column->count + 1, sizeof *column->numbers, &bytes) ||
        bytes > engram_memory_available() || (column->numbers = malloc(bytes)) == NULL) {
        return engram_fail(reader->log, ENGRAM_ERR_RESOURCE, "%s: %s: not enough memory",
                           reader->path, reader->name);
    }
    engram_reading_bytes(bytes);
    if (column->count > 0 &&
        engram_h5_read(dataset, memory, H5S_ALL, H5S_ALL, column->numbers) < 0) {
        return read_failure(reader, dataset);
    }
    for (int64_t i = 0; is_unsigned && i < column->count; i++) {
        if (column->numbers[i] < 0) {
            return wrong(reader, "holds numbers beyond 2^63");
        }
    }
    return ENGRAM_OK;
}

/* A dataset, or a member of one. */
static enum engram_status read_dataset(const struct reader *reader, hid_t file,
                                       struct engram_column *column)
{
    struct engram_dataset_info info = {0};
    const char *member = NULL;
    ENGRAM_H5_HANDLE hid_t dataset = engram_h5_open_member(file, reader->name, &member);

    if (dataset < 0 || engram_h5_describe_member(dataset, member, &info) < 0) {
        return hdf5_failure(reader, "cannot be opened");
    }
    if (info.rank != 1) {
        return wrong(reader, "has to have one dimension, an entry for every row");
    }
    if (info.storage == ENGRAM_STORAGE_VIRTUAL || info.storage == ENGRAM_STORAGE_EXTERNAL) {
        return engram_fail(reader->log, ENGRAM_ERR_USAGE,
                           "%s: %s: is in virtual or external storage, which is not supported here",
                           reader->path, reader->name);
    }
    column->count = info.dims[0];
    if (info.content == ENGRAM_CONTENT_STRINGS) {
        column->kind = ENGRAM_COLUMN_TEXTS;
        return engram_texts_read(reader->path, reader->name, 0, column->count, reader->log,
                                 &column->texts);
    }
    ENGRAM_H5_HANDLE hid_t whole = H5Dget_type(dataset);
    ENGRAM_H5_HANDLE hid_t type = whole < 0 ? -1 : engram_h5_member_type(whole, member);
    H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    if (class != H5T_INTEGER && class != H5T_ENUM) {
        return engram_fail(reader->log, ENGRAM_ERR_DATA,
                           "%s: %s: has to hold strings, integers or bools, not %s", reader->path,
                           reader->name, info.type_name);
    }
    const struct engram_claim claim = {
        reader->path,       reader->name, reader->log, dataset, &info, (uint64_t)column->count,
        H5Tget_size(whole), true};
    enum engram_status status = engram_h5_check_claim(&claim);
    if (status != ENGRAM_OK) {
        return status;
    }
    column->kind = class == H5T_ENUM ? ENGRAM_COLUMN_BOOLS : ENGRAM_COLUMN_NUMBERS;
    return read_numbers(reader, dataset, member, type, column);
}

/* One dataset of a column group. */
static enum engram_status read_part(const struct reader *reader, hid_t file, const char *part,
                                    struct engram_column *column)
{
    char *name = NULL;

    if (asprintf(&name, "%s/%s", reader->name, part) < 0) {
        return engram_fail(reader->log, ENGRAM_ERR_RESOURCE, "%s: %s: not enough memory",
                           reader->path, reader->name);
    }
    const struct reader inner = {reader->path, name, reader->log};
    engram_reading_at(name);
    *column = (struct engram_column){0};
    enum engram_status status = read_dataset(&inner, file, column);
    free(name);
    return status;
}

/* Numbers as the texts that they are printed as. */
static enum engram_status numbers_to_texts(const struct reader *reader,
                                           const struct engram_column *numbers,
                                           struct engram_texts *texts)
{
    size_t count = (size_t)numbers->count;
    size_t used = 0;

    *texts = (struct engram_texts){numbers->count, NULL, NULL};
    texts->text = count < (size_t)-1 / 24 ? malloc(count * 24 + 1) : NULL;
    texts->ends = malloc((count + 1) * sizeof *texts->ends);
    if (texts->text == NULL || texts->ends == NULL) {
        return engram_fail(reader->log, ENGRAM_ERR_RESOURCE, "%s: %s: not enough memory",
                           reader->path, reader->name);
    }
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(texts->text + used, 24, "%lld", (long long)numbers->numbers[i]);
        texts->ends[i] = used;
    }
    return ENGRAM_OK;
}

/* codes and categories. */
static enum engram_status read_categorical(const struct reader *reader, hid_t file,
                                           struct engram_column *column)
{
    struct engram_column categories = {0};
    enum engram_status status = read_part(reader, file, "codes", column);

    if (status == ENGRAM_OK && column->kind != ENGRAM_COLUMN_NUMBERS) {
        status = wrong(reader, "its codes are no integers");
    }
    if (status == ENGRAM_OK) {
        status = read_part(reader, file, "categories", &categories);
    }
    if (status == ENGRAM_OK && categories.kind == ENGRAM_COLUMN_TEXTS) {
        column->texts = categories.texts;
        categories.texts = (struct engram_texts){0};
    } else if (status == ENGRAM_OK) {
        status = numbers_to_texts(reader, &categories, &column->texts);
    }
    engram_column_free(&categories);
    column->kind = ENGRAM_COLUMN_CODES;
    for (int64_t i = 0; status == ENGRAM_OK && i < column->count; i++) {
        if (column->numbers[i] >= column->texts.count) {
            status = wrong(reader, "holds codes that are none of its categories");
        }
    }
    return status;
}

/* Leaves out the strings of rows that the mask calls missing. */
static void drop_texts(struct engram_texts *texts, const int64_t *missing)
{
    size_t used = 0;
    size_t start = 0;

    for (int64_t i = 0; i < texts->count; i++) {
        size_t length = missing[i] != 0 ? 0 : texts->ends[i] - start;
        if (length > 0) {
            memmove(texts->text + used, texts->text + start, length);
        }
        start = texts->ends[i];
        used += length;
        texts->ends[i] = used;
    }
}

/* values and mask. */
static enum engram_status read_nullable(const struct reader *reader, hid_t file,
                                        struct engram_column *column)
{
    struct engram_column mask = {0};
    enum engram_status status = read_part(reader, file, "values", column);

    if (status == ENGRAM_OK) {
        status = read_part(reader, file, "mask", &mask);
    }
    if (status == ENGRAM_OK && (mask.numbers == NULL || mask.count != column->count)) {
        status = wrong(reader, "its mask does not fit its values");
    }
    if (status == ENGRAM_OK && column->kind == ENGRAM_COLUMN_TEXTS) {
        drop_texts(&column->texts, mask.numbers);
    }
    for (int64_t i = 0; status == ENGRAM_OK && column->numbers != NULL && i < column->count; i++) {
        column->numbers[i] = mask.numbers[i] != 0 ? -1 : column->numbers[i];
    }
    engram_column_free(&mask);
    return status;
}

static bool has_part(hid_t file, const struct reader *reader, const char *part)
{
    ENGRAM_H5_HANDLE hid_t access = engram_h5_link_access(H5P_LINK_ACCESS);
    ENGRAM_H5_HANDLE hid_t group =
        access < 0 ? -1 : engram_h5_open_object(file, reader->name, access);

    return group >= 0 && H5Lexists(group, part, H5P_DEFAULT) > 0;
}

enum engram_status engram_column_read(const char *path, const char *name,
                                      const struct engram_log *log, struct engram_column *column)
{
    const struct reader reader = {path, name, log};
    ENGRAM_READING(path, name);
    ENGRAM_H5_HANDLE hid_t file = -1;

    *column = (struct engram_column){0};
    enum engram_status status = engram_h5_open(path, log, &file);
    if (status != ENGRAM_OK) {
        return status;
    }
    ENGRAM_H5_QUIET;
    H5I_type_t kind = object_kind(file, name);
    if (kind == H5I_BADID) {
        return engram_fail(log, ENGRAM_ERR_NO_INPUT, "%s: %s: no such dataset", path, name);
    }
    if (kind != H5I_GROUP) {
        status = read_dataset(&reader, file, column);
    } else if (has_part(file, &reader, "codes") && has_part(file, &reader, "categories")) {
        status = read_categorical(&reader, file, column);
    } else if (has_part(file, &reader, "values") && has_part(file, &reader, "mask")) {
        status = read_nullable(&reader, file, column);
    } else {
        status = wrong(&reader, "is a group, not a dataset with an entry for every row");
    }
    if (status != ENGRAM_OK) {
        engram_column_free(column);
    }
    return status;
}

/* Strings behind strings. */
static bool append_texts(struct engram_texts *texts, const struct engram_texts *more)
{
    size_t used = texts->count == 0 ? 0 : texts->ends[texts->count - 1];
    size_t added = more->count == 0 ? 0 : more->ends[more->count - 1];
    size_t count = (size_t)texts->count + (size_t)more->count;
    char *text = added < (size_t)-1 / 2 - used ? realloc(texts->text, used + added + 1) : NULL;
    texts->text = text != NULL ? text : texts->text;
    size_t *ends = text == NULL ? NULL : realloc(texts->ends, (count + 1) * sizeof *ends);
    if (ends == NULL) {
        return false;
    }
    if (added > 0) {
        memcpy(text + used, more->text, added);
    }
    for (int64_t i = 0; i < more->count; i++) {
        ends[texts->count + i] = used + more->ends[i];
    }
    texts->ends = ends;
    texts->count = (int64_t)count;
    return true;
}

static bool append_numbers(struct engram_column *column, const struct engram_column *more)
{
    int64_t offset = column->kind == ENGRAM_COLUMN_CODES ? column->texts.count : 0;
    size_t count = (size_t)column->count + (size_t)more->count;
    int64_t *numbers = realloc(column->numbers, (count + 1) * sizeof *numbers);
    if (numbers == NULL) {
        return false;
    }
    for (int64_t i = 0; i < more->count; i++) {
        numbers[column->count + i] =
            more->numbers[i] < 0 ? more->numbers[i] : more->numbers[i] + offset;
    }
    column->numbers = numbers;
    return true;
}

enum engram_status engram_column_append(struct engram_column *column,
                                        const struct engram_column *more,
                                        const struct engram_log *log)
{
    if (column->kind != more->kind) {
        return ENGRAM_ERR_DATA;
    }
    bool texts = column->kind == ENGRAM_COLUMN_TEXTS;
    bool codes = column->kind == ENGRAM_COLUMN_CODES;
    if ((!texts && !append_numbers(column, more)) ||
        ((texts || codes) && !append_texts(&column->texts, &more->texts))) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for a value of every row");
    }
    column->count += more->count;
    return ENGRAM_OK;
}

void engram_column_free(struct engram_column *column)
{
    free(column->numbers);
    engram_texts_free(&column->texts);
    *column = (struct engram_column){0};
}
