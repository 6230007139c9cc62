/* OUTPUT.checkpoint: a file of records that survives whatever happens to the process.
 *
 * The file is a header (magic, format version, owner, and a text that says which job it belongs
 * to) and records, each with a checksum of its own. Records are only ever appended, so a kill in
 * the middle of one leaves a torn tail, which the next opening cuts off; a commit syncs, and notes
 * up to where damage is no torn tail. A record
 * may make an older one of the same kind and query range useless; when more bytes are useless than
 * useful the file is written anew and renamed over the old one.
 *
 * One process at a time owns the file: by a lock where the file system has locks, and by an owner
 * record (host, process, start, heartbeat) where it has none. The owner of a file whose process is
 * gone loses it without a question; a heartbeat older than ENGRAM_OWNER_SECONDS from another host
 * counts as gone, too.
 *
 * Little endian. Calls are made by one thread. */
#ifndef ENGRAM_JOB_JOURNAL_H
#define ENGRAM_JOB_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/status.h"

#define ENGRAM_JOURNAL_SUFFIX ".checkpoint"
#define ENGRAM_OWNER_SECONDS 300

enum engram_record_kind {
    ENGRAM_RECORD_PARTIAL = 1,      /* a serialised partial: all answers to these queries among
                                       these base rows; replaces those that it contains */
    ENGRAM_RECORD_RUN = 2,          /* a sorted run of pairs */
    ENGRAM_RECORD_ROWS = 3,         /* finished rows of a dense or pairwise result */
    ENGRAM_RECORD_STATE = 4,        /* all of a collector's state: replaces the last one */
    ENGRAM_RECORD_BASE_HASHES = 5,  /* content of base rows, one hash a grain */
    ENGRAM_RECORD_QUERY_HASHES = 6, /* of query rows */
    ENGRAM_RECORD_DONE = 7,         /* a unit whose answers are all in records before this one .. */
    ENGRAM_RECORD_CELLS = 8         /* .. or in the file of which this tells; one that is made anew
                                       holds nothing yet: replaces the last one and all of DONE */
};

/* What a record is about: rows of the datasets, half-open. */
struct engram_record {
    enum engram_record_kind kind;
    int64_t queries[2];
    int64_t base[2];
    uint64_t bytes;  /* of the payload */
    uint64_t offset; /* of the payload in the file */
};

struct engram_journal;

struct engram_journal_options {
    const char *output;   /* the journal's name is this and ENGRAM_JOURNAL_SUFFIX */
    const char *identity; /* text without a 0 inside; a journal with another text is refused */
    bool from_scratch;    /* drop what is there, whoever's it is, unless its owner lives */
    bool existing_only;   /* OK, and *journal NULL, when there is none */
    struct engram_log log;
};

/* Opens the journal of OUTPUT, or makes an empty one. What a dead owner left behind is taken over;
 * a torn tail is cut off. Errors: CANT_CREATE (another process writes OUTPUT; the file is no
 * journal, one of another version, of another job, or damaged: the message says how to go on),
 * PERMISSION, IO, RESOURCE. */
enum engram_status engram_journal_open(const struct engram_journal_options *options,
                                       struct engram_journal **journal);

/* The records that count, in the order in which they were appended. Valid until the next append. */
size_t engram_journal_count(const struct engram_journal *journal);
const struct engram_record *engram_journal_record(const struct engram_journal *journal, size_t i);

/* Reads bytes [first, first + bytes) of a record's payload. Whole payloads were checked when the
 * file was opened. IO. */
enum engram_status engram_journal_read(const struct engram_journal *journal,
                                       const struct engram_record *record, uint64_t first,
                                       size_t bytes, void *to);

/* What a caller says of a record that is whole, but makes no sense: CANT_CREATE, logged. */
enum engram_status engram_journal_is_damaged(const struct engram_journal *journal);

/* Appends a record; `record->offset` is ignored. A payload may come in pieces: `bytes` of it now,
 * the rest by engram_journal_more. On failure (IO: disk full, the message says so) the file holds
 * what it held before. */
enum engram_status engram_journal_append(struct engram_journal *journal,
                                         const struct engram_record *record, const void *payload,
                                         size_t bytes);
enum engram_status engram_journal_more(struct engram_journal *journal, const void *payload,
                                       size_t bytes);

/* Record i counts no longer, now and for whoever opens the file after the next commit; those after
 * it move up. IO. */
enum engram_status engram_journal_drop(struct engram_journal *journal, size_t i);

/* Makes everything appended so far survive a loss of power, and refreshes the heartbeat. */
enum engram_status engram_journal_commit(struct engram_journal *journal);

/* From now on failures are not logged: the job failed already, and said so. */
void engram_journal_quiet(struct engram_journal *journal);
bool engram_journal_is_quiet(const struct engram_journal *journal);

/* Refreshes the heartbeat; cheap enough for once a minute. */
void engram_journal_beat(struct engram_journal *journal);

/* Bytes of records that count. */
uint64_t engram_journal_bytes(const struct engram_journal *journal);

/* Closes it; `remove`: the job is done, or nothing in it is worth keeping. NULL is allowed. What
 * was appended and not committed may be lost. */
void engram_journal_close(struct engram_journal *journal, bool remove);

#endif
