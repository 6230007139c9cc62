/* Messages to the caller's log callback. */
#ifndef ENGRAM_BASE_LOG_H
#define ENGRAM_BASE_LOG_H

#include "engram/status.h"

/* Formats one message of at most 1023 bytes (longer ones are cut) and hands it to `log`; NULL or
 * an empty `log` drops it. Control characters, which names of files and datasets may hold, become
 * \n, \t or \xNN: a message is one line, whatever it speaks of. Allocates nothing; keeps errno. */
__attribute__((format(printf, 3, 4))) void engram_logf(const struct engram_log *log,
                                                       enum engram_log_level level,
                                                       const char *format, ...);

/* Logs at error level and gives `status` back: `return engram_fail(log, STATUS, "...", ...)`. A
 * macro, so that compilers and analysers see that what comes back is not ENGRAM_OK. */
#define engram_fail(log, status, ...)                                                              \
    (engram_logf(log, ENGRAM_LOG_ERROR, __VA_ARGS__), (enum engram_status)(status))

/* The status that fits an errno of open, read, write and the like: NO_INPUT, PERMISSION,
 * RESOURCE, else IO. */
enum engram_status engram_status_of_errno(int error);

#endif
