/* Status codes, the log callback and the attributes that all engram headers share.
 *
 * Every function that can fail returns `enum engram_status`. The function that finds a failure
 * tells the log callback, once, what it knows (file, dataset, row, errno); its callers only
 * forward the status. No engram library prints, exits, installs a signal handler or sets the
 * environment. */
#ifndef ENGRAM_STATUS_H
#define ENGRAM_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ENGRAM_API __attribute__((visibility("default")))
#define ENGRAM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define ENGRAM_API
#define ENGRAM_MUST_CHECK
#endif

/* Values are part of the ABI. `engram_status_exit_code` maps them to sysexits. */
enum engram_status {
    ENGRAM_OK = 0,
    ENGRAM_DIFFERENT = 1,       /* verify: the result differs from the independent scan */
    ENGRAM_ERR_USAGE = 2,       /* an argument or option is wrong or not supported */
    ENGRAM_ERR_DATA = 3,        /* the input is malformed, or its values break a stated limit */
    ENGRAM_ERR_NO_INPUT = 4,    /* a file or dataset does not exist */
    ENGRAM_ERR_PLUGIN = 5,      /* an HDF5 filter plugin is missing */
    ENGRAM_ERR_INTERNAL = 6,    /* a bug in engram */
    ENGRAM_ERR_RESOURCE = 7,    /* not enough memory, or threads cannot be started */
    ENGRAM_ERR_CANT_CREATE = 8, /* OUTPUT exists already or cannot be created */
    ENGRAM_ERR_IO = 9,          /* a read or write failed, the disk is full */
    ENGRAM_ERR_CANCELLED = 10,  /* the caller's cancel flag was raised */
    ENGRAM_ERR_PERMISSION = 11  /* the operating system refused access */
};

/* The enumerator's name ("ENGRAM_ERR_DATA"); "ENGRAM_ERR_UNKNOWN" for other values. Never NULL. */
ENGRAM_API const char *engram_status_name(enum engram_status status);

/* One lower-case phrase in English without a final stop. Never NULL. */
ENGRAM_API const char *engram_status_message(enum engram_status status);

/* Exit code after <sysexits.h>: 0, 1, 64, 65, 66, 69, 70, 71, 73, 74, 75, 77. */
ENGRAM_API int engram_status_exit_code(enum engram_status status);

/* Version of the library that is linked, as in <engram/version.h>. */
ENGRAM_API const char *engram_version(void);

enum engram_log_level {
    ENGRAM_LOG_ERROR = 0,
    ENGRAM_LOG_WARNING = 1,
    ENGRAM_LOG_INFO = 2,
    ENGRAM_LOG_DEBUG = 3
};

/* Receives one message: no newline, UTF-8 where the input is. `message` is valid during the call
 * only. Called by the thread that called into engram, never by a compute thread. */
typedef void (*engram_log_fn)(void *context, enum engram_log_level level, const char *message);

/* A log callback and its context; a NULL `call` drops all messages. */
struct engram_log {
    engram_log_fn call;
    void *context;
};

#ifdef __cplusplus
}
#endif

#endif
