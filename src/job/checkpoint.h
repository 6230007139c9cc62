/* A job's work, unit by unit, and what is kept of it in OUTPUT.checkpoint, so that the same command
 * goes on where a kill, a signal or a full disk ended it.
 *
 * A job takes units (engram_units_next), answers them, and says so (engram_units_finished). Now and
 * then, and when the job ends early, all that is not in the journal yet is saved: the kind of
 * answer appends what it found, then the content hashes of the rows that were read and the units
 * that are done follow, those of other ranks, too. So whatever the journal holds of units that are
 * not done is a copy, and answers must not mind meeting one of their own twice.
 *
 * A run that continues reads all rows again: their content has to be what it was. */
#ifndef ENGRAM_JOB_CHECKPOINT_H
#define ENGRAM_JOB_CHECKPOINT_H

#include "job/done.h"
#include "job/journal.h"

struct engram_job_state;

#define ENGRAM_SEAL_BYTES 8

/* One kind of answer's share. */
struct engram_checkpoint_kind {
    /* Takes over what the journal's records hold; job->done is loaded. NULL: nothing to do. */
    enum engram_status (*load)(struct engram_job_state *job, struct engram_journal *journal);
    /* Appends records for everything that job->done says is done and that the journal does not
     * hold yet. Not to be cancelled. NULL: nothing to do. */
    enum engram_status (*save)(struct engram_job_state *job, struct engram_journal *journal);
    /* What the record of a unit that is done says of its answers where they are not in the journal.
     * Comes after `save`. NULL: nothing. */
    enum engram_status (*seal)(struct engram_job_state *job, const struct engram_unit *unit,
                               unsigned char seal[ENGRAM_SEAL_BYTES]);
};

/* The fields of struct engram_job_state. */
struct engram_checkpoint {
    struct engram_journal *journal; /* NULL: before engram_checkpoint_open */
    const struct engram_checkpoint_kind *kind;
    struct engram_done unsaved; /* units since the last save */
    bool continued;             /* the journal was there before */
    bool holds_work;            /* something was saved, now or before */
    uint64_t opened_ns;         /* clocks */
    uint64_t last_beat_ns;
    uint64_t last_save_ns;
    uint64_t save_cost_ns; /* of the last save */
    uint64_t unit_start_ns;
    double pairs_per_second; /* of the last units; 0: not known yet */
};

/* Takes OUTPUT for this process (CANT_CREATE: another one is at work on it, or there is a
 * checkpoint that is not this job's) and, when an earlier run of the same job left something,
 * loads it. Comes after engram_feed_contents. */
enum engram_status engram_checkpoint_open(struct engram_job_state *job,
                                          const struct engram_checkpoint_kind *kind);

/* OUTPUT is there and finished: removes the checkpoint that its run was killed beside. */
void engram_checkpoint_drop(struct engram_job_state *job);

/* The whole job as one unit. */
struct engram_unit engram_units_all(const struct engram_job_state *job);

/* The next unit of `within` that is not done; false: there is none. Where much is left it is cut
 * to some seconds of work: to whole strips of queries, or with `grains` to whole row grains. Base
 * rows are never cut. */
bool engram_units_next(struct engram_job_state *job, const struct engram_unit *within, bool grains,
                       struct engram_unit *unit);

/* The same out of what is left of any set of units. */
bool engram_units_cut(const struct engram_job_state *job, const struct engram_done *done,
                      const struct engram_unit *within, bool grains, struct engram_unit *unit);

/* Whether some of `within` is neither done nor in another rank's hands. */
bool engram_units_left(struct engram_job_state *job, const struct engram_unit *within);

/* The unit is answered, and with `mirrored` the same pairs from the other side, too: rows of the
 * base as queries and the queries as base. Saves when it is time. Errors: as saving. */
enum engram_status engram_units_finished(struct engram_job_state *job,
                                         const struct engram_unit *unit, bool mirrored);

/* The same for a unit that another rank answered. */
enum engram_status engram_units_note(struct engram_job_state *job, const struct engram_unit *unit,
                                     bool mirrored);

/* A sign of life for other hosts, now and then; cheap. NULL is allowed. */
void engram_checkpoint_beat(struct engram_checkpoint *checkpoint);

/* Saves now. IO (disk full), RESOURCE. */
enum engram_status engram_checkpoint_save(struct engram_job_state *job);

/* The job ended with `status`. After success the checkpoint goes; after CANCELLED and IO all work
 * is saved and it stays (report->saved), unless there is no work; after other errors what this run
 * made goes and what was there before stays. */
void engram_checkpoint_close(struct engram_job_state *job, enum engram_status status);

#endif
