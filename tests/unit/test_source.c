#define _GNU_SOURCE
#include "h5_fixture.h"

#include <math.h>
#include <sys/resource.h>

#include "base/pages.h"
#include "io/source.h"

static struct engram_layout layout;
static struct engram_source *source;

static enum engram_status open_rows(const char *name, const char *dataset, int64_t first,
                                    int64_t last, int64_t slab_rows)
{
    static char path[512];
    struct engram_source_options options = {.threads = 2, .slab_rows = slab_rows};

    snprintf(path, sizeof path, "%s", fixture_name(name));
    fixture_clear();
    assert_int_equal(engram_layout_read(path, &fixture_logger, &layout), ENGRAM_OK);
    options.path = path;
    options.dataset = engram_layout_find(&layout, dataset);
    assert_non_null(options.dataset);
    options.first = first;
    options.last = last < 0 ? options.dataset->dims[0] : last;
    options.log = fixture_logger;
    enum engram_status status = engram_source_open(&options, &source);
    engram_layout_free(&layout);
    return status;
}

/* All rows of a dataset as doubles in one slab. */
static double *read_all(const char *name, const char *dataset, int64_t *rows, int64_t *dim,
                        enum engram_dtype *dtype)
{
    struct engram_slab slab;

    assert_int_equal(open_rows(name, dataset, 0, -1, INT64_MAX), ENGRAM_OK);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
    *rows = slab.set.rows;
    *dim = slab.set.dim;
    *dtype = slab.set.dtype;
    size_t count = (size_t)(slab.set.rows * slab.set.dim);
    double *values = calloc(count + 1, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        values[i] = slab.set.dtype == ENGRAM_F32 ? (double)((const float *)slab.set.data)[i]
                                                 : ((const double *)slab.set.data)[i];
    }
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
    assert_int_equal(slab.set.rows, 0);
    engram_source_close(source);
    return values;
}

#define ROWS 21
#define DIM 5

static double sample(hid_t type, int i)
{
    bool positive = H5Tget_class(type) == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_NONE;
    int value = (i * 37) % 101;

    return positive ? value : value - 50;
}

static hid_t storage(int kind)
{
    hsize_t chunk[2] = {4, 3};
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    int bad = 0;

    if (kind == 1) {
        bad = H5Pset_layout(list, H5D_COMPACT);
    } else if (kind > 1) {
        bad = H5Pset_chunk(list, 2, chunk);
    }
    switch (kind) {
    case 3:
        bad |= H5Pset_deflate(list, 6);
        break;
    case 4:
        bad |= H5Pset_shuffle(list) | H5Pset_deflate(list, 1);
        break;
    case 5:
        bad |= H5Pset_fletcher32(list);
        break;
    case 6:
        bad |= H5Pset_nbit(list);
        break;
    case 7:
        bad |= H5Pset_scaleoffset(list, H5Z_SO_INT, H5Z_SO_INT_MINBITS_DEFAULT);
        break;
    case 8:
        bad |= H5Pset_szip(list, H5_SZIP_NN_OPTION_MASK, 4);
        break;
    default:
        break;
    }
    assert_true(bad >= 0);
    return list;
}

static bool possible(int kind, hid_t type)
{
    unsigned config = 0;

    if (kind == 7) {
        return H5Tget_class(type) == H5T_INTEGER;
    }
    return kind != 8 || (H5Zfilter_avail(H5Z_FILTER_SZIP) > 0 &&
                         H5Zget_filter_info(H5Z_FILTER_SZIP, &config) >= 0 &&
                         (config & H5Z_FILTER_CONFIG_ENCODE_ENABLED) != 0);
}

/* Every element type in both byte orders and every way of storing it. */
static void test_types_and_storage(void **state)
{
    hid_t half = custom_float(2, 5, 10, 15);
    hid_t half_big = H5Tcopy(half);
    hid_t bfloat = custom_float(2, 8, 7, 127);
    hid_t bfloat_big = H5Tcopy(bfloat);
    hid_t odd = custom_float(4, 8, 15, 127);
    hid_t wide = custom_float(8, 11, 30, 1023);
    hid_t types[] = {H5T_IEEE_F32LE, H5T_IEEE_F32BE, H5T_IEEE_F64LE,
                     H5T_IEEE_F64BE, half,           half_big,
                     bfloat,         bfloat_big,     odd,
                     wide,           H5T_STD_I8LE,   H5T_STD_I8BE,
                     H5T_STD_U8LE,   H5T_STD_U8BE,   H5T_STD_I16LE,
                     H5T_STD_I16BE,  H5T_STD_U16LE,  H5T_STD_U16BE,
                     H5T_STD_I32LE,  H5T_STD_I32BE,  H5T_STD_U32LE,
                     H5T_STD_U32BE,  H5T_STD_I64LE,  H5T_STD_I64BE,
                     H5T_STD_U64LE,  H5T_STD_U64BE};
    int count = (int)(sizeof types / sizeof types[0]);
    hsize_t dims[2] = {ROWS, DIM};
    double values[ROWS * DIM];
    char path[32];
    int read = 0;

    (void)state;
    assert_true(H5Tset_order(half_big, H5T_ORDER_BE) >= 0);
    assert_true(H5Tset_order(bfloat_big, H5T_ORDER_BE) >= 0);
    hid_t file = fixture_create("types.h5");
    for (int t = 0; t < count; t++) {
        for (int i = 0; i < ROWS * DIM; i++) {
            values[i] = sample(types[t], i);
        }
        for (int kind = 0; kind < 9; kind++) {
            if (!possible(kind, types[t])) {
                continue;
            }
            hid_t list = storage(kind);
            snprintf(path, sizeof path, "/t%d_%d", t, kind);
            put(file, path, types[t], 2, dims, list, H5T_NATIVE_DOUBLE, values);
            (void)H5Pclose(list);
        }
    }
    assert_true(H5Fclose(file) >= 0);
    for (int t = 0; t < count; t++) {
        for (int kind = 0; kind < 9; kind++) {
            int64_t rows = 0;
            int64_t dim = 0;
            enum engram_dtype dtype;
            if (!possible(kind, types[t])) {
                continue;
            }
            snprintf(path, sizeof path, "/t%d_%d", t, kind);
            double *got = read_all("types.h5", path, &rows, &dim, &dtype);
            assert_int_equal(rows, ROWS);
            assert_int_equal(dim, DIM);
            size_t bytes = H5Tget_size(types[t]);
            bool narrow = H5Tget_class(types[t]) == H5T_FLOAT ? bytes <= 4 : bytes <= 2;
            assert_int_equal(dtype, narrow ? ENGRAM_F32 : ENGRAM_F64);
            for (int i = 0; i < ROWS * DIM; i++) {
                if (got[i] != sample(types[t], i)) {
                    fail_msg("%s element %d: %g, wanted %g", path, i, got[i], sample(types[t], i));
                }
            }
            free(got);
            read++;
        }
    }
    assert_true(read >= count * 7);
}

/* Half precision by definition. */
static double half_value(unsigned bits)
{
    double sign = bits >> 15 ? -1 : 1;
    int exponent = (bits >> 10) & 31;
    int mantissa = bits & 1023;

    if (exponent == 31) {
        return mantissa ? (double)NAN : sign * (double)INFINITY;
    }
    return exponent ? sign * ldexp(1024 + mantissa, exponent - 25) : sign * ldexp(mantissa, -24);
}

/* All 65536 values of both 16-bit formats, infinities, NaN and denormals included. */
static void test_all_halves(void **state)
{
    static uint16_t bits[65536];
    hsize_t dims[2] = {256, 256};
    hid_t half = custom_float(2, 5, 10, 15);
    hid_t bfloat = custom_float(2, 8, 7, 127);
    hid_t file = fixture_create("halves.h5");
    int64_t rows = 0;
    int64_t dim = 0;
    enum engram_dtype dtype;

    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        bits[i] = (uint16_t)i;
    }
    put(file, "/half", half, 2, dims, H5P_DEFAULT, half, bits);
    put(file, "/bfloat", bfloat, 2, dims, H5P_DEFAULT, bfloat, bits);
    assert_true(H5Fclose(file) >= 0);
    double *got = read_all("halves.h5", "half", &rows, &dim, &dtype);
    for (unsigned i = 0; i < 65536; i++) {
        double wanted = half_value(i);
        if (isnan(wanted) ? !isnan(got[i])
                          : got[i] != wanted || signbit(got[i]) != signbit(wanted)) {
            fail_msg("half %04x: %g, wanted %g", i, got[i], wanted);
        }
    }
    free(got);
    got = read_all("halves.h5", "bfloat", &rows, &dim, &dtype);
    for (unsigned i = 0; i < 65536; i++) {
        uint32_t wide = i << 16;
        float wanted;
        memcpy(&wanted, &wide, sizeof wanted);
        if (isnan(wanted) ? !isnan(got[i]) : got[i] != (double)wanted) {
            fail_msg("bfloat %04x: %g, wanted %g", i, got[i], (double)wanted);
        }
    }
    free(got);
}

static void test_wide_integers(void **state)
{
    hsize_t dims[2] = {3, 2};
    int64_t good[6] = {INT64_C(1) << 53, -(INT64_C(1) << 53), 0, 1, -1, 7};
    int64_t bad[6] = {0, 0, 0, -(INT64_C(1) << 53) - 1, 0, INT64_MAX};
    uint64_t huge[6] = {0, 0, 0, 0, 0, UINT64_MAX};
    hid_t file = fixture_create("wide.h5");
    int64_t rows = 0;
    int64_t dim = 0;
    enum engram_dtype dtype;
    struct engram_slab slab;

    (void)state;
    put(file, "/good", H5T_STD_I64BE, 2, dims, H5P_DEFAULT, H5T_NATIVE_INT64, good);
    put(file, "/bad", H5T_STD_I64LE, 2, dims, H5P_DEFAULT, H5T_NATIVE_INT64, bad);
    put(file, "/huge", H5T_STD_U64LE, 2, dims, H5P_DEFAULT, H5T_NATIVE_UINT64, huge);
    assert_true(H5Fclose(file) >= 0);
    double *got = read_all("wide.h5", "good", &rows, &dim, &dtype);
    for (int i = 0; i < 6; i++) {
        assert_true((int64_t)got[i] == good[i]);
    }
    free(got);
    assert_int_equal(open_rows("wide.h5", "bad", 0, -1, INT64_MAX), ENGRAM_OK);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_ERR_DATA);
    assert_logged("/bad: row 1, column 1:");
    engram_source_close(source);
    assert_int_equal(open_rows("wide.h5", "huge", 0, -1, INT64_MAX), ENGRAM_OK);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_ERR_DATA);
    assert_logged("/huge: row 2, column 1:");
    engram_source_close(source);
}

static void test_slabs(void **state)
{
    hid_t file = fixture_create("slabs.h5");
    hid_t list = storage(4);
    hsize_t dims[2] = {5000, 3};
    float *values = calloc(15000, sizeof *values);
    struct engram_slab slab;
    int64_t next = 7;
    size_t bytes = 0;

    (void)state;
    assert_non_null(values);
    for (int i = 0; i < 15000; i++) {
        values[i] = (float)i;
    }
    put(file, "/x", H5T_IEEE_F32BE, 2, dims, list, H5T_NATIVE_FLOAT, values);
    assert_true(H5Fclose(file) >= 0);
    assert_int_equal(open_rows("slabs.h5", "x", 7, 4990, 1500), ENGRAM_OK);
    for (;;) {
        assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
        assert_int_equal(slab.first_row, next);
        if (slab.set.rows == 0) {
            break;
        }
        assert_true(slab.set.rows == 2048 || next + slab.set.rows == 4990);
        const float *data = slab.set.data;
        assert_memory_equal(data, values + 3 * next, (size_t)slab.set.rows * 12);
        if (next == 7) { /* the memory of a slab that was taken stays */
            void *taken = engram_source_take(source, &bytes);
            assert_ptr_equal(taken, slab.set.data);
            assert_true(bytes >= 2048 * 12);
            engram_pages_free(taken, bytes);
        }
        next += slab.set.rows;
    }
    assert_int_equal(next, 4990);
    engram_source_close(source);
    (void)H5Pclose(list);
    free(values);
}

static void test_empty(void **state)
{
    hid_t file = fixture_create("empty.h5");
    hsize_t dims[2] = {3, 2};
    int64_t rows = -1;
    int64_t dim = -1;
    enum engram_dtype dtype;

    (void)state;
    put_matrix(file, "/no_rows", 0, 4);
    put_matrix(file, "/no_columns", 4, 0);
    put(file, "/unwritten", H5T_IEEE_F32LE, 2, dims, H5P_DEFAULT, -1, NULL);
    assert_true(H5Fclose(file) >= 0);
    free(read_all("empty.h5", "no_rows", &rows, &dim, &dtype));
    assert_int_equal(rows, 0);
    assert_int_equal(dim, 4);
    free(read_all("empty.h5", "no_columns", &rows, &dim, &dtype));
    assert_int_equal(rows, 4);
    assert_int_equal(dim, 0);
    double *got = read_all("empty.h5", "unwritten", &rows, &dim, &dtype);
    assert_true(rows == 3 && got[0] == 0 && got[5] == 0);
    free(got);
}

static void put_special(hid_t file, const char *path, hid_t list)
{
    hsize_t dims[2] = {40, 3};

    put(file, path, H5T_IEEE_F32LE, 2, dims, list, -1, NULL);
    (void)H5Pclose(list);
}

/* Virtual and external storage are refused, and the other file is not touched. */
static void test_refused_storage(void **state)
{
    hid_t file = fixture_create("refused.h5");
    hsize_t dims[2] = {40, 3};
    hid_t space = H5Screate_simple(2, dims, NULL);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);

    (void)state;
    assert_true(H5Pset_external(list, "raw.bin", 0, H5F_UNLIMITED) >= 0);
    put_special(file, "/external", list);
    list = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Pset_virtual(list, space, "other.h5", "/x", space) >= 0);
    put_special(file, "/virtual", list);
    put_matrix(file, "/plain", 2, 2);
    assert_true(H5Fclose(file) >= 0);
    (void)H5Sclose(space);
    assert_int_equal(open_rows("refused.h5", "external", 0, -1, INT64_MAX), ENGRAM_ERR_USAGE);
    assert_logged("/external: keeps its data in external files");
    assert_int_equal(open_rows("refused.h5", "virtual", 0, -1, INT64_MAX), ENGRAM_ERR_USAGE);
    assert_logged("/virtual: is virtual, with sources in other files");
}

/* A stand-in for a filter: present while the file is written, gone when it is read. */
static size_t copy_filter(unsigned flags, size_t count, const unsigned *values, size_t bytes,
                          size_t *size, void **buffer)
{
    (void)flags;
    (void)count;
    (void)values;
    (void)size;
    (void)buffer;
    return bytes;
}

static void test_missing_filter(void **state)
{
    const H5Z_class2_t filter = {H5Z_CLASS_T_VERS, 32015, 1, 1, "zstd", NULL, NULL, copy_filter};
    hid_t file = fixture_create("filter.h5");
    hsize_t dims[2] = {40, 3};
    float values[120] = {1};
    struct engram_slab slab;

    (void)state;
    assert_true(H5Zregister(&filter) >= 0);
    for (int optional = 0; optional < 2; optional++) {
        hid_t list = storage(2);
        assert_true(H5Pset_filter(list, 32015, optional ? H5Z_FLAG_OPTIONAL : H5Z_FLAG_MANDATORY, 0,
                                  NULL) >= 0);
        put(file, optional ? "/optional" : "/required", H5T_IEEE_F32LE, 2, dims, list,
            H5T_NATIVE_FLOAT, values);
        (void)H5Pclose(list);
    }
    assert_true(H5Fclose(file) >= 0);
    assert_true(H5Zunregister(32015) >= 0);
    assert_int_equal(open_rows("filter.h5", "required", 0, -1, INT64_MAX), ENGRAM_ERR_PLUGIN);
    assert_logged("filter 32015 (zstd)");
    assert_int_equal(open_rows("filter.h5", "optional", 0, -1, INT64_MAX), ENGRAM_OK);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_ERR_PLUGIN);
    assert_logged("filter 32015 (zstd)");
    engram_source_close(source);
}

static void test_damage(void **state)
{
    hid_t file = fixture_create("damage.h5");
    hsize_t dims[2] = {12, 4};
    float values[48];
    hid_t list = storage(5);
    struct engram_slab slab;

    (void)state;
    for (int i = 0; i < 48; i++) {
        values[i] = (float)(1000 + i);
    }
    put(file, "/sum", H5T_IEEE_F32LE, 2, dims, list, H5T_NATIVE_FLOAT, values);
    put(file, "/plain", H5T_IEEE_F32LE, 2, dims, H5P_DEFAULT, H5T_NATIVE_FLOAT, values);
    assert_true(H5Fclose(file) >= 0);
    (void)H5Pclose(list);

    /* Flip one bit of element (9, 0) where it is stored with a checksum. */
    static char bytes[65536];
    FILE *stream = fopen(fixture_name("damage.h5"), "r+b");
    assert_non_null(stream);
    size_t size = fread(bytes, 1, sizeof bytes, stream);
    float first = values[36];
    float second = values[37];
    size_t at = 0;
    for (size_t i = 0; i + 12 <= size && at == 0; i++) {
        /* in its chunk (9, 0) is followed by (9, 1), (9, 2) and then the next row */
        if (memcmp(bytes + i, &first, 4) == 0 && memcmp(bytes + i + 4, &second, 4) == 0 &&
            memcmp(bytes + i + 12, &values[39], 4) != 0) {
            at = i;
        }
    }
    assert_true(at > 0);
    assert_int_equal(fseek(stream, (long)at, SEEK_SET), 0);
    assert_true(fputc(bytes[at] ^ 1, stream) != EOF);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(open_rows("damage.h5", "sum", 1, 12, INT64_MAX), ENGRAM_OK);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_ERR_DATA);
    assert_logged("/sum: rows 8 to 12 cannot be read");
    engram_source_close(source);
}

/* The shape in the file's header made larger than the file: refused before memory is asked for. */
static void test_claims(void **state)
{
    hid_t file = fixture_create("claims.h5");
    hsize_t vast[2] = {1000000000, 1000};
    hsize_t wide[2] = {2, 1 << 25};
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t chunk[2] = {1, 1024};
    static char bytes[65536];
    uint64_t marker[2] = {54321, 3};
    size_t changed = 0;

    (void)state;
    put_matrix(file, "/lies", 54321, 3);
    put(file, "/vast", H5T_IEEE_F32LE, 2, vast, H5P_DEFAULT, -1, NULL);
    assert_true(H5Pset_chunk(list, 2, chunk) >= 0);
    put(file, "/wide", H5T_IEEE_F32LE, 2, wide, list, -1, NULL);
    assert_true(H5Fclose(file) >= 0);
    (void)H5Pclose(list);
    FILE *stream = fopen(fixture_name("claims.h5"), "r+b");
    assert_non_null(stream);
    size_t size = fread(bytes, 1, sizeof bytes, stream);
    for (size_t i = 0; i + 16 <= size; i++) {
        if (memcmp(bytes + i, marker, 16) == 0) {
            uint64_t more = UINT64_C(1) << 40;
            assert_int_equal(fseek(stream, (long)i, SEEK_SET), 0);
            assert_int_equal(fwrite(&more, 8, 1, stream), 1);
            changed++;
            i += 15;
        }
    }
    assert_int_equal(fclose(stream), 0);
    assert_true(changed > 0);
    enum engram_status status = open_rows("claims.h5", "lies", 0, -1, INT64_MAX);
    assert_int_equal(status, ENGRAM_ERR_DATA);
    assert_non_null(strstr(fixture_log, "/lies: "));
    assert_int_equal(open_rows("claims.h5", "wide", 0, -1, INT64_MAX), ENGRAM_ERR_DATA);
    assert_logged("/wide: has 33554432 dimensions");
    assert_int_equal(open_rows("claims.h5", "vast", 0, -1, INT64_MAX), ENGRAM_ERR_DATA);
    assert_logged(
        "/vast: its shape takes 4000000000000 bytes, of which at most 0 were ever written");
    assert_int_equal(open_rows("claims.h5", "vast", 5, 10, INT64_MAX), ENGRAM_OK);
    engram_source_close(source);
}

static uint64_t seen;

static void progress(void *context, uint64_t done, uint64_t total)
{
    int *flag = context;

    assert_int_equal(total, 30);
    seen = done;
    if (flag != NULL) {
        *flag = 1;
    }
}

static void test_cancel_and_progress(void **state)
{
    hid_t file = fixture_create("cancel.h5");
    int flag = 0;
    struct engram_slab slab;

    (void)state;
    put_matrix(file, "/x", 30, 3);
    assert_true(H5Fclose(file) >= 0);
    assert_int_equal(engram_layout_read(fixture_name("cancel.h5"), &fixture_logger, &layout),
                     ENGRAM_OK);
    struct engram_source_options options = {.path = fixture_path,
                                            .dataset = &layout.datasets[0],
                                            .last = 30,
                                            .slab_rows = INT64_MAX,
                                            .threads = 1,
                                            .cancel = &flag,
                                            .progress = progress,
                                            .log = fixture_logger};
    fixture_clear();
    assert_int_equal(engram_source_open(&options, &source), ENGRAM_OK);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
    assert_int_equal(seen, 30);
    engram_source_close(source);
    flag = 1;
    assert_int_equal(engram_source_open(&options, &source), ENGRAM_OK);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_ERR_CANCELLED);
    assert_logged("interrupted");
    engram_source_close(source);
    engram_layout_free(&layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_and_storage),
        cmocka_unit_test(test_all_halves),
        cmocka_unit_test(test_wide_integers),
        cmocka_unit_test(test_slabs),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_refused_storage),
        cmocka_unit_test(test_missing_filter),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_cancel_and_progress),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
