/* XXH64: a fast 64-bit hash to notice changed content and damaged files; not cryptographic.
 * Source: "xxHash fast digest algorithm", format version 0.1.1, by Yann Collet. */
#ifndef ENGRAM_BASE_HASH_H
#define ENGRAM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t engram_hash64(const void *data, size_t size, uint64_t seed);

#endif
