/* What a thread is reading at the moment through a library that may crash on it, or never come
 * back. A program's signal handler can look here for what to tell the user; the libraries only
 * write it down. Every thread has its own. */
#ifndef ENGRAM_BASE_READING_H
#define ENGRAM_BASE_READING_H

#include <stddef.h>
#include <stdint.h>

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

/* For signal handlers: what the thread is reading, how many signs of life it has given, and the
 * size of the largest file that it opened. */
const struct engram_reading *engram_reading_now(void);
unsigned long engram_reading_steps(void);
uint64_t engram_reading_largest_file(void);

#endif
