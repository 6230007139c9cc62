#include "job/shard_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/source.h"
#include "job/publish_internal.h"
#include "job/row_data.h"
#include "job/shard.h"

/* A part that is being looked at. */
struct look {
    struct engram_shard_parts *parts;
    const char *path;
    struct engram_result *result;
    struct engram_result_info info;
    struct engram_result_part part;
};

static enum engram_status no_memory(const struct engram_shard_parts *parts)
{
    return engram_fail(&parts->log, ENGRAM_ERR_RESOURCE, "not enough memory to look at the parts");
}

static enum engram_status damaged(const struct look *look, const char *what)
{
    return engram_fail(&look->parts->log, ENGRAM_ERR_DATA,
                       "%s: %s; the part is damaged: delete it and run its shard again", look->path,
                       what);
}

static bool same_range(const int64_t a[2], const int64_t b[2])
{
    return a[0] == b[0] && a[1] == b[1];
}

/* ---- what the attributes say */

static enum engram_answer answer_of(enum engram_result_kind kind)
{
    switch (kind) {
    case ENGRAM_RESULT_KNN:
        return ENGRAM_ANSWER_KNN;
    case ENGRAM_RESULT_PAIRS:
        return ENGRAM_ANSWER_PAIRS;
    case ENGRAM_RESULT_DENSE:
        return ENGRAM_ANSWER_DENSE;
    case ENGRAM_RESULT_PAIRWISE:
        return ENGRAM_ANSWER_PAIRWISE;
    case ENGRAM_RESULT_LABELS:
        return ENGRAM_ANSWER_LABELS;
    case ENGRAM_RESULT_COMPONENTS:
        break;
    }
    return ENGRAM_ANSWER_COMPONENTS;
}

static void describe_set(struct engram_set_ref *set, struct engram_dataset_info *dataset,
                         char *path, const int64_t shape[2], const int64_t rows[2])
{
    *dataset = (struct engram_dataset_info){.path = path, .rank = 2, .dims = {shape[0], shape[1]}};
    *set = (struct engram_set_ref){.dataset = dataset, .first = rows[0], .last = rows[1]};
}

void engram_shard_parts_inputs(struct engram_result_info *info,
                               struct engram_dataset_info datasets[2], struct engram_inputs *inputs)
{
    struct engram_row_data *data = &inputs->row_data;

    *inputs = (struct engram_inputs){
        .self = info->self,
        .metric = info->metric,
        .k = info->k,
        .answer = answer_of(info->kind),
        .max_distance = isnan(info->max_distance) ? (double)INFINITY : info->max_distance,
        .min_similarity = isnan(info->min_similarity) ? -(double)INFINITY : info->min_similarity,
        .similarity = info->similarity,
        .float64 = info->float64,
    };
    describe_set(&inputs->base, &datasets[0], info->base_path, info->base_shape,
                 info->job_base_rows);
    describe_set(&inputs->queries, &datasets[1], info->query_path, info->query_shape,
                 info->job_query_rows);
    memcpy(data->subset_path, info->subset_path, sizeof data->subset_path);
    memcpy(data->groups_path, info->groups_path, sizeof data->groups_path);
    memcpy(data->query_groups_path, info->query_groups_path, sizeof data->query_groups_path);
    memcpy(data->labels_path, info->labels_path, sizeof data->labels_path);
}

static enum engram_status check_attributes(struct look *look)
{
    struct engram_dataset_info datasets[2];
    struct engram_inputs inputs;
    engram_shard_parts_inputs(&look->info, datasets, &inputs);
    return (int64_t)engram_publication_attributes_hash(&inputs) ==
                   look->part.answers[ENGRAM_PART_ATTRIBUTES]
               ? ENGRAM_OK
               : damaged(look, "its attributes changed since they were written");
}

/* ---- does it belong to the others? */

/* The first line in which the two texts differ, of each. */
static void find_difference(const char *a, const char *b, int length[2], const char *line[2])
{
    size_t at = 0;
    while (a[at] != '\0' && a[at] == b[at]) {
        at++;
    }
    while (at > 0 && a[at - 1] != '\n') {
        at--;
    }
    line[0] = a + at;
    line[1] = b + at;
    length[0] = (int)strcspn(line[0], "\n");
    length[1] = (int)strcspn(line[1], "\n");
}

static const char *first_path(const struct look *look)
{
    for (int64_t i = 0; i < look->parts->count; i++) {
        if (look->parts->parts[i].path != NULL) {
            return look->parts->parts[i].path;
        }
    }
    return "the first part";
}

static enum engram_status other_job(const struct look *look, const char *first)
{
    int length[2];
    const char *line[2];
    find_difference(look->part.job, look->parts->part.job, length, line);
    return engram_fail(&look->parts->log, ENGRAM_ERR_DATA,
                       "%s and %s: are parts of different jobs (\"%.*s\" and \"%.*s\")", look->path,
                       first, length[0], line[0], length[1], line[1]);
}

static enum engram_status other_input(const struct look *look, const char *what)
{
    return engram_fail(&look->parts->log, ENGRAM_ERR_DATA,
                       "%s and %s: were made from different input (%s); make the parts of one "
                       "input again",
                       look->path, first_path(look), what);
}

/* What has to be the same in every part. */
static enum engram_status compare(const struct look *look)
{
    const struct engram_shard_parts *parts = look->parts;
    if (look->info.shard[1] != parts->count) {
        return engram_fail(&parts->log, ENGRAM_ERR_DATA,
                           "%s and %s: are parts of jobs of %" PRId64 " and of %" PRId64 " shards",
                           look->path, first_path(look), look->info.shard[1], parts->count);
    }
    if (strcmp(look->part.job, parts->part.job) != 0) {
        return other_job(look, first_path(look));
    }
    if (!same_range(look->info.job_base_rows, parts->info.job_base_rows) ||
        !same_range(look->info.job_query_rows, parts->info.job_query_rows) ||
        look->info.kind != parts->info.kind || look->part.compress != parts->part.compress) {
        return damaged(look, "its attributes contradict each other");
    }
    if (look->part.ids_content[0] != parts->part.ids_content[0] ||
        look->part.ids_content[1] != parts->part.ids_content[1]) {
        return other_input(look, "the ids differ");
    }
    if (strcmp(look->info.row_data_hash, parts->info.row_data_hash) != 0) {
        return other_input(look, "the subset, the groups or the labels differ");
    }
    return ENGRAM_OK;
}

/* ---- is it what it should be? */

static int64_t grains_of(const int64_t range[2])
{
    return (range[1] - range[0]) / ENGRAM_ROW_GRAIN +
           ((range[1] - range[0]) % ENGRAM_ROW_GRAIN != 0);
}

/* The base rows and queries that the shard has to have searched. */
static void ranges_of(const struct engram_result_info *info, int64_t base[2], int64_t queries[2])
{
    engram_shard_cut(info->job_query_rows[0], info->job_query_rows[1], info->shard[0],
                     info->shard[1], queries);
    for (int i = 0; i < 2; i++) {
        base[i] = info->kind == ENGRAM_RESULT_PAIRWISE
                      ? info->job_base_rows[0] + (queries[i] - info->job_query_rows[0])
                      : info->job_base_rows[i];
    }
}

static enum engram_status check_ranges(const struct look *look)
{
    const struct engram_result_info *info = &look->info;
    int64_t base[2];
    int64_t queries[2];
    if (info->shard[1] > ENGRAM_SHARDS_MAX) {
        return damaged(look, "there cannot be so many shards");
    }
    ranges_of(info, base, queries);
    const int64_t *rows = info->kind == ENGRAM_RESULT_COMPONENTS ? info->job_query_rows : queries;
    if (base[1] > info->job_base_rows[1] || !same_range(info->base_rows, base) ||
        !same_range(info->query_rows, rows) || look->part.grains[0] != grains_of(base) ||
        look->part.grains[1] != grains_of(queries)) {
        return damaged(look, "its row ranges are not those of its shard");
    }
    return ENGRAM_OK;
}

/* Content hashes of the part, at their place in those of the whole job. */
static enum engram_status take_content(const struct look *look)
{
    struct engram_shard_parts *parts = look->parts;
    const struct engram_result_info *info = &look->info;
    const bool pairwise = info->kind == ENGRAM_RESULT_PAIRWISE;
    struct engram_identity identity = {
        .text = look->part.job,
        .shard = {info->shard[0], info->shard[1]},
        .row_data = {parts->row_data[0], parts->row_data[1]},
    };
    struct engram_content_hashes own[2] = {{.count = look->part.grains[0]},
                                           {.count = look->part.grains[1]}};
    int64_t base[2];
    int64_t queries[2];
    char digest[ENGRAM_DIGEST_SIZE];

    ranges_of(info, base, queries);
    const int64_t at[2] = {(base[0] - info->job_base_rows[0]) / ENGRAM_ROW_GRAIN,
                           (queries[0] - info->job_query_rows[0]) / ENGRAM_ROW_GRAIN};
    uint64_t *room = calloc((size_t)own[0].count + 1, sizeof *room);
    enum engram_status status = room == NULL ? no_memory(parts) : ENGRAM_OK;
    if (status == ENGRAM_OK) {
        own[0].grains = room;
        own[1].grains = parts->queries.grains + at[1];
        status = engram_result_content(look->result, false, own[0].grains);
    }
    if (status == ENGRAM_OK) {
        status = engram_result_content(look->result, true, own[1].grains);
    }
    if (status == ENGRAM_OK) {
        for (int i = 0; i < 2; i++) {
            own[i].ids = look->part.ids_content[i];
        }
        identity.base = &own[0];
        identity.queries = &own[1];
        engram_identity_of(&identity, digest);
        if (strcmp(digest, info->digest) != 0) {
            status = damaged(look, "its content hashes do not agree with its digest");
        }
    }
    /* The base of the first part that was looked at is the one to compare with. */
    size_t bytes = (size_t)own[0].count * sizeof *room;
    bool first = pairwise || parts->base.seen == 0;
    if (status == ENGRAM_OK && first && bytes > 0) {
        memcpy(parts->base.grains + at[0], room, bytes);
    } else if (status == ENGRAM_OK && bytes > 0 && memcmp(parts->base.grains, room, bytes) != 0) {
        status = other_input(look, "rows of the base differ");
    }
    parts->base.seen = 1;
    free(room);
    return status;
}

/* ---- one after another */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Room for what is known of the whole job, from the first part that is looked at. */
static enum engram_status start(const struct look *look)
{
    struct engram_shard_parts *parts = look->parts;
    parts->count = look->info.shard[1];
    parts->info = look->info;
    parts->part = look->part;
    if (!engram_row_data_parse_hash(look->info.row_data_hash, parts->row_data)) {
        return damaged(look, "attribute `row_data_hash` is no hash");
    }
    parts->parts = calloc((size_t)parts->count, sizeof *parts->parts);
    if (parts->parts == NULL) {
        return no_memory(parts);
    }
    const int64_t *base = look->info.job_base_rows;
    const int64_t *queries = look->info.job_query_rows;
    enum engram_status status = engram_content_create(base[0], base[1], &parts->log, &parts->base);
    if (status == ENGRAM_OK) {
        status = engram_content_create(queries[0], queries[1], &parts->log, &parts->queries);
    }
    parts->base.ids = look->part.ids_content[0];
    parts->queries.ids = look->part.ids_content[1];
    return status;
}

static enum engram_status take_number(const struct look *look)
{
    struct engram_shard_parts *parts = look->parts;
    struct engram_shard_part *place = &parts->parts[look->info.shard[0] - 1];
    if (place->path != NULL) {
        return engram_fail(&parts->log, ENGRAM_ERR_USAGE,
                           "%s and %s: are both shard %" PRId64 " of %" PRId64 "; name one of them",
                           place->path, look->path, look->info.shard[0], look->info.shard[1]);
    }
    place->path = look->path;
    place->pairs = look->part.pairs;
    place->label_width = look->part.label_width;
    memcpy(place->id_width, look->part.id_width, sizeof place->id_width);
    memcpy(place->hashes, look->part.answers, sizeof place->hashes);
    (void)snprintf(place->digest, sizeof place->digest, "%s", look->info.digest);
    int64_t base[2];
    int64_t queries[2];
    ranges_of(&look->info, base, queries);
    place->queries = queries[1] - queries[0];
    return ENGRAM_OK;
}

static void add_up(const struct look *look)
{
    struct engram_shard_parts *parts = look->parts;
    const struct engram_result_part *part = &look->part;
    parts->pairs += part->pairs; /* a file holds fewer than 2^60 */
    if (part->max_pairs > 0 && (parts->max_pairs == 0 || part->max_pairs < parts->max_pairs)) {
        parts->max_pairs = part->max_pairs;
    }
    parts->label_width = larger(parts->label_width, part->label_width);
    for (int i = 0; i < 2; i++) {
        parts->id_width[i] = larger(parts->id_width[i], part->id_width[i]);
    }
    if (look->info.shard[0] == 1) { /* what a name is told from is always the same part */
        parts->info = look->info;
        parts->part = look->part;
    }
}

static enum engram_status look_at(struct look *look)
{
    struct engram_shard_parts *parts = look->parts;
    enum engram_status status =
        engram_result_open(look->path, &parts->log, &look->result, &look->info);
    if (status == ENGRAM_OK) {
        status = engram_result_part(look->result, &look->part);
    }
    if (status == ENGRAM_OK) {
        status = check_attributes(look);
    }
    if (status == ENGRAM_OK) {
        status = check_ranges(look);
    }
    if (status == ENGRAM_OK) {
        status = parts->count == 0 ? start(look) : compare(look);
    }
    if (status == ENGRAM_OK) {
        status = take_number(look);
    }
    if (status == ENGRAM_OK) {
        status = take_content(look);
    }
    if (status == ENGRAM_OK) {
        add_up(look);
    }
    engram_result_close(look->result);
    look->result = NULL;
    return status;
}

/* ---- are they all there? */

static enum engram_status check_complete(const struct engram_shard_parts *parts)
{
    enum { NAMED = 10 };
    char text[NAMED * 24] = "";
    size_t used = 0;
    int64_t missing = 0;
    for (int64_t i = 0; i < parts->count; i++) {
        if (parts->parts[i].path != NULL) {
            continue;
        }
        if (missing++ < NAMED) {
            int added = snprintf(text + used, sizeof text - used, "%s%" PRId64,
                                 used > 0 ? ", " : "", i + 1);
            used += added > 0 ? (size_t)added : 0;
        }
    }
    if (missing == 0) {
        return ENGRAM_OK;
    }
    char more[48] = "";
    if (missing > NAMED) {
        (void)snprintf(more, sizeof more, " and %" PRId64 " more", missing - NAMED);
    }
    return engram_fail(&parts->log, ENGRAM_ERR_NO_INPUT,
                       "shard%s %s%s of %" PRId64 " %s missing; finish %s, or name the part%s",
                       missing == 1 ? "" : "s", text, more, parts->count,
                       missing == 1 ? "is" : "are", missing == 1 ? "it" : "them",
                       missing == 1 ? "" : "s");
}

enum engram_status engram_shard_parts_look(const char *const *paths, size_t count,
                                           const struct engram_log *log,
                                           struct engram_shard_parts *parts)
{
    enum engram_status status = ENGRAM_OK;
    *parts = (struct engram_shard_parts){.log = *log};
    for (size_t i = 0; status == ENGRAM_OK && i < count; i++) {
        struct look look = {.parts = parts, .path = paths[i]};
        status = look_at(&look);
    }
    if (status == ENGRAM_OK) {
        status = check_complete(parts);
    }
    if (status == ENGRAM_OK) {
        const struct engram_identity identity = {
            .text = parts->part.job,
            .base = &parts->base,
            .queries = &parts->queries,
            .row_data = {parts->row_data[0], parts->row_data[1]},
        };
        engram_identity_of(&identity, parts->digest);
    }
    return status;
}

void engram_shard_parts_free(struct engram_shard_parts *parts)
{
    engram_content_free(&parts->base);
    engram_content_free(&parts->queries);
    free(parts->parts);
    *parts = (struct engram_shard_parts){0};
}

enum engram_status engram_shard_parts_open(const struct engram_shard_parts *parts, int64_t index,
                                           struct engram_result **result)
{
    const struct engram_shard_part *part = &parts->parts[index];
    struct engram_result_info info;
    enum engram_status status = engram_result_open(part->path, &parts->log, result, &info);
    if (status == ENGRAM_OK && strcmp(info.digest, part->digest) != 0) {
        status = engram_fail(&parts->log, ENGRAM_ERR_DATA,
                             "%s: was replaced while it was read; merge again", part->path);
        engram_result_close(*result);
        *result = NULL;
    }
    return status;
}

void engram_shard_parts_rows(const struct engram_shard_parts *parts, int64_t index, int64_t *first,
                             int64_t *count)
{
    const int64_t *whole = parts->info.job_query_rows;
    int64_t share[2] = {whole[0], whole[1]};
    if (parts->info.kind != ENGRAM_RESULT_COMPONENTS) {
        engram_shard_cut(whole[0], whole[1], index + 1, parts->count, share);
    }
    *first = share[0] - whole[0];
    *count = share[1] - share[0];
}
