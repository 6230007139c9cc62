/* Labels of rows: a code for every row, and what the codes stand for. */
#ifndef ENGRAM_IO_LABELS_H
#define ENGRAM_IO_LABELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/column.h"

struct engram_labels {
    int64_t count;
    int64_t *codes;            /* [count] negative: no label */
    bool numbers;              /* codes are the labels themselves, integers */
    struct engram_texts names; /* of the codes, all different; none with `numbers` */
};

/* Labels out of a column, which gives its memory away and is to be freed all the same. Empty
 * strings, negative numbers and missing values are no labels. Freed with engram_labels_free.
 * RESOURCE. */
enum engram_status engram_labels_of(struct engram_column *column, const struct engram_log *log,
                                    struct engram_labels *labels);

/* Rewrites the codes of `other` so that equal labels have equal codes in both; `labels` takes over
 * the names that only `other` has. DATA when one has numbers and the other has not. */
enum engram_status engram_labels_unite(struct engram_labels *labels, struct engram_labels *other,
                                       const struct engram_log *log);

/* Reads lines "id<TAB>label" (UTF-8, perhaps with CR at their ends; empty lines do not count) for
 * the rows whose ids these are; rows of one id share its label. An empty label is none. `*unknown`
 * is the number of ids in the file that no row has. Errors: NO_INPUT, PERMISSION, IO, RESOURCE;
 * DATA, naming the line: no tab or several, an empty id, an id with another label before. */
enum engram_status engram_labels_read_file(const char *path, const struct engram_ids *ids,
                                           const struct engram_log *log,
                                           struct engram_labels *labels, int64_t *unknown);

/* The text of a code that is not negative; `room` is used for numbers. */
const char *engram_labels_name(const struct engram_labels *labels, int64_t code, char room[24],
                               size_t *length);

void engram_labels_free(struct engram_labels *labels);

#endif
