#include "search/filter.h"

#include "base/log.h"
#include "search/bound_int.h"

/* Below these the packed copy costs more than it saves. */
#define FEW_QUERIES 4
#define FEW_ROWS 64

/* With fewer dimensions the comparison at the end of a tile costs as much as its sums, and codes
 * of so short rows tell little. */
#define INT_DIM_MIN 24

const struct engram_filter_ops *engram_filter_ops(enum engram_filter filter)
{
    switch (filter) {
    case ENGRAM_FILTER_F32:
        return &engram_f32_filter;
    case ENGRAM_FILTER_INT:
    case ENGRAM_FILTER_PREFIX:
        return &engram_int_filter;
    case ENGRAM_FILTER_BITS:
        return &engram_bit_filter;
    default:
        return NULL;
    }
}

static const char *filter_name(enum engram_filter filter)
{
    const struct engram_filter_ops *ops = engram_filter_ops(filter);
    return filter == ENGRAM_FILTER_PREFIX ? "prefix" : ops != NULL ? ops->name : "unknown";
}

enum engram_status engram_filter_check(enum engram_filter filter, enum engram_metric metric,
                                       const struct engram_log *log)
{
    if ((unsigned)filter > ENGRAM_FILTER_BITS) {
        return engram_fail(log, ENGRAM_ERR_USAGE, "unknown filter");
    }
    /* int and prefix rest on a dot product. */
    bool fits = filter == ENGRAM_FILTER_AUTO || filter == ENGRAM_FILTER_CANONICAL ||
                (filter == ENGRAM_FILTER_BITS  ? engram_metric_of_bits(metric)
                 : filter == ENGRAM_FILTER_F32 ? !engram_metric_of_bits(metric)
                                               : engram_metric_dots(metric));
    if (!fits) {
        return engram_fail(log, ENGRAM_ERR_USAGE,
                           "filter %s is not for metric %s; leave the choice to auto",
                           filter_name(filter), engram_metric_name(metric));
    }
    return ENGRAM_OK;
}

/* What AUTO means for these shapes. */
static enum engram_filter choose_by_shape(enum engram_metric metric, int64_t queries, int64_t rows,
                                          int64_t dim, const char **reason)
{
    if (queries <= FEW_QUERIES || rows <= FEW_ROWS) {
        *reason = queries <= FEW_QUERIES ? "so few queries do not pay for a packed copy"
                                         : "so few rows do not pay for a packed copy";
        return ENGRAM_FILTER_CANONICAL;
    }
    if (engram_metric_of_bits(metric)) {
        *reason = "the one for rows of bits";
        return ENGRAM_FILTER_BITS;
    }
    if (metric == ENGRAM_L1 || dim < INT_DIM_MIN) {
        *reason = metric == ENGRAM_L1 ? "int and prefix rest on a dot product"
                                      : "fewer than 24 dimensions";
        return ENGRAM_FILTER_F32;
    }
    return ENGRAM_FILTER_INT;
}

enum engram_filter engram_filter_explain(enum engram_filter filter, enum engram_metric metric,
                                         int64_t queries, int64_t rows, int64_t dim,
                                         const char **reason)
{
    static const char TOO_LONG[] = "rows are too long for the others";
    *reason = NULL;
    if (filter == ENGRAM_FILTER_AUTO) {
        filter = choose_by_shape(metric, queries, rows, dim, reason);
    }
    if (engram_metric_of_bits(metric) && filter != ENGRAM_FILTER_CANONICAL) {
        filter = ENGRAM_FILTER_BITS;
    }
    if ((filter == ENGRAM_FILTER_INT || filter == ENGRAM_FILTER_PREFIX) &&
        dim > ENGRAM_INT_DIM_MAX) {
        *reason = TOO_LONG;
        filter = ENGRAM_FILTER_F32;
    }
    int64_t longest = filter == ENGRAM_FILTER_BITS ? ENGRAM_BITS_DIM_MAX : ENGRAM_F32_DIM_MAX;
    if (filter != ENGRAM_FILTER_CANONICAL && (dim == 0 || dim > longest)) {
        *reason = dim == 0 ? "rows without elements" : TOO_LONG;
        filter = ENGRAM_FILTER_CANONICAL;
    }
    return filter;
}

enum engram_filter engram_filter_choose(enum engram_filter filter, enum engram_metric metric,
                                        int64_t queries, int64_t rows, int64_t dim)
{
    const char *reason;
    return engram_filter_explain(filter, metric, queries, rows, dim, &reason);
}

enum engram_filter engram_prepared_filter(const struct engram_prepared *prepared,
                                          enum engram_filter asked)
{
    if (asked == ENGRAM_FILTER_CANONICAL) {
        return asked;
    }
    return prepared->codes.panels != NULL
               ? (prepared->codes.prefix ? ENGRAM_FILTER_PREFIX : ENGRAM_FILTER_INT)
           : prepared->f32.panels != NULL  ? ENGRAM_FILTER_F32
           : prepared->bits.panels != NULL ? ENGRAM_FILTER_BITS
                                           : ENGRAM_FILTER_CANONICAL;
}
