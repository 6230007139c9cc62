/* Pairs between search and OUTPUT: whatever is cut into runs, held, written, merged in levels,
 * comes out in one order; full disks and cancelling leave nothing behind. */
#define _GNU_SOURCE
#include "h5_fixture.h"
#include "reference.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "base/pages.h"
#include "io/spoolfile.h"
#include "io/tempfile.h"
#include "job/merge.h"
#include "job/spool.h"

#define ROW_BITS 20

static struct engram_order order;

static int compare(const void *left, const void *right)
{
    const struct engram_hit *a = left;
    const struct engram_hit *b = right;
    int64_t query_a = a->tag >> ROW_BITS;
    int64_t query_b = b->tag >> ROW_BITS;
    double key_a = engram_key(order, a->score);
    double key_b = engram_key(order, b->score);
    if (query_a != query_b) {
        return query_a < query_b ? -1 : 1;
    }
    if (key_a != key_b) {
        return key_a < key_b ? -1 : 1;
    }
    return a->tag < b->tag ? -1 : a->tag > b->tag;
}

/* Pairs that all differ, in random order; few keys, so that there are ties. `hub`: most of them
 * are of one query. */
static struct engram_hit *make_pairs(size_t count, int64_t queries, bool hub)
{
    struct engram_hit *pairs = malloc((count + 1) * sizeof *pairs);
    assert_non_null(pairs);
    for (size_t i = 0; i < count; i++) {
        int64_t query = hub && random_below(10) > 0 ? queries / 2 : random_in(0, queries - 1);
        pairs[i].score = (double)random_in(-2, 2) / 4;
        pairs[i].tag = query << ROW_BITS | (int64_t)i;
    }
    for (size_t i = count; i > 1; i--) {
        size_t j = random_below(i);
        struct engram_hit swapped = pairs[j];
        pairs[j] = pairs[i - 1];
        pairs[i - 1] = swapped;
    }
    return pairs;
}

static struct engram_hit *sorted_copy(const struct engram_hit *pairs, size_t count)
{
    struct engram_hit *copy = malloc((count + 1) * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, pairs, count * sizeof *copy);
    qsort(copy, count, sizeof *copy, compare);
    return copy;
}

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

#define FIRST_QUERY 100
#define FIRST_ROW 1000

static struct engram_spool_options options_for(int64_t queries, size_t memory)
{
    return (struct engram_spool_options){.folder = fixture_folder,
                                         .metric = ENGRAM_COSINE,
                                         .first_query = FIRST_QUERY,
                                         .queries = queries,
                                         .first_row = FIRST_ROW,
                                         .rows = (int64_t)1 << ROW_BITS,
                                         .memory = memory,
                                         .log = fixture_logger};
}

/* A run of these pairs as a search gives it: numbered from `query` and `row` on. */
static struct engram_run make_run(const struct engram_hit *pairs, size_t count, int64_t query,
                                  int64_t row)
{
    struct engram_run run = {.count = count,
                             .bytes = count * sizeof *run.hits,
                             .first_query = FIRST_QUERY + query,
                             .first_row = FIRST_ROW + row};
    run.hits = engram_pages_alloc(run.bytes);
    assert_non_null(run.hits);
    memcpy(run.hits, pairs, run.bytes);
    qsort(run.hits, count, sizeof *run.hits, compare);
    for (size_t i = 0; i < count; i++) {
        int64_t tag = run.hits[i].tag;
        run.hits[i].tag =
            ENGRAM_HIT_TAG((tag >> ROW_BITS) - query, (tag & (((int64_t)1 << ROW_BITS) - 1)) - row);
    }
    return run;
}

static void take(struct engram_spool *spool, struct engram_run run)
{
    assert_int_equal(engram_spool_take(spool, &run), ENGRAM_OK);
    engram_pages_free(run.hits, run.bytes);
}

static void check_spool(size_t count, size_t memory, size_t most, bool hub)
{
    const int64_t queries = 50;
    struct engram_hit *pairs = make_pairs(count, queries, hub);
    struct engram_hit *expected = sorted_copy(pairs, count);
    struct engram_spool_options options = options_for(queries, memory);
    struct engram_spool *spool = NULL;
    int64_t counts[50] = {0};
    assert_int_equal(engram_spool_create(&options, &spool), ENGRAM_OK);
    for (size_t at = 0; at < count;) {
        size_t some = 1 + random_below(most);
        some = some < count - at ? some : count - at;
        take(spool, make_run(pairs + at, some, 0, 0));
        at += some;
    }
    assert_int_equal(engram_spool_total(spool), (int64_t)count);
    struct engram_hit hits[333];
    size_t some = 0;
    size_t used = 0;
    do {
        assert_int_equal(engram_spool_read(spool, hits, 1 + random_below(333), &some), ENGRAM_OK);
        assert_true(some <= count - used);
        for (size_t i = 0; i < some; i++, used++) {
            int64_t tag = expected[used].tag;
            assert_true(same_bits(hits[i].score, expected[used].score));
            assert_int_equal(hits[i].tag, FIRST_ROW + (tag & (((int64_t)1 << ROW_BITS) - 1)));
            counts[tag >> ROW_BITS]++;
        }
    } while (some > 0);
    assert_int_equal(used, count);
    for (int64_t q = 0; q < queries; q++) {
        assert_int_equal(engram_spool_count(spool, q), counts[q]);
    }
    assert_true((engram_spool_disk_bytes(spool) > 0) == (strstr(fixture_log, "takes the") != NULL));
    assert_true(memory >= count * 16 || strstr(fixture_log, "takes the") != NULL);
    assert_true(engram_spool_disk_bytes(spool) <= 16 * count);
    fixture_clear();
    engram_spool_free(spool);
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
        assert_int_equal(engram_spool_create(&options, &spool), ENGRAM_OK);
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

/* Gives runs of `count` pairs until one is refused. */
static enum engram_status fill(const struct engram_spool_options *options, size_t count)
{
    struct engram_spool *spool = NULL;
    struct engram_hit *pairs = make_pairs(count, 50, false);
    enum engram_status status = engram_spool_create(options, &spool);
    order = engram_metric_order(ENGRAM_COSINE);
    for (int i = 0; status == ENGRAM_OK && i < 10000; i++) {
        struct engram_run run = make_run(pairs, count, 0, 0);
        status = engram_spool_take(spool, &run);
        engram_pages_free(run.hits, run.bytes);
        if (status == ENGRAM_OK) {
            assert_int_equal(files_left(), 0);
        }
    }
    engram_spool_free(spool);
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

static void test_size_limit(void **state)
{
    (void)state;
    struct rlimit usual;
    struct rlimit small;
    const struct engram_spool_options options = options_for(50, 1000);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    small = usual;
    small.rlim_cur = 1000000;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(fill(&options, 3000), ENGRAM_ERR_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
    assert_last("--tmpdir");
}

static void test_no_folder(void **state)
{
    (void)state;
    struct engram_spool_options options = options_for(50, 1000);
    char missing[600];
    snprintf(missing, sizeof missing, "%s/missing", fixture_folder);
    options.folder = missing;
    assert_int_equal(fill(&options, 3000), ENGRAM_ERR_CANT_CREATE);
    assert_last("missing: cannot create temporary data");
}

static void test_cancel(void **state)
{
    (void)state;
    const int cancel = 1;
    struct engram_spool_options options = options_for(50, 1000);
    options.cancel = &cancel;
    assert_int_equal(fill(&options, 3000), ENGRAM_ERR_CANCELLED);
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
    for (int i = 0; i < 2; i++) {
        engram_spool_fan_in = i == 0 ? usual : 3;
        assert_int_equal(fill(&options, 3000), ENGRAM_ERR_IO);
        assert_last("bytes more, and ");
    }
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
