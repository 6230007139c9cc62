/* The arena: scratch memory for hot functions, without malloc.
 *
 *      base                     used = mark                capacity
 *       |  a  |pad|    b    |pad|  free ............... |
 *
 * An allocation moves `used` up, a rewind moves it back: a few instructions, no lock, no atomic.
 * Every allocation starts on a multiple of 64 bytes (a cache line, the widest vector register).
 *
 * Meant for short-lived, predictable memory of one thread: one arena per thread, rewound after
 * each iteration. Not for memory that is shared, freed in another order, or outlives the
 * iteration. No function here is safe to call on one arena from two threads at a time.
 *
 * Memory is not cleared: it is zero only until the first rewind. Under AddressSanitizer everything
 * past the mark and the padding between allocations is poisoned, so a use after a rewind, and an
 * overrun of memory whose size is no multiple of 64, are reported. */
#ifndef ENGRAM_ARENA_H
#define ENGRAM_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "engram/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ENGRAM_ARENA_ALIGN ((size_t)64)

#if defined(__SANITIZE_ADDRESS__)
#define ENGRAM_ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ENGRAM_ARENA_ASAN 1
#endif
#endif
#ifdef ENGRAM_ARENA_ASAN
/* As in <sanitizer/asan_interface.h>, which not every installation has. */
void __asan_poison_memory_region(void const volatile *address, size_t size);
void __asan_unpoison_memory_region(void const volatile *address, size_t size);
#define ENGRAM_ARENA_POISON(address, size) __asan_poison_memory_region((address), (size))
#define ENGRAM_ARENA_UNPOISON(address, size) __asan_unpoison_memory_region((address), (size))
#else
#define ENGRAM_ARENA_POISON(address, size) ((void)(address), (void)(size))
#define ENGRAM_ARENA_UNPOISON(address, size) ((void)(address), (void)(size))
#endif

/* Owned by the caller, to be read but not written. All zero is a valid arena without memory. */
struct engram_arena {
    unsigned char *base; /* page-aligned */
    size_t used;         /* bytes below the mark; a multiple of 64 */
    size_t capacity;     /* a multiple of 64 */
    size_t peak;         /* largest `used` seen by a rewind: see engram_arena_high_water */
    uint64_t failures;   /* requests refused */
};

/* Gives `arena` at least `capacity` bytes (rounded up to a multiple of 64; 0: none at all, every
 * request is refused). The memory comes page-aligned and zeroed from the system, large arenas with
 * huge pages advised; each page finds its place in memory when it is first touched, so touch it
 * from the thread that will use it.
 * Errors: RESOURCE, and `*arena` is then an arena without memory. */
ENGRAM_API ENGRAM_MUST_CHECK enum engram_status engram_arena_create(struct engram_arena *arena,
                                                                    size_t capacity);

/* Gives the memory back; the arena is all zero afterwards. NULL and an all-zero arena are allowed.
 */
ENGRAM_API void engram_arena_destroy(struct engram_arena *arena);

/* `size` bytes on a multiple of 64, or NULL (counted in `failures`) when they do not fit. Size 0
 * gives a pointer of its own, to nothing. Valid until the arena is rewound below it or destroyed.
 */
ENGRAM_MUST_CHECK static inline void *engram_arena_alloc(struct engram_arena *arena, size_t size)
{
    /* Both are multiples of 64: what fits, fits rounded up as well, and nothing can wrap. */
    size_t room = arena->capacity - arena->used;
    size_t wanted = size + (size == 0);
    if (__builtin_expect(wanted > room, 0)) {
        arena->failures++;
        return NULL;
    }
    unsigned char *memory = arena->base + arena->used;
    arena->used += (wanted + (ENGRAM_ARENA_ALIGN - 1)) & ~(ENGRAM_ARENA_ALIGN - 1);
    ENGRAM_ARENA_UNPOISON(memory, size);
    return __builtin_assume_aligned(memory, 64);
}

/* `count` elements of `size` bytes; NULL (counted) also when the product does not fit a size_t. */
ENGRAM_MUST_CHECK static inline void *engram_arena_alloc_array(struct engram_arena *arena,
                                                               size_t count, size_t size)
{
    if (size != 0 && count > (size_t)-1 / size) {
        arena->failures++;
        return NULL;
    }
    return engram_arena_alloc(arena, count * size);
}

/* `count` objects of a type that needs no more than 64-byte alignment, as a typed pointer:
 *     float *scores = ENGRAM_ARENA_NEW(&arena, float, dim); */
#define ENGRAM_ARENA_NEW(arena, type, count)                                                       \
    ((type *)engram_arena_alloc_array((arena), (count), sizeof(type)))

/* A place to go back to. Marks nest: go back to the youngest first. */
static inline size_t engram_arena_mark(const struct engram_arena *arena)
{
    return arena->used;
}

/* Frees everything allocated since `mark` was taken. A mark that lies above the present one, left
 * over from a younger scope, changes nothing. */
static inline void engram_arena_rewind(struct engram_arena *arena, size_t mark)
{
    if (arena->used > arena->peak) {
        arena->peak = arena->used;
    }
    if (mark < arena->used) {
        ENGRAM_ARENA_POISON(arena->base + mark, arena->used - mark);
        arena->used = mark;
    }
}

/* Frees everything. The high-water mark and the failure count stay. */
static inline void engram_arena_reset(struct engram_arena *arena)
{
    engram_arena_rewind(arena, 0);
}

/* The most bytes that were ever in use at one time, padding included. */
static inline size_t engram_arena_high_water(const struct engram_arena *arena)
{
    return arena->used > arena->peak ? arena->used : arena->peak;
}

/* Scope guard: what is allocated after it is freed where the enclosing scope ends, on whatever
 * path (return, break, goto).
 *     ENGRAM_ARENA_SCOPE(&arena);
 *     float *row = ENGRAM_ARENA_NEW(&arena, float, dim); */
#define ENGRAM_ARENA_SCOPE(arena) ENGRAM_ARENA_SCOPE_EXPAND(arena, __LINE__)
#define ENGRAM_ARENA_SCOPE_EXPAND(arena, line) ENGRAM_ARENA_SCOPE_AT(arena, line)
#define ENGRAM_ARENA_SCOPE_AT(arena, line)                                                         \
    __attribute__((cleanup(engram_arena_scope_end),                                                \
                   unused)) struct engram_arena_scope engram_scope_at_##line =                     \
        engram_arena_scope_begin(arena)

struct engram_arena_scope {
    struct engram_arena *arena;
    size_t mark;
};

static inline struct engram_arena_scope engram_arena_scope_begin(struct engram_arena *arena)
{
    struct engram_arena_scope scope = {arena, engram_arena_mark(arena)};
    return scope;
}

static inline void engram_arena_scope_end(struct engram_arena_scope *scope)
{
    engram_arena_rewind(scope->arena, scope->mark);
}

/* ---- scratch: where the memory of one iteration comes from
 *
 * A request is served by the first of these levels that has room for it. */
enum engram_scratch_level {
    ENGRAM_SCRATCH_CALLER = 0, /* a buffer that the caller provides */
    ENGRAM_SCRATCH_ARENA = 1,  /* the thread's arena */
    ENGRAM_SCRATCH_STACK = 2,  /* 1 KiB inside the struct, that is on the caller's stack */
    ENGRAM_SCRATCH_REFUSED = 3 /* none: NULL, and the caller fails gracefully */
};

#define ENGRAM_SCRATCH_LEVELS 4
#define ENGRAM_SCRATCH_STACK_SIZE ((size_t)1024)

/* An automatic variable of the function that uses it. Not to be copied while in use. */
struct engram_scratch {
    struct engram_arena *arena; /* or NULL */
    size_t mark;                /* of the arena, at begin */
    /* The caller's buffer and `stack`, each as an arena of its own: nothing is ever mapped. */
    struct engram_arena caller;
    struct engram_arena reserve;
    uint64_t served[ENGRAM_SCRATCH_LEVELS]; /* requests by level; still there after end */
    __attribute__((aligned(64))) unsigned char stack[ENGRAM_SCRATCH_STACK_SIZE];
};

/* Starts an iteration with all levels empty and all counts zero. `buffer` is borrowed until
 * engram_scratch_end; what lies before its first and past its last multiple of 64 bytes is not
 * used. `arena` and `buffer` may be NULL. */
static inline void engram_scratch_begin(struct engram_scratch *scratch, struct engram_arena *arena,
                                        void *buffer, size_t buffer_size)
{
    size_t skip = (size_t)(-(uintptr_t)buffer & (ENGRAM_ARENA_ALIGN - 1));
    struct engram_arena none = {NULL, 0, 0, 0, 0};

    scratch->arena = arena;
    scratch->mark = arena == NULL ? 0 : engram_arena_mark(arena);
    scratch->caller = none;
    if (buffer != NULL && buffer_size > skip) {
        scratch->caller.base = (unsigned char *)buffer + skip;
        scratch->caller.capacity = (buffer_size - skip) & ~(ENGRAM_ARENA_ALIGN - 1);
    }
    scratch->reserve = none;
    scratch->reserve.base = scratch->stack;
    scratch->reserve.capacity = ENGRAM_SCRATCH_STACK_SIZE;
    for (int level = 0; level < ENGRAM_SCRATCH_LEVELS; level++) {
        scratch->served[level] = 0;
    }
}

/* As engram_arena_alloc, from the first level that has room; NULL when none has. Valid until
 * engram_scratch_end. */
ENGRAM_MUST_CHECK static inline void *engram_scratch_alloc(struct engram_scratch *scratch,
                                                           size_t size)
{
    void *memory = NULL;
    if (scratch->caller.capacity != 0) {
        memory = engram_arena_alloc(&scratch->caller, size);
        if (memory != NULL) {
            scratch->served[ENGRAM_SCRATCH_CALLER]++;
            return memory;
        }
    }
    if (scratch->arena != NULL) {
        memory = engram_arena_alloc(scratch->arena, size);
        if (memory != NULL) {
            scratch->served[ENGRAM_SCRATCH_ARENA]++;
            return memory;
        }
    }
    memory = engram_arena_alloc(&scratch->reserve, size);
    scratch->served[memory != NULL ? ENGRAM_SCRATCH_STACK : ENGRAM_SCRATCH_REFUSED]++;
    return memory;
}

/* As engram_arena_alloc_array. */
ENGRAM_MUST_CHECK static inline void *engram_scratch_alloc_array(struct engram_scratch *scratch,
                                                                 size_t count, size_t size)
{
    if (size != 0 && count > (size_t)-1 / size) {
        scratch->served[ENGRAM_SCRATCH_REFUSED]++;
        return NULL;
    }
    return engram_scratch_alloc(scratch, count * size);
}

/* As ENGRAM_ARENA_NEW. */
#define ENGRAM_SCRATCH_NEW(scratch, type, count)                                                   \
    ((type *)engram_scratch_alloc_array((scratch), (count), sizeof(type)))

/* Ends the iteration: the arena goes back to where it was at begin. Calling it twice is allowed. */
static inline void engram_scratch_end(struct engram_scratch *scratch)
{
    if (scratch->arena != NULL) {
        engram_arena_rewind(scratch->arena, scratch->mark);
        scratch->arena = NULL;
    }
    scratch->caller.capacity = scratch->caller.used;
    scratch->reserve.capacity = scratch->reserve.used;
}

/* Adds the counts of `scratch` to `totals`. */
static inline void engram_scratch_count(const struct engram_scratch *scratch,
                                        uint64_t totals[ENGRAM_SCRATCH_LEVELS])
{
    for (int level = 0; level < ENGRAM_SCRATCH_LEVELS; level++) {
        totals[level] += scratch->served[level];
    }
}

/* Declares `struct engram_scratch name`, begun, and ended where the enclosing scope ends. */
#define ENGRAM_SCRATCH_SCOPE(name, arena, buffer, buffer_size)                                     \
    __attribute__((cleanup(engram_scratch_end))) struct engram_scratch name;                       \
    engram_scratch_begin(&(name), (arena), (buffer), (buffer_size))

#ifdef __cplusplus
}
#endif

#endif
