#include "io/unfilter.h"

#include <string.h>

#include "base/endian.h"
#include "base/pages.h"
#include "base/size.h"
#include "io/codec.h"

#define CHECKSUM_BYTES 4

/* Elements are put together by shifts, byte 0 lowest. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "unshuffling assumes little-endian");

/* 16-bit words summed before the sums are folded: 256 * 257 / 2 * 65535 still fits 32 bits, which
 * lets compilers use their vectors. */
#define FLETCHER_BLOCK 256

/* Adding the carries back is arithmetic modulo 65535; 0 stays 0 and nothing else becomes 0, so it
 * does not matter how often it is done. */
static uint32_t fold(uint64_t sum)
{
    while (sum > 65535) {
        sum = (sum & 65535) + (sum >> 16);
    }
    return (uint32_t)sum;
}

uint32_t engram_fletcher32(const unsigned char *bytes, size_t size)
{
    uint32_t low = 0;
    uint32_t high = 0;
    size_t words = size / 2;

    for (size_t done = 0; done < words;) {
        size_t count = words - done < FLETCHER_BLOCK ? words - done : FLETCHER_BLOCK;
        const unsigned char *at = bytes + 2 * done;
        uint32_t plain = 0;
        uint32_t weighted = 0;
        for (size_t i = 0; i < count; i++) {
            uint32_t word = (uint32_t)at[2 * i] << 8 | at[2 * i + 1];
            plain += word;
            weighted += (uint32_t)(count - i) * word;
        }
        high = fold((uint64_t)high + count * low + weighted);
        low = fold((uint64_t)low + plain);
        done += count;
    }
    if (size % 2 != 0) {
        low = fold((uint64_t)low + ((uint32_t)bytes[size - 1] << 8));
        high = fold((uint64_t)high + low);
    }
    return high << 16 | low;
}

static bool checksum_holds(const unsigned char *bytes, size_t size)
{
    uint32_t stored = (uint32_t)engram_load32le(bytes + size);
    uint32_t sum = engram_fletcher32(bytes, size);
    /* HDF5 before 1.6.3 wrote the two bytes of each half the other way round. */
    uint32_t old = (sum & 0x00ff00ffU) << 8 | (sum & 0xff00ff00U) >> 8;

    return stored == sum || stored == old;
}

static void unshuffle2(const unsigned char *low, const unsigned char *high, size_t count,
                       unsigned char *restrict to)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t value = (uint16_t)(low[i] | (unsigned)high[i] << 8);
        memcpy(to + 2 * i, &value, sizeof value);
    }
}

static void unshuffle4(const unsigned char *b0, const unsigned char *b1, const unsigned char *b2,
                       const unsigned char *b3, size_t count, unsigned char *restrict to)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t value =
            (uint32_t)b0[i] | (uint32_t)b1[i] << 8 | (uint32_t)b2[i] << 16 | (uint32_t)b3[i] << 24;
        memcpy(to + 4 * i, &value, sizeof value);
    }
}

static void unshuffle8(const unsigned char *const plane[8], size_t count,
                       unsigned char *restrict to)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t low = (uint32_t)plane[0][i] | (uint32_t)plane[1][i] << 8 |
                       (uint32_t)plane[2][i] << 16 | (uint32_t)plane[3][i] << 24;
        uint32_t high = (uint32_t)plane[4][i] | (uint32_t)plane[5][i] << 8 |
                        (uint32_t)plane[6][i] << 16 | (uint32_t)plane[7][i] << 24;
        uint64_t value = (uint64_t)high << 32 | low;
        memcpy(to + 8 * i, &value, sizeof value);
    }
}

void engram_unshuffle(const unsigned char *planes, size_t plane, size_t element, bool reverse,
                      size_t first, size_t count, void *to)
{
    const unsigned char *at[8];
    unsigned char *out = to;

    if (element != 2 && element != 4 && element != 8) {
        for (size_t byte = 0; byte < element; byte++) {
            const unsigned char *from = planes + byte * plane + first;
            size_t place = reverse ? element - 1 - byte : byte;
            for (size_t i = 0; i < count; i++) {
                out[i * element + place] = from[i];
            }
        }
        return;
    }
    for (size_t byte = 0; byte < element; byte++) {
        at[reverse ? element - 1 - byte : byte] = planes + byte * plane + first;
    }
    if (element == 2) {
        unshuffle2(at[0], at[1], count, out);
    } else if (element == 4) {
        unshuffle4(at[0], at[1], at[2], at[3], count, out);
    } else {
        unshuffle8(at, count, out);
    }
}

static bool has(const struct engram_pipeline *pipeline, enum engram_chunk_filter kind)
{
    for (int i = 0; i < pipeline->count; i++) {
        if (pipeline->kind[i] == kind) {
            return true;
        }
    }
    return false;
}

/* A shuffle that every chunk leaves to the reader of its elements. */
static bool always_left(const struct engram_pipeline *pipeline)
{
    return pipeline->count > 0 && pipeline->kind[0] == ENGRAM_CHUNK_SHUFFLE &&
           pipeline->shuffle_element == pipeline->element;
}

size_t engram_unfilter_packed_limit(const struct engram_pipeline *pipeline)
{
    size_t limit = pipeline->chunk_bytes;

    if (has(pipeline, ENGRAM_CHUNK_DEFLATE)) {
        limit += limit / 8 + 4096;
    }
    return limit + CHECKSUM_BYTES;
}

static int buffers(const struct engram_pipeline *pipeline)
{
    return (has(pipeline, ENGRAM_CHUNK_DEFLATE) ? 1 : 0) +
           (has(pipeline, ENGRAM_CHUNK_SHUFFLE) && !always_left(pipeline) ? 1 : 0);
}

size_t engram_unfilter_bytes(const struct engram_pipeline *pipeline)
{
    /* Chunks of 2^60 bytes have been refused long before. */
    return (size_t)buffers(pipeline) * engram_unfilter_packed_limit(pipeline);
}

bool engram_unfilter_create(const struct engram_pipeline *pipeline,
                            struct engram_unfilter *unfilter)
{
    *unfilter = (struct engram_unfilter){.work_bytes = engram_unfilter_packed_limit(pipeline)};
    for (int i = 0; i < buffers(pipeline); i++) {
        unfilter->work[i] = engram_pages_alloc(unfilter->work_bytes);
        if (unfilter->work[i] == NULL) {
            return false;
        }
    }
    if (has(pipeline, ENGRAM_CHUNK_DEFLATE)) {
        unfilter->inflater = engram_inflater_create();
        return unfilter->inflater != NULL;
    }
    return true;
}

void engram_unfilter_destroy(struct engram_unfilter *unfilter)
{
    for (int i = 0; i < 2; i++) {
        engram_pages_free(unfilter->work[i], unfilter->work_bytes);
        unfilter->work[i] = NULL;
    }
    engram_inflater_free(unfilter->inflater);
    unfilter->inflater = NULL;
}

/* Bytes after inflating: the chunk, and the checksum when that was applied before deflate. */
static size_t inflated_size(const struct engram_pipeline *pipeline, int deflate, uint32_t mask)
{
    size_t size = pipeline->chunk_bytes;

    for (int i = 0; i < deflate; i++) {
        if (pipeline->kind[i] == ENGRAM_CHUNK_FLETCHER32 && (mask >> i & 1) == 0) {
            size += CHECKSUM_BYTES;
        }
    }
    return size;
}

static void unshuffle_all(const struct engram_pipeline *pipeline, const unsigned char *from,
                          size_t size, unsigned char *to)
{
    size_t element = pipeline->shuffle_element;
    size_t count = size / element;
    size_t whole = count * element;

    if (count > 0) { /* a damaged `element` may be as large as it likes */
        engram_unshuffle(from, count, element, false, 0, count, to);
    }
    memcpy(to + whole, from + whole, size - whole); /* HDF5 leaves what is no whole element */
}

/* The chunk on its way back through the filters. */
struct state {
    const unsigned char *bytes;
    size_t size;
    size_t plane;
    int next_work;
};

/* Whether no filter was applied before this one. */
static bool is_last(int filter, uint32_t mask)
{
    for (int i = 0; i < filter; i++) {
        if ((mask >> i & 1) == 0) {
            return false;
        }
    }
    return true;
}

static enum engram_status wrong_size(const struct engram_pipeline *pipeline, size_t size,
                                     const char **why)
{
    *why = size < pipeline->chunk_bytes ? "it holds fewer bytes than its shape takes"
                                        : "it holds more bytes than its shape takes";
    return ENGRAM_ERR_DATA;
}

static enum engram_status undo(const struct engram_pipeline *pipeline,
                               struct engram_unfilter *unfilter, int filter, uint32_t mask,
                               struct state *now, const char **why)
{
    enum engram_status status = ENGRAM_OK;
    unsigned char *to = now->next_work < 2 ? unfilter->work[now->next_work] : NULL;
    size_t size;

    switch (pipeline->kind[filter]) {
    case ENGRAM_CHUNK_FLETCHER32:
        if (now->size < CHECKSUM_BYTES) {
            *why = "it is too short for its checksum";
            return ENGRAM_ERR_DATA;
        }
        now->size -= CHECKSUM_BYTES;
        if (!checksum_holds(now->bytes, now->size)) {
            *why = "its checksum is wrong";
            return ENGRAM_ERR_DATA;
        }
        return ENGRAM_OK;
    case ENGRAM_CHUNK_DEFLATE:
        size = inflated_size(pipeline, filter, mask);
        status = engram_inflate(unfilter->inflater, now->bytes, now->size, to, size, why);
        now->size = size;
        break;
    default:
        /* Whether it has the size of a chunk is looked at in the end. */
        if (pipeline->shuffle_element == pipeline->element && is_last(filter, mask)) {
            now->plane = now->size / pipeline->element;
            return ENGRAM_OK;
        }
        if (to == NULL) { /* no chunk needs one, unless its size is wrong */
            return wrong_size(pipeline, now->size, why);
        }
        unshuffle_all(pipeline, now->bytes, now->size, to);
        break;
    }
    now->bytes = to;
    now->next_work++;
    return status;
}

enum engram_status engram_unfilter_chunk(const struct engram_pipeline *pipeline,
                                         struct engram_unfilter *unfilter,
                                         const unsigned char *packed, size_t size, uint32_t mask,
                                         struct engram_elements *found, const char **why)
{
    struct state now = {.bytes = packed, .size = size};

    if (size > engram_unfilter_packed_limit(pipeline)) {
        *why = "it takes more bytes than a chunk of its shape can";
        return ENGRAM_ERR_DATA;
    }
    for (int i = pipeline->count - 1; i >= 0; i--) {
        if ((mask >> i & 1) == 0) {
            enum engram_status status = undo(pipeline, unfilter, i, mask, &now, why);
            if (status != ENGRAM_OK) {
                return status;
            }
        }
    }
    if (now.size != pipeline->chunk_bytes) {
        return wrong_size(pipeline, now.size, why);
    }
    *found = (struct engram_elements){now.bytes, now.plane};
    return ENGRAM_OK;
}
