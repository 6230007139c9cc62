/* A job that goes on with a checkpoint that was damaged: it gives the bytes of a job that was never
 * interrupted, or refuses; from scratch it gives them in any case. Damage whose checksums were made
 * to fit may give other answers, but nothing worse.
 *
 * Checkpoints are those of real jobs that were interrupted; an input says which, and what is done
 * to it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/hash.h"
#include "engram/job.h"
#include "fuzz.h"
#include "job/journal_internal.h"

enum {
    ROWS = 1300,
    QUERIES = 600,
    BASE = 40,
    DIM = 3,
    KINDS = 8,
    PARTS = 4,
    FILES = 3,
    FILE_MAX = 1 << 20
};

struct file {
    char name[64];
    uint8_t *data;
    size_t size;
};

/* One job, what it gives, and what it leaves when it is interrupted at parts of its work. */
static struct kind {
    struct file result;
    struct file left[PARTS][FILES];
} kinds[KINDS];

static char input[300];
static char output[300];

/* ---- files */

static void path_of(char path[400], const char *name)
{
    (void)snprintf(path, 400, "%s/%s", fuzz_folder(), name);
}

static void load(struct file *file, const char *name)
{
    char path[400];
    struct stat info;

    path_of(path, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && fstat(fd, &info) == 0 && info.st_size <= FILE_MAX);
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    file->size = (size_t)info.st_size;
    file->data = malloc(file->size + 1);
    FUZZ_CHECK(file->data != NULL && read(fd, file->data, file->size) == info.st_size);
    (void)close(fd);
}

static void store(const char *name, const uint8_t *data, size_t size)
{
    char path[400];

    path_of(path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)close(fd);
}

/* Calls `call` for everything in the folder but the input. */
static int each_file(void (*call)(const char *name, void *context), void *context)
{
    DIR *list = opendir(fuzz_folder());
    struct dirent *entry;
    int count = 0;

    FUZZ_CHECK(list != NULL);
    while ((entry = readdir(list)) != NULL) {
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "input.h5") != 0) {
            count++;
            if (call != NULL) {
                call(entry->d_name, context);
            }
        } else if (entry->d_name[0] == '.' && entry->d_name[1] != '\0' &&
                   strcmp(entry->d_name, "..") != 0) { /* temporary files */
            count++;
            if (call != NULL) {
                call(entry->d_name, context);
            }
        }
    }
    (void)closedir(list);
    return count;
}

static void keep_file(const char *name, void *context)
{
    struct file **next = context;

    load((*next)++, name);
}

static void remove_file(const char *name, void *context)
{
    char path[400];

    (void)context;
    path_of(path, name);
    (void)unlink(path);
}

/* ---- jobs */

static void write_input(void)
{
    static float rows[ROWS][DIM];
    const hsize_t dims[2] = {ROWS, DIM};
    uint64_t random = 88172645463325252U;

    for (int i = 0; i < ROWS * DIM; i++) {
        rows[i / DIM][i % DIM] = (float)fuzz_below(&random, 64);
    }
    hid_t file = H5Fcreate(input, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(2, dims, NULL);
    hid_t set = H5Dcreate2(file, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    FUZZ_CHECK(set >= 0 &&
               H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
    FUZZ_CHECK(H5Dclose(set) >= 0 && H5Sclose(space) >= 0 && H5Fclose(file) >= 0);
}

/* Cancels a job after a share of its search. */
struct stop {
    int cancel;
    uint64_t parts; /* of PARTS + 1 */
};

static void watch(void *context, enum engram_job_stage stage, uint64_t done, uint64_t total)
{
    struct stop *stop = context;

    if (stage == ENGRAM_STAGE_SEARCH && done > 0 && done >= total / (PARTS + 1) * stop->parts) {
        __atomic_store_n(&stop->cancel, 1, __ATOMIC_RELAXED);
    }
}

static enum engram_status run(int kind, struct stop *stop, bool from_scratch)
{
    struct engram_job_options options = ENGRAM_JOB_OPTIONS_INIT;
    const bool few = kind < 4;

    options.input = input;
    options.output = output;
    options.self = true;
    options.metric_given = true;
    options.metric = ENGRAM_L2;
    options.threads = 1;
    options.checkpoint_seconds_given = true;
    options.from_scratch = from_scratch;
    options.memory = UINT64_C(1) << 32;
    options.log = fuzz_log;
    if (few) {
        options.query_rows[1] = QUERIES;
        options.base_rows[1] = BASE;
    }
    switch (kind) {
    case 0:
        options.k = 3;
        break;
    case 1:
        options.k = 2;
        options.max_distance_given = true;
        options.max_distance = 6;
        break;
    case 2:
    case 3:
        options.all = true;
        options.compress = kind == 2 ? 0 : 3;
        break;
    default:
        options.max_distance_given = true;
        options.max_distance = 2;
        options.components = kind == 5;
        options.compress = kind == 6 ? 2 : 0;
        options.query_rows[1] = kind == 7 ? QUERIES : -1;
        options.base_rows[1] = kind == 7 ? BASE : -1;
    }
    if (stop != NULL) {
        options.cancel = &stop->cancel;
        options.progress = watch;
        options.progress_context = stop;
    }
    fuzz_begin();
    return engram_job_run(&options, NULL);
}

static void prepare(void)
{
    if (kinds[0].result.data != NULL) {
        return;
    }
    (void)snprintf(input, sizeof input, "%s/input.h5", fuzz_folder());
    (void)snprintf(output, sizeof output, "%s/out.h5", fuzz_folder());
    write_input();
    for (int k = 0; k < KINDS; k++) {
        (void)each_file(remove_file, NULL);
        FUZZ_CHECK(run(k, NULL, false) == ENGRAM_OK);
        load(&kinds[k].result, "out.h5");
        for (int p = 0; p < PARTS; p++) {
            struct stop stop = {0, (uint64_t)p + 1};
            struct file *next = kinds[k].left[p];
            (void)each_file(remove_file, NULL);
            enum engram_status status = run(k, &stop, false);
            FUZZ_CHECK(status == ENGRAM_OK || status == ENGRAM_ERR_CANCELLED);
            if (status == ENGRAM_ERR_CANCELLED) {
                FUZZ_CHECK(each_file(NULL, NULL) <= FILES);
                (void)each_file(keep_file, &next);
            }
        }
        FUZZ_CHECK(kinds[k].left[1][0].data != NULL); /* else there is nothing to damage */
    }
    (void)each_file(remove_file, NULL);
}

/* ---- damage */

/* Where record `which` of a journal begins; 0: there are not so many. */
static size_t find_record(const uint8_t *data, size_t size, size_t which)
{
    size_t at = HEADER_BYTES;

    while (at + RECORD_BYTES <= size) {
        uint64_t bytes = engram_load64le(data + at + 40);
        if (which-- == 0) {
            return at;
        }
        if (bytes > size) {
            break;
        }
        at += RECORD_BYTES + (bytes + RECORD_BYTES - 1) / RECORD_BYTES * RECORD_BYTES;
    }
    return 0;
}

static void repair(uint8_t *data, size_t size)
{
    size_t at;

    if (size >= HEADER_BYTES) {
        engram_store64le(data + HEADER_SUM, engram_hash64(data, HEADER_SUM, 0));
    }
    for (size_t i = 0; (at = find_record(data, size, i)) != 0; i++) {
        uint64_t bytes = engram_load64le(data + at + 40);
        if (bytes <= size - at - RECORD_BYTES) {
            engram_store64le(data + at + 48, engram_hash64(data + at + RECORD_BYTES, bytes, 0));
        }
        engram_store64le(data + at + 56, engram_hash64(data + at, 56, at));
    }
}

static uint64_t pick_number(struct fuzz_input *what)
{
    static const uint64_t numbers[] = {
        0,          1,    1024,    UINT64_MAX, INT64_MAX, (uint64_t)INT64_MAX + 1,
        UINT32_MAX, ROWS, QUERIES, ROWS + 1,   64,        UINT64_C(0x7ff8000000000000)};
    uint64_t choice = fuzz_take(what, 1);

    return choice < 128 ? numbers[choice % (sizeof numbers / sizeof numbers[0])]
                        : fuzz_take(what, 1 + choice % 8);
}

/* One change to one of the files; returns its new size. */
static size_t change(uint8_t *data, size_t size, struct fuzz_input *what)
{
    unsigned kind = (unsigned)fuzz_take(what, 1);
    size_t record = find_record(data, size, (size_t)fuzz_take(what, 1) % 64);
    size_t at = (size_t)fuzz_take(what, 3);

    if (size == 0) {
        return size;
    }
    switch (kind % 6) {
    case 0: /* a word of a record's header */
        at = record + at % 8 * 8;
        break;
    case 1: /* a word of a record's payload */
        at = record + RECORD_BYTES + at % 512 * 8;
        break;
    case 2: /* a byte */
        data[at % size] = (uint8_t)fuzz_take(what, 1);
        return size;
    case 3:
        return at % (size + 1);
    case 4: { /* a record is copied to where another is */
        size_t other = find_record(data, size, (size_t)fuzz_take(what, 1) % 64);
        size_t bytes = 256 + at % 4096;
        if (record != 0 && other != 0) {
            bytes = bytes < size - record ? bytes : size - record;
            bytes = bytes < size - other ? bytes : size - other;
            memmove(data + other, data + record, bytes);
        }
        return size;
    }
    default: /* any word */
        at = at % size & ~(size_t)7;
        break;
    }
    uint64_t number = pick_number(what);
    if (at + 8 <= size) {
        engram_store64le(data + at, number);
    }
    return size;
}

/* Puts the files there, the journal damaged; whether in a way that checksums do not show. The
 * values of a dense answer lie in a file of their own, which stays as it is: test_dense_damage.py
 * damages that. */
static bool put_files(const struct file left[FILES], struct fuzz_input *what)
{
    static uint8_t room[FILE_MAX];
    unsigned choice = (unsigned)fuzz_take(what, 1);
    const bool forged = (choice & 1) != 0;
    unsigned changes = 1 + (unsigned)fuzz_take(what, 1) % 4;

    for (int i = 0; i < FILES && left[i].data != NULL; i++) {
        size_t size = left[i].size;
        const char *end = strstr(left[i].name, ENGRAM_JOURNAL_SUFFIX);
        memcpy(room, left[i].data, size);
        if (end != NULL && strcmp(end, ENGRAM_JOURNAL_SUFFIX) == 0) {
            while (changes-- > 0 && what->size > 0) {
                size = change(room, size, what);
            }
            if (forged) {
                repair(room, size);
            }
        }
        store(left[i].name, room, size);
    }
    return forged;
}

static void check_result(const struct file *expected)
{
    struct file made = {0};

    load(&made, "out.h5");
    FUZZ_CHECK(made.size == expected->size);
    FUZZ_CHECK(memcmp(made.data, expected->data, made.size) == 0);
    free(made.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input what = {data, size};

    prepare();
    int kind = (int)fuzz_take(&what, 1) % KINDS;
    int part = (int)fuzz_take(&what, 1) % PARTS;
    bool forged = put_files(kinds[kind].left[part], &what);
    enum engram_status status = run(kind, NULL, false);
    fuzz_check_status(status, FUZZ_ALLOW(ENGRAM_ERR_CANT_CREATE));
    if (status == ENGRAM_OK && !forged) {
        check_result(&kinds[kind].result);
    }
    if (status != ENGRAM_OK) {
        FUZZ_CHECK(access(output, F_OK) != 0);
        status = run(kind, NULL, true);
        fuzz_check_status(status, 0);
        check_result(&kinds[kind].result);
    }
    FUZZ_CHECK(each_file(NULL, NULL) == 1);
    (void)each_file(remove_file, NULL);
    return 0;
}
