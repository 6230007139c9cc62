/* Row ids: strings, stored one after the other. */
#ifndef ENGRAM_IO_IDS_H
#define ENGRAM_IO_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "engram/status.h"

struct engram_ids {
    int64_t count;
    size_t width; /* bytes of the longest id, at least 1 */
    char *text;   /* count x width bytes, NUL-padded, not terminated when an id fills its place */
};

/* Strings without padding, one behind the other: string i ends before text[ends[i]]. */
struct engram_texts {
    int64_t count;
    char *text;
    size_t *ends;
};

static inline const char *engram_texts_at(const struct engram_texts *texts, int64_t i,
                                          size_t *length)
{
    size_t start = i == 0 ? 0 : texts->ends[i - 1];
    *length = texts->ends[i] - start;
    return texts->text + start;
}

/* As engram_ids_read, but each at its own length. Freed with engram_texts_free. */
enum engram_status engram_texts_read(const char *path, const char *dataset, int64_t first,
                                     int64_t last, const struct engram_log *log,
                                     struct engram_texts *texts);
void engram_texts_free(struct engram_texts *texts);

/* Reads rows [first, last) of the string dataset `dataset` of file `path` (fixed or variable
 * length, any padding; trailing NULs and the padding of space-padded strings removed).
 * Freed with engram_ids_free. Errors: NO_INPUT, DATA, RESOURCE, IO. */
enum engram_status engram_ids_read(const char *path, const char *dataset, int64_t first,
                                   int64_t last, const struct engram_log *log,
                                   struct engram_ids *ids);

/* The same from what the layout found: such a dataset, or a set of items. */
struct engram_dataset_info;
enum engram_status engram_ids_of(const char *path, const struct engram_dataset_info *from,
                                 int64_t first, int64_t last, const struct engram_log *log,
                                 struct engram_ids *ids);
void engram_ids_free(struct engram_ids *ids);

#endif
