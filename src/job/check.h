/* One query's answers against a scan of its own: plain float64 loops that share nothing with the
 * kernels. */
#ifndef ENGRAM_JOB_CHECK_H
#define ENGRAM_JOB_CHECK_H

#include "io/result.h"

/* Both sides, read whole, and what the result says of itself. */
struct engram_check {
    struct engram_result_info info;
    struct engram_set base;
    struct engram_set queries;
    int64_t base_first; /* dataset row of the first */
    int64_t query_first;
    const uint8_t *allowed;     /* as in struct engram_row_data; NULL: all rows */
    const int64_t *base_groups; /* likewise, both or neither */
    const int64_t *query_groups;
};

/* Room for one query; one a thread. */
struct engram_check_room {
    double *query;  /* [dim] */
    double *row;    /* [dim] */
    double *keys;   /* [base rows] NAN: not eligible */
    double *errors; /* [base rows] bound of the rounding error of a key, ours and the scan's */
    double *sorted; /* [base rows] eligible keys, then sorted */
    bool *answered; /* [base rows] */
};

/* What was found about one query. */
struct engram_finding {
    int64_t answers;
    int64_t swaps;
    int64_t errors;
    double difference;
};

/* False when memory fails; to be freed all the same. */
bool engram_check_room_make(const struct engram_check *check, struct engram_check_room *room);
void engram_check_room_free(struct engram_check_room *room);

/* Scans the base for query `q`: keys and errors of the room. How many rows are eligible, or -1: the
 * query is not finite. */
int64_t engram_check_scan(const struct engram_check *check, struct engram_check_room *room,
                          int64_t q);

/* Whether a key lies within the limits: 1 yes, 0 no, -1 too near to tell. */
int engram_check_within(const struct engram_result_info *info, double key, double error);

/* Query `q` of the result has these `count` answers: dataset rows, best first. */
struct engram_finding engram_check_query(const struct engram_check *check,
                                         struct engram_check_room *room, int64_t q, int64_t count,
                                         const int64_t *rows, const double *values);

/* The distance that belongs to a value of the result: the value itself, or of a similarity. */
double engram_check_distance(const struct engram_result_info *info, double value);

#endif
