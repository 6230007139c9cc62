#define _GNU_SOURCE

#include "io/cells.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/size.h"

/* Cells of a plain file start on a page, after the mark. */
#define PLAIN_OFFSET ((uint64_t)4096)

/* Rows that are worth telling the disk about at once. */
#define EARLY_BYTES ((size_t)8 << 20)

/* Cells read back at a time. */
#define HASH_BYTES ((size_t)1 << 20)

bool engram_cells_draw_mark(char mark[ENGRAM_MARK_LENGTH + 1])
{
    unsigned char random[ENGRAM_MARK_LENGTH / 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    for (size_t i = 0; i < sizeof random; i++) {
        (void)snprintf(mark + 2 * i, 3, "%02x", random[i]);
    }
    return true;
}

static const char *suffix_of(const struct engram_cells_place *place)
{
    return place->packed ? ENGRAM_TEMPFILE_CELLS_SUFFIX : ENGRAM_TEMPFILE_SUFFIX;
}

static enum engram_status write_failure(const struct engram_cells *cells)
{
    return engram_write_failure(cells->file.shown, errno, &cells->log);
}

/* Room for all of it now, not when most of the work is done. */
static bool allocate(int fd, uint64_t bytes)
{
    int failed;
    do {
        failed = fallocate(fd, 0, 0, (off_t)bytes);
    } while (failed != 0 && errno == EINTR);
    if (failed != 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)) {
        failed = ftruncate(fd, (off_t)bytes);
    }
    return failed == 0;
}

enum engram_status engram_cells_create(const char *path, bool replace, uint64_t rows,
                                       uint64_t row_bytes, const char *mark,
                                       const struct engram_log *log, struct engram_cells *cells)
{
    *cells = (struct engram_cells){.log = log != NULL ? *log : (struct engram_log){NULL, NULL}};
    cells->place = (struct engram_cells_place){
        .offset = PLAIN_OFFSET, .rows = rows, .row_bytes = row_bytes, .packed = true};
    memcpy(cells->place.mark, mark, ENGRAM_MARK_LENGTH);
    cells->place.bytes =
        engram_saturating_add(PLAIN_OFFSET, engram_saturating_mul(rows, row_bytes));
    enum engram_status status =
        engram_tempfile_create(path, suffix_of(&cells->place), replace, log, &cells->file);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (cells->place.bytes > INT64_MAX) {
        status = engram_write_failure(path, EFBIG, log);
    } else if (!allocate(cells->file.fd, cells->place.bytes) ||
               !engram_write_at(cells->file.fd, mark, ENGRAM_MARK_LENGTH, 0)) {
        status = write_failure(cells);
    } else {
        status = engram_tempfile_settle(&cells->file, log);
    }
    if (status != ENGRAM_OK) {
        engram_cells_close(cells, false);
    }
    return status;
}

/* Whether the open file is the one of the place. */
static bool recognised(const struct engram_cells *cells, const char *digest, bool *complete)
{
    char found[ENGRAM_MARK_LENGTH];
    struct stat info;
    if (fstat(cells->file.fd, &info) != 0 || (uint64_t)info.st_size != cells->place.bytes ||
        !engram_read_at(cells->file.fd, found, sizeof found, (off_t)cells->place.mark_at)) {
        return false;
    }
    *complete = digest != NULL && memcmp(found, digest, sizeof found) == 0;
    return *complete || memcmp(found, cells->place.mark, sizeof found) == 0;
}

enum engram_status engram_cells_open(const char *path, bool replace,
                                     const struct engram_cells_place *place, const char *digest,
                                     const struct engram_log *log, struct engram_cells *cells,
                                     bool *found)
{
    *found = false;
    *cells = (struct engram_cells){.place = *place,
                                   .log = log != NULL ? *log : (struct engram_log){NULL, NULL}};
    enum engram_status status =
        engram_tempfile_continue(path, suffix_of(place), replace, log, &cells->file);
    if (status != ENGRAM_OK || cells->file.shown == NULL) {
        return status;
    }
    *found = recognised(cells, digest, &cells->complete);
    if (!*found) {
        engram_cells_close(cells, true);
    }
    return ENGRAM_OK;
}

/* The disk begins now, while the next rows are computed, and not when the file is synced. What goes
 * wrong here goes wrong there again. */
static void start_writing(int fd, uint64_t offset, uint64_t bytes)
{
#ifdef SYNC_FILE_RANGE_WRITE
    (void)sync_file_range(fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
#else
    (void)fd;
    (void)offset;
    (void)bytes;
#endif
}

static bool within(const struct engram_cells_place *place, uint64_t row, uint64_t count,
                   uint64_t first, uint64_t bytes)
{
    return row <= place->rows && count <= place->rows - row && first <= place->row_bytes &&
           bytes <= place->row_bytes - first;
}

enum engram_status engram_cells_write(struct engram_cells *cells, uint64_t row, uint64_t count,
                                      uint64_t first, size_t bytes, const void *data, size_t stride)
{
    const struct engram_cells_place *place = &cells->place;
    const unsigned char *from = data;
    const uint64_t start = place->offset + row * place->row_bytes + first;
    const uint64_t total = count * bytes;
    const uint64_t span = count > 0 ? (count - 1) * place->row_bytes + bytes : 0;
    if (!within(place, row, count, first, bytes)) {
        return engram_fail(&cells->log, ENGRAM_ERR_INTERNAL, "%s: cells outside the matrix",
                           cells->file.shown);
    }
    if (bytes == place->row_bytes && bytes == stride) {
        if (!engram_write_at(cells->file.fd, data, (size_t)count * bytes, (off_t)start)) {
            return write_failure(cells);
        }
        count = 0;
    }
    for (uint64_t r = 0; r < count; r++) {
        if (!engram_write_at(cells->file.fd, from + (size_t)r * stride, bytes,
                             (off_t)(start + r * place->row_bytes))) {
            return write_failure(cells);
        }
    }
    if (total >= EARLY_BYTES) {
        start_writing(cells->file.fd, start, span);
    }
    return ENGRAM_OK;
}

enum engram_status engram_cells_write_late(struct engram_cells *cells, int which, size_t first,
                                           const void *data, size_t bytes)
{
    const struct engram_cells_place *place = &cells->place;
    const uint64_t at = place->late_at[which];
    if (bytes == 0) {
        return ENGRAM_OK;
    }
    if (at == 0 || at > place->bytes || first > place->bytes - at ||
        bytes > place->bytes - at - first) {
        return engram_fail(&cells->log, ENGRAM_ERR_INTERNAL, "%s: no place for a dataset",
                           cells->file.shown);
    }
    return engram_write_at(cells->file.fd, data, bytes, (off_t)(at + first)) ? ENGRAM_OK
                                                                             : write_failure(cells);
}

enum engram_status engram_cells_read(const struct engram_cells *cells, uint64_t row, uint64_t count,
                                     void *to)
{
    const struct engram_cells_place *place = &cells->place;
    if (!within(place, row, count, 0, 0)) {
        return engram_fail(&cells->log, ENGRAM_ERR_INTERNAL, "%s: cells outside the matrix",
                           cells->file.shown);
    }
    if (!engram_read_at(cells->file.fd, to, (size_t)(count * place->row_bytes),
                        (off_t)(place->offset + row * place->row_bytes))) {
        return engram_fail(&cells->log, ENGRAM_ERR_IO, "%s: cannot be read: %s", cells->file.path,
                           strerror(errno));
    }
    return ENGRAM_OK;
}

/* What hashing reads into. */
struct hashing {
    const struct engram_cells *cells;
    int fd;
    struct engram_hash_chain chain;
    unsigned char block[HASH_BYTES];
};

static enum engram_status start_hashing(const struct engram_cells *cells, struct hashing **hashing)
{
    *hashing = calloc(1, sizeof **hashing);
    if (*hashing == NULL) {
        return engram_fail(&cells->log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    (*hashing)->cells = cells;
    /* Closed where it could not be published. */
    (*hashing)->fd = cells->file.fd >= 0
                         ? cells->file.fd
                         : open(cells->file.path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return ENGRAM_OK;
}

static uint64_t end_hashing(struct hashing *hashing)
{
    uint64_t hash = engram_hash_of(&hashing->chain);
    if (hashing->fd >= 0 && hashing->fd != hashing->cells->file.fd) {
        (void)close(hashing->fd);
    }
    free(hashing);
    return hash;
}

/* Bytes [first, last) of the file. */
static enum engram_status hash_bytes(struct hashing *hashing, uint64_t first, uint64_t last)
{
    const struct engram_cells *cells = hashing->cells;
    for (uint64_t at = first; at < last; at += HASH_BYTES) {
        size_t size = last - at < HASH_BYTES ? (size_t)(last - at) : HASH_BYTES;
        if (!engram_read_at(hashing->fd, hashing->block, size, (off_t)at)) {
            return engram_fail(&cells->log, ENGRAM_ERR_IO, "%s: cannot be read: %s",
                               cells->file.path, strerror(errno));
        }
        engram_hash_add(&hashing->chain, hashing->block, size);
    }
    return ENGRAM_OK;
}

enum engram_status engram_cells_hash_part(const struct engram_cells *cells, uint64_t row,
                                          uint64_t count, uint64_t first, uint64_t bytes,
                                          uint64_t *hash)
{
    const struct engram_cells_place *place = &cells->place;
    const bool whole = bytes == place->row_bytes;
    const uint64_t start = place->offset + row * place->row_bytes + first;
    struct hashing *hashing;
    if (!within(place, row, count, first, bytes)) {
        return engram_fail(&cells->log, ENGRAM_ERR_INTERNAL, "%s: cells outside the matrix",
                           cells->file.shown);
    }
    enum engram_status status = start_hashing(cells, &hashing);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (whole) {
        status = hash_bytes(hashing, start, start + count * bytes);
    }
    for (uint64_t r = 0; status == ENGRAM_OK && !whole && r < count; r++) {
        uint64_t at = start + r * place->row_bytes;
        status = hash_bytes(hashing, at, at + bytes);
    }
    *hash = end_hashing(hashing);
    return status;
}

enum engram_status engram_cells_hash(const struct engram_cells *cells, uint64_t *hash)
{
    return engram_cells_hash_part(cells, 0, cells->place.rows, 0, cells->place.row_bytes, hash);
}

/* Bytes of the file, half-open. */
struct span {
    uint64_t first;
    uint64_t end;
};

/* The first of `count` spans that has bytes from `at` on; at the end of the file when none has. */
static struct span next_skipped(const struct span *spans, int count, uint64_t at, uint64_t bytes)
{
    struct span next = {bytes, bytes};
    for (int i = 0; i < count; i++) {
        const struct span *span = &spans[i];
        if (span->first < span->end && span->end > at && span->first < next.first) {
            next = *span;
        }
    }
    return next;
}

enum engram_status engram_cells_hash_frame(const struct engram_cells *cells,
                                           const uint64_t late[ENGRAM_LATE_SETS], uint64_t *hash)
{
    enum { SKIPPED = ENGRAM_LATE_SETS + 2 };
    const struct engram_cells_place *place = &cells->place;
    struct span skipped[SKIPPED] = {{place->offset, place->offset + place->rows * place->row_bytes},
                                    {place->mark_at, place->mark_at + ENGRAM_MARK_LENGTH}};
    struct hashing *hashing;
    for (int i = 0; i < ENGRAM_LATE_SETS; i++) {
        uint64_t first = place->late_at[i];
        uint64_t end = first == 0 ? 0 : engram_saturating_add(first, late[i]);
        skipped[2 + i] = (struct span){first, end};
    }
    enum engram_status status = start_hashing(cells, &hashing);
    uint64_t at = 0;
    while (status == ENGRAM_OK && at < place->bytes) {
        struct span next = next_skipped(skipped, SKIPPED, at, place->bytes);
        if (next.first > at) {
            status = hash_bytes(hashing, at, next.first);
        }
        at = next.end;
    }
    if (hashing != NULL) {
        *hash = end_hashing(hashing);
    }
    return status;
}

enum engram_status engram_cells_sync(struct engram_cells *cells)
{
    return fdatasync(cells->file.fd) == 0 ? ENGRAM_OK : write_failure(cells);
}

/* The digest comes after all cells are safe: a file that holds it is whole. */
enum engram_status engram_cells_publish(struct engram_cells *cells, const char *digest)
{
    enum engram_status status = engram_cells_sync(cells);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (strlen(digest) != ENGRAM_MARK_LENGTH) {
        return engram_fail(&cells->log, ENGRAM_ERR_INTERNAL, "%s: a digest of another length",
                           cells->file.shown);
    }
    if (!engram_write_at(cells->file.fd, digest, ENGRAM_MARK_LENGTH, (off_t)cells->place.mark_at)) {
        return write_failure(cells);
    }
    return engram_tempfile_publish(&cells->file, &cells->log);
}

void engram_cells_close(struct engram_cells *cells, bool keep)
{
    if (keep) {
        engram_tempfile_leave(&cells->file);
    } else {
        engram_tempfile_discard(&cells->file);
    }
}
