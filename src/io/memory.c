#define _GNU_SOURCE
#include "io/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static size_t available_to_kernel(void)
{
    char line[128];
    unsigned long long kib = 0;
    size_t bytes = SIZE_MAX;
    FILE *file = fopen("/proc/meminfo", "re");

    if (file == NULL) {
        return SIZE_MAX;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) {
            bytes = kib > SIZE_MAX / 1024 ? SIZE_MAX : (size_t)kib * 1024;
            break;
        }
    }
    (void)fclose(file); /* only read */
    return bytes;
}

static size_t left_of_limit(void)
{
    struct rlimit limit;
    unsigned long long pages = 0;
    long page = sysconf(_SC_PAGESIZE);

    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || page <= 0) {
        return SIZE_MAX;
    }
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        if (fscanf(file, "%llu", &pages) != 1) {
            pages = 0;
        }
        (void)fclose(file); /* only read */
    }
    unsigned long long used = pages * (unsigned long long)page;
    return used >= limit.rlim_cur ? 0 : (size_t)(limit.rlim_cur - used);
}

size_t engram_memory_available(void)
{
    size_t kernel = available_to_kernel();
    size_t limit = left_of_limit();

    return kernel < limit ? kernel : limit;
}
