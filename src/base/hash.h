/* XXH64: a fast 64-bit hash to notice changed content and damaged files; not cryptographic.
 * Source: "xxHash fast digest algorithm", format version 0.1.1, by Yann Collet. */
#ifndef ENGRAM_BASE_HASH_H
#define ENGRAM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t engram_hash64(const void *data, size_t size, uint64_t seed);

/* A hash of what comes in pieces, whatever the pieces; another one than engram_hash64 of the whole.
 * Start from all zero. */
struct engram_hash_chain {
    uint64_t hash; /* of the blocks that are full */
    uint64_t size; /* of all so far */
    unsigned char block[16384];
};
void engram_hash_add(struct engram_hash_chain *chain, const void *data, size_t size);
uint64_t engram_hash_of(const struct engram_hash_chain *chain);

#endif
