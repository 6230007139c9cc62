#include "base/leftover.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define ROOM 16

static _Atomic(const char *) paths[ROOM];
static char published[4096]; /* PATH_MAX; "" while there is none */
static atomic_bool has_published;

/* Lock-free, so a handler may look while the interrupted thread is in here. */
static void exchange(const char *from, const char *to)
{
    for (int i = 0; i < ROOM; i++) {
        const char *expected = from;
        if (atomic_compare_exchange_strong(&paths[i], &expected, to)) {
            return;
        }
    }
}

void engram_leftover_add(const char *path)
{
    exchange(NULL, path);
}

void engram_leftover_done(const char *path)
{
    if (path != NULL) {
        exchange(path, NULL);
    }
}

void engram_leftover_published(const char *path)
{
    size_t length = strlen(path);

    atomic_store(&has_published, false);
    if (length < sizeof published) {
        memcpy(published, path, length + 1);
        atomic_store(&has_published, true);
    }
}

void engram_leftover_remove(void)
{
    if (atomic_load(&has_published)) {
        (void)unlink(published);
    }
    for (int i = 0; i < ROOM; i++) {
        const char *path = atomic_load(&paths[i]);
        if (path != NULL) {
            (void)unlink(path);
        }
    }
}
