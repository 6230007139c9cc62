/* engram-bench read: rows of one dataset into memory, by ours with one and with all threads, by
 * H5Dread, and contiguous data by nothing but pread on all threads.
 *
 * Measured in turns in one process; ratios are medians over the rounds. All ways read in slabs
 * whose memory is used again, so what counts is reading and unpacking, not page faults. The files
 * come from the page cache: a storage that is slower hides the differences. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/pages.h"
#include "bench/bench.h"
#include "io/codec.h"
#include "io/source.h"

#define ROUNDS 7
#define SLAB_BYTES ((size_t)64 << 20)
#define BLOCK_BYTES ((size_t)1 << 20)

enum way { BY_H5DREAD, BY_ONE, BY_ALL, BY_PREAD, WAYS };

static const char *const WAY_NAMES[WAYS] = {"h5dread", "1_thread", "all_threads", "plain_pread"};

struct subject {
    const char *path;
    const struct engram_dataset_info *info;
    int64_t slab_rows;
    int threads;
    bool contiguous;
    uint64_t offset; /* of contiguous data */
    uint64_t bytes;
    unsigned char *buffer; /* for plain reads */
};

static void tell(void *context, enum engram_log_level level, const char *message)
{
    (void)context;
    (void)level;
    fprintf(stderr, "engram-bench: %s\n", message);
}

static const struct engram_log LOG = {tell, NULL};

static enum engram_status open_source(const struct subject *subject, enum way way,
                                      struct engram_source **source)
{
    const struct engram_source_options options = {
        .path = subject->path,
        .dataset = subject->info,
        .last = subject->info->dims[0],
        .slab_rows = subject->slab_rows,
        .threads = way == BY_ALL ? subject->threads : 1,
        .by_hdf5 = way == BY_H5DREAD,
        .log = LOG,
    };
    return engram_source_open(&options, source);
}

/* Seconds; the first slab is read twice, and not timed the first time: its memory is new then. */
static double read_source(const struct subject *subject, enum way way)
{
    struct engram_source *source = NULL;
    struct engram_slab slab;
    double seconds = -1;

    if (open_source(subject, way, &source) != ENGRAM_OK) {
        return -1;
    }
    enum engram_status status = engram_source_next(source, &slab);
    uint64_t start = engram_bench_now();
    if (status == ENGRAM_OK) {
        engram_source_rewind(source);
        do {
            status = engram_source_next(source, &slab);
            engram_bench_barrier();
        } while (status == ENGRAM_OK && slab.set.rows > 0);
    }
    if (status == ENGRAM_OK) {
        seconds = (double)(engram_bench_now() - start) * 1e-9;
    }
    engram_source_close(source);
    return seconds;
}

static double read_plainly(const struct subject *subject)
{
    int fd = open(subject->path, O_RDONLY | O_CLOEXEC);
    bool failed = fd < 0;
    uint64_t start = engram_bench_now();

    for (uint64_t done = 0; done < subject->bytes && !failed; done += SLAB_BYTES) {
        size_t size =
            subject->bytes - done < SLAB_BYTES ? (size_t)(subject->bytes - done) : SLAB_BYTES;
        size_t blocks = (size + BLOCK_BYTES - 1) / BLOCK_BYTES;
#pragma omp parallel for schedule(dynamic) num_threads(subject->threads) reduction(|| : failed)
        for (size_t b = 0; b < blocks; b++) {
            size_t at = b * BLOCK_BYTES;
            size_t block = size - at < BLOCK_BYTES ? size - at : BLOCK_BYTES;
            failed = failed || pread(fd, subject->buffer + at, block,
                                     (off_t)(subject->offset + done + at)) != (ssize_t)block;
        }
    }
    double seconds = (double)(engram_bench_now() - start) * 1e-9;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (failed) {
        fprintf(stderr, "engram-bench: %s: cannot be read\n", subject->path);
    }
    return failed ? -1 : seconds;
}

static void print(const struct subject *subject, bool json, double seconds[WAYS][ROUNDS])
{
    double bytes = (double)subject->bytes;
    int ways = subject->contiguous ? WAYS : BY_PREAD;

    if (!json) {
        printf("%s: %s, %lld x %lld %s, %s%s%s, %.1f MB, inflated by %s\n", subject->path,
               subject->info->path, (long long)subject->info->dims[0],
               (long long)subject->info->dims[1], subject->info->type_name,
               subject->contiguous ? "contiguous" : "not contiguous",
               subject->info->filters[0] != '\0' ? ", " : "", subject->info->filters, bytes * 1e-6,
               engram_inflater_name());
        printf("%-12s %12s %12s %12s\n", "way", "MB/s", "of h5dread", "of 1 thread");
    }
    for (int way = 0; way < ways; way++) {
        double rate[ROUNDS];
        double of_h5dread[ROUNDS];
        double of_one[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            rate[i] = bytes * 1e-6 / seconds[way][i];
            of_h5dread[i] = seconds[BY_H5DREAD][i] / seconds[way][i];
            of_one[i] = seconds[BY_ONE][i] / seconds[way][i];
        }
        double values[3] = {engram_bench_median(rate, ROUNDS),
                            engram_bench_median(of_h5dread, ROUNDS),
                            engram_bench_median(of_one, ROUNDS)};
        static const char *const kinds[3][2] = {
            {"rate", "MB/s"}, {"of_h5dread", "ratio"}, {"of_1_thread", "ratio"}};
        for (int i = 0; i < 3 && json; i++) {
            char name[64];
            (void)snprintf(name, sizeof name, "read_%s_%s", WAY_NAMES[way], kinds[i][0]);
            engram_bench_json(name, values[i], kinds[i][1]);
        }
        if (!json) {
            printf("%-12s %12.0f %12.2f %12.2f\n", WAY_NAMES[way], values[0], values[1], values[2]);
        }
    }
    if (subject->contiguous) {
        double ratio[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            ratio[i] = seconds[BY_PREAD][i] / seconds[BY_ALL][i];
        }
        double value = engram_bench_median(ratio, ROUNDS);
        if (json) {
            engram_bench_json("read_all_threads_of_plain_pread", value, "ratio");
        } else {
            printf("all threads against plain pread: %.2f\n", value);
        }
    }
}

/* Round 0 warms up and is not counted. Every second round goes the other way round. */
static int measure(struct subject *subject, bool json)
{
    static double seconds[WAYS][ROUNDS];
    int ways = subject->contiguous ? WAYS : BY_PREAD;

    for (int round = 0; round <= ROUNDS; round++) {
        for (int i = 0; i < ways; i++) {
            int way = round % 2 == 0 ? i : ways - 1 - i;
            double taken =
                way == BY_PREAD ? read_plainly(subject) : read_source(subject, (enum way)way);
            if (taken <= 0) {
                return 74;
            }
            seconds[way][round > 0 ? round - 1 : 0] = taken;
        }
    }
    print(subject, json, seconds);
    return 0;
}

static int run(const char *path, const char *dataset, const struct engram_bench_options *options)
{
    struct engram_layout layout;
    struct engram_source *source = NULL;
    struct subject subject = {.path = path, .threads = options->threads};
    enum engram_status status = engram_layout_read(path, &LOG, &layout);

    if (status != ENGRAM_OK) {
        return engram_status_exit_code(status);
    }
    subject.info = engram_layout_find(&layout, dataset);
    if (subject.info == NULL || subject.info->rank != 2 || subject.info->dims[0] == 0 ||
        subject.info->dims[1] == 0) {
        fprintf(stderr, "engram-bench: %s: no 2-D dataset %s with rows\n", path, dataset);
        engram_layout_free(&layout);
        return 66;
    }
    size_t row = (size_t)subject.info->dims[1] * engram_dtype_size(subject.info->dtype);
    subject.bytes = (uint64_t)subject.info->dims[0] * row; /* of bfloat16: as float32 */
    subject.slab_rows = (int64_t)(SLAB_BYTES / row);
    status = open_source(&subject, BY_ALL, &source);
    if (status == ENGRAM_OK) {
        subject.contiguous = engram_source_extent(source, &subject.offset, &subject.bytes);
        engram_source_close(source);
        subject.buffer = subject.contiguous ? engram_pages_alloc(SLAB_BYTES) : NULL;
        if (subject.contiguous && subject.buffer == NULL) {
            status = ENGRAM_ERR_RESOURCE;
        }
    }
    int code =
        status == ENGRAM_OK ? measure(&subject, options->json) : engram_status_exit_code(status);
    engram_pages_free(subject.buffer, SLAB_BYTES);
    engram_layout_free(&layout);
    return code;
}

int engram_bench_read(int argc, char **argv)
{
    struct engram_bench_options options;
    const char *operands[2] = {NULL, NULL};
    int given = 0;

    /* FILE and DATASET come first; the rest is as everywhere. */
    while (given < 2 && given + 1 < argc && argv[given + 1][0] != '-') {
        operands[given] = argv[given + 1];
        given++;
    }
    argv[given] = argv[0];
    int code = engram_bench_parse(argc - given, argv + given,
                                  "FILE DATASET first: reads the dataset into memory in turns by "
                                  "H5Dread, by one thread and by all threads",
                                  NULL, &options);
    if (code != ENGRAM_BENCH_GO_ON) {
        return code;
    }
    if (given < 2) {
        fprintf(stderr, "Usage: engram-bench read FILE DATASET [--json] [--threads N]\n");
        return 64;
    }
    return run(operands[0], operands[1], &options);
}
