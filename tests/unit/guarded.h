/* Memory with an unreadable page on either side. Needs <sys/mman.h> with _GNU_SOURCE. */
#ifndef ENGRAM_TESTS_GUARDED_H
#define ENGRAM_TESTS_GUARDED_H

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct guarded {
    unsigned char *map;
    size_t size;          /* of the map */
    unsigned char *first; /* first usable byte: the start of a page */
    unsigned char *end;   /* past the last usable byte: the start of the next guard */
};

static inline struct guarded guarded_make(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (bytes / page + 1) * page;
    struct guarded g = {.size = room + 2 * page};
    g.map = mmap(NULL, g.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED || mprotect(g.map + page, room, PROT_READ | PROT_WRITE) != 0) {
        abort();
    }
    g.first = g.map + page;
    g.end = g.first + room;
    return g;
}

static inline void guarded_free(struct guarded *g)
{
    (void)munmap(g->map, g->size);
}

#endif
