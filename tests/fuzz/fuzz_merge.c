/* Parts of a sharded job, damaged: they are merged into the result that the whole parts give, or
 * refused, with one message and nothing left behind.
 *
 * An input is a header and two files: how they are named, the size of the first, and the CRC-32 of
 * what the undamaged ones give. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/endian.h"
#include "engram/job.h"
#include "h5_target.h"

enum { HEADER = 12 };

static const char *write_part(int which, const uint8_t *data, size_t size)
{
    static char paths[2][300];
    const char *path = fuzz_file(data, size);

    (void)snprintf(paths[which], sizeof paths[which], "%s/part-%d.h5", fuzz_folder(), which);
    FUZZ_CHECK(rename(path, paths[which]) == 0);
    return paths[which];
}

static void check_output(const char *path, uint32_t expected)
{
    static uint8_t data[1 << 22];
    FILE *stream = fopen(path, "rb");

    FUZZ_CHECK(stream != NULL);
    size_t size = fread(data, 1, sizeof data, stream);
    (void)fclose(stream);
    FUZZ_CHECK(size < sizeof data);
    FUZZ_CHECK((uint32_t)crc32(0, data, (uInt)size) == expected);
}

static void target(const uint8_t *data, size_t size)
{
    struct engram_merge_options options = ENGRAM_MERGE_OPTIONS_INIT;
    struct engram_merge_report report;
    char output[300];
    const char *parts[2];

    if (size < HEADER) {
        return;
    }
    size_t first = (size_t)engram_load32le(data + 4) % (size - HEADER + 1);
    const unsigned how = data[0];
    (void)snprintf(output, sizeof output, "%s/out.h5", fuzz_folder());
    (void)unlink(output); /* a child that crashed left it */
    parts[(how & 1) != 0] = write_part(0, data + HEADER, first);
    parts[(how & 1) == 0] = write_part(1, data + HEADER + first, size - HEADER - first);
    options.parts = parts;
    options.part_count = (how & 0x80) != 0 ? 1 : 2;
    options.output = output;
    options.threads = 1;
    options.memory = UINT64_C(1) << 30;
    options.max_pairs = (how & 0x40) != 0 ? 3 : 0;
    options.log = fuzz_log;
    fuzz_begin();
    enum engram_status status = engram_job_merge(&options, &report);
    fuzz_check_status(status, FUZZ_READ_FAILURES | FUZZ_ALLOW(ENGRAM_ERR_USAGE));
    if (status == ENGRAM_OK) {
        FUZZ_CHECK(report.outcome == ENGRAM_JOB_WRITTEN);
        FUZZ_CHECK(report.query_count >= 0 && report.base_count >= 0 && report.pairs >= 0);
        check_output(output, (uint32_t)engram_load32le(data + 8));
        (void)unlink(output);
    }
    FUZZ_CHECK(access(output, F_OK) != 0);
    (void)unlink(parts[0]);
    (void)unlink(parts[1]);
    fuzz_check_handles();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_isolated(target, data, size);
    return 0;
}

/* Changes one of the two files, seldom how they are named. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    uint64_t random = seed + UINT64_C(0x9e3779b97f4a7c15);

    if (size < HEADER) {
        return size;
    }
    size_t first = (size_t)engram_load32le(data + 4) % (size - HEADER + 1);
    size_t second = size - HEADER - first;
    if (fuzz_below(&random, 50) == 0) {
        data[0] = (uint8_t)fuzz_random(&random);
    }
    if (fuzz_below(&random, 2) == 0) {
        return HEADER + first +
               image_mutate(data + HEADER + first, second, max_size - HEADER - first, seed);
    }
    uint8_t *part = malloc(max_size);
    FUZZ_CHECK(part != NULL);
    memcpy(part, data + HEADER, first);
    size_t changed = image_mutate(part, first, max_size - HEADER - second, seed);
    memmove(data + HEADER + changed, data + HEADER + first, second);
    memcpy(data + HEADER, part, changed);
    engram_store32le(data + 4, (uint32_t)changed);
    free(part);
    return HEADER + changed + second;
}
