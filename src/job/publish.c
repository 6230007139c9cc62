#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "job/publish_internal.h"
#include "job/sets.h"
#include "search/values.h"

static void put(const struct engram_publication *p, int64_t at, double value)
{
    if (p->value_type == ENGRAM_OUT_F64) {
        ((double *)p->values)[at] = value;
    } else {
        ((float *)p->values)[at] = engram_narrow(value);
    }
}

void engram_publication_value(const struct engram_publication *p, int64_t at, double score)
{
    put(p, at, engram_value(p->inputs->similarity, engram_metric_order(p->inputs->metric), score));
}

void engram_publication_missing(const struct engram_publication *p, int64_t at)
{
    put(p, at, p->inputs->similarity ? -(double)INFINITY : (double)INFINITY);
}

const char *engram_publication_values_path(const struct engram_publication *p)
{
    return p->inputs->similarity ? "/similarities" : "/distances";
}

enum engram_status engram_publication_room(struct engram_publication *p, int64_t cells)
{
    const size_t value_size = p->value_type == ENGRAM_OUT_F64 ? sizeof(double) : sizeof(float);
    p->rows = calloc((size_t)cells, sizeof *p->rows);
    p->values = calloc((size_t)cells, value_size);
    p->numbers = calloc((size_t)cells, sizeof *p->numbers);
    if (p->rows == NULL || p->values == NULL || p->numbers == NULL) {
        return engram_fail(&p->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to write the result");
    }
    return ENGRAM_OK;
}

enum engram_status engram_publication_declare(struct engram_publication *p, int index,
                                              const char *path, enum engram_output_type type,
                                              int rank, const int64_t dims[])
{
    return engram_output_dataset(p->output, path, type, rank, dims, p->options->compress,
                                 &p->sets[index]);
}

enum engram_status engram_publication_step(const struct engram_publication *p, int64_t done)
{
    const struct engram_publish_options *options = p->options;
    if (options->progress != NULL) {
        options->progress(options->progress_context, (uint64_t)done, (uint64_t)p->queries);
    }
    bool cancelled =
        options->cancel != NULL && __atomic_load_n(options->cancel, __ATOMIC_RELAXED) != 0;
    return cancelled ? ENGRAM_ERR_CANCELLED : ENGRAM_OK;
}

enum engram_status engram_publication_blocks(const struct engram_publication *p, int64_t block,
                                             engram_publication_block_fn write)
{
    int64_t at = 0;
    enum engram_status status = ENGRAM_OK;
    for (int64_t i = 0; status == ENGRAM_OK && i < p->answers->parts.count; i++) {
        const struct engram_partial *part;
        status = engram_parts_get(&p->answers->parts, i, &part);
        for (int64_t q = 0; status == ENGRAM_OK && q < part->queries; q += block) {
            int64_t last = q + block < part->queries ? q + block : part->queries;
            status = write(p, part, q, last, at);
            at += last - q;
            if (status == ENGRAM_OK) {
                status = engram_publication_step(p, at);
            }
        }
    }
    return status;
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

/* The rows that the result is about. Groups are of all rows, whatever share a shard has of the
 * pairs. */
static const struct engram_set_ref *answered(const struct engram_inputs *inputs)
{
    return inputs->answer == ENGRAM_ANSWER_COMPONENTS ? &inputs->base : &inputs->queries;
}

static enum engram_status write_attributes(const struct engram_publication *p)
{
    const struct engram_inputs *inputs = p->inputs;
    struct engram_output *output = p->output;
    const int64_t self = inputs->self;
    enum engram_status status = engram_output_text(output, "/", "format_version", "1.0");
    if (status == ENGRAM_OK) {
        status = engram_output_text(output, "/", "metric", engram_metric_name(inputs->metric));
    }
    if (status == ENGRAM_OK) {
        status = engram_output_text(output, "/", "values",
                                    inputs->similarity ? "similarity" : "distance");
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
        status = write_set_attributes(output, "query", answered(inputs));
    }
    if (status == ENGRAM_OK) {
        status = engram_output_text(output, "/", "digest", p->options->digest);
    }
    return status;
}

/* Where what is said about single rows was found, and a hash of it: it may lie in other files. */
static enum engram_status write_row_data(const struct engram_publication *p)
{
    const struct engram_row_data *data = &p->inputs->row_data;
    const struct {
        const char *name;
        const char *path;
    } paths[] = {
        {"subset_dataset", data->subset_path},
        {"exclude_same_dataset", data->groups_path},
        {"exclude_same_query_dataset", data->query_groups_path},
        {"labels_dataset", data->labels_path},
    };
    char hash[33];
    enum engram_status status = ENGRAM_OK;

    for (size_t i = 0; status == ENGRAM_OK && i < sizeof paths / sizeof paths[0]; i++) {
        if (paths[i].path[0] != '\0') {
            status = engram_output_text(p->output, "/", paths[i].name, paths[i].path);
        }
    }
    if (status == ENGRAM_OK && engram_row_data_hash(data, hash)) {
        status = engram_output_text(p->output, "/", "row_data_hash", hash);
    }
    return status;
}

static enum engram_status write_finished_ids(struct engram_publication *p, const char *name,
                                             bool queries, int64_t count)
{
    const struct engram_finished_rows *finished = p->answers->finished;
    const size_t width = finished->id_width[queries];
    int dataset = 0;
    if (width == 0) {
        return ENGRAM_OK;
    }
    enum engram_status status =
        engram_output_ids_begin(p->output, name, width, count, p->options->compress, &dataset);
    return status == ENGRAM_OK ? finished->write_ids(finished->context, p->output, dataset, queries)
                               : status;
}

/* Base ids of the whole dataset, because results hold dataset rows; query ids of the queries. */
static enum engram_status write_ids(struct engram_publication *p, bool queries)
{
    const struct engram_set_ref *set = queries ? answered(p->inputs) : &p->inputs->base;
    const char *name = queries ? "/query_ids" : "/base_ids";
    const int64_t first = queries ? set->first : 0;
    const int64_t last = queries ? set->last : set->dataset->dims[0];
    struct engram_ids ids;
    if (p->answers != NULL && p->answers->finished != NULL) {
        return write_finished_ids(p, name, queries, last - first);
    }
    if (set->ids == NULL) {
        return ENGRAM_OK;
    }
    enum engram_status status = engram_set_read_ids(set, first, last, &p->options->log, &ids);
    if (status == ENGRAM_OK) {
        int *dataset = &p->id_sets[queries];
        status = engram_output_ids_begin(p->output, name, ids.width, ids.count,
                                         p->options->compress, dataset);
        if (status == ENGRAM_OK) {
            status = engram_output_ids_next(p->output, *dataset, ids.count, ids.text);
        }
        engram_ids_free(&ids);
    }
    return status;
}

static const struct engram_publication_kind *kind_of(enum engram_answer answer)
{
    switch (answer) {
    case ENGRAM_ANSWER_KNN:
        return &engram_publication_knn;
    case ENGRAM_ANSWER_PAIRS:
        return &engram_publication_pairs;
    case ENGRAM_ANSWER_LABELS:
        return &engram_publication_labels;
    case ENGRAM_ANSWER_DENSE:
    case ENGRAM_ANSWER_PAIRWISE:
        return &engram_publication_matrix;
    case ENGRAM_ANSWER_COMPONENTS:
        return &engram_publication_components;
    default:
        return NULL;
    }
}

/* Creates the file and everything in it but what the kind writes. */
static enum engram_status begin(struct engram_publication *p,
                                const struct engram_publication_kind *kind)
{
    const struct engram_publish_options *options = p->options;
    if (kind == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_INTERNAL, "an answer without a form");
    }
    enum engram_status status = engram_output_create(options->path, options->replace,
                                                     options->threads, &options->log, &p->output);
    if (status == ENGRAM_OK && options->part.base != NULL) {
        engram_output_keep_hashes(p->output);
    }
    if (status == ENGRAM_OK) {
        status = write_attributes(p);
    }
    if (status == ENGRAM_OK) {
        status = write_row_data(p);
    }
    if (status == ENGRAM_OK) {
        status = kind->declare(p);
    }
    if (status == ENGRAM_OK && p->options->part.base != NULL) {
        status = engram_publication_declare_part(p);
    }
    if (status == ENGRAM_OK) {
        status = write_ids(p, false);
    }
    return status == ENGRAM_OK ? write_ids(p, true) : status;
}

/* What the kind writes, and what is known at the end only. */
static enum engram_status fill(struct engram_publication *p,
                               const struct engram_publication_kind *kind)
{
    const struct engram_finished_rows *finished = p->answers->finished;
    enum engram_status status =
        finished == NULL ? kind->write(p) : finished->write(finished->context, p);
    if (status == ENGRAM_OK && p->options->part.base != NULL) {
        status = engram_publication_write_part(p);
    }
    return status;
}

static struct engram_publication publication_of(const struct engram_inputs *inputs,
                                                const struct engram_publish_options *options)
{
    return (struct engram_publication){
        .inputs = inputs,
        .options = options,
        .sets = {-1, -1, -1, -1},
        .id_sets = {-1, -1},
        .queries = answered(inputs)->last - answered(inputs)->first,
        .value_type = inputs->float64 ? ENGRAM_OUT_F64 : ENGRAM_OUT_F32,
    };
}

enum engram_status engram_publish(const struct engram_inputs *inputs,
                                  struct engram_answers *answers,
                                  const struct engram_publish_options *options)
{
    const struct engram_publication_kind *kind = kind_of(inputs->answer);
    struct engram_publication p = publication_of(inputs, options);
    p.answers = answers;
    enum engram_status status = begin(&p, kind);
    if (status == ENGRAM_OK) {
        status = fill(&p, kind);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_publish(p.output);
    } else {
        engram_output_discard(p.output);
    }
    free(p.rows);
    free(p.values);
    free(p.numbers);
    free(p.texts);
    return status;
}

enum engram_status engram_publish_cells(const struct engram_inputs *inputs,
                                        const struct engram_publish_options *options,
                                        struct engram_cells *cells)
{
    struct engram_publication p = publication_of(inputs, options);
    enum engram_status status = begin(&p, kind_of(inputs->answer));
    if (status != ENGRAM_OK) {
        engram_output_discard(p.output);
        return status;
    }
    const bool part = options->part.base != NULL;
    int64_t hashes[ENGRAM_PART_HASHES];
    engram_publication_hashes(&p, hashes);
    status = engram_output_settle(p.output, p.sets[0], part ? p.content_sets : NULL,
                                  options->digest, cells);
    if (status == ENGRAM_OK && part) { /* those of the ids; that of the cells follows */
        status = engram_cells_write_late(cells, 2, 0, hashes, sizeof hashes);
    }
    return status;
}
