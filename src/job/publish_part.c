/* What the part of a shard has beyond its answers, so that parts can be joined without the input:
 * which job it is a part of, and the hashes that the identity of the whole job is made of. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "job/identity.h"
#include "job/publish_internal.h"

static enum engram_status write_numbers(const struct engram_publication *p)
{
    const struct engram_inputs *inputs = p->inputs;
    const struct engram_part_content *part = &p->options->part;
    const int64_t compress = p->options->compress;
    const int64_t ids[2] = {(int64_t)part->base->ids, (int64_t)part->queries.ids};
    struct engram_output *output = p->output;

    enum engram_status status = engram_output_integers(output, "/", "shard", inputs->shard, 2);
    if (status == ENGRAM_OK) {
        status = engram_output_integers(output, "/", "job_base_rows", inputs->job_base, 2);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_integers(output, "/", "job_query_rows", inputs->job_queries, 2);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_integers(output, "/", "ids_content", ids, 2);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_integers(output, "/", "compress", &compress, 1);
    }
    if (status == ENGRAM_OK && part->max_pairs > 0) {
        status = engram_output_integers(output, "/", "max_pairs", &part->max_pairs, 1);
    }
    return status;
}

enum engram_status engram_publication_declare_part(struct engram_publication *p)
{
    const struct engram_part_content *part = &p->options->part;
    const int64_t answers = ENGRAM_PART_HASHES;
    char text[ENGRAM_IDENTITY_TEXT];

    enum engram_status status = write_numbers(p);
    if (status == ENGRAM_OK) {
        engram_identity_text(p->inputs, p->options->compress, text);
        status = engram_output_text(p->output, "/", "job", text);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_dataset(p->output, "/content/base", ENGRAM_OUT_I64, 1,
                                       &part->base->count, 0, &p->content_sets[0]);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_dataset(p->output, "/content/queries", ENGRAM_OUT_I64, 1,
                                       &part->queries.count, 0, &p->content_sets[1]);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_dataset(p->output, "/content/answers", ENGRAM_OUT_I64, 1, &answers,
                                       0, &p->content_sets[2]);
    }
    return status;
}

/* What merge takes over from the attributes, of which the digest does not tell. */
uint64_t engram_publication_attributes_hash(const struct engram_inputs *inputs)
{
    const struct engram_row_data *data = &inputs->row_data;
    const struct engram_set_ref *sets[] = {&inputs->base, &inputs->queries};
    const char *const paths[] = {sets[0]->dataset->path,  sets[1]->dataset->path,
                                 data->subset_path,       data->groups_path,
                                 data->query_groups_path, data->labels_path};
    struct engram_hash_chain chain = {0};
    const bool float64 = inputs->float64 && inputs->answer != ENGRAM_ANSWER_COMPONENTS;
    char text[512];
    int length =
        snprintf(text, sizeof text, "%s %d %d %d %d %" PRId64 " %a %a",
                 engram_metric_name(inputs->metric), (int)inputs->answer, inputs->similarity,
                 float64, inputs->self, inputs->k, inputs->max_distance, inputs->min_similarity);
    engram_hash_add(&chain, text, (size_t)length + 1);
    for (int i = 0; i < 2; i++) {
        length = snprintf(text, sizeof text, "%" PRId64 " x %" PRId64, sets[i]->dataset->dims[0],
                          sets[i]->dataset->dims[1]);
        engram_hash_add(&chain, text, (size_t)length + 1);
    }
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        engram_hash_add(&chain, paths[i], strlen(paths[i]) + 1);
    }
    return engram_hash_of(&chain);
}

void engram_publication_hashes(const struct engram_publication *p,
                               int64_t hashes[ENGRAM_PART_HASHES])
{
    for (int i = 0; i < ENGRAM_PART_ATTRIBUTES; i++) {
        int set = i < ENGRAM_PUBLISH_SETS ? p->sets[i] : p->id_sets[i - ENGRAM_PUBLISH_SETS];
        hashes[i] = set < 0 ? 0 : (int64_t)engram_output_hash(p->output, set);
    }
    hashes[ENGRAM_PART_ATTRIBUTES] = (int64_t)engram_publication_attributes_hash(p->inputs);
}

enum engram_status engram_publication_write_part(struct engram_publication *p)
{
    const struct engram_part_content *part = &p->options->part;
    enum engram_status status =
        engram_output_rows(p->output, p->content_sets[0], 0, part->base->count, part->base->grains);
    if (status == ENGRAM_OK) {
        status = engram_output_rows(p->output, p->content_sets[1], 0, part->queries.count,
                                    part->queries.grains);
    }
    if (status == ENGRAM_OK) {
        int64_t hashes[ENGRAM_PART_HASHES];
        engram_publication_hashes(p, hashes);
        status = engram_output_rows(p->output, p->content_sets[2], 0, ENGRAM_PART_HASHES, hashes);
    }
    return status;
}
