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

/* A file of lines "NAME:  N kB": bytes; SIZE_MAX when there is no such line. */
static size_t bytes_called(const char *path, const char *name)
{
    char line[128];
    unsigned long long kib = 0;
    size_t bytes = SIZE_MAX;
    size_t length = strlen(name);
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        return SIZE_MAX;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, length) == 0 && line[length] == ':') {
            char *number = line + length + 1;
            number += strspn(number, " \t");
            if (leading_number(number, &kib)) {
                bytes = kib > SIZE_MAX / 1024 ? SIZE_MAX : (size_t)kib * 1024;
                break;
            }
        }
    }
    (void)fclose(file); /* only read */
    return bytes;
}

size_t engram_memory_resident(void)
{
    size_t bytes = bytes_called("/proc/self/status", "VmRSS");
    return bytes != SIZE_MAX ? bytes : 0;
}

size_t engram_memory_peak(void)
{
    struct rusage usage;
    size_t bytes = bytes_called("/proc/self/status", "VmHWM");
    if (bytes != SIZE_MAX) {
        return bytes;
    }
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
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
    size_t kernel = bytes_called("/proc/meminfo", "MemAvailable");
    size_t limit = left_of_limit();

    return kernel < limit ? kernel : limit;
}

/* The number in a file of one line; 0: no such file, or "max". */
static size_t limit_in(const char *path)
{
    char line[64];
    unsigned long long bytes = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    if (fgets(line, sizeof line, file) == NULL || !leading_number(line, &bytes) ||
        bytes > SIZE_MAX) {
        bytes = 0;
    }
    (void)fclose(file); /* only read */
    return (size_t)bytes;
}

/* Our group under `root` and every group above it. */
static size_t tightest(const char *root, char *group, const char *name)
{
    char path[1400];
    size_t least = 0;
    for (;;) {
        (void)snprintf(path, sizeof path, "%s%s/%s", root, group, name);
        size_t limit = limit_in(path);
        least = limit > 0 && (least == 0 || limit < least) ? limit : least;
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            return least;
        }
        *slash = '\0';
    }
}

size_t engram_memory_cgroup_limit(void)
{
    char line[1024];
    size_t least = 0;
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) {
        return 0;
    }
    /* Lines "0::/path" (v2) and "N:memory:/path" (v1, perhaps among other controllers). */
    while (fgets(line, sizeof line, file) != NULL) {
        char *controllers = strchr(line, ':');
        char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (group == NULL) {
            continue;
        }
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        size_t limit = 0;
        if (controllers[1] == '\0') {
            limit = tightest("/sys/fs/cgroup", group, "memory.max");
        } else if (strstr(controllers + 1, "memory") != NULL) {
            limit = tightest("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
        }
        least = limit > 0 && (least == 0 || limit < least) ? limit : least;
    }
    (void)fclose(file); /* only read */
    return least;
}
