#include "search/rows.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/size.h"

enum engram_status engram_set_check(const struct engram_set *set, const char *what,
                                    const struct engram_log *log, struct engram_set *checked)
{
    bool bits = set != NULL && set->dtype == ENGRAM_BITS;
    size_t element = set == NULL ? 0 : bits ? 1 : engram_dtype_size(set->dtype);
    size_t bytes;
    if (element == 0) {
        return engram_fail(log, ENGRAM_ERR_USAGE, "%s: no set, or unknown element type", what);
    }
    *checked = *set;
    if (set->rows < 0 || set->rows > ENGRAM_ROWS_MAX || set->dim < 0 || set->dim > ENGRAM_DIM_MAX) {
        return engram_fail(log, ENGRAM_ERR_USAGE,
                           "%s: %" PRId64 " rows x %" PRId64 " dimensions is out of range "
                           "(at most %" PRId64 " x %" PRId64 ")",
                           what, set->rows, set->dim, ENGRAM_ROWS_MAX, ENGRAM_DIM_MAX);
    }
    size_t row_bytes = engram_row_bytes(set->dtype, set->dim);
    if (set->stride == 0) {
        checked->stride = row_bytes;
    }
    if (checked->stride < row_bytes || checked->stride % element != 0 ||
        !engram_size_mul((size_t)set->rows, checked->stride, &bytes)) {
        return engram_fail(log, ENGRAM_ERR_USAGE, "%s: stride of %zu bytes is out of range", what,
                           set->stride);
    }
    if (set->data == NULL && set->rows > 0 && set->dim > 0) {
        return engram_fail(log, ENGRAM_ERR_USAGE, "%s: no data", what);
    }
    if ((uintptr_t)set->data % element != 0) {
        return engram_fail(log, ENGRAM_ERR_USAGE, "%s: data is not aligned to its elements", what);
    }
    return ENGRAM_OK;
}

enum engram_status engram_set_check_metric(const struct engram_set *set, const char *what,
                                           enum engram_metric metric, const struct engram_log *log)
{
    if ((set->dtype == ENGRAM_BITS) == engram_metric_of_bits(metric)) {
        return ENGRAM_OK;
    }
    if (set->dtype == ENGRAM_BITS) {
        return engram_fail(log, ENGRAM_ERR_USAGE,
                           "%s: metric %s compares numbers, and these are bits; metrics hamming "
                           "and jaccard compare bits",
                           what, engram_metric_name(metric));
    }
    return engram_fail(log, ENGRAM_ERR_USAGE, "%s: metric %s compares bits, and these are %s", what,
                       engram_metric_name(metric), engram_dtype_name(set->dtype));
}

enum engram_work_type engram_work_type_of(enum engram_dtype dtype)
{
    switch (dtype) {
    case ENGRAM_F32:
    case ENGRAM_F16:
    case ENGRAM_I8:
    case ENGRAM_U8:
    case ENGRAM_I16:
    case ENGRAM_U16:
        return ENGRAM_WORK_F32;
    default:
        return ENGRAM_WORK_F64;
    }
}

/* IEEE 754 binary16. */
static double half_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023;
    double magnitude = exponent == 0    ? ldexp(fraction, -24)
                       : exponent == 31 ? (fraction == 0 ? (double)INFINITY : (double)NAN)
                                        : ldexp(1024 + fraction, exponent - 25);
    return bits >> 15 != 0 ? -magnitude : magnitude;
}

void engram_row_widen(enum engram_dtype dtype, const void *row, size_t dim, double *out)
{
#define WIDEN(type)                                                                                \
    for (size_t i = 0; i < dim; i++) {                                                             \
        out[i] = (double)((const type *)row)[i];                                                   \
    }                                                                                              \
    break
    switch (dtype) {
    case ENGRAM_F32:
        WIDEN(float);
    case ENGRAM_F64:
        if (dim > 0) {
            memcpy(out, row, dim * sizeof *out);
        }
        break;
    case ENGRAM_F16:
        for (size_t i = 0; i < dim; i++) {
            out[i] = half_value(((const uint16_t *)row)[i]);
        }
        break;
    case ENGRAM_I8:
        WIDEN(int8_t);
    case ENGRAM_U8:
        WIDEN(uint8_t);
    case ENGRAM_I16:
        WIDEN(int16_t);
    case ENGRAM_U16:
        WIDEN(uint16_t);
    case ENGRAM_I32:
        WIDEN(int32_t);
    case ENGRAM_U32:
        WIDEN(uint32_t);
    case ENGRAM_I64:
        WIDEN(int64_t);
    case ENGRAM_U64:
        WIDEN(uint64_t);
    case ENGRAM_BITS: /* searched as bits, never widened */
        break;
    }
#undef WIDEN
}

/* Whether no exponent has all its bits set, as those of infinities and NaNs have. */
#define ALL_FINITE(type, row, dim, exponent)                                                       \
    do {                                                                                           \
        const type *numbers = (row);                                                               \
        type others = 0;                                                                           \
        _Pragma("omp simd reduction(| : others)") for (size_t i = 0; i < (dim); i++)               \
        {                                                                                          \
            others = (type)(others | ((numbers[i] & (exponent)) == (exponent)));                   \
        }                                                                                          \
        return others == 0;                                                                        \
    } while (0)

bool engram_row_finite(enum engram_dtype dtype, const void *row, size_t dim)
{
    switch (dtype) {
    case ENGRAM_F32:
        ALL_FINITE(uint32_t, row, dim, 0x7f800000U);
    case ENGRAM_F64:
        ALL_FINITE(uint64_t, row, dim, (uint64_t)0x7ff << 52);
    case ENGRAM_F16:
        ALL_FINITE(uint16_t, row, dim, 0x7c00U);
    default:
        return true;
    }
}

/* The bit patterns of magnitudes of one sign order like the magnitudes, infinities and NaNs on
 * top, so one unsigned maximum, which vectorises, tells all. */
static struct engram_row_look look_f32(const uint32_t *row, size_t dim)
{
    uint32_t top = 0;
    float largest;
    for (size_t i = 0; i < dim; i++) {
        uint32_t magnitude = row[i] & 0x7fffffffU;
        top = magnitude > top ? magnitude : top;
    }
    memcpy(&largest, &top, sizeof largest);
    return (struct engram_row_look){top < 0x7f800000U, true, (double)largest};
}

static struct engram_row_look look_f64(const uint64_t *row, size_t dim)
{
    uint64_t top = 0;
    double largest;
    for (size_t i = 0; i < dim; i++) {
        uint64_t magnitude = row[i] & 0x7fffffffffffffffU;
        top = magnitude > top ? magnitude : top;
    }
    memcpy(&largest, &top, sizeof largest);
    return (struct engram_row_look){top < 0x7ff0000000000000U, true, largest};
}

static struct engram_row_look look_u64(const uint64_t *row, size_t dim, bool is_signed)
{
    uint64_t top = 0;
    for (size_t i = 0; i < dim; i++) {
        uint64_t magnitude = is_signed && row[i] >> 63 != 0 ? 0 - row[i] : row[i];
        top = magnitude > top ? magnitude : top;
    }
    return (struct engram_row_look){true, top <= (uint64_t)1 << 53, (double)top};
}

struct engram_row_look engram_row_look(enum engram_dtype dtype, const void *row, size_t dim)
{
    switch (dtype) {
    case ENGRAM_F32:
        return look_f32(row, dim);
    case ENGRAM_F64:
        return look_f64(row, dim);
    case ENGRAM_I64:
        return look_u64(row, dim, true);
    case ENGRAM_U64:
        return look_u64(row, dim, false);
    case ENGRAM_BITS:
        return (struct engram_row_look){true, true, 1};
    default: {
        /* Small types: element by element is fast enough. */
        struct engram_row_look look = {true, true, 0};
        size_t size = engram_dtype_size(dtype);
        for (size_t i = 0; i < dim; i++) {
            double value;
            engram_row_widen(dtype, (const unsigned char *)row + i * size, 1, &value);
            look.finite = look.finite && isfinite(value);
            look.largest = fabs(value) > look.largest ? fabs(value) : look.largest;
        }
        return look;
    }
    }
}

void engram_bad_row_note(struct engram_bad_row *bad, const struct engram_row_look *look,
                         enum engram_metric metric, int64_t row)
{
    if (!look->exact && row < bad->inexact) {
        bad->inexact = row;
    }
    if (metric != ENGRAM_COSINE && look->finite && look->largest > ENGRAM_MAGNITUDE_MAX &&
        row < bad->too_large) {
        bad->too_large = row;
    }
}

void engram_bad_row_join(struct engram_bad_row *into, const struct engram_bad_row *from)
{
    into->inexact = from->inexact < into->inexact ? from->inexact : into->inexact;
    into->too_large = from->too_large < into->too_large ? from->too_large : into->too_large;
}

enum engram_status engram_bad_row_status(const struct engram_bad_row *bad, const char *what,
                                         int64_t first_row, enum engram_metric metric,
                                         const struct engram_log *log)
{
    if (bad->inexact != INT64_MAX) {
        return engram_fail(log, ENGRAM_ERR_DATA,
                           "%s: row %" PRId64 " holds an integer beyond 2^53, which float64 "
                           "cannot represent exactly",
                           what, first_row + bad->inexact);
    }
    if (bad->too_large != INT64_MAX) {
        return engram_fail(log, ENGRAM_ERR_DATA,
                           "%s: row %" PRId64 " holds a magnitude above 1e150, beyond what metric "
                           "%s can sum; scale the data, or use --metric cosine",
                           what, first_row + bad->too_large, engram_metric_name(metric));
    }
    return ENGRAM_OK;
}

void engram_row_scale_cosine(double *row, size_t dim, double largest)
{
    int exponent = engram_cosine_exponent(largest);
    for (size_t i = 0; exponent != 0 && i < dim; i++) {
        row[i] = ldexp(row[i], exponent);
    }
}
