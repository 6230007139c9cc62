#define _GNU_SOURCE
#include "io/references.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/reading.h"
#include "base/size.h"
#include "io/describe.h"
#include "io/h5.h"
#include "io/h5read.h"
#include "io/heap.h"
#include "io/member.h"

/* References read at once. */
#define BLOCK 65536

/* References may share texts: together they may claim so many times the bytes of the file, and
 * this much in any case. */
#define SHARED 64
#define ALWAYS_ALLOWED ((uint64_t)256 << 20)

struct look {
    const struct engram_claim *claim;
    struct engram_heap heap;
    uint64_t total; /* bytes that the references so far claim */
    hid_t type;     /* of a reference, as it is read */
    hid_t space;
    unsigned char *block;
};

static enum engram_status hdf5_failure(const struct look *look)
{
    const struct engram_claim *claim = look->claim;
    char message[256];

    engram_h5_message(message, sizeof message);
    enum engram_status status = engram_h5_read_status(message);
    if (engram_h5_missing_filter(claim->dataset, message, sizeof message)) {
        status = ENGRAM_ERR_PLUGIN;
    }
    return engram_fail(claim->log, status, "%s: %s: its texts cannot be read (%s)", claim->path,
                       claim->name, message);
}

/* `count` references, the first of them that of element `row`. */
static enum engram_status take(struct look *look, int64_t row, hsize_t count)
{
    uint64_t file = look->heap.file_bytes;
    uint64_t most = engram_saturating_mul(SHARED, file);

    for (hsize_t i = 0; i < count; i++) {
        uint64_t length = 0;
        const char *damage =
            engram_heap_damage(&look->heap, look->block + (size_t)i * look->heap.size, &length);
        enum engram_status status = ENGRAM_ERR_DATA;
        look->total += length;
        if (damage != NULL) {
            status = engram_h5_read_status(damage);
        } else if (look->heap.fd >= 0 &&
                   (length > file || (look->total > most && look->total > ALWAYS_ALLOWED))) {
            damage = "that is beyond what the file holds";
        } else {
            continue;
        }
        return engram_fail(look->claim->log, status,
                           "%s: %s: the string of row %lld claims %llu bytes in a file of %llu, "
                           "but %s; the file is damaged",
                           look->claim->path, look->claim->name, (long long)row + (long long)i,
                           (unsigned long long)length, (unsigned long long)file, damage);
    }
    return ENGRAM_OK;
}

static enum engram_status look_at_all(struct look *look, int64_t first, int64_t last)
{
    for (int64_t row = first; row < last; row += BLOCK) {
        hsize_t start = (hsize_t)row;
        hsize_t count = last - row < BLOCK ? (hsize_t)(last - row) : BLOCK;
        ENGRAM_H5_HANDLE hid_t memory = H5Screate_simple(1, &count, NULL);

        engram_reading_bytes(count * look->heap.size);
        if (memory < 0 ||
            H5Sselect_hyperslab(look->space, H5S_SELECT_SET, &start, NULL, &count, NULL) < 0 ||
            engram_h5_read(look->claim->dataset, look->type, memory, look->space, look->block) <
                0) {
            return hdf5_failure(look);
        }
        enum engram_status status = take(look, row, count);
        if (status != ENGRAM_OK) {
            return status;
        }
    }
    return ENGRAM_OK;
}

enum engram_status engram_h5_check_references(const struct engram_claim *claim, const char *member,
                                              int64_t first)
{
    struct look look = {.claim = claim};
    ENGRAM_H5_HANDLE hid_t whole = H5Dget_type(claim->dataset);
    ENGRAM_H5_HANDLE hid_t text = whole < 0 ? -1 : engram_h5_member_type(whole, member);
    ENGRAM_H5_HANDLE hid_t space = H5Dget_space(claim->dataset);
    enum engram_status status = ENGRAM_ERR_RESOURCE;

    hid_t opened =
        engram_heap_open(&look.heap, claim->dataset) < 0 ? -1 : H5Tcopy(look.heap.reference);
    ENGRAM_H5_HANDLE hid_t type =
        member == NULL || opened < 0 ? opened : engram_h5_member_memory_type(member, opened, 0);
    look.space = space;
    look.type = type;
    if (space < 0 || type < 0 || text < 0) {
        status = hdf5_failure(&look);
    } else if (!engram_heap_holds_bytes(text)) {
        status = engram_fail(claim->log, ENGRAM_ERR_DATA,
                             "%s: %s: its texts are not made of bytes; the file is damaged",
                             claim->path, claim->name);
    } else if ((look.block = malloc(BLOCK * look.heap.size)) == NULL) {
        (void)engram_fail(claim->log, status, "%s: %s: not enough memory", claim->path,
                          claim->name);
    } else {
        status = look_at_all(&look, first, first + (int64_t)claim->rows);
    }
    engram_heap_close(&look.heap);
    free(look.block);
    return status;
}
