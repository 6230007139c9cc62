/* Large zeroed blocks straight from the kernel: page-aligned, huge pages advised when large. A
 * page gets its place in memory from the thread that touches it first. */
#ifndef ENGRAM_BASE_PAGES_H
#define ENGRAM_BASE_PAGES_H

#include <stddef.h>

/* `size` bytes of zeros, or NULL (errno set). Size 0 gives one page. */
void *engram_pages_alloc(size_t size);

/* Gives back all but the first `smaller` bytes; `size` from then on is `smaller`. */
void engram_pages_shrink(void *pages, size_t size, size_t smaller);

/* `size` must be the size given to engram_pages_alloc; NULL is allowed. */
void engram_pages_free(void *pages, size_t size);

/* Memory as malloc gives it, for realloc and free; huge pages advised when large. Size 0 gives some
 * byte. */
void *engram_large_malloc(size_t size);

#endif
