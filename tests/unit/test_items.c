/* Tables of items, and rows read by them: io/items*.c, layout_items.c, source_items.c. */
#define _GNU_SOURCE
#include "h5_fixture.h"

#include <fcntl.h>

#include "io/items.h"
#include "io/layout.h"
#include "io/source.h"

#define DIM 5

static struct engram_layout layout;

/* Item `i` has the values i, i + 1/8, i + 2/8, ... */
static void put_item(hid_t file, const char *path, hid_t type, int i, bool row)
{
    const hsize_t dims[2] = {1, DIM};
    double data[DIM];

    for (int j = 0; j < DIM; j++) {
        data[j] = i + j / 8.0;
    }
    put(file, path, type, row ? 2 : 1, row ? dims : dims + 1, H5P_DEFAULT, H5T_NATIVE_DOUBLE, data);
}

static void put_id(hid_t file, const char *path, const char *text)
{
    hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
    hid_t type = H5Tcopy(H5T_C_S1);
    hid_t space = H5Screate(H5S_SCALAR);

    assert_true(H5Tset_size(type, H5T_VARIABLE) >= 0);
    hid_t attribute = H5Acreate2(dataset, "original_id", type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(attribute >= 0 && H5Awrite(attribute, type, &text) >= 0);
    (void)H5Aclose(attribute);
    (void)H5Sclose(space);
    (void)H5Tclose(type);
    (void)H5Dclose(dataset);
}

static void read_layout(const char *name, enum engram_layout_kind wanted)
{
    fixture_clear();
    assert_int_equal(engram_layout_read(fixture_name(name), &fixture_logger, &layout), ENGRAM_OK);
    assert_string_equal(fixture_log, "");
    assert_int_equal(layout.kind, wanted);
}

static const struct engram_dataset_info *the_set(void)
{
    for (size_t i = 0; i < layout.count; i++) {
        if (layout.datasets[i].items == layout.items) {
            return &layout.datasets[i];
        }
    }
    fail_msg("the set is not listed");
    return NULL;
}

/* Reads rows [first, last) in slabs of one grain and checks them: row r is item wanted[r]. */
static void check_rows(const char *name, const int *wanted, int64_t first, int64_t last,
                       int threads, bool by_hdf5)
{
    const struct engram_dataset_info *set = the_set();
    const struct engram_source_options options = {
        .path = fixture_name(name),
        .dataset = set,
        .first = first,
        .last = last,
        .slab_rows = 1,
        .threads = threads,
        .by_hdf5 = by_hdf5,
        .log = fixture_logger,
    };
    struct engram_source *source = NULL;
    struct engram_slab slab;
    int64_t row = first;

    assert_int_equal(engram_source_open(&options, &source), ENGRAM_OK);
    for (;;) {
        assert_int_equal(engram_source_next(source, &slab), ENGRAM_OK);
        if (slab.set.rows == 0) {
            break;
        }
        assert_int_equal(slab.first_row, row);
        assert_int_equal(slab.set.dim, DIM);
        for (int64_t i = 0; i < slab.set.rows; i++, row++) {
            for (int j = 0; j < DIM; j++) {
                size_t at = (size_t)i * DIM + (size_t)j;
                double got = slab.set.dtype == ENGRAM_F32 ? ((const float *)slab.set.data)[at]
                                                          : ((const double *)slab.set.data)[at];
                assert_true(got == wanted[row] + j / 8.0);
            }
        }
    }
    assert_int_equal(row, last);
    engram_source_close(source);
}

static void test_order_and_ids(void **state)
{
    static const int wanted[] = {2, 0, 3, 1};
    hid_t file = fixture_create("few.h5");

    (void)state;
    put_item(file, "/b", H5T_IEEE_F32LE, 0, false);
    put_item(file, "/c|d", H5T_IEEE_F64BE, 1, true);
    put_item(file, "/B", H5T_IEEE_F32BE, 2, true);
    put_item(file, "/b1", H5T_STD_I16LE, 3, false); /* 3.125 is stored as 3 */
    put_id(file, "/b", "Eins");
    assert_true(H5Fclose(file) >= 0);

    read_layout("few.h5", ENGRAM_LAYOUT_ITEMS);
    const struct engram_dataset_info *set = the_set();
    assert_int_equal(layout.count, 1);
    assert_string_equal(set->path, "/");
    assert_int_equal(set->dims[0], 4);
    assert_int_equal(set->dims[1], DIM);
    assert_int_equal(set->dtype, ENGRAM_F64);
    assert_string_equal(engram_items_key(set->items, 1), "b");
    assert_string_equal(engram_items_id(set->items, 1), "Eins");
    assert_string_equal(engram_items_id(set->items, 3), "c|d");
    assert_int_equal(engram_items_named(set->items), 1);
    check_rows("few.h5", wanted, 0, 2, 1, false);
    check_rows("few.h5", wanted, 3, 4, 2, true);
    struct engram_ids ids;
    assert_int_equal(engram_items_ids(set->items, "few.h5", 1, 4, &fixture_logger, &ids),
                     ENGRAM_OK);
    assert_int_equal(ids.count, 3);
    assert_int_equal(ids.width, 4);
    assert_memory_equal(ids.text, "Einsb1\0\0c|d\0", 12);
    engram_ids_free(&ids);
    engram_layout_free(&layout);
}

/* More than one grain, in an order in the file that is not that of the keys. */
#define MANY 5000

static void test_many(void **state)
{
    static int wanted[MANY];
    char name[16];
    hid_t file = fixture_create("many.h5");

    (void)state;
    for (int i = 0; i < MANY; i++) {
        int key = i * 1237 % MANY;
        snprintf(name, sizeof name, "/%05d", key);
        wanted[key] = i;
        put_item(file, name, i % 7 == 0 ? H5T_IEEE_F64LE : H5T_IEEE_F32LE, i, i % 5 == 0);
    }
    assert_true(H5Fclose(file) >= 0);
    read_layout("many.h5", ENGRAM_LAYOUT_ITEMS);
    assert_false(layout.truncated);
    assert_int_equal(the_set()->dims[0], MANY);
    for (int threads = 1; threads <= 3; threads++) {
        check_rows("many.h5", wanted, 0, MANY, threads, false);
    }
    check_rows("many.h5", wanted, 100, 1200, 2, true);
    engram_layout_free(&layout);
}

static void test_changed(void **state)
{
    struct engram_source *source = NULL;
    hid_t file = fixture_create("changed.h5");

    (void)state;
    put_item(file, "/a", H5T_IEEE_F32LE, 0, false);
    put_item(file, "/b", H5T_IEEE_F32LE, 1, false);
    assert_true(H5Fclose(file) >= 0);
    read_layout("changed.h5", ENGRAM_LAYOUT_ITEMS);
    const struct engram_source_options options = {.path = fixture_name("changed.h5"),
                                                  .dataset = the_set(),
                                                  .last = 2,
                                                  .slab_rows = INT64_MAX,
                                                  .threads = 1,
                                                  .log = fixture_logger};
    int fd = open(options.path, O_WRONLY | O_APPEND);
    assert_true(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
    assert_int_equal(engram_source_open(&options, &source), ENGRAM_ERR_DATA);
    assert_logged("changed while it was in use");
    assert_null(source);
    engram_layout_free(&layout);
}

/* Two integers beyond 2^53. */
static void test_inexact(void **state)
{
    const int64_t data[DIM] = {1, 2, INT64_MAX, 4, 5};
    const hsize_t dim = DIM;
    struct engram_source *source = NULL;
    struct engram_slab slab;
    hid_t file = fixture_create("integers.h5");

    (void)state;
    put(file, "/a", H5T_STD_I64LE, 1, &dim, H5P_DEFAULT, -1, NULL);
    put(file, "/b", H5T_STD_I64LE, 1, &dim, H5P_DEFAULT, H5T_NATIVE_INT64, data);
    assert_true(H5Fclose(file) >= 0);
    read_layout("integers.h5", ENGRAM_LAYOUT_ITEMS);
    const struct engram_source_options options = {.path = fixture_name("integers.h5"),
                                                  .dataset = the_set(),
                                                  .last = 2,
                                                  .slab_rows = INT64_MAX,
                                                  .threads = 2,
                                                  .log = fixture_logger};
    assert_int_equal(engram_source_open(&options, &source), ENGRAM_OK);
    assert_int_equal(engram_source_next(source, &slab), ENGRAM_ERR_DATA);
    assert_logged("row 1, column 2");
    engram_source_close(source);
    engram_layout_free(&layout);
}

static void put_images(const char *name, bool second)
{
    hid_t file = fixture_create(name);
    char path[64];

    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "/db/%d.jpg/vector", i);
        put_item(file, path, H5T_IEEE_F32BE, i, false);
        if (second) {
            snprintf(path, sizeof path, "/db/%d.jpg/other", i);
            put_item(file, path, H5T_IEEE_F64LE, 10 + i, false);
        }
    }
    assert_true(H5Fclose(file) >= 0);
}

static void test_leaves(void **state)
{
    static const int wanted[] = {0, 1, 2, 3};
    static const int others[] = {10, 11, 12, 13};

    (void)state;
    put_images("leaf.h5", false);
    read_layout("leaf.h5", ENGRAM_LAYOUT_ITEMS);
    assert_string_equal(the_set()->path, "/");
    assert_string_equal(engram_items_leaf(layout.items), "vector");
    assert_string_equal(engram_items_id(layout.items, 3), "db/3.jpg");
    check_rows("leaf.h5", wanted, 0, 4, 1, false);
    engram_layout_free(&layout);

    put_images("leaves.h5", true);
    read_layout("leaves.h5", ENGRAM_LAYOUT_NONE);
    assert_non_null(strstr(layout.hint, "other (5) and vector (5)"));
    assert_non_null(strstr(layout.hint, "--leaf"));
    char path[600];
    snprintf(path, sizeof path, "%s", fixture_name("leaves.h5"));
    assert_int_equal(engram_layout_items(&layout, path, "/", "other", &fixture_logger), ENGRAM_OK);
    assert_int_equal(layout.kind, ENGRAM_LAYOUT_ITEMS);
    check_rows("leaves.h5", others, 0, 4, 1, false);
    /* The same group by another leaf takes its place. */
    assert_int_equal(engram_layout_items(&layout, path, "/", "vector", &fixture_logger), ENGRAM_OK);
    check_rows("leaves.h5", wanted, 0, 4, 1, false);
    /* A group below has the leaf of the set above it. */
    assert_int_equal(engram_layout_items(&layout, path, "db/", NULL, &fixture_logger), ENGRAM_OK);
    const struct engram_dataset_info *below = engram_layout_find(&layout, "db");
    assert_non_null(below);
    assert_string_equal(engram_items_id(below->items, 0), "0.jpg");
    /* No group: nothing happens. */
    size_t count = layout.count;
    assert_int_equal(engram_layout_items(&layout, path, "none", NULL, &fixture_logger), ENGRAM_OK);
    assert_int_equal(layout.count, count);
    engram_layout_free(&layout);
}

static void test_links(void **state)
{
    static const int wanted[] = {0, 1, 1, 0};
    hid_t file = fixture_create("links.h5");

    (void)state;
    put_item(file, "/g/a", H5T_IEEE_F32LE, 0, false);
    put_item(file, "/g/b", H5T_IEEE_F32LE, 1, false);
    assert_true(H5Lcreate_hard(file, "/g/b", file, "/g/c", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_soft("/g/a", file, "/g/d", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    /* A circle of groups, and a second way to the same group. */
    assert_true(H5Lcreate_hard(file, "/g", file, "/g/self", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_soft("/g", file, "/again", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Fclose(file) >= 0);
    read_layout("links.h5", ENGRAM_LAYOUT_ITEMS);
    assert_string_equal(the_set()->path, "/g");
    assert_int_equal(the_set()->dims[0], 4);
    check_rows("links.h5", wanted, 0, 4, 1, false);
    engram_layout_free(&layout);

    file = fixture_create("dangling.h5");
    put_item(file, "/a", H5T_IEEE_F32LE, 0, false);
    put_item(file, "/b", H5T_IEEE_F32LE, 1, false);
    assert_true(H5Lcreate_external("x.h5", "/x", file, "/c", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Fclose(file) >= 0);
    read_layout("dangling.h5", ENGRAM_LAYOUT_ITEMS);
    assert_non_null(strstr(engram_items_defect(layout.items), "/c is a link to another file"));
    engram_layout_free(&layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_ids), cmocka_unit_test(test_many),
        cmocka_unit_test(test_changed),       cmocka_unit_test(test_inexact),
        cmocka_unit_test(test_leaves),        cmocka_unit_test(test_links),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
