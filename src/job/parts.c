#include "job/parts.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/size.h"
#include "io/source.h"

/* Answers of a part: some ten megabytes. */
#define PART_ANSWERS ((int64_t)1 << 20)
#define PART_QUERIES_MAX ((int64_t)64 * ENGRAM_ROW_GRAIN)

int64_t engram_parts_rows(int64_t k)
{
    int64_t rows = PART_ANSWERS / k / ENGRAM_ROW_GRAIN * ENGRAM_ROW_GRAIN;
    return rows < ENGRAM_ROW_GRAIN ? ENGRAM_ROW_GRAIN
                                   : (rows < PART_QUERIES_MAX ? rows : PART_QUERIES_MAX);
}

uint64_t engram_parts_bytes(int64_t k, uint64_t kept)
{
    uint64_t each = engram_saturating_add(sizeof(int64_t),
                                          engram_saturating_mul(kept, sizeof(struct engram_hit)));
    return engram_saturating_mul((uint64_t)engram_parts_rows(k), each);
}

enum engram_status engram_parts_create(enum engram_metric metric, int64_t k,
                                       const int64_t queries[2], size_t room,
                                       const struct engram_log *log, struct engram_parts *parts)
{
    int64_t total = queries[1] - queries[0];
    *parts = (struct engram_parts){.metric = metric,
                                   .k = k,
                                   .queries = {queries[0], queries[1]},
                                   .rows = engram_parts_rows(k),
                                   .room = room,
                                   .log = *log};
    parts->count = total / parts->rows + (total % parts->rows != 0);
    parts->parts = calloc((size_t)parts->count + 1, sizeof *parts->parts);
    if (parts->parts == NULL) {
        parts->count = 0;
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for the answers");
    }
    return ENGRAM_OK;
}

static size_t bytes_of(const struct engram_partial *partial)
{
    return partial->indptr == NULL
               ? 0
               : ((size_t)partial->queries + 1) * sizeof(int64_t) +
                     (size_t)partial->indptr[partial->queries] * sizeof(struct engram_hit);
}

static void drop(struct engram_parts *parts, struct engram_part *part)
{
    parts->held -= bytes_of(&part->known);
    engram_partial_free(&part->known);
    part->there = false;
}

void engram_parts_free(struct engram_parts *parts)
{
    for (int64_t i = 0; i < parts->count; i++) {
        drop(parts, &parts->parts[i]);
    }
    free(parts->parts);
    *parts = (struct engram_parts){0};
}

void engram_parts_clear(struct engram_parts *parts)
{
    for (int64_t i = 0; i < parts->count; i++) {
        drop(parts, &parts->parts[i]);
        parts->parts[i].dirty = false;
    }
}

void engram_parts_load(struct engram_parts *parts, const struct engram_journal *journal)
{
    parts->journal = journal;
}

static void range_of(const struct engram_parts *parts, int64_t i, int64_t range[2])
{
    range[0] = parts->queries[0] + i * parts->rows;
    range[1] =
        range[0] + parts->rows < parts->queries[1] ? range[0] + parts->rows : parts->queries[1];
}

/* ---- from the journal */

static enum engram_status merge_record(const struct engram_parts *parts,
                                       const struct engram_record *record,
                                       struct engram_partial *into)
{
    struct engram_partial saved;
    size_t size = (size_t)record->bytes;
    unsigned char *bytes = malloc(size > 0 ? size : 1);
    if (bytes == NULL) {
        return engram_fail(&parts->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to read the checkpoint");
    }
    enum engram_status status = engram_journal_read(parts->journal, record, 0, size, bytes);
    if (status == ENGRAM_OK) {
        const struct engram_log quiet = {NULL, NULL};
        status = engram_partial_deserialize(bytes, size, &quiet, &saved);
        if (status == ENGRAM_ERR_RESOURCE) {
            (void)engram_fail(&parts->log, status, "not enough memory to read the checkpoint");
        }
        status = status == ENGRAM_ERR_DATA ? engram_journal_is_damaged(parts->journal) : status;
    }
    free(bytes);
    if (status != ENGRAM_OK) {
        return status;
    }
    status = engram_partial_merge(into, &saved, &parts->log);
    engram_partial_free(&saved);
    return status;
}

static enum engram_status read_part(struct engram_parts *parts, int64_t i)
{
    struct engram_part *part = &parts->parts[i];
    int64_t range[2];
    range_of(parts, i, range);
    enum engram_status status = engram_partial_create(parts->metric, range[0], range[1] - range[0],
                                                      parts->k, 0, &parts->log, &part->known);
    size_t records = parts->journal == NULL ? 0 : engram_journal_count(parts->journal);
    for (size_t r = 0; status == ENGRAM_OK && r < records; r++) {
        const struct engram_record *record = engram_journal_record(parts->journal, r);
        if (record->kind == ENGRAM_RECORD_PARTIAL && record->queries[0] < range[1] &&
            range[0] < record->queries[1]) {
            status = merge_record(parts, record, &part->known);
        }
    }
    if (status != ENGRAM_OK) {
        engram_partial_free(&part->known);
        return status;
    }
    part->there = true;
    parts->held += bytes_of(&part->known);
    return ENGRAM_OK;
}

enum engram_status engram_parts_get(struct engram_parts *parts, int64_t i,
                                    const struct engram_partial **part)
{
    enum engram_status status = ENGRAM_OK;
    if (!parts->parts[i].there) {
        if (engram_parts_full(parts)) {
            engram_parts_trim(parts);
        }
        status = read_part(parts, i);
    }
    *part = status == ENGRAM_OK ? &parts->parts[i].known : NULL;
    return status;
}

/* ---- units */

/* The parts that hold queries of a range: [first, last). */
static void parts_of(const struct engram_parts *parts, const int64_t queries[2], int64_t *first,
                     int64_t *last)
{
    *first = (queries[0] - parts->queries[0]) / parts->rows;
    *last = (queries[1] - parts->queries[0] + parts->rows - 1) / parts->rows;
}

enum engram_status engram_parts_add(struct engram_parts *parts, const struct engram_partial *found)
{
    const int64_t queries[2] = {found->first_query, found->first_query + found->queries};
    enum engram_status status = ENGRAM_OK;
    int64_t i;
    int64_t last;
    for (parts_of(parts, queries, &i, &last); status == ENGRAM_OK && i < last; i++) {
        struct engram_part *part = &parts->parts[i];
        const struct engram_partial *known;
        status = engram_parts_get(parts, i, &known);
        if (status == ENGRAM_OK) {
            parts->held -= bytes_of(&part->known);
            status = engram_partial_merge(&part->known, found, &parts->log);
            parts->held += bytes_of(&part->known);
            part->dirty = true;
        }
    }
    return status;
}

enum engram_status engram_parts_copy(struct engram_parts *parts, const int64_t queries[2],
                                     struct engram_partial *known)
{
    int64_t i;
    int64_t last;
    enum engram_status status = engram_partial_create(
        parts->metric, queries[0], queries[1] - queries[0], parts->k, 0, &parts->log, known);
    for (parts_of(parts, queries, &i, &last); status == ENGRAM_OK && i < last; i++) {
        const struct engram_partial *part;
        status = engram_parts_get(parts, i, &part);
        if (status == ENGRAM_OK) {
            status = engram_partial_merge(known, part, &parts->log);
        }
    }
    if (status != ENGRAM_OK) {
        engram_partial_free(known);
    }
    return status;
}

/* ---- to the journal */

/* Queries [range[0], range[1]) of one part, as a record. */
static enum engram_status save_range(const struct engram_partial *part, const int64_t range[2],
                                     const int64_t base[2], const struct engram_log *log,
                                     struct engram_journal *journal)
{
    int64_t first = range[0] - part->first_query;
    struct engram_partial slice = *part;
    slice.first_query = range[0];
    slice.queries = range[1] - range[0];
    slice.hits = part->hits + part->indptr[first];
    slice.indptr = malloc(((size_t)slice.queries + 1) * sizeof *slice.indptr);
    for (int64_t q = 0; slice.indptr != NULL && q <= slice.queries; q++) {
        slice.indptr[q] = part->indptr[first + q] - part->indptr[first];
    }
    size_t size = slice.indptr == NULL ? 0 : engram_partial_serialized_size(&slice);
    unsigned char *bytes = slice.indptr == NULL ? NULL : malloc(size);
    enum engram_status status = ENGRAM_ERR_RESOURCE;
    if (bytes == NULL) {
        status = engram_fail(log, status, "not enough memory to save the answers");
    } else {
        const struct engram_record record = {.kind = ENGRAM_RECORD_PARTIAL,
                                             .queries = {range[0], range[1]},
                                             .base = {base[0], base[1]},
                                             .bytes = size};
        engram_partial_serialize(&slice, bytes);
        status = engram_journal_append(journal, &record, bytes, size);
    }
    free(bytes);
    free(slice.indptr);
    return status;
}

enum engram_status engram_parts_save(struct engram_parts *parts, const struct engram_done *unsaved,
                                     const struct engram_done *done, struct engram_journal *journal)
{
    enum engram_status status = ENGRAM_OK;
    for (size_t u = 0; status == ENGRAM_OK && u < unsaved->count; u++) {
        const struct engram_unit *unit = &unsaved->units[u];
        int64_t i;
        int64_t last;
        for (parts_of(parts, unit->queries, &i, &last); status == ENGRAM_OK && i < last; i++) {
            int64_t range[2];
            int64_t base[2];
            range_of(parts, i, range);
            range[0] = range[0] > unit->queries[0] ? range[0] : unit->queries[0];
            range[1] = range[1] < unit->queries[1] ? range[1] : unit->queries[1];
            /* All that is known of them goes there, so older records are replaced. */
            engram_done_around(done, range, unit->base[0], base);
            if (parts->parts[i].dirty) {
                status = save_range(&parts->parts[i].known, range, base, &parts->log, journal);
            }
        }
    }
    for (int64_t i = 0; status == ENGRAM_OK && i < parts->count; i++) {
        parts->parts[i].dirty = false;
    }
    parts->journal = journal;
    return status;
}

bool engram_parts_full(const struct engram_parts *parts)
{
    return parts->held > parts->room;
}

void engram_parts_trim(struct engram_parts *parts)
{
    for (int64_t i = 0; i < parts->count; i++) {
        if (parts->parts[i].there && !parts->parts[i].dirty) {
            drop(parts, &parts->parts[i]);
        }
    }
}

enum engram_status engram_parts_total(struct engram_parts *parts, int64_t *total)
{
    enum engram_status status = ENGRAM_OK;
    *total = 0;
    for (int64_t i = 0; status == ENGRAM_OK && i < parts->count; i++) {
        const struct engram_partial *part;
        status = engram_parts_get(parts, i, &part);
        *total += status == ENGRAM_OK ? part->indptr[part->queries] : 0;
    }
    return status;
}
