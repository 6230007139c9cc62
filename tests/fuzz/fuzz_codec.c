/* Unpacking of chunks. The first bytes choose filters, element, chunk size and mask. Then either
 * the rest is a chunk as stored (mode 0), or the rest is elements that are packed first, and
 * perhaps damaged after (modes 1 and 2). What comes out has to be what a plain inverse by zlib
 * gives. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fuzz.h"
#include "io/codec.h"
#include "io/unfilter.h"

enum { HEADER = 8, CHUNK_MAX = 1 << 16 };

struct setup {
    struct engram_pipeline pipeline;
    uint32_t mask;
    unsigned mode;
};

static struct setup take_setup(struct fuzz_input *input)
{
    static const enum engram_chunk_filter orders[6][3] = {
        {ENGRAM_CHUNK_SHUFFLE, ENGRAM_CHUNK_DEFLATE, ENGRAM_CHUNK_FLETCHER32},
        {ENGRAM_CHUNK_FLETCHER32, ENGRAM_CHUNK_SHUFFLE, ENGRAM_CHUNK_DEFLATE},
        {ENGRAM_CHUNK_DEFLATE, ENGRAM_CHUNK_SHUFFLE, ENGRAM_CHUNK_FLETCHER32},
        {ENGRAM_CHUNK_SHUFFLE, ENGRAM_CHUNK_FLETCHER32, ENGRAM_CHUNK_DEFLATE},
        {ENGRAM_CHUNK_DEFLATE, ENGRAM_CHUNK_FLETCHER32, ENGRAM_CHUNK_SHUFFLE},
        {ENGRAM_CHUNK_FLETCHER32, ENGRAM_CHUNK_DEFLATE, ENGRAM_CHUNK_SHUFFLE},
    };
    static const size_t elements[8] = {1, 2, 4, 8, 3, 16, 4, 2};
    struct setup setup = {0};
    unsigned choice = (unsigned)fuzz_take(input, 1);
    unsigned order = (unsigned)fuzz_take(input, 1) % 6;
    unsigned element = (unsigned)fuzz_take(input, 1);

    setup.pipeline.count = (int)(choice & 3);
    memcpy(setup.pipeline.kind, orders[order], sizeof setup.pipeline.kind);
    setup.pipeline.element = elements[element & 7];
    setup.pipeline.shuffle_element =
        (element & 0x80) != 0 ? elements[element >> 4 & 7] : setup.pipeline.element;
    size_t count = fuzz_take(input, 2) % (CHUNK_MAX / setup.pipeline.element) + 1;
    setup.pipeline.chunk_bytes = count * setup.pipeline.element;
    setup.mask = (uint32_t)fuzz_take(input, 1) & ((choice & 4) != 0 ? 0xffU : 0);
    setup.mode = (unsigned)fuzz_take(input, 1) % 3;
    (void)fuzz_take(input, 1);
    return setup;
}

/* Sums of 16-bit words, a carry added back at once: 65535 stays, and is not made 0. */
static uint32_t plain_fletcher(const unsigned char *bytes, size_t size)
{
    uint32_t low = 0;
    uint32_t high = 0;

    for (size_t i = 0; i < size; i += 2) {
        low += ((uint32_t)bytes[i] << 8) + (i + 1 < size ? bytes[i + 1] : 0);
        low = (low & 65535) + (low >> 16);
        high += low;
        high = (high & 65535) + (high >> 16);
    }
    return high << 16 | low;
}

/* Elements one after the other, whatever form they were given in. */
static void flatten(const struct engram_pipeline *pipeline, const struct engram_elements *found,
                    unsigned char *to)
{
    size_t count = pipeline->chunk_bytes / pipeline->element;

    if (found->plane == 0) {
        memcpy(to, found->bytes, pipeline->chunk_bytes);
        return;
    }
    FUZZ_CHECK(found->plane == count);
    engram_unshuffle(found->bytes, found->plane, pipeline->element, false, 0, count, to);
    /* A part, reversed, agrees with the whole. */
    unsigned char part[3 * 16];
    size_t first = count / 2;
    size_t some = count - first < 3 ? count - first : 3;
    engram_unshuffle(found->bytes, found->plane, pipeline->element, true, first, some, part);
    for (size_t i = 0; i < some * pipeline->element; i++) {
        size_t byte = i % pipeline->element;
        size_t mirrored = i - byte + pipeline->element - 1 - byte;
        FUZZ_CHECK(part[i] == to[first * pipeline->element + mirrored]);
    }
}

/* One filter, forwards, by the shortest code there is. Returns the new size. */
static size_t apply(const struct engram_pipeline *pipeline, int filter, unsigned char *bytes,
                    size_t size, size_t room)
{
    unsigned char *copy = malloc(room);
    uLongf packed = (uLongf)room;
    size_t element = pipeline->shuffle_element;
    size_t count = size / element;

    FUZZ_CHECK(copy != NULL);
    memcpy(copy, bytes, size);
    switch (pipeline->kind[filter]) {
    case ENGRAM_CHUNK_SHUFFLE:
        for (size_t i = 0; i < count * element; i++) {
            bytes[i % element * count + i / element] = copy[i];
        }
        break;
    case ENGRAM_CHUNK_DEFLATE:
        FUZZ_CHECK(compress2(bytes, &packed, copy, (uLong)size, 1) == Z_OK);
        size = packed;
        break;
    default:
        for (int i = 0; i < 4; i++) {
            bytes[size + (size_t)i] = (unsigned char)(plain_fletcher(copy, size) >> 8 * i);
        }
        size += 4;
        break;
    }
    free(copy);
    return size;
}

static enum engram_status unpack(const struct setup *setup, const unsigned char *packed,
                                 size_t size, unsigned char *out)
{
    struct engram_unfilter unfilter;
    struct engram_elements found = {0};
    const char *why = NULL;
    /* A copy of just these bytes: a read behind them is seen. */
    unsigned char *exact = malloc(size > 0 ? size : 1);

    FUZZ_CHECK(exact != NULL && engram_unfilter_create(&setup->pipeline, &unfilter));
    if (size > 0) {
        memcpy(exact, packed, size);
    }
    enum engram_status status =
        engram_unfilter_chunk(&setup->pipeline, &unfilter, exact, size, setup->mask, &found, &why);
    FUZZ_CHECK(status == ENGRAM_OK || status == ENGRAM_ERR_DATA);
    if (status == ENGRAM_OK) {
        flatten(&setup->pipeline, &found, out);
    } else {
        FUZZ_CHECK(why != NULL && why[0] != '\0');
    }
    engram_unfilter_destroy(&unfilter);
    free(exact);
    return status;
}

/* Packs elements, unpacks them, with or without damage between. */
static void round_trip(const struct setup *setup, struct fuzz_input *input)
{
    const struct engram_pipeline *pipeline = &setup->pipeline;
    size_t room = 2 * pipeline->chunk_bytes + 4096;
    unsigned char *data = calloc(1, pipeline->chunk_bytes);
    unsigned char *stored = malloc(room);
    unsigned char *back = malloc(pipeline->chunk_bytes);
    uint64_t damage = setup->mode == 2 ? fuzz_take(input, 4) : 0;
    size_t size = pipeline->chunk_bytes;

    FUZZ_CHECK(data != NULL && stored != NULL && back != NULL);
    if (input->size > 0) {
        memcpy(data, input->data, input->size < size ? input->size : size);
    }
    memcpy(stored, data, size);
    for (int i = 0; i < pipeline->count; i++) {
        if ((setup->mask >> i & 1) == 0) {
            size = apply(pipeline, i, stored, size, room);
        }
    }
    if (setup->mode == 2 && size > 0) {
        stored[(damage & 0xffff) % size] ^= (unsigned char)(damage >> 16);
        size -= (damage >> 24) % (size + 1) * (damage >> 31);
    }
    enum engram_status status = unpack(setup, stored, size, back);
    if (setup->mode == 1) {
        FUZZ_CHECK(status == ENGRAM_OK && memcmp(data, back, pipeline->chunk_bytes) == 0);
    }
    free(data);
    free(stored);
    free(back);
}

/* What our own packer makes. */
static void pack(const struct setup *setup, const struct fuzz_input *input)
{
    struct setup ours = *setup;
    size_t element = setup->pipeline.element;
    size_t chunk = setup->pipeline.chunk_bytes;
    size_t size = (input->size < chunk ? input->size : chunk) / element * element;
    size_t packed_size = 0;
    unsigned char *scratch = malloc(chunk);
    unsigned char *packed = malloc(engram_codec_bound(chunk));
    unsigned char *back = malloc(chunk);

    FUZZ_CHECK(scratch != NULL && packed != NULL && back != NULL);
    FUZZ_CHECK(engram_codec_pack(input->data, size, chunk, element, 1 + (int)(size % 9), scratch,
                                 packed, &packed_size) == ENGRAM_OK);
    FUZZ_CHECK(packed_size <= engram_codec_bound(chunk));
    ours.pipeline.count = 2;
    ours.pipeline.kind[0] = ENGRAM_CHUNK_SHUFFLE;
    ours.pipeline.kind[1] = ENGRAM_CHUNK_DEFLATE;
    ours.pipeline.shuffle_element = element;
    ours.mask = 0;
    FUZZ_CHECK(unpack(&ours, packed, packed_size, back) == ENGRAM_OK);
    FUZZ_CHECK(size == 0 || memcmp(back, input->data, size) == 0);
    for (size_t i = size; i < chunk; i++) {
        FUZZ_CHECK(back[i] == 0);
    }
    free(scratch);
    free(packed);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct setup setup = take_setup(&input);

    FUZZ_CHECK(engram_fletcher32(data, size) == plain_fletcher(data, size));
    if (setup.mode == 0) {
        unsigned char *out = malloc(setup.pipeline.chunk_bytes);
        FUZZ_CHECK(out != NULL);
        (void)unpack(&setup, input.data, input.size, out);
        free(out);
    } else {
        if (setup.mode == 1) {
            pack(&setup, &input);
        }
        round_trip(&setup, &input);
    }
    return 0;
}

/* A deflated chunk is changed as what it inflates to, too. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    uint64_t random = seed + UINT64_C(0x9e3779b97f4a7c15);
    static unsigned char plain[1 << 17];
    uLongf length = sizeof plain;

    if (size > HEADER && max_size > HEADER && fuzz_below(&random, 2) == 0 &&
        uncompress(plain, &length, data + HEADER, (uLong)(size - HEADER)) == Z_OK) {
        uLongf packed = (uLongf)(max_size - HEADER);
        length = LLVMFuzzerMutate(plain, length, sizeof plain);
        if (compress2(data + HEADER, &packed, plain, length, 1 + (int)fuzz_below(&random, 9)) ==
            Z_OK) {
            return HEADER + packed;
        }
    }
    return LLVMFuzzerMutate(data, size, max_size);
}
