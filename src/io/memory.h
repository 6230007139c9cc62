/* How much memory can still be had. */
#ifndef ENGRAM_IO_MEMORY_H
#define ENGRAM_IO_MEMORY_H

#include <stddef.h>

/* Bytes that this process can still allocate: the smaller of what the kernel calls available and
 * what is left of the address space limit; SIZE_MAX when neither is known. */
size_t engram_memory_available(void);

/* The least memory limit of this process's cgroup (v1 or v2) and its parents; 0: none is known. */
size_t engram_memory_cgroup_limit(void);

#endif
