/* Base and queries as the rest of the job sees them: perhaps several datasets, perhaps bits. */
#ifndef ENGRAM_JOB_SETS_H
#define ENGRAM_JOB_SETS_H

#include "io/ids.h"
#include "io/source.h"
#include "job/inputs.h"

/* Makes `parts` (count > 0; file and dataset filled in) into a set with all their rows, in this
 * order. DATA when their dimensions differ, RESOURCE. To be freed in any case. */
enum engram_status engram_set_create(const struct engram_set_part *parts, size_t count,
                                     const struct engram_log *log, struct engram_set_ref *set);
void engram_set_free(struct engram_set_ref *set);

/* Its rows are to be read as bits from now on. */
void engram_set_want_bits(struct engram_set_ref *set);

/* Opens the rows [first, last) of the set; path, dataset, parts and the range of `options` are
 * filled in here. */
enum engram_status engram_set_open(const struct engram_set_ref *set,
                                   const struct engram_source_options *options,
                                   struct engram_source **source);

/* Finds the ids of base and queries, recognised or named by --ids. NO_INPUT, DATA. */
enum engram_status engram_inputs_choose_ids(const struct engram_job_options *options,
                                            struct engram_inputs *inputs);

/* Ids of rows [first, last); the set has ids. As engram_ids_read. */
enum engram_status engram_set_read_ids(const struct engram_set_ref *set, int64_t first,
                                       int64_t last, const struct engram_log *log,
                                       struct engram_ids *ids);

/* "file.h5: /train", "a.h5: /x and 2 more sets"; returns `text`. */
const char *engram_set_name(const struct engram_set_ref *set, char *text, size_t size);

#endif
