/* The writer: round trips, same bytes, nothing overwritten, nothing left behind. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/output.h"

static char folder[512];
static char path[600];
static char last_message[1024];

static void remember(void *context, enum engram_log_level level, const char *message)
{
    (void)context;
    (void)level;
    snprintf(last_message, sizeof last_message, "%s", message);
}

static const struct engram_log log_here = {remember, NULL};

static int setup(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/engram-output-XXXXXX", base != NULL ? base : "/tmp");
    last_message[0] = '\0';
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/out.h5", folder);
    return 0;
}

/* Names in the folder; removes them when asked. */
static int entries(bool remove_them)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int count = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            count++;
            if (remove_them) {
                assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
            }
        }
    }
    closedir(dir);
    return count;
}

static int teardown(void **state)
{
    (void)state;
    entries(true);
    return rmdir(folder);
}

static struct engram_output *create(bool replace, int threads)
{
    struct engram_output *output = NULL;
    assert_int_equal(engram_output_create(path, replace, threads, &log_here, &output), ENGRAM_OK);
    assert_non_null(output);
    return output;
}

static void put_file(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void read_file(unsigned char **bytes, size_t *size)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &info), 0);
    *size = (size_t)info.st_size;
    *bytes = malloc(*size);
    assert_int_equal(fread(*bytes, 1, *size, file), *size);
    fclose(file);
}

static int64_t row_value(int64_t i)
{
    return (i * 7919) % 100003 - (i % 11 == 0);
}

enum { ROWS = 60000, K = 10, IDS = 3000 };

/* Writes k-NN like data, `step` rows a call, dataset by dataset or interleaved. */
static void write_all(int compress, int threads, int64_t step, bool interleaved, bool backwards)
{
    struct engram_output *output = create(true, threads);
    const int64_t shape[2] = {ROWS, K};
    const int64_t range[2] = {3, 99};
    int set[3] = {-1, -1, -1};
    int64_t *neighbors = malloc(sizeof *neighbors * ROWS * K);
    float *distances = malloc(sizeof *distances * ROWS * K);
    int32_t *counts = malloc(sizeof *counts * ROWS);
    char *text = malloc((size_t)IDS * 7);
    struct engram_ids ids = {IDS, 7, text};

    memset(text, 'x', (size_t)IDS * 7);
    memset(text, 0, 7);
    for (int64_t i = 0; i < ROWS * K; i++) {
        neighbors[i] = row_value(i);
        distances[i] = (float)i * 0.25f;
        counts[i / K] = (int32_t)(i / K);
    }
    assert_int_equal(engram_output_text(output, "/", "metric", "cosine"), ENGRAM_OK);
    assert_int_equal(engram_output_integers(output, "/", "k", (const int64_t[]){K}, 1), ENGRAM_OK);
    assert_int_equal(engram_output_integers(output, "/", "base_rows", range, 2), ENGRAM_OK);
    assert_int_equal(engram_output_number(output, "/", "max_distance", 0.1), ENGRAM_OK);
    assert_int_equal(engram_output_ids(output, "/query_ids", &ids, compress), ENGRAM_OK);
    assert_int_equal(
        engram_output_dataset(output, "/a/neighbors", ENGRAM_OUT_I64, 2, shape, compress, &set[0]),
        ENGRAM_OK);
    assert_int_equal(
        engram_output_dataset(output, "/a/distances", ENGRAM_OUT_F32, 2, shape, compress, &set[1]),
        ENGRAM_OK);
    assert_int_equal(
        engram_output_dataset(output, "/counts", ENGRAM_OUT_I32, 1, shape, compress, &set[2]),
        ENGRAM_OK);
    assert_int_equal(engram_output_text(output, "/a", "encoding-type", "csr_matrix"), ENGRAM_OK);
    for (int pass = 0; pass < (interleaved ? 1 : 3); pass++) {
        for (int64_t at = 0; at < ROWS; at += step) {
            int64_t from = backwards ? ROWS - at - step : at;
            int64_t count = step < ROWS - from ? step : ROWS - from;
            const void *data[3] = {neighbors + from * K, distances + from * K, counts + from};
            for (int d = interleaved ? 0 : pass; d < (interleaved ? 3 : pass + 1); d++) {
                assert_int_equal(engram_output_rows(output, set[d], from, count, data[d]),
                                 ENGRAM_OK);
            }
        }
    }
    assert_int_equal(engram_output_publish(output), ENGRAM_OK);
    assert_int_equal(entries(false), 1);
    free(neighbors);
    free(distances);
    free(counts);
    free(text);
}

static void check_all(void)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    int64_t *neighbors = malloc(sizeof *neighbors * ROWS * K);
    float *distances = malloc(sizeof *distances * ROWS * K);
    int32_t *counts = malloc(sizeof *counts * ROWS);
    hid_t set;

    assert_true(file >= 0);
    set = H5Dopen2(file, "/a/neighbors", H5P_DEFAULT);
    assert_true(H5Dread(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, neighbors) >= 0);
    H5Dclose(set);
    set = H5Dopen2(file, "/a/distances", H5P_DEFAULT);
    assert_true(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, distances) >= 0);
    H5Dclose(set);
    set = H5Dopen2(file, "/counts", H5P_DEFAULT);
    assert_true(H5Dread(set, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, counts) >= 0);
    H5Dclose(set);
    for (int64_t i = 0; i < ROWS * K; i++) {
        assert_int_equal(neighbors[i], row_value(i));
        assert_true(distances[i] == (float)i * 0.25f);
        assert_int_equal(counts[i / K], i / K);
    }
    set = H5Dopen2(file, "/query_ids", H5P_DEFAULT);
    hid_t type = H5Dget_type(set);
    char *text = malloc((size_t)IDS * 7);
    assert_int_equal(H5Tget_cset(type), H5T_CSET_UTF8);
    assert_int_equal(H5Tget_strpad(type), H5T_STR_NULLPAD);
    assert_int_equal(H5Tget_size(type), 7);
    assert_true(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text) >= 0);
    assert_memory_equal(text, "\0\0\0\0\0\0\0xxxxxxx", 14);
    H5Tclose(type);
    H5Dclose(set);
    H5Fclose(file);
    free(neighbors);
    free(distances);
    free(counts);
    free(text);
}

static void test_round_trips(void **state)
{
    (void)state;
    write_all(0, 1, 997, true, false);
    check_all();
    write_all(0, 1, 500, true, true);
    check_all();
    write_all(6, 2, 997, true, false);
    check_all();
}

/* Thread count, the size and order of calls, and the time of day leave no trace. */
static void test_same_bytes(void **state)
{
    (void)state;
    static const struct {
        int compress, threads;
        int64_t step;
        bool interleaved, backwards, later;
    } CASES[] = {
        {0, 1, ROWS, false, false, false}, {0, 3, 1000, true, true, true},
        {1, 1, ROWS, false, false, false}, {1, 3, 1013, true, false, true},
        {1, 40, ROWS, true, false, false}, {1, 2, 70, false, false, false},
    };
    unsigned char *reference = NULL;
    size_t reference_size = 0;

    for (size_t c = 0; c < sizeof CASES / sizeof CASES[0]; c++) {
        unsigned char *bytes;
        size_t size;
        if (CASES[c].later) {
            sleep(2); /* HDF5's time stamps count seconds */
        }
        write_all(CASES[c].compress, CASES[c].threads, CASES[c].step, CASES[c].interleaved,
                  CASES[c].backwards);
        read_file(&bytes, &size);
        if (CASES[c].threads == 1) {
            free(reference);
            reference = bytes;
            reference_size = size;
            continue;
        }
        assert_int_equal(size, reference_size);
        assert_memory_equal(bytes, reference, size);
        free(bytes);
    }
    free(reference);
}

static void test_empty(void **state)
{
    (void)state;
    for (int compress = 0; compress <= 6; compress += 6) {
        struct engram_output *output = create(true, 1);
        struct engram_ids ids = {0, 1, NULL};
        int set[3];
        const int64_t none[2] = {0, 10};
        const int64_t narrow[2] = {5, 0};

        assert_int_equal(
            engram_output_dataset(output, "/n", ENGRAM_OUT_I64, 2, none, compress, &set[0]),
            ENGRAM_OK);
        assert_int_equal(
            engram_output_dataset(output, "/d", ENGRAM_OUT_F64, 2, narrow, compress, &set[1]),
            ENGRAM_OK);
        assert_int_equal(engram_output_dataset(output, "/one", ENGRAM_OUT_I64, 1,
                                               (const int64_t[]){1}, compress, &set[2]),
                         ENGRAM_OK);
        assert_int_equal(engram_output_ids(output, "/ids", &ids, compress), ENGRAM_OK);
        assert_int_equal(engram_output_rows(output, set[0], 0, 0, NULL), ENGRAM_OK);
        assert_int_equal(engram_output_rows(output, set[2], 0, 1, (const int64_t[]){42}),
                         ENGRAM_OK);
        assert_int_equal(engram_output_publish(output), ENGRAM_OK);

        hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
        hid_t opened = H5Dopen2(file, "/n", H5P_DEFAULT);
        hid_t space = H5Dget_space(opened);
        hsize_t dims[2] = {9, 9};
        assert_int_equal(H5Sget_simple_extent_dims(space, dims, NULL), 2);
        assert_int_equal(dims[0], 0);
        assert_int_equal(dims[1], 10);
        H5Sclose(space);
        H5Dclose(opened);
        int64_t value = 0;
        opened = H5Dopen2(file, "/one", H5P_DEFAULT);
        assert_true(H5Dread(opened, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, &value) >= 0);
        assert_int_equal(value, 42);
        H5Dclose(opened);
        H5Fclose(file);
    }
}

static void refused(const char *where, bool replace, enum engram_status expected)
{
    struct engram_output *output = NULL;
    last_message[0] = '\0';
    assert_int_equal(engram_output_create(where, replace, 1, &log_here, &output), expected);
    assert_null(output);
    assert_string_not_equal(last_message, "");
}

static void test_refusals(void **state)
{
    (void)state;
    char other[700];

    put_file("mine");
    refused(path, false, ENGRAM_ERR_CANT_CREATE);
    assert_int_equal(entries(false), 1);
    refused(folder, true, ENGRAM_ERR_CANT_CREATE);
    refused("/dev/null", true, ENGRAM_ERR_CANT_CREATE);
    refused("", true, ENGRAM_ERR_CANT_CREATE);
    snprintf(other, sizeof other, "%s/no/such/out.h5", folder);
    refused(other, false, ENGRAM_ERR_CANT_CREATE);
    assert_non_null(strstr(last_message, "no/such"));
    snprintf(other, sizeof other, "%s/new/", folder);
    refused(other, false, ENGRAM_ERR_CANT_CREATE);
    snprintf(other, sizeof other, "%s/out.h5/x.h5", folder);
    refused(other, false, ENGRAM_ERR_CANT_CREATE);
    snprintf(other, sizeof other, "%s/dangling.h5", folder);
    assert_int_equal(symlink("nowhere", other), 0);
    refused(other, true, ENGRAM_ERR_CANT_CREATE);
    assert_int_equal(entries(false), 2);
    if (geteuid() != 0) {
        assert_int_equal(chmod(folder, 0500), 0);
        snprintf(other, sizeof other, "%s/new.h5", folder);
        refused(other, false, ENGRAM_ERR_PERMISSION);
        assert_int_equal(chmod(folder, 0700), 0);
    }
}

static void assert_content(const char *text)
{
    unsigned char *bytes;
    size_t size;
    read_file(&bytes, &size);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(bytes, text, size);
    free(bytes);
}

/* A file that appears while we write belongs to somebody else. */
static void test_appears_meanwhile(void **state)
{
    (void)state;
    struct engram_output *output = create(false, 1);
    put_file("theirs");
    assert_int_equal(engram_output_publish(output), ENGRAM_ERR_CANT_CREATE);
    assert_content("theirs");
    assert_int_equal(entries(false), 1);
}

static void test_replaces(void **state)
{
    (void)state;
    char link_path[700];
    struct stat info;

    put_file("old");
    assert_int_equal(chmod(path, 0640), 0);
    struct engram_output *output = create(true, 1);
    assert_content("old");
    assert_int_equal(entries(false), 2);
    engram_output_discard(output);
    assert_content("old");
    assert_int_equal(entries(false), 1);

    /* Through a link: the link stays, its target is replaced. */
    snprintf(link_path, sizeof link_path, "%s/link.h5", folder);
    assert_int_equal(symlink("out.h5", link_path), 0);
    assert_int_equal(engram_output_create(link_path, true, 1, &log_here, &output), ENGRAM_OK);
    assert_int_equal(engram_output_publish(output), ENGRAM_OK);
    assert_int_equal(lstat(link_path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_true(H5Fis_hdf5(path) > 0);
    assert_int_equal(entries(false), 2);
}

static void test_permissions_follow_umask(void **state)
{
    (void)state;
    struct stat info;
    mode_t before = umask(027);
    struct engram_output *output = create(false, 1);
    (void)umask(before);
    assert_int_equal(engram_output_publish(output), ENGRAM_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
}

static void test_wrong_calls(void **state)
{
    (void)state;
    struct engram_output *output = create(false, 1);
    int64_t two[2] = {1, 2};
    int set = -1;
    int other = -1;

    assert_int_equal(
        engram_output_dataset(output, "/p", ENGRAM_OUT_I64, 1, (const int64_t[]){4}, 3, &set),
        ENGRAM_OK);
    assert_int_equal(engram_output_dataset(output, "/huge", ENGRAM_OUT_I64, 2,
                                           (const int64_t[]){INT64_MAX, INT64_MAX}, 0, &other),
                     ENGRAM_ERR_INTERNAL);
    assert_int_equal(engram_output_rows(output, set, 0, 2, two), ENGRAM_OK);
    assert_int_equal(engram_output_rows(output, set, 0, 2, two), ENGRAM_ERR_INTERNAL);
    assert_int_equal(engram_output_rows(output, set, 2, 3, two), ENGRAM_ERR_INTERNAL);
    assert_int_equal(engram_output_rows(output, 9, 0, 1, two), ENGRAM_ERR_INTERNAL);
    assert_int_equal(engram_output_publish(output), ENGRAM_ERR_INTERNAL); /* rows are missing */
    assert_int_equal(entries(false), 0);
}

enum { FULL_ROWS = 1 << 18 };

/* Writes twice 2 MiB that do not fit; the status of the first failure. */
static enum engram_status write_too_much(int compress, bool mixed, const int64_t *data)
{
    const int64_t rows = FULL_ROWS;
    struct engram_output *output = NULL;
    int set[2] = {-1, -1};
    enum engram_status status = engram_output_create(path, false, 2, &log_here, &output);

    if (status == ENGRAM_OK) {
        status = engram_output_text(output, "/", "metric", "cosine");
    }
    if (status == ENGRAM_OK) {
        status = engram_output_dataset(output, "/g/x", ENGRAM_OUT_I64, 1, &rows,
                                       mixed ? 0 : compress, &set[0]);
    }
    if (status == ENGRAM_OK) {
        status = engram_output_dataset(output, "/y", ENGRAM_OUT_I64, 1, &rows, compress, &set[1]);
    }
    for (int64_t at = 0; at < rows && status == ENGRAM_OK; at += 4096) {
        status = engram_output_rows(output, set[1], at, 4096, data + at);
        if (status == ENGRAM_OK) {
            status = engram_output_rows(output, set[0], at, 4096, data + at);
        }
    }
    if (status == ENGRAM_OK) {
        return engram_output_publish(output);
    }
    engram_output_discard(output);
    return status;
}

static void check_full(const char *what, long long room, enum engram_status status)
{
    if (status != ENGRAM_ERR_IO || strstr(last_message, "free some space") == NULL) {
        print_error("%s, room %lld: status %d, %s\n", what, room, (int)status, last_message);
    }
    assert_int_equal(entries(false), 0);
    assert_int_equal(status, ENGRAM_ERR_IO);
    assert_non_null(strstr(last_message, "free some space"));
}

static void *hardly_compressible(void)
{
    int64_t *data = calloc(FULL_ROWS, sizeof *data);

    assert_non_null(data);
    for (int64_t i = 0; i < FULL_ROWS; i++) {
        uint64_t mixed = (uint64_t)i * 0x9e3779b97f4a7c15u;
        mixed = (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9u;
        data[i] = (int64_t)(mixed ^ mixed >> 32);
    }
    return data;
}

static void limit_file_size(void **state)
{
    (void)state;
    int64_t *data = hardly_compressible();
    struct rlimit old;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (int kind = 0; kind < 3; kind++) {
        for (rlim_t limit = 0; limit < 4 << 20; limit = limit * 2 + 200) {
            struct rlimit small = old;
            small.rlim_cur = limit;
            last_message[0] = '\0';
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
            enum engram_status status = write_too_much(kind > 0, kind == 2, data);
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
            check_full("limit", (long long)limit, status);
        }
    }
    free(data);
}

/* A small disk in a mount namespace of our own; only where that is allowed. */
static void fill_disk(void **state)
{
    (void)state;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        skip();
    }
    int64_t *data = hardly_compressible();
    char options[64];

    for (int kind = 0; kind < 3; kind++) {
        for (int pages = 1; pages < 1000; pages = pages * 3 / 2 + 1) {
            snprintf(options, sizeof options, "size=%d", pages * 4096);
            if (mount("tmpfs", folder, "tmpfs", 0, options) != 0) {
                free(data);
                skip();
            }
            last_message[0] = '\0';
            enum engram_status status = write_too_much(kind > 0, kind == 2, data);
            check_full("disk", pages * 4096, status);
            assert_int_equal(umount(folder), 0);
        }
    }
    free(data);
}

/* Runs one test in a program of its own and looks at how that ends: after failed writes HDF5 likes
 * to crash at exit. (A mere fork would not do: OpenMP's threads do not survive it.) */
static void in_child(const char *what)
{
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        (void)execl("/proc/self/exe", "test_output", what, (char *)NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_size_limit(void **state)
{
    (void)state;
    in_child("limit");
}

static void test_full_disk(void **state)
{
    (void)state;
    in_child("disk");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest limit[] = {
        cmocka_unit_test_setup_teardown(limit_file_size, setup, teardown),
    };
    const struct CMUnitTest disk[] = {
        cmocka_unit_test_setup_teardown(fill_disk, setup, teardown),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trips, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_appears_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_permissions_follow_umask, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_size_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
    };
    if (argc == 2) {
        return strcmp(argv[1], "limit") == 0 ? cmocka_run_group_tests(limit, NULL, NULL)
                                             : cmocka_run_group_tests(disk, NULL, NULL);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
