/* Pairs within a threshold: group /pairs, AnnData's csr_matrix, version 0.1.0. */
#include <stdlib.h>

#include "base/log.h"
#include "job/publish_internal.h"

static enum engram_status total_answers(struct engram_answers *answers, int64_t *total)
{
    if (answers->spool == NULL && answers->finished == NULL) {
        return engram_parts_total(&answers->parts, total);
    }
    *total =
        answers->finished != NULL ? answers->finished->pairs : engram_spool_total(answers->spool);
    return ENGRAM_OK;
}

static enum engram_status declare(struct engram_publication *p)
{
    const int64_t pointers = p->queries + 1;
    const int64_t shape[2] = {p->queries, p->inputs->base.dataset->dims[0]};
    int64_t total = 0;
    enum engram_status status = total_answers(p->answers, &total);
    if (status == ENGRAM_OK) {
        status = engram_publication_declare(p, ENGRAM_PAIRS_INDPTR, "/pairs/indptr", ENGRAM_OUT_I64,
                                            1, &pointers);
    }
    if (status == ENGRAM_OK) {
        status = engram_publication_declare(p, ENGRAM_PAIRS_ROWS, "/pairs/indices", ENGRAM_OUT_I64,
                                            1, &total);
    }
    if (status == ENGRAM_OK) {
        status = engram_publication_declare(p, ENGRAM_PAIRS_VALUES, "/pairs/data", p->value_type, 1,
                                            &total);
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

/* Answers at position `at` of the result. */
static enum engram_status write_block(const struct engram_publication *p,
                                      const struct engram_hit *hits, int64_t count, int64_t at)
{
    for (int64_t i = 0; i < count; i++) {
        p->rows[i] = hits[i].tag;
        engram_publication_value(p, i, hits[i].score);
    }
    enum engram_status status =
        engram_output_rows(p->output, p->sets[ENGRAM_PAIRS_ROWS], at, count, p->rows);
    if (status == ENGRAM_OK) {
        status = engram_output_rows(p->output, p->sets[ENGRAM_PAIRS_VALUES], at, count, p->values);
    }
    return status;
}

/* indptr: one entry more than there are queries. */
static enum engram_status write_indptr(const struct engram_publication *p)
{
    struct engram_answers *answers = p->answers;
    const struct engram_partial *part = NULL;
    int64_t used = 0;
    int64_t running = 0;
    int64_t at = 0;
    enum engram_status status = ENGRAM_OK;
    p->rows[used++] = 0;
    for (int64_t query = 0; status == ENGRAM_OK && query < p->queries; query++) {
        if (used == ENGRAM_PUBLISH_CELLS) {
            status = engram_output_rows(p->output, p->sets[ENGRAM_PAIRS_INDPTR], at, used, p->rows);
            at += used;
            used = 0;
        }
        int64_t q = answers->spool == NULL ? query % answers->parts.rows : 0;
        if (status == ENGRAM_OK && answers->spool == NULL && q == 0) {
            status = engram_parts_get(&answers->parts, query / answers->parts.rows, &part);
        }
        if (status == ENGRAM_OK) {
            running += part != NULL ? part->indptr[q + 1] - part->indptr[q]
                                    : engram_spool_count(answers->spool, query);
            p->rows[used++] = running;
        }
    }
    if (status == ENGRAM_OK) {
        status = engram_output_rows(p->output, p->sets[ENGRAM_PAIRS_INDPTR], at, used, p->rows);
    }
    return status;
}

static enum engram_status write_parts(const struct engram_publication *p)
{
    const int64_t block = ENGRAM_PUBLISH_CELLS;
    int64_t at = 0;
    int64_t queries = 0;
    enum engram_status status = ENGRAM_OK;
    for (int64_t i = 0; status == ENGRAM_OK && i < p->answers->parts.count; i++) {
        const struct engram_partial *part;
        status = engram_parts_get(&p->answers->parts, i, &part);
        int64_t total = status == ENGRAM_OK ? part->indptr[part->queries] : 0;
        for (int64_t first = 0; status == ENGRAM_OK && first < total; first += block) {
            int64_t count = total - first < block ? total - first : block;
            status = write_block(p, part->hits + first, count, at);
            at += count;
            if (status == ENGRAM_OK) {
                status = engram_publication_step(p, queries);
            }
        }
        queries += p->answers->parts.rows;
    }
    return status;
}

static enum engram_status write_spool(const struct engram_publication *p)
{
    struct engram_spool *spool = p->answers->spool;
    struct engram_hit *hits = malloc((size_t)ENGRAM_PUBLISH_CELLS * sizeof *hits);
    size_t count = 0;
    int64_t at = 0;
    int64_t queries = 0;
    int64_t end = 0; /* of the answers of the first `queries` queries */
    if (hits == NULL) {
        return engram_fail(&p->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to write the result");
    }
    enum engram_status status =
        engram_spool_read(spool, hits, (size_t)ENGRAM_PUBLISH_CELLS, &count);
    while (status == ENGRAM_OK && count > 0) {
        status = write_block(p, hits, (int64_t)count, at);
        at += (int64_t)count;
        while (queries < p->queries && end + engram_spool_count(spool, queries) <= at) {
            end += engram_spool_count(spool, queries++);
        }
        if (status == ENGRAM_OK) {
            status = engram_publication_step(p, queries);
        }
        if (status == ENGRAM_OK) {
            status = engram_spool_read(spool, hits, (size_t)ENGRAM_PUBLISH_CELLS, &count);
        }
    }
    free(hits);
    return status;
}

static enum engram_status write(struct engram_publication *p)
{
    enum engram_status status = write_indptr(p);
    if (status == ENGRAM_OK) {
        status = p->answers->spool == NULL ? write_parts(p) : write_spool(p);
    }
    return status;
}

const struct engram_publication_kind engram_publication_pairs = {declare, write};
