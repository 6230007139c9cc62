/* Rows of any element type, read as float64. */
#ifndef ENGRAM_SEARCH_ROWS_H
#define ENGRAM_SEARCH_ROWS_H

#include "search/metric.h"

/* Checks a caller's set and fills in a stride of 0. USAGE naming `what` when sizes, type or
 * stride are out of range. */
enum engram_status engram_set_check(const struct engram_set *set, const char *what,
                                    const struct engram_log *log, struct engram_set *checked);

/* USAGE when the metric does not go with the elements of a set: bits with hamming and jaccard,
 * numbers with the others. */
enum engram_status engram_set_check_metric(const struct engram_set *set, const char *what,
                                           enum engram_metric metric, const struct engram_log *log);

static inline const void *engram_set_row(const struct engram_set *set, int64_t row)
{
    return (const unsigned char *)set->data + (size_t)row * set->stride;
}

/* The type the kernels read: float32 where every value of `dtype` is exact in it, else float64. */
enum engram_work_type engram_work_type_of(enum engram_dtype dtype);

/* Widens a row; exact but for 64-bit integers beyond 2^53, which engram_row_look reports. */
void engram_row_widen(enum engram_dtype dtype, const void *row, size_t dim, double *out);

/* What must be known of a row before it is used. */
struct engram_row_look {
    bool finite;
    bool exact;     /* false: a 64-bit integer beyond 2^53 */
    double largest; /* magnitude; meaningless when not finite */
};
struct engram_row_look engram_row_look(enum engram_dtype dtype, const void *row, size_t dim);

/* Its `finite` alone, at the speed of reading; of several rows, too, where nothing is between. */
bool engram_row_finite(enum engram_dtype dtype, const void *row, size_t dim);

/* The first row (lowest number) that breaks a limit, found by threads in any order. */
struct engram_bad_row {
    int64_t inexact; /* INT64_MAX: none */
    int64_t too_large;
};
#define ENGRAM_BAD_ROW_NONE                                                                        \
    {                                                                                              \
        INT64_MAX, INT64_MAX                                                                       \
    }
void engram_bad_row_note(struct engram_bad_row *bad, const struct engram_row_look *look,
                         enum engram_metric metric, int64_t row);
void engram_bad_row_join(struct engram_bad_row *into, const struct engram_bad_row *from);
/* OK, or DATA with a message that names row first_row + n of `what`. */
enum engram_status engram_bad_row_status(const struct engram_bad_row *bad, const char *what,
                                         int64_t first_row, enum engram_metric metric,
                                         const struct engram_log *log);

/* Under cosine: multiplies a widened row by its power of two, if it needs one. */
void engram_row_scale_cosine(double *row, size_t dim, double largest);

#endif
