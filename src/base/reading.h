/* What threads are reading at the moment through a library that may crash on it, or never come
 * back. A program's signal handler can look here for what to tell the user; the libraries only
 * write it down. */
#ifndef ENGRAM_BASE_READING_H
#define ENGRAM_BASE_READING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct engram_reading {
    const char *file; /* NULL: nothing is being read; stays valid until engram_reading_end */
    char object[256]; /* the dataset or group; "" while it is none in particular */
    uint64_t bytes;   /* that the present call may have to go through, beside the file's own */
};

/* Says what is read from here on; `object` NULL: the file as a whole. What was said before comes
 * back and belongs to engram_reading_end. */
struct engram_reading engram_reading_begin(const char *file, const char *object);
void engram_reading_end(const struct engram_reading *before);

/* engram_reading_begin until the end of the scope. To be declared before whatever else the scope
 * cleans up: closing is reading, too. */
#define ENGRAM_READING(file, object)                                                               \
    __attribute__((cleanup(engram_reading_cleanup),                                                \
                   unused)) struct engram_reading engram_reading_ =                                \
        engram_reading_begin(file, object)
static inline void engram_reading_cleanup(struct engram_reading *before)
{
    engram_reading_end(before);
}

/* The next call, on another object: to be called often, it is the sign of life. Does nothing while
 * nothing is being read. */
void engram_reading_at(const char *object);

/* A sign of life, and how many bytes the next call asks for. */
void engram_reading_bytes(uint64_t bytes);

/* A file of that size was opened: calls may take the longer the larger the largest one is. */
void engram_reading_opened(uint64_t bytes);

/* ---- for programs, and their signal handlers */

/* `call` runs on every thread that reads, before it does so for the first time: a signal handler's
 * own stack belongs to one thread. */
void engram_reading_on_new_thread(void (*call)(void));

struct engram_reader {
    struct engram_reading now;
    volatile unsigned long steps; /* signs of life so far */
    bool known;                   /* it has read before */
    clockid_t clock;              /* the thread's processor time */
};

/* The calling thread's. */
const struct engram_reader *engram_reading_self(void);

/* The i-th thread that reads; NULL: none has that place. What it points to may change at any time,
 * and is gone when the thread ends, which it does not while it reads. */
#define ENGRAM_READERS 16
const struct engram_reader *engram_reading_reader(int i);

/* The file that a thread began to read last; "" before any. Memory that a library damaged may show
 * at any later moment. */
const char *engram_reading_last_file(void);

/* The size of the largest file that was opened. */
uint64_t engram_reading_largest_file(void);

#endif
