#include "io/virtual_map.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/endian.h"

#define VERSION 0 /* of the mapping */
#define CHECKSUM_BYTES 4
#define RANK_LIMIT 32 /* H5S_MAX_RANK: HDF5 has arrays of so many on its stack */
/* The least that an entry takes: two names, two selections of a type, a version and 8 bytes. */
#define ENTRY_BYTES (2 * 1 + 2 * 16)

enum selection_type { SELECT_NONE = 0, SELECT_POINTS = 1, SELECT_HYPERSLABS = 2, SELECT_ALL = 3 };

/* What is left of the mapping. */
struct cursor {
    const unsigned char *at;
    size_t left;
    const char *damage; /* NULL: none so far */
    bool unknown;       /* what follows is not known here */
};

static void fail(struct cursor *cursor, const char *damage)
{
    if (cursor->damage == NULL) {
        cursor->damage = damage;
    }
}

static void skip(struct cursor *cursor, size_t bytes)
{
    if (cursor->damage == NULL && bytes > cursor->left) {
        fail(cursor, "a selection of its mapping goes on behind the mapping's end");
    }
    if (cursor->damage == NULL) {
        cursor->at += bytes;
        cursor->left -= bytes;
    }
}

/* The next number, of 8 bytes at most; 0 after damage. */
static uint64_t take(struct cursor *cursor, size_t bytes)
{
    const unsigned char *at = cursor->at;
    unsigned char wide[8] = {0};

    skip(cursor, bytes);
    if (cursor->damage == NULL) {
        memcpy(wide, at, bytes);
    }
    return engram_load64le(wide);
}

static void check_name(struct cursor *cursor)
{
    const unsigned char *end = memchr(cursor->at, '\0', cursor->left);

    if (end == NULL) {
        fail(cursor, "a name in its mapping has no end");
    } else {
        skip(cursor, (size_t)(end - cursor->at) + 1);
    }
}

static size_t take_rank(struct cursor *cursor)
{
    uint64_t rank = take(cursor, 4);

    if (rank == 0 || rank > RANK_LIMIT) {
        fail(cursor, "a selection of its mapping has an impossible number of dimensions");
        return 1;
    }
    return (size_t)rank;
}

/* So many points or blocks, of `bytes` each. */
static void skip_list(struct cursor *cursor, size_t count_bytes, size_t bytes)
{
    uint64_t count = take(cursor, count_bytes);

    if (count > cursor->left / bytes) {
        fail(cursor, "a selection of its mapping claims more points or blocks than are stored");
        return;
    }
    skip(cursor, (size_t)count * bytes);
}

/* The bytes of a coordinate, in versions that say. */
static size_t take_width(struct cursor *cursor)
{
    uint64_t width = take(cursor, 1);

    if (width != 2 && width != 4 && width != 8) {
        cursor->unknown = true;
        return 4;
    }
    return (size_t)width;
}

static void check_points(struct cursor *cursor, uint64_t version)
{
    size_t width = 4;

    if (version == 2) {
        width = take_width(cursor);
    } else {
        skip(cursor, 8);
    }
    if (cursor->unknown) {
        return;
    }
    size_t rank = take_rank(cursor);
    skip_list(cursor, width, rank * width);
}

static void check_hyperslabs(struct cursor *cursor, uint64_t version)
{
    size_t width = version == 2 ? 8 : 4;
    bool regular = false;

    if (version == 1) {
        skip(cursor, 8);
    } else {
        uint64_t flags = take(cursor, 1);
        regular = (flags & 1) != 0;
        cursor->unknown = (flags & ~(uint64_t)1) != 0;
        if (version == 2) {
            skip(cursor, 4);
        } else {
            width = take_width(cursor);
        }
    }
    if (cursor->unknown) {
        return;
    }
    size_t rank = take_rank(cursor);
    if (regular) { /* start, stride, count, block */
        skip(cursor, 4 * rank * width);
        return;
    }
    width = version == 2 ? 4 : width;
    skip_list(cursor, width, 2 * rank * width);
}

static void check_selection(struct cursor *cursor)
{
    uint64_t type = take(cursor, 4);
    uint64_t version = take(cursor, 4);

    if (cursor->damage != NULL) {
        return;
    }
    if ((type == SELECT_NONE || type == SELECT_ALL) && version == 1) {
        skip(cursor, 8);
    } else if (type == SELECT_POINTS && (version == 1 || version == 2)) {
        check_points(cursor, version);
    } else if (type == SELECT_HYPERSLABS && version >= 1 && version <= 3) {
        check_hyperslabs(cursor, version);
    } else if (type > SELECT_ALL) {
        fail(cursor, "a selection of its mapping is of no known kind");
    } else {
        cursor->unknown = true;
    }
}

const char *engram_virtual_map_damage(const unsigned char *bytes, size_t size, size_t length_bytes)
{
    struct cursor cursor = {.at = bytes, .left = size};

    if (size > 0 && bytes[0] != VERSION) {
        return NULL; /* one that HDF5 does not know either it refuses before it allocates */
    }
    if (size < 1 + length_bytes + CHECKSUM_BYTES) {
        return "its mapping is cut short";
    }
    skip(&cursor, 1);
    cursor.left -= CHECKSUM_BYTES;
    uint64_t count = take(&cursor, length_bytes);
    if (count > cursor.left / ENTRY_BYTES) {
        return "its mapping claims more sources than are stored";
    }
    for (uint64_t i = 0; i < count && cursor.damage == NULL && !cursor.unknown; i++) {
        check_name(&cursor);
        check_name(&cursor);
        check_selection(&cursor);
        if (!cursor.unknown) {
            check_selection(&cursor);
        }
    }
    if (cursor.damage == NULL && !cursor.unknown && cursor.left > 0) {
        fail(&cursor, "its mapping goes on behind its last source");
    }
    return cursor.damage;
}
