#define _GNU_SOURCE
#include "job/owner.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/hash.h"

/* Offsets of the fields; the checksum of all before it comes last. */
enum {
    HOST = 0,
    JOB = 256,
    PROCESS = 320,
    ID = 328,
    HEARTBEAT = 336,
    COMMITTED = 344,
    RESTART = 352,
    SUM = ENGRAM_OWNER_BYTES - 8
};

void engram_owner_self(struct engram_owner *owner)
{
    const char *job = getenv("SLURM_JOB_ID");
    const char *restart = getenv("SLURM_RESTART_COUNT");

    *owner =
        (struct engram_owner){.process = (uint64_t)getpid(), .heartbeat = (uint64_t)time(NULL)};
    owner->restart = restart != NULL ? strtoull(restart, NULL, 10) : 0;
    if (gethostname(owner->host, sizeof owner->host - 1) != 0) {
        (void)snprintf(owner->host, sizeof owner->host, "?");
    }
    (void)snprintf(owner->job, sizeof owner->job, "%s", job != NULL ? job : "");
    if (getrandom(&owner->id, sizeof owner->id, GRND_NONBLOCK) != (ssize_t)sizeof owner->id) {
        owner->id = engram_clock_ns() ^ owner->process << 32;
    }
}

void engram_owner_encode(const struct engram_owner *owner, unsigned char bytes[ENGRAM_OWNER_BYTES])
{
    memset(bytes, 0, ENGRAM_OWNER_BYTES);
    memcpy(bytes + HOST, owner->host, sizeof owner->host);
    memcpy(bytes + JOB, owner->job, sizeof owner->job);
    engram_store64le(bytes + PROCESS, owner->process);
    engram_store64le(bytes + ID, owner->id);
    engram_store64le(bytes + HEARTBEAT, owner->heartbeat);
    engram_store64le(bytes + COMMITTED, owner->committed);
    engram_store64le(bytes + RESTART, owner->restart);
    engram_store64le(bytes + SUM, engram_hash64(bytes, SUM, 0));
}

bool engram_owner_decode(const unsigned char bytes[ENGRAM_OWNER_BYTES], struct engram_owner *owner)
{
    if (engram_load64le(bytes + SUM) != engram_hash64(bytes, SUM, 0)) {
        return false;
    }
    memcpy(owner->host, bytes + HOST, sizeof owner->host);
    memcpy(owner->job, bytes + JOB, sizeof owner->job);
    owner->host[sizeof owner->host - 1] = '\0';
    owner->job[sizeof owner->job - 1] = '\0';
    owner->process = engram_load64le(bytes + PROCESS);
    owner->id = engram_load64le(bytes + ID);
    owner->heartbeat = engram_load64le(bytes + HEARTBEAT);
    owner->committed = engram_load64le(bytes + COMMITTED);
    owner->restart = engram_load64le(bytes + RESTART);
    return true;
}

bool engram_owner_lives(const struct engram_owner *owner, bool locked, unsigned silent_seconds)
{
    struct engram_owner self;
    engram_owner_self(&self);
    if (owner->heartbeat == 0 || (owner->job[0] != '\0' && strcmp(owner->job, self.job) == 0 &&
                                  owner->restart < self.restart)) {
        return false;
    }
    if (strcmp(owner->host, self.host) == 0) {
        /* On one host the lock tells, and without locks the process table. */
        return !locked && owner->process != self.process &&
               (kill((pid_t)owner->process, 0) == 0 || errno == EPERM);
    }
    /* Clocks of hosts differ a little, and the future is not long ago. */
    return self.heartbeat < owner->heartbeat + silent_seconds;
}

enum engram_lock engram_owner_lock(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        return ENGRAM_LOCK_HELD;
    }
    return errno == EWOULDBLOCK ? ENGRAM_LOCK_TAKEN : ENGRAM_LOCK_NONE;
}
