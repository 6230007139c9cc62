#define _GNU_SOURCE
#include "h5_fixture.h"

#include "io/column.h"
#include "io/labels.h"
#include "io/text_index.h"

static struct engram_labels labels;

static enum engram_status read_column(const char *name, struct engram_labels *of)
{
    struct engram_column column;
    fixture_clear();
    enum engram_status status =
        engram_column_read(fixture_name("labels.h5"), name, &fixture_logger, &column);
    if (status == ENGRAM_OK) {
        status = engram_labels_of(&column, &fixture_logger, of);
        engram_column_free(&column);
    }
    return status;
}

static enum engram_status read_labels(const char *name)
{
    return read_column(name, &labels);
}

static void assert_label(const struct engram_labels *of, int64_t row, const char *wanted)
{
    char room[24];
    size_t length = 0;

    assert_true(row < of->count);
    if (wanted == NULL) {
        assert_int_equal(of->codes[row], -1);
        return;
    }
    assert_true(of->codes[row] >= 0);
    const char *text = engram_labels_name(of, of->codes[row], room, &length);
    assert_int_equal(length, strlen(wanted));
    assert_memory_equal(text, wanted, length);
}

static void put_texts(hid_t file, const char *path, const char *const *texts, hsize_t count)
{
    hid_t string = H5Tcopy(H5T_C_S1);
    assert_true(H5Tset_size(string, H5T_VARIABLE) >= 0);
    put(file, path, string, 1, &count, H5P_DEFAULT, string, texts);
    (void)H5Tclose(string);
}

static void put_integers(hid_t file, const char *path, hid_t type, const int64_t *numbers,
                         hsize_t count)
{
    put(file, path, type, 1, &count, H5P_DEFAULT, H5T_NATIVE_INT64, numbers);
}

/* Rows of a compound dataset, as old AnnData files keep `obs`. */
struct old_row {
    int8_t number;
    char name[4];
};

static void put_compound(hid_t file)
{
    const struct old_row rows[3] = {{5, "abc"}, {-2, ""}, {7, "wxy"}};
    hid_t text = H5Tcopy(H5T_C_S1);
    hid_t row = H5Tcreate(H5T_COMPOUND, sizeof(struct old_row));
    assert_true(H5Tset_size(text, 4) >= 0 &&
                H5Tinsert(row, "number", offsetof(struct old_row, number), H5T_NATIVE_INT8) >= 0 &&
                H5Tinsert(row, "name", offsetof(struct old_row, name), text) >= 0);
    put(file, "/old", row, 1, (const hsize_t[]){3}, H5P_DEFAULT, row, rows);
    (void)H5Tclose(text);
    (void)H5Tclose(row);
}

static int make_file(void **state)
{
    const char *const texts[] = {"b", "a", "", "b", "c"};
    const char *const kinds[] = {"x", "", "y", "x"};
    const int64_t numbers[] = {3, -1, 0, 3, 120};
    const int64_t codes[] = {2, 0, 1, -1, 3};
    const int64_t mask[] = {0, 1, 0, 0, 0};
    const int64_t wrong[] = {2, 0, 1, -1, 4};

    if (fixture_setup(state) != 0) {
        return -1;
    }
    hid_t file = fixture_create("labels.h5");
    put_texts(file, "/texts", texts, 5);
    put_integers(file, "/numbers", H5T_STD_I16BE, numbers, 5);
    put_integers(file, "/kind/codes", H5T_STD_I8LE, codes, 5);
    put_texts(file, "/kind/categories", kinds, 4);
    put_integers(file, "/coded/codes", H5T_STD_I8LE, codes, 5);
    put_integers(file, "/coded/categories", H5T_STD_I32LE, numbers, 5);
    put_integers(file, "/wrong/codes", H5T_STD_I8LE, wrong, 5);
    put_texts(file, "/wrong/categories", kinds, 4);
    put_texts(file, "/null/values", texts, 5);
    put_integers(file, "/null/mask", H5T_STD_I8LE, mask, 5);
    put_integers(file, "/short/values", H5T_STD_I8LE, codes, 5);
    put_integers(file, "/short/mask", H5T_STD_I8LE, mask, 4);
    put_integers(file, "/none", H5T_STD_U8LE, numbers, 0);
    put_compound(file);
    put_matrix(file, "/matrix", 3, 2);
    return H5Fclose(file) < 0 ? -1 : 0;
}

static void test_forms(void **state)
{
    (void)state;
    assert_int_equal(read_labels("/texts"), ENGRAM_OK);
    assert_label(&labels, 0, "b");
    assert_label(&labels, 1, "a");
    assert_label(&labels, 2, NULL);
    assert_label(&labels, 3, "b");
    assert_int_equal(labels.codes[0], labels.codes[3]);
    assert_int_equal(labels.names.count, 3);
    engram_labels_free(&labels);

    assert_int_equal(read_labels("numbers"), ENGRAM_OK);
    assert_label(&labels, 0, "3");
    assert_label(&labels, 1, NULL);
    assert_label(&labels, 2, "0");
    engram_labels_free(&labels);

    assert_int_equal(read_labels("/kind"), ENGRAM_OK);
    assert_label(&labels, 0, "y");
    assert_label(&labels, 1, "x");
    assert_label(&labels, 2, NULL); /* the empty category */
    assert_label(&labels, 3, NULL);
    assert_label(&labels, 4, "x");
    assert_int_equal(labels.codes[1], labels.codes[4]); /* two categories of one name */
    engram_labels_free(&labels);

    assert_int_equal(read_labels("/coded"), ENGRAM_OK);
    assert_label(&labels, 0, "0");
    assert_label(&labels, 1, "3");
    assert_label(&labels, 2, "-1");
    engram_labels_free(&labels);

    assert_int_equal(read_labels("/null"), ENGRAM_OK);
    assert_label(&labels, 0, "b");
    assert_label(&labels, 1, NULL);
    assert_label(&labels, 4, "c");
    engram_labels_free(&labels);

    assert_int_equal(read_labels("/none"), ENGRAM_OK);
    assert_int_equal(labels.count, 0);
    engram_labels_free(&labels);
}

static void test_members(void **state)
{
    (void)state;
    assert_int_equal(read_labels("/old/number"), ENGRAM_OK);
    assert_label(&labels, 0, "5");
    assert_label(&labels, 1, NULL);
    engram_labels_free(&labels);
    assert_int_equal(read_labels("/old/name"), ENGRAM_OK);
    assert_label(&labels, 0, "abc");
    assert_label(&labels, 1, NULL);
    engram_labels_free(&labels);
    assert_true(engram_column_exists(fixture_name("labels.h5"), "old/name"));
    assert_true(engram_column_exists(fixture_name("labels.h5"), "kind"));
    assert_false(engram_column_exists(fixture_name("labels.h5"), "old/nothing"));
    assert_false(engram_column_exists(fixture_name("labels.h5"), "nothing/at/all"));
    assert_false(engram_column_exists(fixture_name("labels.h5"), ""));
    assert_false(engram_column_exists(fixture_name("no.h5"), "x"));
}

static void test_wrong(void **state)
{
    (void)state;
    assert_int_equal(read_labels("/nothing"), ENGRAM_ERR_NO_INPUT);
    assert_logged("no such dataset");
    assert_int_equal(read_labels("/matrix"), ENGRAM_ERR_DATA);
    assert_logged("one dimension");
    assert_int_equal(read_labels("/wrong"), ENGRAM_ERR_DATA);
    assert_logged("none of its categories");
    assert_int_equal(read_labels("/short"), ENGRAM_ERR_DATA);
    assert_logged("mask");
    assert_int_equal(read_labels("/"), ENGRAM_ERR_DATA);
    assert_logged("is a group");
}

static void test_unite(void **state)
{
    struct engram_labels other;
    (void)state;
    assert_int_equal(read_labels("/texts"), ENGRAM_OK);
    assert_int_equal(read_column("/kind", &other), ENGRAM_OK);
    assert_int_equal(engram_labels_unite(&labels, &other, &fixture_logger), ENGRAM_OK);
    assert_int_equal(labels.names.count, 5);
    assert_int_equal(other.codes[0], 4); /* y: new, as x is, the first category */
    assert_int_equal(other.codes[2], -1);
    engram_labels_free(&other);
    assert_int_equal(read_column("/numbers", &other), ENGRAM_OK);
    assert_int_equal(engram_labels_unite(&labels, &other, &fixture_logger), ENGRAM_ERR_DATA);
    engram_labels_free(&other);
    engram_labels_free(&labels);
}

/* ---- label files */

static const char *const row_ids[] = {"P1", "P2", "a b", "P1", "", "\xc3\xa9"};

static enum engram_status read_file(const char *content, size_t size, int64_t *unknown)
{
    struct engram_ids ids = {6, 3, calloc(6, 3)};
    FILE *stream = fopen(fixture_name("labels.tsv"), "w");

    assert_true(stream != NULL && ids.text != NULL);
    assert_int_equal(fwrite(content, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
    for (size_t i = 0; i < 6; i++) {
        memcpy(ids.text + 3 * i, row_ids[i], strlen(row_ids[i]));
    }
    fixture_clear();
    enum engram_status status = engram_labels_read_file(fixture_name("labels.tsv"), &ids,
                                                        &fixture_logger, &labels, unknown);
    engram_ids_free(&ids);
    return status;
}

static void test_file(void **state)
{
    static const char plain[] = "P1\tkinase\nother\tx\n\na b\tmit Leerzeichen\r\nP1\tkinase\r\n"
                                "\xc3\xa9\t\xce\xb2\nother\ty\nP2\t";
    int64_t unknown;
    (void)state;
    assert_int_equal(read_file(plain, sizeof plain - 1, &unknown), ENGRAM_OK);
    assert_int_equal(unknown, 2);
    assert_int_equal(labels.count, 6);
    assert_label(&labels, 0, "kinase");
    assert_label(&labels, 1, NULL);
    assert_label(&labels, 2, "mit Leerzeichen");
    assert_label(&labels, 3, "kinase"); /* the same id once more */
    assert_label(&labels, 4, NULL);
    assert_label(&labels, 5, "\xce\xb2");
    engram_labels_free(&labels);

    static const char marked[] = "\xef\xbb\xbfP1\tx";
    assert_int_equal(read_file(marked, sizeof marked - 1, &unknown), ENGRAM_OK);
    assert_label(&labels, 0, "x");
    engram_labels_free(&labels);

    assert_int_equal(read_file("", 0, &unknown), ENGRAM_OK);
    assert_label(&labels, 0, NULL);
    engram_labels_free(&labels);
}

static void test_bad_files(void **state)
{
    int64_t unknown;
    (void)state;
    assert_int_equal(read_file("P1\tx\nP2 y\n", 10, &unknown), ENGRAM_ERR_DATA);
    assert_logged("line 2: has no tab");
    assert_int_equal(read_file("P1\tx\ty\n", 7, &unknown), ENGRAM_ERR_DATA);
    assert_logged("line 1: has more than one tab");
    assert_int_equal(read_file("\n\n\tx\n", 5, &unknown), ENGRAM_ERR_DATA);
    assert_logged("line 3: has no id");
    assert_int_equal(read_file("P1\tx\nP1\ty\n", 10, &unknown), ENGRAM_ERR_DATA);
    assert_logged("line 2: the id has another label");

    struct engram_ids none = {.width = 1};
    fixture_clear();
    assert_int_equal(
        engram_labels_read_file(fixture_name("no.tsv"), &none, &fixture_logger, &labels, &unknown),
        ENGRAM_ERR_NO_INPUT);
    assert_logged("cannot be opened");
    assert_int_equal(
        engram_labels_read_file(fixture_folder, &none, &fixture_logger, &labels, &unknown),
        ENGRAM_ERR_NO_INPUT);
}

/* ---- the index, beyond its first room */

static const char *number_text(const void *texts, int64_t number, size_t *length)
{
    const char *const *rooms = texts;
    *length = strlen(rooms[number]);
    return rooms[number];
}

static void test_index(void **state)
{
    static char rooms[5000][24];
    static const char *texts[5000];
    struct engram_text_index index;
    (void)state;
    assert_true(engram_text_index_create(&index, 0));
    for (int64_t i = 0; i < 5000; i++) {
        size_t length = (size_t)snprintf(rooms[i], sizeof rooms[i], "%lld", (long long)i);
        texts[i] = rooms[i];
        assert_int_equal(engram_text_index_find(&index, number_text, texts, texts[i], length), -1);
        assert_true(engram_text_index_add(&index, number_text, texts, i));
    }
    for (int64_t i = 0; i < 5000; i++) {
        assert_int_equal(
            engram_text_index_find(&index, number_text, texts, texts[i], strlen(texts[i])), i);
    }
    engram_text_index_free(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms), cmocka_unit_test(test_members),
        cmocka_unit_test(test_wrong), cmocka_unit_test(test_unite),
        cmocka_unit_test(test_file),  cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_index),
    };
    return cmocka_run_group_tests(tests, make_file, fixture_teardown);
}
