/* engram_partial_deserialize: what it takes is a partial that serialises to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/hash.h"
#include "fuzz.h"
#include "search/partial.h"

static void fix_checksum(uint8_t *data, size_t size)
{
    if (size >= 8) {
        engram_store64le(data + size - 8, engram_hash64(data, size - 8, 0));
    }
}

static void check_order(const struct engram_partial *partial)
{
    struct engram_order order = engram_metric_order(partial->metric);

    for (int64_t q = 0; q < partial->queries; q++) {
        FUZZ_CHECK(partial->indptr[q] <= partial->indptr[q + 1]);
        FUZZ_CHECK(partial->indptr[q + 1] - partial->indptr[q] <= partial->k);
        for (int64_t i = partial->indptr[q]; i < partial->indptr[q + 1]; i++) {
            FUZZ_CHECK(partial->hits[i].tag >= 0);
            FUZZ_CHECK(i == partial->indptr[q] ||
                       engram_hit_less(order, &partial->hits[i - 1], &partial->hits[i]));
        }
    }
}

static void try(const uint8_t *data, size_t size)
{
    struct engram_partial partial;
    struct engram_partial twin;

    fuzz_begin();
    enum engram_status status = engram_partial_deserialize(data, size, &fuzz_log, &partial);
    fuzz_check_status(status, FUZZ_ALLOW(ENGRAM_ERR_DATA) | FUZZ_ALLOW(ENGRAM_ERR_RESOURCE));
    if (status != ENGRAM_OK) {
        FUZZ_CHECK(partial.indptr == NULL && partial.hits == NULL);
        return;
    }
    check_order(&partial);
    FUZZ_CHECK(engram_partial_serialized_size(&partial) == size);
    uint8_t *again = malloc(size);
    FUZZ_CHECK(again != NULL);
    engram_partial_serialize(&partial, again);
    FUZZ_CHECK(memcmp(again, data, size) == 0);
    free(again);
    if (engram_partial_deserialize(data, size, &fuzz_log, &twin) == ENGRAM_OK) {
        FUZZ_CHECK(engram_partial_merge(&twin, &partial, &fuzz_log) == ENGRAM_OK);
        FUZZ_CHECK(twin.indptr[twin.queries] <= 2 * partial.indptr[partial.queries]);
        engram_partial_free(&twin);
    }
    engram_partial_free(&partial);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try(data, size);
    /* Once more as damage that the checksum does not show. */
    uint8_t *fixed = malloc(size > 0 ? size : 1);
    FUZZ_CHECK(fixed != NULL);
    if (size > 0) {
        memcpy(fixed, data, size);
    }
    fix_checksum(fixed, size);
    try(fixed, size);
    free(fixed);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    uint64_t random = seed + UINT64_C(0x9e3779b97f4a7c15);
    static const uint64_t numbers[] = {
        0, 1, 2, UINT64_MAX, INT64_MAX, (uint64_t)INT64_MAX + 1, 8, UINT64_C(0x7ff0000000000000)};

    size = LLVMFuzzerMutate(data, size, max_size & ~(size_t)7);
    size = fuzz_below(&random, 8) == 0 ? size : size & ~(size_t)7;
    if (size >= 16 && fuzz_below(&random, 2) == 0) { /* a whole word */
        size_t word = fuzz_below(&random, size / 8 - 1);
        engram_store64le(data + 8 * word, numbers[fuzz_below(&random, 8)]);
    }
    fix_checksum(data, size);
    return size;
}
