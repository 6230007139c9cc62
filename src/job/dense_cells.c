/* The file of a dense answer's cells: made, found again, finished. Its place is in the journal; the
 * units that are done say which cells it holds. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/log.h"
#include "base/size.h"
#include "job/state.h"

/* A place as a record's payload. */
enum { PLACE_WORDS = 10, PLACE_BYTES = PLACE_WORDS * 8 + ENGRAM_MARK_LENGTH };

/* The last word is the hash of what is in the file from the start. */
static void encode(const struct engram_cells_place *place, uint64_t frame,
                   unsigned char bytes[PLACE_BYTES])
{
    const uint64_t words[PLACE_WORDS] = {
        place->bytes,  place->offset,     place->rows,       place->row_bytes,  place->mark_at,
        place->packed, place->late_at[0], place->late_at[1], place->late_at[2], frame};
    for (size_t i = 0; i < PLACE_WORDS; i++) {
        engram_store64le(bytes + 8 * i, words[i]);
    }
    memcpy(bytes + (size_t)8 * PLACE_WORDS, place->mark, ENGRAM_MARK_LENGTH);
}

static struct engram_cells_place decode(const unsigned char bytes[PLACE_BYTES])
{
    struct engram_cells_place place = {
        .bytes = engram_load64le(bytes),
        .offset = engram_load64le(bytes + 8),
        .rows = engram_load64le(bytes + 16),
        .row_bytes = engram_load64le(bytes + 24),
        .mark_at = engram_load64le(bytes + 32),
        .packed = engram_load64le(bytes + 40) != 0,
        .late_at = {engram_load64le(bytes + 48), engram_load64le(bytes + 56),
                    engram_load64le(bytes + 64)},
    };
    memcpy(place.mark, bytes + (size_t)8 * PLACE_WORDS, ENGRAM_MARK_LENGTH);
    return place;
}

static uint64_t row_bytes(const struct engram_job_state *job)
{
    const uint64_t cell = job->inputs.float64 ? sizeof(double) : sizeof(float);
    return engram_saturating_mul((uint64_t)job->report->base_count, cell);
}

static bool is_empty(const struct engram_job_state *job)
{
    return job->report->base_count == 0 || job->report->query_count == 0;
}

/* Whether a place is one that this job would have chosen. */
static bool suits(const struct engram_job_state *job, const struct engram_cells_place *place)
{
    uint64_t cells = engram_saturating_mul((uint64_t)job->report->query_count, row_bytes(job));
    return place->rows == (uint64_t)job->report->query_count &&
           place->row_bytes == row_bytes(job) && place->packed == (job->options->compress > 0) &&
           place->bytes <= INT64_MAX && place->offset <= place->bytes &&
           cells <= place->bytes - place->offset &&
           place->mark_at <= place->bytes - ENGRAM_MARK_LENGTH;
}

/* The last record of a kind. */
static const struct engram_record *find(const struct engram_journal *journal,
                                        enum engram_record_kind kind, uint64_t bytes)
{
    for (size_t i = engram_journal_count(journal); i-- > 0;) {
        const struct engram_record *record = engram_journal_record(journal, i);
        if (record->kind == kind && record->bytes == bytes) {
            return record;
        }
    }
    return NULL;
}

static enum engram_status hash_frame(const struct engram_job_state *job, uint64_t *hash)
{
    const bool late = job->inputs.shard[1] > 0;
    const struct engram_content_hashes queries = engram_feed_query_content(job);
    const uint64_t bytes[ENGRAM_LATE_SETS] = {
        late ? (uint64_t)job->base_content.count * sizeof *job->base_content.grains : 0,
        late ? (uint64_t)queries.count * sizeof *queries.grains : 0, late ? sizeof(uint64_t) : 0};
    return engram_cells_hash_frame(&job->cells, bytes, hash);
}

/* The hash of a unit's cells as they are in the file. */
static enum engram_status hash_unit(const struct engram_job_state *job,
                                    const struct engram_unit *unit, uint64_t *hash)
{
    const uint64_t cell = job->inputs.float64 ? sizeof(double) : sizeof(float);
    return engram_cells_hash_part(&job->cells,
                                  (uint64_t)(unit->queries[0] - job->inputs.queries.first),
                                  (uint64_t)(unit->queries[1] - unit->queries[0]),
                                  (uint64_t)(unit->base[0] - job->inputs.base.first) * cell,
                                  (uint64_t)(unit->base[1] - unit->base[0]) * cell, hash);
}

static bool lies_within(const struct engram_unit *unit, const struct engram_unit *all)
{
    return all->queries[0] <= unit->queries[0] && unit->queries[0] <= unit->queries[1] &&
           unit->queries[1] <= all->queries[1] && all->base[0] <= unit->base[0] &&
           unit->base[0] <= unit->base[1] && unit->base[1] <= all->base[1];
}

/* Whether the cells of a unit that was done are still those that were written. */
static enum engram_status verify_unit(const struct engram_job_state *job,
                                      const struct engram_journal *journal,
                                      const struct engram_record *record,
                                      const struct engram_unit *unit, bool *good)
{
    const struct engram_unit all = engram_units_all(job);
    unsigned char word[ENGRAM_SEAL_BYTES];
    uint64_t hash = 0;
    *good = false;
    if (record->bytes != sizeof word || !lies_within(unit, &all)) {
        return ENGRAM_OK;
    }
    enum engram_status status = engram_journal_read(journal, record, 0, sizeof word, word);
    if (status == ENGRAM_OK) {
        status = hash_unit(job, unit, &hash);
    }
    *good = status == ENGRAM_OK && hash == engram_load64le(word);
    return status;
}

/* Keeps of what is done the units whose cells are what they were. One that was found damaged may
 * stay in the journal: once it is computed again its hash holds again. */
static enum engram_status verify_units(struct engram_job_state *job,
                                       const struct engram_journal *journal)
{
    enum engram_status status = ENGRAM_OK;
    engram_done_free(&job->done);
    for (size_t i = 0; status == ENGRAM_OK && i < engram_journal_count(journal); i++) {
        const struct engram_record *record = engram_journal_record(journal, i);
        const struct engram_unit unit = {.queries = {record->queries[0], record->queries[1]},
                                         .base = {record->base[0], record->base[1]}};
        bool good;
        if (record->kind != ENGRAM_RECORD_DONE) {
            continue;
        }
        status = verify_unit(job, journal, record, &unit, &good);
        if (status == ENGRAM_OK && good) {
            status = engram_done_add(&job->done, &unit, &job->options->log);
        } else if (status == ENGRAM_OK) {
            engram_logf(&job->options->log, ENGRAM_LOG_WARNING,
                        "%s: values found by an earlier run are damaged: queries %" PRId64
                        " to %" PRId64 ", base rows %" PRId64 " to %" PRId64
                        "; they are computed again",
                        job->options->output, unit.queries[0], unit.queries[1] - 1, unit.base[0],
                        unit.base[1] - 1);
        }
    }
    return status;
}

/* The file is there: whether its frame is what it was, and which of its units are. */
static enum engram_status verify(struct engram_job_state *job, const struct engram_journal *journal,
                                 uint64_t frame, bool *found)
{
    uint64_t hash = 0;
    enum engram_status status = hash_frame(job, &hash);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (hash != frame) {
        *found = false;
        engram_cells_close(&job->cells, true);
        return ENGRAM_OK;
    }
    return verify_units(job, journal);
}

static enum engram_status load(struct engram_job_state *job, struct engram_journal *journal)
{
    const struct engram_record *record = find(journal, ENGRAM_RECORD_CELLS, PLACE_BYTES);
    const struct engram_record *state = find(journal, ENGRAM_RECORD_STATE, ENGRAM_MARK_LENGTH);
    unsigned char bytes[PLACE_BYTES] = {0};
    char digest[ENGRAM_MARK_LENGTH] = {0};
    bool found = false;
    enum engram_status status = ENGRAM_OK;
    if (record != NULL) {
        status = engram_journal_read(journal, record, 0, sizeof bytes, bytes);
    }
    if (status == ENGRAM_OK && state != NULL) {
        status = engram_journal_read(journal, state, 0, sizeof digest, digest);
    }
    struct engram_cells_place place = decode(bytes);
    if (status == ENGRAM_OK && record != NULL && suits(job, &place)) {
        status = engram_cells_open(job->options->output, job->options->force, &place,
                                   state != NULL ? digest : NULL, &job->options->log, &job->cells,
                                   &found);
    }
    if (status == ENGRAM_OK && found) {
        status =
            verify(job, journal, engram_load64le(bytes + (size_t)8 * (PLACE_WORDS - 1)), &found);
    }
    if (status == ENGRAM_OK && !found && job->done.count > 0) {
        engram_logf(&job->options->log, ENGRAM_LOG_WARNING,
                    "%s: the file with the values found so far is gone or damaged; all of them are "
                    "computed again",
                    job->options->output);
        engram_done_free(&job->done);
    }
    return status;
}

static enum engram_status save(struct engram_job_state *job, struct engram_journal *journal)
{
    if (engram_journal_is_quiet(journal)) {
        job->cells.log = (struct engram_log){NULL, NULL};
    }
    /* Closed: it was synced before that. */
    return job->cells.file.shown == NULL || job->cells.file.fd < 0 ? ENGRAM_OK
                                                                   : engram_cells_sync(&job->cells);
}

/* What a unit's record says of it: the hash of its cells, read back. */
static enum engram_status seal(struct engram_job_state *job, const struct engram_unit *unit,
                               unsigned char word[ENGRAM_SEAL_BYTES])
{
    uint64_t hash = 0;
    enum engram_status status = hash_unit(job, unit, &hash);
    engram_store64le(word, hash);
    return status;
}

static const struct engram_checkpoint_kind CHECKPOINT = {load, save, seal};

/* Appends a small record and commits it. */
static enum engram_status tell_journal(struct engram_job_state *job, enum engram_record_kind kind,
                                       const void *payload, size_t bytes)
{
    struct engram_journal *journal = job->checkpoint.journal;
    const struct engram_record record = {.kind = kind, .bytes = bytes};
    if (journal == NULL) {
        return ENGRAM_OK;
    }
    enum engram_status status = engram_journal_append(journal, &record, payload, bytes);
    return status == ENGRAM_OK ? engram_journal_commit(journal) : status;
}

static enum engram_status make_cells(struct engram_job_state *job)
{
    const struct engram_log *log = &job->options->log;
    char mark[ENGRAM_MARK_LENGTH + 1];
    unsigned char bytes[PLACE_BYTES];
    enum engram_status status;
    if (!engram_cells_draw_mark(mark)) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s: no randomness", job->options->output);
    }
    if (job->options->compress > 0) {
        status = engram_cells_create(job->options->output, job->options->force,
                                     (uint64_t)job->report->query_count, row_bytes(job), mark, log,
                                     &job->cells);
    } else {
        const struct engram_publish_options options = engram_job_publish_options(job, mark);
        status = engram_publish_cells(&job->inputs, &options, &job->cells);
    }
    uint64_t frame = 0;
    if (status == ENGRAM_OK) {
        status = hash_frame(job, &frame);
    }
    if (status == ENGRAM_OK) {
        encode(&job->cells.place, frame, bytes);
        status = tell_journal(job, ENGRAM_RECORD_CELLS, bytes, sizeof bytes);
    }
    return status;
}

enum engram_status engram_dense_open(struct engram_job_state *job)
{
    enum engram_status status = engram_checkpoint_open(job, &CHECKPOINT);
    if (status != ENGRAM_OK || job->cells.file.shown != NULL || is_empty(job)) {
        return status;
    }
    uint64_t start = engram_clock_ns();
    status = make_cells(job);
    job->report->write_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

/* Rows of the result from the plain file. */
static enum engram_status fill(void *context, int64_t first, int64_t count,
                               const struct engram_values *values)
{
    return engram_cells_read(context, (uint64_t)first, (uint64_t)count, values->data);
}

/* The hashes that a shard's part has. */
static enum engram_status write_content(struct engram_job_state *job)
{
    const struct engram_content_hashes queries = engram_feed_query_content(job);
    const struct engram_content_hashes *base = &job->base_content;
    if (job->inputs.shard[1] == 0) {
        return ENGRAM_OK;
    }
    uint64_t cells = 0;
    enum engram_status status = engram_cells_hash(&job->cells, &cells);
    if (status == ENGRAM_OK) {
        status = engram_cells_write_late(&job->cells, 0, 0, base->grains,
                                         (size_t)base->count * sizeof *base->grains);
    }
    if (status == ENGRAM_OK) {
        status = engram_cells_write_late(&job->cells, 1, 0, queries.grains,
                                         (size_t)queries.count * sizeof *queries.grains);
    }
    if (status == ENGRAM_OK) {
        status = engram_cells_write_late(&job->cells, 2, 0, &cells, sizeof cells);
    }
    return status;
}

enum engram_status engram_dense_finish(struct engram_job_state *job)
{
    char digest[ENGRAM_DIGEST_SIZE];
    job->report->answers = job->plan.pairs;
    if (is_empty(job) || job->options->compress > 0) {
        job->answers.fill = fill;
        job->answers.fill_context = &job->cells;
        job->answers.block_bytes = job->plan.block_bytes;
        return engram_job_publish(job);
    }
    uint64_t start = engram_clock_ns();
    engram_feed_digest(job, digest);
    enum engram_status status = write_content(job);
    if (status == ENGRAM_OK) {
        status = tell_journal(job, ENGRAM_RECORD_STATE, digest, ENGRAM_MARK_LENGTH);
    }
    if (status == ENGRAM_OK) {
        status = engram_cells_publish(&job->cells, digest);
    }
    job->report->write_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

void engram_dense_close(struct engram_job_state *job, enum engram_status status)
{
    bool saved = status == ENGRAM_ERR_CANCELLED || status == ENGRAM_ERR_IO;
    bool keep =
        saved ? job->checkpoint.holds_work : status != ENGRAM_OK && job->checkpoint.continued;
    engram_cells_close(&job->cells, keep);
    if (status == ENGRAM_OK) {
        engram_tempfile_sweep(job->options->output, ENGRAM_TEMPFILE_CELLS_SUFFIX);
        engram_tempfile_sweep(job->options->output, ENGRAM_TEMPFILE_SUFFIX);
    }
}
