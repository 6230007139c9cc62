#include "io/codec.h"

#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "base/size.h"

/* A chunk's size is a 32-bit number in the file. */
#define CHUNK_LIMIT UINT32_MAX

size_t engram_codec_bound(size_t size)
{
    size_t bound;

    if (size > CHUNK_LIMIT) {
        return 0;
    }
    bound = (size_t)compressBound((uLong)size);
    return bound > CHUNK_LIMIT ? 0 : bound;
}

/* Transposes `count` elements into `element` planes of `plane` bytes; what an edge chunk lacks
 * is zero in every plane. */
static void shuffle(const unsigned char *data, size_t count, size_t element, size_t plane,
                    unsigned char *planes)
{
    for (size_t byte = 0; byte < element; byte++) {
        const unsigned char *from = data + byte;
        unsigned char *to = planes + byte * plane;

        for (size_t i = 0; i < count; i++) {
            to[i] = from[i * element];
        }
        memset(to + count, 0, plane - count);
    }
}

enum engram_status engram_codec_pack(const void *data, size_t size, size_t chunk_size,
                                     size_t element, int level, void *scratch, void *packed,
                                     size_t *packed_size)
{
    size_t bound = engram_codec_bound(chunk_size);
    uLongf length = (uLongf)bound;
    int code;

    if (bound == 0 || element == 0 || size > chunk_size || size % element != 0 ||
        chunk_size % element != 0) {
        return ENGRAM_ERR_INTERNAL;
    }
    shuffle(data, size / element, element, chunk_size / element, scratch);
    code = compress2(packed, &length, scratch, (uLong)chunk_size, level);
    if (code != Z_OK) {
        return code == Z_MEM_ERROR ? ENGRAM_ERR_RESOURCE : ENGRAM_ERR_INTERNAL;
    }
    *packed_size = (size_t)length;
    return ENGRAM_OK;
}
