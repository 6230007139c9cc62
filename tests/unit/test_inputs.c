#define _GNU_SOURCE
#include "h5_fixture.h"

#include <math.h>

#include "job/inputs.h"

/* One --base, or none (NULL). */
static void set_base(struct engram_job_options *options, const char *set)
{
    static const char *sets[1];
    sets[0] = set;
    options->bases = sets;
    options->base_count = set != NULL ? 1 : 0;
}

static struct engram_inputs in;
static struct engram_job_options options;
static char input[512];
static char other[512];
static char set[700];

/* Options for `name`; the caller changes them and calls resolve(). */
static void with(const char *name)
{
    options = (struct engram_job_options)ENGRAM_JOB_OPTIONS_INIT;
    snprintf(input, sizeof input, "%s", fixture_name(name));
    options.input = input;
    options.log = fixture_logger;
    fixture_clear();
}

static const char *path_of(const char *name)
{
    snprintf(other, sizeof other, "%s", fixture_name(name));
    return other;
}

static const char *inside(const char *name, const char *dataset)
{
    snprintf(set, sizeof set, "%s::%s", fixture_name(name), dataset);
    return set;
}

static void accept(const char *base, const char *queries, bool self)
{
    enum engram_status status = engram_inputs_resolve(&options, &in);

    if (status != ENGRAM_OK) {
        fail_msg("refused: %s", fixture_log);
    }
    assert_string_equal(fixture_log, "");
    assert_string_equal(in.base.dataset->path, base);
    assert_string_equal(in.queries.dataset->path, queries);
    assert_int_equal(in.self, self);
}

static void refuse(enum engram_status wanted, const char *part)
{
    assert_int_equal(engram_inputs_resolve(&options, &in), wanted);
    assert_logged(part);
    engram_inputs_free(&in);
}

static int make_files(void **state)
{
    hsize_t ten = 10;

    if (fixture_setup(state) != 0) {
        return -1;
    }
    hid_t file = fixture_create("ann.h5");
    put_matrix(file, "/train", 20, 3);
    put_matrix(file, "/test", 4, 3);
    put_matrix(file, "/neighbors", 4, 10);
    put_matrix(file, "/distances", 4, 10);
    put_distance(file, "angular", true);
    bool bad = H5Fclose(file) < 0;

    file = fixture_create("plain-ann.h5");
    put_matrix(file, "/train", 20, 3);
    put_matrix(file, "/test", 4, 3);
    bad |= H5Fclose(file) < 0;

    file = fixture_create("single.h5");
    put_matrix(file, "/emb", 10, 3);
    put_ids(file, "/ids", 10);
    put_ids(file, "/others", 10);
    put_ids(file, "/short", 4);
    put(file, "/labels", H5T_STD_I32LE, 1, &ten, H5P_DEFAULT, -1, NULL);
    bad |= H5Fclose(file) < 0;

    file = fixture_create("two.h5");
    put_matrix(file, "/a", 10, 3);
    put_matrix(file, "/g/b", 6, 3);
    put_matrix(file, "/g/wide", 6, 5);
    put(file, "/labels", H5T_STD_I32LE, 1, &ten, H5P_DEFAULT, -1, NULL);
    bad |= H5Fclose(file) < 0;

    file = fixture_create("items.h5");
    put(file, "/p1", H5T_IEEE_F32LE, 1, &ten, H5P_DEFAULT, -1, NULL);
    put(file, "/p2", H5T_IEEE_F32LE, 1, &ten, H5P_DEFAULT, -1, NULL);
    bad |= H5Fclose(file) < 0;

    file = fixture_create("odd-items.h5");
    put(file, "/p1", H5T_IEEE_F32LE, 1, &ten, H5P_DEFAULT, -1, NULL);
    put(file, "/p2", H5T_IEEE_F32LE, 1, &ten, H5P_DEFAULT, -1, NULL);
    put(file, "/p3", H5T_IEEE_F32LE, 1, (const hsize_t[]){4}, H5P_DEFAULT, -1, NULL);
    put(file, "/p4", H5T_IEEE_F32LE, 1, &ten, H5P_DEFAULT, -1, NULL);
    bad |= H5Fclose(file) < 0;

    file = fixture_create("none.h5");
    bad |= H5Fclose(file) < 0;
    return bad ? -1 : 0;
}

static void test_layout_decides(void **state)
{
    (void)state;
    with("ann.h5");
    accept("/train", "/test", false);
    assert_int_equal(in.base.last, 20);
    assert_int_equal(in.queries.last, 4);
    assert_int_equal(in.k, 10);
    assert_int_equal(in.answer, ENGRAM_ANSWER_KNN);
    assert_int_equal(in.metric, ENGRAM_COSINE);
    assert_string_equal(in.metric_reason, "attribute `distance` is \"angular\"");
    engram_inputs_free(&in);
    with("items.h5");
    accept("/", "/", true);
    assert_int_equal(in.base.last, 2);
    assert_int_equal(in.base.dataset->dims[1], 10);
    assert_ptr_equal(in.base.ids, in.base.dataset);
    engram_inputs_free(&in);
    with("single.h5");
    accept("/emb", "/emb", true);
    assert_string_equal(in.base.ids->path, "/ids");
    assert_string_equal(in.queries.ids->path, "/ids");
    assert_string_equal(in.metric_reason, "default");
    engram_inputs_free(&in);
}

static void test_sets(void **state)
{
    (void)state;
    with("ann.h5");
    options.self = true;
    accept("/train", "/train", true);
    engram_inputs_free(&in);

    with("ann.h5");
    set_base(&options, "distances"); /* a dataset of INPUT; the layout gives the queries */
    refuse(ENGRAM_ERR_DATA, "dimensions differ: ");
    set_base(&options, "/test");
    accept("/test", "/test", false);
    engram_inputs_free(&in);

    with("two.h5");
    set_base(&options, "g/b");
    accept("/g/b", "/g/b", true);
    engram_inputs_free(&in);
    options.queries = "a";
    accept("/g/b", "/a", false);
    engram_inputs_free(&in);
    options.queries = "/g/b"; /* the same dataset by name: not a self job */
    accept("/g/b", "/g/b", false);
    engram_inputs_free(&in);

    with("single.h5");
    options.queries = inside("two.h5", "g/b");
    accept("/emb", "/g/b", false);
    assert_int_equal(in.file_count, 2);
    engram_inputs_free(&in);

    with("single.h5"); /* with --base FILE, INPUT supplies the queries */
    set_base(&options, path_of("ann.h5"));
    accept("/train", "/emb", false);
    assert_int_equal(in.metric, ENGRAM_COSINE);
    assert_string_equal(in.metric_reason, "attribute `distance` is \"angular\"");
    engram_inputs_free(&in);

    with("ann.h5");
    set_base(&options, path_of("single.h5"));
    accept("/emb", "/test", false);
    engram_inputs_free(&in);
    set_base(&options, NULL);
    options.queries = path_of("single.h5");
    accept("/train", "/emb", false);
    engram_inputs_free(&in);

    with("ann.h5"); /* naming INPUT itself */
    set_base(&options, inside("ann.h5", "/train"));
    accept("/train", "/test", false);
    assert_int_equal(in.file_count, 1);
    engram_inputs_free(&in);
}

static void test_wrong_sets(void **state)
{
    (void)state;
    with("two.h5");
    refuse(ENGRAM_ERR_USAGE, "choose with --base; 2-D datasets of numbers: /a (10 x 3 float32), "
                             "/g/b (6 x 3 float32), /g/wide (6 x 5 float32)");
    options.queries = "a";
    refuse(ENGRAM_ERR_USAGE, "choose with --base");
    set_base(&options, path_of("single.h5"));
    options.queries = NULL;
    refuse(ENGRAM_ERR_USAGE, "choose with --queries");
    set_base(&options, "labels");
    refuse(ENGRAM_ERR_DATA, "/labels: is not a set of vectors (10 int32)");
    set_base(&options, "nothing");
    refuse(ENGRAM_ERR_NO_INPUT, "--base nothing: neither a dataset of");
    set_base(&options, inside("single.h5", "nothing"));
    refuse(ENGRAM_ERR_NO_INPUT, "nothing: no such dataset");
    set_base(&options, "a");
    options.queries = "g/wide";
    refuse(ENGRAM_ERR_DATA, "/a has 3, ");
    options.self = true;
    refuse(ENGRAM_ERR_USAGE, "exclude each other");
    with("odd-items.h5");
    refuse(ENGRAM_ERR_DATA,
           "3 datasets are items of 10 numbers (such as /p1), but /p3 has 4 numbers");
    with("items.h5");
    options.leaf = "vector";
    refuse(ENGRAM_ERR_DATA, "no group below / holds a dataset named vector");
    with("single.h5");
    options.leaf = "emb";
    refuse(ENGRAM_ERR_USAGE, "--leaf emb: ");
    with("none.h5");
    refuse(ENGRAM_ERR_USAGE, "it holds no datasets");
    with("absent.h5");
    refuse(ENGRAM_ERR_NO_INPUT, "no such file");
}

static void test_rows(void **state)
{
    (void)state;
    with("single.h5");
    options.base_rows[0] = 2;
    options.base_rows[1] = 8;
    options.query_rows[0] = 5;
    accept("/emb", "/emb", true);
    assert_int_equal(in.base.first, 2);
    assert_int_equal(in.base.last, 8);
    assert_int_equal(in.queries.first, 5);
    assert_int_equal(in.queries.last, 10);
    engram_inputs_free(&in);
    options.base_rows[0] = options.base_rows[1] = 10; /* empty, and still in range */
    accept("/emb", "/emb", true);
    engram_inputs_free(&in);
    options.base_rows[1] = 11;
    refuse(ENGRAM_ERR_USAGE, "--base-rows 10:11: ");
    options.base_rows[1] = -1;
    options.query_rows[0] = 7;
    options.query_rows[1] = 3;
    refuse(ENGRAM_ERR_USAGE, "--query-rows 7:3: the range ends");
    options.query_rows[0] = 11;
    options.query_rows[1] = -1;
    refuse(ENGRAM_ERR_USAGE, "has 10 rows");
}

static void test_metric(void **state)
{
    static const struct {
        const char *text;
        int metric; /* -1: refused */
    } cases[] = {
        {"euclidean", ENGRAM_L2},     {"l2", ENGRAM_L2},
        {"dot", ENGRAM_IP},           {"ip", ENGRAM_IP},
        {"cosine", ENGRAM_COSINE},    {"sqeuclidean", ENGRAM_SQEUCLIDEAN},
        {"Euclidean", ENGRAM_L2},     {"jaccard", ENGRAM_JACCARD},
        {"hamming", ENGRAM_HAMMING},  {"manhattan", ENGRAM_L1},
        {"normalized_euclidean", -1}, {"some\nthing", -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hid_t file = fixture_create("metric.h5");
        put_matrix(file, "/x", 3, 2);
        put_distance(file, cases[i].text, i % 2 == 0);
        assert_true(H5Fclose(file) >= 0);
        with("metric.h5");
        if (cases[i].metric < 0) {
            refuse(ENGRAM_ERR_USAGE, "--metric");
            continue;
        }
        accept("/x", "/x", true);
        assert_int_equal(in.metric, cases[i].metric);
        engram_inputs_free(&in);
    }
    with("plain-ann.h5");
    refuse(ENGRAM_ERR_USAGE, "name the metric with --metric");
    options.metric_given = true;
    options.metric = ENGRAM_L2;
    accept("/train", "/test", false);
    assert_int_equal(in.metric, ENGRAM_L2);
    assert_string_equal(in.metric_reason, "option --metric");
    engram_inputs_free(&in);
    options.min_similarity_given = true;
    refuse(ENGRAM_ERR_USAGE, "--min-similarity needs");
}

static void test_limits(void **state)
{
    (void)state;
    with("single.h5");
    options.max_distance_given = true;
    options.max_distance = 0.25;
    accept("/emb", "/emb", true);
    assert_true(in.answer == ENGRAM_ANSWER_PAIRS && in.k == INT64_MAX);
    assert_true(in.max_distance == 0.25 && isinf(in.min_similarity) && in.min_similarity < 0);
    engram_inputs_free(&in);
    options.k = 7;
    accept("/emb", "/emb", true);
    assert_true(in.answer == ENGRAM_ANSWER_PAIRS && in.k == 7);
    engram_inputs_free(&in);
    options.max_distance = (double)NAN;
    refuse(ENGRAM_ERR_USAGE, "--max-distance is not a number");
    options.max_distance = 1;
    options.k = -1;
    refuse(ENGRAM_ERR_USAGE, "-k -1: ");
    options.k = INT64_C(1) << 31;
    refuse(ENGRAM_ERR_USAGE, "-k 2147483648: ");
}

static void test_ids(void **state)
{
    (void)state;
    with("single.h5");
    options.ids = "others";
    accept("/emb", "/emb", true);
    assert_string_equal(in.base.ids->path, "/others");
    assert_string_equal(in.queries.ids->path, "/others");
    engram_inputs_free(&in);
    options.ids = "short";
    refuse(ENGRAM_ERR_DATA, "one for each of the 10 rows of /emb");
    options.ids = "labels";
    refuse(ENGRAM_ERR_DATA, "--ids labels");
    options.ids = "nothing";
    refuse(ENGRAM_ERR_NO_INPUT, "--ids nothing: no such dataset");
    options.ids = "others"; /* only the set whose file has them */
    set_base(&options, path_of("ann.h5"));
    accept("/train", "/emb", false);
    assert_null(in.base.ids);
    assert_string_equal(in.queries.ids->path, "/others");
    engram_inputs_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_decides),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_wrong_sets),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_metric),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_ids),
    };

    return cmocka_run_group_tests(tests, make_files, fixture_teardown);
}
