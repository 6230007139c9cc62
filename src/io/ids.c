#define _GNU_SOURCE
#include "io/ids.h"

#include <stdbool.h>
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
#include "io/items.h"
#include "io/member.h"
#include "io/memory.h"
#include "io/references.h"

/* Bytes of fixed-length strings, and number of variable-length ones, that are read at once: the
 * strings HDF5 allocates for us stay bounded. */
#define SLICE_BYTES ((size_t)16 << 20)
#define SLICE_STRINGS 65536

/* A table of equally wide ids this large is refused when it is mostly padding. */
#define WASTE_FROM ((size_t)1 << 30)
#define WASTE_FACTOR 8

struct reader {
    const char *path;
    const char *name;
    const char *member; /* of a compound dataset; NULL */
    const struct engram_log *log;
    hid_t dataset;
    hid_t type; /* as it is read */
    hid_t space;
    bool variable;
    bool spaces; /* padded with spaces */
    size_t size; /* of one fixed-length string */
    int64_t first;
    int64_t count;
    void *slice;
    int64_t slice_count;
    char *text; /* all ids one after the other, without padding */
    size_t used;
    size_t capacity;
    size_t *ends; /* where each id ends in `text` */
    size_t longest;
};

static enum engram_status no_memory(const struct reader *reader)
{
    return engram_fail(reader->log, ENGRAM_ERR_RESOURCE, "%s: %s: not enough memory for %lld ids",
                       reader->path, reader->name, (long long)reader->count);
}

static enum engram_status hdf5_failure(const struct reader *reader, const char *what)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    return engram_fail(reader->log, engram_h5_read_status(message), "%s: %s: %s (%s)", reader->path,
                       reader->name, what, message);
}

/* Drops trailing NULs (and what follows the first NUL) or the spaces of space padding. */
static size_t real_length(const struct reader *reader, const char *text, size_t size)
{
    size_t length = strnlen(text, size);

    while (reader->spaces && length > 0 && text[length - 1] == ' ') {
        length--;
    }
    return length;
}

static bool append(struct reader *reader, int64_t index, const char *text, size_t length)
{
    if (length > reader->capacity - reader->used) {
        size_t wanted = 0;
        if (!engram_size_add(reader->used, length, &wanted) || wanted > (size_t)-1 / 2) {
            return false;
        }
        wanted = 2 * wanted + 4096;
        char *larger = realloc(reader->text, wanted);
        if (larger == NULL) {
            return false;
        }
        reader->text = larger;
        reader->capacity = wanted;
    }
    if (length > 0) {
        memcpy(reader->text + reader->used, text, length);
    }
    reader->used += length;
    reader->ends[index] = reader->used;
    reader->longest = length > reader->longest ? length : reader->longest;
    return true;
}

static bool keep_slice(struct reader *reader, int64_t from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const char *text = NULL;
        size_t length = 0;
        if (reader->variable) {
            text = ((char *const *)reader->slice)[i];
            length = text == NULL ? 0 : real_length(reader, text, strlen(text));
        } else {
            text = (const char *)reader->slice + (size_t)i * reader->size;
            length = real_length(reader, text, reader->size);
        }
        if (!append(reader, from + i, text, length)) {
            return false;
        }
    }
    return true;
}

static enum engram_status slice_failure(const struct reader *reader, int64_t from, int64_t count)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    enum engram_status status = engram_h5_read_status(message);
    if (engram_h5_missing_filter(reader->dataset, message, sizeof message)) {
        status = ENGRAM_ERR_PLUGIN;
    }
    return engram_fail(reader->log, status, "%s: %s: ids %lld to %lld cannot be read (%s)",
                       reader->path, reader->name, (long long)(reader->first + from),
                       (long long)(reader->first + from + count), message);
}

static enum engram_status read_slice(struct reader *reader, int64_t from, int64_t count)
{
    hsize_t start = (hsize_t)(reader->first + from);
    hsize_t length = (hsize_t)count;
    ENGRAM_H5_HANDLE hid_t memory = H5Screate_simple(1, &length, NULL);

    if (memory < 0 ||
        H5Sselect_hyperslab(reader->space, H5S_SELECT_SET, &start, NULL, &length, NULL) < 0) {
        return hdf5_failure(reader, "ids cannot be selected");
    }
    if (reader->variable) {
        memset(reader->slice, 0, (size_t)count * sizeof(char *));
    }
    engram_reading_bytes((uint64_t)count * (reader->variable ? 64 : reader->size));
    if (engram_h5_read(reader->dataset, reader->type, memory, reader->space, reader->slice) < 0) {
        return slice_failure(reader, from, count);
    }
    bool kept = keep_slice(reader, from, count);
    if (reader->variable) {
        (void)engram_h5_reclaim(reader->type, memory, reader->slice);
    }
    return kept ? ENGRAM_OK : no_memory(reader);
}

static enum engram_status read_all(struct reader *reader)
{
    size_t size = reader->variable ? sizeof(char *) : reader->size;
    size_t bytes = 0;

    reader->slice_count = reader->variable ? SLICE_STRINGS : (int64_t)(SLICE_BYTES / size);
    if (reader->slice_count < 1) {
        reader->slice_count = 1;
    }
    if (reader->slice_count > reader->count) {
        reader->slice_count = reader->count;
    }
    /* Ids that are not in memory yet need at least their ends. */
    if (!engram_size_mul((size_t)reader->count, sizeof *reader->ends, &bytes) ||
        bytes > engram_memory_available()) {
        return no_memory(reader);
    }
    reader->ends = malloc(bytes);
    reader->slice = malloc((size_t)reader->slice_count * size);
    if (reader->ends == NULL || reader->slice == NULL) {
        return no_memory(reader);
    }
    for (int64_t from = 0; from < reader->count; from += reader->slice_count) {
        int64_t left = reader->count - from;
        enum engram_status status =
            read_slice(reader, from, left < reader->slice_count ? left : reader->slice_count);
        if (status != ENGRAM_OK) {
            return status;
        }
    }
    return ENGRAM_OK;
}

static enum engram_status check_dataset(struct reader *reader, int64_t last)
{
    struct engram_dataset_info info = {0};
    enum engram_status status;

    if (engram_h5_describe_member(reader->dataset, reader->member, &info) < 0) {
        return hdf5_failure(reader, "cannot be described");
    }
    if (info.content != ENGRAM_CONTENT_STRINGS || info.rank != 1) {
        return engram_fail(reader->log, ENGRAM_ERR_DATA,
                           "%s: %s: ids have to be a 1-D dataset of strings (rank %d, %s)",
                           reader->path, reader->name, info.rank, info.type_name);
    }
    if (info.storage == ENGRAM_STORAGE_VIRTUAL || info.storage == ENGRAM_STORAGE_EXTERNAL) {
        return engram_fail(reader->log, ENGRAM_ERR_USAGE,
                           "%s: %s: ids in virtual or external storage are not supported yet",
                           reader->path, reader->name);
    }
    if (reader->first < 0 || reader->first > last || last > info.dims[0]) {
        return engram_fail(reader->log, ENGRAM_ERR_DATA, "%s: %s: holds %lld ids, not %lld",
                           reader->path, reader->name, (long long)info.dims[0], (long long)last);
    }
    reader->count = last - reader->first;
    ENGRAM_H5_HANDLE hid_t whole = H5Dget_type(reader->dataset);
    ENGRAM_H5_HANDLE hid_t type = whole < 0 ? -1 : engram_h5_member_type(whole, reader->member);
    reader->space = H5Dget_space(reader->dataset);
    if (type < 0 || reader->space < 0) {
        return hdf5_failure(reader, "cannot be opened");
    }
    reader->variable = H5Tis_variable_str(type) > 0;
    reader->spaces = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
    reader->size = reader->variable ? 0 : H5Tget_size(type);
    reader->type = reader->member == NULL
                       ? H5Tcopy(type)
                       : engram_h5_member_memory_type(reader->member, H5Tcopy(type), 0);
    if (reader->type < 0) {
        return hdf5_failure(reader, "its type cannot be read");
    }
    if (!reader->variable && (reader->size == 0 || reader->size > PTRDIFF_MAX)) {
        return hdf5_failure(reader, "its type cannot be read");
    }
    const struct engram_claim claim = {reader->path,       reader->name, reader->log,
                                       reader->dataset,    &info,        (uint64_t)reader->count,
                                       H5Tget_size(whole), true};
    status = engram_h5_check_claim(&claim);
    return status == ENGRAM_OK && reader->variable
               ? engram_h5_check_references(&claim, reader->member, reader->first)
               : status;
}

/* Spreads the ids out to equal widths. */
static enum engram_status lay_out(const struct reader *reader, struct engram_ids *ids)
{
    size_t width = reader->longest > 0 ? reader->longest : 1;
    size_t bytes = 0;
    bool fits = engram_size_mul((size_t)reader->count, width, &bytes);
    /* used > limit / factor rather than a product that could wrap */
    bool wasteful = !fits || (bytes > WASTE_FROM && bytes / WASTE_FACTOR > reader->used);

    if (wasteful) {
        return engram_fail(reader->log, ENGRAM_ERR_RESOURCE,
                           "%s: %s: the longest of %lld ids has %zu bytes, and results store all "
                           "ids at equal width; name other ids with --ids",
                           reader->path, reader->name, (long long)reader->count, width);
    }
    ids->text = bytes > engram_memory_available() ? NULL : calloc(bytes > 0 ? bytes : 1, 1);
    if (ids->text == NULL) {
        return no_memory(reader);
    }
    size_t start = 0;
    for (int64_t i = 0; i < reader->count; i++) {
        size_t length = reader->ends[i] - start;
        if (length > 0) {
            memcpy(ids->text + (size_t)i * width, reader->text + start, length);
        }
        start = reader->ends[i];
    }
    ids->count = reader->count;
    ids->width = width;
    return ENGRAM_OK;
}

/* Reads all strings into `reader`, which the caller frees with close_reader. */
static enum engram_status read_strings(struct reader *reader, int64_t last)
{
    ENGRAM_READING(reader->path, reader->name);
    ENGRAM_H5_HANDLE hid_t file = -1;

    enum engram_status status = engram_h5_open(reader->path, reader->log, &file);
    if (status != ENGRAM_OK) {
        return status;
    }
    ENGRAM_H5_QUIET;
    ENGRAM_H5_HANDLE hid_t opened = engram_h5_open_member(file, reader->name, &reader->member);
    if (opened < 0) {
        char message[256];
        engram_h5_message(message, sizeof message);
        if (strstr(message, "doesn't exist") != NULL || strstr(message, "not found") != NULL) {
            return engram_fail(reader->log, ENGRAM_ERR_NO_INPUT, "%s: %s: no such dataset",
                               reader->path, reader->name);
        }
        return hdf5_failure(reader, "cannot be opened");
    }
    reader->dataset = opened;
    status = check_dataset(reader, last);
    if (status == ENGRAM_OK && reader->count > 0) {
        status = read_all(reader);
    }
    return status;
}

static void close_reader(struct reader *reader)
{
    ENGRAM_READING(reader->path, reader->name);
    free(reader->slice);
    free(reader->text);
    free(reader->ends);
    engram_h5_close(&reader->type);
    engram_h5_close(&reader->space);
}

enum engram_status engram_ids_read(const char *path, const char *dataset, int64_t first,
                                   int64_t last, const struct engram_log *log,
                                   struct engram_ids *ids)
{
    struct reader reader = {
        .path = path, .name = dataset, .log = log, .type = -1, .space = -1, .first = first};

    *ids = (struct engram_ids){.width = 1};
    enum engram_status status = read_strings(&reader, last);
    if (status == ENGRAM_OK) {
        status = lay_out(&reader, ids);
    }
    close_reader(&reader);
    return status;
}

enum engram_status engram_ids_of(const char *path, const struct engram_dataset_info *from,
                                 int64_t first, int64_t last, const struct engram_log *log,
                                 struct engram_ids *ids)
{
    return from->items != NULL ? engram_items_ids(from->items, path, first, last, log, ids)
                               : engram_ids_read(path, from->path, first, last, log, ids);
}

void engram_ids_free(struct engram_ids *ids)
{
    free(ids->text);
    *ids = (struct engram_ids){.width = 1};
}

enum engram_status engram_texts_read(const char *path, const char *dataset, int64_t first,
                                     int64_t last, const struct engram_log *log,
                                     struct engram_texts *texts)
{
    struct reader reader = {
        .path = path, .name = dataset, .log = log, .type = -1, .space = -1, .first = first};

    *texts = (struct engram_texts){0};
    enum engram_status status = read_strings(&reader, last);
    if (status == ENGRAM_OK) {
        *texts = (struct engram_texts){reader.count, reader.text, reader.ends};
        reader.text = NULL;
        reader.ends = NULL;
    }
    close_reader(&reader);
    return status;
}

void engram_texts_free(struct engram_texts *texts)
{
    free(texts->text);
    free(texts->ends);
    *texts = (struct engram_texts){0};
}
