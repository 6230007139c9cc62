/* Monotonic time. */
#ifndef ENGRAM_BASE_CLOCK_H
#define ENGRAM_BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds since some fixed moment. Allocates nothing. */
uint64_t engram_clock_ns(void);

#endif
