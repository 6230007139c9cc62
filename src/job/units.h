/* The search of a job that is cut into units: all slabs of queries past all slabs of the base, and
 * what is left of each pair of slabs as one unit after another. */
#ifndef ENGRAM_JOB_UNITS_H
#define ENGRAM_JOB_UNITS_H

#include "job/state.h"

struct engram_unit_search {
    /* Units count for both sides (`mirror` of a request): queries are rows of the base. */
    bool mirrored;
    int64_t most_pairs; /* of a unit that another rank gets, if it has several queries; 0: any */
    /* Answers a unit of the slabs in memory. `request` is for their rows; it says which of the
     * prepared set's rows the unit has. */
    enum engram_status (*answer)(struct engram_job_state *job,
                                 const struct engram_prepared *prepared, int64_t base_first_row,
                                 const struct engram_unit *unit, struct engram_request *request);
    /* On ranks other than 0, after `answer`: sends what it found by engram_ranks_send, and forgets
     * it. NULL: `answer` did. */
    enum engram_status (*send)(struct engram_job_state *job, const struct engram_unit *unit);
    /* On rank 0: a piece that was sent, one of perhaps many of this unit. DATA: it is damaged. */
    enum engram_status (*receive)(struct engram_job_state *job, const struct engram_unit *unit,
                                  const void *piece, size_t bytes);
};

/* With other ranks, they take part. Errors: as reading, searching and saving; what ended another
 * rank. */
enum engram_status engram_units_search(struct engram_job_state *job,
                                       const struct engram_unit_search *search);

/* With other ranks: gives them units while `own` does this rank's share, then waits for them.
 * Alone: calls `own`. Then the content of rows that nobody had to read is found. For rank 0. */
enum engram_status engram_units_share(struct engram_job_state *job,
                                      const struct engram_unit_search *search,
                                      enum engram_status (*own)(void *context), void *context);

/* The slab of a set's rows, on a grid of `rows` from its first, that holds row `row`. */
void engram_units_slab(const struct engram_set_ref *set, int64_t rows, int64_t row,
                       int64_t slab[2]);

/* Under symmetry what is done is done for both sides, but a save that was interrupted may have
 * noted one only. */
enum engram_status engram_units_mirror(struct engram_job_state *job);

#endif
