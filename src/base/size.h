/* Size arithmetic that cannot wrap. */
#ifndef ENGRAM_BASE_SIZE_H
#define ENGRAM_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* *product = a * b; false, and *product untouched, when it does not fit. */
static inline bool engram_size_mul(size_t a, size_t b, size_t *product)
{
    if (b != 0 && a > (size_t)-1 / b) {
        return false;
    }
    *product = a * b;
    return true;
}

/* *sum = a + b; false, and *sum untouched, when it does not fit. */
static inline bool engram_size_add(size_t a, size_t b, size_t *sum)
{
    if (a > (size_t)-1 - b) {
        return false;
    }
    *sum = a + b;
    return true;
}

/* a * b and a + b for estimates: UINT64_MAX when they do not fit, and so whatever is made of them.
 */
static inline uint64_t engram_saturating_mul(uint64_t a, uint64_t b)
{
    return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

static inline uint64_t engram_saturating_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* Rounds up to a multiple of `grain`, a power of two; the caller knows that it fits. */
static inline size_t engram_size_round_up(size_t value, size_t grain)
{
    return (value + grain - 1) & ~(grain - 1);
}

#endif
