#include "job/units.h"

#include "base/clock.h"
#include "job/crew.h"
#include "job/ranks.h"
#include "job/stream.h"
#include "job/worker.h"

/* The queries in memory against the slab of the base in memory, as far as that is not done. */
static enum engram_status search_slab(struct engram_job_state *job,
                                      const struct engram_unit_search *search,
                                      const struct engram_prepared *prepared, int64_t first_row,
                                      struct engram_request *request)
{
    const int64_t first = job->queries.first_row;
    const struct engram_unit all = engram_units_all(job);
    const struct engram_unit slab = {.queries = {first, first + job->queries.set.rows},
                                     .base = {first_row, first_row + prepared->rows}};
    struct engram_unit unit;
    uint64_t start = engram_clock_ns();
    enum engram_status status = ENGRAM_OK;
    request->mirror = search->mirrored;
    while (status == ENGRAM_OK && engram_units_next(job, &slab, search->mirrored, &unit)) {
        request->rows[0] = unit.base[0] - first_row;
        request->rows[1] = unit.base[1] - first_row;
        status = search->answer(job, prepared, first_row, &unit, request);
        if (status == ENGRAM_OK) {
            status = engram_units_finished(job, &unit, search->mirrored);
            job->searching.before = engram_done_pairs(&job->done, &all);
        }
    }
    job->report->search_seconds += (double)(engram_clock_ns() - start) * 1e-9;
    return status;
}

/* All slabs of the base past the queries in memory. */
static enum engram_status search_queries(struct engram_job_state *job,
                                         const struct engram_unit_search *search,
                                         struct engram_stream *stream)
{
    const struct engram_prepared *prepared;
    struct engram_request request;
    int64_t first_row;
    enum engram_status status;
    do {
        status = engram_stream_base(stream, &prepared, &first_row, &request);
        if (status == ENGRAM_OK && prepared != NULL) {
            status = search_slab(job, search, prepared, first_row, &request);
        }
    } while (status == ENGRAM_OK && prepared != NULL);
    return status;
}

/* This process's share, which is all when it is alone. */
static enum engram_status search_all(struct engram_job_state *job,
                                     const struct engram_unit_search *search)
{
    struct engram_stream *stream = NULL;
    bool more = true;
    enum engram_status status = engram_stream_open(job, &stream);
    while (status == ENGRAM_OK && more) {
        status = engram_stream_queries(stream, &more);
        if (status == ENGRAM_OK && more) {
            status = search_queries(job, search, stream);
        }
    }
    engram_stream_close(stream);
    return status;
}

enum engram_status engram_units_share(struct engram_job_state *job,
                                      const struct engram_unit_search *search,
                                      enum engram_status (*own)(void *context), void *context)
{
    enum engram_status status = job->crew == NULL ? ENGRAM_OK : engram_crew_open(job, search);
    if (status == ENGRAM_OK) {
        status = own(context);
    }
    if (status == ENGRAM_OK && job->crew != NULL) {
        status = engram_crew_wait(job);
        if (status == ENGRAM_OK) {
            status = engram_crew_close(job, status);
        }
    }
    return status == ENGRAM_OK ? engram_feed_rest(job) : status;
}

struct share {
    struct engram_job_state *job;
    const struct engram_unit_search *search;
};

static enum engram_status search_share(void *context)
{
    const struct share *share = context;
    return search_all(share->job, share->search);
}

enum engram_status engram_units_search(struct engram_job_state *job,
                                       const struct engram_unit_search *search)
{
    struct share share = {job, search};
    return engram_ranks_self() > 0 ? engram_worker_run(job, search)
                                   : engram_units_share(job, search, search_share, &share);
}

void engram_units_slab(const struct engram_set_ref *set, int64_t rows, int64_t row, int64_t slab[2])
{
    slab[0] = set->first;
    slab[1] = set->last;
    if (rows < set->last - set->first) {
        slab[0] += (row - set->first) / rows * rows;
        slab[1] = slab[0] + rows < set->last ? slab[0] + rows : set->last;
    }
}

enum engram_status engram_units_mirror(struct engram_job_state *job)
{
    enum engram_status status = ENGRAM_OK;
    struct engram_done both = {0};
    for (size_t i = 0; status == ENGRAM_OK && i < job->done.count; i++) {
        const struct engram_unit *unit = &job->done.units[i];
        const struct engram_unit other = {.queries = {unit->base[0], unit->base[1]},
                                          .base = {unit->queries[0], unit->queries[1]}};
        status = engram_done_add(&both, unit, &job->options->log);
        if (status == ENGRAM_OK) {
            status = engram_done_add(&both, &other, &job->options->log);
        }
    }
    if (status != ENGRAM_OK) {
        engram_done_free(&both);
        return status;
    }
    engram_done_free(&job->done);
    job->done = both;
    return ENGRAM_OK;
}
