#define _GNU_SOURCE
#include "io/references.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/log.h"
#include "base/reading.h"
#include "base/size.h"
#include "io/h5.h"
#include "io/h5pipeline.h"
#include "io/tempfile.h"

/* Read at once. */
#define BLOCK_BYTES ((size_t)64 << 10)

/* References may share strings: together they may claim so many times the bytes of the file, and
 * this much in any case. */
#define SHARED 64
#define ALWAYS_ALLOWED ((uint64_t)256 << 20)

/* H5Dget_chunk_info_by_coord goes through all chunks before the one that is asked for. */
#define CHUNK_LIMIT 1000

struct look {
    const struct engram_claim *claim;
    hid_t creation;
    uint64_t file_bytes;
    uint64_t total; /* bytes that the references so far claim */
    size_t size;    /* of a reference: length, address, number in the heap */
    int64_t first;
    int64_t last;
    bool user_block;
    int fd;
    unsigned char *block;
};

static enum engram_status io_failure(const struct look *look)
{
    return engram_fail(look->claim->log, engram_status_of_errno(errno), "%s: %s: %s",
                       look->claim->path, look->claim->name, strerror(errno));
}

/* `count` references, the first of them that of element `row`. */
static enum engram_status take(struct look *look, int64_t row, const unsigned char *bytes,
                               int64_t count)
{
    uint64_t most = engram_saturating_mul(SHARED, look->file_bytes);

    for (int64_t i = 0; i < count; i++) {
        uint64_t length = (uint64_t)engram_load32le(bytes + (size_t)i * look->size);
        look->total += length;
        if (length > look->file_bytes || (look->total > most && look->total > ALWAYS_ALLOWED)) {
            return engram_fail(look->claim->log, ENGRAM_ERR_DATA,
                               "%s: %s: the string of row %lld claims %llu bytes in a file of "
                               "%llu; it is damaged",
                               look->claim->path, look->claim->name, (long long)(row + i),
                               (unsigned long long)length, (unsigned long long)look->file_bytes);
        }
    }
    return ENGRAM_OK;
}

/* Elements [row, end) that lie at `offset` of the file. */
static enum engram_status take_stored(struct look *look, int64_t row, int64_t end, uint64_t offset)
{
    int64_t most = (int64_t)(BLOCK_BYTES / look->size);
    enum engram_status status = ENGRAM_OK;

    while (status == ENGRAM_OK && row < end) {
        int64_t count = end - row < most ? end - row : most;
        size_t bytes = (size_t)count * look->size;
        if (!engram_read_at(look->fd, look->block, bytes, (off_t)offset)) {
            return io_failure(look);
        }
        status = take(look, row, look->block, count);
        row += count;
        offset += bytes;
    }
    return status;
}

/* ---- chunks */

/* The part of a chunk that is asked for. */
struct part {
    int64_t chunk; /* its first element */
    int64_t row;
    int64_t end;
};

static enum engram_status take_plain_chunk(struct look *look, const struct part *part)
{
    hsize_t corner = (hsize_t)part->chunk;
    hsize_t size = 0;
    haddr_t address = HADDR_UNDEF;
    unsigned mask = 0;
    uint64_t skip = (uint64_t)(part->row - part->chunk) * look->size;

    engram_reading_at(look->claim->name);
    if (H5Dget_chunk_info_by_coord(look->claim->dataset, &corner, &mask, &address, &size) < 0 ||
        address == HADDR_UNDEF || size < skip + (uint64_t)(part->end - part->row) * look->size) {
        return ENGRAM_OK; /* never written, or a matter for H5Dread to complain about */
    }
    return take_stored(look, part->row, part->end, address + skip);
}

struct unpacker {
    struct engram_pipeline pipeline;
    struct engram_unfilter unfilter;
    unsigned char *raw;
    size_t room;
};

static enum engram_status take_packed_chunk(struct look *look, const struct part *part,
                                            struct unpacker *unpacker)
{
    hsize_t corner = (hsize_t)part->chunk;
    hsize_t size = 0;
    uint32_t mask = 0;
    struct engram_elements found;
    const char *why = NULL;

    engram_reading_at(look->claim->name);
    if (H5Dget_chunk_storage_size(look->claim->dataset, &corner, &size) < 0 || size == 0 ||
        size > unpacker->room ||
        engram_h5_read_chunk(look->claim->dataset, &corner, unpacker->raw, unpacker->room, &mask) <
            0 ||
        engram_unfilter_chunk(&unpacker->pipeline, &unpacker->unfilter, unpacker->raw, (size_t)size,
                              mask, &found, &why) != ENGRAM_OK) {
        return ENGRAM_OK; /* as above */
    }
    return take(look, part->row, found.bytes + (size_t)(part->row - part->chunk) * look->size,
                part->end - part->row);
}

static enum engram_status take_chunks(struct look *look, struct unpacker *unpacker)
{
    int64_t extent = look->claim->info->chunk[0];
    enum engram_status status = ENGRAM_OK;

    for (int64_t chunk = look->first / extent * extent; status == ENGRAM_OK && chunk < look->last;
         chunk += extent) {
        const struct part part = {
            chunk,
            chunk < look->first ? look->first : chunk,
            look->last - chunk < extent ? look->last : chunk + extent,
        };
        status = unpacker == NULL ? take_plain_chunk(look, &part)
                                  : take_packed_chunk(look, &part, unpacker);
    }
    return status;
}

static enum engram_status look_at_chunks(struct look *look)
{
    /* Plain bytes are wanted: no shuffle is left to us. */
    struct unpacker unpacker = {.pipeline = {.element = 1}};
    size_t extent = (size_t)look->claim->info->chunk[0];
    enum engram_status status = ENGRAM_ERR_RESOURCE;
    unsigned options = 0;

    if (look->claim->info->chunk[0] < 1 || H5Pget_chunk_opts(look->creation, &options) < 0) {
        return ENGRAM_OK;
    }
    if (H5Pget_nfilters(look->creation) == 0) {
        /* Whether a user block counts depends on the version of HDF5. */
        return !look->user_block &&
                       look->claim->info->dims[0] / look->claim->info->chunk[0] < CHUNK_LIMIT
                   ? take_chunks(look, NULL)
                   : ENGRAM_OK;
    }
    if (options != 0 || !engram_size_mul(extent, look->size, &unpacker.pipeline.chunk_bytes) ||
        unpacker.pipeline.chunk_bytes > SIZE_MAX / 8 ||
        !engram_h5_pipeline(look->creation, &unpacker.pipeline)) {
        return ENGRAM_OK;
    }
    unpacker.room = engram_unfilter_packed_limit(&unpacker.pipeline);
    unpacker.raw = malloc(unpacker.room);
    if (engram_unfilter_create(&unpacker.pipeline, &unpacker.unfilter) && unpacker.raw != NULL) {
        status = take_chunks(look, &unpacker);
    } else {
        (void)engram_fail(look->claim->log, ENGRAM_ERR_RESOURCE, "%s: %s: not enough memory",
                          look->claim->path, look->claim->name);
    }
    engram_unfilter_destroy(&unpacker.unfilter);
    free(unpacker.raw);
    return status;
}

static enum engram_status look_at_all(struct look *look)
{
    haddr_t offset = H5Dget_offset(look->claim->dataset);

    if (look->claim->info->storage == ENGRAM_STORAGE_CHUNKED) {
        return look_at_chunks(look);
    }
    if (look->claim->info->storage != ENGRAM_STORAGE_CONTIGUOUS || offset == HADDR_UNDEF) {
        return ENGRAM_OK;
    }
    return take_stored(look, look->first, look->last, offset + (uint64_t)look->first * look->size);
}

enum engram_status engram_h5_check_references(const struct engram_claim *claim, int64_t first)
{
    ENGRAM_H5_HANDLE hid_t file = H5Iget_file_id(claim->dataset);
    ENGRAM_H5_HANDLE hid_t created = file < 0 ? -1 : H5Fget_create_plist(file);
    ENGRAM_H5_HANDLE hid_t creation = H5Dget_create_plist(claim->dataset);
    struct look look = {.claim = claim,
                        .creation = creation,
                        .first = first,
                        .last = first + (int64_t)claim->rows,
                        .block = malloc(BLOCK_BYTES)};
    hsize_t file_bytes = 0;
    hsize_t user_block = 0;
    size_t address = 0;
    size_t length = 0;
    enum engram_status status = ENGRAM_ERR_RESOURCE;

    look.fd = open(claim->path, O_RDONLY | O_CLOEXEC);
    if (look.fd < 0) {
        status = io_failure(&look);
    } else if (look.block == NULL) {
        (void)engram_fail(claim->log, status, "%s: %s: not enough memory", claim->path,
                          claim->name);
    } else if (created < 0 || creation < 0 || H5Pget_sizes(created, &address, &length) < 0 ||
               H5Pget_userblock(created, &user_block) < 0 ||
               H5Fget_filesize(file, &file_bytes) < 0) {
        status = ENGRAM_OK; /* H5Dread says what is wrong */
    } else {
        look.user_block = user_block > 0;
        look.size = 4 + address + 4;
        look.file_bytes = (uint64_t)file_bytes;
        status = look_at_all(&look);
    }
    if (look.fd >= 0) {
        (void)close(look.fd);
    }
    free(look.block);
    return status;
}
