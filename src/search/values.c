#include "search/values.h"

void engram_values_put(const struct engram_values *values, struct engram_order order, size_t at,
                       size_t count, const double *scores)
{
    /* Both are value = offset + sign * score; and NaN has one pattern, whatever made it. */
    const double offset = values->similarity ? 0.0 : order.offset;
    const double sign = values->similarity ? 1.0 : order.sign;
    for (size_t i = 0; i < count; i++) {
        double value = offset + sign * scores[i];
        value = isnan(value) ? (double)NAN : value;
        if (values->float32) {
            ((float *)values->data)[at + i] = engram_narrow(value);
        } else {
            ((double *)values->data)[at + i] = value;
        }
    }
}
