/* Duplicate groups: search and publication. */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"
#include "job/ranks.h"
#include "job/units.h"

/* Bytes of a row in a checkpoint, and rows written at a time. */
#define STATE_ROW ((size_t)4)
#define BLOCK_ROWS ((int64_t)1 << 18)

/* Numbers for the report; `sizes` is zeroed and has room for a number for every row. */
static void count_groups(const int64_t *component, int64_t rows, int32_t *sizes,
                         struct engram_job_report *report)
{
    for (int64_t i = 0; i < rows; i++) {
        int32_t size = ++sizes[component[i]];
        report->kept_rows += size == 1;
        report->groups += size == 2;
        report->largest_group = size > report->largest_group ? size : report->largest_group;
    }
}

/* Trees to rows of the dataset. */
static enum engram_status finish(struct engram_job_state *job, const struct engram_forest *forest)
{
    int64_t rows = forest->rows;
    int64_t *component = job->answers.component;
    int32_t *sizes = calloc((size_t)rows + 1, sizeof *sizes);
    if (sizes == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to count the groups");
    }
    for (int64_t i = 0; i < rows; i++) {
        component[i] = engram_forest_root(forest, i);
    }
    count_groups(component, rows, sizes, job->report);
    free(sizes);
    for (int64_t i = 0; i < rows; i++) {
        component[i] += forest->first_row;
    }
    job->report->answers = (uint64_t)rows;
    return ENGRAM_OK;
}

/* ---- checkpoints: the forest as it is. What it holds of units that are not done is right, too. */

static enum engram_status save(struct engram_job_state *job, struct engram_journal *journal)
{
    const struct engram_forest *forest = &job->forest;
    const struct engram_record record = {.kind = ENGRAM_RECORD_STATE,
                                         .bytes = (uint64_t)forest->rows * STATE_ROW};
    unsigned char *block = malloc(BLOCK_ROWS * STATE_ROW);
    enum engram_status status = ENGRAM_OK;
    if (block == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the checkpoint");
    }
    for (int64_t first = 0; status == ENGRAM_OK && first < forest->rows; first += BLOCK_ROWS) {
        int64_t left = forest->rows - first;
        size_t rows = (size_t)(left < BLOCK_ROWS ? left : BLOCK_ROWS);
        for (size_t i = 0; i < rows; i++) {
            engram_store32le(block + i * STATE_ROW, forest->parents[(size_t)first + i]);
        }
        status = first == 0 ? engram_journal_append(journal, &record, block, rows * STATE_ROW)
                            : engram_journal_more(journal, block, rows * STATE_ROW);
    }
    free(block);
    return status;
}

/* Rows [first, ..) of the state; false: no forest is like that. */
static bool take_parents(struct engram_forest *forest, int64_t first, const unsigned char *block,
                         size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        uint32_t parent = (uint32_t)engram_load32le(block + i * STATE_ROW);
        if (parent > first + (int64_t)i) {
            return false;
        }
        forest->parents[(size_t)first + i] = parent;
    }
    return true;
}

static enum engram_status load_state(struct engram_job_state *job,
                                     const struct engram_journal *journal,
                                     const struct engram_record *record)
{
    struct engram_forest *forest = &job->forest;
    unsigned char *block = malloc(BLOCK_ROWS * STATE_ROW);
    enum engram_status status = ENGRAM_OK;
    bool fits = record->bytes == (uint64_t)forest->rows * STATE_ROW;
    if (block == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the checkpoint");
    }
    for (int64_t first = 0; fits && status == ENGRAM_OK && first < forest->rows;
         first += BLOCK_ROWS) {
        int64_t left = forest->rows - first;
        size_t rows = (size_t)(left < BLOCK_ROWS ? left : BLOCK_ROWS);
        status = engram_journal_read(journal, record, (uint64_t)first * STATE_ROW, rows * STATE_ROW,
                                     block);
        fits = status != ENGRAM_OK || take_parents(forest, first, block, rows);
    }
    free(block);
    return fits ? status
                : engram_fail(&job->options->log, ENGRAM_ERR_CANT_CREATE,
                              "the groups in the checkpoint are none of this job; use "
                              "--from-scratch to drop it");
}

static enum engram_status load(struct engram_job_state *job, struct engram_journal *journal)
{
    enum engram_status status = engram_units_mirror(job);
    for (size_t i = 0; status == ENGRAM_OK && i < engram_journal_count(journal); i++) {
        const struct engram_record *record = engram_journal_record(journal, i);
        if (record->kind == ENGRAM_RECORD_STATE) {
            status = load_state(job, journal, record);
        }
    }
    return status;
}

static const struct engram_checkpoint_kind CHECKPOINT = {.load = load, .save = save};

/* ---- search */

/* What --subset leaves out takes no part, on neither side: queries are rows of the base, from a
 * whole grain of it on. */
static const uint8_t *allowed_queries(const struct engram_job_state *job)
{
    const uint8_t *allowed = job->inputs.row_data.allowed;
    int64_t first = job->queries.first_row - job->inputs.base.first;
    return allowed == NULL ? NULL : allowed + (size_t)first / 8;
}

static enum engram_status answer(struct engram_job_state *job,
                                 const struct engram_prepared *prepared, int64_t base_first_row,
                                 const struct engram_unit *unit, struct engram_request *request)
{
    int64_t first = unit->queries[0] - job->queries.first_row;
    int64_t last = unit->queries[1] - job->queries.first_row;
    request->allowed_queries = allowed_queries(job);
    return engram_unit_components(prepared, base_first_row, &job->queries, first, last, request,
                                  &job->forest, &job->report->search);
}

/* Pairs with rows before a shard's are looked at by the shards of those. */
static enum engram_status leave_to_others(struct engram_job_state *job)
{
    struct engram_unit others = engram_units_all(job);
    others.base[1] = others.queries[0];
    return engram_done_add(&job->done, &others, &job->options->log);
}

/* ---- between ranks: rows whose parent changed since it was sent last, each with its parent */

static enum engram_status send(struct engram_job_state *job, const struct engram_unit *unit)
{
    const struct engram_forest *forest = &job->forest;
    size_t count = 0;
    (void)unit;
    for (int64_t i = 0; i < forest->rows; i++) {
        count += forest->parents[i] != job->forest_sent[i];
    }
    uint32_t *links = malloc((2 * count + 1) * sizeof *links);
    if (links == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to send the groups");
    }
    size_t at = 0;
    for (int64_t i = 0; i < forest->rows; i++) {
        if (forest->parents[i] != job->forest_sent[i]) {
            links[at++] = (uint32_t)i;
            links[at++] = forest->parents[i];
            job->forest_sent[i] = forest->parents[i];
        }
    }
    engram_ranks_send(links, at * sizeof *links);
    free(links);
    return ENGRAM_OK;
}

static enum engram_status receive(struct engram_job_state *job, const struct engram_unit *unit,
                                  const void *piece, size_t bytes)
{
    const uint32_t *links = piece;
    (void)unit;
    for (size_t i = 0; i + 1 < bytes / sizeof *links; i += 2) {
        if (links[i] >= job->forest.rows || links[i + 1] >= job->forest.rows) {
            return engram_fail(&job->options->log, ENGRAM_ERR_DATA,
                               "another rank sent rows that there are not");
        }
        engram_forest_join(&job->forest, links[i], links[i + 1]);
    }
    return ENGRAM_OK;
}

/* What a rank sent last: at first every row is its own parent. */
static enum engram_status work(struct engram_job_state *job,
                               const struct engram_unit_search *search)
{
    size_t rows = (size_t)job->forest.rows;
    job->forest_sent = malloc((rows + 1) * sizeof *job->forest_sent);
    if (job->forest_sent == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the groups");
    }
    memcpy(job->forest_sent, job->forest.parents, rows * sizeof *job->forest_sent);
    enum engram_status status = engram_units_search(job, search);
    free(job->forest_sent);
    job->forest_sent = NULL;
    return status;
}

enum engram_status engram_job_components(struct engram_job_state *job)
{
    static const struct engram_unit_search search = {
        .mirrored = true, .answer = answer, .send = send, .receive = receive};
    int64_t rows = job->inputs.base.last - job->inputs.base.first;

    job->answers.component = malloc(((size_t)rows + 1) * sizeof *job->answers.component);
    if (job->answers.component == NULL) {
        return engram_fail(&job->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the groups");
    }
    enum engram_status status =
        engram_forest_create(job->inputs.base.first, rows, &job->options->log, &job->forest);
    if (status == ENGRAM_OK && engram_ranks_self() > 0) {
        return work(job, &search);
    }
    if (status == ENGRAM_OK) {
        status = engram_checkpoint_open(job, &CHECKPOINT);
    }
    if (status == ENGRAM_OK) {
        status = leave_to_others(job);
    }
    if (status == ENGRAM_OK) {
        status = engram_units_search(job, &search);
    }
    if (status == ENGRAM_OK) {
        status = finish(job, &job->forest);
    }
    return status == ENGRAM_OK ? engram_job_publish(job) : status;
}
