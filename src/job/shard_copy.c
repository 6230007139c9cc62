/* Rows of the parts of a sharded job into the result, a block at a time. */
#include <string.h>

#include "base/log.h"
#include "job/shard_merge.h"
#include "search/unit.h"

/* One dataset of the result. */
struct piece {
    enum engram_result_set set; /* in the parts */
    int dataset;                /* in the result */
    size_t row_bytes;
    int hash; /* which of the part's hashes is its own */
};

/* Bytes of a text in a part; 0: it is no text. Parts have room for their own longest. */
static size_t width_in(const struct engram_shard_part *part, enum engram_result_set set)
{
    switch (set) {
    case ENGRAM_RESULT_LABEL_TEXTS:
        return part->label_width;
    case ENGRAM_RESULT_BASE_IDS:
        return part->id_width[0];
    case ENGRAM_RESULT_QUERY_IDS:
        return part->id_width[1];
    default:
        return 0;
    }
}

/* `count` texts of `from` bytes become as wide as `to`, NUL-padded, where they are. */
static void widen(char *texts, int64_t count, size_t from, size_t to)
{
    for (int64_t i = count; from < to && i-- > 0;) {
        char *wide = texts + (size_t)i * to;
        memmove(wide, texts + (size_t)i * from, from);
        memset(wide + from, 0, to - from);
    }
}

static enum engram_status step(struct engram_merging *m, int64_t rows)
{
    const struct engram_merge_options *options = m->options;
    m->done += (uint64_t)rows;
    if (options->progress != NULL) {
        options->progress(options->progress_context, ENGRAM_STAGE_WRITE,
                          m->done < m->total ? m->done : m->total, m->total);
    }
    bool cancelled =
        options->cancel != NULL && __atomic_load_n(options->cancel, __ATOMIC_RELAXED) != 0;
    return cancelled ? ENGRAM_ERR_CANCELLED : ENGRAM_OK;
}

static int64_t block_rows(const struct engram_merging *m, size_t row_bytes)
{
    size_t rows = row_bytes > 0 ? m->block_bytes / row_bytes : m->block_bytes;
    return rows > 0 ? (int64_t)rows : 1;
}

/* What is done with a block of rows in m->block: rows [first, first + count) of part `index`. */
typedef enum engram_status (*block_fn)(struct engram_merging *m, const struct piece *piece,
                                       void *context, int64_t index, int64_t first, int64_t count);

/* Reads rows into m->block and adds what the part holds to its hash. */
static enum engram_status read_block(struct engram_merging *m, const struct piece *piece,
                                     const struct engram_shard_part *part,
                                     struct engram_result *result, int64_t first, int64_t count)
{
    const size_t width = width_in(part, piece->set);
    const size_t stored = width > 0 ? width : piece->row_bytes;
    if (piece->row_bytes == 0) {
        return ENGRAM_OK;
    }
    enum engram_status status =
        engram_result_read(result, piece->set, first, count, width, m->block);
    if (status == ENGRAM_OK) {
        engram_hash_add(&m->chain, m->block, (size_t)count * stored);
        widen(m->block, count, stored, piece->row_bytes);
    }
    return status;
}

static enum engram_status each_block_of(struct engram_merging *m, const struct piece *piece,
                                        int64_t index, int64_t rows, block_fn take, void *context)
{
    const struct engram_shard_part *part = &m->parts.parts[index];
    const int64_t block = block_rows(m, piece->row_bytes);
    struct engram_result *result = NULL;
    if (rows == 0) {
        return ENGRAM_OK;
    }
    m->chain.hash = 0;
    m->chain.size = 0;
    enum engram_status status = engram_shard_parts_open(&m->parts, index, &result);
    for (int64_t first = 0; status == ENGRAM_OK && first < rows; first += block) {
        int64_t count = rows - first < block ? rows - first : block;
        status = read_block(m, piece, part, result, first, count);
        if (status == ENGRAM_OK) {
            status = take(m, piece, context, index, first, count);
        }
        if (status == ENGRAM_OK) {
            status = step(m, count);
        }
    }
    engram_result_close(result);
    if (status == ENGRAM_OK && (int64_t)engram_hash_of(&m->chain) != part->hashes[piece->hash]) {
        return engram_fail(&m->options->log, ENGRAM_ERR_DATA,
                           "%s: its answers changed since they were written; the part is damaged: "
                           "delete it and run its shard again",
                           part->path);
    }
    return status;
}

/* The next rows of the result; `context` is where they begin. */
struct place {
    struct engram_output *output;
    int64_t row;
};

static enum engram_status put_rows(struct engram_merging *m, const struct piece *piece,
                                   void *context, int64_t index, int64_t first, int64_t count)
{
    struct place *place = context;
    (void)index;
    (void)first;
    enum engram_status status =
        engram_output_rows(place->output, piece->dataset, place->row, count, m->block);
    place->row += count;
    return status;
}

static enum engram_status put_ids(struct engram_merging *m, const struct piece *piece,
                                  void *context, int64_t index, int64_t first, int64_t count)
{
    (void)index;
    (void)first;
    return engram_output_ids_next(context, piece->dataset, count, m->block);
}

/* Rows of a dataset that the parts have one after the other; `pairs`: not one for every query. */
static enum engram_status copy(struct engram_merging *m, struct engram_output *output,
                               const struct piece *piece, bool pairs)
{
    struct place place = {output, 0};
    enum engram_status status = ENGRAM_OK;
    for (int64_t i = 0; status == ENGRAM_OK && i < m->parts.count; i++) {
        const struct engram_shard_part *part = &m->parts.parts[i];
        status = each_block_of(m, piece, i, pairs ? part->pairs : part->queries, put_rows, &place);
    }
    return status;
}

/* All ids of the base are in every part, those of the queries where the answers are. */
enum engram_status engram_merging_write_ids(void *context, struct engram_output *output,
                                            int dataset, bool queries)
{
    struct engram_merging *m = context;
    const size_t width = m->parts.id_width[queries];
    const struct piece piece = {queries ? ENGRAM_RESULT_QUERY_IDS : ENGRAM_RESULT_BASE_IDS, dataset,
                                width, ENGRAM_PUBLISH_SETS + queries};
    enum engram_status status = ENGRAM_OK;
    if (!queries) {
        return each_block_of(m, &piece, 0, m->parts.info.base_shape[0], put_ids, output);
    }
    if (m->inputs.answer == ENGRAM_ANSWER_COMPONENTS) {
        return each_block_of(m, &piece, 0, m->report->query_count, put_ids, output);
    }
    for (int64_t i = 0; status == ENGRAM_OK && i < m->parts.count; i++) {
        status = each_block_of(m, &piece, i, m->parts.parts[i].queries, put_ids, output);
    }
    return status;
}

/* ---- kinds of answers */

static size_t value_bytes(const struct engram_merging *m)
{
    return m->inputs.float64 ? sizeof(double) : sizeof(float);
}

static enum engram_status write_knn(struct engram_merging *m, const struct engram_publication *p)
{
    const size_t k = (size_t)m->inputs.k;
    const struct piece pieces[] = {
        {ENGRAM_RESULT_ROWS, p->sets[ENGRAM_KNN_ROWS], k * sizeof(int64_t), ENGRAM_KNN_ROWS},
        {ENGRAM_RESULT_VALUES, p->sets[ENGRAM_KNN_VALUES], k * value_bytes(m), ENGRAM_KNN_VALUES},
        {ENGRAM_RESULT_COUNTS, p->sets[ENGRAM_KNN_COUNTS], sizeof(int32_t), ENGRAM_KNN_COUNTS},
    };
    enum engram_status status = ENGRAM_OK;
    for (size_t i = 0; status == ENGRAM_OK && i < sizeof pieces / sizeof pieces[0]; i++) {
        status = copy(m, p->output, &pieces[i], false);
    }
    return status;
}

static enum engram_status write_labels(struct engram_merging *m, const struct engram_publication *p)
{
    const size_t width = m->parts.label_width;
    const struct piece pieces[] = {
        {ENGRAM_RESULT_LABEL_TEXTS, p->sets[ENGRAM_LABELS_TEXTS], width, ENGRAM_LABELS_TEXTS},
        {ENGRAM_RESULT_VALUES, p->sets[ENGRAM_LABELS_VALUES], value_bytes(m), ENGRAM_LABELS_VALUES},
        {ENGRAM_RESULT_ROWS, p->sets[ENGRAM_LABELS_ROWS], sizeof(int64_t), ENGRAM_LABELS_ROWS},
    };
    enum engram_status status = ENGRAM_OK;
    for (size_t i = 0; status == ENGRAM_OK && i < sizeof pieces / sizeof pieces[0]; i++) {
        status = copy(m, p->output, &pieces[i], false);
    }
    return status;
}

static enum engram_status write_matrix(struct engram_merging *m, const struct engram_publication *p)
{
    const bool dense = m->inputs.answer == ENGRAM_ANSWER_DENSE;
    const size_t width = dense ? (size_t)m->report->base_count : 1;
    const struct piece piece = {ENGRAM_RESULT_VALUES, p->sets[ENGRAM_MATRIX_VALUES],
                                width * value_bytes(m), ENGRAM_MATRIX_VALUES};
    return copy(m, p->output, &piece, false);
}

/* Where the pairs of queries end, counted from the first of the whole result. */
struct ends {
    struct place place;
    int64_t before; /* pairs of earlier parts */
};

static enum engram_status put_ends(struct engram_merging *m, const struct piece *piece,
                                   void *context, int64_t index, int64_t first, int64_t count)
{
    struct ends *ends = context;
    int64_t *indptr = m->block;
    for (int64_t i = 0; i < count; i++) {
        indptr[i] += ends->before;
    }
    /* Each part begins with where the last one ended. */
    int64_t skipped = index > 0 && first == 0 ? 1 : 0;
    enum engram_status status = engram_output_rows(
        ends->place.output, piece->dataset, ends->place.row, count - skipped, indptr + skipped);
    ends->place.row += count - skipped;
    return status;
}

static enum engram_status write_pairs(struct engram_merging *m, const struct engram_publication *p)
{
    const struct piece indptr = {ENGRAM_RESULT_INDPTR, p->sets[ENGRAM_PAIRS_INDPTR],
                                 sizeof(int64_t), ENGRAM_PAIRS_INDPTR};
    const struct piece pieces[] = {
        {ENGRAM_RESULT_ROWS, p->sets[ENGRAM_PAIRS_ROWS], sizeof(int64_t), ENGRAM_PAIRS_ROWS},
        {ENGRAM_RESULT_VALUES, p->sets[ENGRAM_PAIRS_VALUES], value_bytes(m), ENGRAM_PAIRS_VALUES},
    };
    struct ends ends = {{p->output, 0}, 0};
    enum engram_status status = ENGRAM_OK;
    for (int64_t i = 0; status == ENGRAM_OK && i < m->parts.count; i++) {
        const struct engram_shard_part *part = &m->parts.parts[i];
        status = each_block_of(m, &indptr, i, part->queries + 1, put_ends, &ends);
        ends.before += part->pairs;
    }
    for (size_t i = 0; status == ENGRAM_OK && i < sizeof pieces / sizeof pieces[0]; i++) {
        status = copy(m, p->output, &pieces[i], true);
    }
    return status;
}

/* Every part has all rows, in the groups that its share of the pairs makes. */
static enum engram_status join_groups(struct engram_merging *m, const struct piece *piece,
                                      void *context, int64_t index, int64_t first, int64_t count)
{
    struct engram_forest *forest = context;
    const int64_t *component = m->block;
    (void)piece;
    (void)index;
    for (int64_t i = 0; i < count; i++) {
        engram_forest_join(forest, first + i, component[i] - forest->first_row);
    }
    return ENGRAM_OK;
}

static enum engram_status write_groups(struct engram_merging *m, const struct engram_publication *p,
                                       const struct engram_forest *forest)
{
    const int64_t block = block_rows(m, sizeof(int64_t) + 1);
    int64_t *component = m->block;
    unsigned char *keep = (unsigned char *)(component + block);
    enum engram_status status = ENGRAM_OK;
    for (int64_t at = 0; status == ENGRAM_OK && at < forest->rows; at += block) {
        int64_t count = forest->rows - at < block ? forest->rows - at : block;
        for (int64_t i = 0; i < count; i++) {
            int64_t root = engram_forest_root(forest, at + i);
            component[i] = forest->first_row + root;
            keep[i] = root == at + i;
        }
        status = engram_output_rows(p->output, p->sets[ENGRAM_GROUPS_ROWS], at, count, component);
        if (status == ENGRAM_OK) {
            status = engram_output_rows(p->output, p->sets[ENGRAM_GROUPS_KEEP], at, count, keep);
        }
        if (status == ENGRAM_OK) {
            status = step(m, count);
        }
    }
    return status;
}

static enum engram_status write_components(struct engram_merging *m,
                                           const struct engram_publication *p)
{
    const struct piece rows = {ENGRAM_RESULT_ROWS, 0, sizeof(int64_t), ENGRAM_GROUPS_ROWS};
    struct engram_forest forest;
    enum engram_status status = engram_forest_create(m->inputs.base.first, m->report->base_count,
                                                     &m->options->log, &forest);
    for (int64_t i = 0; status == ENGRAM_OK && i < m->parts.count; i++) {
        status = each_block_of(m, &rows, i, forest.rows, join_groups, &forest);
    }
    if (status == ENGRAM_OK) {
        status = write_groups(m, p, &forest);
    }
    engram_forest_free(&forest);
    return status;
}

enum engram_status engram_merging_write(void *context, struct engram_publication *p)
{
    struct engram_merging *m = context;
    switch (m->inputs.answer) {
    case ENGRAM_ANSWER_KNN:
        return write_knn(m, p);
    case ENGRAM_ANSWER_PAIRS:
        return write_pairs(m, p);
    case ENGRAM_ANSWER_DENSE:
    case ENGRAM_ANSWER_PAIRWISE:
        return write_matrix(m, p);
    case ENGRAM_ANSWER_LABELS:
        return write_labels(m, p);
    case ENGRAM_ANSWER_COMPONENTS:
        return write_components(m, p);
    }
    return ENGRAM_ERR_INTERNAL;
}

uint64_t engram_merging_rows(const struct engram_merging *m)
{
    const uint64_t queries = (uint64_t)m->report->query_count;
    uint64_t rows = m->parts.id_width[0] > 0 ? (uint64_t)m->parts.info.base_shape[0] : 0;
    rows += m->parts.id_width[1] > 0 ? queries : 0;
    switch (m->inputs.answer) {
    case ENGRAM_ANSWER_KNN:
    case ENGRAM_ANSWER_LABELS:
        return rows + 3 * queries;
    case ENGRAM_ANSWER_PAIRS:
        return rows + queries + (uint64_t)m->parts.count + 2 * (uint64_t)m->parts.pairs;
    case ENGRAM_ANSWER_COMPONENTS:
        return rows + queries * ((uint64_t)m->parts.count + 1);
    default:
        return rows + queries;
    }
}
