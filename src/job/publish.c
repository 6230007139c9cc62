#include "job/publish.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "io/output.h"

/* Answers converted and written at a time. */
#define BLOCK_CELLS ((int64_t)1 << 18)

/* The datasets of the result, and room for one block of each type. */
struct publication {
    const struct engram_inputs *inputs;
    const struct engram_answers *answers;
    const struct engram_publish_options *options;
    struct engram_output *output;
    int64_t queries;
    int64_t width; /* cells a row of a k-NN result: k */
    int neighbors; /* or indices */
    int distances; /* or data */
    int counts;    /* or indptr */
    int64_t *rows; /* [BLOCK_CELLS, or one row] */
    float *values;
    int32_t *numbers;
};

/* To the nearest float32; beyond the largest is infinity, which C leaves open. */
static float narrow(double value)
{
    const double limit = 0x1.ffffffp127; /* halfway between FLT_MAX and 2^128 */
    if (value >= limit) {
        return (float)INFINITY;
    }
    return value <= -limit ? -(float)INFINITY : (float)value;
}

static int64_t total_answers(const struct engram_answers *answers)
{
    int64_t total = 0;
    for (int64_t i = 0; i < answers->count; i++) {
        total += answers->parts[i].indptr[answers->parts[i].queries];
    }
    return total;
}

static enum engram_status write_set_attributes(struct engram_output *output, const char *role,
                                               const struct engram_set_ref *set)
{
    const int64_t range[2] = {set->first, set->last};
    char name[32];
    (void)snprintf(name, sizeof name, "%s_dataset", role);
    enum engram_status status = engram_output_text(output, "/", name, set->dataset->path);
    if (status == ENGRAM_OK) {
        (void)snprintf(name, sizeof name, "%s_shape", role);
        status = engram_output_integers(output, "/", name, set->dataset->dims, 2);
    }
    if (status == ENGRAM_OK) {
        (void)snprintf(name, sizeof name, "%s_rows", role);
        status = engram_output_integers(output, "/", name, range, 2);
    }
    return status;
}

static enum engram_status write_attributes(const struct publication *p)
{
    const struct engram_inputs *inputs = p->inputs;
    struct engram_output *output = p->output;
    const int64_t self = inputs->self;
    enum engram_status status = engram_output_text(output, "/", "format_version", "1.0");
    if (status == ENGRAM_OK) {
        status = engram_output_text(output, "/", "metric", engram_metric_name(inputs->metric));
    }
    if (status == ENGRAM_OK && inputs->k != INT64_MAX) {
        status = engram_output_integers(output, "/", "k", &inputs->k, 1);
    }
    if (status == ENGRAM_OK && isfinite(inputs->max_distance)) {
        status = engram_output_number(output, "/", "max_distance", inputs->max_distance);
    }
    if (status == ENGRAM_OK && isfinite(inputs->min_similarity)) {
        status = engram_output_number(output, "/", "min_similarity", inputs->min_similarity);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_integers(output, "/", "self", &self, 1);
    }
    if (status == ENGRAM_OK) {
        status = write_set_attributes(output, "base", &inputs->base);
    }
    if (status == ENGRAM_OK) {
        status = write_set_attributes(output, "query", &inputs->queries);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_text(output, "/", "digest", p->options->digest);
    }
    return status;
}

/* Base ids of the whole dataset, because results hold dataset rows; query ids of the queries. */
static enum engram_status write_ids(const struct publication *p, const char *name,
                                    const struct engram_set_ref *set, int64_t first, int64_t last)
{
    struct engram_ids ids;
    if (set->ids == NULL) {
        return ENGRAM_OK;
    }
    enum engram_status status =
        engram_ids_read(set->file->path, set->ids->path, first, last, &p->options->log, &ids);
    if (status == ENGRAM_OK) {
        status = engram_output_ids(p->output, name, &ids, p->options->compress);
        engram_ids_free(&ids);
    }
    return status;
}

static enum engram_status declare_knn(struct publication *p)
{
    const int64_t shape[2] = {p->queries, p->width};
    int compress = p->options->compress;
    enum engram_status status = engram_output_dataset(p->output, "/neighbors", ENGRAM_OUT_I64, 2,
                                                      shape, compress, &p->neighbors);
    if (status == ENGRAM_OK) {
        status = engram_output_dataset(p->output, "/distances", ENGRAM_OUT_F32, 2, shape, compress,
                                       &p->distances);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_dataset(p->output, "/counts", ENGRAM_OUT_I32, 1, shape, compress,
                                       &p->counts);
    }
    return status;
}

/* AnnData's csr_matrix, version 0.1.0. */
static enum engram_status declare_pairs(struct publication *p)
{
    const int64_t pointers = p->queries + 1;
    const int64_t total = total_answers(p->answers);
    const int64_t shape[2] = {p->queries, p->inputs->base.dataset->dims[0]};
    int compress = p->options->compress;
    enum engram_status status = engram_output_dataset(p->output, "/pairs/indptr", ENGRAM_OUT_I64, 1,
                                                      &pointers, compress, &p->counts);
    if (status == ENGRAM_OK) {
        status = engram_output_dataset(p->output, "/pairs/indices", ENGRAM_OUT_I64, 1, &total,
                                       compress, &p->neighbors);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_dataset(p->output, "/pairs/data", ENGRAM_OUT_F32, 1, &total,
                                       compress, &p->distances);
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
    return status;
}

/* Progress and cancellation between blocks. */
static enum engram_status step(const struct publication *p, int64_t done)
{
    const struct engram_publish_options *options = p->options;
    if (options->progress != NULL) {
        options->progress(options->progress_context, (uint64_t)done, (uint64_t)p->queries);
    }
    bool cancelled =
        options->cancel != NULL && __atomic_load_n(options->cancel, __ATOMIC_RELAXED) != 0;
    return cancelled ? ENGRAM_ERR_CANCELLED : ENGRAM_OK;
}

/* Rows [first, last) of one part, padded to the width, at row `at` of the result. */
static enum engram_status write_knn_block(const struct publication *p,
                                          const struct engram_partial *part, int64_t first,
                                          int64_t last, int64_t at)
{
    struct engram_order order = engram_metric_order(part->metric);
    int64_t width = p->width;
    for (int64_t q = first; q < last; q++) {
        const struct engram_hit *hits = part->hits + part->indptr[q];
        int64_t count = part->indptr[q + 1] - part->indptr[q];
        int64_t *rows = p->rows + (q - first) * width;
        float *values = p->values + (q - first) * width;
        for (int64_t i = 0; i < width; i++) {
            rows[i] = i < count ? hits[i].tag : -1;
            values[i] = i < count ? narrow(engram_key(order, hits[i].score)) : (float)INFINITY;
        }
        p->numbers[q - first] = (int32_t)count;
    }
    enum engram_status status =
        engram_output_rows(p->output, p->neighbors, at, last - first, p->rows);
    if (status == ENGRAM_OK) {
        status = engram_output_rows(p->output, p->distances, at, last - first, p->values);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_rows(p->output, p->counts, at, last - first, p->numbers);
    }
    return status;
}

static enum engram_status write_knn(const struct publication *p)
{
    int64_t block = BLOCK_CELLS / p->width > 0 ? BLOCK_CELLS / p->width : 1;
    int64_t at = 0;
    enum engram_status status = ENGRAM_OK;
    for (int64_t i = 0; status == ENGRAM_OK && i < p->answers->count; i++) {
        const struct engram_partial *part = &p->answers->parts[i];
        for (int64_t q = 0; status == ENGRAM_OK && q < part->queries; q += block) {
            int64_t last = q + block < part->queries ? q + block : part->queries;
            status = write_knn_block(p, part, q, last, at);
            at += last - q;
            if (status == ENGRAM_OK) {
                status = step(p, at);
            }
        }
    }
    return status;
}

/* Answers [first, last) of one part, at position `at` of the result. */
static enum engram_status write_pair_block(const struct publication *p,
                                           const struct engram_partial *part, int64_t first,
                                           int64_t last, int64_t at)
{
    struct engram_order order = engram_metric_order(part->metric);
    for (int64_t i = first; i < last; i++) {
        p->rows[i - first] = part->hits[i].tag;
        p->values[i - first] = narrow(engram_key(order, part->hits[i].score));
    }
    enum engram_status status =
        engram_output_rows(p->output, p->neighbors, at, last - first, p->rows);
    if (status == ENGRAM_OK) {
        status = engram_output_rows(p->output, p->distances, at, last - first, p->values);
    }
    return status;
}

/* indptr: one entry more than there are queries, running over all parts. */
static enum engram_status write_indptr(const struct publication *p)
{
    int64_t used = 0;
    int64_t before = 0; /* answers of earlier parts */
    int64_t at = 0;
    enum engram_status status = ENGRAM_OK;
    p->rows[used++] = 0;
    for (int64_t i = 0; status == ENGRAM_OK && i < p->answers->count; i++) {
        const struct engram_partial *part = &p->answers->parts[i];
        for (int64_t q = 0; status == ENGRAM_OK && q < part->queries; q++) {
            if (used == BLOCK_CELLS) {
                status = engram_output_rows(p->output, p->counts, at, used, p->rows);
                at += used;
                used = 0;
            }
            p->rows[used++] = before + part->indptr[q + 1];
        }
        before += part->indptr[part->queries];
    }
    if (status == ENGRAM_OK) {
        status = engram_output_rows(p->output, p->counts, at, used, p->rows);
    }
    return status;
}

static enum engram_status write_pairs(const struct publication *p)
{
    int64_t at = 0;
    int64_t queries = 0;
    enum engram_status status = write_indptr(p);
    for (int64_t i = 0; status == ENGRAM_OK && i < p->answers->count; i++) {
        const struct engram_partial *part = &p->answers->parts[i];
        int64_t total = part->indptr[part->queries];
        for (int64_t first = 0; status == ENGRAM_OK && first < total; first += BLOCK_CELLS) {
            int64_t last = first + BLOCK_CELLS < total ? first + BLOCK_CELLS : total;
            status = write_pair_block(p, part, first, last, at);
            at += last - first;
            if (status == ENGRAM_OK) {
                status = step(p, queries);
            }
        }
        queries += part->queries;
    }
    return status;
}

static enum engram_status take_buffers(struct publication *p)
{
    size_t cells = (size_t)(p->width > BLOCK_CELLS ? p->width : BLOCK_CELLS);
    p->rows = malloc(cells * sizeof *p->rows);
    p->values = malloc(cells * sizeof *p->values);
    p->numbers = malloc((size_t)BLOCK_CELLS * sizeof *p->numbers);
    if (p->rows == NULL || p->values == NULL || p->numbers == NULL) {
        return engram_fail(&p->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to write the result");
    }
    return ENGRAM_OK;
}

/* Everything between creating and publishing the file. */
static enum engram_status fill(struct publication *p)
{
    bool pairs = p->inputs->answer == ENGRAM_ANSWER_PAIRS;
    enum engram_status status = take_buffers(p);
    if (status == ENGRAM_OK) {
        status = write_attributes(p);
    }
    if (status == ENGRAM_OK) {
        status = pairs ? declare_pairs(p) : declare_knn(p);
    }
    if (status == ENGRAM_OK) {
        status = write_ids(p, "/base_ids", &p->inputs->base, 0, p->inputs->base.dataset->dims[0]);
    }
    if (status == ENGRAM_OK) {
        status = write_ids(p, "/query_ids", &p->inputs->queries, p->inputs->queries.first,
                           p->inputs->queries.last);
    }
    if (status == ENGRAM_OK) {
        status = pairs ? write_pairs(p) : write_knn(p);
    }
    return status;
}

enum engram_status engram_publish(const struct engram_inputs *inputs,
                                  const struct engram_answers *answers,
                                  const struct engram_publish_options *options)
{
    struct publication p = {.inputs = inputs,
                            .answers = answers,
                            .options = options,
                            .queries = inputs->queries.last - inputs->queries.first,
                            .width = inputs->answer == ENGRAM_ANSWER_PAIRS ? 1 : inputs->k};
    enum engram_status status = engram_output_create(options->path, options->replace,
                                                     options->threads, &options->log, &p.output);
    if (status != ENGRAM_OK) {
        return status;
    }
    status = fill(&p);
    if (status == ENGRAM_OK) {
        status = engram_output_publish(p.output);
    } else {
        engram_output_discard(p.output);
    }
    free(p.rows);
    free(p.values);
    free(p.numbers);
    return status;
}
