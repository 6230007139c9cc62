/* A finished job's answers into OUTPUT. */
#ifndef ENGRAM_JOB_PUBLISH_H
#define ENGRAM_JOB_PUBLISH_H

#include "io/cells.h"
#include "io/output.h"
#include "job/identity.h"
#include "job/inputs.h"
#include "job/parts.h"
#include "job/spool.h"
#include "search/values.h"

struct engram_publication;

/* Answers that are finished rows already, in the parts of a job. Errors of the functions end the
 * publication. */
struct engram_finished_rows {
    int64_t pairs;      /* of a result of pairs: how many */
    size_t label_width; /* of labels: bytes of the longest */
    size_t id_width[2]; /* likewise of an id of base and queries; 0: there are none */
    /* Hands all ids of one set to engram_output_ids_next. */
    enum engram_status (*write_ids)(void *context, struct engram_output *output, int dataset,
                                    bool queries);
    enum engram_status (*write)(void *context, struct engram_publication *p);
    void *context;
};

/* The answers of a job: partials of consecutive query ranges, and pairs that may be more than
 * memory holds. */
struct engram_answers {
    int64_t *component; /* groups: of every query row, the row that stands for it; no partials */
    struct engram_parts parts;
    struct engram_spool *spool; /* NULL: all answers are in the partials; else none is */
    /* Dense and pairwise: no partials; computes rows [first, first + count) of the result, asked
     * for in order. */
    enum engram_status (*fill)(void *context, int64_t first, int64_t count,
                               const struct engram_values *values);
    void *fill_context;
    size_t block_bytes;                          /* of the rows that are asked for at a time */
    const struct engram_finished_rows *finished; /* or NULL; else all of the above is not there */
};

/* What the part of a shard carries so that the parts can be joined without the input. */
struct engram_part_content {
    const struct engram_content_hashes *base; /* NULL: it is no shard */
    struct engram_content_hashes queries;     /* the shard's own; borrowed */
    int64_t max_pairs;                        /* 0: no limit */
};

struct engram_publish_options {
    const char *path;
    bool replace;
    int compress;
    int threads;
    const char *digest;
    struct engram_part_content part;
    const int *cancel;
    void (*progress)(void *context, uint64_t rows_done, uint64_t rows_total);
    void *progress_context;
    struct engram_log log;
};

/* Rows of a dense (`width` base rows) or pairwise (1) result that are computed at a time, in blocks
 * of `bytes`; a row that is larger is a block of its own. */
int64_t engram_matrix_block_rows(int64_t rows, int64_t width, bool float64, size_t bytes);

/* Makes everything of an uncompressed dense result but its cells and its digest, in place of which
 * options->digest is a mark, and but for the hashes of a part, whose place is in cells->place. */
enum engram_status engram_publish_cells(const struct engram_inputs *inputs,
                                        const struct engram_publish_options *options,
                                        struct engram_cells *cells);

/* Writes the whole result; it appears under its name at the end or not at all. */
enum engram_status engram_publish(const struct engram_inputs *inputs,
                                  struct engram_answers *answers,
                                  const struct engram_publish_options *options);

#endif
