/* What options say about single rows: which may be answers (--subset, --labels), which never match
 * each other (--exclude-same), and their labels (--labels). */
#ifndef ENGRAM_JOB_ROW_DATA_H
#define ENGRAM_JOB_ROW_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "engram/job.h"
#include "io/labels.h"

struct engram_inputs;

#define ENGRAM_ROW_DATA_PATH 512

struct engram_row_data {
    /* Bit r & 7 of byte r >> 3: row r of the base's range may be an answer; NULL: all may. */
    uint8_t *allowed;
    int64_t allowed_rows; /* of the range, how many may */
    bool subset_mask;     /* the subset is a mask, not row numbers */
    /* Groups of the rows of the base's range and the queries' range, also where a shard answers
     * only some of them; NULL: none. */
    int64_t *base_groups;
    int64_t *query_groups;       /* may be base_groups */
    struct engram_labels labels; /* of all rows of the base; none without --labels */
    int64_t labelled;            /* rows with a label, of the base's range */
    int64_t unknown;             /* lines of a label file whose id no row has */
    /* Where it was found, inside its file; "" without. */
    char subset_path[ENGRAM_ROW_DATA_PATH];
    char groups_path[ENGRAM_ROW_DATA_PATH];
    char query_groups_path[ENGRAM_ROW_DATA_PATH]; /* "" when it is the same dataset */
    char labels_path[ENGRAM_ROW_DATA_PATH];       /* "" for a label file */
    uint64_t hashes[2];                           /* of the content; 0 without any */
};

/* Reads what the options name, for sets that are decided. Freed with engram_row_data_free.
 * Errors: USAGE, NO_INPUT, PERMISSION, DATA, RESOURCE, IO. */
enum engram_status engram_row_data_read(const struct engram_job_options *options,
                                        const struct engram_inputs *inputs,
                                        struct engram_row_data *data);
void engram_row_data_free(struct engram_row_data *data);

/* The hashes as 32 hexadecimal digits; false when there is nothing to hash. */
bool engram_row_data_hash(const struct engram_row_data *data, char text[33]);

/* The other way round; "" stands for nothing. False when it is neither. */
bool engram_row_data_parse_hash(const char *text, uint64_t hashes[2]);

/* One line for people: "70 of 300 base rows, by a mask; no match within a group"; "" when there is
 * nothing to say. */
void engram_row_data_describe(const struct engram_inputs *inputs, char *text, size_t size);

/* Bytes of memory it takes. */
uint64_t engram_row_data_bytes(const struct engram_inputs *inputs);

#endif
