/* Checks the groups of a result of --components against scans of their own (check.h). */
#ifndef ENGRAM_JOB_CHECK_COMPONENTS_H
#define ENGRAM_JOB_CHECK_COMPONENTS_H

#include "job/check.h"

/* The groups of a result, and the pairs found so far. */
struct engram_component_check {
    int64_t *component; /* [rows] of the result: dataset rows */
    int8_t *keep;       /* [rows] */
    int64_t rows;
    int64_t *possible; /* [rows] a forest of the pairs that may be within the limits */
};

/* Takes over the groups of a result. Errors: as engram_result_components. To be freed in any case.
 */
enum engram_status engram_component_check_make(struct engram_result *result, int64_t rows,
                                               const struct engram_log *log,
                                               struct engram_component_check *groups);
void engram_component_check_free(struct engram_component_check *groups);

/* Takes the pairs of row `q` that a scan left in the room; one thread at a time. A row is wrong
 * when a pair surely within the limits leads out of its group, when no pair leads to another row of
 * it, or when it is marked wrongly. `eligible` is what engram_check_scan said. */
struct engram_finding engram_check_component(const struct engram_check *check,
                                             struct engram_component_check *groups,
                                             const struct engram_check_room *room, int64_t q,
                                             int64_t eligible);

/* After all rows were taken: how many rows no chain of pairs connects with the row that stands for
 * their group; `*first` is the first of them. */
int64_t engram_check_connected(const struct engram_check *check,
                               struct engram_component_check *groups, int64_t *first);

#endif
