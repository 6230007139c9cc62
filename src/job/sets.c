#include "job/sets.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/size.h"
#include "io/memory.h"
#include "search/metric.h"

/* What two parts have in common; float64 holds what any slab holds. */
static void take_in(struct engram_dataset_info *whole, const struct engram_dataset_info *part)
{
    if (part->dtype != whole->dtype) {
        bool narrow =
            engram_source_dtype(whole) == ENGRAM_F32 && engram_source_dtype(part) == ENGRAM_F32;
        whole->dtype = narrow ? ENGRAM_F32 : ENGRAM_F64;
    }
    if (strcmp(part->type_name, whole->type_name) != 0) {
        (void)snprintf(whole->type_name, sizeof whole->type_name, "%s of several types",
                       engram_dtype_name(engram_source_dtype(whole)));
    }
    whole->bits = part->bits == ENGRAM_BITS_NONE ? ENGRAM_BITS_NONE : whole->bits;
}

static enum engram_status describe_whole(struct engram_set_ref *set, const struct engram_log *log)
{
    const struct engram_set_part *first = &set->parts[0];

    *set->whole = *first->dataset;
    /* No memory would be enough for it: said before memory is asked about. */
    if (first->dataset->dims[1] > ENGRAM_DIM_MAX) {
        return engram_fail(
            log, ENGRAM_ERR_DATA, "%s: %s: has %" PRId64 " dimensions; the limit is %" PRId64,
            first->file->path, first->dataset->path, first->dataset->dims[1], ENGRAM_DIM_MAX);
    }
    for (size_t i = 1; i < set->part_count; i++) {
        const struct engram_set_part *part = &set->parts[i];
        if (part->dataset->dims[1] != first->dataset->dims[1]) {
            return engram_fail(log, ENGRAM_ERR_DATA,
                               "dimensions differ: %s: %s has %" PRId64 ", %s: %s has %" PRId64,
                               first->file->path, first->dataset->path, first->dataset->dims[1],
                               part->file->path, part->dataset->path, part->dataset->dims[1]);
        }
        if (__builtin_add_overflow(set->whole->dims[0], part->dataset->dims[0],
                                   &set->whole->dims[0])) {
            return engram_fail(log, ENGRAM_ERR_RESOURCE, "too many rows in all");
        }
        take_in(set->whole, part->dataset);
    }
    return ENGRAM_OK;
}

enum engram_status engram_set_create(const struct engram_set_part *parts, size_t count,
                                     const struct engram_log *log, struct engram_set_ref *set)
{
    *set = (struct engram_set_ref){.file = parts[0].file, .dataset = parts[0].dataset};
    set->parts = calloc(count, sizeof *set->parts);
    set->sources = calloc(count, sizeof *set->sources);
    set->whole = calloc(1, sizeof *set->whole);
    if (set->parts == NULL || set->sources == NULL || set->whole == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for %zu sets", count);
    }
    memcpy(set->parts, parts, count * sizeof *parts);
    set->part_count = count;
    for (size_t i = 0; i < count; i++) {
        set->sources[i] = (struct engram_source_part){parts[i].file->path, parts[i].dataset};
    }
    enum engram_status status = describe_whole(set, log);
    if (count > 1) {
        set->whole->items = NULL; /* these are the first part's only */
        set->dataset = set->whole;
    }
    return status;
}

void engram_set_free(struct engram_set_ref *set)
{
    free(set->parts);
    free(set->sources);
    free(set->whole);
    *set = (struct engram_set_ref){0};
}

void engram_set_want_bits(struct engram_set_ref *set)
{
    set->whole->dtype = ENGRAM_BITS;
    set->dataset = set->whole;
}

enum engram_status engram_set_open(const struct engram_set_ref *set,
                                   const struct engram_source_options *options,
                                   struct engram_source **source)
{
    struct engram_source_options all = *options;

    all.path = set->file->path;
    all.dataset = set->dataset;
    all.first = set->first;
    all.last = set->last;
    if (set->dataset == set->whole) {
        all.parts = set->sources;
        all.part_count = set->part_count;
    }
    return engram_source_open(&all, source);
}

/* Appends the ids of a part, at a width that holds both. */
static enum engram_status join_ids(struct engram_ids *ids, const struct engram_ids *more,
                                   const struct engram_log *log)
{
    size_t width = ids->width > more->width ? ids->width : more->width;
    int64_t count = ids->count + more->count;
    size_t bytes = 0;
    bool fits = engram_size_mul((size_t)count, width, &bytes) && bytes <= engram_memory_available();
    char *text = fits ? calloc(bytes > 0 ? bytes : 1, 1) : NULL;

    if (text == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for %" PRId64 " ids",
                           count);
    }
    for (int64_t i = 0; i < count; i++) {
        const struct engram_ids *from = i < ids->count ? ids : more;
        int64_t row = i < ids->count ? i : i - ids->count;
        memcpy(text + (size_t)i * width, from->text + (size_t)row * from->width, from->width);
    }
    free(ids->text);
    *ids = (struct engram_ids){.count = count, .width = width, .text = text};
    return ENGRAM_OK;
}

enum engram_status engram_set_read_ids(const struct engram_set_ref *set, int64_t first,
                                       int64_t last, const struct engram_log *log,
                                       struct engram_ids *ids)
{
    enum engram_status status = ENGRAM_OK;
    int64_t start = 0;
    bool any = false;

    *ids = (struct engram_ids){.width = 1};
    for (size_t i = 0; status == ENGRAM_OK && i < set->part_count; i++) {
        const struct engram_set_part *part = &set->parts[i];
        int64_t rows = part->dataset->dims[0];
        int64_t from = first > start ? first - start : 0;
        int64_t to = last - start < rows ? last - start : rows;
        struct engram_ids more;
        start += rows;
        if (from >= to && (any || i + 1 < set->part_count)) {
            continue; /* at least one is asked, so that an empty range is laid out as ever */
        }
        if (from >= to) {
            from = 0;
            to = 0;
        }
        status = engram_ids_of(part->file->path, part->ids, from, to, log, &more);
        if (status == ENGRAM_OK && !any) {
            *ids = more;
            any = true;
        } else if (status == ENGRAM_OK) {
            status = join_ids(ids, &more, log);
            engram_ids_free(&more);
        }
    }
    if (status != ENGRAM_OK) {
        engram_ids_free(ids);
    }
    return status;
}

const char *engram_set_name(const struct engram_set_ref *set, char *text, size_t size)
{
    int length = snprintf(text, size, "%s: %s", set->file->path, set->dataset->path);

    if (set->part_count > 1 && length > 0 && (size_t)length < size) {
        (void)snprintf(text + length, size - (size_t)length, " and %zu more sets",
                       set->part_count - 1);
    }
    return text;
}
