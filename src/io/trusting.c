#define _GNU_SOURCE

#include "io/trusting.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "base/endian.h"
#include "base/size.h"

/* ---- scale-offset: a chunk begins with the bits of an element, the size of the smallest value,
 * and that value in 16 bytes */

static const char short_chunk[] = "a chunk does not hold what its filter needs";
static const char no_memory[] = "memory allocation failed";

static bool scaleoffset_is_whole(const struct engram_trusting *filter, const unsigned char *packed,
                                 size_t size)
{
    enum { HEADER = 21, ELEMENTS = 2, BYTES = 4 };

    if (filter->count <= BYTES || size < HEADER ||
        engram_saturating_mul(filter->values[ELEMENTS], filter->values[BYTES]) !=
            filter->chunk_bytes) {
        return false;
    }
    uint64_t bits = engram_load32le(packed);
    uint64_t all = engram_saturating_mul(filter->values[ELEMENTS], bits);

    return bits <= 8 * (uint64_t)filter->values[BYTES] && all / 8 + (all % 8 != 0) <= size - HEADER;
}

/* ---- nbit: parameters describe the type, members of members and all; a chunk is nothing but the
 * bits that they ask for */

enum nbit_class { NBIT_ATOMIC = 1, NBIT_ARRAY = 2, NBIT_COMPOUND = 3, NBIT_WHOLE = 4 };
enum { NBIT_DEPTH = 8 };

/* Bits of one element of the type at *at, which moves behind it; 0: it makes no sense. */
static uint64_t nbit_bits(const struct engram_trusting *filter, size_t *at, int depth)
{
    const unsigned *type = filter->values + *at;
    size_t left = *at < filter->count ? filter->count - *at : 0;
    uint64_t bits = 0;

    if (left < 2 || depth > NBIT_DEPTH) {
        return 0;
    }
    switch ((enum nbit_class)type[0]) {
    case NBIT_ATOMIC: /* size, order, precision, offset */
        *at += 5;
        return left >= 5 ? type[3] : 0;
    case NBIT_WHOLE: /* size */
        *at += 2;
        return 8 * (uint64_t)type[1];
    case NBIT_ARRAY: /* size, then the type of its elements, whose size comes second, too */
        *at += 2;
        bits = nbit_bits(filter, at, depth + 1);
        return left >= 4 && type[3] > 0 ? engram_saturating_mul(bits, (uint64_t)(type[1] / type[3]))
                                        : 0;
    case NBIT_COMPOUND: /* size, members, and of each its offset and type */
        *at += 3;
        for (unsigned i = 0; left >= 3 && i < type[2]; i++) {
            *at += 1;
            uint64_t more = nbit_bits(filter, at, depth + 1);
            if (more == 0) {
                return 0;
            }
            bits = engram_saturating_add(bits, more);
        }
        return bits;
    }
    return 0;
}

static bool nbit_is_whole(const struct engram_trusting *filter, size_t size)
{
    enum { ELEMENTS = 2, TYPE = 3, BYTES = 4 };
    size_t at = TYPE;

    if (filter->count <= BYTES) {
        return false;
    }
    uint64_t bits = nbit_bits(filter, &at, 0);
    uint64_t all = engram_saturating_mul(filter->values[ELEMENTS], bits);

    return bits > 0 && all / 8 + (all % 8 != 0) <= size &&
           engram_saturating_mul(filter->values[ELEMENTS], filter->values[BYTES]) ==
               filter->chunk_bytes;
}

/* ---- szip: a chunk begins with the bytes that it unpacks to. Whether the rest gives as many only
 * unpacking shows; the library for it is there when HDF5 has the filter. */

struct szip_parameters { /* SZ_com_t of szlib.h */
    int options;
    int bits_per_pixel;
    int pixels_per_block;
    int pixels_per_scanline;
};
typedef int szip_unpack(void *to, size_t *to_size, const void *from, size_t from_size,
                        struct szip_parameters *parameters);

static const char *szip_damage(const struct engram_trusting *filter, const unsigned char *packed,
                               size_t size)
{
    enum { OPTIONS, PIXELS_PER_BLOCK, BITS_PER_PIXEL, PIXELS_PER_SCANLINE, VALUES, HEADER = 4 };
    enum { NO_MEMORY = -4 }; /* AEC_MEM_ERROR of libaec.h */
    union {                  /* C knows no cast from one to the other */
        void *symbol;
        szip_unpack *call;
    } unpack;

    if (filter->count < VALUES || size < HEADER || engram_load32le(packed) != filter->chunk_bytes) {
        return short_chunk;
    }
    unpack.symbol = dlsym(RTLD_DEFAULT, "SZ_BufftoBuffDecompress");
    if (unpack.symbol == NULL) {
        return NULL;
    }
    struct szip_parameters parameters = {
        .options = (int)filter->values[OPTIONS],
        .bits_per_pixel = (int)filter->values[BITS_PER_PIXEL],
        .pixels_per_block = (int)filter->values[PIXELS_PER_BLOCK],
        .pixels_per_scanline = (int)filter->values[PIXELS_PER_SCANLINE],
    };
    size_t got = filter->chunk_bytes;
    void *to = malloc(got);
    if (to == NULL) {
        return no_memory;
    }
    int code = unpack.call(to, &got, packed + HEADER, size - HEADER, &parameters);
    free(to);
    if (code == NO_MEMORY) {
        return no_memory;
    }
    return code == 0 && got == filter->chunk_bytes ? NULL : short_chunk;
}

bool engram_trusting_is_known(H5Z_filter_t filter)
{
    return filter == H5Z_FILTER_SCALEOFFSET || filter == H5Z_FILTER_NBIT ||
           filter == H5Z_FILTER_SZIP;
}

bool engram_trusting_is_idle(const struct engram_trusting *filter)
{
    const unsigned *values = filter->values;

    switch (filter->filter) {
    case H5Z_FILTER_NBIT: /* its second parameter says so */
        return filter->count > 1 && values[1] != 0;
    case H5Z_FILTER_SCALEOFFSET: /* as many bits were asked for as an integer has */
        return filter->count > 4 && values[0] == H5Z_SO_INT && values[1] == 8 * (uint64_t)values[4];
    default:
        return false;
    }
}

const char *engram_trusting_damage(const struct engram_trusting *filter,
                                   const unsigned char *packed, size_t size)
{
    switch (filter->filter) {
    case H5Z_FILTER_SCALEOFFSET:
        return scaleoffset_is_whole(filter, packed, size) ? NULL : short_chunk;
    case H5Z_FILTER_NBIT:
        return nbit_is_whole(filter, size) ? NULL : short_chunk;
    default:
        return szip_damage(filter, packed, size);
    }
}
