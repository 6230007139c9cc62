#define _GNU_SOURCE
#include "io/labels.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/size.h"
#include "io/text_index.h"

/* Names as they are met, each once. */
struct names {
    struct engram_texts *texts;
    size_t text_room;
    size_t ends_room;
    struct engram_text_index index;
};

static const char *text_at(const void *texts, int64_t number, size_t *length)
{
    return engram_texts_at(texts, number, length);
}

static enum engram_status no_memory(const struct engram_log *log)
{
    return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for the labels");
}

static bool grow(void **data, size_t *room, size_t wanted, size_t element)
{
    size_t larger = *room;
    size_t bytes;
    while (larger < wanted) {
        larger = larger < (size_t)-1 / 4 ? 2 * larger + 64 : wanted;
    }
    if (larger == *room) {
        return true;
    }
    void *moved = engram_size_mul(larger, element, &bytes) ? realloc(*data, bytes) : NULL;
    if (moved == NULL) {
        return false;
    }
    *data = moved;
    *room = larger;
    return true;
}

static bool append(struct names *names, const char *text, size_t length)
{
    struct engram_texts *texts = names->texts;
    size_t count = (size_t)texts->count;
    size_t used = count == 0 ? 0 : texts->ends[count - 1];
    void *bytes = texts->text;
    void *ends = texts->ends;
    bool ok = length < (size_t)-1 / 2 - used &&
              grow(&bytes, &names->text_room, used + length + 1, 1) &&
              grow(&ends, &names->ends_room, count + 1, sizeof *texts->ends);
    texts->text = bytes;
    texts->ends = ends;
    if (!ok) {
        return false;
    }
    if (length > 0) {
        memcpy(texts->text + used, text, length);
    }
    texts->ends[count] = used + length;
    texts->count++;
    return true;
}

/* Starts from what `texts` holds already. */
static bool open_names(struct names *names, struct engram_texts *texts)
{
    *names = (struct names){.texts = texts};
    names->ends_room = (size_t)texts->count;
    names->text_room = texts->count == 0 ? 0 : texts->ends[texts->count - 1];
    if (!engram_text_index_create(&names->index, (size_t)texts->count)) {
        return false;
    }
    for (int64_t i = 0; i < texts->count; i++) {
        if (!engram_text_index_add(&names->index, text_at, texts, i)) {
            return false;
        }
    }
    return true;
}

/* The code of a label, a new one for a new label, -1 for an empty one. False without memory. */
static bool code_of(struct names *names, const char *text, size_t length, int64_t *code)
{
    *code = -1;
    if (length == 0) {
        return true;
    }
    *code = engram_text_index_find(&names->index, text_at, names->texts, text, length);
    if (*code >= 0) {
        return true;
    }
    *code = names->texts->count;
    return append(names, text, length) &&
           engram_text_index_add(&names->index, text_at, names->texts, *code);
}

/* codes[i] of every text. */
static enum engram_status code_texts(const struct engram_texts *texts, int64_t *codes,
                                     struct engram_texts *names_out, const struct engram_log *log)
{
    struct names names;
    bool ok = open_names(&names, names_out);

    for (int64_t i = 0; ok && i < texts->count; i++) {
        size_t length;
        const char *text = engram_texts_at(texts, i, &length);
        ok = code_of(&names, text, length, &codes[i]);
    }
    engram_text_index_free(&names.index);
    return ok ? ENGRAM_OK : no_memory(log);
}

static bool make_codes(struct engram_labels *labels, int64_t count)
{
    size_t bytes;
    labels->count = count;
    if (!engram_size_mul((size_t)count + 1, sizeof *labels->codes, &bytes) ||
        (labels->codes = malloc(bytes)) == NULL) {
        return false;
    }
    memset(labels->codes, 0xff, bytes); /* -1 */
    return true;
}

/* Codes of a categorical column; its categories may be empty or, in odd files, alike. */
static enum engram_status from_codes(const struct engram_column *column,
                                     struct engram_labels *labels, const struct engram_log *log)
{
    int64_t *meaning = malloc(((size_t)column->texts.count + 1) * sizeof *meaning);
    enum engram_status status = meaning == NULL || !make_codes(labels, column->count)
                                    ? no_memory(log)
                                    : code_texts(&column->texts, meaning, &labels->names, log);
    for (int64_t i = 0; status == ENGRAM_OK && i < column->count; i++) {
        labels->codes[i] = column->numbers[i] < 0 ? -1 : meaning[column->numbers[i]];
    }
    free(meaning);
    return status;
}

enum engram_status engram_labels_of(struct engram_column *column, const struct engram_log *log,
                                    struct engram_labels *labels)
{
    enum engram_status status = ENGRAM_OK;

    *labels = (struct engram_labels){0};
    switch (column->kind) {
    case ENGRAM_COLUMN_NUMBERS:
    case ENGRAM_COLUMN_BOOLS:
        *labels = (struct engram_labels){column->count, column->numbers, true, {0}};
        column->numbers = NULL;
        for (int64_t i = 0; i < labels->count; i++) {
            labels->codes[i] = labels->codes[i] < 0 ? -1 : labels->codes[i];
        }
        break;
    case ENGRAM_COLUMN_TEXTS:
        status = make_codes(labels, column->count)
                     ? code_texts(&column->texts, labels->codes, &labels->names, log)
                     : no_memory(log);
        break;
    case ENGRAM_COLUMN_CODES:
        status = from_codes(column, labels, log);
        break;
    }
    if (status != ENGRAM_OK) {
        engram_labels_free(labels);
    }
    return status;
}

enum engram_status engram_labels_unite(struct engram_labels *labels, struct engram_labels *other,
                                       const struct engram_log *log)
{
    if (labels->numbers != other->numbers) {
        return engram_fail(
            log, ENGRAM_ERR_DATA, "the groups of the base are %s, those of the queries %s",
            labels->numbers ? "numbers" : "strings", other->numbers ? "numbers" : "strings");
    }
    if (labels->numbers) {
        return ENGRAM_OK;
    }
    int64_t *meaning = malloc(((size_t)other->names.count + 1) * sizeof *meaning);
    enum engram_status status =
        meaning == NULL ? no_memory(log) : code_texts(&other->names, meaning, &labels->names, log);
    for (int64_t i = 0; status == ENGRAM_OK && i < other->count; i++) {
        other->codes[i] = other->codes[i] < 0 ? -1 : meaning[other->codes[i]];
    }
    free(meaning);
    return status;
}

/* A label file being read. */
struct label_file {
    const char *path;
    const struct engram_log *log;
    const struct engram_ids *ids;
    struct engram_text_index rows; /* of the first row with each id */
    struct names names;
    struct engram_labels *labels;
    int64_t line;
    int64_t known;     /* lines with the id of a row */
    int64_t unknown;   /* other lines */
    char stranger[80]; /* the first id that no row has */
};

static const char *id_at(const void *ids_of, int64_t row, size_t *length)
{
    const struct engram_ids *ids = ids_of;
    const char *id = ids->text + (size_t)row * ids->width;
    *length = strnlen(id, ids->width);
    return id;
}

static enum engram_status bad_line(const struct label_file *file, const char *what)
{
    return engram_fail(file->log, ENGRAM_ERR_DATA,
                       "%s: line %" PRId64 ": %s; lines have to be id<TAB>label", file->path,
                       file->line, what);
}

static enum engram_status take_line(struct label_file *file, const char *text, size_t length)
{
    int64_t code;

    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r')) {
        length--;
    }
    if (length == 0) {
        return ENGRAM_OK;
    }
    const char *tab = memchr(text, '\t', length);
    if (tab == NULL) {
        return bad_line(file, "has no tab");
    }
    size_t id_length = (size_t)(tab - text);
    size_t label_length = length - id_length - 1;
    if (id_length == 0) {
        return bad_line(file, "has no id");
    }
    if (memchr(tab + 1, '\t', label_length) != NULL) {
        return bad_line(file, "has more than one tab");
    }
    int64_t row = engram_text_index_find(&file->rows, id_at, file->ids, text, id_length);
    if (row < 0) {
        if (file->unknown++ == 0) {
            snprintf(file->stranger, sizeof file->stranger, "%.*s",
                     id_length < 79 ? (int)id_length : 79, text);
        }
        return ENGRAM_OK;
    }
    file->known++;
    if (!code_of(&file->names, tab + 1, label_length, &code)) {
        return no_memory(file->log);
    }
    if (code >= 0 && file->labels->codes[row] >= 0 && file->labels->codes[row] != code) {
        return engram_fail(file->log, ENGRAM_ERR_DATA,
                           "%s: line %" PRId64 ": the id has another label on an earlier line",
                           file->path, file->line);
    }
    file->labels->codes[row] = code >= 0 ? code : file->labels->codes[row];
    return ENGRAM_OK;
}

static enum engram_status take_lines(struct label_file *file, FILE *stream)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t length;
    enum engram_status status = ENGRAM_OK;

    while (status == ENGRAM_OK && (errno = 0, length = getline(&text, &room, stream)) >= 0) {
        /* A mark that some editors put before the first character. */
        size_t skip =
            file->line++ == 0 && length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        status = take_line(file, text + skip, (size_t)length - skip);
    }
    if (status == ENGRAM_OK && !feof(stream)) {
        status = engram_fail(file->log, errno == ENOMEM ? ENGRAM_ERR_RESOURCE : ENGRAM_ERR_IO,
                             "%s: cannot be read: %s", file->path, strerror(errno));
    }
    free(text);
    return status;
}

/* Ids of another kind than those of the rows are a likely mistake. */
static void warn_of_strangers(const struct label_file *file)
{
    size_t length = 0;

    if (file->unknown > 0 && file->known == 0 && file->ids->count > 0) {
        const char *id = id_at(file->ids, 0, &length);
        engram_logf(file->log, ENGRAM_LOG_WARNING,
                    "%s: no row has any of its ids, such as \"%s\"; ids of rows are such as "
                    "\"%.*s\"",
                    file->path, file->stranger, length < 80 ? (int)length : 80, id);
    }
}

/* Finds rows by id; later rows of an id take over the label of the first in the end. */
static bool index_ids(struct label_file *file, int64_t *first)
{
    bool ok = engram_text_index_create(&file->rows, (size_t)file->ids->count);
    for (int64_t r = 0; ok && r < file->ids->count; r++) {
        size_t length;
        const char *id = id_at(file->ids, r, &length);
        first[r] = engram_text_index_find(&file->rows, id_at, file->ids, id, length);
        if (first[r] < 0) {
            first[r] = r;
            ok = engram_text_index_add(&file->rows, id_at, file->ids, r);
        }
    }
    return ok;
}

static enum engram_status open_stream(const char *path, const struct engram_log *log, FILE **stream)
{
    struct stat info;
    *stream = fopen(path, "re");
    int error = errno;
    if (*stream != NULL && fstat(fileno(*stream), &info) == 0 && S_ISDIR(info.st_mode)) {
        (void)fclose(*stream);
        *stream = NULL;
        error = EISDIR;
    }
    if (*stream != NULL) {
        return ENGRAM_OK;
    }
    return engram_fail(log,
                       error == ENOENT || error == EISDIR  ? ENGRAM_ERR_NO_INPUT
                       : error == EACCES || error == EPERM ? ENGRAM_ERR_PERMISSION
                                                           : ENGRAM_ERR_IO,
                       "%s: cannot be opened: %s", path, strerror(error));
}

enum engram_status engram_labels_read_file(const char *path, const struct engram_ids *ids,
                                           const struct engram_log *log,
                                           struct engram_labels *labels, int64_t *unknown)
{
    struct label_file file = {.path = path, .log = log, .ids = ids, .labels = labels};
    FILE *stream;

    *labels = (struct engram_labels){0};
    enum engram_status status = open_stream(path, log, &stream);
    if (status != ENGRAM_OK) {
        return status;
    }
    int64_t *first = calloc((size_t)ids->count + 1, sizeof *first);
    if (first == NULL || !make_codes(labels, ids->count) || !index_ids(&file, first) ||
        !open_names(&file.names, &labels->names)) {
        status = no_memory(log);
    }
    if (status == ENGRAM_OK) {
        status = take_lines(&file, stream);
    }
    if (status == ENGRAM_OK) {
        warn_of_strangers(&file);
    }
    for (int64_t r = 0; status == ENGRAM_OK && r < ids->count; r++) {
        labels->codes[r] = labels->codes[first[r]];
    }
    *unknown = file.unknown;
    engram_text_index_free(&file.rows);
    engram_text_index_free(&file.names.index);
    free(first);
    (void)fclose(stream); /* nothing was written */
    if (status != ENGRAM_OK) {
        engram_labels_free(labels);
    }
    return status;
}

const char *engram_labels_name(const struct engram_labels *labels, int64_t code, char room[24],
                               size_t *length)
{
    if (!labels->numbers) {
        return engram_texts_at(&labels->names, code, length);
    }
    *length = (size_t)snprintf(room, 24, "%" PRId64, code);
    return room;
}

void engram_labels_free(struct engram_labels *labels)
{
    free(labels->codes);
    engram_texts_free(&labels->names);
    *labels = (struct engram_labels){0};
}
