#define _GNU_SOURCE
#include "h5_fixture.h"

#include "io/ids.h"

static struct engram_ids ids;

static enum engram_status read_ids(const char *dataset, int64_t first, int64_t last)
{
    fixture_clear();
    return engram_ids_read(fixture_name("ids.h5"), dataset, first, last, &fixture_logger, &ids);
}

static void assert_id(int64_t row, const char *wanted)
{
    char got[200] = "";

    assert_true(ids.width < sizeof got && row < ids.count);
    memcpy(got, ids.text + (size_t)row * ids.width, ids.width);
    assert_string_equal(got, wanted);
    for (size_t i = strlen(wanted); i < ids.width; i++) {
        assert_int_equal(got[i], 0);
    }
}

static void put_fixed(hid_t file, const char *path, size_t size, H5T_str_t padding, hid_t creation,
                      const char *text, hsize_t rows)
{
    hid_t type = H5Tcopy(H5T_C_S1);

    assert_true(H5Tset_size(type, size) >= 0 && H5Tset_strpad(type, padding) >= 0 &&
                H5Tset_cset(type, H5T_CSET_UTF8) >= 0);
    put(file, path, type, 1, &rows, creation, type, text);
    (void)H5Tclose(type);
}

#define MANY 150001

static int make_file(void **state)
{
    hsize_t chunk = 1000;
    hsize_t two[2] = {2, 2};
    hsize_t three = 3;
    hsize_t many = MANY;
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    hid_t string = H5Tcopy(H5T_C_S1);
    static char texts[MANY][16];
    static const char *pointers[MANY];

    if (fixture_setup(state) != 0) {
        return -1;
    }
    hid_t file = fixture_create("ids.h5");
    assert_true(H5Pset_chunk(list, 1, &chunk) >= 0 && H5Pset_deflate(list, 1) >= 0);
    assert_true(H5Tset_size(string, H5T_VARIABLE) >= 0);
    put_fixed(file, "/null_padded", 4, H5T_STR_NULLPAD, H5P_DEFAULT, "ab\0\0wxyz\0\0\0\0", 3);
    put_fixed(file, "/space_padded", 4, H5T_STR_SPACEPAD, H5P_DEFAULT, "a b wxyz    ", 3);
    put_fixed(file, "/terminated", 4, H5T_STR_NULLTERM, H5P_DEFAULT, "ab\0zwxy\0\xc3\xa9\0\0", 3);
    put(file, "/unwritten", string, 1, &three, H5P_DEFAULT, string, NULL);
    put(file, "/square", string, 2, two, H5P_DEFAULT, string, NULL);
    put(file, "/empty", string, 1, (const hsize_t[]){0}, H5P_DEFAULT, string, NULL);
    put_matrix(file, "/numbers", 3, 2);
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "%d", i);
        pointers[i] = texts[i];
    }
    put(file, "/many", string, 1, &many, list, string, pointers);
    (void)H5Tclose(string);
    (void)H5Pclose(list);
    return H5Fclose(file) < 0 ? -1 : 0;
}

static void test_fixed(void **state)
{
    (void)state;
    assert_int_equal(read_ids("/null_padded", 0, 3), ENGRAM_OK);
    assert_int_equal(ids.count, 3);
    assert_int_equal(ids.width, 4);
    assert_id(0, "ab");
    assert_id(1, "wxyz");
    assert_id(2, "");
    engram_ids_free(&ids);
    assert_int_equal(read_ids("/space_padded", 0, 3), ENGRAM_OK);
    assert_id(0, "a b");
    assert_id(1, "wxyz");
    assert_id(2, "");
    engram_ids_free(&ids);
    assert_int_equal(read_ids("/terminated", 0, 3), ENGRAM_OK);
    assert_int_equal(ids.width, 3);
    assert_id(0, "ab");
    assert_id(2, "\xc3\xa9");
    engram_ids_free(&ids);
}

static void test_variable(void **state)
{
    char wanted[16];

    (void)state;
    assert_int_equal(read_ids("/unwritten", 0, 3), ENGRAM_OK); /* NULL pointers */
    assert_int_equal(ids.width, 1);
    assert_id(2, "");
    engram_ids_free(&ids);
    assert_int_equal(read_ids("/many", 5, MANY), ENGRAM_OK); /* more than two slices */
    assert_int_equal(ids.count, MANY - 5);
    assert_int_equal(ids.width, 6);
    for (int i = 5; i < MANY; i += 7) {
        snprintf(wanted, sizeof wanted, "%d", i);
        assert_id(i - 5, wanted);
    }
    engram_ids_free(&ids);
    assert_int_equal(read_ids("many", 9, 11), ENGRAM_OK);
    assert_int_equal(ids.width, 2);
    assert_id(0, "9");
    assert_id(1, "10");
    engram_ids_free(&ids);
}

static void test_empty(void **state)
{
    (void)state;
    assert_int_equal(read_ids("/empty", 0, 0), ENGRAM_OK);
    assert_int_equal(ids.count, 0);
    assert_true(ids.width >= 1);
    engram_ids_free(&ids);
    assert_int_equal(read_ids("/many", 7, 7), ENGRAM_OK);
    assert_int_equal(ids.count, 0);
    engram_ids_free(&ids);
    engram_ids_free(&ids);
}

static void test_errors(void **state)
{
    (void)state;
    assert_int_equal(read_ids("/numbers", 0, 3), ENGRAM_ERR_DATA);
    assert_logged("/numbers: ids have to be a 1-D dataset of strings");
    assert_int_equal(read_ids("/square", 0, 2), ENGRAM_ERR_DATA);
    assert_logged("rank 2");
    assert_int_equal(read_ids("/null_padded", 0, 4), ENGRAM_ERR_DATA);
    assert_logged("holds 3 ids, not 4");
    assert_int_equal(read_ids("/absent", 0, 4), ENGRAM_ERR_NO_INPUT);
    assert_logged("/absent: no such dataset");
    assert_int_equal(engram_ids_read(fixture_name("absent.h5"), "x", 0, 1, &fixture_logger, &ids),
                     ENGRAM_ERR_NO_INPUT);
    assert_logged("no such file");
}

/* One long id among many short ones: at equal width they would take terabytes. */
static void test_waste(void **state)
{
    static const char *pointers[MANY];
    static char lengthy[20001];
    hsize_t many = MANY;
    hid_t string = H5Tcopy(H5T_C_S1);

    (void)state;
    memset(lengthy, 'x', sizeof lengthy - 1);
    for (int i = 0; i < MANY; i++) {
        pointers[i] = i == 70000 ? lengthy : "a";
    }
    assert_true(H5Tset_size(string, H5T_VARIABLE) >= 0);
    hid_t file = fixture_create("waste.h5");
    put(file, "/ids", string, 1, &many, H5P_DEFAULT, string, pointers);
    assert_true(H5Fclose(file) >= 0);
    (void)H5Tclose(string);
    fixture_clear();
    assert_int_equal(
        engram_ids_read(fixture_name("waste.h5"), "/ids", 0, MANY, &fixture_logger, &ids),
        ENGRAM_ERR_RESOURCE);
    assert_logged("the longest of 150001 ids has 20000 bytes");
    assert_null(ids.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed), cmocka_unit_test(test_variable),
        cmocka_unit_test(test_empty), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_waste),
    };

    return cmocka_run_group_tests(tests, make_file, fixture_teardown);
}
