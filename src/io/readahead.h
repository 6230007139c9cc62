/* A thread that does one thing at a time while its owner does another: reading ahead. */
#ifndef ENGRAM_IO_READAHEAD_H
#define ENGRAM_IO_READAHEAD_H

struct engram_readahead;

/* Starts the thread, which waits for work. NULL when there is no memory or no thread for it: then
 * everything is read when it is needed. */
struct engram_readahead *engram_readahead_create(void);

/* Has the thread call work(context) once. It must be idle: new, or waited for. What the caller
 * wrote before is seen by `work`, and what `work` wrote by the caller after engram_readahead_wait.
 */
void engram_readahead_start(struct engram_readahead *ahead, void (*work)(void *), void *context);

/* Waits until the thread is idle. */
void engram_readahead_wait(struct engram_readahead *ahead);

/* Waits and ends the thread. NULL is allowed. */
void engram_readahead_free(struct engram_readahead *ahead);

#endif
