#define _GNU_SOURCE
#include "job/journal_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/hash.h"
#include "base/leftover.h"
#include "base/log.h"
#include "io/tempfile.h"

#define FORMAT_VERSION 2 /* 1: checksums did not know where a record is */
static const unsigned char MAGIC[8] = {'E', 'N', 'G', 'R', 'A', 'M', 'J', '\n'};

enum engram_status engram_journal_failure(const struct engram_journal *journal, const char *what)
{
    int error = errno;
    if (engram_errno_is_full(error)) {
        return engram_fail(&journal->log, ENGRAM_ERR_IO,
                           "%s: cannot be written: %s; make room and run the same command again",
                           journal->path, strerror(error));
    }
    return engram_fail(&journal->log, ENGRAM_ERR_IO, "%s: %s: %s", journal->path, what,
                       strerror(error));
}

static enum engram_status no_memory(const struct engram_log *log)
{
    return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for the checkpoint");
}

/* ---- header and owner */

bool engram_journal_write_owner(struct engram_journal *journal, int fd)
{
    unsigned char bytes[ENGRAM_OWNER_BYTES];
    journal->owner.heartbeat = (uint64_t)time(NULL);
    engram_owner_encode(&journal->owner, bytes);
    return engram_write_at(fd, bytes, sizeof bytes, OWNER);
}

bool engram_journal_write_header(struct engram_journal *journal, int fd)
{
    unsigned char bytes[OWNER] = {0};
    size_t length = strlen(journal->identity);
    memcpy(bytes, MAGIC, sizeof MAGIC);
    engram_store64le(bytes + 8, FORMAT_VERSION);
    engram_store64le(bytes + 16, length);
    memcpy(bytes + IDENTITY, journal->identity, length);
    engram_store64le(bytes + HEADER_SUM, engram_hash64(bytes, HEADER_SUM, 0));
    return engram_journal_write_owner(journal, fd) && engram_write_at(fd, bytes, sizeof bytes, 0);
}

void engram_journal_release(struct engram_journal *journal)
{
    unsigned char bytes[ENGRAM_OWNER_BYTES];
    journal->owner.heartbeat = 0;
    engram_owner_encode(&journal->owner, bytes);
    (void)engram_write_at(journal->fd, bytes, sizeof bytes, OWNER);
}

enum engram_status engram_journal_refuse(const struct engram_journal *journal, const char *why)
{
    return engram_fail(&journal->log, ENGRAM_ERR_CANT_CREATE,
                       "%s: %s; use --from-scratch to drop it, or name another OUTPUT",
                       journal->path, why);
}

/* Whether the header is one of ours and of this job. */
static enum engram_status check_header(const struct engram_journal *journal)
{
    unsigned char bytes[OWNER];
    if (!engram_read_at(journal->fd, bytes, sizeof bytes, 0)) {
        return engram_journal_failure(journal, "cannot be read");
    }
    if (memcmp(bytes, MAGIC, sizeof MAGIC) != 0) {
        return engram_journal_refuse(journal, "is no checkpoint of engram-batch");
    }
    if (engram_load64le(bytes + 8) != FORMAT_VERSION) {
        return engram_journal_refuse(journal, "is a checkpoint of another version of engram-batch");
    }
    uint64_t length = engram_load64le(bytes + 16);
    if (engram_load64le(bytes + HEADER_SUM) != engram_hash64(bytes, HEADER_SUM, 0) ||
        length > IDENTITY_MAX) {
        return engram_journal_is_damaged(journal);
    }
    if (length != strlen(journal->identity) ||
        memcmp(bytes + IDENTITY, journal->identity, length) != 0) {
        return engram_journal_refuse(journal,
                                     "is the checkpoint of a job with other options or inputs");
    }
    return ENGRAM_OK;
}

void engram_journal_sync_folder(const struct engram_journal *journal)
{
    char *copy = strdup(journal->path);
    int fd = copy == NULL ? -1 : open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
    free(copy);
}

/* ---- opening */

/* Whether the open file is still the one under its name: its owner may have removed it while we
 * waited for nothing. */
static bool still_there(const struct engram_journal *journal)
{
    struct stat opened;
    struct stat named;
    return fstat(journal->fd, &opened) == 0 && lstat(journal->path, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

static enum engram_status busy(const struct engram_journal *journal,
                               const struct engram_owner *owner, bool known)
{
    char who[512] = "another process";
    if (known) {
        (void)snprintf(who, sizeof who, "process %" PRIu64 " on %s%s%s", owner->process,
                       owner->host, owner->job[0] != '\0' ? ", job " : "", owner->job);
    }
    return engram_fail(&journal->log, ENGRAM_ERR_CANT_CREATE,
                       "%s: %s is at work on this OUTPUT; wait for it, or name another OUTPUT",
                       journal->path, who);
}

/* A process that was killed holds its locks until its memory is given back. */
static enum engram_lock lock_patiently(int fd)
{
    enum engram_lock lock = engram_owner_lock(fd);
    for (int tries = 0; lock == ENGRAM_LOCK_TAKEN && tries < 20; tries++) {
        const struct timespec pause = {.tv_nsec = 50L * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
        lock = engram_owner_lock(fd);
    }
    return lock;
}

/* The owner is written before the rest: whoever was killed in between left nothing. */
static bool header_is_blank(int fd)
{
    unsigned char bytes[OWNER];
    bool blank = engram_read_at(fd, bytes, sizeof bytes, 0);
    for (size_t i = 0; blank && i < sizeof bytes; i++) {
        blank = bytes[i] == 0;
    }
    return blank;
}

/* Opens and locks the file. `*fresh`: it is empty. */
static enum engram_status acquire(struct engram_journal *journal, bool create, bool *fresh)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        unsigned char bytes[ENGRAM_OWNER_BYTES];
        struct engram_owner owner;
        struct stat info;
        int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | (create ? O_CREAT : 0);
        journal->fd = open(journal->path, flags, 0600);
        if (journal->fd < 0) {
            enum engram_status status = errno == EACCES || errno == EPERM ? ENGRAM_ERR_PERMISSION
                                        : errno == ENOSPC || errno == EDQUOT || errno == EIO
                                            ? ENGRAM_ERR_IO
                                            : ENGRAM_ERR_CANT_CREATE;
            if (errno == ENOENT && !create) {
                return ENGRAM_OK;
            }
            return engram_fail(&journal->log, status, "%s: cannot be opened: %s", journal->path,
                               strerror(errno));
        }
        enum engram_lock lock = lock_patiently(journal->fd);
        if (fstat(journal->fd, &info) != 0) {
            return engram_journal_failure(journal, "cannot be looked at");
        }
        if (!S_ISREG(info.st_mode)) {
            return engram_journal_refuse(journal, "is no regular file");
        }
        if (engram_file_is_planted(&info, journal->path)) {
            return engram_fail(&journal->log, ENGRAM_ERR_CANT_CREATE,
                               "%s: belongs to another user; remove it, or name another OUTPUT",
                               journal->path);
        }
        bool known = info.st_size >= HEADER_BYTES &&
                     engram_read_at(journal->fd, bytes, sizeof bytes, OWNER) &&
                     engram_owner_decode(bytes, &owner);
        journal->owner.committed = known ? owner.committed : 0;
        if (lock == ENGRAM_LOCK_TAKEN) {
            return busy(journal, &owner, known);
        }
        if (still_there(journal)) {
            if (known &&
                engram_owner_lives(&owner, lock == ENGRAM_LOCK_HELD, ENGRAM_OWNER_SECONDS)) {
                return busy(journal, &owner, true);
            }
            *fresh = info.st_size < HEADER_BYTES ||
                     (info.st_size == HEADER_BYTES && header_is_blank(journal->fd));
            return ENGRAM_OK;
        }
        (void)close(journal->fd);
        journal->fd = -1;
    }
    return engram_journal_refuse(journal, "comes and goes");
}

static enum engram_status start(struct engram_journal *journal,
                                const struct engram_journal_options *options)
{
    bool fresh = false;
    enum engram_status status = acquire(journal, !options->existing_only, &fresh);
    if (status != ENGRAM_OK || journal->fd < 0) {
        return status;
    }
    if (!fresh && !options->from_scratch) {
        status = check_header(journal);
        if (status == ENGRAM_OK) {
            status = engram_journal_scan(journal);
        }
        if (status == ENGRAM_OK && !engram_journal_write_owner(journal, journal->fd)) {
            status = engram_journal_failure(journal, "cannot be written");
        }
        journal->owned = status == ENGRAM_OK;
        return status;
    }
    journal->end = HEADER_BYTES;
    journal->owned = true;
    journal->owner.committed = 0;
    engram_leftover_add(journal->path);
    if (ftruncate(journal->fd, 0) != 0 || !engram_journal_write_header(journal, journal->fd)) {
        status = engram_journal_failure(journal, "cannot be written");
        (void)unlink(journal->path);
        return status;
    }
    engram_journal_sync_folder(journal);
    return ENGRAM_OK;
}

enum engram_status engram_journal_open(const struct engram_journal_options *options,
                                       struct engram_journal **journal)
{
    struct engram_journal *opened = calloc(1, sizeof *opened);
    *journal = NULL;
    if (opened == NULL) {
        return no_memory(&options->log);
    }
    opened->fd = -1;
    opened->log = options->log;
    opened->block = malloc(BLOCK_BYTES);
    opened->identity = strdup(options->identity);
    if (asprintf(&opened->path, "%s" ENGRAM_JOURNAL_SUFFIX, options->output) < 0) {
        opened->path = NULL;
    }
    enum engram_status status = ENGRAM_OK;
    if (opened->block == NULL || opened->identity == NULL || opened->path == NULL) {
        status = no_memory(&options->log);
    } else if (strlen(opened->identity) > IDENTITY_MAX) {
        status = engram_fail(&options->log, ENGRAM_ERR_INTERNAL, "the job's identity is too long");
    } else {
        engram_owner_self(&opened->owner);
        status = start(opened, options);
    }
    if (status != ENGRAM_OK || opened->fd < 0) {
        engram_journal_close(opened, false);
        return status;
    }
    *journal = opened;
    return ENGRAM_OK;
}

/* ---- reading */

enum engram_status engram_journal_is_damaged(const struct engram_journal *journal)
{
    return engram_journal_refuse(journal, "is a damaged checkpoint");
}

size_t engram_journal_count(const struct engram_journal *journal)
{
    return journal->count;
}

const struct engram_record *engram_journal_record(const struct engram_journal *journal, size_t i)
{
    return &journal->records[i];
}

uint64_t engram_journal_bytes(const struct engram_journal *journal)
{
    return journal->useful;
}

enum engram_status engram_journal_read(const struct engram_journal *journal,
                                       const struct engram_record *record, uint64_t first,
                                       size_t bytes, void *to)
{
    if (first > record->bytes || bytes > record->bytes - first) {
        return engram_fail(&journal->log, ENGRAM_ERR_INTERNAL, "%s: a read past a record's end",
                           journal->path);
    }
    if (!engram_read_at(journal->fd, to, bytes, (off_t)(record->offset + first))) {
        return engram_journal_failure(journal, "cannot be read");
    }
    return ENGRAM_OK;
}

void engram_journal_close(struct engram_journal *journal, bool remove)
{
    if (journal == NULL) {
        return;
    }
    if (journal->fd >= 0) {
        if (remove) {
            (void)unlink(journal->path);
        } else if (journal->owned) {
            engram_journal_release(journal);
        }
        (void)close(journal->fd);
    }
    engram_leftover_done(journal->path);
    free(journal->records);
    free(journal->block);
    free(journal->identity);
    free(journal->path);
    free(journal);
}
