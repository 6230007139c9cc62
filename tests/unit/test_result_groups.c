/* Results of labels and of groups: what the writer wrote comes back, files that lie are refused. */
#define _GNU_SOURCE
#include <math.h>

#include "h5_fixture.h"

#include "io/output.h"
#include "io/result.h"

enum { ROWS = 70000, FIRST = 5, WIDTH = 7 };

#define OK(call) assert_int_equal((call), ENGRAM_OK)

static struct engram_result *result;
static struct engram_result_info info;

static void attributes(struct engram_output *output)
{
    const int64_t shape[2] = {ROWS + FIRST, 16};
    const int64_t range[2] = {FIRST, ROWS + FIRST};
    const int64_t self = 1;

    OK(engram_output_text(output, "/", "format_version", "1.0"));
    OK(engram_output_text(output, "/", "metric", "cosine"));
    OK(engram_output_number(output, "/", "max_distance", 0.1));
    OK(engram_output_integers(output, "/", "self", &self, 1));
    OK(engram_output_text(output, "/", "base_dataset", "/x"));
    OK(engram_output_text(output, "/", "query_dataset", "/x"));
    OK(engram_output_integers(output, "/", "base_shape", shape, 2));
    OK(engram_output_integers(output, "/", "query_shape", shape, 2));
    OK(engram_output_integers(output, "/", "base_rows", range, 2));
    OK(engram_output_integers(output, "/", "query_rows", range, 2));
    OK(engram_output_text(output, "/", "subset_dataset", "/s"));
    OK(engram_output_text(output, "/", "row_data_hash", "0123456789abcdef0123456789abcdef"));
    OK(engram_output_text(output, "/", "digest", "d"));
}

static enum engram_status open_result(void)
{
    fixture_clear();
    return engram_result_open(fixture_name("r.h5"), &fixture_logger, &result, &info);
}

/* Row r has no label when r is a multiple of 10, else the label "r", cut to WIDTH bytes, from base
 * row r + FIRST. */
static void write_labels(int compress)
{
    static char texts[ROWS][WIDTH];
    static float distances[ROWS];
    static int64_t rows[ROWS];
    const int64_t count = ROWS;
    struct engram_output *output;
    char text[24];
    int sets[3];

    OK(engram_output_create(fixture_name("r.h5"), true, 2, &fixture_logger, &output));
    attributes(output);
    OK(engram_output_strings(output, "/labels", WIDTH, ROWS, compress, &sets[0]));
    OK(engram_output_dataset(output, "/label_distances", ENGRAM_OUT_F32, 1, &count, compress,
                             &sets[1]));
    OK(engram_output_dataset(output, "/label_rows", ENGRAM_OUT_I64, 1, &count, compress, &sets[2]));
    for (int i = 0; i < ROWS; i++) {
        bool none = i % 10 == 0;
        (void)snprintf(text, sizeof text, "%d", none ? 0 : 1000 * i);
        memset(texts[i], 0, WIDTH);
        memcpy(texts[i], text, none ? 0 : strnlen(text, WIDTH));
        distances[i] = none ? HUGE_VALF : (float)i;
        rows[i] = none ? -1 : i + FIRST;
    }
    for (int64_t at = 0; at < ROWS; at += 30000) {
        int64_t rest = ROWS - at < 30000 ? ROWS - at : 30000;
        OK(engram_output_rows(output, sets[0], at, rest, texts + at));
        OK(engram_output_rows(output, sets[1], at, rest, distances + at));
        OK(engram_output_rows(output, sets[2], at, rest, rows + at));
    }
    OK(engram_output_publish(output));
}

static void check_label(int64_t row)
{
    const int64_t *rows;
    const double *values;
    const char *text;
    char wanted[24];
    size_t length;
    int64_t count;

    OK(engram_result_row(result, row, &count, &rows, &values));
    OK(engram_result_label(result, row, &text, &length));
    if (row % 10 == 0) {
        assert_int_equal(count, 0);
        assert_int_equal(length, 0);
        return;
    }
    assert_int_equal(count, 1);
    assert_int_equal(rows[0], row + FIRST);
    assert_true(values[0] == (double)row);
    (void)snprintf(wanted, sizeof wanted, "%lld", 1000LL * (long long)row);
    assert_int_equal(length, strnlen(wanted, WIDTH));
    assert_memory_equal(text, wanted, length);
}

static void test_labels(void **state)
{
    (void)state;
    for (int compress = 0; compress <= 6; compress += 6) {
        write_labels(compress);
        OK(open_result());
        assert_int_equal(info.kind, ENGRAM_RESULT_LABELS);
        assert_string_equal(info.subset_path, "/s");
        assert_string_equal(info.labels_path, "");
        assert_int_equal(strlen(info.row_data_hash), 32);
        for (int64_t row = 0; row < ROWS; row += 1 + row % 97) {
            check_label(row);
        }
        check_label(ROWS - 1);
        check_label(1);
        engram_result_close(result);
    }
}

static void write_groups(const int64_t *component, const int8_t *keep, int compress)
{
    const int64_t count = ROWS;
    struct engram_output *output;
    int sets[2];

    OK(engram_output_create(fixture_name("r.h5"), true, 2, &fixture_logger, &output));
    attributes(output);
    OK(engram_output_dataset(output, "/component", ENGRAM_OUT_I64, 1, &count, compress, &sets[0]));
    OK(engram_output_dataset(output, "/keep", ENGRAM_OUT_BOOL, 1, &count, compress, &sets[1]));
    OK(engram_output_rows(output, sets[0], 0, ROWS, component));
    OK(engram_output_rows(output, sets[1], 0, ROWS, keep));
    OK(engram_output_publish(output));
}

static void test_groups(void **state)
{
    static int64_t component[ROWS];
    static int8_t keep[ROWS];
    int64_t *found;
    int8_t *kept;
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        component[i] = FIRST + i - i % 7;
        keep[i] = i % 7 == 0;
    }
    for (int compress = 0; compress <= 6; compress += 6) {
        write_groups(component, keep, compress);
        OK(open_result());
        assert_int_equal(info.kind, ENGRAM_RESULT_COMPONENTS);
        OK(engram_result_components(result, &found, &kept));
        assert_memory_equal(found, component, sizeof component);
        assert_memory_equal(kept, keep, sizeof keep);
        free(found);
        free(kept);
        engram_result_close(result);
    }
    const int64_t wrong[] = {FIRST - 1, FIRST + 101, -1, INT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        component[100] = wrong[i];
        write_groups(component, keep, 0);
        OK(open_result());
        assert_int_equal(engram_result_components(result, &found, &kept), ENGRAM_ERR_DATA);
        assert_logged("row 100");
        assert_null(found);
        assert_null(kept);
        engram_result_close(result);
    }
}

/* Parts that are missing or of another kind. */
static void test_lies(void **state)
{
    const char *const parts[] = {"/label_rows", "/label_distances"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        write_labels(0);
        hid_t file = H5Fopen(fixture_name("r.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
        assert_true(file >= 0 && H5Ldelete(file, parts[i], H5P_DEFAULT) >= 0);
        put_matrix(file, i == 0 ? "/label_rows" : "/other", 3, 2);
        assert_true(H5Fclose(file) >= 0);
        assert_int_equal(open_result(), ENGRAM_ERR_DATA);
        assert_logged(parts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_lies),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
