/* The bottom layer: messages, statuses, sizes, hashes, byte order, teams. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "base/endian.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/size.h"
#include "base/team.h"
#include "engram/version.h"

/* Keeps what a log is told. */
struct heard {
    int count;
    enum engram_log_level level;
    char message[2048];
};

static void hear(void *context, enum engram_log_level level, const char *message)
{
    struct heard *heard = context;
    heard->count++;
    heard->level = level;
    (void)snprintf(heard->message, sizeof heard->message, "%s", message);
    errno = E2BIG;
}

static void test_log_levels(void **state)
{
    (void)state;
    struct heard heard = {0};
    const struct engram_log log = {hear, &heard};

    errno = ENOENT;
    engram_logf(&log, ENGRAM_LOG_INFO, "%d rows of %s", 3, "x.h5");
    assert_int_equal(errno, ENOENT);
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.level, ENGRAM_LOG_INFO);
    assert_string_equal(heard.message, "3 rows of x.h5");

    assert_int_equal(engram_fail(&log, ENGRAM_ERR_DATA, "row %d", 7), ENGRAM_ERR_DATA);
    assert_int_equal(heard.count, 2);
    assert_int_equal(heard.level, ENGRAM_LOG_ERROR);
    assert_string_equal(heard.message, "row 7");

    /* Nobody listens. */
    const struct engram_log deaf = {NULL, &heard};
    engram_logf(NULL, ENGRAM_LOG_ERROR, "x");
    engram_logf(&deaf, ENGRAM_LOG_ERROR, "x");
    assert_int_equal(engram_fail(NULL, ENGRAM_ERR_IO, "x"), ENGRAM_ERR_IO);
    assert_int_equal(heard.count, 2);
}

static void test_messages_are_one_line(void **state)
{
    (void)state;
    struct heard heard = {0};
    const struct engram_log log = {hear, &heard};

    engram_logf(&log, ENGRAM_LOG_ERROR, "%s: no such file", "a\nb\tc\r\x1b[31m\x7f");
    assert_string_equal(heard.message, "a\\nb\\tc\\x0d\\x1b[31m\\x7f: no such file");
    engram_logf(&log, ENGRAM_LOG_ERROR, "%s", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xff\\");
    assert_string_equal(heard.message, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xff\\");
    engram_logf(&log, ENGRAM_LOG_ERROR, "%s", "");
    assert_string_equal(heard.message, "");
}

static void test_long_messages_are_cut(void **state)
{
    (void)state;
    struct heard heard = {0};
    const struct engram_log log = {hear, &heard};
    char text[3000];

    for (size_t length = 1000; length < 1100; length++) {
        memset(text, 'x', length);
        text[length] = '\0';
        engram_logf(&log, ENGRAM_LOG_ERROR, "%s", text);
        assert_int_equal(strlen(heard.message), length < 1023 ? length : 1023);
    }
    /* Escapes are longer than what they stand for, and none is cut in two. */
    for (size_t first = 0; first < 8; first++) {
        memset(text, '\x01', sizeof text - 1);
        memset(text, 'x', first);
        text[sizeof text - 1] = '\0';
        engram_logf(&log, ENGRAM_LOG_ERROR, "%s", text);
        size_t length = strlen(heard.message);
        assert_true(length <= 1023 && length > 1019);
        assert_string_equal(heard.message + length - 4, "\\x01");
        assert_int_equal((length - first) % 4, 0);
    }
}

static void test_status_texts(void **state)
{
    (void)state;
    static const int codes[] = {0, 1, 64, 65, 66, 69, 70, 71, 73, 74, 75, 77};

    for (int status = ENGRAM_OK; status <= ENGRAM_ERR_PERMISSION; status++) {
        assert_int_equal(engram_status_exit_code((enum engram_status)status), codes[status]);
        assert_true(engram_status_message((enum engram_status)status)[0] != '\0');
        for (int other = ENGRAM_OK; other < status; other++) {
            assert_string_not_equal(engram_status_name((enum engram_status)status),
                                    engram_status_name((enum engram_status)other));
        }
    }
    assert_string_equal(engram_status_name(ENGRAM_ERR_DATA), "ENGRAM_ERR_DATA");
    assert_string_equal(engram_status_name((enum engram_status)1000), "ENGRAM_ERR_UNKNOWN");
    assert_int_equal(engram_status_exit_code((enum engram_status)1000), 70);
    assert_string_equal(engram_version(), ENGRAM_VERSION);
    assert_int_equal(engram_status_of_errno(ENOENT), ENGRAM_ERR_NO_INPUT);
    assert_int_equal(engram_status_of_errno(EACCES), ENGRAM_ERR_PERMISSION);
    assert_int_equal(engram_status_of_errno(ENOMEM), ENGRAM_ERR_RESOURCE);
    assert_int_equal(engram_status_of_errno(EIO), ENGRAM_ERR_IO);
}

static void test_sizes(void **state)
{
    (void)state;
    size_t size = 5;

    assert_true(engram_size_mul(0, SIZE_MAX, &size) && size == 0);
    assert_true(engram_size_mul(SIZE_MAX, 1, &size) && size == SIZE_MAX);
    assert_true(engram_size_mul(SIZE_MAX / 3, 3, &size) && size == SIZE_MAX / 3 * 3);
    size = 5;
    assert_false(engram_size_mul(SIZE_MAX / 3 + 1, 3, &size));
    assert_false(engram_size_mul(2, SIZE_MAX / 2 + 1, &size));
    assert_false(engram_size_add(SIZE_MAX, 1, &size));
    assert_int_equal(size, 5);
    assert_true(engram_size_add(SIZE_MAX - 1, 1, &size) && size == SIZE_MAX);
    assert_int_equal(engram_size_round_up(0, 64), 0);
    assert_int_equal(engram_size_round_up(65, 64), 128);
    assert_int_equal(engram_size_round_up(128, 64), 128);

    assert_true(engram_saturating_mul(0, UINT64_MAX) == 0);
    assert_true(engram_saturating_mul(UINT64_MAX, 0) == 0);
    assert_true(engram_saturating_mul(1U << 31, 1U << 31) == (uint64_t)1 << 62);
    assert_true(engram_saturating_mul((uint64_t)1 << 32, (uint64_t)1 << 32) == UINT64_MAX);
    assert_true(engram_saturating_mul(UINT64_MAX, 2) == UINT64_MAX);
    assert_true(engram_saturating_add(UINT64_MAX - 1, 1) == UINT64_MAX);
    assert_true(engram_saturating_add(UINT64_MAX, UINT64_MAX) == UINT64_MAX);
    assert_true(engram_saturating_add(2, 3) == 5);
}

/* The first three are public examples of XXH64. */
static void test_hash_vectors(void **state)
{
    (void)state;
    static const char spammish[] = "Nobody inspects the spammish repetition";

    assert_true(engram_hash64("", 0, 0) == 0xef46db3751d8e999U);
    assert_true(engram_hash64("abc", 3, 0) == 0x44bc2cf5ad770999U);
    assert_true(engram_hash64(spammish, sizeof spammish - 1, 0) == 0xfbcea83c8a378bf1U);
}

/* Every byte, the length and the seed count, wherever the data lies. */
static void test_hash_sees_everything(void **state)
{
    (void)state;
    unsigned char bytes[8 + 100];
    unsigned char moved[8 + 100];

    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(37 * i + 11);
    }
    for (size_t size = 0; size <= 100; size++) {
        uint64_t hash = engram_hash64(bytes, size, 0);
        assert_true(engram_hash64(bytes, size, 1) != hash);
        assert_true(engram_hash64(bytes, size + 1, 0) != hash);
        for (size_t offset = 1; offset < 8; offset++) {
            memcpy(moved + offset, bytes, size);
            assert_true(engram_hash64(moved + offset, size, 0) == hash);
        }
        for (size_t i = 0; i < size; i++) {
            bytes[i] ^= 1;
            assert_true(engram_hash64(bytes, size, 0) != hash);
            bytes[i] ^= 1;
        }
    }
}

static void test_byte_order(void **state)
{
    (void)state;
    const unsigned char bytes[9] = {0xff, 1, 2, 3, 4, 5, 6, 7, 0x88};
    unsigned char stored[9] = {0};

    assert_true(engram_load64le(bytes + 1) == 0x8807060504030201U);
    assert_true(engram_load32le(bytes + 1) == 0x04030201U);
    assert_true(engram_load32le(bytes + 5) == 0x88070605U); /* not negative */
    engram_store64le(stored + 1, 0x8807060504030201U);
    assert_memory_equal(stored + 1, bytes + 1, 8);
    assert_int_equal(stored[0], 0);
}

static void test_teams(void **state)
{
    (void)state;
    struct heard heard = {0};
    const struct engram_log log = {hear, &heard};
    static const int wrong[] = {0, -1, ENGRAM_THREADS_MAX + 1, 65536, INT32_MAX};

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(engram_team_prove(wrong[i], &log), ENGRAM_ERR_USAGE);
        assert_int_equal(heard.count, (int)i + 1);
    }
    heard.count = 0;
    assert_int_equal(engram_team_prove(1, &log), ENGRAM_OK);
    assert_int_equal(engram_team_prove(8, &log), ENGRAM_OK);
    assert_int_equal(engram_team_prove(3, &log), ENGRAM_OK);
    assert_int_equal(heard.count, 0);
}

/* Whatever the pieces, and no other than that of the same bytes. */
static void test_hash_of_pieces(void **state)
{
    (void)state;
    static unsigned char bytes[100000];
    struct engram_hash_chain whole = {0};
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * 2654435761U >> 24);
    }
    engram_hash_add(&whole, bytes, sizeof bytes);
    for (size_t i = 0; i < 20; i++) {
        struct engram_hash_chain pieces = {0};
        for (size_t at = 0; at < sizeof bytes;) {
            size_t size = (at * 31 + i * 7919 + 1) % 40000 % (sizeof bytes - at) + 1;
            engram_hash_add(&pieces, bytes + at, size);
            engram_hash_add(&pieces, bytes, 0);
            at += size;
        }
        assert_true(engram_hash_of(&pieces) == engram_hash_of(&whole));
    }
    for (size_t at = 0; at < sizeof bytes; at += 9973) {
        struct engram_hash_chain other = {0};
        bytes[at] ^= 4;
        engram_hash_add(&other, bytes, sizeof bytes);
        bytes[at] ^= 4;
        assert_true(engram_hash_of(&other) != engram_hash_of(&whole));
    }
    struct engram_hash_chain shorter = {0};
    engram_hash_add(&shorter, bytes, sizeof bytes - 1);
    assert_true(engram_hash_of(&shorter) != engram_hash_of(&whole));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_levels),
        cmocka_unit_test(test_messages_are_one_line),
        cmocka_unit_test(test_long_messages_are_cut),
        cmocka_unit_test(test_status_texts),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_hash_vectors),
        cmocka_unit_test(test_hash_sees_everything),
        cmocka_unit_test(test_byte_order),
        cmocka_unit_test(test_teams),
        cmocka_unit_test(test_hash_of_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
