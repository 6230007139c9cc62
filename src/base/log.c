#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The longest message, and its terminator. */
#define MESSAGE_SIZE 1024

/* Copies `text` without control characters; cuts what does not fit, but no escape. Bytes above 0x7f
 * belong to UTF-8 and stay. */
static void escape(const char *text, char line[MESSAGE_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;

    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        bool control = byte < 0x20 || byte == 0x7f;
        bool letter = byte == '\n' || byte == '\t';
        size_t size = !control ? 1 : letter ? 2 : 4;
        if (size >= MESSAGE_SIZE - used) {
            break;
        }
        line[used] = '\\';
        if (!control) {
            line[used] = *text;
        } else if (letter) {
            line[used + 1] = byte == '\n' ? 'n' : 't';
        } else {
            line[used + 1] = 'x';
            line[used + 2] = digits[byte >> 4];
            line[used + 3] = digits[byte & 15];
        }
        used += size;
    }
    line[used] = '\0';
}

void engram_logf(const struct engram_log *log, enum engram_log_level level, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    char line[MESSAGE_SIZE];
    va_list arguments;
    int saved_errno = errno;

    if (log == NULL || log->call == NULL) {
        return;
    }
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length >= 0) {
        escape(message, line);
        log->call(log->context, level, line);
    }
    errno = saved_errno;
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
