#define _GNU_SOURCE
#include "base/reading.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static _Thread_local struct engram_reader self;
static _Atomic(struct engram_reader *) readers[ENGRAM_READERS];
static _Atomic uint64_t largest_file;

/* One thread more than there are places is not watched. */
static void exchange(struct engram_reader *from, struct engram_reader *to)
{
    for (int i = 0; i < ENGRAM_READERS; i++) {
        struct engram_reader *expected = from;
        if (atomic_compare_exchange_strong(&readers[i], &expected, to)) {
            return;
        }
    }
}

static void set_object(const char *object)
{
    size_t length = object == NULL ? 0 : strnlen(object, sizeof self.now.object - 1);

    if (length > 0) {
        memcpy(self.now.object, object, length);
    }
    self.now.object[length] = '\0';
}

struct engram_reading engram_reading_begin(const char *file, const char *object)
{
    struct engram_reading before = self.now;

    set_object(object);
    self.now.bytes = 0;
    self.now.file = file;
    self.steps++;
    if (before.file == NULL && pthread_getcpuclockid(pthread_self(), &self.clock) == 0) {
        exchange(NULL, &self);
    }
    return before;
}

void engram_reading_end(const struct engram_reading *before)
{
    if (before->file == NULL) {
        exchange(&self, NULL);
    }
    self.now = *before;
    self.steps++;
}

void engram_reading_at(const char *object)
{
    if (self.now.file != NULL) {
        set_object(object);
        self.steps++;
    }
}

void engram_reading_bytes(uint64_t bytes)
{
    self.now.bytes = bytes;
    self.steps++;
}

void engram_reading_opened(uint64_t bytes)
{
    uint64_t largest = atomic_load(&largest_file);

    while (bytes > largest && !atomic_compare_exchange_weak(&largest_file, &largest, bytes)) {
    }
}

const struct engram_reader *engram_reading_self(void)
{
    return &self;
}

const struct engram_reader *engram_reading_reader(int i)
{
    return atomic_load(&readers[i]);
}

uint64_t engram_reading_largest_file(void)
{
    return atomic_load(&largest_file);
}
