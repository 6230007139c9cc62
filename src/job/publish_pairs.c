/* Pairs within a threshold: group /pairs, AnnData's csr_matrix, version 0.1.0. */
#include "job/publish_internal.h"

enum { INDPTR, INDICES, DATA };

static int64_t total_answers(const struct engram_answers *answers)
{
    int64_t total = 0;
    for (int64_t i = 0; i < answers->count; i++) {
        total += answers->parts[i].indptr[answers->parts[i].queries];
    }
    return total;
}

static enum engram_status declare(struct engram_publication *p)
{
    const int64_t pointers = p->queries + 1;
    const int64_t total = total_answers(p->answers);
    const int64_t shape[2] = {p->queries, p->inputs->base.dataset->dims[0]};
    enum engram_status status =
        engram_publication_declare(p, INDPTR, "/pairs/indptr", ENGRAM_OUT_I64, 1, &pointers);
    if (status == ENGRAM_OK) {
        status =
            engram_publication_declare(p, INDICES, "/pairs/indices", ENGRAM_OUT_I64, 1, &total);
    }
    if (status == ENGRAM_OK) {
        status = engram_publication_declare(p, DATA, "/pairs/data", p->value_type, 1, &total);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_text(p->output, "/pairs", "encoding-type", "csr_matrix");
    }
    if (status == ENGRAM_OK) {
        status = engram_output_text(p->output, "/pairs", "encoding-version", "0.1.0");
    }
    if (status == ENGRAM_OK) {
        status = engram_output_integers(p->output, "/pairs", "shape", shape, 2);
    }
    /* Beside the root's: readers of csr_matrix look no further than the group. */
    if (status == ENGRAM_OK) {
        status = engram_output_text(p->output, "/pairs", "values",
                                    p->inputs->similarity ? "similarity" : "distance");
    }
    if (status == ENGRAM_OK) {
        status = engram_publication_room(p, ENGRAM_PUBLISH_CELLS);
    }
    return status;
}

/* Answers [first, last) of one part, at position `at` of the result. */
static enum engram_status write_block(const struct engram_publication *p,
                                      const struct engram_partial *part, int64_t first,
                                      int64_t last, int64_t at)
{
    for (int64_t i = first; i < last; i++) {
        p->rows[i - first] = part->hits[i].tag;
        engram_publication_value(p, i - first, part->hits[i].score);
    }
    enum engram_status status =
        engram_output_rows(p->output, p->sets[INDICES], at, last - first, p->rows);
    if (status == ENGRAM_OK) {
        status = engram_output_rows(p->output, p->sets[DATA], at, last - first, p->values);
    }
    return status;
}

/* indptr: one entry more than there are queries, running over all parts. */
static enum engram_status write_indptr(const struct engram_publication *p)
{
    int64_t used = 0;
    int64_t before = 0; /* answers of earlier parts */
    int64_t at = 0;
    enum engram_status status = ENGRAM_OK;
    p->rows[used++] = 0;
    for (int64_t i = 0; status == ENGRAM_OK && i < p->answers->count; i++) {
        const struct engram_partial *part = &p->answers->parts[i];
        for (int64_t q = 0; status == ENGRAM_OK && q < part->queries; q++) {
            if (used == ENGRAM_PUBLISH_CELLS) {
                status = engram_output_rows(p->output, p->sets[INDPTR], at, used, p->rows);
                at += used;
                used = 0;
            }
            p->rows[used++] = before + part->indptr[q + 1];
        }
        before += part->indptr[part->queries];
    }
    if (status == ENGRAM_OK) {
        status = engram_output_rows(p->output, p->sets[INDPTR], at, used, p->rows);
    }
    return status;
}

static enum engram_status write(struct engram_publication *p)
{
    const int64_t block = ENGRAM_PUBLISH_CELLS;
    int64_t at = 0;
    int64_t queries = 0;
    enum engram_status status = write_indptr(p);
    for (int64_t i = 0; status == ENGRAM_OK && i < p->answers->count; i++) {
        const struct engram_partial *part = &p->answers->parts[i];
        int64_t total = part->indptr[part->queries];
        for (int64_t first = 0; status == ENGRAM_OK && first < total; first += block) {
            int64_t last = first + block < total ? first + block : total;
            status = write_block(p, part, first, last, at);
            at += last - first;
            if (status == ENGRAM_OK) {
                status = engram_publication_step(p, queries);
            }
        }
        queries += part->queries;
    }
    return status;
}

const struct engram_publication_kind engram_publication_pairs = {declare, write};
