#define _GNU_SOURCE
#include "base/reading.h"

#include <string.h>

static _Thread_local struct engram_reading now;
static _Thread_local volatile unsigned long steps;
static _Thread_local uint64_t largest_file;

static void set_object(const char *object)
{
    size_t length = object == NULL ? 0 : strnlen(object, sizeof now.object - 1);

    if (length > 0) {
        memcpy(now.object, object, length);
    }
    now.object[length] = '\0';
}

struct engram_reading engram_reading_begin(const char *file, const char *object)
{
    struct engram_reading before = now;

    set_object(object);
    now.bytes = 0;
    now.file = file;
    steps++;
    return before;
}

void engram_reading_end(const struct engram_reading *before)
{
    now = *before;
    steps++;
}

void engram_reading_at(const char *object)
{
    if (now.file != NULL) {
        set_object(object);
        steps++;
    }
}

void engram_reading_bytes(uint64_t bytes)
{
    now.bytes = bytes;
    steps++;
}

void engram_reading_opened(uint64_t bytes)
{
    largest_file = bytes > largest_file ? bytes : largest_file;
}

const struct engram_reading *engram_reading_now(void)
{
    return &now;
}

unsigned long engram_reading_steps(void)
{
    return steps;
}

uint64_t engram_reading_largest_file(void)
{
    return largest_file;
}
