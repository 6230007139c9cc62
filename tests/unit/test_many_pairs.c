/* Jobs whose pairs do not fit into memory: OUTPUT has the same bytes as when they do; and what
 * goes wrong meanwhile leaves nothing behind. */
#define _GNU_SOURCE
#include "h5_fixture.h"
#include "reference.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "engram/job.h"
#include "job/plan.h"
#include "job/spool.h"

#define ROWS 900
#define QUERIES 300
#define DIM 5

static char input[600];
static char output[600];

/* ROWS and QUERIES rows; the first query and row are close to everything. */
static int setup(void **state)
{
    if (fixture_setup(state) != 0) {
        return -1;
    }
    hid_t file = fixture_create("input.h5");
    const hsize_t dims[2][2] = {{ROWS, DIM}, {QUERIES, DIM}};
    for (int set = 0; set < 2; set++) {
        static float data[ROWS * DIM];
        for (size_t i = 0; i < ROWS * DIM; i++) {
            data[i] = i < DIM ? 0 : (float)random_in(-3, 3);
        }
        put(file, set == 0 ? "/train" : "/test", H5T_IEEE_F32LE, 2, dims[set], H5P_DEFAULT,
            H5T_NATIVE_FLOAT, data);
    }
    assert_true(H5Fclose(file) >= 0);
    snprintf(input, sizeof input, "%s", fixture_name("input.h5"));
    snprintf(output, sizeof output, "%s", fixture_name("out.h5"));
    return 0;
}

static struct engram_job_options make_options(void)
{
    struct engram_job_options options = ENGRAM_JOB_OPTIONS_INIT;
    options.input = input;
    options.output = output;
    options.metric_given = true;
    options.metric = ENGRAM_L2;
    options.max_distance_given = true;
    options.max_distance = 6;
    options.force = true;
    options.threads = 1;
    options.log = fixture_logger;
    return options;
}

/* Runs the job within a bound and gives OUTPUT's bytes. */
static unsigned char *run(const struct engram_job_options *options, size_t bound, long *size)
{
    struct engram_job_report report;
    engram_plan_pair_bytes = bound;
    assert_int_equal(engram_job_run(options, &report), ENGRAM_OK);
    engram_plan_pair_bytes = 0;
    FILE *file = fopen(output, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = ftell(file);
    unsigned char *bytes = malloc((size_t)*size + 1);
    assert_non_null(bytes);
    rewind(file);
    assert_int_equal(fread(bytes, 1, (size_t)*size, file), (size_t)*size);
    (void)fclose(file);
    assert_int_equal(unlink(output), 0);
    return bytes;
}

static void check_same(struct engram_job_options *options)
{
    static const size_t bounds[] = {1, 400000, 3000000};
    long size = 0;
    fixture_clear();
    options->threads = 1;
    options->filter = ENGRAM_FILTER_CANONICAL;
    unsigned char *expected = run(options, 0, &size);
    assert_null(strstr(fixture_log, "takes the pairs"));
    for (size_t b = 0; b < sizeof bounds / sizeof bounds[0]; b++) {
        long other = 0;
        fixture_clear();
        options->threads = 1 + (int)random_below(3);
        options->filter = (enum engram_filter)random_below(4);
        engram_spool_fan_in = b == 0 ? 3 : 0;
        unsigned char *bytes = run(options, bounds[b], &other);
        engram_spool_fan_in = 0;
        assert_true(b > 0 || strstr(fixture_log, "takes the pairs") != NULL);
        assert_int_equal(other, size);
        assert_memory_equal(bytes, expected, (size_t)size);
        free(bytes);
    }
    free(expected);
}

static void test_same_bytes(void **state)
{
    (void)state;
    for (int compress = 0; compress < 2; compress++) {
        struct engram_job_options options = make_options();
        options.compress = compress;
        check_same(&options);
        options.tmpdir = fixture_folder;
        options.k = ROWS; /* cuts nothing off */
        check_same(&options);
        options.self = true;
        check_same(&options); /* each pair once, for both */
        options.k = 0;
        options.float64 = true;
        options.base_rows[0] = 100; /* other rows than the queries' */
        check_same(&options);
        options.metric = ENGRAM_COSINE;
        options.max_distance_given = false;
        options.min_similarity_given = true;
        options.min_similarity = -2;
        options.similarity = true;
        check_same(&options); /* every pair */
    }
}

static int files_left(void)
{
    int count = 0;
    DIR *folder = opendir(fixture_folder);
    struct dirent *entry;
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(folder);
    return count;
}

static enum engram_status fails(const struct engram_job_options *options, size_t bound)
{
    fixture_clear();
    int before = files_left();
    engram_plan_pair_bytes = bound;
    enum engram_status status = engram_job_run(options, NULL);
    engram_plan_pair_bytes = 0;
    assert_int_equal(files_left(), before);
    return status;
}

/* At the first run that is written. */
static void cancel_at(void *context, enum engram_log_level level, const char *message)
{
    (void)level;
    if (strstr(message, "takes the pairs") != NULL) {
        __atomic_store_n((int *)context, 1, __ATOMIC_RELAXED);
    }
}

static void test_cancel(void **state)
{
    (void)state;
    int cancel = 0;
    struct engram_job_options options = make_options();
    options.cancel = &cancel;
    options.log = (struct engram_log){cancel_at, &cancel};
    assert_int_equal(fails(&options, 1), ENGRAM_ERR_CANCELLED);
    assert_int_equal(cancel, 1);
}

static void test_max_pairs(void **state)
{
    (void)state;
    struct engram_job_report report;
    for (int kind = 0; kind < 3; kind++) {
        struct engram_job_options options = make_options();
        options.threads = 2;
        options.self = kind == 1;
        options.k = kind == 2 ? 4 : 0;
        assert_int_equal(engram_job_run(&options, &report), ENGRAM_OK);
        assert_int_equal(unlink(output), 0);
        options.max_pairs = (int64_t)report.answers;
        assert_int_equal(engram_job_run(&options, &report), ENGRAM_OK);
        assert_int_equal(unlink(output), 0);
        options.max_pairs--;
        assert_int_equal(fails(&options, 0), ENGRAM_ERR_DATA);
        assert_non_null(strstr(fixture_log, "--max-pairs"));
        assert_int_equal(fails(&options, 1), ENGRAM_ERR_DATA);
    }
}

/* No room for temporary data, or for OUTPUT. */
static void test_full_disk(void **state)
{
    (void)state;
    char disk[600];
    char small[700];
    snprintf(disk, sizeof disk, "%s", fixture_name("disk"));
    snprintf(small, sizeof small, "%s/out.h5", disk);
    assert_int_equal(mkdir(disk, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", disk, "tmpfs", 0, "size=128k") != 0) {
        assert_int_equal(rmdir(disk), 0);
        skip();
    }
    struct engram_job_options options = make_options();
    options.max_distance = (double)INFINITY;
    options.output = small;
    assert_int_equal(fails(&options, 1), ENGRAM_ERR_IO);
    assert_non_null(strstr(fixture_log, "bytes more in the checkpoint, and "));
    assert_int_equal(fails(&options, 0), ENGRAM_ERR_IO);
    assert_non_null(strstr(fixture_log, "the result with 270000 pairs needs 3242408 bytes"));
    /* More runs than are merged at once; what was found is kept. */
    size_t usual = engram_spool_fan_in;
    struct engram_job_report report;
    options.output = output;
    options.tmpdir = disk;
    engram_plan_pair_bytes = 1;
    engram_spool_fan_in = 2;
    fixture_clear();
    assert_int_equal(engram_job_run(&options, &report), ENGRAM_ERR_IO);
    assert_non_null(strstr(fixture_log, "bytes more, and "));
    assert_true(report.saved);
    options.tmpdir = fixture_folder;
    assert_int_equal(engram_job_run(&options, &report), ENGRAM_OK);
    assert_true(report.continued);
    assert_int_equal(report.answers, 270000);
    assert_int_equal(unlink(output), 0);
    engram_plan_pair_bytes = 0;
    engram_spool_fan_in = usual;
    assert_int_equal(umount(disk), 0);
    assert_int_equal(rmdir(disk), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_max_pairs),
        cmocka_unit_test(test_full_disk),
    };
    random_start();
    return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
