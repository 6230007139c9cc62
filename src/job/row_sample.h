/* A few thousand rows spread over the base of a job, in memory: what `inspect` foretells from. */
#ifndef ENGRAM_JOB_ROW_SAMPLE_H
#define ENGRAM_JOB_ROW_SAMPLE_H

#include "job/inputs.h"

struct engram_row_sample {
    struct engram_set set; /* its data are `rows` */
    unsigned char *rows;   /* NULL: not read */
    uint8_t *allowed;      /* bits, as of engram_search_options; to be used only with a subset */
    int64_t room;          /* rows */
};

/* Reads whole chunks where the base is stored in chunks, and all rows of a small base. False, and
 * nothing logged, when the sample cannot be had: the job will say what is wrong. To be freed in any
 * case. */
bool engram_row_sample_read(const struct engram_inputs *inputs,
                            const struct engram_job_options *options,
                            struct engram_row_sample *sample);
void engram_row_sample_free(struct engram_row_sample *sample);

#endif
