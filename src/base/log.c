#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 3, 0))) static void log_va(const struct engram_log *log,
                                                         enum engram_log_level level,
                                                         const char *format, va_list arguments)
{
    char message[1024];

    if (log == NULL || log->call == NULL) {
        return;
    }
    if (vsnprintf(message, sizeof message, format, arguments) < 0) {
        return;
    }
    log->call(log->context, level, message);
}

void engram_logf(const struct engram_log *log, enum engram_log_level level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_va(log, level, format, arguments);
    va_end(arguments);
}

enum engram_status engram_fail(const struct engram_log *log, enum engram_status status,
                               const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_va(log, ENGRAM_LOG_ERROR, format, arguments);
    va_end(arguments);
    return status;
}

enum engram_status engram_status_of_errno(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return ENGRAM_ERR_NO_INPUT;
    case EACCES:
    case EPERM:
    case EROFS:
        return ENGRAM_ERR_PERMISSION;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return ENGRAM_ERR_RESOURCE;
    default:
        return ENGRAM_ERR_IO;
    }
}
