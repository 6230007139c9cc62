/* The records of a journal: their headers in the file, the list of those that count. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/hash.h"
#include "base/log.h"
#include "io/tempfile.h"
#include "job/journal_internal.h"

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + RECORD_BYTES - 1) / RECORD_BYTES * RECORD_BYTES;
}

uint64_t engram_record_span(const struct engram_record *record)
{
    return RECORD_BYTES + round_up(record->bytes);
}

static bool contains(const int64_t outer[2], const int64_t inner[2])
{
    return outer[0] <= inner[0] && inner[1] <= outer[1];
}

static bool replaces(const struct engram_record *newer, const struct engram_record *older)
{
    if (newer->kind == ENGRAM_RECORD_CELLS && older->kind == ENGRAM_RECORD_DONE) {
        return true;
    }
    if (newer->kind != older->kind) {
        return false;
    }
    switch (newer->kind) {
    case ENGRAM_RECORD_STATE:
    case ENGRAM_RECORD_CELLS:
        return true;
    case ENGRAM_RECORD_PARTIAL:
    case ENGRAM_RECORD_DONE:
        return contains(newer->queries, older->queries) && contains(newer->base, older->base);
    default:
        return false;
    }
}

/* Drops the records that `record` replaces from the list. */
static void drop_replaced(struct engram_journal *journal, const struct engram_record *record)
{
    size_t kept = 0;
    for (size_t i = 0; i < journal->count; i++) {
        if (replaces(record, &journal->records[i])) {
            uint64_t span = engram_record_span(&journal->records[i]);
            journal->useful -= span;
            journal->useless += span;
        } else {
            journal->records[kept++] = journal->records[i];
        }
    }
    journal->count = kept;
}

enum engram_status engram_journal_list(struct engram_journal *journal,
                                       const struct engram_record *record)
{
    if (journal->count == journal->room) {
        size_t room = journal->room == 0 ? 64 : 2 * journal->room;
        struct engram_record *more = reallocarray(journal->records, room, sizeof *more);
        if (more == NULL) {
            return engram_fail(&journal->log, ENGRAM_ERR_RESOURCE,
                               "not enough memory for the checkpoint");
        }
        journal->records = more;
        journal->room = room;
    }
    drop_replaced(journal, record);
    journal->records[journal->count++] = *record;
    journal->useful += engram_record_span(record);
    return ENGRAM_OK;
}

void engram_record_move(uint64_t at, unsigned char bytes[RECORD_BYTES])
{
    engram_store64le(bytes + 56, engram_hash64(bytes, 56, at));
}

void engram_record_encode(const struct engram_record *record, uint64_t hash,
                          unsigned char bytes[RECORD_BYTES])
{
    engram_store64le(bytes, RECORD_MAGIC ^ (uint64_t)record->kind << 56);
    engram_store64le(bytes + 8, (uint64_t)record->queries[0]);
    engram_store64le(bytes + 16, (uint64_t)record->queries[1]);
    engram_store64le(bytes + 24, (uint64_t)record->base[0]);
    engram_store64le(bytes + 32, (uint64_t)record->base[1]);
    engram_store64le(bytes + 40, record->bytes);
    engram_store64le(bytes + 48, hash);
    engram_record_move(record->offset - RECORD_BYTES, bytes);
}

void engram_record_encode_dropped(uint64_t at, unsigned char bytes[RECORD_BYTES])
{
    engram_store64le(bytes, RECORD_MAGIC ^ (uint64_t)RECORD_DROPPED << 56);
    engram_record_move(at, bytes);
}

static bool decode_record(const unsigned char bytes[RECORD_BYTES], uint64_t at,
                          struct engram_record *record, uint64_t *hash)
{
    uint64_t magic = engram_load64le(bytes);
    if (engram_load64le(bytes + 56) != engram_hash64(bytes, 56, at) ||
        (magic & UINT64_C(0xffffffffffffff)) != RECORD_MAGIC) {
        return false;
    }
    *record = (struct engram_record){
        .kind = (enum engram_record_kind)(magic >> 56),
        .queries = {(int64_t)engram_load64le(bytes + 8), (int64_t)engram_load64le(bytes + 16)},
        .base = {(int64_t)engram_load64le(bytes + 24), (int64_t)engram_load64le(bytes + 32)},
        .bytes = engram_load64le(bytes + 40),
        .offset = at + RECORD_BYTES,
    };
    *hash = engram_load64le(bytes + 48);
    return true;
}

/* The payload's hash; false when it cannot be read. */
static bool hash_payload(const struct engram_journal *journal, const struct engram_record *record,
                         uint64_t *hash)
{
    *hash = 0;
    for (uint64_t at = 0; at < record->bytes; at += BLOCK_BYTES) {
        size_t bytes =
            record->bytes - at < BLOCK_BYTES ? (size_t)(record->bytes - at) : BLOCK_BYTES;
        if (!engram_read_at(journal->fd, journal->block, bytes, (off_t)(record->offset + at))) {
            return false;
        }
        *hash = engram_hash64(journal->block, bytes, *hash);
    }
    return true;
}

enum engram_status engram_journal_scan(struct engram_journal *journal)
{
    struct stat info;
    uint64_t at = HEADER_BYTES;
    enum engram_status status = ENGRAM_OK;

    if (fstat(journal->fd, &info) != 0) {
        return engram_journal_failure(journal, "cannot be read");
    }
    uint64_t size = (uint64_t)info.st_size;
    while (status == ENGRAM_OK && at < size && size - at >= RECORD_BYTES) {
        unsigned char bytes[RECORD_BYTES];
        struct engram_record record;
        uint64_t wanted;
        uint64_t found;
        if (!engram_read_at(journal->fd, bytes, sizeof bytes, (off_t)at)) {
            return engram_journal_failure(journal, "cannot be read");
        }
        if (!decode_record(bytes, at, &record, &wanted)) {
            break;
        }
        if (record.bytes > size || record.offset + record.bytes > size) {
            break;
        }
        if (!hash_payload(journal, &record, &found)) {
            return engram_journal_failure(journal, "cannot be read");
        }
        if (found != wanted) {
            break;
        }
        if ((int)record.kind == RECORD_DROPPED) {
            journal->useless += engram_record_span(&record);
        } else {
            status = engram_journal_list(journal, &record);
        }
        at += engram_record_span(&record);
    }
    if (status == ENGRAM_OK && at < journal->owner.committed) {
        return engram_journal_is_damaged(journal);
    }
    journal->end = at;
    if (status == ENGRAM_OK && ftruncate(journal->fd, (off_t)at) != 0) {
        return engram_journal_failure(journal, "cannot be written");
    }
    return status;
}
