#include "job/checkpoint.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/log.h"
#include "io/source.h"
#include "job/crew.h"
#include "job/ranks.h"
#include "job/sets.h"
#include "job/state.h"

/* Between saves, in seconds; and how many times longer than a save it is: under 2 % of the time. */
#define INTERVAL_SECONDS 10.0
#define INTERVAL_SAVES 60.0

/* Between signs of life; ENGRAM_OWNER_SECONDS without one mean death. */
#define BEAT_SECONDS 30

/* A signal loses at most the unit in progress. */
#define UNIT_SECONDS 2.0

/* Flops a second of one thread, before the first unit is measured: rather too few. */
#define FLOPS_GUESS 2e10
#define FLOPS_GUESS_CANONICAL 2e9

/* Queries of a unit are a multiple of the strips of all tiles, and enough for many threads. */
#define UNIT_STRIP ((int64_t)64)
#define UNIT_QUERIES_MIN ((int64_t)256)

/* ---- content of the rows */

static enum engram_status contradiction(const struct engram_log *log)
{
    return engram_fail(log, ENGRAM_ERR_CANT_CREATE,
                       "the checkpoint contradicts itself; use --from-scratch to drop it");
}

/* The next grains from `*last` on that are known and not saved; false: there are none. */
static bool next_unsaved(const struct engram_content_hashes *content, int64_t *first, int64_t *last)
{
    const unsigned char both = ENGRAM_GRAIN_HASHED | ENGRAM_GRAIN_SAVED;
    int64_t g = *last;
    while (g < content->count && (content->marks[g] & both) != ENGRAM_GRAIN_HASHED) {
        g++;
    }
    *first = g;
    while (g < content->count && (content->marks[g] & both) == ENGRAM_GRAIN_HASHED) {
        g++;
    }
    *last = g;
    return *first < *last;
}

/* Appends hashes [first, last); rows are counted from the first of the range. */
static enum engram_status append_hashes(struct engram_journal *journal,
                                        enum engram_record_kind kind,
                                        struct engram_content_hashes *content, int64_t first,
                                        int64_t last, const struct engram_log *log)
{
    size_t bytes = (size_t)(last - first) * 8;
    int64_t end = last < content->count ? last * ENGRAM_ROW_GRAIN : content->rows;
    const struct engram_record record = {
        .kind = kind, .base = {first * ENGRAM_ROW_GRAIN, end}, .bytes = bytes};
    unsigned char *words = malloc(bytes);
    if (words == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for the checkpoint");
    }
    for (int64_t g = first; g < last; g++) {
        engram_store64le(words + 8 * (g - first), content->grains[g]);
    }
    enum engram_status status = engram_journal_append(journal, &record, words, bytes);
    for (int64_t g = first; status == ENGRAM_OK && g < last; g++) {
        content->marks[g] |= ENGRAM_GRAIN_SAVED;
    }
    free(words);
    return status;
}

/* Appends the hashes of grains that were read since the last save. */
static enum engram_status save_hashes(struct engram_journal *journal, enum engram_record_kind kind,
                                      struct engram_content_hashes *content,
                                      const struct engram_log *log)
{
    int64_t first;
    int64_t last = 0;
    enum engram_status status = ENGRAM_OK;
    while (status == ENGRAM_OK && next_unsaved(content, &first, &last)) {
        status = append_hashes(journal, kind, content, first, last, log);
    }
    return status;
}

static enum engram_status load_hashes(const struct engram_journal *journal,
                                      const struct engram_record *record,
                                      struct engram_content_hashes *content,
                                      const struct engram_log *log)
{
    const int64_t *rows = record->base;
    int64_t first = rows[0] / ENGRAM_ROW_GRAIN;
    int64_t last = (rows[1] + ENGRAM_ROW_GRAIN - 1) / ENGRAM_ROW_GRAIN;
    if (rows[0] < 0 || rows[0] % ENGRAM_ROW_GRAIN != 0 || rows[1] < rows[0] ||
        rows[1] > content->rows || record->bytes != (uint64_t)(last - first) * 8) {
        return contradiction(log);
    }
    for (int64_t g = first; g < last; g++) {
        unsigned char word[8];
        enum engram_status status =
            engram_journal_read(journal, record, (uint64_t)(g - first) * 8, sizeof word, word);
        if (status != ENGRAM_OK) {
            return status;
        }
        if (content->marks[g] != 0 && content->grains[g] != engram_load64le(word)) {
            return contradiction(log);
        }
        content->grains[g] = engram_load64le(word);
        content->marks[g] = ENGRAM_GRAIN_HASHED | ENGRAM_GRAIN_EARLY | ENGRAM_GRAIN_SAVED;
    }
    return ENGRAM_OK;
}

/* ---- opening */

static enum engram_status load_record(struct engram_job_state *job,
                                      const struct engram_record *record)
{
    const struct engram_journal *journal = job->checkpoint.journal;
    const struct engram_log *log = &job->options->log;
    const struct engram_unit unit = {.queries = {record->queries[0], record->queries[1]},
                                     .base = {record->base[0], record->base[1]}};
    switch (record->kind) {
    case ENGRAM_RECORD_DONE:
        return engram_done_add(&job->done, &unit, log);
    case ENGRAM_RECORD_BASE_HASHES:
        return load_hashes(journal, record, &job->base_content, log);
    case ENGRAM_RECORD_QUERY_HASHES:
        return load_hashes(journal, record, &job->query_content, log);
    default:
        return ENGRAM_OK;
    }
}

struct engram_unit engram_units_all(const struct engram_job_state *job)
{
    return (struct engram_unit){.queries = {job->inputs.queries.first, job->inputs.queries.last},
                                .base = {job->inputs.base.first, job->inputs.base.last}};
}

/* What an earlier run left. */
static enum engram_status load(struct engram_job_state *job)
{
    struct engram_checkpoint *checkpoint = &job->checkpoint;
    const struct engram_unit all = engram_units_all(job);
    size_t count = engram_journal_count(checkpoint->journal);
    enum engram_status status = ENGRAM_OK;

    for (size_t i = 0; status == ENGRAM_OK && i < count; i++) {
        status = load_record(job, engram_journal_record(checkpoint->journal, i));
    }
    if (status == ENGRAM_OK && checkpoint->kind != NULL && checkpoint->kind->load != NULL) {
        status = checkpoint->kind->load(job, checkpoint->journal);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    job->report->pairs_before = engram_done_pairs(&job->done, &all);
    job->searching.before = job->report->pairs_before;
    checkpoint->holds_work = job->done.count > 0;
    if (job->plan.pairs > 0) {
        engram_logf(&job->options->log, ENGRAM_LOG_INFO,
                    "goes on where an earlier run ended: %.1f %% of the pairs were done",
                    100.0 * (double)job->report->pairs_before / (double)job->plan.pairs);
    }
    return ENGRAM_OK;
}

void engram_checkpoint_drop(struct engram_job_state *job)
{
    char identity[ENGRAM_IDENTITY_EARLY];
    struct engram_journal *journal = NULL;
    engram_identity_early(&job->inputs, job->options->compress, &job->base_content,
                          &job->query_content, identity);
    const struct engram_journal_options options = {
        .output = job->options->output, .identity = identity, .existing_only = true};
    /* One that is another job's, or in use, is nobody's business here. */
    if (engram_journal_open(&options, &journal) == ENGRAM_OK) {
        engram_journal_close(journal, true);
    }
}

enum engram_status engram_checkpoint_open(struct engram_job_state *job,
                                          const struct engram_checkpoint_kind *kind)
{
    struct engram_checkpoint *checkpoint = &job->checkpoint;
    char identity[ENGRAM_IDENTITY_EARLY];
    if (engram_ranks_self() > 0) { /* rank 0 keeps what they find */
        return ENGRAM_OK;
    }
    engram_identity_early(&job->inputs, job->options->compress, &job->base_content,
                          &job->query_content, identity);
    const struct engram_journal_options options = {
        .output = job->options->output,
        .identity = identity,
        .from_scratch = job->options->from_scratch,
        .log = job->options->log,
    };
    *checkpoint = (struct engram_checkpoint){.kind = kind, .opened_ns = engram_clock_ns()};
    checkpoint->last_save_ns = checkpoint->opened_ns;
    checkpoint->last_beat_ns = checkpoint->opened_ns;
    enum engram_status status = engram_journal_open(&options, &checkpoint->journal);
    if (status != ENGRAM_OK) {
        return status;
    }
    checkpoint->continued = engram_journal_count(checkpoint->journal) > 0;
    job->report->continued = checkpoint->continued;
    return checkpoint->continued ? load(job) : ENGRAM_OK;
}

/* ---- units */

/* Queries of the next unit against `rows` base rows. */
static int64_t unit_queries(const struct engram_job_state *job, int64_t rows, bool grains)
{
    const struct engram_job_options *options = job->options;
    const bool least = options->checkpoint_seconds_given && options->checkpoint_seconds <= 0;
    const int64_t step = grains ? ENGRAM_ROW_GRAIN : UNIT_STRIP;
    const int64_t smallest = grains ? ENGRAM_ROW_GRAIN : UNIT_QUERIES_MIN;
    double rate;
    __atomic_load(&job->checkpoint.pairs_per_second, &rate, __ATOMIC_RELAXED);
    if (rate <= 0) {
        bool canonical = job->plan.filter == ENGRAM_FILTER_CANONICAL;
        rate = (canonical ? FLOPS_GUESS_CANONICAL : FLOPS_GUESS) * job->plan.threads /
               (2.0 * (double)job->plan.dim + 1);
    }
    double queries = least ? 0 : UNIT_SECONDS * rate / (double)rows;
    if (queries >= (double)(INT64_MAX / 2)) {
        return INT64_MAX;
    }
    int64_t whole = (int64_t)queries / step * step;
    return whole < smallest ? smallest : whole;
}

bool engram_units_cut(const struct engram_job_state *job, const struct engram_done *done,
                      const struct engram_unit *within, bool grains, struct engram_unit *unit)
{
    if (!engram_done_left(done, within, unit)) {
        return false;
    }
    int64_t left = unit->queries[1] - unit->queries[0];
    int64_t most = unit_queries(job, unit->base[1] - unit->base[0], grains);
    /* No crumbs at the end. */
    if (left > most && left - most > most / 4) {
        unit->queries[1] = unit->queries[0] + most;
        if (grains) { /* the first may begin between two */
            int64_t end = unit->queries[1] - job->inputs.queries.first;
            end = end / ENGRAM_ROW_GRAIN * ENGRAM_ROW_GRAIN + job->inputs.queries.first;
            unit->queries[1] = end > unit->queries[0] ? end : unit->queries[1];
        }
    }
    /* What a search keeps for each query fits into memory so many times. */
    if (!grains && unit->queries[1] - unit->queries[0] > job->plan.unit_queries) {
        unit->queries[1] = unit->queries[0] + job->plan.unit_queries;
    }
    return true;
}

bool engram_units_left(struct engram_job_state *job, const struct engram_unit *within)
{
    struct engram_unit left;
    return engram_crew_is_open(job->crew) ? engram_crew_left(job->crew, within)
                                          : engram_done_left(&job->done, within, &left);
}

bool engram_units_next(struct engram_job_state *job, const struct engram_unit *within, bool grains,
                       struct engram_unit *unit)
{
    bool more = engram_crew_is_open(job->crew)
                    ? engram_crew_take(job->crew, within, grains, unit)
                    : engram_units_cut(job, &job->done, within, grains, unit);
    job->checkpoint.unit_start_ns = engram_clock_ns();
    return more;
}

static void measure(struct engram_checkpoint *checkpoint, const struct engram_unit *unit)
{
    double seconds = (double)(engram_clock_ns() - checkpoint->unit_start_ns) * 1e-9;
    double pairs =
        (double)(unit->queries[1] - unit->queries[0]) * (double)(unit->base[1] - unit->base[0]);
    double rate = pairs / seconds;
    if (seconds > 0) {
        __atomic_store(&checkpoint->pairs_per_second, &rate, __ATOMIC_RELAXED);
    }
}

static bool is_due(const struct engram_job_state *job)
{
    const struct engram_job_options *options = job->options;
    const struct engram_checkpoint *checkpoint = &job->checkpoint;
    double since = (double)(engram_clock_ns() - checkpoint->last_save_ns) * 1e-9;
    double cost = INTERVAL_SAVES * (double)checkpoint->save_cost_ns * 1e-9;
    return options->checkpoint_seconds_given ? since >= options->checkpoint_seconds
                                             : since >= INTERVAL_SECONDS && since >= cost;
}

static enum engram_status add(struct engram_job_state *job, const struct engram_unit *unit)
{
    enum engram_status status = engram_done_add(&job->done, unit, &job->options->log);
    return status == ENGRAM_OK ? engram_done_add(&job->checkpoint.unsaved, unit, &job->options->log)
                               : status;
}

enum engram_status engram_units_note(struct engram_job_state *job, const struct engram_unit *unit,
                                     bool mirrored)
{
    const struct engram_unit mirror = {.queries = {unit->base[0], unit->base[1]},
                                       .base = {unit->queries[0], unit->queries[1]}};
    enum engram_status status = add(job, unit);
    if (status == ENGRAM_OK && mirrored) {
        status = add(job, &mirror);
    }
    return status == ENGRAM_OK && is_due(job) ? engram_checkpoint_save(job) : status;
}

enum engram_status engram_units_finished(struct engram_job_state *job,
                                         const struct engram_unit *unit, bool mirrored)
{
    measure(&job->checkpoint, unit);
    enum engram_status status = engram_units_note(job, unit, mirrored);
    return status == ENGRAM_OK && engram_crew_is_open(job->crew) ? engram_crew_gather(job) : status;
}

/* ---- saving */

static enum engram_status append_all(struct engram_job_state *job)
{
    struct engram_checkpoint *checkpoint = &job->checkpoint;
    struct engram_journal *journal = checkpoint->journal;
    const struct engram_log *log = &job->options->log;
    const bool sealed = checkpoint->kind->seal != NULL;
    unsigned char seal[ENGRAM_SEAL_BYTES];
    enum engram_status status = ENGRAM_OK;
    if (checkpoint->kind->save != NULL) {
        status = checkpoint->kind->save(job, journal);
    }
    if (status == ENGRAM_OK) {
        status = save_hashes(journal, ENGRAM_RECORD_BASE_HASHES, &job->base_content, log);
    }
    if (status == ENGRAM_OK && !engram_inputs_shared(&job->inputs)) {
        status = save_hashes(journal, ENGRAM_RECORD_QUERY_HASHES, &job->query_content, log);
    }
    for (size_t i = 0; status == ENGRAM_OK && i < checkpoint->unsaved.count; i++) {
        const struct engram_unit *unit = &checkpoint->unsaved.units[i];
        const struct engram_record record = {.kind = ENGRAM_RECORD_DONE,
                                             .queries = {unit->queries[0], unit->queries[1]},
                                             .base = {unit->base[0], unit->base[1]},
                                             .bytes = sealed ? sizeof seal : 0};
        if (sealed) {
            status = checkpoint->kind->seal(job, unit, seal);
        }
        if (status == ENGRAM_OK) {
            status = engram_journal_append(journal, &record, seal, sealed ? sizeof seal : 0);
        }
    }
    return status == ENGRAM_OK ? engram_journal_commit(journal) : status;
}

void engram_checkpoint_beat(struct engram_checkpoint *checkpoint)
{
    uint64_t now = engram_clock_ns();
    if (checkpoint != NULL && checkpoint->journal != NULL &&
        now - checkpoint->last_beat_ns > BEAT_SECONDS * (uint64_t)1000000000) {
        checkpoint->last_beat_ns = now;
        engram_journal_beat(checkpoint->journal);
    }
}

enum engram_status engram_checkpoint_save(struct engram_job_state *job)
{
    struct engram_checkpoint *checkpoint = &job->checkpoint;
    if (checkpoint->journal == NULL || checkpoint->kind == NULL) {
        return ENGRAM_OK;
    }
    uint64_t start = engram_clock_ns();
    enum engram_status status = append_all(job);
    uint64_t now = engram_clock_ns();
    if (status == ENGRAM_OK) {
        engram_done_free(&checkpoint->unsaved);
        checkpoint->holds_work = true;
    }
    checkpoint->last_save_ns = now;
    checkpoint->save_cost_ns = now - start;
    job->report->saves++;
    job->report->save_seconds += (double)(now - start) * 1e-9;
    return status;
}

void engram_checkpoint_close(struct engram_job_state *job, enum engram_status status)
{
    struct engram_checkpoint *checkpoint = &job->checkpoint;
    bool keep = false;
    if (checkpoint->journal != NULL && status != ENGRAM_OK) {
        if ((status == ENGRAM_ERR_CANCELLED || status == ENGRAM_ERR_IO) &&
            checkpoint->unsaved.count > 0) {
            engram_journal_quiet(checkpoint->journal);
            (void)engram_checkpoint_save(job); /* what was saved before stays in any case */
        }
        job->report->saved =
            checkpoint->holds_work && (status == ENGRAM_ERR_CANCELLED || status == ENGRAM_ERR_IO);
        keep = job->report->saved || checkpoint->continued;
    }
    engram_journal_close(checkpoint->journal, !keep);
    checkpoint->journal = NULL;
    engram_done_free(&checkpoint->unsaved);
    engram_done_free(&job->done);
}
