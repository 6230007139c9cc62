/* The ways to read rows that do not go through H5Dread, against H5Dread. */
#define _GNU_SOURCE
#include "h5_fixture.h"

#include <zlib.h>

#include "io/source.h"
#include "io/source_internal.h"

#define ROWS 37
#define DIM 11

static struct engram_source *source;

static enum engram_status open_way(const char *name, const char *dataset, int64_t first,
                                   int64_t last, int64_t slab_rows, int threads, bool by_hdf5)
{
    static char path[512];
    struct engram_layout layout;

    snprintf(path, sizeof path, "%s", fixture_name(name));
    assert_int_equal(engram_layout_read(path, &fixture_logger, &layout), ENGRAM_OK);
    const struct engram_dataset_info *info = engram_layout_find(&layout, dataset);
    assert_non_null(info);
    const struct engram_source_options options = {
        .path = path,
        .dataset = info,
        .first = first,
        .last = last < 0 ? info->dims[0] : last,
        .slab_rows = slab_rows,
        .threads = threads,
        .by_hdf5 = by_hdf5,
        .log = fixture_logger,
    };
    enum engram_status status = engram_source_open(&options, &source);
    engram_layout_free(&layout);
    return status;
}

static enum engram_status read_first(void)
{
    struct engram_slab slab;

    fixture_clear();
    enum engram_status status = engram_source_next(source, &slab);
    engram_source_close(source);
    return status;
}

/* All slabs one after the other. */
static unsigned char *read_rows(const char *name, const char *dataset, int64_t first, int64_t last,
                                int64_t slab_rows, int threads, bool by_hdf5, size_t *bytes)
{
    struct engram_slab slab;
    unsigned char *all = NULL;

    assert_int_equal(open_way(name, dataset, first, last, slab_rows, threads, by_hdf5), ENGRAM_OK);
    /* Chunks without filters are HDF5's in any case: a damaged index can lie about their size. */
    assert_true((by_hdf5 || (source->chunk[0] > 1 && source->pipeline.count == 0 &&
                             source->way != ENGRAM_WAY_CONTIGUOUS)) ==
                (source->way == ENGRAM_WAY_H5));
    *bytes = 0;
    for (;;) {
        enum engram_status status = engram_source_next(source, &slab);
        if (status != ENGRAM_OK) {
            fail_msg("%s %s: %s", name, dataset, fixture_log);
        }
        if (slab.set.rows == 0) {
            break;
        }
        size_t size = (size_t)slab.set.rows * slab.set.stride;
        all = realloc(all, *bytes + size);
        assert_non_null(all);
        memcpy(all + *bytes, slab.set.data, size);
        memset(source->slab, 0x5a, size); /* must be written again */
        *bytes += size;
    }
    engram_source_close(source);
    return all;
}

static void same_rows(const char *name, const char *dataset, int64_t first, int64_t last,
                      int64_t slab_rows)
{
    size_t wanted_bytes;
    unsigned char *wanted =
        read_rows(name, dataset, first, last, INT64_MAX, 1, true, &wanted_bytes);

    for (int threads = 1; threads <= 5; threads += 2) {
        size_t bytes;
        unsigned char *got =
            read_rows(name, dataset, first, last, slab_rows, threads, false, &bytes);
        assert_int_equal(bytes, wanted_bytes);
        if (memcmp(got, wanted, bytes) != 0) {
            fail_msg("%s %s rows %d to %d, %d threads: not what H5Dread gives", name, dataset,
                     (int)first, (int)last, threads);
        }
        free(got);
    }
    free(wanted);
}

static hid_t chunked(hsize_t rows, hsize_t columns)
{
    hsize_t chunk[2] = {rows, columns};
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);

    assert_true(H5Pset_chunk(list, 2, chunk) >= 0);
    return list;
}

static void add_filter(hid_t list, int kind)
{
    static const H5Z_filter_t filters[] = {H5Z_FILTER_SHUFFLE, H5Z_FILTER_DEFLATE,
                                           H5Z_FILTER_FLETCHER32};
    unsigned level = 4;

    assert_true(H5Pset_filter(list, filters[kind],
                              kind == 2 ? H5Z_FLAG_MANDATORY : H5Z_FLAG_OPTIONAL, kind == 1 ? 1 : 0,
                              kind == 1 ? &level : NULL) >= 0);
}

static const int ORDERS[16][3] = {
    {-1, -1, -1}, {0, -1, -1}, {1, -1, -1}, {2, -1, -1}, {0, 1, -1}, {1, 0, -1},
    {0, 2, -1},   {2, 0, -1},  {1, 2, -1},  {2, 1, -1},  {0, 1, 2},  {0, 2, 1},
    {1, 0, 2},    {1, 2, 0},   {2, 0, 1},   {2, 1, 0},
};

static double number(int i)
{
    return (double)((i * 37) % 101);
}

/* Every order of every set of filters, every element type; edges in both directions. */
static void test_filters(void **state)
{
    const hid_t types[] = {H5T_IEEE_F32LE, H5T_IEEE_F32BE, H5T_IEEE_F64LE,
                           H5T_IEEE_F64BE, H5T_STD_I16LE,  H5T_STD_U16BE,
                           H5T_STD_U8LE,   H5T_STD_I64BE,  custom_float(2, 5, 10, 15),
                           H5T_STD_I8BE,   H5T_STD_U32BE,  custom_float(2, 8, 7, 127)};
    hid_t swapped_half = custom_float(2, 5, 10, 15);
    double values[ROWS * DIM];
    hsize_t dims[2] = {ROWS, DIM};
    hid_t file = fixture_create("filters.h5");
    char path[32];

    (void)state;
    assert_true(H5Tset_order(swapped_half, H5T_ORDER_BE) >= 0);
    for (int i = 0; i < ROWS * DIM; i++) {
        values[i] = number(i);
    }
    for (int order = 0; order < 16; order++) {
        hid_t list = chunked(7, 5);
        for (int i = 0; i < 3 && ORDERS[order][i] >= 0; i++) {
            add_filter(list, ORDERS[order][i]);
        }
        for (int t = 0; t < 13; t++) {
            hid_t type = t < 12 ? types[t] : swapped_half;
            snprintf(path, sizeof path, "/f%d_%d", order, t);
            put(file, path, type, 2, dims, list, H5T_NATIVE_DOUBLE, values);
        }
        (void)H5Pclose(list);
    }
    assert_true(H5Fclose(file) >= 0);
    for (int order = 0; order < 16; order++) {
        for (int t = 0; t < 13; t++) {
            snprintf(path, sizeof path, "/f%d_%d", order, t);
            same_rows("filters.h5", path, 0, -1, INT64_MAX);
        }
        same_rows("filters.h5", path, 3, 33, INT64_MAX);
        same_rows("filters.h5", path, 8, 9, INT64_MAX);
    }
    /* And not only H5Dread's word for it. */
    size_t bytes;
    float *got = (float *)read_rows("filters.h5", "/f10_1", 0, -1, INT64_MAX, 2, false, &bytes);
    assert_int_equal(bytes, sizeof(float) * ROWS * DIM);
    for (int i = 0; i < ROWS * DIM; i++) {
        assert_true((double)got[i] == number(i));
    }
    free(got);
}

/* Chunk shapes and slabs that do not fit each other: wide, narrow, one chunk for all, tiny. */
static void test_shapes(void **state)
{
    static const hsize_t shapes[][2] = {{1, 3},    {64, 3},  {1000, 3}, {1024, 1},
                                        {5000, 2}, {300, 2}, {777, 3}};
    hsize_t dims[2] = {5000, 3};
    float *values = calloc(15000, sizeof *values);
    hid_t file = fixture_create("shapes.h5");
    char path[32];

    (void)state;
    assert_non_null(values);
    for (int i = 0; i < 15000; i++) {
        values[i] = (float)i;
    }
    for (int i = 0; i < 7; i++) {
        hid_t list = chunked(shapes[i][0], shapes[i][1]);
        add_filter(list, 0);
        add_filter(list, 1);
        snprintf(path, sizeof path, "/s%d", i);
        put(file, path, H5T_IEEE_F32BE, 2, dims, list, H5T_NATIVE_FLOAT, values);
        (void)H5Pclose(list);
    }
    assert_true(H5Fclose(file) >= 0);
    for (int i = 0; i < 7; i++) {
        snprintf(path, sizeof path, "/s%d", i);
        same_rows("shapes.h5", path, 0, -1, INT64_MAX);
        same_rows("shapes.h5", path, 7, 4990, 1000);
        same_rows("shapes.h5", path, 2048, 4096, 1024);
    }
    free(values);
}

static size_t put_checksum(unsigned char *bytes, size_t size)
{
    uint32_t sum = engram_fletcher32(bytes, size);

    for (int i = 0; i < 4; i++) {
        bytes[size + (size_t)i] = (unsigned char)(sum >> 8 * i);
    }
    return size + 4;
}

static size_t shuffle_bytes(unsigned char *bytes, size_t size)
{
    unsigned char planes[4096];

    assert_true(size <= sizeof planes);
    for (size_t i = 0; i < size; i++) {
        planes[i % 4 * (size / 4) + i / 4] = bytes[i];
    }
    memcpy(bytes, planes, size);
    return size;
}

static size_t deflate_bytes(unsigned char *bytes, size_t size)
{
    unsigned char packed[4096];
    uLongf length = sizeof packed;

    assert_int_equal(compress2(packed, &length, bytes, (uLong)size, 5), Z_OK);
    memcpy(bytes, packed, length);
    return length;
}

static void write_raw(hid_t dataset, hsize_t row, hsize_t column, uint32_t mask, size_t size,
                      const void *bytes)
{
    hsize_t corner[2] = {row, column};

    assert_true(H5Dwrite_chunk(dataset, H5P_DEFAULT, mask, corner, size, bytes) >= 0);
}

/* Every bit of the filter mask, with each chunk packed here by the filters that it leaves. */
static void test_masks(void **state)
{
    hid_t file = fixture_create("masks.h5");
    hid_t list = chunked(8, 4);
    hsize_t dims[2] = {64, 4};
    unsigned char bytes[4096];

    (void)state;
    add_filter(list, 0);
    add_filter(list, 1);
    add_filter(list, 2);
    put(file, "/x", H5T_IEEE_F32LE, 2, dims, list, -1, NULL);
    hid_t dataset = H5Dopen2(file, "/x", H5P_DEFAULT);
    for (uint32_t mask = 0; mask < 8; mask++) {
        float values[32];
        for (int i = 0; i < 32; i++) {
            values[i] = (float)(100 * (int)mask + i);
        }
        memcpy(bytes, values, sizeof values);
        size_t size = sizeof values;
        size = mask & 1 ? size : shuffle_bytes(bytes, size);
        size = mask & 2 ? size : deflate_bytes(bytes, size);
        size = mask & 4 ? size : put_checksum(bytes, size);
        write_raw(dataset, 8 * mask, 0, mask, size, bytes);
    }
    (void)H5Dclose(dataset);
    assert_true(H5Fclose(file) >= 0);
    (void)H5Pclose(list);
    same_rows("masks.h5", "/x", 0, -1, INT64_MAX);
    same_rows("masks.h5", "/x", 5, 60, INT64_MAX);
    size_t got_bytes;
    float *got = (float *)read_rows("masks.h5", "/x", 0, -1, INT64_MAX, 2, false, &got_bytes);
    for (int i = 0; i < 256; i++) {
        assert_true(got[i] == (float)(100 * (i / 32) + i % 32));
    }
    free(got);
}

/* Chunks that were never written: the fill value, with filters and without, whatever was in the
 * slab's memory before. */
static void test_fill(void **state)
{
    hid_t file = fixture_create("fill.h5");
    hsize_t dims[2] = {3000, 5};
    hsize_t start[2] = {1001, 3};
    hsize_t count[2] = {2, 1};
    float value = 0.25F;
    float data[2] = {7, 8};
    char path[32];

    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        hid_t list = chunked(10, 2);
        for (int i = 0; i < kind % 3; i++) {
            add_filter(list, i);
        }
        assert_true(kind >= 3 || H5Pset_fill_value(list, H5T_NATIVE_FLOAT, &value) >= 0);
        assert_true(kind != 5 || H5Pset_fill_time(list, H5D_FILL_TIME_NEVER) >= 0);
        snprintf(path, sizeof path, "/f%d", kind);
        put(file, path, kind % 2 ? H5T_IEEE_F32BE : H5T_STD_I32LE, 2, dims, list, -1, NULL);
        hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
        hid_t space = H5Dget_space(dataset);
        hid_t memory = H5Screate_simple(2, count, NULL);
        (void)H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
        if (kind != 5) {
            assert_true(H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, data) >= 0);
        }
        (void)H5Sclose(memory);
        (void)H5Sclose(space);
        (void)H5Dclose(dataset);
        (void)H5Pclose(list);
    }
    assert_true(H5Fclose(file) >= 0);
    for (int kind = 0; kind < 6; kind++) {
        snprintf(path, sizeof path, "/f%d", kind);
        same_rows("fill.h5", path, 0, -1, INT64_MAX);
        same_rows("fill.h5", path, 5, 2995, 1024);
    }
}

/* Edge chunks that are not filtered although their mask does not say so. */
static void test_plain_edges(void **state)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    double values[ROWS * DIM];
    hsize_t dims[2] = {ROWS, DIM};
    hid_t list = chunked(7, 5);

    (void)state;
    for (int i = 0; i < ROWS * DIM; i++) {
        values[i] = number(i);
    }
    add_filter(list, 0);
    add_filter(list, 1);
    assert_true(H5Pset_chunk_opts(list, H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) >= 0);
    assert_true(H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST) >= 0);
    hid_t file = H5Fcreate(fixture_name("edges.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, access);
    assert_true(file >= 0);
    put(file, "/x", H5T_IEEE_F32LE, 2, dims, list, H5T_NATIVE_DOUBLE, values);
    assert_true(H5Fclose(file) >= 0);
    (void)H5Pclose(access);
    (void)H5Pclose(list);
    same_rows("edges.h5", "/x", 0, -1, INT64_MAX);
}

static void fails_at(const char *path, const char *what)
{
    for (int threads = 1; threads <= 3; threads++) {
        fixture_clear();
        assert_int_equal(open_way("lies.h5", path, 3, -1, INT64_MAX, threads, false), ENGRAM_OK);
        assert_int_equal(source->way, ENGRAM_WAY_CHUNKS);
        assert_int_equal(read_first(), ENGRAM_ERR_DATA);
        assert_logged(what);
    }
}

/* Chunks that are not what they should be; the message names the chunk and its rows. */
static void test_lies(void **state)
{
    static const char *const paths[] = {"/garbage", "/short", "/long",    "/cut",
                                        "/sum",     "/tiny",  "/twolies", "/huge"};
    hid_t file = fixture_create("lies.h5");
    hsize_t dims[2] = {32, 4};
    unsigned char bytes[8192];
    static unsigned char much[9000];

    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        hid_t list = chunked(8, 4);
        float values[128] = {1};
        add_filter(list, kind == 4 || kind == 5 ? 2 : 1);
        put(file, paths[kind], H5T_IEEE_F32LE, 2, dims, list, H5T_NATIVE_FLOAT, values);
        hid_t dataset = H5Dopen2(file, paths[kind], H5P_DEFAULT);
        memset(bytes, 0, sizeof bytes);
        size_t size = kind == 1 ? 64 : kind == 2 ? 4096 : 128;
        if (kind != 0 && kind != 4 && kind != 5) {
            size = deflate_bytes(bytes, size);
        }
        size = kind == 0 ? 100 : kind == 3 ? size - 5 : kind == 5 ? 3 : size;
        if (kind == 4) {
            size = put_checksum(bytes, size);
            bytes[size - 1] ^= 1;
        }
        if (kind == 6) { /* the first one is reported */
            write_raw(dataset, 24, 0, 0, 50, much);
            write_raw(dataset, 16, 0, 0, 50, much);
        } else if (kind == 7) {
            write_raw(dataset, 16, 0, 0, sizeof much, much);
        } else {
            write_raw(dataset, 16, 0, 0, size, bytes);
        }
        (void)H5Dclose(dataset);
        (void)H5Pclose(list);
    }
    assert_true(H5Fclose(file) >= 0);
#define AT "rows 16 to 24 cannot be read (the chunk at row 16, column 0: "
    fails_at("/garbage", "/garbage: " AT "its deflate stream is damaged");
    fails_at("/short", "/short: " AT "it inflates to fewer bytes than its shape takes");
    fails_at("/long", "/long: " AT "it inflates to more bytes than its shape takes");
    fails_at("/cut", "/cut: " AT "its deflate stream is damaged");
    fails_at("/sum", "/sum: " AT "its checksum is wrong");
    fails_at("/tiny", "/tiny: " AT "it is too short for its checksum");
    fails_at("/twolies", "/twolies: " AT "its deflate stream is damaged");
    fails_at("/huge", "/huge: " AT "it takes more bytes than a chunk of its shape can");
}

/* The mask says unfiltered, the size says otherwise. */
static void test_wrong_size(void **state)
{
    hid_t file = fixture_create("lies.h5");
    hsize_t dims[2] = {32, 4};
    unsigned char bytes[256] = {0};
    char path[32];

    (void)state;
    for (int more = 0; more < 2; more++) {
        hid_t list = chunked(8, 4);
        add_filter(list, 1);
        snprintf(path, sizeof path, "/m%d", more);
        put(file, path, H5T_IEEE_F32LE, 2, dims, list, -1, NULL);
        hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
        write_raw(dataset, 16, 0, 1, more ? 132 : 124, bytes);
        (void)H5Dclose(dataset);
        (void)H5Pclose(list);
    }
    assert_true(H5Fclose(file) >= 0);
    fails_at("/m0", "/m0: " AT "it holds fewer bytes than its shape takes");
    fails_at("/m1", "/m1: " AT "it holds more bytes than its shape takes");
}

/* As many chunks as make anything quadratic take minutes. */
static void test_many_chunks(void **state)
{
    hid_t file = fixture_create("many.h5");
    hsize_t dims[2] = {10000, 4};
    float *values = calloc(40000, sizeof *values);
    hid_t list = chunked(1, 2);

    (void)state;
    assert_non_null(values);
    for (int i = 0; i < 40000; i++) {
        values[i] = (float)i;
    }
    add_filter(list, 0);
    put(file, "/x", H5T_IEEE_F32LE, 2, dims, list, H5T_NATIVE_FLOAT, values);
    assert_true(H5Fclose(file) >= 0);
    (void)H5Pclose(list);
    size_t bytes;
    float *got = (float *)read_rows("many.h5", "/x", 0, -1, INT64_MAX, 3, false, &bytes);
    assert_int_equal(bytes, 160000);
    assert_memory_equal(got, values, bytes);
    free(got);
    free(values);
}

static void test_inexact(void **state)
{
    hid_t file = fixture_create("inexact.h5");
    hsize_t dims[2] = {40, 6};
    int64_t values[240] = {0};
    int64_t fill = (INT64_C(1) << 53) + 1;

    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        hid_t list = chunked(8, 4);
        values[31 * 6 + 5] = INT64_MAX;
        put(file, kind ? "/chunked" : "/contiguous", kind ? H5T_STD_I64BE : H5T_STD_I64LE, 2, dims,
            kind ? list : H5P_DEFAULT, H5T_NATIVE_INT64, values);
        (void)H5Pclose(list);
    }
    hid_t list = chunked(8, 4);
    add_filter(list, 1);
    assert_true(H5Pset_fill_value(list, H5T_NATIVE_INT64, &fill) >= 0);
    put(file, "/fill", H5T_STD_I64LE, 2, dims, list, -1, NULL);
    (void)H5Pclose(list);
    assert_true(H5Fclose(file) >= 0);
    for (int threads = 1; threads <= 3; threads++) {
        assert_int_equal(open_way("inexact.h5", "/chunked", 5, -1, INT64_MAX, threads, false),
                         ENGRAM_OK);
        assert_int_equal(read_first(), ENGRAM_ERR_DATA);
        assert_logged("/chunked: row 31, column 5: a 64-bit integer");
        assert_int_equal(open_way("inexact.h5", "/contiguous", 5, -1, INT64_MAX, threads, false),
                         ENGRAM_OK);
        assert_int_equal(read_first(), ENGRAM_ERR_DATA);
        assert_logged("/contiguous: row 31, column 5: a 64-bit integer");
        assert_int_equal(open_way("inexact.h5", "/fill", 5, -1, INT64_MAX, threads, false),
                         ENGRAM_OK);
        assert_int_equal(read_first(), ENGRAM_ERR_DATA);
        assert_logged("/fill: row 5, column 0: a 64-bit integer");
    }
}

/* Contiguous data behind a user block, more than one read long, of every kind of element. */
static void test_contiguous(void **state)
{
    const hid_t types[] = {H5T_IEEE_F32LE, H5T_IEEE_F32BE, H5T_IEEE_F64BE, H5T_STD_I8LE,
                           H5T_STD_I16BE,  H5T_IEEE_F64LE, H5T_STD_U64LE};
    hsize_t dims[2] = {20000, 31};
    hid_t creation = H5Pcreate(H5P_FILE_CREATE);
    double *values = calloc(620000, sizeof *values);
    char path[32];

    (void)state;
    assert_non_null(values);
    for (int i = 0; i < 620000; i++) {
        values[i] = number(i);
    }
    for (int block = 0; block < 2; block++) {
        assert_true(H5Pset_userblock(creation, block ? 2048 : 0) >= 0);
        hid_t file = H5Fcreate(fixture_name("contiguous.h5"), H5F_ACC_TRUNC, creation, H5P_DEFAULT);
        assert_true(file >= 0);
        for (int t = 0; t < 7; t++) {
            snprintf(path, sizeof path, "/c%d", t);
            put(file, path, types[t], 2, dims, H5P_DEFAULT, H5T_NATIVE_DOUBLE, values);
        }
        assert_true(H5Fclose(file) >= 0);
        for (int t = 0; t < 7; t++) {
            snprintf(path, sizeof path, "/c%d", t);
            same_rows("contiguous.h5", path, 0, -1, INT64_MAX);
            same_rows("contiguous.h5", path, 17, 19001, 4096);
        }
    }
    (void)H5Pclose(creation);
    free(values);
}

/* The file gets shorter while it is open: never a hang, never zeros in place of data. */
static void test_cut(void **state)
{
    static const char *const paths[] = {"/plain", "/swapped", "/raw", "/packed"};
    hsize_t dims[2] = {20000, 8};
    float *values = calloc(160000, sizeof *values);
    struct stat info;

    (void)state;
    assert_non_null(values);
    for (int i = 0; i < 160000; i++) {
        values[i] = (float)number(i);
    }
    for (int kind = 0; kind < 4; kind++) {
        hid_t file = fixture_create("cut.h5");
        hid_t list = chunked(100, 8);
        if (kind == 3) {
            add_filter(list, 1);
        }
        put(file, paths[kind], kind == 1 ? H5T_IEEE_F32BE : H5T_IEEE_F32LE, 2, dims,
            kind < 2 ? H5P_DEFAULT : list, H5T_NATIVE_FLOAT, values);
        (void)H5Pclose(list);
        assert_true(H5Fclose(file) >= 0);
        assert_int_equal(stat(fixture_name("cut.h5"), &info), 0);
        assert_int_equal(open_way("cut.h5", paths[kind], 0, -1, INT64_MAX, 2, false), ENGRAM_OK);
        assert_int_equal(truncate(fixture_name("cut.h5"), info.st_size / 2), 0);
        assert_int_equal(read_first(), ENGRAM_ERR_IO);
        assert_logged(kind < 2 ? "the file ended while it was being read"
                               : "bytes while it was being read");
    }
    free(values);
}

static void test_fletcher(void **state)
{
    unsigned char bytes[3001];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(255 - i % 7);
    }
    for (size_t size = 0; size <= sizeof bytes; size += 1 + size / 3) {
        /* By definition, one word at a time. */
        uint32_t low = 0;
        uint32_t high = 0;
        for (size_t i = 0; i < size; i += 2) {
            low += (uint32_t)bytes[i] << 8 | (i + 1 < size ? bytes[i + 1] : 0U);
            low = (low & 65535) + (low >> 16);
            high += low;
            high = (high & 65535) + (high >> 16);
        }
        assert_int_equal(engram_fletcher32(bytes, size), high << 16 | low);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters),     cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_masks),       cmocka_unit_test(test_fill),
        cmocka_unit_test(test_plain_edges), cmocka_unit_test(test_lies),
        cmocka_unit_test(test_wrong_size),  cmocka_unit_test(test_many_chunks),
        cmocka_unit_test(test_inexact),     cmocka_unit_test(test_contiguous),
        cmocka_unit_test(test_cut),         cmocka_unit_test(test_fletcher),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
