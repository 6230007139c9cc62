/* Temporary files that are found again, and the cells of a matrix in one. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/cells.h"
#include "io/output.h"

#define MARK "0123456789abcdef0123456789abcdef"
#define DIGEST "fedcba9876543210fedcba9876543210"

static char folder[512];
static char path[600];
static char beside[640];
static char last_message[1024];

static void remember(void *context, enum engram_log_level level, const char *message)
{
    (void)context;
    (void)level;
    snprintf(last_message, sizeof last_message, "%s", message);
}

static const struct engram_log log_here = {remember, NULL};

static int setup(void **state)
{
    const char *base = getenv("TMPDIR");
    (void)state;
    snprintf(folder, sizeof folder, "%s/engram-cells-XXXXXX", base != NULL ? base : "/tmp");
    last_message[0] = '\0';
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/out.h5", folder);
    snprintf(beside, sizeof beside, "%s" ENGRAM_TEMPFILE_SUFFIX, path);
    return 0;
}

/* Files in the folder; removes them when asked. */
static int entries(bool remove_them)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int count = 0;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            count++;
            if (remove_them) {
                assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
            }
        }
    }
    closedir(dir);
    return count;
}

static int teardown(void **state)
{
    (void)state;
    (void)entries(true);
    return rmdir(folder);
}

static bool exists(const char *name)
{
    return access(name, F_OK) == 0;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static enum engram_status create(struct engram_tempfile *file)
{
    return engram_tempfile_create(path, ENGRAM_TEMPFILE_SUFFIX, false, &log_here, file);
}

static void test_left_behind_is_removed(void **state)
{
    struct engram_tempfile file;
    (void)state;
    put(beside, "of a process that was killed");
    assert_int_equal(create(&file), ENGRAM_OK);
    assert_true(exists(beside));
    assert_int_equal(lseek(file.fd, 0, SEEK_END), 0);
    engram_tempfile_discard(&file);
    assert_int_equal(entries(false), 0);
    put(beside, "of another one");
    engram_tempfile_sweep(path, ENGRAM_TEMPFILE_SUFFIX);
    assert_int_equal(entries(false), 0);
}

static void test_left_behind_is_continued(void **state)
{
    struct engram_tempfile file;
    (void)state;
    assert_int_equal(
        engram_tempfile_continue(path, ENGRAM_TEMPFILE_SUFFIX, false, &log_here, &file), ENGRAM_OK);
    assert_null(file.shown);
    assert_int_equal(create(&file), ENGRAM_OK);
    assert_true(engram_write_at(file.fd, "so far", 6, 0));
    assert_int_equal(engram_tempfile_settle(&file, &log_here), ENGRAM_OK);
    engram_tempfile_leave(&file);
    assert_int_equal(
        engram_tempfile_continue(path, ENGRAM_TEMPFILE_SUFFIX, false, &log_here, &file), ENGRAM_OK);
    assert_non_null(file.shown);
    assert_int_equal(lseek(file.fd, 0, SEEK_END), 6);
    assert_int_equal(engram_tempfile_publish(&file, &log_here), ENGRAM_OK);
    assert_true(exists(path));
    assert_int_equal(entries(false), 1);
}

/* Locks of one process do not keep it out, so another one tries. */
static void test_two_processes(void **state)
{
    struct engram_tempfile file;
    int status = 0;
    (void)state;
    assert_int_equal(create(&file), ENGRAM_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct engram_tempfile other;
        bool refused = create(&other) == ENGRAM_ERR_CANT_CREATE &&
                       strstr(last_message, "another process") != NULL &&
                       engram_tempfile_continue(path, ENGRAM_TEMPFILE_SUFFIX, false, &log_here,
                                                &other) == ENGRAM_ERR_CANT_CREATE;
        engram_tempfile_sweep(path, ENGRAM_TEMPFILE_SUFFIX);
        _exit(refused && exists(beside) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    engram_tempfile_discard(&file);
}

static void test_what_is_in_the_way(void **state)
{
    struct engram_tempfile file;
    char target[640];
    (void)state;
    snprintf(target, sizeof target, "%s/victim", folder);
    put(target, "not ours");
    assert_int_equal(symlink(target, beside), 0);
    assert_int_equal(create(&file), ENGRAM_ERR_CANT_CREATE);
    assert_non_null(strstr(last_message, "in the way"));
    assert_true(exists(target));
    assert_int_equal(unlink(beside), 0);
    assert_int_equal(mkfifo(beside, 0600), 0);
    assert_int_equal(create(&file), ENGRAM_ERR_CANT_CREATE);
    assert_int_equal(unlink(beside), 0);
}

static void test_moved_away(void **state)
{
    struct engram_tempfile file;
    (void)state;
    assert_int_equal(create(&file), ENGRAM_OK);
    assert_int_equal(unlink(beside), 0);
    put(beside, "somebody else's");
    assert_int_equal(engram_tempfile_publish(&file, &log_here), ENGRAM_ERR_CANT_CREATE);
    assert_false(exists(path));
    engram_tempfile_leave(&file);
}

/* Longer than what is left of a name's 255 bytes. */
static void test_long_name(void **state)
{
    struct engram_tempfile file;
    char name[256];
    (void)state;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(path, sizeof path, "%.300s/%s", folder, name);
    assert_int_equal(create(&file), ENGRAM_OK);
    assert_int_equal(engram_tempfile_publish(&file, &log_here), ENGRAM_OK);
    assert_true(exists(path));
}

/* Cells of a plain file: rectangles in any order, by two owners. */
static void test_plain_cells(void **state)
{
    const char rows[] = "abcdefghijklmnopqrst"; /* 4 rows of 5 bytes */
    char back[21] = "";
    struct engram_cells cells;
    struct engram_cells_place place;
    bool found;
    (void)state;
    assert_int_equal(engram_cells_create(path, false, 4, 5, MARK, &log_here, &cells), ENGRAM_OK);
    assert_int_equal(engram_cells_write(&cells, 0, 4, 2, 3, rows + 2, 5), ENGRAM_OK);
    assert_int_equal(engram_cells_sync(&cells), ENGRAM_OK);
    place = cells.place;
    engram_cells_close(&cells, true);
    assert_int_equal(entries(false), 1);

    assert_int_equal(engram_cells_open(path, false, &place, NULL, &log_here, &cells, &found),
                     ENGRAM_OK);
    assert_true(found);
    assert_int_equal(engram_cells_write(&cells, 2, 2, 0, 2, rows + 10, 5), ENGRAM_OK);
    assert_int_equal(engram_cells_write(&cells, 0, 2, 0, 5, rows, 5), ENGRAM_OK);
    assert_int_equal(engram_cells_read(&cells, 0, 4, back), ENGRAM_OK);
    assert_string_equal(back, rows);
    assert_int_equal(engram_cells_write(&cells, 3, 2, 0, 5, rows, 5), ENGRAM_ERR_INTERNAL);
    assert_int_equal(engram_cells_write(&cells, 0, 1, 4, 2, rows, 5), ENGRAM_ERR_INTERNAL);
    engram_cells_close(&cells, true);

    place.mark[0] ^= 1;
    assert_int_equal(engram_cells_open(path, false, &place, NULL, &log_here, &cells, &found),
                     ENGRAM_OK);
    assert_false(found);
    place.mark[0] ^= 1;
    place.bytes++;
    assert_int_equal(engram_cells_open(path, false, &place, NULL, &log_here, &cells, &found),
                     ENGRAM_OK);
    assert_false(found);
    assert_int_equal(entries(false), 1);
}

/* Hashes of parts of a file; each sees the bytes that are its own, and no other. */
struct hashes {
    uint64_t whole; /* all cells */
    uint64_t part;  /* bytes 1 to 3 of rows 1 and 2 */
    uint64_t row;   /* row 3 */
    uint64_t none;
    uint64_t frame;
};

static struct hashes hash_all(const struct engram_cells *cells)
{
    const uint64_t late[ENGRAM_LATE_SETS] = {7, 0, 3};
    struct hashes h;
    assert_int_equal(engram_cells_hash(cells, &h.whole), ENGRAM_OK);
    assert_int_equal(engram_cells_hash_part(cells, 1, 2, 1, 3, &h.part), ENGRAM_OK);
    assert_int_equal(engram_cells_hash_part(cells, 3, 1, 0, 5, &h.row), ENGRAM_OK);
    assert_int_equal(engram_cells_hash_part(cells, 4, 0, 5, 0, &h.none), ENGRAM_OK);
    assert_int_equal(engram_cells_hash_frame(cells, late, &h.frame), ENGRAM_OK);
    return h;
}

static void flip(int fd, off_t at)
{
    unsigned char byte;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void test_hashes(void **state)
{
    enum { CELLS = 4096, ROWS = 4, ROW = 5, END = CELLS + ROWS * ROW + 30 };
    const int late[ENGRAM_LATE_SETS] = {CELLS - 9, 0, CELLS + ROWS * ROW}; /* against the cells */
    struct engram_cells cells;
    uint64_t hash = 0;
    (void)state;
    assert_int_equal(engram_cells_create(path, false, ROWS, ROW, MARK, &log_here, &cells),
                     ENGRAM_OK);
    assert_int_equal(ftruncate(cells.file.fd, END), 0);
    cells.place.bytes = END;
    for (int i = 0; i < ENGRAM_LATE_SETS; i++) {
        cells.place.late_at[i] = (uint64_t)late[i];
    }
    const struct hashes was = hash_all(&cells);
    for (int at = 0; at < END; at += at >= 64 && at < CELLS - 64 ? 61 : 1) {
        const int row = (at - CELLS) / ROW;
        const int column = (at - CELLS) % ROW;
        const bool in_cells = at >= CELLS && row < ROWS;
        const bool in_late =
            (at >= late[0] && at < late[0] + 7) || (at >= late[2] && at < late[2] + 3);
        flip(cells.file.fd, at);
        const struct hashes is = hash_all(&cells);
        flip(cells.file.fd, at);
        assert_int_equal(is.whole != was.whole, in_cells);
        assert_int_equal(is.part != was.part,
                         in_cells && (row == 1 || row == 2) && column >= 1 && column <= 3);
        assert_int_equal(is.row != was.row, in_cells && row == 3);
        assert_int_equal(is.none, was.none);
        assert_int_equal(is.frame != was.frame, !in_cells && !in_late && at >= ENGRAM_MARK_LENGTH);
    }
    assert_int_equal(engram_cells_hash_part(&cells, 3, 2, 0, 5, &hash), ENGRAM_ERR_INTERNAL);
    assert_int_equal(engram_cells_hash_part(&cells, 0, 1, 3, 3, &hash), ENGRAM_ERR_INTERNAL);
    engram_cells_close(&cells, false);
}

static void settle(struct engram_cells *cells)
{
    const int64_t dims[2] = {3, 4};
    struct engram_output *output;
    int set;
    assert_int_equal(engram_output_create(path, false, 1, &log_here, &output), ENGRAM_OK);
    assert_int_equal(engram_output_text(output, "/", "digest", MARK), ENGRAM_OK);
    assert_int_equal(engram_output_dataset(output, "/distances", ENGRAM_OUT_F32, 2, dims, 0, &set),
                     ENGRAM_OK);
    assert_int_equal(engram_output_settle(output, set, NULL, MARK, cells), ENGRAM_OK);
}

/* A result whose cells come later is the one whose rows were written at once. */
static void test_settled_result(void **state)
{
    const int64_t dims[2] = {3, 4};
    const float values[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    struct engram_output *output;
    struct engram_cells cells;
    struct engram_cells_place place;
    char bytes[2][16384];
    bool found;
    int set;
    (void)state;
    settle(&cells);
    place = cells.place;
    assert_int_equal(engram_cells_write(&cells, 0, 3, 0, 8, values, 16), ENGRAM_OK);
    engram_cells_close(&cells, true);
    assert_false(exists(path));
    assert_int_equal(engram_cells_open(path, false, &place, DIGEST, &log_here, &cells, &found),
                     ENGRAM_OK);
    assert_true(found);
    assert_false(cells.complete);
    assert_int_equal(engram_cells_write(&cells, 0, 3, 8, 8, values + 2, 16), ENGRAM_OK);
    assert_int_equal(engram_cells_publish(&cells, DIGEST), ENGRAM_OK);
    engram_cells_close(&cells, false);
    assert_int_equal(entries(false), 1);

    for (int i = 0; i < 2; i++) {
        int fd = open(path, O_RDONLY);
        memset(bytes[i], 0, sizeof bytes[i]);
        assert_true(fd >= 0);
        assert_true(read(fd, bytes[i], sizeof bytes[i]) > 0);
        assert_int_equal(close(fd), 0);
        assert_int_equal(unlink(path), 0);
        if (i == 0) {
            assert_int_equal(engram_output_create(path, false, 1, &log_here, &output), ENGRAM_OK);
            assert_int_equal(engram_output_text(output, "/", "digest", DIGEST), ENGRAM_OK);
            assert_int_equal(
                engram_output_dataset(output, "/distances", ENGRAM_OUT_F32, 2, dims, 0, &set),
                ENGRAM_OK);
            assert_int_equal(engram_output_rows(output, set, 0, 3, values), ENGRAM_OK);
            assert_int_equal(engram_output_publish(output), ENGRAM_OK);
        }
    }
    assert_memory_equal(bytes[0], bytes[1], sizeof bytes[0]);
}

/* Killed between the digest and the new name. */
static void test_complete_but_not_renamed(void **state)
{
    struct engram_cells cells;
    struct engram_cells_place place;
    bool found;
    (void)state;
    settle(&cells);
    place = cells.place;
    assert_true(engram_write_at(cells.file.fd, DIGEST, ENGRAM_MARK_LENGTH, (off_t)place.mark_at));
    engram_cells_close(&cells, true);
    assert_int_equal(engram_cells_open(path, false, &place, NULL, &log_here, &cells, &found),
                     ENGRAM_OK);
    assert_false(found);
    assert_int_equal(engram_cells_open(path, false, &place, DIGEST, &log_here, &cells, &found),
                     ENGRAM_OK);
    assert_true(found && cells.complete);
    engram_cells_close(&cells, false);
    assert_int_equal(entries(false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_left_behind_is_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_left_behind_is_continued, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_processes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_in_the_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moved_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plain_cells, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hashes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settled_result, setup, teardown),
        cmocka_unit_test_setup_teardown(test_complete_but_not_renamed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
