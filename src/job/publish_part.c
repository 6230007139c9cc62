/* What the part of a shard has beyond its answers, so that parts can be joined without the input:
 * which job it is a part of, and the hashes that the identity of the whole job is made of. */
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
    return status;
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
    return status;
}
