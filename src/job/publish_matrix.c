/* A value for every pair asked about, and no rows beside it: /distances (queries, base rows) of a
 * dense result, /distances (queries) of a pairwise one. Values are computed block by block while
 * the file is written, so that no more than a block is ever held. */
#include <stdlib.h>

#include "base/log.h"
#include "base/size.h"
#include "job/publish_internal.h"

static bool is_dense(const struct engram_publication *p)
{
    return p->inputs->answer == ENGRAM_ANSWER_DENSE;
}

static int64_t width_of(const struct engram_publication *p)
{
    return is_dense(p) ? p->inputs->base.last - p->inputs->base.first : 1;
}

static enum engram_status declare(struct engram_publication *p)
{
    const int64_t shape[2] = {p->queries, width_of(p)};
    enum engram_status status =
        engram_publication_declare(p, ENGRAM_MATRIX_VALUES, engram_publication_values_path(p),
                                   p->value_type, is_dense(p) ? 2 : 1, shape);
    if (status == ENGRAM_OK) {
        status = engram_output_text(p->output, "/", "answer", is_dense(p) ? "dense" : "pairwise");
    }
    return status;
}

int64_t engram_matrix_block_rows(int64_t rows, int64_t width, bool float64, size_t bytes)
{
    size_t cells = bytes / (float64 ? sizeof(double) : sizeof(float));
    int64_t block = width > 0 ? (int64_t)cells / width : rows;
    block = block < rows ? block : rows;
    return block > 1 ? block : 1;
}

static enum engram_status write_blocks(struct engram_publication *p, int64_t block)
{
    const struct engram_answers *answers = p->answers;
    const struct engram_values values = {.data = p->values,
                                         .float32 = p->value_type == ENGRAM_OUT_F32,
                                         .similarity = p->inputs->similarity};
    enum engram_status status = ENGRAM_OK;
    for (int64_t first = 0; status == ENGRAM_OK && first < p->queries; first += block) {
        int64_t count = p->queries - first < block ? p->queries - first : block;
        status = answers->fill(answers->fill_context, first, count, &values);
        if (status == ENGRAM_OK) {
            status = engram_output_rows(p->output, p->sets[ENGRAM_MATRIX_VALUES], first, count,
                                        p->values);
        }
        if (status == ENGRAM_OK) {
            status = engram_publication_step(p, first + count);
        }
    }
    return status;
}

static enum engram_status write(struct engram_publication *p)
{
    const int64_t width = width_of(p);
    const bool float64 = p->value_type == ENGRAM_OUT_F64;
    const int64_t block =
        engram_matrix_block_rows(p->queries, width, float64, p->answers->block_bytes);
    size_t bytes;
    if (p->queries == 0 || width == 0) {
        return ENGRAM_OK;
    }
    if (!engram_size_mul((size_t)block, (size_t)width, &bytes) ||
        !engram_size_mul(bytes, float64 ? sizeof(double) : sizeof(float), &bytes) ||
        (p->values = malloc(bytes)) == NULL) {
        return engram_fail(&p->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to write the result");
    }
    return write_blocks(p, block);
}

const struct engram_publication_kind engram_publication_matrix = {declare, write};
