/* Label of the nearest labelled row: /labels, /label_distances, /label_rows. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "job/publish_internal.h"

/* Bytes of labels written at a time. */
#define TEXT_BYTES ((size_t)8 << 20)

/* The answer of query q of a part; NULL: none. */
static const struct engram_hit *answer_of(const struct engram_partial *part, int64_t q)
{
    return part->indptr[q + 1] > part->indptr[q] ? &part->hits[part->indptr[q]] : NULL;
}

static const char *label_of(const struct engram_publication *p, const struct engram_hit *hit,
                            char room[24], size_t *length)
{
    const struct engram_labels *labels = &p->inputs->row_data.labels;
    return engram_labels_name(labels, labels->codes[hit->tag], room, length);
}

/* Bytes of the longest label that is an answer, at least 1. */
static enum engram_status label_width(const struct engram_publication *p, size_t *width)
{
    enum engram_status status = ENGRAM_OK;
    *width = 1;
    if (p->answers->finished != NULL) {
        *width = p->answers->finished->label_width;
        return ENGRAM_OK;
    }
    for (int64_t i = 0; status == ENGRAM_OK && i < p->answers->parts.count; i++) {
        const struct engram_partial *part;
        status = engram_parts_get(&p->answers->parts, i, &part);
        for (int64_t q = 0; status == ENGRAM_OK && q < part->queries; q++) {
            const struct engram_hit *hit = answer_of(part, q);
            char room[24];
            size_t length = 0;
            if (hit != NULL) {
                (void)label_of(p, hit, room, &length);
            }
            *width = length > *width ? length : *width;
        }
    }
    return status;
}

/* Queries of a block. */
static int64_t block_rows(const struct engram_publication *p)
{
    int64_t rows = (int64_t)(TEXT_BYTES / p->text_width);
    return rows < 1 ? 1 : rows < ENGRAM_PUBLISH_CELLS ? rows : ENGRAM_PUBLISH_CELLS;
}

static enum engram_status declare(struct engram_publication *p)
{
    bool similarity = p->inputs->similarity;
    enum engram_status status = label_width(p, &p->text_width);
    if (status == ENGRAM_OK) {
        status = engram_output_strings(p->output, "/labels", p->text_width, p->queries,
                                       p->options->compress, &p->sets[ENGRAM_LABELS_TEXTS]);
    }
    if (status == ENGRAM_OK) {
        status = engram_publication_declare(p, ENGRAM_LABELS_VALUES,
                                            similarity ? "/label_similarities" : "/label_distances",
                                            p->value_type, 1, &p->queries);
    }
    if (status == ENGRAM_OK) {
        status = engram_publication_declare(p, ENGRAM_LABELS_ROWS, "/label_rows", ENGRAM_OUT_I64, 1,
                                            &p->queries);
    }
    if (status == ENGRAM_OK) {
        status = engram_publication_room(p, ENGRAM_PUBLISH_CELLS);
    }
    if (status == ENGRAM_OK) {
        p->texts = malloc((size_t)block_rows(p) * p->text_width);
        if (p->texts == NULL) {
            status = engram_fail(&p->options->log, ENGRAM_ERR_RESOURCE,
                                 "not enough memory to write the result");
        }
    }
    return status;
}

/* Queries [first, last) of one part, at row `at` of the result. */
static enum engram_status write_block(const struct engram_publication *p,
                                      const struct engram_partial *part, int64_t first,
                                      int64_t last, int64_t at)
{
    memset(p->texts, 0, (size_t)(last - first) * p->text_width);
    for (int64_t q = first; q < last; q++) {
        const struct engram_hit *hit = answer_of(part, q);
        char room[24];
        size_t length = 0;
        if (hit == NULL) {
            p->rows[q - first] = -1;
            engram_publication_missing(p, q - first);
            continue;
        }
        const char *label = label_of(p, hit, room, &length);
        memcpy(p->texts + (size_t)(q - first) * p->text_width, label, length);
        p->rows[q - first] = hit->tag;
        engram_publication_value(p, q - first, hit->score);
    }
    enum engram_status status =
        engram_output_rows(p->output, p->sets[ENGRAM_LABELS_TEXTS], at, last - first, p->texts);
    if (status == ENGRAM_OK) {
        status = engram_output_rows(p->output, p->sets[ENGRAM_LABELS_VALUES], at, last - first,
                                    p->values);
    }
    if (status == ENGRAM_OK) {
        status =
            engram_output_rows(p->output, p->sets[ENGRAM_LABELS_ROWS], at, last - first, p->rows);
    }
    return status;
}

static enum engram_status write(struct engram_publication *p)
{
    return engram_publication_blocks(p, block_rows(p), write_block);
}

const struct engram_publication_kind engram_publication_labels = {declare, write};
