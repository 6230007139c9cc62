/* What the rooms of publication share: publish.c creates the file and writes what all results
 * have, publish_KIND.c declares and writes the datasets of one kind of answer. */
#ifndef ENGRAM_JOB_PUBLISH_INTERNAL_H
#define ENGRAM_JOB_PUBLISH_INTERNAL_H

#include "io/output.h"
#include "job/publish.h"

/* Answers converted and written at a time. */
#define ENGRAM_PUBLISH_CELLS ((int64_t)1 << 18)

#define ENGRAM_PUBLISH_SETS 4

/* The datasets of each kind, in the order in which they are declared. */
enum { ENGRAM_KNN_ROWS, ENGRAM_KNN_VALUES, ENGRAM_KNN_COUNTS };
enum { ENGRAM_PAIRS_INDPTR, ENGRAM_PAIRS_ROWS, ENGRAM_PAIRS_VALUES };
enum { ENGRAM_LABELS_TEXTS, ENGRAM_LABELS_VALUES, ENGRAM_LABELS_ROWS };
enum { ENGRAM_MATRIX_VALUES };
enum { ENGRAM_GROUPS_ROWS, ENGRAM_GROUPS_KEEP };

/* A result on its way to the disk. */
struct engram_publication {
    const struct engram_inputs *inputs;
    struct engram_answers *answers;
    const struct engram_publish_options *options;
    struct engram_output *output;
    int64_t queries;
    enum engram_output_type value_type; /* of distances or similarities */
    int sets[ENGRAM_PUBLISH_SETS];      /* the kind's datasets; -1: none */
    int id_sets[2];                     /* ids of base and queries; -1: none */
    int content_sets[ENGRAM_LATE_SETS]; /* a part's hashes of base, queries and answers */
    /* Room for one block, from engram_publication_room; freed by publish.c. */
    int64_t *rows;
    void *values; /* float or double, as value_type says */
    int32_t *numbers;
    char *texts;       /* labels alone: of a block, .. */
    size_t text_width; /* .. bytes of each */
};

/* One kind of answer. `declare` comes before the ids, `write` after them. */
struct engram_publication_kind {
    enum engram_status (*declare)(struct engram_publication *p);
    enum engram_status (*write)(struct engram_publication *p);
};

extern const struct engram_publication_kind engram_publication_knn;
extern const struct engram_publication_kind engram_publication_pairs;
extern const struct engram_publication_kind engram_publication_labels;
extern const struct engram_publication_kind engram_publication_matrix;
extern const struct engram_publication_kind engram_publication_components;

/* Room for `cells` entries of rows, values and numbers each. RESOURCE, logged. */
enum engram_status engram_publication_room(struct engram_publication *p, int64_t cells);

/* Declares a dataset of the kind under sets[index]. */
enum engram_status engram_publication_declare(struct engram_publication *p, int index,
                                              const char *path, enum engram_output_type type,
                                              int rank, const int64_t dims[]);

/* "/distances" or "/similarities". */
const char *engram_publication_values_path(const struct engram_publication *p);

/* values[at] = the distance or similarity that belongs to a canonical score. float64 becomes
 * float32 here and nowhere else, to the nearest. */
void engram_publication_value(const struct engram_publication *p, int64_t at, double score);

/* values[at] = what is worse than every answer. */
void engram_publication_missing(const struct engram_publication *p, int64_t at);

/* Progress, in queries, and cancellation between blocks. */
enum engram_status engram_publication_step(const struct engram_publication *p, int64_t done);

/* Writes the answers of all partials in blocks of at most `block` queries: rows [first, last) of
 * one part, at row `at` of the result. */
typedef enum engram_status (*engram_publication_block_fn)(const struct engram_publication *p,
                                                          const struct engram_partial *part,
                                                          int64_t first, int64_t last, int64_t at);
enum engram_status engram_publication_blocks(const struct engram_publication *p, int64_t block,
                                             engram_publication_block_fn write);

/* ---- publish_part.c: of a shard's part alone, in `declare` after the kind's, in `write` last */
enum engram_status engram_publication_declare_part(struct engram_publication *p);
enum engram_status engram_publication_write_part(struct engram_publication *p);

/* Hashes of a part, in the order of /content/answers: of the datasets sets[], then id_sets[], then
 * of what the root attributes say. */
#define ENGRAM_PART_ATTRIBUTES (ENGRAM_PUBLISH_SETS + 2)
#define ENGRAM_PART_HASHES (ENGRAM_PART_ATTRIBUTES + 1)
uint64_t engram_publication_attributes_hash(const struct engram_inputs *inputs);
void engram_publication_hashes(const struct engram_publication *p,
                               int64_t hashes[ENGRAM_PART_HASHES]);

#endif
