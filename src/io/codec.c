#include "io/codec.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST
#include <zlib.h>
#ifdef ENGRAM_HAVE_LIBDEFLATE
#include <libdeflate.h>
#endif

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

static const char damaged[] = "its deflate stream is damaged";
static const char too_long[] = "it inflates to more bytes than its shape takes";
static const char too_short[] = "it inflates to fewer bytes than its shape takes";

#ifdef ENGRAM_HAVE_LIBDEFLATE

struct engram_inflater {
    struct libdeflate_decompressor *library;
};

const char *engram_inflater_name(void)
{
    return "libdeflate";
}

struct engram_inflater *engram_inflater_create(void)
{
    struct engram_inflater *inflater = calloc(1, sizeof *inflater);

    if (inflater == NULL) {
        return NULL;
    }
    inflater->library = libdeflate_alloc_decompressor();
    if (inflater->library == NULL) {
        free(inflater);
        return NULL;
    }
    return inflater;
}

void engram_inflater_free(struct engram_inflater *inflater)
{
    if (inflater != NULL) {
        libdeflate_free_decompressor(inflater->library);
        free(inflater);
    }
}

enum engram_status engram_inflate_some(struct engram_inflater *inflater, const void *packed,
                                       size_t packed_size, void *data, size_t room, size_t *size,
                                       const char **why)
{
    switch (libdeflate_zlib_decompress(inflater->library, packed, packed_size, data, room, size)) {
    case LIBDEFLATE_SUCCESS:
        return ENGRAM_OK;
    case LIBDEFLATE_INSUFFICIENT_SPACE:
        *why = too_long;
        return ENGRAM_ERR_DATA;
    default:
        *why = damaged;
        return ENGRAM_ERR_DATA;
    }
}

#else

struct engram_inflater {
    z_stream stream;
};

const char *engram_inflater_name(void)
{
    return "zlib";
}

struct engram_inflater *engram_inflater_create(void)
{
    struct engram_inflater *inflater = calloc(1, sizeof *inflater);

    if (inflater == NULL || inflateInit(&inflater->stream) != Z_OK) {
        free(inflater);
        return NULL;
    }
    return inflater;
}

void engram_inflater_free(struct engram_inflater *inflater)
{
    if (inflater != NULL) {
        (void)inflateEnd(&inflater->stream); /* fails only for a stream that is not one */
        free(inflater);
    }
}

/* zlib counts in 32 bits: both sides are fed in pieces. */
static uInt piece(size_t left)
{
    return left < UINT32_MAX / 2 ? (uInt)left : UINT32_MAX / 2;
}

enum engram_status engram_inflate_some(struct engram_inflater *inflater, const void *packed,
                                       size_t packed_size, void *data, size_t room, size_t *size,
                                       const char **why)
{
    z_stream *stream = &inflater->stream;
    size_t in_left = packed_size;
    size_t out_left = room;
    int code = inflateReset(stream);

    stream->next_in = packed;
    stream->next_out = data;
    stream->avail_in = 0;
    stream->avail_out = 0;
    while (code == Z_OK) {
        if (stream->avail_in == 0) {
            stream->avail_in = piece(in_left);
            in_left -= stream->avail_in;
        }
        if (stream->avail_out == 0) {
            stream->avail_out = piece(out_left);
            out_left -= stream->avail_out;
        }
        code = inflate(stream, Z_NO_FLUSH); /* Z_BUF_ERROR: no way on, input or room is missing */
    }
    bool full = stream->avail_out == 0 && out_left == 0;
    if (code == Z_MEM_ERROR) {
        *why = "zlib found no memory";
        return ENGRAM_ERR_RESOURCE;
    }
    if (code == Z_STREAM_END) {
        *size = room - out_left - stream->avail_out;
        return ENGRAM_OK;
    }
    *why = code == Z_BUF_ERROR && full && stream->avail_in > 0 ? too_long : damaged;
    return ENGRAM_ERR_DATA;
}

#endif

enum engram_status engram_inflate(struct engram_inflater *inflater, const void *packed,
                                  size_t packed_size, void *data, size_t size, const char **why)
{
    size_t got = 0;
    enum engram_status status =
        engram_inflate_some(inflater, packed, packed_size, data, size, &got, why);

    if (status == ENGRAM_OK && got != size) {
        *why = too_short;
        return ENGRAM_ERR_DATA;
    }
    return status;
}

void engram_codec_versions(char *text, size_t size)
{
#ifdef ENGRAM_HAVE_LIBDEFLATE
    (void)snprintf(text, size, "zlib %s, libdeflate %s", zlibVersion(), LIBDEFLATE_VERSION_STRING);
#else
    (void)snprintf(text, size, "zlib %s", zlibVersion());
#endif
}
