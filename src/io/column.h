/* One value for every row: a 1-D dataset of numbers or strings, also a member of a compound
 * dataset, or one of AnnData's groups for columns (categorical, nullable), read whole. */
#ifndef ENGRAM_IO_COLUMN_H
#define ENGRAM_IO_COLUMN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/ids.h"

enum engram_column_kind {
    ENGRAM_COLUMN_NUMBERS,
    ENGRAM_COLUMN_BOOLS, /* an enumeration, as h5py writes bools; its numbers */
    ENGRAM_COLUMN_TEXTS,
    ENGRAM_COLUMN_CODES /* numbers[i] is an entry of `texts` or, negative, none */
};

struct engram_column {
    enum engram_column_kind kind;
    int64_t count;
    int64_t *numbers;          /* all kinds but TEXTS */
    struct engram_texts texts; /* TEXTS: [count]; CODES: the categories */
};

/* Whether the file has an object of that name that could be a column; false also when the file
 * cannot be opened. */
bool engram_column_exists(const char *path, const char *name);

/* What is missing in a nullable column is "" or -1. Freed with engram_column_free. Errors:
 * NO_INPUT, DATA (another rank or type, unsigned numbers beyond int64, codes that are no category),
 * RESOURCE, IO, USAGE (virtual or external storage). */
enum engram_status engram_column_read(const char *path, const char *name,
                                      const struct engram_log *log, struct engram_column *column);

/* Puts the rows of `more` behind those of `column`. DATA when they are of another kind, which the
 * caller tells; RESOURCE. */
enum engram_status engram_column_append(struct engram_column *column,
                                        const struct engram_column *more,
                                        const struct engram_log *log);
void engram_column_free(struct engram_column *column);

#endif
