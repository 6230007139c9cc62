/* What is in a file: any bytes give a description that holds, or one error. Checksums of files that
 * HDF5 wrote are found, and found right (tests/fuzz/replay.sh runs this on such files). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h5_target.h"
#include "job/inputs.h"

/* A seed, as it comes: its checksums do not change when they are written anew. */
static void check_repair(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size);

    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data, size);
    size_t sums = image_repair(copy, size);
    FUZZ_CHECK(memcmp(copy, data, size) == 0);
    (void)printf("%zu checksums\n", sums);
    free(copy);
}

static void target(const uint8_t *data, size_t size)
{
    struct engram_layout layout;
    char text[1024];
    const char *path = fuzz_file(data, size);

    if (getenv("FUZZ_CHECK_REPAIR") != NULL && size > 100) {
        check_repair(data, size);
    }
    if (fuzz_layout(path, &layout)) {
        (void)engram_inputs_candidates(&layout, text, sizeof text);
        fuzz_begin();
        fuzz_check_status(engram_layout_items(&layout, path, "/", NULL, &fuzz_log),
                          FUZZ_READ_FAILURES);
        engram_layout_free(&layout);
    }
    fuzz_check_handles();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_isolated(target, data, size);
    return 0;
}
