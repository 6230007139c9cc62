/* Pairs between search and OUTPUT: whatever is cut into runs, held, written, merged in levels,
 * comes out in one order; full disks and cancelling leave nothing behind. */
#define _GNU_SOURCE
#include "spool_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "io/spoolfile.h"
#include "io/tempfile.h"
#include "job/merge.h"

/* ---- the merge by itself */

#define RUNS_MAX 40

static void check_merge(size_t count, size_t run_count, bool hub, bool drop)
{
    struct engram_hit *pairs = make_pairs(count, 7, hub);
    struct engram_hit *expected = sorted_copy(pairs, count);
    struct engram_hit *got = malloc((count + 1) * sizeof *got);
    struct engram_merge_run runs[RUNS_MAX];
    struct engram_merge *merge = NULL;
    const struct engram_merge_options options = {
        .order = {order, ROW_BITS},
        .buffer = 1 + random_below(50),
        .drop = drop,
        .folder = fixture_folder,
    };
    int fd = engram_spoolfile_open(fixture_folder);
    off_t end = 0;
    size_t at = 0;
    assert_true(fd >= 0);
    assert_non_null(got);
    for (size_t r = 0; r < run_count; r++) {
        size_t left = count - at;
        size_t take = r + 1 == run_count ? left : random_below(3) == 0 ? 0 : random_below(left + 1);
        qsort(pairs + at, take, sizeof *pairs, compare);
        runs[r] = (struct engram_merge_run){.hits = pairs + at, .count = take};
        if (random_below(3) > 0) { /* in the file */
            runs[r] = (struct engram_merge_run){.count = take, .fd = fd, .offset = end};
            assert_true(engram_write_at(fd, pairs + at, take * sizeof *pairs, end));
            end += (off_t)(take * sizeof *pairs);
        }
        at += take;
    }
    assert_int_equal(engram_merge_open(runs, run_count, &options, &merge), ENGRAM_OK);
    size_t used = 0;
    for (;;) {
        size_t room = 1 + random_below(100);
        size_t some = 0;
        room = room < count + 1 - used ? room : count + 1 - used;
        assert_int_equal(engram_merge_next(merge, got + used, room, &some), ENGRAM_OK);
        if (some == 0) {
            break;
        }
        used += some;
        assert_true(used <= count);
    }
    assert_int_equal(used, count);
    assert_memory_equal(got, expected, count * sizeof *got);
    engram_merge_close(merge);
    (void)close(fd);
    free(pairs);
    free(expected);
    free(got);
}

static void test_merge(void **state)
{
    (void)state;
    for (int trial = 0; trial < 300; trial++) {
        order = engram_metric_order(trial % 2 == 0 ? ENGRAM_COSINE : ENGRAM_L2);
        size_t run_count = 1 + random_below(RUNS_MAX);
        check_merge(random_below(3000), run_count, trial % 3 == 0, trial % 5 == 0);
    }
    check_merge(0, 1, false, false);
}

/* ---- the spool */

static void check_spool(size_t count, size_t memory, size_t most, bool hub)
{
    const int64_t queries = 50;
    const struct engram_unit unit = {{0, queries}, {0, 1}};
    struct engram_hit *pairs = make_pairs(count, queries, hub);
    struct engram_hit *expected = sorted_copy(pairs, count);
    struct engram_spool_options options = options_for(queries, memory);
    struct engram_journal *journal = open_journal();
    struct engram_spool *spool = NULL;
    uint64_t saved = 0;
    assert_int_equal(engram_spool_create(&options, &spool), ENGRAM_OK);
    engram_spool_attach(spool, journal);
    for (size_t at = 0; at < count;) {
        size_t some = 1 + random_below(most);
        some = some < count - at ? some : count - at;
        engram_spool_unit(spool, &unit);
        take(spool, make_run(pairs + at, some, 0, 0));
        at += some;
        if (random_below(20) == 0) {
            engram_spool_unit(spool, NULL);
            assert_int_equal(engram_spool_save(spool), ENGRAM_OK);
            saved = at;
        }
    }
    bool spilled = strstr(fixture_log, "takes the") != NULL;
    fixture_clear();
    check_answers(spool, expected, count, queries);
    /* The journal has each pair at most once, and no more than that comes on top. */
    assert_true((engram_spool_disk_bytes(spool) > 0) == (spilled || saved > 0));
    assert_true(memory > 16 || count == 0 || engram_spool_disk_bytes(spool) > 0);
    assert_true(engram_spool_disk_bytes(spool) <= 2 * 16 * count);
    engram_spool_free(spool);
    engram_journal_close(journal, true);
    free(pairs);
    free(expected);
}

static void test_spool(void **state)
{
    (void)state;
    size_t usual = engram_spool_fan_in;
    order = engram_metric_order(ENGRAM_COSINE);
    for (int trial = 0; trial < 60; trial++) {
        engram_spool_fan_in = (size_t[]){2, 3, 5, 300}[trial % 4];
        size_t memory = (size_t[]){0, 16, 5000, 100000, (size_t)1 << 30}[trial % 5];
        check_spool(random_below(trial % 7 == 0 ? 100000 : 5000), memory, 1 + random_below(500),
                    trial % 2 == 0);
    }
    engram_spool_fan_in = usual;
    check_spool(0, 0, 1, false);
}

/* Runs count from their own first query and row. */
static void test_offsets(void **state)
{
    (void)state;
    order = engram_metric_order(ENGRAM_COSINE);
    for (size_t memory = 0; memory < 2; memory++) {
        struct engram_spool_options options = options_for(50, memory << 20);
        struct engram_spool *spool = NULL;
        struct engram_hit hits[5];
        size_t count = 0;
        struct engram_journal *journal = open_journal();
        assert_int_equal(engram_spool_create(&options, &spool), ENGRAM_OK);
        engram_spool_attach(spool, journal);
        const struct engram_hit pairs[] = {{0.5, (int64_t)30 << ROW_BITS | 700},
                                           {0.5, (int64_t)30 << ROW_BITS | 699},
                                           {0.75, (int64_t)31 << ROW_BITS | 700}};
        take(spool, make_run(pairs + 2, 1, 31, 100));
        take(spool, make_run(pairs, 1, 7, 690));
        take(spool, make_run(pairs + 1, 1, 0, 1));
        assert_int_equal(engram_spool_read(spool, hits, 5, &count), ENGRAM_OK);
        assert_int_equal(count, 3);
        assert_int_equal(hits[0].tag, FIRST_ROW + 699);
        assert_int_equal(hits[1].tag, FIRST_ROW + 700);
        assert_int_equal(hits[2].tag, FIRST_ROW + 700);
        assert_true(hits[2].score == 0.75);
        assert_int_equal(engram_spool_count(spool, 30), 2);
        engram_spool_free(spool);
        engram_journal_close(journal, true);
        fixture_clear();
    }
}

/* ---- what goes wrong */

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

/* Gives runs of `count` pairs until one is refused, at most `most`; then reads. */
static enum engram_status fill(const struct engram_spool_options *options, size_t count, int most)
{
    struct engram_spool *spool = NULL;
    struct engram_hit *pairs = make_pairs(count, 50, false);
    struct engram_journal *journal = open_journal();
    struct engram_hit hits[100];
    size_t some = 1;
    enum engram_status status = engram_spool_create(options, &spool);
    order = engram_metric_order(ENGRAM_COSINE);
    engram_spool_attach(spool, journal);
    for (int i = 0; status == ENGRAM_OK && i < most; i++) {
        struct engram_run run = make_run(pairs, count, 0, 0);
        status = engram_spool_take(spool, &run);
        engram_pages_free(run.hits, run.bytes);
        assert_int_equal(files_left(), 1);
    }
    while (status == ENGRAM_OK && some > 0) {
        status = engram_spool_read(spool, hits, 100, &some);
        assert_int_equal(files_left(), 1);
    }
    engram_spool_free(spool);
    engram_journal_close(journal, true);
    free(pairs);
    assert_int_equal(files_left(), 0);
    return status;
}

/* The last line that was logged. */
static void assert_last(const char *part)
{
    char *end = fixture_log + strlen(fixture_log);
    assert_true(end > fixture_log);
    end[-1] = '\0';
    const char *line = strrchr(fixture_log, '\n');
    line = line == NULL ? fixture_log : line + 1;
    if (strstr(line, part) == NULL) {
        fail_msg("wanted \"%s\", got \"%s\"", part, line);
    }
    fixture_clear();
}

/* The first file that grows too large is the journal, or the temporary file. */
static void test_size_limit(void **state)
{
    (void)state;
    size_t usual = engram_spool_fan_in;
    struct rlimit usual_limit;
    struct rlimit small;
    const struct engram_spool_options options = options_for(50, 1000);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual_limit), 0);
    small = usual_limit;
    small.rlim_cur = 1000000;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(fill(&options, 3000, 10000), ENGRAM_ERR_IO);
    assert_last("out.h5.checkpoint: cannot be written");
    engram_spool_fan_in = 2; /* levels of merges take more than the runs */
    assert_int_equal(fill(&options, 3000, 19), ENGRAM_ERR_IO);
    engram_spool_fan_in = usual;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual_limit), 0);
    assert_last("--tmpdir");
}

static void test_no_folder(void **state)
{
    (void)state;
    size_t usual = engram_spool_fan_in;
    struct engram_spool_options options = options_for(50, 1000);
    char missing[600];
    snprintf(missing, sizeof missing, "%s/missing", fixture_folder);
    options.tmpdir = missing;
    assert_int_equal(fill(&options, 3000, 10), ENGRAM_OK); /* nothing to be merged before */
    fixture_clear();
    engram_spool_fan_in = 3;
    assert_int_equal(fill(&options, 3000, 10), ENGRAM_ERR_CANT_CREATE);
    engram_spool_fan_in = usual;
    assert_last("missing: cannot create temporary data");
}

static void test_cancel(void **state)
{
    (void)state;
    const int cancel = 1;
    struct engram_spool_options options = options_for(50, 1000);
    options.cancel = &cancel;
    assert_int_equal(fill(&options, 3000, 10000), ENGRAM_ERR_CANCELLED);
    fixture_clear();
}

/* A small disk, where mounting one is permitted: refused before it is full, with both figures. */
static void test_full_disk(void **state)
{
    (void)state;
    size_t usual = engram_spool_fan_in;
    const struct engram_spool_options options = options_for(50, 1000);
    struct statvfs info;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", fixture_folder, "tmpfs", 0, "size=1m") != 0) {
        skip();
    }
    assert_int_equal(fill(&options, 3000, 10000), ENGRAM_ERR_IO);
    assert_last("bytes more in the checkpoint, and ");
    engram_spool_fan_in = 3;
    assert_int_equal(fill(&options, 3000, 15), ENGRAM_ERR_IO);
    assert_last("bytes more, and ");
    engram_spool_fan_in = usual;
    /* Everything was given back. */
    assert_int_equal(statvfs(fixture_folder, &info), 0);
    assert_int_equal(info.f_bfree, info.f_blocks);
    assert_int_equal(umount(fixture_folder), 0);
}

static void test_too_many_to_number(void **state)
{
    (void)state;
    struct engram_spool_options options = options_for(50, 1000);
    struct engram_spool *spool = NULL;
    options.rows = (int64_t)1 << 60;
    assert_int_equal(engram_spool_create(&options, &spool), ENGRAM_ERR_RESOURCE);
    assert_logged("--query-rows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),     cmocka_unit_test(test_spool),
        cmocka_unit_test(test_offsets),   cmocka_unit_test(test_size_limit),
        cmocka_unit_test(test_no_folder), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_full_disk), cmocka_unit_test(test_too_many_to_number),
    };
    random_start();
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
