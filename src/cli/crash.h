/* When a library crashes, hangs on a damaged file, or gives up: a message and an exit code instead
 * of a signal.
 *
 * libhdf5 does both on some malformed files, while it lists them and also later, while data is
 * read. A child process that describes the file first would see only the listing; this sees
 * everything, and costs an ordinary run two system calls. */
#ifndef ENGRAM_CLI_CRASH_H
#define ENGRAM_CLI_CRASH_H

#include <stdbool.h>

#include "cli/messages.h"

/* Seconds of processor time that one call may take at least. */
#define ENGRAM_CLI_PATIENCE 4.0

/* Installs handlers for SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, and a timer that looks at
 * the processor time of all threads that read. From then on a crash, or a call that takes too much
 * processor time without a sign of life (base/reading.h), removes unfinished files
 * (base/leftover.h), says what was read, and ends the process with 65; a crash while nothing is
 * read ends it with 70, but 65 for memory that is found overwritten after a file was read. Waiting
 * for slow storage, or being stopped, is no hang: only processor time counts, and the larger a
 * file, the more a call may take. Does nothing when somebody else handles these signals already: a
 * sanitizer reports more. Threads that read get a stack for the handlers. `messages` for the
 * progress bar; stays valid. `patience`: ENGRAM_CLI_PATIENCE, or less in tests. */
void engram_cli_catch_crashes(struct engram_cli_messages *messages, double patience);

/* Whether HDF5 is making itself ready: what it does without memory then is crash, which is 71. */
void engram_cli_starting(bool now);

/* A library may also end the process in good order, as OpenMP does when it gets no thread, and HDF5
 * in places where it gets no memory. Before engram_cli_may_exit that means: unfinished files are
 * removed, a message, and 71. Comes before any other library registers what it does at exit. */
void engram_cli_catch_exits(struct engram_cli_messages *messages);
void engram_cli_may_exit(void);

#endif
