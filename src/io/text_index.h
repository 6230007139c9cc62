/* Finds strings by content: a hash table of numbers that stand for strings kept elsewhere. */
#ifndef ENGRAM_IO_TEXT_INDEX_H
#define ENGRAM_IO_TEXT_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engram_text_index {
    int64_t *slots; /* number of a string, or -1 */
    size_t room;    /* a power of two */
    size_t used;
};

/* The text behind a number. */
typedef const char *(*engram_text_at_fn)(const void *texts, int64_t number, size_t *length);

/* Room for `expected` strings to begin with; it grows by itself. False when memory fails. */
bool engram_text_index_create(struct engram_text_index *index, size_t expected);
void engram_text_index_free(struct engram_text_index *index);

/* The number of an equal string, or -1. */
int64_t engram_text_index_find(const struct engram_text_index *index, engram_text_at_fn at,
                               const void *texts, const char *text, size_t length);

/* Adds a number whose string is not in the index yet. False when memory fails. */
bool engram_text_index_add(struct engram_text_index *index, engram_text_at_fn at, const void *texts,
                           int64_t number);

#endif
