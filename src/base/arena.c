#include "engram/arena.h"

#include "base/pages.h"
#include "base/size.h"

/* A program built with AddressSanitizer may have poisoned the pages although this library was not:
 * the address space must not stay poisoned for whoever gets it next. */
void __asan_unpoison_memory_region(void const volatile *address, size_t size) __attribute__((weak));

static const struct engram_arena EMPTY;

enum engram_status engram_arena_create(struct engram_arena *arena, size_t capacity)
{
    *arena = EMPTY;
    if (capacity == 0) {
        return ENGRAM_OK;
    }
    if (capacity > (size_t)-1 - (ENGRAM_ARENA_ALIGN - 1)) {
        return ENGRAM_ERR_RESOURCE;
    }
    capacity = engram_size_round_up(capacity, ENGRAM_ARENA_ALIGN);
    unsigned char *base = engram_pages_alloc(capacity);
    if (base == NULL) {
        return ENGRAM_ERR_RESOURCE;
    }
    ENGRAM_ARENA_POISON(base, capacity);
    arena->base = base;
    arena->capacity = capacity;
    return ENGRAM_OK;
}

void engram_arena_destroy(struct engram_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    if (arena->base != NULL && __asan_unpoison_memory_region != NULL) {
        __asan_unpoison_memory_region(arena->base, arena->capacity);
    }
    engram_pages_free(arena->base, arena->capacity);
    *arena = EMPTY;
}
