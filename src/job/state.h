/* A running job: what its steps share. */
#ifndef ENGRAM_JOB_STATE_H
#define ENGRAM_JOB_STATE_H

#include "io/cells.h"
#include "io/source.h"
#include "job/checkpoint.h"
#include "job/identity.h"
#include "job/plan.h"
#include "job/publish.h"
#include "job/spool.h"
#include "search/unit.h"

/* Progress of one stage that is made of several calls. */
struct engram_stage_progress {
    const struct engram_job_options *options;
    enum engram_job_stage stage;
    uint64_t before; /* done by earlier calls */
    uint64_t total;
    struct engram_checkpoint *checkpoint; /* whose owner gives a sign of life; or NULL */
};

struct engram_job_state {
    const struct engram_job_options *options;
    struct engram_job_report *report;
    struct engram_inputs inputs;
    struct engram_plan plan;
    struct engram_content_hashes base_content;
    struct engram_content_hashes query_content;
    struct engram_query_rows queries; /* the slab in memory */
    char query_name[512];
    char base_name[512];
    struct engram_done done; /* units; see checkpoint.h */
    struct engram_checkpoint checkpoint;
    struct engram_crew *crew; /* on rank 0 with others, while they work; else NULL */
    struct engram_answers answers;
    struct engram_cells cells; /* dense */
    struct engram_spill spill;
    uint32_t *forest_sent;       /* on other ranks: parents as rank 0 knows them */
    struct engram_forest forest; /* components */
    char *folder;                /* OUTPUT's, links resolved; NULL before engram_check_output */
    struct engram_stage_progress reading;
    struct engram_stage_progress searching;
};

/* A progress callback of the library below: adds the stage. `context` is a struct
 * engram_stage_progress. */
void engram_stage_tell(void *context, uint64_t done, uint64_t total);

/* Room for the content hashes, and the hashes of the ids. */
enum engram_status engram_feed_contents(struct engram_job_state *job);

enum engram_status engram_feed_open(struct engram_job_state *job, const struct engram_set_ref *set,
                                    int64_t slab_rows, struct engram_source **source);

/* Reads the next slab and hashes it. */
enum engram_status engram_feed_next(struct engram_job_state *job, struct engram_source *source,
                                    struct engram_content_hashes *content,
                                    struct engram_slab *slab);

/* Where the content of the base, or of the queries, is noted: queries that are the rows of the base
 * have no room of their own. */
struct engram_content_hashes *engram_feed_content(struct engram_job_state *job, bool queries);

/* Says that a grain is not what it was when it was read first, perhaps by an earlier run or another
 * rank. CANT_CREATE. */
enum engram_status engram_feed_changed(const struct engram_job_state *job,
                                       const struct engram_content_hashes *content, int64_t grain);

/* Reads and hashes what nobody has read yet, for the identity: the content of both sets is known
 * then. */
enum engram_status engram_feed_rest(struct engram_job_state *job);

/* The content of the queries, once that of both sets is known. Not to be freed: it may be the
 * base's. */
struct engram_content_hashes engram_feed_query_content(const struct engram_job_state *job);

/* The identity, likewise. */
void engram_feed_digest(const struct engram_job_state *job, char digest[ENGRAM_DIGEST_SIZE]);

/* ---- run.c: steps of a job */

struct engram_request engram_job_request(struct engram_job_state *job);

struct engram_publish_options engram_job_publish_options(const struct engram_job_state *job,
                                                         const char *digest);

/* Writes OUTPUT from job->answers. */
enum engram_status engram_job_publish(struct engram_job_state *job);

/* ---- run_answers.c: neighbours, pairs and labels */
enum engram_status engram_job_answers(struct engram_job_state *job);

/* ---- run_pairwise.c: search and publication of row by row answers */
enum engram_status engram_job_pairwise(struct engram_job_state *job);

/* ---- run_dense.c: search and publication of a value for every pair */
enum engram_status engram_job_dense(struct engram_job_state *job);

/* ---- dense_cells.c: where the cells of a dense answer are while there are more to come */

/* Takes OUTPUT and opens what an earlier run left of job->cells, or makes it anew. */
enum engram_status engram_dense_open(struct engram_job_state *job);

/* All cells are there: they become OUTPUT. */
enum engram_status engram_dense_finish(struct engram_job_state *job);

/* After engram_checkpoint_close: what no run can continue goes. Any kind of job. */
void engram_dense_close(struct engram_job_state *job, enum engram_status status);

/* ---- run_pairs.c: pairs that engram_plan_spools */
enum engram_status engram_job_pairs(struct engram_job_state *job);

/* ---- run_components.c: search and publication of duplicate groups */
enum engram_status engram_job_components(struct engram_job_state *job);

/* Before anything is read: OUTPUT is no input, and it can be created, or (`*finished`) it is this
 * job's result already. CANT_CREATE, PERMISSION, USAGE; or as reading the input. */
enum engram_status engram_check_output(struct engram_job_state *job, bool *finished);

#endif
