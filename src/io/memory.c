#define _GNU_SOURCE
#include "io/memory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The number at the start of `text`, after blanks; false when there is none or it is too large. */
static bool leading_number(const char *text, unsigned long long *number)
{
    char *end;

    while (*text == ' ') {
        text++;
    }
    if (*text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0;
}

static size_t available_to_kernel(void)
{
    static const char name[] = "MemAvailable:";
    char line[128];
    unsigned long long kib = 0;
    size_t bytes = SIZE_MAX;
    FILE *file = fopen("/proc/meminfo", "re");

    if (file == NULL) {
        return SIZE_MAX;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, sizeof name - 1) == 0 &&
            leading_number(line + sizeof name - 1, &kib)) {
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
        char line[128];
        if (fgets(line, sizeof line, file) == NULL || !leading_number(line, &pages)) {
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
