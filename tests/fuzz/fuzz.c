#define _GNU_SOURCE
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/endian.h"

int fuzz_errors;

_Noreturn void fuzz_breach(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

static void take_message(void *context, enum engram_log_level level, const char *message)
{
    (void)context;
    FUZZ_CHECK(message[0] != '\0');
    FUZZ_CHECK(level <= ENGRAM_LOG_DEBUG);
    fuzz_errors += level == ENGRAM_LOG_ERROR;
    if (getenv("FUZZ_SHOW") != NULL) {
        (void)fprintf(stderr, "log %d: %s\n", (int)level, message);
    }
}

const struct engram_log fuzz_log = {take_message, NULL};

void fuzz_begin(void)
{
    fuzz_errors = 0;
}

void fuzz_check_status(enum engram_status status, unsigned allowed)
{
    if (status == ENGRAM_OK) {
        FUZZ_CHECK(fuzz_errors == 0);
        return;
    }
    if ((FUZZ_ALLOW(status) & allowed) == 0) {
        (void)fprintf(stderr, "status %s\n", engram_status_name(status));
    }
    FUZZ_CHECK((FUZZ_ALLOW(status) & allowed) != 0);
    FUZZ_CHECK(fuzz_errors == 1);
}

static char folder[200];

static void remove_folder(void)
{
    DIR *list = opendir(folder);
    struct dirent *entry;
    char path[512];

    while (list != NULL && (entry = readdir(list)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        (void)unlink(path);
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    (void)rmdir(folder);
}

const char *fuzz_folder(void)
{
    const char *base = getenv("FUZZ_FOLDER");

    if (folder[0] == '\0') {
        if (base == NULL) {
            base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        }
        (void)snprintf(folder, sizeof folder, "%s/engram-fuzz-XXXXXX", base);
        FUZZ_CHECK(mkdtemp(folder) != NULL);
        (void)atexit(remove_folder);
    }
    return folder;
}

const char *fuzz_file(const uint8_t *data, size_t size)
{
    static char path[300];

    if (path[0] == '\0') {
        (void)snprintf(path, sizeof path, "%s/input.h5", fuzz_folder());
    }
    /* A new file each time: HDF5 recognises those that it has open. */
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0);
    FUZZ_CHECK(size == 0 || write(fd, data, size) == (ssize_t)size);
    FUZZ_CHECK(close(fd) == 0);
    return path;
}

uint64_t fuzz_take(struct fuzz_input *input, size_t bytes)
{
    unsigned char number[8] = {0};
    size_t taken = bytes < input->size ? bytes : input->size;

    if (taken > 0) {
        memcpy(number, input->data, taken);
        input->data += taken;
        input->size -= taken;
    }
    return engram_load64le(number);
}

uint64_t fuzz_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

uint64_t fuzz_below(uint64_t *state, uint64_t limit)
{
    return limit == 0 ? 0 : (fuzz_random(state) >> 16) % limit;
}
