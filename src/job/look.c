#include "job/look.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "job/sets.h"

#define BLOCKS 4
#define BLOCK_ROWS 1024
#define BLOCK_BYTES ((size_t)16 << 20) /* fewer rows where they are huge, but one */

struct notes {
    double *norms;
    uint64_t *hashes;
    int64_t norm_count;
    int64_t rows;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static int compare_hashes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double count_ones(const unsigned char *row, int64_t dim)
{
    int64_t ones = 0;
    for (int64_t i = 0; i < dim; i++) {
        ones += (row[i / 8] >> (7 - i % 8)) & 1;
    }
    return (double)ones;
}

/* Euclidean norm; scaled, so that huge elements have one too. NAN for a row that is not finite. */
static double row_norm(const struct engram_set *set, const void *row)
{
    double scale = 0;
    double sum = 0;

    if (set->dtype == ENGRAM_BITS) {
        return count_ones(row, set->dim);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < set->dim; i++) {
            double value = set->dtype == ENGRAM_F32 ? (double)((const float *)row)[i]
                                                    : ((const double *)row)[i];
            if (!isfinite(value)) {
                return NAN;
            }
            if (pass == 0) {
                scale = fabs(value) > scale ? fabs(value) : scale;
            } else if (scale > 0) {
                sum += (value / scale) * (value / scale);
            }
        }
    }
    return scale * sqrt(sum);
}

static void take_rows(const struct engram_set *set, struct notes *notes, struct engram_look *look)
{
    for (int64_t r = 0; r < set->rows && notes->rows < (int64_t)BLOCKS * BLOCK_ROWS; r++) {
        const unsigned char *row = (const unsigned char *)set->data + (size_t)r * set->stride;
        double norm = row_norm(set, row);
        notes->hashes[notes->rows++] =
            engram_hash64(row, engram_row_bytes(set->dtype, set->dim), 0);
        if (isnan(norm)) {
            look->unfit++;
            continue;
        }
        look->zero += norm == 0;
        notes->norms[notes->norm_count++] = norm;
    }
}

static enum engram_status read_block(const struct engram_set_ref *set,
                                     const struct engram_job_options *options, int64_t first,
                                     int64_t last, struct notes *notes, struct engram_look *look)
{
    const struct engram_source_options reading = {
        .slab_rows = INT64_MAX,
        .threads = 1,
        .allow_external = options->allow_external,
        .cancel = options->cancel,
        .log = options->log,
    };
    struct engram_set_ref block = *set;
    struct engram_source *source = NULL;
    struct engram_slab slab;

    block.first = first;
    block.last = last;
    enum engram_status status = engram_set_open(&block, &reading, &source);
    if (status == ENGRAM_OK) {
        status = engram_source_next(source, &slab);
    }
    if (status == ENGRAM_OK) {
        take_rows(&slab.set, notes, look);
    }
    engram_source_close(source);
    return status;
}

/* What can be wrong with the set as a whole; reads no rows. */
static enum engram_status check_whole(const struct engram_set_ref *set,
                                      const struct engram_job_options *options)
{
    struct engram_source_options reading = {.slab_rows = INT64_MAX, .threads = 1};
    struct engram_source *source = NULL;

    reading.allow_external = options->allow_external;
    reading.log = options->log;
    enum engram_status status = engram_set_open(set, &reading, &source);
    engram_source_close(source);
    return status;
}

static void sum_up(struct notes *notes, struct engram_look *look)
{
    look->rows = notes->rows;
    qsort(notes->hashes, (size_t)notes->rows, sizeof *notes->hashes, compare_hashes);
    for (int64_t i = 1; i < notes->rows; i++) {
        look->duplicates += notes->hashes[i] == notes->hashes[i - 1];
    }
    if (notes->norm_count > 0) {
        qsort(notes->norms, (size_t)notes->norm_count, sizeof *notes->norms, compare_doubles);
        look->smallest = notes->norms[0];
        look->median = notes->norms[notes->norm_count / 2];
        look->largest = notes->norms[notes->norm_count - 1];
    }
}

static int64_t rows_of_a_block(const struct engram_dataset_info *dataset)
{
    size_t bytes = engram_row_bytes(engram_source_dtype(dataset), dataset->dims[1]);

    if (bytes <= BLOCK_BYTES / BLOCK_ROWS) {
        return BLOCK_ROWS;
    }
    return bytes < BLOCK_BYTES ? (int64_t)(BLOCK_BYTES / bytes) : 1;
}

enum engram_status engram_set_look(const struct engram_set_ref *set,
                                   const struct engram_job_options *options,
                                   struct engram_look *look)
{
    int64_t rows = set->last - set->first;
    int64_t block_rows = rows_of_a_block(set->dataset);
    int64_t blocks = rows <= BLOCKS * block_rows ? 1 : BLOCKS;
    int64_t size = blocks == 1 ? rows : block_rows;
    enum engram_status status = check_whole(set, options);
    struct notes notes = {
        .norms = calloc((size_t)(blocks * size) + 1, sizeof(double)),
        .hashes = calloc((size_t)(blocks * size) + 1, sizeof(uint64_t)),
    };

    *look = (struct engram_look){0};
    if (status == ENGRAM_OK && (notes.norms == NULL || notes.hashes == NULL)) {
        status = engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "not enough memory for a sample");
    }
    for (int64_t i = 0; status == ENGRAM_OK && i < blocks; i++) {
        /* (rows - size) * i / steps without overflow */
        int64_t steps = blocks == 1 ? 1 : blocks - 1;
        int64_t first = set->first + (rows - size) / steps * i + (rows - size) % steps * i / steps;
        status = read_block(set, options, first, first + size, &notes, look);
    }
    if (status == ENGRAM_OK) {
        sum_up(&notes, look);
    }
    free(notes.norms);
    free(notes.hashes);
    return status;
}
