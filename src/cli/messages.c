#define _GNU_SOURCE

#include "cli/messages.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* Back to the first column and erase the line (ECMA-48 EL). */
static const char CLEAR_LINE[] = "\r\033[K";

/* Longer messages are cut; engram_logf cuts at 1023 bytes already. */
enum { MESSAGE_BYTES = 1023 };
/* Prefix, escaped message and newline. */
enum { LINE_BYTES = 34 + ENGRAM_CLI_ESCAPE_FACTOR * MESSAGE_BYTES };

static bool silent;

void engram_cli_be_silent(void)
{
    silent = true;
}

bool engram_cli_write_stderr(const char *text, size_t size)
{
    if (silent) {
        return true;
    }
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, text, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        text += written;
        size -= (size_t)written;
    }
    return true;
}

size_t engram_cli_utf8(const unsigned char *text, size_t length, uint32_t *point)
{
    static const uint32_t SMALLEST[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size;

    if (text[0] < 0x80) {
        *point = text[0];
        return 1;
    }
    if (text[0] >= 0xc2 && text[0] <= 0xdf) {
        size = 2;
    } else if ((text[0] & 0xf0) == 0xe0) {
        size = 3;
    } else if (text[0] >= 0xf0 && text[0] <= 0xf4) {
        size = 4;
    } else {
        return 0;
    }
    if (size > length) {
        return 0;
    }
    uint32_t value = text[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (text[i] & 0x3fu);
    }
    if (value < SMALLEST[size] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
        return 0;
    }
    *point = value;
    return size;
}

/* Characters that move the cursor, end the line, or make text read in another order than it is
 * stored (a file name could pretend to be another one). */
static bool is_unsafe(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == 0x200e || point == 0x200f ||
           (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

/* One byte as an escape of 2 or 4 characters. */
static size_t escape_byte(char out[4], unsigned char byte)
{
    static const char DIGITS[] = "0123456789abcdef";

    out[0] = '\\';
    if (byte == '\n' || byte == '\t') {
        out[1] = byte == '\n' ? 'n' : 't';
        return 2;
    }
    out[1] = 'x';
    out[2] = DIGITS[byte >> 4];
    out[3] = DIGITS[byte & 15];
    return 4;
}

/* Takes one character (or one byte that is none) off the text; gives its safe form, at most
 * 4 x 4 bytes, in `out`. */
static size_t escape_next(char out[16], const unsigned char **text, size_t *length)
{
    uint32_t point = 0;
    size_t size = engram_cli_utf8(*text, *length, &point);
    size_t written = 0;

    if (size != 0 && !is_unsafe(point)) {
        memcpy(out, *text, size);
        written = size;
    } else {
        size = size == 0 ? 1 : size;
        for (size_t i = 0; i < size; i++) {
            written += escape_byte(out + written, (*text)[i]);
        }
    }
    *text += size;
    *length -= size;
    return written;
}

size_t engram_cli_escape(char *out, size_t size, const char *text, size_t length)
{
    const unsigned char *rest = (const unsigned char *)text;
    size_t used = 0;

    while (length > 0) {
        char piece[16];
        size_t bytes = escape_next(piece, &rest, &length);
        if (bytes >= size - used) {
            break;
        }
        memcpy(out + used, piece, bytes);
        used += bytes;
    }
    out[used] = '\0';
    return used;
}

void engram_cli_print_escaped(FILE *stream, const char *text, size_t length)
{
    const unsigned char *rest = (const unsigned char *)text;

    while (length > 0) {
        char piece[16];
        size_t bytes = escape_next(piece, &rest, &length);
        fwrite(piece, 1, bytes, stream);
    }
}

void engram_cli_clear_bar(struct engram_cli_messages *messages)
{
    if (messages->bar_drawn) {
        engram_cli_write_stderr(CLEAR_LINE, sizeof CLEAR_LINE - 1);
        messages->bar_drawn = false;
    }
}

static void write_line(struct engram_cli_messages *messages, const char *prefix,
                       const char *message)
{
    char line[sizeof CLEAR_LINE + LINE_BYTES];
    char *end = line;
    int saved_errno = errno;

    if (messages != NULL && messages->bar_drawn) {
        end = stpcpy(end, CLEAR_LINE);
        messages->bar_drawn = false;
    }
    end = stpcpy(end, prefix);
    end += engram_cli_escape(end, sizeof line - 1 - (size_t)(end - line), message,
                             strnlen(message, MESSAGE_BYTES));
    *end++ = '\n';
    engram_cli_write_stderr(line, (size_t)(end - line));
    errno = saved_errno;
}

void engram_cli_log(void *context, enum engram_log_level level, const char *message)
{
    struct engram_cli_messages *messages = context;
    int verbosity = messages != NULL ? messages->verbosity : 0;

    if ((int)level <= verbosity + (int)ENGRAM_LOG_WARNING) {
        write_line(
            messages,
            level == ENGRAM_LOG_WARNING ? "engram-batch: warning: " : "engram-batch: ", message);
    }
}

void engram_cli_say(struct engram_cli_messages *messages, const char *message)
{
    if (messages->verbosity >= 0) {
        write_line(messages, "engram-batch: ", message);
    }
}

struct engram_log engram_cli_log_to(struct engram_cli_messages *messages)
{
    struct engram_log log = {engram_cli_log, messages};
    return log;
}
