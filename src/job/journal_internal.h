/* What the journal's rooms share: journal.c opens and reads, journal_records.c knows the records,
 * journal_write.c appends. */
#ifndef ENGRAM_JOB_JOURNAL_INTERNAL_H
#define ENGRAM_JOB_JOURNAL_INTERNAL_H

#include "job/journal.h"
#include "job/owner.h"

/* The header: magic, version, length of the identity, the identity, a checksum; then the owner. */
enum {
    HEADER_BYTES = 4096,
    IDENTITY = 24,
    HEADER_SUM = HEADER_BYTES - ENGRAM_OWNER_BYTES - 8,
    OWNER = HEADER_BYTES - ENGRAM_OWNER_BYTES,
    IDENTITY_MAX = HEADER_SUM - IDENTITY
};

/* Records start on a multiple of their header's size: it lies in one sector. */
enum { RECORD_BYTES = 64 };
#define RECORD_MAGIC UINT64_C(0x31434552474e45) /* "ENGREC1" */

/* Payloads are hashed and written in blocks of this size. */
#define BLOCK_BYTES ((size_t)1 << 20)

struct engram_journal {
    struct engram_log log;
    char *path;
    char *identity;
    int fd;
    bool owned; /* the owner record is ours */
    struct engram_owner owner;
    struct engram_record *records;
    size_t count;
    size_t room;
    uint64_t end;     /* of the last whole record */
    uint64_t useful;  /* bytes of records that count */
    uint64_t useless; /* and of those that do not */
    unsigned char *block;
    /* The record that is being written. */
    struct engram_record open;
    uint64_t written;
    size_t buffered;
    uint64_t hash;
};

/* A record that was dropped, in the place of its kind. */
#define RECORD_DROPPED 0

/* Bytes of a record in the file, its header included. */
uint64_t engram_record_span(const struct engram_record *record);

/* A header's checksum includes where its record is (`at`, or record->offset): one that was copied
 * to another place counts nothing there. */
void engram_record_encode(const struct engram_record *record, uint64_t hash,
                          unsigned char bytes[RECORD_BYTES]);

/* The same header for a record that was dropped. */
void engram_record_encode_dropped(uint64_t at, unsigned char bytes[RECORD_BYTES]);

/* The same header for a record that now is at `at`. */
void engram_record_move(uint64_t at, unsigned char bytes[RECORD_BYTES]);

/* Appends to the list of records that count; one that it replaces no longer does. */
enum engram_status engram_journal_list(struct engram_journal *journal,
                                       const struct engram_record *record);

/* Lists the records of the file and cuts off a torn tail: what a killed process leaves is a payload
 * without a header, what a loss of power leaves is any part of what was not synced. Damage before
 * the end of what was synced is no torn tail. */
enum engram_status engram_journal_scan(struct engram_journal *journal);

bool engram_journal_write_header(struct engram_journal *journal, int fd);
bool engram_journal_write_owner(struct engram_journal *journal, int fd);

/* Writes that nobody owns the file any more: other hosts need not wait for a heartbeat. */
void engram_journal_release(struct engram_journal *journal);

/* Syncs the folder, so that the file's name survives. */
void engram_journal_sync_folder(const struct engram_journal *journal);

/* CANT_CREATE, with how to go on. */
enum engram_status engram_journal_refuse(const struct engram_journal *journal, const char *why);

/* The failure that errno tells of. */
enum engram_status engram_journal_failure(const struct engram_journal *journal, const char *what);

#endif
