/* Who writes a file: a lock where the file system has locks, and a record inside the file where it
 * has none, or has locks that other hosts do not see. */
#ifndef ENGRAM_JOB_OWNER_H
#define ENGRAM_JOB_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#define ENGRAM_OWNER_BYTES 512

struct engram_owner {
    char host[256];
    char job[64];       /* SLURM_JOB_ID or the like; "" without */
    uint64_t process;   /* number of the process on its host */
    uint64_t id;        /* random: a process number may come again */
    uint64_t restart;   /* how often the scheduler started the job again */
    uint64_t heartbeat; /* seconds since 1970; 0: the owner has finished */
    uint64_t committed; /* bytes of the file that were synced: damage before this is no torn tail */
};

/* This process, now. */
void engram_owner_self(struct engram_owner *owner);

void engram_owner_encode(const struct engram_owner *owner, unsigned char bytes[ENGRAM_OWNER_BYTES]);

/* False when the bytes are no owner record: none was written yet, or only half of one. */
bool engram_owner_decode(const unsigned char bytes[ENGRAM_OWNER_BYTES], struct engram_owner *owner);

/* Whether the owner of a file may still be at work. On another host its heartbeat tells, or that
 * the scheduler has started the same job again since then. `locked`: we hold a lock that works at
 * least on this host. */
bool engram_owner_lives(const struct engram_owner *owner, bool locked, unsigned silent_seconds);

enum engram_lock { ENGRAM_LOCK_HELD, ENGRAM_LOCK_TAKEN, ENGRAM_LOCK_NONE };

/* Tries to lock an open file for as long as it is open: ours now, somebody else's, or a file system
 * without locks. */
enum engram_lock engram_owner_lock(int fd);

#endif
