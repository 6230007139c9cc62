#include "io/objheader.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "io/fileio.h"
#include "io/h5.h"
#include "io/virtual_map.h"

#define MESSAGE_LAYOUT 0x08
#define MESSAGE_CONTINUATION 0x10
#define MESSAGE_IS_SHARED 0x02 /* a flag: elsewhere */
#define LAYOUT_VERSION 4
#define LAYOUT_VIRTUAL 3
#define BLOCKS_LIMIT 4096 /* of a header: more are left to HDF5 */

/* Bytes of the file. */
struct span {
    uint64_t at;
    uint64_t bytes;
};

/* A header on its way through: its blocks, the first one included. */
struct header {
    struct engram_heap *heap;
    size_t prefix; /* of a message */
    bool version2;
    const char *damage;
    struct span *blocks;
    size_t count;
    size_t capacity;
    uint64_t total; /* bytes of all blocks */
};

static uint64_t load(const unsigned char *bytes, size_t count)
{
    unsigned char wide[8] = {0};

    memcpy(wide, bytes, count);
    return engram_load64le(wide);
}

/* Remembers a block that has to be gone through; one that the file does not hold HDF5 refuses. */
static void add_block(struct header *header, uint64_t at, uint64_t bytes)
{
    const struct engram_heap *heap = header->heap;

    if (at > heap->file_bytes || bytes > heap->file_bytes - at || bytes < header->prefix ||
        header->count >= BLOCKS_LIMIT) {
        return;
    }
    header->total += bytes;
    if (header->total > heap->file_bytes) { /* they overlap: a circle, for one */
        header->damage = "its header is damaged";
        return;
    }
    if (header->count == header->capacity) {
        size_t capacity = header->capacity == 0 ? 8 : 2 * header->capacity;
        struct span *larger = realloc(header->blocks, capacity * sizeof *larger);
        if (larger == NULL) {
            header->damage = "memory allocation failed";
            return;
        }
        header->blocks = larger;
        header->capacity = capacity;
    }
    header->blocks[header->count++] = (struct span){at, bytes};
}

static void check_mapping(struct header *header, uint64_t address, size_t index)
{
    struct engram_heap *heap = header->heap;
    uint64_t at = 0;
    uint64_t size = 0;

    header->damage = engram_heap_find(heap, address, index, &at, &size);
    if (header->damage != NULL) {
        return;
    }
    unsigned char *bytes = malloc(size > 0 ? (size_t)size : 1); /* the file holds them */
    if (bytes == NULL) {
        header->damage = "memory allocation failed";
    } else if (!engram_read_at(heap->fd, bytes, (size_t)size, (off_t)at)) {
        header->damage = "file read failed";
    } else {
        header->damage = engram_virtual_map_damage(bytes, (size_t)size, heap->length_bytes);
    }
    free(bytes);
}

static void check_message(struct header *header, unsigned type, uint64_t at, size_t size)
{
    struct engram_heap *heap = header->heap;
    size_t width = heap->address_bytes;
    size_t wanted = type == MESSAGE_LAYOUT ? 2 + width + 4 : width + heap->length_bytes;

    if (size < wanted) {
        return;
    }
    const unsigned char *body = engram_heap_look(heap, at, wanted, &header->damage);
    if (body == NULL) {
        return;
    }
    if (type == MESSAGE_CONTINUATION) {
        uint64_t address = load(body, width);
        uint64_t bytes = load(body + width, heap->length_bytes);
        if (address > heap->file_bytes || heap->base > heap->file_bytes - address) {
            return;
        }
        address += heap->base;
        if (header->version2) { /* a signature before the messages, a checksum behind them */
            address += 4;
            bytes = bytes < 8 ? 0 : bytes - 8;
        }
        add_block(header, address, bytes);
    } else if (body[0] == LAYOUT_VERSION && body[1] == LAYOUT_VIRTUAL) {
        uint64_t address = load(body + 2, width);
        uint64_t none = width < 8 ? (UINT64_C(1) << (8 * width)) - 1 : UINT64_MAX;
        if (address != none) {
            check_mapping(header, address, engram_load32le(body + 2 + width));
        }
    }
}

static void check_block(struct header *header, struct span block)
{
    while (block.bytes >= header->prefix) {
        const unsigned char *message =
            engram_heap_look(header->heap, block.at, header->prefix, &header->damage);
        if (message == NULL) {
            return;
        }
        bool v2 = header->version2;
        unsigned type = v2 ? message[0] : (unsigned)load(message, 2);
        size_t size = (size_t)load(message + (v2 ? 1 : 2), 2);
        unsigned flags = message[v2 ? 3 : 4];
        block.at += header->prefix;
        block.bytes -= header->prefix;
        if (size > block.bytes) { /* HDF5 refuses the header */
            return;
        }
        if ((type == MESSAGE_LAYOUT || type == MESSAGE_CONTINUATION) &&
            (flags & MESSAGE_IS_SHARED) == 0) {
            check_message(header, type, block.at, size);
        }
        if (header->damage != NULL) {
            return;
        }
        block.at += size;
        block.bytes -= size;
    }
}

/* The first block, behind the fixed part of the header. */
static void find_first_block(struct header *header, uint64_t at)
{
    /* 16 bytes are less than the smallest header of either version with one message. */
    const unsigned char *start = engram_heap_look(header->heap, at, 16, &header->damage);

    if (start == NULL) {
        return;
    }
    if (start[0] == 1) {
        header->prefix = 8;
        add_block(header, at + 16, engram_load32le(start + 8));
    } else if (memcmp(start, "OHDR\2", 5) == 0) {
        unsigned flags = start[5];
        size_t width = (size_t)1 << (flags & 3);
        size_t skipped = 6 + ((flags & 0x20) != 0 ? 16U : 0U) + ((flags & 0x10) != 0 ? 4U : 0U);
        if (header->heap->file_bytes - at < skipped + width) {
            return;
        }
        const unsigned char *size =
            engram_heap_look(header->heap, at + skipped, width, &header->damage);
        header->version2 = true;
        header->prefix = (flags & 0x04) != 0 ? 6 : 4;
        if (size != NULL) {
            add_block(header, at + skipped + width, load(size, width));
        }
    }
}

const char *engram_objheader_damage(struct engram_heap *heap, uint64_t address)
{
    struct header header = {.heap = heap};

    if (heap->fd < 0 || heap->base > heap->file_bytes || address > heap->file_bytes - heap->base ||
        heap->file_bytes - heap->base - address < 16) {
        return NULL;
    }
    find_first_block(&header, heap->base + address);
    for (size_t i = 0; i < header.count && header.damage == NULL; i++) {
        check_block(&header, header.blocks[i]);
    }
    free(header.blocks);
    return header.damage;
}

/* ---- opening */

/* Whether HDF5 may open the object at `address`; damage is an error in its stack. `heap`: zero, or
 * what stays open for the next object. */
static bool may_open_at(struct engram_heap *heap, hid_t location, uint64_t address)
{
    if (!heap->ready && engram_heap_open_bytes(heap, location) < 0) {
        return true;
    }
    const char *damage = engram_objheader_damage(heap, address);
    if (damage != NULL) {
        (void)H5Eclear2(H5E_DEFAULT);
        (void)H5Epush2(H5E_DEFAULT, __FILE__, __func__, __LINE__, H5E_ERR_CLS, H5E_DATASET,
                       H5E_BADVALUE, "%s", damage);
    }
    return damage == NULL;
}

/* True also when HDF5 finds no such object: it says so again when it opens it. */
static bool may_open(hid_t location, const char *name, hid_t access)
{
    H5O_type_t type = H5O_TYPE_UNKNOWN;
    struct engram_object_key key;
    struct engram_heap heap = {0};

    if (engram_h5_object_info(location, name, access, &type, &key) < 0 ||
        type != H5O_TYPE_DATASET) {
        return true;
    }
    bool may = may_open_at(&heap, location, engram_object_address(&key));
    engram_heap_close(&heap); /* leaves HDF5's errors alone: there is no reference to close */
    return may;
}

hid_t engram_h5_open_dataset(hid_t location, const char *name, hid_t access)
{
    return may_open(location, name, access) ? H5Dopen2(location, name, access) : -1;
}

hid_t engram_h5_open_object(hid_t location, const char *name, hid_t access)
{
    return may_open(location, name, access) ? H5Oopen(location, name, access) : -1;
}

hid_t engram_h5_open_linked(struct engram_heap *heap, hid_t group, const char *name,
                            const ENGRAM_H5_LINK_INFO *link, hid_t access)
{
    struct engram_object_key key;

    if (link->type != H5L_TYPE_HARD) {
        return engram_h5_open_object(group, name, access);
    }
    engram_h5_link_target(link, &key);
    return may_open_at(heap, group, engram_object_address(&key)) ? H5Oopen(group, name, access)
                                                                 : -1;
}
