/* How much memory can still be had, and how much was used. */
#ifndef ENGRAM_IO_MEMORY_H
#define ENGRAM_IO_MEMORY_H

#include <stddef.h>

/* Bytes that this process can still allocate: the smaller of what the kernel calls available and
 * what is left of the address space limit; SIZE_MAX when neither is known. */
size_t engram_memory_available(void);

/* The least memory limit of this process's cgroup (v1 or v2) and its parents; 0: none is known. */
size_t engram_memory_cgroup_limit(void);

/* The resident size of this process now, in bytes; 0: not known. */
size_t engram_memory_resident(void);

/* The largest resident size that this program had, in bytes; 0: not known. (Not what getrusage says
 * where the kernel can tell: that counts the process that started this one, too, before its exec.)
 */
size_t engram_memory_peak(void);

#endif
