#define _GNU_SOURCE
#include "bench/allocators.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

extern char **environ;

/* Each allocator under the names that distributions give to its library. */
static const struct {
    const char *name;
    const char *libraries[4];
} ALLOCATORS[] = {
    {"jemalloc", {"libjemalloc.so.2", "libjemalloc.so", NULL}},
    {"mimalloc", {"libmimalloc.so.2", "libmimalloc.so.3", "libmimalloc.so", NULL}},
    {"tcmalloc", {"libtcmalloc_minimal.so.4", "libtcmalloc.so.4", "libtcmalloc.so", NULL}},
};
#define ALLOCATOR_COUNT (sizeof ALLOCATORS / sizeof ALLOCATORS[0])

void engram_bench_malloc_name(char *name, size_t size)
{
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, "malloc");
    const char *file = "unknown";

    if (address != NULL && dladdr(address, &info) != 0 && info.dli_fname != NULL) {
        const char *slash = strrchr(info.dli_fname, '/');
        file = slash != NULL ? slash + 1 : info.dli_fname;
    }
    for (size_t i = 0; i < ALLOCATOR_COUNT; i++) {
        if (strstr(file, ALLOCATORS[i].name) != NULL) {
            (void)snprintf(name, size, "%s", ALLOCATORS[i].name);
            return;
        }
    }
#if defined(__GLIBC__)
    if (strncmp(file, "libc.so", 7) == 0 || strncmp(file, "libc-", 5) == 0) {
        (void)snprintf(name, size, "glibc %s", gnu_get_libc_version());
        return;
    }
#endif
    (void)snprintf(name, size, "%s", file);
}

/* The environment with LD_PRELOAD set; the strings are borrowed, the array is not. */
static char **environment_with(char *preload)
{
    size_t count = 0;
    while (environ[count] != NULL) {
        count++;
    }
    char **copy = calloc(count + 2, sizeof *copy);
    if (copy == NULL) {
        return NULL;
    }
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0) {
            copy[used++] = environ[i];
        }
    }
    copy[used] = preload;
    return copy;
}

/* Starts this program again; its standard output can be read from the stream. */
static FILE *start(char **arguments, char **environment, pid_t *child)
{
    int channel[2];
    posix_spawn_file_actions_t actions;

    if (pipe2(channel, O_CLOEXEC) != 0) {
        return NULL;
    }
    int error = posix_spawn_file_actions_init(&actions);
    if (error == 0) {
        error = posix_spawn_file_actions_adddup2(&actions, channel[1], STDOUT_FILENO);
        if (error == 0) { /* the loader complains there about a library that is not installed */
            error =
                posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        }
        if (error == 0) {
            error = posix_spawn(child, "/proc/self/exe", &actions, NULL, arguments, environment);
        }
        (void)posix_spawn_file_actions_destroy(&actions);
    }
    (void)close(channel[1]);
    FILE *stream = error == 0 ? fdopen(channel[0], "r") : NULL;
    if (stream == NULL) {
        (void)close(channel[0]);
    }
    return stream;
}

/* The child's line: the numbers of `result` in their order. */
static bool read_line(FILE *stream, struct engram_bench_malloc *result)
{
    char line[512];
    double values[7];
    char *at = line;

    if (fgets(line, sizeof line, stream) == NULL) {
        return false;
    }
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char *end = at;
        values[i] = strtod(at, &end);
        if (end == at) {
            return false;
        }
        at = end;
    }
    memcpy(result->size_ns, values, sizeof result->size_ns);
    memcpy(result->size_all_ns, values + 3, sizeof result->size_all_ns);
    result->over_arena = values[6];
    return true;
}

static bool measure(const char *name, const char *library, int threads,
                    struct engram_bench_malloc *result)
{
    char preload[128];
    char only[64];
    char count[32];
    char program[] = "engram-bench";
    char command[] = "arena";
    char *arguments[] = {program, command, only, count, NULL};
    pid_t child = -1;
    int status = 0;
    bool good = false;

    (void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library);
    (void)snprintf(only, sizeof only, "--malloc-only=%s", name);
    (void)snprintf(count, sizeof count, "--threads=%d", threads);
    char **environment = environment_with(preload);
    if (environment == NULL) {
        return false;
    }
    FILE *stream = start(arguments, environment, &child);
    if (stream != NULL) {
        good = read_line(stream, result);
        (void)fclose(stream);
    }
    if (child > 0) {
        good = waitpid(child, &status, 0) == child && WIFEXITED(status) &&
               WEXITSTATUS(status) == 0 && good;
    }
    free(environment);
    return good;
}

bool engram_bench_preloaded(size_t i, int threads, bool *found, struct engram_bench_malloc *result)
{
    if (i >= ALLOCATOR_COUNT) {
        return false;
    }
    *found = false;
    for (const char *const *library = ALLOCATORS[i].libraries; *library != NULL; library++) {
        /* The loader skips a library that is not there; the child then sees another malloc than
         * it was told, and gives up. */
        if (measure(ALLOCATORS[i].name, *library, threads, result)) {
            *found = true;
            break;
        }
    }
    (void)snprintf(result->name, sizeof result->name, "%s", ALLOCATORS[i].name);
    return true;
}
