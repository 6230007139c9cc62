/* The malloc of this process, and the same measurement under other ones. */
#ifndef ENGRAM_BENCH_ALLOCATORS_H
#define ENGRAM_BENCH_ALLOCATORS_H

#include <stdbool.h>
#include <stddef.h>

/* Name of the malloc that this process runs with: "glibc 2.36", "jemalloc", ...; else the file name
 * of its library. */
void engram_bench_malloc_name(char *name, size_t size);

/* What `engram-bench arena --malloc-only=NAME` measured: it prints the numbers in this order. */
struct engram_bench_malloc {
    char name[64];
    double size_ns[3];     /* one thread, by size, memory not touched */
    double size_all_ns[3]; /* all threads */
    double over_arena;     /* 3 KiB, all threads, not touched: ratio to the arena */
};

/* Runs the measurement again with the i-th known allocator preloaded. One that is dlopened instead
 * would run without the thread-local storage and the hooks that it is fast with. Returns false past
 * the last; `found` says whether it is installed. */
bool engram_bench_preloaded(size_t i, int threads, bool *found, struct engram_bench_malloc *result);

#endif
