#include "base/hash.h"

#include <string.h>

#include "base/endian.h"

/* The five primes of the specification. */
#define PRIME1 0x9E3779B185EBCA87U
#define PRIME2 0xC2B2AE3D27D4EB4FU
#define PRIME3 0x165667B19E3779F9U
#define PRIME4 0x85EBCA77C2B2AE63U
#define PRIME5 0x27D4EB2F165667C5U

static inline uint64_t rotate(uint64_t value, int by)
{
    return value << by | value >> (64 - by);
}

static inline uint64_t round_of(uint64_t lane, uint64_t input)
{
    return rotate(lane + input * PRIME2, 31) * PRIME1;
}

static inline uint64_t merge_lane(uint64_t hash, uint64_t lane)
{
    return (hash ^ round_of(0, lane)) * PRIME1 + PRIME4;
}

static uint64_t avalanche(uint64_t hash)
{
    hash = (hash ^ hash >> 33) * PRIME2;
    hash = (hash ^ hash >> 29) * PRIME3;
    return hash ^ hash >> 32;
}

uint64_t engram_hash64(const void *data, size_t size, uint64_t seed)
{
    const unsigned char *bytes = data;
    size_t left = size;
    uint64_t hash = seed + PRIME5;

    if (size >= 32) {
        uint64_t lanes[4] = {seed + PRIME1 + PRIME2, seed + PRIME2, seed, seed - PRIME1};
        for (; left >= 32; left -= 32, bytes += 32) {
            for (size_t i = 0; i < 4; i++) {
                lanes[i] = round_of(lanes[i], engram_load64le(bytes + 8 * i));
            }
        }
        hash =
            rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18);
        for (int i = 0; i < 4; i++) {
            hash = merge_lane(hash, lanes[i]);
        }
    }
    hash += size;
    for (; left >= 8; left -= 8, bytes += 8) {
        hash = rotate(hash ^ round_of(0, engram_load64le(bytes)), 27) * PRIME1 + PRIME4;
    }
    if (left >= 4) {
        hash = rotate(hash ^ engram_load32le(bytes) * PRIME1, 23) * PRIME2 + PRIME3;
        left -= 4;
        bytes += 4;
    }
    for (; left > 0; left--, bytes++) {
        hash = rotate(hash ^ *bytes * PRIME5, 11) * PRIME1;
    }
    return avalanche(hash);
}

void engram_hash_add(struct engram_hash_chain *chain, const void *data, size_t size)
{
    const size_t room = sizeof chain->block;
    const unsigned char *from = data;
    while (size > 0) {
        size_t held = (size_t)(chain->size % room);
        size_t take = size < room - held ? size : room - held;
        if (take == room) { /* as it lies there */
            chain->hash = engram_hash64(from, room, chain->hash);
        } else {
            memcpy(chain->block + held, from, take);
            if (held + take == room) {
                chain->hash = engram_hash64(chain->block, room, chain->hash);
            }
        }
        chain->size += take;
        from += take;
        size -= take;
    }
}

uint64_t engram_hash_of(const struct engram_hash_chain *chain)
{
    return engram_hash64(chain->block, (size_t)(chain->size % sizeof chain->block),
                         chain->hash + chain->size);
}
