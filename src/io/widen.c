#include "io/widen.h"

#include <string.h>

/* Every integer up to here is a float64. */
#define EXACT_INTEGER ((int64_t)1 << 53)

/* Elements that threads take at a time; fewer do not pay for waking one. */
#define BLOCK_ELEMENTS 65536

/* Elements that are turned into native order before they are widened; stays in the first cache. */
#define PLACE_ELEMENTS 1024

static float float_of_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* IEEE binary16 by its bits, without branches, so that compilers use their vectors: HDF5 converts
 * element by element, some hundred times slower. */
static float float_of_half(uint16_t half)
{
    const uint32_t rebias = (127U - 15U) << 23;
    uint32_t magnitude = half & 0x7fffU;
    uint32_t normal = (magnitude << 13) + rebias;
    /* Zero and denormals are exact as an integer times 2^-24, which is no denormal float32. */
    uint32_t small = bits_of_float((float)(int32_t)magnitude * 0x1p-24F);
    uint32_t is_small = 0U - (uint32_t)(magnitude < 0x400U);
    uint32_t is_special = 0U - (uint32_t)(magnitude >= 0x7c00U); /* infinity, NaN */
    uint32_t bits = (small & is_small) | ((normal + (rebias & is_special)) & ~is_small);

    return float_of_bits(bits | (half & 0x8000U) << 16);
}

static void widen_halves(const uint16_t *from, float *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = float_of_half(from[i]);
    }
}

static void widen_bfloats(const uint16_t *from, float *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = float_of_bits((uint32_t)from[i] << 16);
    }
}

static void widen_i8(const int8_t *from, float *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)from[i];
    }
}

static void widen_u8(const uint8_t *from, float *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)from[i];
    }
}

static void widen_i16(const int16_t *from, float *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)from[i];
    }
}

static void widen_u16(const uint16_t *from, float *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)from[i];
    }
}

static void widen_i32(const int32_t *from, double *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = (double)from[i];
    }
}

static void widen_u32(const uint32_t *from, double *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = (double)from[i];
    }
}

static int64_t widen_i64(const int64_t *from, double *to, int64_t count)
{
    int64_t bad = -1;

    for (int64_t i = 0; i < count; i++) {
        if ((from[i] > EXACT_INTEGER || from[i] < -EXACT_INTEGER) && bad < 0) {
            bad = i;
        }
        to[i] = (double)from[i];
    }
    return bad;
}

static int64_t widen_u64(const uint64_t *from, double *to, int64_t count)
{
    int64_t bad = -1;

    for (int64_t i = 0; i < count; i++) {
        if (from[i] > (uint64_t)EXACT_INTEGER && bad < 0) {
            bad = i;
        }
        to[i] = (double)from[i];
    }
    return bad;
}

static int64_t widen(enum engram_dtype dtype, enum engram_h5_encoding encoding, const void *from,
                     void *to, int64_t count)
{
    if (encoding == ENGRAM_ENCODING_BFLOAT16) {
        widen_bfloats(from, to, count);
        return -1;
    }
    switch (dtype) {
    case ENGRAM_F16:
        widen_halves(from, to, count);
        break;
    case ENGRAM_I8:
        widen_i8(from, to, count);
        break;
    case ENGRAM_U8:
        widen_u8(from, to, count);
        break;
    case ENGRAM_I16:
        widen_i16(from, to, count);
        break;
    case ENGRAM_U16:
        widen_u16(from, to, count);
        break;
    case ENGRAM_I32:
        widen_i32(from, to, count);
        break;
    case ENGRAM_U32:
        widen_u32(from, to, count);
        break;
    case ENGRAM_I64:
        return widen_i64(from, to, count);
    case ENGRAM_U64:
        return widen_u64(from, to, count);
    case ENGRAM_F32:
    case ENGRAM_F64:
        break; /* go into the slab as they are */
    case ENGRAM_BITS:
        break; /* never widened */
    }
    return -1;
}

int64_t engram_widen(enum engram_dtype dtype, enum engram_h5_encoding encoding, const void *from,
                     void *to, int64_t count, int threads)
{
    bool narrow = encoding == ENGRAM_ENCODING_BFLOAT16;
    size_t in = narrow ? 2 : engram_dtype_size(dtype);
    size_t out = narrow || in <= 2 ? sizeof(float) : sizeof(double);
    int64_t blocks = (count + BLOCK_ELEMENTS - 1) / BLOCK_ELEMENTS;
    int team = threads < 1 ? 1 : blocks < threads ? (int)blocks : threads;
    int64_t bad = INT64_MAX;

    if (count == 0) {
        return -1;
    }
#pragma omp parallel for schedule(static) num_threads(team) reduction(min : bad)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t first = b * BLOCK_ELEMENTS;
        int64_t size = count - first < BLOCK_ELEMENTS ? count - first : BLOCK_ELEMENTS;
        int64_t at = widen(dtype, encoding, (const char *)from + (size_t)first * in,
                           (char *)to + (size_t)first * out, size);
        if (at >= 0 && first + at < bad) {
            bad = first + at;
        }
    }
    return bad == INT64_MAX ? -1 : bad;
}

static void swap_copy(const unsigned char *from, size_t bytes, size_t count, unsigned char *to)
{
    if (bytes == 2) {
        for (size_t i = 0; i < count; i++) {
            uint16_t value;
            memcpy(&value, from + 2 * i, sizeof value);
            value = __builtin_bswap16(value);
            memcpy(to + 2 * i, &value, sizeof value);
        }
    } else if (bytes == 4) {
        for (size_t i = 0; i < count; i++) {
            uint32_t value;
            memcpy(&value, from + 4 * i, sizeof value);
            value = __builtin_bswap32(value);
            memcpy(to + 4 * i, &value, sizeof value);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            uint64_t value;
            memcpy(&value, from + 8 * i, sizeof value);
            value = __builtin_bswap64(value);
            memcpy(to + 8 * i, &value, sizeof value);
        }
    }
}

/* Elements in native order, side by side. */
static void gather(const struct engram_stored *stored, const struct engram_elements *elements,
                   size_t first, size_t count, void *to)
{
    size_t bytes = stored->bytes;
    bool swap = stored->swapped && bytes > 1;

    if (elements->plane > 0) {
        engram_unshuffle(elements->bytes, elements->plane, bytes, swap, first, count, to);
    } else if (swap) {
        swap_copy(elements->bytes + first * bytes, bytes, count, to);
    } else {
        memcpy(to, elements->bytes + first * bytes, count * bytes);
    }
}

int64_t engram_place(const struct engram_stored *stored, const struct engram_elements *elements,
                     size_t first, size_t count, void *to)
{
    _Alignas(64) unsigned char block[PLACE_ELEMENTS * 8];
    unsigned char *out = to;

    if (stored->direct) {
        gather(stored, elements, first, count, to);
        return -1;
    }
    for (size_t done = 0; done < count;) {
        size_t size = count - done < PLACE_ELEMENTS ? count - done : PLACE_ELEMENTS;
        gather(stored, elements, first + done, size, block);
        int64_t bad = widen(stored->dtype, stored->encoding, block, out + done * stored->slab_bytes,
                            (int64_t)size);
        if (bad >= 0) {
            return (int64_t)done + bad;
        }
        done += size;
    }
    return -1;
}
