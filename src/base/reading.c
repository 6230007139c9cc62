#define _GNU_SOURCE
#include "base/reading.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static _Thread_local struct engram_reader self;
static _Atomic(struct engram_reader *) readers[ENGRAM_READERS];
static _Atomic uint64_t largest_file;
static _Atomic(void (*)(void)) on_new_thread;
static atomic_flag last_file_busy = ATOMIC_FLAG_INIT;
static char last_file[512];

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

void engram_reading_on_new_thread(void (*call)(void))
{
    atomic_store(&on_new_thread, call);
}

static void introduce_thread(void)
{
    void (*call)(void) = atomic_load(&on_new_thread);

    self.known = true;
    if (call != NULL) {
        call();
    }
}

/* Of two threads that begin at the same moment one is as good as the other. */
static void keep_last_file(const char *file)
{
    if (!atomic_flag_test_and_set(&last_file_busy)) {
        size_t length = strnlen(file, sizeof last_file - 1);
        memcpy(last_file, file, length);
        last_file[length] = '\0';
        atomic_flag_clear(&last_file_busy);
    }
}

struct engram_reading engram_reading_begin(const char *file, const char *object)
{
    struct engram_reading before = self.now;

    if (!self.known) {
        introduce_thread();
    }
    if (file != before.file) {
        keep_last_file(file);
    }
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

const char *engram_reading_last_file(void)
{
    return last_file;
}

uint64_t engram_reading_largest_file(void)
{
    return atomic_load(&largest_file);
}
