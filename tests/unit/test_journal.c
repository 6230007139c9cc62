/* The checkpoint's file: what a kill, damage, another job and another process do to it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/endian.h"
#include "base/hash.h"
#include "job/journal_internal.h"

static char folder[256];
static char output[300];
static char path[320];
static char last_message[1024];

static void remember(void *context, enum engram_log_level level, const char *message)
{
    (void)context;
    (void)level;
    snprintf(last_message, sizeof last_message, "%s", message);
}

static struct engram_journal_options options_of(const char *identity)
{
    last_message[0] = '\0';
    return (struct engram_journal_options){
        .output = output, .identity = identity, .log = {remember, NULL}};
}

static struct engram_journal *open_journal(const char *identity)
{
    struct engram_journal_options options = options_of(identity);
    struct engram_journal *journal = NULL;
    assert_int_equal(engram_journal_open(&options, &journal), ENGRAM_OK);
    assert_non_null(journal);
    return journal;
}

static enum engram_status try_open(struct engram_journal_options options)
{
    struct engram_journal *journal = NULL;
    enum engram_status status = engram_journal_open(&options, &journal);
    assert_true(status == ENGRAM_OK || journal == NULL);
    engram_journal_close(journal, false);
    return status;
}

static void append(struct engram_journal *journal, enum engram_record_kind kind, int64_t first,
                   const void *payload, size_t bytes)
{
    struct engram_record record = {
        .kind = kind, .queries = {first, first + 1}, .base = {0, 9}, .bytes = bytes};
    assert_int_equal(engram_journal_append(journal, &record, payload, bytes), ENGRAM_OK);
}

/* `bytes` of a pattern that depends on `seed`. */
static unsigned char *pattern(size_t bytes, unsigned seed)
{
    unsigned char *data = malloc(bytes + 1);
    assert_non_null(data);
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (unsigned char)((i * 2654435761u + seed) >> 11);
    }
    return data;
}

static void expect_payload(const struct engram_journal *journal, size_t i, size_t bytes,
                           unsigned seed)
{
    const struct engram_record *record = engram_journal_record(journal, i);
    unsigned char *wanted = pattern(bytes, seed);
    unsigned char *found = malloc(bytes + 1);
    assert_int_equal(record->bytes, bytes);
    assert_int_equal(engram_journal_read(journal, record, 0, bytes, found), ENGRAM_OK);
    assert_memory_equal(found, wanted, bytes);
    free(wanted);
    free(found);
}

static off_t file_size(void)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

static void flip_byte(off_t at)
{
    unsigned char byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void test_records_come_back(void **state)
{
    (void)state;
    static const size_t SIZES[] = {0, 1, 63, 64, 65, 1 << 20, (1 << 20) + 1, (3 << 20) + 77};
    enum { COUNT = sizeof SIZES / sizeof SIZES[0] };
    struct engram_journal *journal = open_journal("job A");
    assert_int_equal(engram_journal_count(journal), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned char *data = pattern(SIZES[i], i);
        struct engram_record record = {
            .kind = ENGRAM_RECORD_RUN, .queries = {i, i + 5}, .base = {3, 4}, .bytes = SIZES[i]};
        /* In two uneven pieces. */
        size_t part = SIZES[i] / 3;
        assert_int_equal(engram_journal_append(journal, &record, data, part), ENGRAM_OK);
        if (SIZES[i] > 0) {
            assert_int_equal(engram_journal_more(journal, data + part, SIZES[i] - part), ENGRAM_OK);
        }
        free(data);
    }
    assert_int_equal(engram_journal_commit(journal), ENGRAM_OK);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(engram_journal_count(journal), COUNT);
        for (unsigned i = 0; i < COUNT; i++) {
            assert_int_equal(engram_journal_record(journal, i)->kind, ENGRAM_RECORD_RUN);
            assert_int_equal(engram_journal_record(journal, i)->queries[0], i);
            expect_payload(journal, i, SIZES[i], i);
        }
        engram_journal_close(journal, false);
        journal = open_journal("job A");
    }
    engram_journal_close(journal, true);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_newer_replaces_older(void **state)
{
    (void)state;
    struct engram_journal *journal = open_journal("job A");
    append(journal, ENGRAM_RECORD_PARTIAL, 1, "one", 3);
    append(journal, ENGRAM_RECORD_PARTIAL, 2, "two", 3);
    append(journal, ENGRAM_RECORD_STATE, 7, "old", 3);
    append(journal, ENGRAM_RECORD_PARTIAL, 1, "ONE", 3);
    append(journal, ENGRAM_RECORD_STATE, 8, "new", 3);
    append(journal, ENGRAM_RECORD_RUN, 1, "run", 3);
    append(journal, ENGRAM_RECORD_RUN, 1, "run", 3);
    for (int again = 0; again < 2; again++) {
        char text[4] = "";
        assert_int_equal(engram_journal_count(journal), 5);
        assert_int_equal(engram_journal_record(journal, 0)->queries[0], 2);
        assert_int_equal(
            engram_journal_read(journal, engram_journal_record(journal, 1), 0, 3, text), ENGRAM_OK);
        assert_string_equal(text, "ONE");
        assert_int_equal(engram_journal_record(journal, 2)->queries[0], 8);
        engram_journal_close(journal, false);
        journal = open_journal("job A");
    }
    engram_journal_close(journal, true);
}

/* Cut anywhere, the file opens and holds a prefix of the records. */
static void test_torn_tail(void **state)
{
    (void)state;
    size_t before = 0;
    struct engram_journal *journal = open_journal("job A");
    for (unsigned i = 0; i < 4; i++) {
        unsigned char *data = pattern(200, i);
        append(journal, ENGRAM_RECORD_RUN, i, data, 200);
        free(data);
    }
    engram_journal_close(journal, false);
    for (off_t size = file_size(); size > HEADER_BYTES; size -= 13) {
        assert_int_equal(truncate(path, size), 0);
        journal = open_journal("job A");
        size_t count = engram_journal_count(journal);
        assert_true(before == 0 || count <= before);
        /* 200 bytes fill 256: what is missing of the rest does not matter. */
        assert_int_equal(count, (size - HEADER_BYTES + 56) / (RECORD_BYTES + 256));
        for (unsigned i = 0; i < count; i++) {
            expect_payload(journal, i, 200, i);
        }
        before = count;
        engram_journal_close(journal, false);
    }
    engram_journal_close(open_journal("job A"), true);
}

/* A process that dies within a record leaves a payload without a header. */
static void test_killed_in_a_record(void **state)
{
    (void)state;
    static const unsigned char junk[(2 << 20) + 5] = {1};
    pid_t child = fork();
    if (child == 0) {
        struct engram_journal *journal = open_journal("job A");
        struct engram_record record = {.kind = ENGRAM_RECORD_RUN, .bytes = sizeof junk};
        append(journal, ENGRAM_RECORD_RUN, 1, "whole", 5);
        (void)!engram_journal_append(journal, &record, junk, sizeof junk - 1);
        _exit(0); /* no close, as after a kill */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(file_size() > 1 << 20);
    struct engram_journal *journal = open_journal("job A");
    assert_int_equal(engram_journal_count(journal), 1);
    append(journal, ENGRAM_RECORD_RUN, 2, "more", 4);
    engram_journal_close(journal, false);
    journal = open_journal("job A");
    assert_int_equal(engram_journal_count(journal), 2);
    engram_journal_close(journal, true);
}

static void test_damage_is_refused(void **state)
{
    (void)state;
    struct engram_journal *journal = open_journal("job A");
    append(journal, ENGRAM_RECORD_RUN, 1, "first", 5);
    append(journal, ENGRAM_RECORD_RUN, 2, "second", 6);
    assert_int_equal(engram_journal_commit(journal), ENGRAM_OK);
    engram_journal_close(journal, false);
    const off_t places[] = {
        0, 9, IDENTITY, HEADER_SUM, HEADER_BYTES + 8, HEADER_BYTES + RECORD_BYTES + 2};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        flip_byte(places[i]);
        assert_int_equal(try_open(options_of("job A")), ENGRAM_ERR_CANT_CREATE);
        assert_non_null(strstr(last_message, "--from-scratch"));
        flip_byte(places[i]);
        assert_int_equal(try_open(options_of("job A")), ENGRAM_OK);
    }
    flip_byte(0);
    struct engram_journal_options options = options_of("job A");
    options.from_scratch = true;
    assert_int_equal(engram_journal_open(&options, &journal), ENGRAM_OK);
    assert_int_equal(engram_journal_count(journal), 0);
    engram_journal_close(journal, true);
}

static void copy_record(off_t from, off_t to, unsigned char kept[2 * RECORD_BYTES])
{
    unsigned char bytes[2 * RECORD_BYTES];
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, bytes, sizeof bytes, from), sizeof bytes);
    assert_int_equal(pread(fd, kept, sizeof bytes, to), sizeof bytes);
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, to), sizeof bytes);
    assert_int_equal(close(fd), 0);
}

static void restore_record(off_t to, const unsigned char kept[2 * RECORD_BYTES])
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, kept, 2 * RECORD_BYTES, to), 2 * RECORD_BYTES);
    assert_int_equal(close(fd), 0);
}

/* A whole record with good checksums, but in the place of another. */
static void test_copied_record_is_refused(void **state)
{
    (void)state;
    struct engram_journal *journal = open_journal("job A");
    append(journal, ENGRAM_RECORD_RUN, 1, "first", 5);
    append(journal, ENGRAM_RECORD_RUN, 2, "other", 5);
    append(journal, ENGRAM_RECORD_RUN, 3, "third", 5);
    assert_int_equal(engram_journal_drop(journal, 2), ENGRAM_OK);
    assert_int_equal(engram_journal_commit(journal), ENGRAM_OK);
    engram_journal_close(journal, false);
    for (off_t from = 0; from < 3; from++) {
        for (off_t to = 0; to < 3; to++) {
            unsigned char kept[2 * RECORD_BYTES];
            off_t place = HEADER_BYTES + to * 2 * RECORD_BYTES;
            copy_record(HEADER_BYTES + from * 2 * RECORD_BYTES, place, kept);
            assert_int_equal(try_open(options_of("job A")),
                             from == to ? ENGRAM_OK : ENGRAM_ERR_CANT_CREATE);
            restore_record(place, kept);
        }
    }
    journal = open_journal("job A");
    assert_int_equal(engram_journal_count(journal), 2);
    engram_journal_close(journal, true);
}

/* Whole, but of another version: neither read nor dropped without a word. */
static void test_other_version_is_refused(void **state)
{
    (void)state;
    struct engram_journal *journal = open_journal("job A");
    append(journal, ENGRAM_RECORD_RUN, 1, "first", 5);
    assert_int_equal(engram_journal_commit(journal), ENGRAM_OK);
    engram_journal_close(journal, false);
    unsigned char bytes[HEADER_SUM + 8];
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, bytes, sizeof bytes, 0), sizeof bytes);
    engram_store64le(bytes + 8, engram_load64le(bytes + 8) - 1);
    engram_store64le(bytes + HEADER_SUM, engram_hash64(bytes, HEADER_SUM, 0));
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, 0), sizeof bytes);
    assert_int_equal(close(fd), 0);
    assert_int_equal(try_open(options_of("job A")), ENGRAM_ERR_CANT_CREATE);
    assert_non_null(strstr(last_message, "another version"));
    assert_non_null(strstr(last_message, "--from-scratch"));
    struct engram_journal_options options = options_of("job A");
    options.from_scratch = true;
    assert_int_equal(engram_journal_open(&options, &journal), ENGRAM_OK);
    assert_int_equal(engram_journal_count(journal), 0);
    engram_journal_close(journal, true);
}

/* What was dropped stays dropped; the rest moves up. */
static void test_dropped_records(void **state)
{
    (void)state;
    struct engram_journal *journal = open_journal("job A");
    for (unsigned i = 0; i < 6; i++) {
        unsigned char *data = pattern(1000 * i, i);
        append(journal, ENGRAM_RECORD_RUN, i, data, 1000 * i);
        free(data);
    }
    uint64_t bytes = engram_journal_bytes(journal);
    assert_int_equal(engram_journal_drop(journal, 4), ENGRAM_OK);
    assert_int_equal(engram_journal_drop(journal, 0), ENGRAM_OK);
    assert_true(engram_journal_bytes(journal) < bytes - 4000);
    bytes = engram_journal_bytes(journal);
    assert_int_equal(engram_journal_commit(journal), ENGRAM_OK);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(engram_journal_count(journal), 4);
        assert_int_equal(engram_journal_bytes(journal), bytes);
        for (size_t i = 0; i < 4; i++) {
            unsigned which = (unsigned[]){1, 2, 3, 5}[i];
            expect_payload(journal, i, (size_t)1000 * which, which);
        }
        engram_journal_close(journal, false);
        journal = open_journal("job A");
    }
    engram_journal_close(journal, true);
}

static void test_other_job_is_refused(void **state)
{
    (void)state;
    struct engram_journal *journal = open_journal("job A");
    append(journal, ENGRAM_RECORD_RUN, 1, "mine", 4);
    engram_journal_close(journal, false);
    assert_int_equal(try_open(options_of("job B")), ENGRAM_ERR_CANT_CREATE);
    assert_non_null(strstr(last_message, "other options or inputs"));
    assert_int_equal(try_open(options_of("job")), ENGRAM_ERR_CANT_CREATE);
    journal = open_journal("job A");
    assert_int_equal(engram_journal_count(journal), 1);
    engram_journal_close(journal, true);
}

static void test_existing_only(void **state)
{
    (void)state;
    struct engram_journal_options options = options_of("job A");
    struct engram_journal *journal;
    options.existing_only = true;
    assert_int_equal(engram_journal_open(&options, &journal), ENGRAM_OK);
    assert_null(journal);
    assert_int_equal(access(path, F_OK), -1);
}

/* A second process cannot have it while the first lives, and can afterwards. */
static void test_two_writers(void **state)
{
    (void)state;
    struct engram_journal *journal = open_journal("job A");
    for (int round = 0; round < 2; round++) {
        pid_t child = fork();
        if (child == 0) {
            /* The parent's lock is on its own descriptor: what fork copied must not be asked. */
            close(journal->fd);
            struct engram_journal_options options = options_of("job A");
            options.from_scratch = round == 1;
            struct engram_journal *second = NULL;
            _exit(engram_journal_open(&options, &second) == ENGRAM_ERR_CANT_CREATE &&
                          strstr(last_message, "is at work") != NULL
                      ? 0
                      : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    engram_journal_close(journal, false);
    engram_journal_close(open_journal("job A"), true);
}

/* Another host, whose locks do not reach us: its heartbeat decides. */
static void test_other_host(void **state)
{
    (void)state;
    unsigned char bytes[ENGRAM_OWNER_BYTES];
    struct engram_owner owner;
    engram_journal_close(open_journal("job A"), false);
    engram_owner_self(&owner);
    snprintf(owner.host, sizeof owner.host, "far-away");
    for (int dead = 0; dead < 2; dead++) {
        owner.heartbeat -= (uint64_t)dead * (ENGRAM_OWNER_SECONDS + 5);
        engram_owner_encode(&owner, bytes);
        int fd = open(path, O_RDWR);
        assert_int_equal(pwrite(fd, bytes, sizeof bytes, OWNER), sizeof bytes);
        close(fd);
        assert_int_equal(try_open(options_of("job A")), dead ? ENGRAM_OK : ENGRAM_ERR_CANT_CREATE);
        assert_true(dead || strstr(last_message, "far-away") != NULL);
    }
    engram_journal_close(open_journal("job A"), true);
}

static void test_symlink_and_folder(void **state)
{
    (void)state;
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(try_open(options_of("job A")), ENGRAM_ERR_CANT_CREATE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(try_open(options_of("job A")), ENGRAM_ERR_CANT_CREATE);
    assert_int_equal(rmdir(path), 0);
}

/* State that is written again and again does not make the file grow without end. */
static void test_rewriting(void **state)
{
    (void)state;
    enum { BYTES = 12 << 20 };
    struct engram_journal *journal = open_journal("job A");
    append(journal, ENGRAM_RECORD_RUN, 5, "kept", 4);
    for (unsigned i = 0; i < 20; i++) {
        unsigned char *data = pattern(BYTES, i);
        append(journal, ENGRAM_RECORD_STATE, i, data, BYTES);
        free(data);
        assert_true(file_size() < (off_t)8 * BYTES);
    }
    for (int again = 0; again < 2; again++) {
        char text[5] = "";
        assert_int_equal(engram_journal_count(journal), 2);
        assert_int_equal(
            engram_journal_read(journal, engram_journal_record(journal, 0), 0, 4, text), ENGRAM_OK);
        assert_string_equal(text, "kept");
        expect_payload(journal, 1, BYTES, 19);
        engram_journal_close(journal, false);
        journal = open_journal("job A");
    }
    engram_journal_close(journal, true);
}

static int make_folder(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/engram-journal-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(output, sizeof output, "%s/out.h5", folder);
    snprintf(path, sizeof path, "%s" ENGRAM_JOURNAL_SUFFIX, output);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails when a test left something behind */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_come_back),
        cmocka_unit_test(test_newer_replaces_older),
        cmocka_unit_test(test_torn_tail),
        cmocka_unit_test(test_killed_in_a_record),
        cmocka_unit_test(test_damage_is_refused),
        cmocka_unit_test(test_copied_record_is_refused),
        cmocka_unit_test(test_other_version_is_refused),
        cmocka_unit_test(test_dropped_records),
        cmocka_unit_test(test_other_job_is_refused),
        cmocka_unit_test(test_existing_only),
        cmocka_unit_test(test_two_writers),
        cmocka_unit_test(test_other_host),
        cmocka_unit_test(test_symlink_and_folder),
        cmocka_unit_test(test_rewriting),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
