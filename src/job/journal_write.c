#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "io/tempfile.h"
#include "job/journal_internal.h"

/* Less than this is not worth a rewrite. */
#define USELESS_MIN ((uint64_t)64 << 20)

/* Drops what was written of the record in progress. */
static enum engram_status give_up(struct engram_journal *journal, enum engram_status status)
{
    journal->open = (struct engram_record){0};
    (void)!ftruncate(journal->fd, (off_t)journal->end);
    return status;
}

static bool write_block(struct engram_journal *journal)
{
    journal->hash = engram_hash64(journal->block, journal->buffered, journal->hash);
    if (!engram_write_at(journal->fd, journal->block, journal->buffered,
                         (off_t)(journal->open.offset + journal->written))) {
        return false;
    }
    journal->written += journal->buffered;
    journal->buffered = 0;
    return true;
}

/* The header makes the record count: it is written last. */
static enum engram_status finish_record(struct engram_journal *journal)
{
    unsigned char bytes[RECORD_BYTES];
    struct engram_record record = journal->open;
    if ((journal->buffered > 0 && !write_block(journal)) ||
        ftruncate(journal->fd, (off_t)(journal->end + engram_record_span(&record))) != 0) {
        return give_up(journal, engram_journal_failure(journal, "cannot be written"));
    }
    engram_record_encode(&record, journal->hash, bytes);
    if (!engram_write_at(journal->fd, bytes, sizeof bytes, (off_t)journal->end)) {
        return give_up(journal, engram_journal_failure(journal, "cannot be written"));
    }
    enum engram_status status = engram_journal_list(journal, &record);
    journal->open = (struct engram_record){0};
    journal->end += engram_record_span(&record);
    return status;
}

enum engram_status engram_journal_more(struct engram_journal *journal, const void *payload,
                                       size_t bytes)
{
    const unsigned char *from = payload;
    if (bytes > journal->open.bytes - journal->written - journal->buffered) {
        return give_up(journal, engram_fail(&journal->log, ENGRAM_ERR_INTERNAL,
                                            "%s: a record is longer than was said", journal->path));
    }
    while (bytes > 0) {
        size_t part = BLOCK_BYTES - journal->buffered;
        part = part < bytes ? part : bytes;
        memcpy(journal->block + journal->buffered, from, part);
        journal->buffered += part;
        from += part;
        bytes -= part;
        if (journal->buffered == BLOCK_BYTES && !write_block(journal)) {
            return give_up(journal, engram_journal_failure(journal, "cannot be written"));
        }
    }
    return journal->written + journal->buffered == journal->open.bytes ? finish_record(journal)
                                                                       : ENGRAM_OK;
}

void engram_journal_quiet(struct engram_journal *journal)
{
    journal->log = (struct engram_log){0};
}

bool engram_journal_is_quiet(const struct engram_journal *journal)
{
    return journal->log.call == NULL;
}

enum engram_status engram_journal_drop(struct engram_journal *journal, size_t i)
{
    const struct engram_record record = journal->records[i];
    const off_t at = (off_t)(record.offset - RECORD_BYTES);
    unsigned char bytes[RECORD_BYTES];
    if (!engram_read_at(journal->fd, bytes, sizeof bytes, at)) {
        return engram_journal_failure(journal, "cannot be read");
    }
    engram_record_encode_dropped((uint64_t)at, bytes);
    if (!engram_write_at(journal->fd, bytes, sizeof bytes, at)) {
        return engram_journal_failure(journal, "cannot be written");
    }
    journal->count--;
    memmove(&journal->records[i], &journal->records[i + 1],
            (journal->count - i) * sizeof *journal->records);
    journal->useful -= engram_record_span(&record);
    journal->useless += engram_record_span(&record);
    return ENGRAM_OK;
}

void engram_journal_beat(struct engram_journal *journal)
{
    (void)engram_journal_write_owner(journal, journal->fd);
}

enum engram_status engram_journal_commit(struct engram_journal *journal)
{
    if (fdatasync(journal->fd) != 0) {
        return engram_journal_failure(journal, "cannot be written");
    }
    /* Where this note is lost, the one before it still tells the truth. */
    journal->owner.committed = journal->end;
    if (!engram_journal_write_owner(journal, journal->fd)) {
        return engram_journal_failure(journal, "cannot be written");
    }
    return ENGRAM_OK;
}

/* ---- writing anew */

static bool copy_bytes(const struct engram_journal *journal, uint64_t from, int to_fd, uint64_t to,
                       uint64_t bytes)
{
    for (uint64_t done = 0; done < bytes; done += BLOCK_BYTES) {
        size_t part = bytes - done < BLOCK_BYTES ? (size_t)(bytes - done) : BLOCK_BYTES;
        if (!engram_read_at(journal->fd, journal->block, part, (off_t)(from + done)) ||
            !engram_write_at(to_fd, journal->block, part, (off_t)(to + done))) {
            return false;
        }
    }
    return true;
}

/* A record's header, at its new place. */
static bool copy_header(const struct engram_journal *journal, uint64_t from, int to_fd, uint64_t to)
{
    unsigned char bytes[RECORD_BYTES];
    if (!engram_read_at(journal->fd, bytes, sizeof bytes, (off_t)from)) {
        return false;
    }
    engram_record_move(to, bytes);
    return engram_write_at(to_fd, bytes, sizeof bytes, (off_t)to);
}

static bool copy_all(struct engram_journal *journal, int fd, uint64_t *end)
{
    *end = HEADER_BYTES;
    journal->owner.committed = 0; /* of the new file, until it is whole */
    if (!engram_journal_write_header(journal, fd)) {
        return false;
    }
    for (size_t i = 0; i < journal->count; i++) {
        const struct engram_record *record = &journal->records[i];
        uint64_t span = engram_record_span(record);
        if (!copy_header(journal, record->offset - RECORD_BYTES, fd, *end) ||
            !copy_bytes(journal, record->offset, fd, *end + RECORD_BYTES, span - RECORD_BYTES)) {
            return false;
        }
        *end += span;
    }
    return fdatasync(fd) == 0;
}

static enum engram_status rewrite(struct engram_journal *journal)
{
    char *path = NULL;
    uint64_t end = 0;
    if (asprintf(&path, "%s.new", journal->path) < 0) {
        return engram_fail(&journal->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory for the checkpoint");
    }
    (void)unlink(path); /* of a process that was killed here */
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool done = fd >= 0 && engram_owner_lock(fd) != ENGRAM_LOCK_TAKEN &&
                copy_all(journal, fd, &end) && rename(path, journal->path) == 0;
    enum engram_status status = ENGRAM_OK;
    if (!done) {
        status = engram_journal_failure(journal, "cannot be written anew");
        if (fd >= 0) {
            (void)close(fd);
            (void)unlink(path);
        }
        free(path);
        return status;
    }
    (void)close(journal->fd);
    journal->fd = fd;
    engram_journal_sync_folder(journal);
    journal->useless = 0;
    journal->end = end;
    journal->owner.committed = end;
    uint64_t at = HEADER_BYTES;
    for (size_t i = 0; i < journal->count; i++) {
        journal->records[i].offset = at + RECORD_BYTES;
        at += engram_record_span(&journal->records[i]);
    }
    free(path);
    return status;
}

enum engram_status engram_journal_append(struct engram_journal *journal,
                                         const struct engram_record *record, const void *payload,
                                         size_t bytes)
{
    if (journal->useless > USELESS_MIN && journal->useless > journal->useful) {
        enum engram_status status = rewrite(journal);
        if (status != ENGRAM_OK) {
            return status;
        }
    }
    journal->open = *record;
    journal->open.offset = journal->end + RECORD_BYTES;
    journal->written = 0;
    journal->buffered = 0;
    journal->hash = 0;
    return engram_journal_more(journal, payload, bytes);
}
