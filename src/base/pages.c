#define _GNU_SOURCE
#include "base/pages.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/size.h"

/* Below this a huge page would waste more than it saves in TLB misses. */
#define HUGE_FROM ((size_t)4 << 20)

static size_t page_rounded(size_t size)
{
    long page = sysconf(_SC_PAGESIZE);
    size_t grain = page > 0 ? (size_t)page : 4096;
    if (size == 0) {
        return grain;
    }
    return size > (size_t)-1 - grain ? 0 : engram_size_round_up(size, grain);
}

void *engram_pages_alloc(size_t size)
{
    size_t length = page_rounded(size);
    if (length == 0) {
        errno = ENOMEM;
        return NULL;
    }
    void *pages = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (length >= HUGE_FROM) {
        /* Advice only: a kernel without huge pages says no, and nothing is lost. */
        (void)madvise(pages, length, MADV_HUGEPAGE);
    }
#endif
    return pages;
}

void *engram_large_malloc(size_t size)
{
    char *memory = malloc(size > 0 ? size : 1);
#ifdef MADV_HUGEPAGE
    const size_t grain = page_rounded(0);
    if (memory != NULL && size >= HUGE_FROM) {
        size_t skip = (grain - (uintptr_t)memory % grain) % grain; /* whole pages only */
        (void)madvise(memory + skip, (size - skip) / grain * grain, MADV_HUGEPAGE);
    }
#endif
    return memory;
}

void engram_pages_shrink(void *pages, size_t size, size_t smaller)
{
    size_t keep = page_rounded(smaller);
    size_t length = page_rounded(size);
    if (keep < length) {
        (void)munmap((char *)pages + keep, length - keep);
    }
}

void engram_pages_free(void *pages, size_t size)
{
    if (pages != NULL) {
        (void)munmap(pages, page_rounded(size));
    }
}
