/* A temporary folder, HDF5 files in it, and what was logged; for tests of the reading side. */
#ifndef H5_FIXTURE_H
#define H5_FIXTURE_H

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <hdf5.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engram/status.h"

static char fixture_folder[256];
static char fixture_path[512];
static char fixture_log[4096]; /* messages since the last fixture_clear, one a line */

__attribute__((unused)) static void fixture_take(void *context, enum engram_log_level level,
                                                 const char *message)
{
    size_t used = strlen(fixture_log);

    (void)context;
    (void)level;
    assert_null(strchr(message, '\n'));
    snprintf(fixture_log + used, sizeof fixture_log - used, "%s\n", message);
}

static const struct engram_log fixture_logger = {fixture_take, NULL};

__attribute__((unused)) static void fixture_clear(void)
{
    fixture_log[0] = '\0';
}

/* The log has exactly one line and `part` is in it. */
__attribute__((unused)) static void assert_logged(const char *part)
{
    const char *end = strchr(fixture_log, '\n');

    if (strstr(fixture_log, part) == NULL || end == NULL || end[1] != '\0') {
        fail_msg("wanted one line with \"%s\", got \"%s\"", part, fixture_log);
    }
    fixture_clear();
}

__attribute__((unused)) static int fixture_setup(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(fixture_folder, sizeof fixture_folder, "%s/engram-test-XXXXXX",
             tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return mkdtemp(fixture_folder) == NULL ? -1 : 0;
}

__attribute__((unused)) static int fixture_teardown(void **state)
{
    DIR *folder = opendir(fixture_folder);
    struct dirent *entry;
    char path[600];

    (void)state;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", fixture_folder, entry->d_name);
        if (entry->d_name[0] != '.' && unlink(path) != 0) {
            (void)rmdir(path);
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return rmdir(fixture_folder);
}

/* The path of `name` in the folder; valid until the next call. */
__attribute__((unused)) static const char *fixture_name(const char *name)
{
    snprintf(fixture_path, sizeof fixture_path, "%s/%s", fixture_folder, name);
    return fixture_path;
}

__attribute__((unused)) static hid_t fixture_create(const char *name)
{
    hid_t file = H5Fcreate(fixture_name(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    assert_true(file >= 0);
    return file;
}

/* A dataset of doubles converted by HDF5 to `type`; `creation` may be H5P_DEFAULT; NULL data: not
 * written. */
__attribute__((unused)) static void put(hid_t file, const char *path, hid_t type, int rank,
                                        const hsize_t *dims, hid_t creation, hid_t memory,
                                        const void *data)
{
    hid_t links = H5Pcreate(H5P_LINK_CREATE);
    hid_t space = rank < 0 ? H5Screate(H5S_NULL) : H5Screate_simple(rank, dims, NULL);

    assert_true(H5Pset_create_intermediate_group(links, 1) >= 0);
    hid_t dataset = H5Dcreate2(file, path, type, space, links, creation, H5P_DEFAULT);
    assert_true(dataset >= 0);
    if (data != NULL) {
        assert_true(H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    }
    assert_true(H5Dclose(dataset) >= 0);
    (void)H5Sclose(space);
    (void)H5Pclose(links);
}

/* rows x columns float32, value row * columns + column. */
__attribute__((unused)) static void put_matrix(hid_t file, const char *path, hsize_t rows,
                                               hsize_t columns)
{
    hsize_t dims[2] = {rows, columns};
    float *data = calloc(rows * columns + 1, sizeof *data);

    assert_non_null(data);
    for (hsize_t i = 0; i < rows * columns; i++) {
        data[i] = (float)i;
    }
    put(file, path, H5T_IEEE_F32LE, 2, dims, H5P_DEFAULT, H5T_NATIVE_FLOAT, data);
    free(data);
}

/* `rows` variable-length strings "id0", "id1", ... */
__attribute__((unused)) static void put_ids(hid_t file, const char *path, hsize_t rows)
{
    char texts[64][8];
    const char *pointers[64];
    hid_t type = H5Tcopy(H5T_C_S1);

    assert_true(rows <= 64 && H5Tset_size(type, H5T_VARIABLE) >= 0);
    for (hsize_t i = 0; i < rows; i++) {
        snprintf(texts[i], sizeof texts[i], "id%d", (int)(i & 63));
        pointers[i] = texts[i];
    }
    put(file, path, type, 1, &rows, H5P_DEFAULT, type, pointers);
    (void)H5Tclose(type);
}

__attribute__((unused)) static void put_distance(hid_t file, const char *text, bool variable)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    hid_t space = H5Screate(H5S_SCALAR);

    assert_true(H5Tset_size(type, variable ? H5T_VARIABLE : strlen(text) + 3) >= 0);
    hid_t attribute = H5Acreate2(file, "distance", type, space, H5P_DEFAULT, H5P_DEFAULT);
    char fixed[100] = "";
    snprintf(fixed, sizeof fixed, "%s", text);
    assert_true(H5Awrite(attribute, type, variable ? (const void *)&text : fixed) >= 0);
    (void)H5Aclose(attribute);
    (void)H5Sclose(space);
    (void)H5Tclose(type);
}

/* A 16-bit float: exponent bits, mantissa bits, bias. */
__attribute__((unused)) static hid_t custom_float(size_t bytes, size_t exponent, size_t mantissa,
                                                  size_t bias)
{
    hid_t type = H5Tcopy(bytes > 4 ? H5T_IEEE_F64LE : H5T_IEEE_F32LE);
    size_t bits = exponent + mantissa + 1;

    assert_true(H5Tset_fields(type, bits - 1, mantissa, exponent, 0, mantissa) >= 0);
    assert_true(H5Tset_precision(type, bits) >= 0);
    assert_true(H5Tset_size(type, bytes) >= 0);
    assert_true(H5Tset_ebias(type, bias) >= 0);
    return type;
}

#endif
