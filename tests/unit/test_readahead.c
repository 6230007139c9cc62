/* Slabs that are read while another one is in use: the same rows, the same errors, told by the
 * thread that asks for them. */
#define _GNU_SOURCE
#include "h5_fixture.h"

#include "io/source.h"

#define ROWS 5000
#define DIM 6
#define SLAB 1024
#define SLABS ((ROWS + SLAB - 1) / SLAB)

static const char *const NAMES[] = {"contiguous", "swapped", "packed", "shorts", "integers"};
#define KINDS ((int)(sizeof NAMES / sizeof NAMES[0]))

static struct engram_layout layout;
static struct engram_source *source;
static int cancel;

static double value(int64_t row, int64_t column)
{
    return (double)((row * DIM + column) % 1999 - 999);
}

/* The same values, stored in all ways that sources read by. */
static void create(void)
{
    hsize_t dims[2] = {ROWS, DIM};
    hsize_t chunk[2] = {300, 4};
    double *values = calloc((size_t)ROWS * DIM, sizeof *values);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    hid_t file = fixture_create("x.h5");
    assert_non_null(values);
    for (int64_t i = 0; i < ROWS * DIM; i++) {
        values[i] = value(i / DIM, i % DIM);
    }
    assert_true(H5Pset_chunk(list, 2, chunk) >= 0 && H5Pset_shuffle(list) >= 0 &&
                H5Pset_deflate(list, 2) >= 0);
    put(file, "/contiguous", H5T_IEEE_F32LE, 2, dims, H5P_DEFAULT, H5T_NATIVE_DOUBLE, values);
    put(file, "/swapped", H5T_IEEE_F64BE, 2, dims, H5P_DEFAULT, H5T_NATIVE_DOUBLE, values);
    put(file, "/packed", H5T_IEEE_F32LE, 2, dims, list, H5T_NATIVE_DOUBLE, values);
    assert_true(H5Pset_nbit(list) >= 0);
    put(file, "/shorts", H5T_STD_I16LE, 2, dims, list, H5T_NATIVE_DOUBLE, values);
    values[3000 * DIM + 2] = 0x1p60;
    put(file, "/integers", H5T_STD_I64LE, 2, dims, H5P_DEFAULT, H5T_NATIVE_DOUBLE, values);
    int64_t bad = ((int64_t)1 << 53) + 1;
    hid_t set = H5Dopen2(file, "/integers", H5P_DEFAULT);
    hid_t space = H5Dget_space(set);
    hsize_t at[2] = {3000, 2};
    hsize_t one[2] = {1, 1};
    hid_t memory = H5Screate_simple(2, one, NULL);
    assert_true(H5Sselect_hyperslab(space, H5S_SELECT_SET, at, NULL, one, NULL) >= 0);
    assert_true(H5Dwrite(set, H5T_NATIVE_INT64, memory, space, H5P_DEFAULT, &bad) >= 0);
    (void)H5Sclose(memory);
    (void)H5Sclose(space);
    (void)H5Dclose(set);
    (void)H5Pclose(list);
    assert_true(H5Fclose(file) >= 0);
    free(values);
}

static void open_rows(const char *name)
{
    static char path[512];
    struct engram_source_options options = {
        .threads = 2, .slab_rows = SLAB, .last = ROWS, .cancel = &cancel, .log = fixture_logger};

    snprintf(path, sizeof path, "%s", fixture_name("x.h5"));
    fixture_clear();
    cancel = 0;
    assert_int_equal(engram_layout_read(path, &fixture_logger, &layout), ENGRAM_OK);
    options.path = path;
    options.dataset = engram_layout_find(&layout, name);
    assert_non_null(options.dataset);
    assert_int_equal(engram_source_open(&options, &source), ENGRAM_OK);
}

static void close_rows(void)
{
    engram_source_close(source);
    engram_layout_free(&layout);
}

static void check_slab(const struct engram_slab *slab, int64_t first)
{
    int64_t rows = ROWS - first < SLAB ? ROWS - first : SLAB;
    assert_int_equal(slab->first_row, first);
    assert_int_equal(slab->set.rows, rows);
    for (int64_t i = 0; i < rows * DIM; i++) {
        double is = slab->set.dtype == ENGRAM_F32 ? (double)((const float *)slab->set.data)[i]
                                                  : ((const double *)slab->set.data)[i];
        assert_true(is == value(first + i / DIM, i % DIM));
    }
}

/* Up, and down again; every slab stays as it is while another one is read. */
static void test_up_and_down(void **state)
{
    struct engram_slab slab;

    (void)state;
    for (int kind = 0; kind < KINDS - 1; kind++) {
        open_rows(NAMES[kind]);
        for (int step = 0; step < 2 * SLABS; step++) {
            int64_t at = step < SLABS ? step : 2 * SLABS - 1 - step;
            int64_t next = step + 1 < SLABS ? step + 1 : 2 * SLABS - 2 - step;
            engram_source_seek(source, at * SLAB);
            assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
            if (next >= 0) {
                engram_source_seek(source, next * SLAB);
                engram_source_start(source);
            }
            check_slab(&slab, at * SLAB);
        }
        assert_string_equal(fixture_log, "");
        close_rows();
    }
}

/* What was read ahead and is not wanted, or not finished, does no harm. */
static void test_dropped(void **state)
{
    struct engram_slab slab;

    (void)state;
    for (int kind = 0; kind < KINDS - 1; kind++) {
        open_rows(NAMES[kind]);
        engram_source_start(source); /* nothing before the first slab */
        assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
        engram_source_start(source);
        engram_source_seek(source, (int64_t)3 * SLAB);
        assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
        check_slab(&slab, (int64_t)3 * SLAB);
        engram_source_start(source);
        engram_source_start(source);
        engram_source_rewind(source);
        engram_source_start(source);
        assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
        check_slab(&slab, 0);
        engram_source_start(source);
        close_rows();
    }
}

/* A slab may turn out too large before the second one is there. */
static void test_limit(void **state)
{
    struct engram_slab slab;
    struct engram_source_options options = {.threads = 2, .slab_rows = (int64_t)3 * SLAB};
    char path[512];

    (void)state;
    snprintf(path, sizeof path, "%s", fixture_name("x.h5"));
    assert_int_equal(engram_layout_read(path, &fixture_logger, &layout), ENGRAM_OK);
    options.path = path;
    options.dataset = engram_layout_find(&layout, "packed");
    options.last = ROWS;
    options.log = fixture_logger;
    assert_int_equal(engram_source_open(&options, &source), ENGRAM_OK);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
    assert_int_equal(slab.set.rows, 3 * SLAB);
    engram_source_limit(source, SLAB);
    slab.set.rows = SLAB;
    engram_source_seek(source, SLAB);
    engram_source_start(source);
    check_slab(&slab, 0);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
    engram_source_start(source);
    check_slab(&slab, SLAB);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
    check_slab(&slab, (int64_t)2 * SLAB);
    close_rows();
}

/* Rows 2048 to 3072 hold a value that cannot be read. */
static void test_errors(void **state)
{
    struct engram_slab slab;

    (void)state;
    open_rows("integers");
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
    engram_source_start(source);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
    check_slab(&slab, SLAB);
    engram_source_start(source);
    assert_string_equal(fixture_log, "");
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_ERR_DATA);
    assert_logged("row 3000, column 2: ");
    engram_source_seek(source, SLAB);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
    check_slab(&slab, SLAB);
    engram_source_start(source); /* never asked for: nobody hears of it */
    close_rows();
    assert_string_equal(fixture_log, "");
}

static void test_cancel(void **state)
{
    struct engram_slab slab;

    (void)state;
    for (int kind = 0; kind < KINDS - 1; kind++) {
        open_rows(NAMES[kind]);
        assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
        __atomic_store_n(&cancel, 1, __ATOMIC_RELAXED);
        engram_source_start(source);
        assert_int_equal(engram_source_next(source, &slab), ENGRAM_ERR_CANCELLED);
        close_rows();
    }
}

static int setup(void **state)
{
    int failed = fixture_setup(state);
    if (failed == 0) {
        create();
    }
    return failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_and_down), cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_limit),       cmocka_unit_test(test_errors),
        cmocka_unit_test(test_cancel),
    };

    return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
