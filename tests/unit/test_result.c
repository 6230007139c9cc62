/* The result reader: what the writer wrote comes back, and files that lie are refused. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hdf5.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/output.h"
#include "io/result.h"

static char folder[512];
static char path[600];
static char last_message[1024];
static int messages;

static void remember(void *context, enum engram_log_level level, const char *message)
{
    (void)context;
    (void)level;
    messages++;
    snprintf(last_message, sizeof last_message, "%s", message);
}

static const struct engram_log log_here = {remember, NULL};

static int setup(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/engram-result-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/r.h5", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

enum { QUERIES = 70000, BASE = 1000, K = 3, FIRST = 5 };

#define OK(call) assert_int_equal((call), ENGRAM_OK)

/* The attributes of a result of QUERIES rows; `k` 0: none. */
static void attributes(struct engram_output *output, const char *format, int64_t k)
{
    const int64_t base_shape[2] = {BASE, 16};
    const int64_t query_shape[2] = {QUERIES + FIRST, 16};
    const int64_t base_rows[2] = {0, BASE};
    const int64_t query_rows[2] = {FIRST, QUERIES + FIRST};
    const int64_t self = 0;

    OK(engram_output_text(output, "/", "format_version", format));
    OK(engram_output_text(output, "/", "metric", "l2"));
    if (k > 0) {
        OK(engram_output_integers(output, "/", "k", &k, 1));
    } else {
        OK(engram_output_number(output, "/", "max_distance", 0.1));
    }
    OK(engram_output_integers(output, "/", "self", &self, 1));
    OK(engram_output_text(output, "/", "base_dataset", "/train"));
    OK(engram_output_text(output, "/", "query_dataset", "/t\xc3\xa9st"));
    OK(engram_output_integers(output, "/", "base_shape", base_shape, 2));
    OK(engram_output_integers(output, "/", "query_shape", query_shape, 2));
    OK(engram_output_integers(output, "/", "base_rows", base_rows, 2));
    OK(engram_output_integers(output, "/", "query_rows", query_rows, 2));
    OK(engram_output_text(output, "/", "digest", "0123456789abcdef"));
}

static int64_t count_of(int64_t query)
{
    return query % (K + 1);
}

static int64_t row_of(int64_t query, int64_t i)
{
    return (query * 31 + i * 7) % BASE;
}

static void write_knn(const char *format, int compress)
{
    struct engram_output *output = NULL;
    const int64_t shape[2] = {QUERIES, K};
    int64_t *rows = malloc(sizeof *rows * QUERIES * K);
    float *distances = malloc(sizeof *distances * QUERIES * K);
    int32_t *counts = malloc(sizeof *counts * QUERIES);
    char text[BASE * 4];
    struct engram_ids ids = {BASE, 4, text};
    int set[3];

    for (int64_t i = 0; i < QUERIES * K; i++) {
        bool there = i % K < count_of(i / K);
        rows[i] = there ? row_of(i / K, i % K) : -1;
        distances[i] = there ? (float)i : INFINITY;
        counts[i / K] = (int32_t)count_of(i / K);
    }
    memset(text, 0, sizeof text);
    for (int i = 0; i < BASE; i++) {
        char id[16];
        int length = snprintf(id, sizeof id, "%d", i + 1000 * (i % 9 == 0));
        memcpy(text + 4 * i, id, (size_t)length); /* some fill their place */
    }
    OK(engram_output_create(path, true, 2, &log_here, &output));
    attributes(output, format, K);
    OK(engram_output_ids(output, "/base_ids", &ids, compress));
    OK(engram_output_dataset(output, "/neighbors", ENGRAM_OUT_I64, 2, shape, compress, &set[0]));
    OK(engram_output_dataset(output, "/distances", ENGRAM_OUT_F32, 2, shape, compress, &set[1]));
    OK(engram_output_dataset(output, "/counts", ENGRAM_OUT_I32, 1, shape, compress, &set[2]));
    OK(engram_output_rows(output, set[0], 0, QUERIES, rows));
    OK(engram_output_rows(output, set[1], 0, QUERIES, distances));
    OK(engram_output_rows(output, set[2], 0, QUERIES, counts));
    OK(engram_output_publish(output));
    free(rows);
    free(distances);
    free(counts);
}

static void write_pairs(void)
{
    struct engram_output *output = NULL;
    const int64_t bounds = QUERIES + 1;
    int64_t *indptr = calloc(QUERIES + 1, sizeof *indptr);
    int set[3];

    for (int64_t q = 0; q < QUERIES; q++) {
        indptr[q + 1] = indptr[q] + (q == 12345 ? BASE : count_of(q));
    }
    int64_t total = indptr[QUERIES];
    int64_t *rows = malloc(sizeof *rows * (size_t)total);
    float *distances = malloc(sizeof *distances * (size_t)total);
    for (int64_t q = 0; q < QUERIES; q++) {
        for (int64_t i = indptr[q]; i < indptr[q + 1]; i++) {
            rows[i] = row_of(q, i - indptr[q]);
            distances[i] = (float)i;
        }
    }
    OK(engram_output_create(path, true, 2, &log_here, &output));
    attributes(output, "1.7", 0);
    OK(engram_output_dataset(output, "/pairs/indptr", ENGRAM_OUT_I64, 1, &bounds, 0, &set[0]));
    OK(engram_output_dataset(output, "/pairs/indices", ENGRAM_OUT_I64, 1, &total, 0, &set[1]));
    OK(engram_output_dataset(output, "/pairs/data", ENGRAM_OUT_F32, 1, &total, 0, &set[2]));
    OK(engram_output_rows(output, set[0], 0, bounds, indptr));
    OK(engram_output_rows(output, set[1], 0, total, rows));
    OK(engram_output_rows(output, set[2], 0, total, distances));
    OK(engram_output_publish(output));
    free(indptr);
    free(rows);
    free(distances);
}

static void check_row(struct engram_result *result, int64_t query, int64_t expected)
{
    int64_t count = -1;
    const int64_t *rows;
    const double *distances;

    OK(engram_result_row(result, query, &count, &rows, &distances));
    assert_int_equal(count, expected);
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(rows[i], row_of(query, i));
        assert_true(distances[i] == distances[0] + (float)i);
    }
}

static void test_knn(void **state)
{
    (void)state;
    for (int compress = 0; compress < 2; compress++) {
        struct engram_result *result = NULL;
        struct engram_result_info info;
        const char *text;
        size_t length;
        char digest[64];
        int64_t count;
        const int64_t *rows;
        const double *distances;

        write_knn("1.0", compress);
        OK(engram_result_open(path, &log_here, &result, &info));
        assert_int_equal(info.kind, ENGRAM_RESULT_KNN);
        assert_int_equal(info.queries, QUERIES);
        assert_int_equal(info.k, K);
        assert_int_equal(info.metric, ENGRAM_L2);
        assert_true(isnan(info.max_distance) && isnan(info.min_similarity));
        assert_false(info.self);
        assert_string_equal(info.base_path, "/train");
        assert_string_equal(info.query_path, "/t\xc3\xa9st");
        assert_int_equal(info.query_rows[0], FIRST);
        assert_string_equal(info.format, "1.0");
        assert_true(info.has_base_ids);
        assert_false(info.has_query_ids);
        for (int64_t q = 0; q < QUERIES; q++) {
            check_row(result, q, count_of(q));
        }
        check_row(result, 7, count_of(7)); /* backwards */
        OK(engram_result_id(result, false, 9, &text, &length));
        assert_int_equal(length, 4);
        assert_memory_equal(text, "1009", 4);
        OK(engram_result_id(result, false, 7, &text, &length));
        assert_int_equal(length, 1);
        assert_int_equal(engram_result_id(result, false, BASE, &text, &length), ENGRAM_ERR_USAGE);
        assert_int_equal(engram_result_id(result, true, 0, &text, &length), ENGRAM_ERR_USAGE);
        assert_int_equal(engram_result_row(result, QUERIES, &count, &rows, &distances),
                         ENGRAM_ERR_USAGE);
        engram_result_close(result);
        engram_result_digest(path, digest);
        assert_string_equal(digest, "0123456789abcdef");
    }
}

static void test_pairs(void **state)
{
    (void)state;
    struct engram_result *result = NULL;
    struct engram_result_info info;

    write_pairs();
    OK(engram_result_open(path, &log_here, &result, &info));
    assert_int_equal(info.kind, ENGRAM_RESULT_PAIRS);
    assert_true(info.k == INT64_MAX);
    assert_true(info.max_distance == 0.1);
    for (int64_t q = 0; q < QUERIES; q++) {
        check_row(result, q, q == 12345 ? BASE : count_of(q));
    }
    engram_result_close(result);
}

/* ------------------------------------------------------------- files that lie */

static void expect_refused(enum engram_status expected)
{
    struct engram_result *result = NULL;
    struct engram_result_info info;
    char digest[64] = "x";

    messages = 0;
    assert_int_equal(engram_result_open(path, &log_here, &result, &info), expected);
    assert_null(result);
    assert_int_equal(messages, 1);
    assert_null(strchr(last_message, '\n'));
    assert_non_null(strstr(last_message, path));
    engram_result_digest(path, digest);
    assert_string_equal(digest, "");
}

static hid_t reopen(void)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

static void set_integers(const char *name, int64_t a, int64_t b)
{
    hid_t file = reopen();
    int64_t values[2] = {a, b};
    hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    assert_true(H5Awrite(attribute, H5T_NATIVE_INT64, values) >= 0);
    H5Aclose(attribute);
    H5Fclose(file);
}

/* Replaces a dataset by an unwritten one of another shape or type. */
static void replace_set(const char *name, hid_t type, int rank, hsize_t a, hsize_t b, bool chunked)
{
    hid_t file = reopen();
    hsize_t dims[2] = {a, b};
    hsize_t chunk[2] = {1, 1};
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(rank, dims, NULL);
    if (chunked) {
        assert_true(H5Pset_chunk(creation, rank, chunk) >= 0);
    }
    assert_true(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
    hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    assert_true(set >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(creation);
    H5Fclose(file);
}

static void test_lying_attributes(void **state)
{
    (void)state;
    static const char *const NEEDED[] = {"format_version", "metric",     "self",
                                         "base_dataset",   "base_shape", "query_rows"};

    write_knn("2.0", 0);
    expect_refused(ENGRAM_ERR_DATA);
    assert_non_null(strstr(last_message, "2.0"));
    write_knn("one", 0);
    expect_refused(ENGRAM_ERR_DATA);
    for (size_t i = 0; i < sizeof NEEDED / sizeof NEEDED[0]; i++) {
        write_knn("1.0", 0);
        hid_t file = reopen();
        assert_true(H5Adelete(file, NEEDED[i]) >= 0);
        H5Fclose(file);
        expect_refused(ENGRAM_ERR_DATA);
    }
    write_knn("1.0", 0);
    set_integers("query_rows", 0, INT64_MAX);
    expect_refused(ENGRAM_ERR_DATA);
    set_integers("query_shape", INT64_MAX, 16);
    expect_refused(ENGRAM_ERR_DATA);
    set_integers("query_rows", 0, 10);
    expect_refused(ENGRAM_ERR_DATA);
    write_knn("1.0", 0);
    set_integers("k", INT64_MAX - 1, 0);
    expect_refused(ENGRAM_ERR_DATA);
    set_integers("k", 0, 0);
    expect_refused(ENGRAM_ERR_DATA);
    write_knn("1.0", 0);
    set_integers("base_rows", -1, 10);
    expect_refused(ENGRAM_ERR_DATA);
}

static void test_lying_datasets(void **state)
{
    (void)state;
    write_knn("1.0", 0);
    replace_set("/neighbors", H5T_STD_I64LE, 2, QUERIES, K, false);
    expect_refused(ENGRAM_ERR_DATA); /* nothing was ever stored */
    replace_set("/neighbors", H5T_STD_I64LE, 1, QUERIES, 0, false);
    expect_refused(ENGRAM_ERR_DATA);
    replace_set("/neighbors", H5T_IEEE_F32LE, 2, QUERIES, K, false);
    expect_refused(ENGRAM_ERR_DATA);
    write_knn("1.0", 0);
    replace_set("/neighbors", H5T_STD_I64LE, 2, QUERIES, (hsize_t)1 << 40, true);
    replace_set("/distances", H5T_IEEE_F32LE, 2, QUERIES, (hsize_t)1 << 40, true);
    set_integers("k", (int64_t)1 << 40, 0);
    expect_refused(ENGRAM_ERR_DATA); /* petabytes that are not there */
    write_knn("1.0", 0);
    replace_set("/base_ids", H5T_STD_I64LE, 1, BASE, 0, false);
    expect_refused(ENGRAM_ERR_DATA);
    write_knn("1.0", 0);
    hid_t file = reopen();
    assert_true(H5Ldelete(file, "/neighbors", H5P_DEFAULT) >= 0);
    H5Fclose(file);
    expect_refused(ENGRAM_ERR_DATA);
    assert_int_equal(unlink(path), 0);
    expect_refused(ENGRAM_ERR_NO_INPUT);
}

static void expect_bad_row(int64_t query)
{
    struct engram_result *result = NULL;
    struct engram_result_info info;
    int64_t count = 9;
    const int64_t *rows;
    const double *distances;

    OK(engram_result_open(path, &log_here, &result, &info));
    messages = 0;
    assert_int_equal(engram_result_row(result, query, &count, &rows, &distances), ENGRAM_ERR_DATA);
    assert_int_equal(count, 0);
    assert_int_equal(messages, 1);
    engram_result_close(result);
}

/* Overwrites one entry of an integer dataset, `at` in row-major order. */
static void poke(const char *name, size_t at, size_t size, int64_t value)
{
    hid_t file = reopen();
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    int64_t *data = calloc(size, sizeof *data);
    assert_true(H5Dread(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    data[at] = value;
    assert_true(H5Dwrite(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    free(data);
    H5Dclose(set);
    H5Fclose(file);
}

static void test_lying_rows(void **state)
{
    (void)state;
    write_knn("1.0", 0);
    poke("/counts", 10, QUERIES, K + 1);
    expect_bad_row(10);
    poke("/counts", 10, QUERIES, -1);
    expect_bad_row(10);
    poke("/counts", 10, QUERIES, 1);
    poke("/neighbors", 10 * K, (size_t)QUERIES * K, BASE);
    expect_bad_row(10);
    poke("/neighbors", 10 * K, (size_t)QUERIES * K, -1);
    expect_bad_row(10);
    write_pairs();
    poke("/pairs/indptr", 11, QUERIES + 1, INT64_MAX);
    expect_bad_row(10);
    expect_bad_row(11);
    poke("/pairs/indptr", 11, QUERIES + 1, INT64_MIN);
    expect_bad_row(10);
    poke("/pairs/indptr", 11, QUERIES + 1, 60000);
    expect_bad_row(10); /* more answers than base rows */
    write_pairs();
    poke("/pairs/indptr", QUERIES, QUERIES + 1, 100);
    expect_bad_row(QUERIES - 1);
    poke("/pairs/indptr", 0, QUERIES + 1, 1);
    expect_bad_row(0);
}

static void test_truncated(void **state)
{
    (void)state;
    struct stat info;

    write_knn("1.0", 1);
    assert_int_equal(stat(path, &info), 0);
    for (int i = 1; i < 40; i++) {
        struct engram_result *result = NULL;
        struct engram_result_info found;
        assert_int_equal(truncate(path, info.st_size * (40 - i) / 40), 0);
        assert_int_equal(engram_result_open(path, &log_here, &result, &found), ENGRAM_ERR_DATA);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_knn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pairs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lying_attributes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lying_datasets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lying_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
