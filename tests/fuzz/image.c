#include "image.h"

#include <stdbool.h>
#include <string.h>

#include "base/endian.h"
#include "fuzz.h"

enum { PLACES = 256, NOWHERE = -1 };

enum kind {
    SUPERBLOCK,
    HEADER_1, /* object header of version 1 */
    HEADER_2,
    MORE, /* continuation of one of version 2 */
    TREE,
    LOCAL_HEAP,
    GLOBAL_HEAP,
    MAPPING, /* of a virtual dataset: an object of the global heap */
    SYMBOLS,
    HEAP_HEADER, /* fractal heap */
    HEAP_BLOCK,
    HEAP_INDIRECT,
    TREE_2,
    TREE_2_LEAF,
    ARRAY_HEADER, /* fixed or extensible array */
    ARRAY_BLOCK
};

/* A structure: its bytes, and where its checksum is, or NOWHERE. */
struct place {
    enum kind kind;
    size_t at;
    size_t size;
    int64_t sum_at;
};

struct image {
    uint8_t *data;
    size_t size;
    struct place places[PLACES];
    size_t count;
};

/* ---- the checksum of metadata: lookup3 by Bob Jenkins ("hashlittle"), public domain */

static uint32_t turn(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

static uint32_t word_of(const uint8_t *bytes, size_t left)
{
    uint32_t word = 0;
    for (size_t i = 0; i < 4 && i < left; i++) {
        word |= (uint32_t)bytes[i] << 8 * i;
    }
    return word;
}

static void mix(uint32_t w[3])
{
    static const unsigned turns[6] = {4, 6, 8, 16, 19, 4};
    for (unsigned i = 0; i < 6; i++) {
        uint32_t *a = &w[i % 3];
        uint32_t *b = &w[(i + 1) % 3];
        uint32_t *c = &w[(i + 2) % 3];
        *a -= *c;
        *a ^= turn(*c, turns[i]);
        *c += *b;
    }
}

static uint32_t finish(uint32_t w[3])
{
    static const unsigned turns[7] = {14, 11, 25, 16, 4, 14, 24};
    for (unsigned i = 0; i < 7; i++) {
        uint32_t *c = &w[(i + 2) % 3];
        uint32_t b = w[(i + 1) % 3];
        *c ^= b;
        *c -= turn(b, turns[i]);
    }
    return w[2];
}

static uint32_t lookup3(const uint8_t *bytes, size_t size)
{
    uint32_t start = 0xdeadbeefU + (uint32_t)size;
    uint32_t w[3] = {start, start, start};

    while (size > 12) {
        for (size_t i = 0; i < 3; i++) {
            w[i] += word_of(bytes + 4 * i, 4);
        }
        mix(w);
        bytes += 12;
        size -= 12;
    }
    if (size == 0) {
        return w[2];
    }
    for (size_t i = 0; i < 3; i++) {
        w[i] += size > 4 * i ? word_of(bytes + 4 * i, size - 4 * i) : 0;
    }
    return finish(w);
}

/* ---- finding structures */

static uint64_t load(const struct image *image, size_t at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;) {
        value = value << 8 | (at + i < image->size ? image->data[at + i] : 0);
    }
    return value;
}

static bool is_at(const struct image *image, size_t at, const char *signature)
{
    return at + 4 <= image->size && memcmp(image->data + at, signature, 4) == 0;
}

static void add(struct image *image, enum kind kind, uint64_t at, uint64_t size, int64_t sum_at)
{
    if (image->count == PLACES || at >= image->size || size == 0) {
        return;
    }
    for (size_t i = 0; i < image->count; i++) {
        if (image->places[i].at == at && image->places[i].kind == kind) {
            return;
        }
    }
    size = size < image->size - at ? size : image->size - at;
    if (sum_at != NOWHERE && (uint64_t)sum_at + 4 > image->size) {
        sum_at = NOWHERE;
    }
    image->places[image->count++] = (struct place){kind, at, size, sum_at};
}

/* A structure whose length follows from others: the first place where the checksum of everything
 * before stands is its end. */
static void add_searched(struct image *image, enum kind kind, size_t at, size_t least)
{
    enum { MOST = 640 };
    for (size_t size = least; size < MOST && at + size + 4 <= image->size; size++) {
        if (load(image, at + size, 4) == lookup3(image->data + at, size)) {
            add(image, kind, at, size + 4, (int64_t)(at + size));
            return;
        }
    }
    add(image, kind, at, 64, NOWHERE);
}

/* Object header of version 2 at `at`, and what its continuation messages lead to. */
static void add_header_2(struct image *image, size_t at)
{
    uint64_t flags = load(image, at + 5, 1);
    size_t length_bytes = (size_t)1 << (flags & 3);
    size_t first = at + 6 + ((flags & 0x20) != 0 ? 16 : 0) + ((flags & 0x10) != 0 ? 4 : 0);
    uint64_t length = load(image, first, length_bytes);
    size_t message_header = (flags & 4) != 0 ? 6 : 4;

    first += length_bytes;
    if (length > image->size) {
        add(image, HEADER_2, at, 64, NOWHERE);
        return;
    }
    add(image, HEADER_2, at, first - at + length + 4, (int64_t)(first + length));
    for (uint64_t m = first; m + message_header <= first + length;) {
        uint64_t size = load(image, m + 1, 2);
        if (load(image, m, 1) == 0x10) {
            uint64_t more = load(image, m + message_header, 8);
            uint64_t more_size = load(image, m + message_header + 8, 8);
            if (more_size >= 8 && more_size <= image->size && more < image->size) {
                add(image, MORE, more, more_size, (int64_t)(more + more_size - 4));
            }
        }
        m += message_header + size;
    }
}

static void add_header_1(struct image *image, uint64_t at)
{
    if (at + 16 <= image->size && load(image, at, 1) == 1) {
        uint64_t length = load(image, at + 8, 4);
        add(image, HEADER_1, at, 16 + (length < 4096 ? length : 4096), NOWHERE);
    }
}

/* Entries of a symbol table node: 40 bytes each, the object's header in the second word. */
static void add_symbols(struct image *image, size_t at)
{
    uint64_t entries = load(image, at + 6, 2);

    add(image, SYMBOLS, at, 8 + 40 * (entries < 64 ? entries : 64), NOWHERE);
    for (uint64_t i = 0; i < entries && i < 64; i++) {
        add_header_1(image, load(image, at + 8 + 40 * i + 8, 8));
    }
}

static void add_heap(struct image *image, size_t at)
{
    enum { START_BLOCK = 112, ROOT = 132, ROWS = 140, CHECKSUM = 142 };
    uint64_t root = load(image, at + ROOT, 8);

    add(image, HEAP_HEADER, at, CHECKSUM + 4, (int64_t)(at + CHECKSUM));
    if (load(image, at + ROWS, 2) == 0 && root < image->size && is_at(image, root, "FHDB")) {
        uint64_t offset_bytes = (load(image, at + 128, 2) + 7) / 8;
        bool sums = (load(image, at + 9, 1) & 2) != 0;
        add(image, HEAP_BLOCK, root, load(image, at + START_BLOCK, 8),
            sums ? (int64_t)(root + 13 + offset_bytes) : NOWHERE);
    }
}

/* A global heap; of its objects those that end with their checksum. */
static void add_global_heap(struct image *image, size_t at)
{
    uint64_t size = load(image, at + 8, 8);
    uint64_t end = size < image->size - at ? at + size : image->size;

    add(image, GLOBAL_HEAP, at, size, NOWHERE);
    for (uint64_t object = at + 16; object + 16 <= end && load(image, object, 2) != 0;) {
        uint64_t first = object + 16;
        uint64_t bytes = load(image, object + 8, 8);
        if (bytes > end - first) {
            return;
        }
        if (bytes > 12 &&
            load(image, first + bytes - 4, 4) == lookup3(image->data + first, (size_t)bytes - 4)) {
            add(image, MAPPING, first, bytes, (int64_t)(first + bytes - 4));
        }
        object = first + (bytes + 7) / 8 * 8;
    }
}

static void add_signed(struct image *image, size_t at)
{
    if (is_at(image, at, "OHDR")) {
        add_header_2(image, at);
    } else if (is_at(image, at, "TREE")) {
        add(image, TREE, at, 24 + 16 * (2 * load(image, at + 6, 2) + 1), NOWHERE);
    } else if (is_at(image, at, "HEAP")) {
        add(image, LOCAL_HEAP, at, 32, NOWHERE);
        add(image, LOCAL_HEAP, load(image, at + 24, 8), load(image, at + 8, 8), NOWHERE);
    } else if (is_at(image, at, "SNOD")) {
        add_symbols(image, at);
    } else if (is_at(image, at, "GCOL")) {
        add_global_heap(image, at);
    } else if (is_at(image, at, "FRHP")) {
        add_heap(image, at);
    } else if (is_at(image, at, "FHIB")) {
        add_searched(image, HEAP_INDIRECT, at, 13);
    } else if (is_at(image, at, "BTHD")) {
        add(image, TREE_2, at, 38, (int64_t)(at + 34));
    } else if (is_at(image, at, "BTLF") || is_at(image, at, "BTIN")) {
        add_searched(image, TREE_2_LEAF, at, 6);
    } else if (is_at(image, at, "FAHD")) {
        add(image, ARRAY_HEADER, at, 28, (int64_t)(at + 24));
    } else if (is_at(image, at, "EAHD")) {
        add(image, ARRAY_HEADER, at, 72, (int64_t)(at + 68));
    } else if (is_at(image, at, "FADB") || is_at(image, at, "EAIB") || is_at(image, at, "EADB") ||
               is_at(image, at, "EASB")) {
        add_searched(image, ARRAY_BLOCK, at, 14);
    }
}

static void find_places(struct image *image)
{
    bool modern = load(image, 8, 1) >= 2;

    image->count = 0;
    if (modern) {
        add(image, SUPERBLOCK, 0, 48, 44);
    } else {
        add(image, SUPERBLOCK, 0, 96, NOWHERE);
        add_header_1(image, load(image, 64, 8)); /* of the root group */
    }
    for (size_t at = 48; at + 4 <= image->size; at++) {
        uint8_t c = image->data[at];
        if (c >= 'A' && c <= 'T') {
            add_signed(image, at);
        }
    }
}

static void repair_places(struct image *image)
{
    for (size_t i = 0; i < image->count; i++) {
        const struct place *place = &image->places[i];
        uint8_t *start = image->data + place->at;
        if (place->sum_at == NOWHERE || (size_t)place->sum_at + 4 > image->size) {
            continue;
        }
        uint8_t *to = image->data + place->sum_at;
        size_t size = (size_t)place->sum_at - place->at;
        if (place->kind == HEAP_BLOCK) { /* its checksum is inside, and counts as zeros */
            memset(to, 0, 4);
            size = place->size;
        }
        uint32_t sum = lookup3(start, size);
        for (unsigned b = 0; b < 4; b++) {
            to[b] = (uint8_t)(sum >> 8 * b);
        }
    }
}

size_t image_repair(uint8_t *data, size_t size)
{
    struct image image = {.data = data, .size = size};
    size_t sums = 0;

    find_places(&image);
    repair_places(&image);
    for (size_t i = 0; i < image.count; i++) {
        sums += image.places[i].sum_at != NOWHERE;
    }
    return sums;
}

/* ---- changes */

static void store(struct image *image, size_t at, size_t bytes, uint64_t value)
{
    for (size_t i = 0; i < bytes && at + i < image->size; i++) {
        image->data[at + i] = (uint8_t)(value >> 8 * i);
    }
}

/* A number that a field may not expect. */
static uint64_t odd_number(const struct image *image, uint64_t *random, uint64_t old)
{
    static const uint64_t numbers[] = {0,
                                       1,
                                       2,
                                       3,
                                       255,
                                       256,
                                       65535,
                                       1U << 20,
                                       INT32_MAX,
                                       UINT32_MAX,
                                       (uint64_t)1 << 32,
                                       (uint64_t)1 << 40,
                                       (uint64_t)1 << 61,
                                       INT64_MAX,
                                       (uint64_t)1 << 63,
                                       UINT64_MAX,
                                       UINT64_MAX - 1,
                                       UINT64_MAX - 7};

    switch (fuzz_below(random, 8)) {
    case 0:
        return old + fuzz_below(random, 17) - 8;
    case 1:
        return old ^ UINT64_C(1) << fuzz_below(random, 64);
    case 2: /* an address, or a size, of this file */
        return image->places[fuzz_below(random, image->count)].at;
    case 3:
        return image->size + fuzz_below(random, 17) - 8;
    case 4:
        return fuzz_below(random, 256);
    case 5:
        return old * 2;
    default:
        return numbers[fuzz_below(random, sizeof numbers / sizeof numbers[0])];
    }
}

static void change_field(struct image *image, uint64_t *random)
{
    const struct place *place = &image->places[fuzz_below(random, image->count)];
    size_t width = (size_t)1 << fuzz_below(random, 4);
    size_t at = place->at + fuzz_below(random, place->size);

    store(image, at, width, odd_number(image, random, load(image, at, width)));
}

/* Puts bytes of one structure over those of another, or of the same. */
static void copy_bytes(struct image *image, uint64_t *random)
{
    const struct place *from = &image->places[fuzz_below(random, image->count)];
    const struct place *to = &image->places[fuzz_below(random, image->count)];
    size_t size = 1 + fuzz_below(random, 32);
    size_t a = from->at + fuzz_below(random, from->size);
    size_t b = to->at + fuzz_below(random, to->size);

    if (a + size <= image->size && b + size <= image->size) {
        memmove(image->data + b, image->data + a, size);
    }
}

size_t image_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static struct image image;
    uint64_t random = seed + UINT64_C(0x9e3779b97f4a7c15);
    uint64_t changes = 1 + fuzz_below(&random, 3);

    if (size < 100 || fuzz_below(&random, 8) == 0) {
        size = LLVMFuzzerMutate(data, size, max_size);
        if (size >= 100 && fuzz_below(&random, 2) == 0) {
            (void)image_repair(data, size);
        }
        return size;
    }
    image = (struct image){.data = data, .size = size};
    find_places(&image);
    for (uint64_t i = 0; i < changes; i++) {
        if (fuzz_below(&random, 6) == 0) {
            copy_bytes(&image, &random);
        } else {
            change_field(&image, &random);
        }
    }
    if (fuzz_below(&random, 16) == 0) {
        image.size = size = 1 + fuzz_below(&random, size);
    }
    if (fuzz_below(&random, 16) != 0) {
        repair_places(&image);
        (void)image_repair(data, size); /* structures that grew */
    }
    return size;
}
