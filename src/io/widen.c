#include "io/widen.h"

#include <string.h>

/* Every integer up to here is a float64. */
#define EXACT_INTEGER ((int64_t)1 << 53)

/* Elements a thread has to get before starting it pays. */
#define ELEMENTS_PER_THREAD 65536

static float float_of_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE binary16 by its bits. HDF5 would do the same element by element some hundred times slower.
 */
static float float_of_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half >> 15) << 31;
    uint32_t exponent = (half >> 10) & 31U;
    uint32_t mantissa = half & 1023U;

    if (exponent == 31) {
        return float_of_bits(sign | 0x7f800000U | mantissa << 13); /* infinity, NaN */
    }
    if (exponent != 0) {
        return float_of_bits(sign | (exponent + 127 - 15) << 23 | mantissa << 13);
    }
    float magnitude = (float)mantissa * 0x1p-24F; /* zero and denormals: exact */
    return sign != 0 ? -magnitude : magnitude;
}

static void widen_halves(const uint16_t *from, float *to, int64_t count, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        to[i] = float_of_half(from[i]);
    }
}

static void widen_bfloats(const uint16_t *from, float *to, int64_t count, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        to[i] = float_of_bits((uint32_t)from[i] << 16);
    }
}

static void widen_i8(const int8_t *from, float *to, int64_t count, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)from[i];
    }
}

static void widen_u8(const uint8_t *from, float *to, int64_t count, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)from[i];
    }
}

static void widen_i16(const int16_t *from, float *to, int64_t count, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)from[i];
    }
}

static void widen_u16(const uint16_t *from, float *to, int64_t count, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)from[i];
    }
}

static void widen_i32(const int32_t *from, double *to, int64_t count, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        to[i] = (double)from[i];
    }
}

static void widen_u32(const uint32_t *from, double *to, int64_t count, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        to[i] = (double)from[i];
    }
}

static int64_t widen_i64(const int64_t *from, double *to, int64_t count, int threads)
{
    int64_t bad = INT64_MAX;

#pragma omp parallel for schedule(static) num_threads(threads) reduction(min : bad)
    for (int64_t i = 0; i < count; i++) {
        if (from[i] > EXACT_INTEGER || from[i] < -EXACT_INTEGER) {
            bad = i < bad ? i : bad;
        }
        to[i] = (double)from[i];
    }
    return bad == INT64_MAX ? -1 : bad;
}

static int64_t widen_u64(const uint64_t *from, double *to, int64_t count, int threads)
{
    int64_t bad = INT64_MAX;

#pragma omp parallel for schedule(static) num_threads(threads) reduction(min : bad)
    for (int64_t i = 0; i < count; i++) {
        if (from[i] > (uint64_t)EXACT_INTEGER) {
            bad = i < bad ? i : bad;
        }
        to[i] = (double)from[i];
    }
    return bad == INT64_MAX ? -1 : bad;
}

int64_t engram_widen(enum engram_dtype dtype, enum engram_h5_encoding encoding, const void *from,
                     void *to, int64_t count, int threads)
{
    int64_t useful = 1 + count / ELEMENTS_PER_THREAD;
    int team = threads < 1 ? 1 : useful < threads ? (int)useful : threads;

    if (encoding == ENGRAM_ENCODING_BFLOAT16) {
        widen_bfloats(from, to, count, team);
        return -1;
    }
    switch (dtype) {
    case ENGRAM_F16:
        widen_halves(from, to, count, team);
        break;
    case ENGRAM_I8:
        widen_i8(from, to, count, team);
        break;
    case ENGRAM_U8:
        widen_u8(from, to, count, team);
        break;
    case ENGRAM_I16:
        widen_i16(from, to, count, team);
        break;
    case ENGRAM_U16:
        widen_u16(from, to, count, team);
        break;
    case ENGRAM_I32:
        widen_i32(from, to, count, team);
        break;
    case ENGRAM_U32:
        widen_u32(from, to, count, team);
        break;
    case ENGRAM_I64:
        return widen_i64(from, to, count, team);
    case ENGRAM_U64:
        return widen_u64(from, to, count, team);
    case ENGRAM_F32:
    case ENGRAM_F64:
        break; /* read into the slab as they are */
    }
    return -1;
}
