/* What is looked at before HDF5 opens an object: its header, and the mapping of a virtual dataset.
 * The first bytes tell where the header is and how wide addresses and lengths are, the rest is a
 * file; it is a mapping as well. Any bytes are either whole or damaged, for one known reason. */
#define _GNU_SOURCE

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "io/objheader.h"
#include "io/virtual_map.h"

/* Ours to free: exactly as long as it is, so that a byte behind it is seen. */
static void look_at_mapping(const uint8_t *data, size_t size, size_t length_bytes)
{
    unsigned char *copy = malloc(size > 0 ? size : 1);

    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data, size);
    const char *damage = engram_virtual_map_damage(copy, size, length_bytes);
    FUZZ_CHECK(damage == NULL || strstr(damage, "its mapping") != NULL ||
               strstr(damage, "of its mapping") != NULL);
    free(copy);
}

static void look_at_header(const struct fuzz_input *file, uint64_t address, size_t address_bytes,
                           size_t length_bytes)
{
    struct engram_heap heap = {.reference = -1,
                               .file_bytes = file->size,
                               .address_bytes = address_bytes,
                               .length_bytes = length_bytes,
                               .fd = open(fuzz_file(file->data, file->size), O_RDONLY),
                               .ready = true};

    FUZZ_CHECK(heap.fd >= 0);
    const char *damage = engram_objheader_damage(&heap, address);
    FUZZ_CHECK(damage == NULL || strcmp(damage, "file read failed") != 0);
    FUZZ_CHECK(damage == NULL || getenv("FUZZ_CHECK_REPAIR") == NULL); /* a seed is whole */
    (void)close(heap.fd);
    engram_heap_close(&heap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t widths[4] = {8, 4, 2, 8};
    struct fuzz_input input = {data, size};
    uint64_t address = fuzz_take(&input, 8);
    unsigned choice = (unsigned)fuzz_take(&input, 1);
    size_t address_bytes = widths[choice & 3];
    size_t length_bytes = widths[choice >> 2 & 3];

    look_at_mapping(input.data, input.size, length_bytes);
    look_at_header(&input, address, address_bytes, length_bytes);
    return 0;
}
