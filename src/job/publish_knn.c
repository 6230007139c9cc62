/* The k nearest: /neighbors, /distances, /counts. */
#include "job/publish_internal.h"

static enum engram_status declare(struct engram_publication *p)
{
    const int64_t width = p->inputs->k;
    const int64_t shape[2] = {p->queries, width};
    enum engram_status status =
        engram_publication_declare(p, ENGRAM_KNN_ROWS, "/neighbors", ENGRAM_OUT_I64, 2, shape);
    if (status == ENGRAM_OK) {
        status = engram_publication_declare(p, ENGRAM_KNN_VALUES, engram_publication_values_path(p),
                                            p->value_type, 2, shape);
    }
    if (status == ENGRAM_OK) {
        status =
            engram_publication_declare(p, ENGRAM_KNN_COUNTS, "/counts", ENGRAM_OUT_I32, 1, shape);
    }
    if (status == ENGRAM_OK) {
        status =
            engram_publication_room(p, width > ENGRAM_PUBLISH_CELLS ? width : ENGRAM_PUBLISH_CELLS);
    }
    return status;
}

/* Rows [first, last) of one part, padded to the width, at row `at` of the result. */
static enum engram_status write_block(const struct engram_publication *p,
                                      const struct engram_partial *part, int64_t first,
                                      int64_t last, int64_t at)
{
    const int64_t width = p->inputs->k;
    for (int64_t q = first; q < last; q++) {
        const struct engram_hit *hits = part->hits + part->indptr[q];
        const int64_t count = part->indptr[q + 1] - part->indptr[q];
        const int64_t start = (q - first) * width;
        for (int64_t i = 0; i < count; i++) {
            p->rows[start + i] = hits[i].tag;
            engram_publication_value(p, start + i, hits[i].score);
        }
        for (int64_t i = count; i < width; i++) {
            p->rows[start + i] = -1;
            engram_publication_missing(p, start + i);
        }
        p->numbers[q - first] = (int32_t)count;
    }
    enum engram_status status =
        engram_output_rows(p->output, p->sets[ENGRAM_KNN_ROWS], at, last - first, p->rows);
    if (status == ENGRAM_OK) {
        status =
            engram_output_rows(p->output, p->sets[ENGRAM_KNN_VALUES], at, last - first, p->values);
    }
    if (status == ENGRAM_OK) {
        status =
            engram_output_rows(p->output, p->sets[ENGRAM_KNN_COUNTS], at, last - first, p->numbers);
    }
    return status;
}

static enum engram_status write(struct engram_publication *p)
{
    const int64_t width = p->inputs->k;
    const int64_t block = ENGRAM_PUBLISH_CELLS / width > 0 ? ENGRAM_PUBLISH_CELLS / width : 1;
    return engram_publication_blocks(p, block, write_block);
}

const struct engram_publication_kind engram_publication_knn = {declare, write};
