/* The arena: alignment, exhaustion, scopes, every failure, and what AddressSanitizer reports. */
#include "engram/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB ((size_t)1024)

static struct engram_arena make(size_t capacity)
{
    struct engram_arena arena;
    assert_int_equal(engram_arena_create(&arena, capacity), ENGRAM_OK);
    return arena;
}

static bool aligned(const void *pointer)
{
    return ((uintptr_t)pointer & 63U) == 0;
}

static void test_alignment_and_order(void **state)
{
    (void)state;
    struct engram_arena arena = make(64 * KIB);
    unsigned char *end = arena.base;

    assert_int_equal((uintptr_t)arena.base % 4096, 0);
    for (size_t size = 0; size <= 200; size++) {
        unsigned char *memory = engram_arena_alloc(&arena, size);
        assert_non_null(memory);
        assert_true(aligned(memory));
        assert_ptr_equal(memory, end);
        memset(memory, 0xA5, size);
        end = memory + (size == 0 ? 64 : (size + 63) / 64 * 64);
        assert_int_equal(arena.used, (size_t)(end - arena.base));
    }
    engram_arena_destroy(&arena);
}

static void test_allocations_do_not_overlap(void **state)
{
    (void)state;
    struct engram_arena arena = make(64 * KIB);
    unsigned char *memory[100];

    for (size_t i = 0; i < 100; i++) {
        memory[i] = engram_arena_alloc(&arena, 1 + i * 3);
        assert_non_null(memory[i]);
        memset(memory[i], (int)i, 1 + i * 3);
    }
    for (size_t i = 0; i < 100; i++) {
        for (size_t j = 0; j < 1 + i * 3; j++) {
            assert_int_equal(memory[i][j], i);
        }
    }
    engram_arena_destroy(&arena);
}

static void test_new_memory_is_zero(void **state)
{
    (void)state;
    struct engram_arena arena = make(8 * KIB);
    const unsigned char *memory = engram_arena_alloc(&arena, 8 * KIB);

    assert_non_null(memory);
    for (size_t i = 0; i < 8 * KIB; i++) {
        assert_int_equal(memory[i], 0);
    }
    engram_arena_destroy(&arena);
}

static void test_zero_size_is_unique(void **state)
{
    (void)state;
    struct engram_arena arena = make(192);
    void *first = engram_arena_alloc(&arena, 0);
    void *second = engram_arena_alloc_array(&arena, 0, 8);
    void *third = engram_arena_alloc_array(&arena, 8, 0);

    assert_non_null(first);
    assert_non_null(second);
    assert_non_null(third);
    assert_ptr_not_equal(first, second);
    assert_ptr_not_equal(second, third);
    assert_null(engram_arena_alloc(&arena, 0));
    assert_int_equal(arena.failures, 1);
    engram_arena_destroy(&arena);
}

static void test_exhaustion(void **state)
{
    (void)state;
    struct engram_arena arena = make(1000); /* becomes 1024 */

    assert_int_equal(arena.capacity, 1024);
    assert_null(engram_arena_alloc(&arena, 1025));
    assert_int_equal(arena.used, 0);
    assert_non_null(engram_arena_alloc(&arena, 961)); /* takes all sixteen lines */
    assert_null(engram_arena_alloc(&arena, 1));
    assert_int_equal(arena.failures, 2);
    engram_arena_reset(&arena);
    assert_non_null(engram_arena_alloc(&arena, 1024));
    assert_null(engram_arena_alloc(&arena, 0));
    assert_int_equal(arena.failures, 3);
    assert_int_equal(arena.used, 1024);
    engram_arena_destroy(&arena);
}

static void test_sizes_that_would_wrap(void **state)
{
    (void)state;
    struct engram_arena arena = make(1024);

    assert_non_null(engram_arena_alloc(&arena, 100));
    for (size_t less = 0; less < 130; less++) {
        assert_null(engram_arena_alloc(&arena, SIZE_MAX - less));
    }
    assert_int_equal(arena.failures, 130);
    /* Products that wrap to something small. */
    assert_null(engram_arena_alloc_array(&arena, SIZE_MAX / 8 + 1, 8));
    assert_null(engram_arena_alloc_array(&arena, SIZE_MAX / 4 + 2, 4));
    assert_null(ENGRAM_ARENA_NEW(&arena, double, SIZE_MAX / 2 + 1));
    assert_null(engram_arena_alloc_array(&arena, 2, SIZE_MAX));
    assert_null(engram_arena_alloc_array(&arena, SIZE_MAX, SIZE_MAX));
    assert_int_equal(arena.failures, 135);
    assert_int_equal(arena.used, 128);
    double *values = ENGRAM_ARENA_NEW(&arena, double, 112); /* exactly what is left */
    assert_non_null(values);
    assert_int_equal(arena.used, 1024);
    engram_arena_destroy(&arena);
}

static void test_create_fails(void **state)
{
    (void)state;
    struct engram_arena arena;

    for (size_t less = 0; less < 5000; less += 7) {
        memset(&arena, 0xFF, sizeof arena);
        assert_int_equal(engram_arena_create(&arena, SIZE_MAX - less), ENGRAM_ERR_RESOURCE);
        assert_null(arena.base);
        assert_null(engram_arena_alloc(&arena, 1));
        assert_int_equal(arena.failures, 1);
        engram_arena_destroy(&arena);
    }
}

static void test_arena_without_memory(void **state)
{
    (void)state;
    struct engram_arena arena = make(0);
    struct engram_arena zero = {0};

    assert_null(engram_arena_alloc(&arena, 0));
    assert_null(engram_arena_alloc(&arena, 1));
    engram_arena_reset(&arena);
    assert_int_equal(arena.failures, 2);
    assert_int_equal(engram_arena_high_water(&arena), 0);
    engram_arena_destroy(&arena);
    assert_null(engram_arena_alloc(&zero, 1));
    engram_arena_destroy(&zero);
    engram_arena_destroy(&zero);
    engram_arena_destroy(NULL);
}

static void test_large_arena(void **state)
{
    (void)state;
    size_t capacity = 16 * KIB * KIB + 1; /* large enough for huge pages to be advised */
    struct engram_arena arena = make(capacity);
    unsigned char *memory = engram_arena_alloc(&arena, capacity);

    assert_non_null(memory);
    memory[0] = 1;
    memory[capacity - 1] = 1;
    engram_arena_destroy(&arena);
    assert_null(arena.base);
    assert_int_equal(arena.capacity, 0);
}

static void test_mark_and_rewind(void **state)
{
    (void)state;
    struct engram_arena arena = make(1024);

    assert_non_null(engram_arena_alloc(&arena, 64));
    size_t outer = engram_arena_mark(&arena);
    void *first = engram_arena_alloc(&arena, 64);
    size_t inner = engram_arena_mark(&arena);
    assert_non_null(engram_arena_alloc(&arena, 128));
    engram_arena_rewind(&arena, inner);
    assert_int_equal(arena.used, 128);
    engram_arena_rewind(&arena, outer);
    assert_int_equal(arena.used, 64);
    /* The same place again, and the younger mark has become meaningless but harmless. */
    engram_arena_rewind(&arena, inner);
    assert_int_equal(arena.used, 64);
    assert_ptr_equal(engram_arena_alloc(&arena, 1), first);
    engram_arena_reset(&arena);
    assert_int_equal(arena.used, 0);
    engram_arena_destroy(&arena);
}

static void test_high_water(void **state)
{
    (void)state;
    struct engram_arena arena = make(4096);

    assert_int_equal(engram_arena_high_water(&arena), 0);
    assert_non_null(engram_arena_alloc(&arena, 1));
    assert_int_equal(engram_arena_high_water(&arena), 64);
    size_t mark = engram_arena_mark(&arena);
    assert_non_null(engram_arena_alloc(&arena, 1000));
    engram_arena_rewind(&arena, mark);
    assert_int_equal(engram_arena_high_water(&arena), 64 + 1024);
    assert_null(engram_arena_alloc(&arena, 5000)); /* a refusal is not use */
    assert_int_equal(engram_arena_high_water(&arena), 64 + 1024);
    engram_arena_reset(&arena);
    assert_non_null(engram_arena_alloc(&arena, 2000));
    assert_int_equal(engram_arena_high_water(&arena), 2048);
    engram_arena_reset(&arena);
    assert_int_equal(engram_arena_high_water(&arena), 2048);
    engram_arena_destroy(&arena);
}

/* Leaves its scope in the way `how` says; the arena must be back where it was. */
static int leave_scope(struct engram_arena *arena, int how)
{
    for (int i = 0; i < 2; i++) {
        ENGRAM_ARENA_SCOPE(arena);
        assert_non_null(engram_arena_alloc(arena, 256));
        assert_int_equal(arena->used, 64 + 256);
        if (how == 0) {
            return 0;
        }
        if (how == 1) {
            break;
        }
        if (how == 2) {
            continue;
        }
        {
            ENGRAM_ARENA_SCOPE(arena);
            assert_non_null(engram_arena_alloc(arena, 128));
            assert_int_equal(arena->used, 64 + 256 + 128);
            if (how == 3) {
                goto out;
            }
        }
        assert_int_equal(arena->used, 64 + 256);
    }
out:
    return 1;
}

static void test_scope_guard(void **state)
{
    (void)state;
    struct engram_arena arena = make(1024);

    assert_non_null(engram_arena_alloc(&arena, 64));
    for (int how = 0; how < 5; how++) {
        assert_int_equal(leave_scope(&arena, how), how != 0);
        assert_int_equal(arena.used, 64);
    }
    assert_int_equal(engram_arena_high_water(&arena), 64 + 256 + 128);
    assert_int_equal(arena.failures, 0);
    engram_arena_destroy(&arena);
}

/* Runs `crime` in a child process. True when the child died of an AddressSanitizer report about
 * poisoned memory; everything the child says stays out of the test's output. */
static bool asan_reports(void (*crime)(void))
{
    int channel[2];
    char report[4096];
    size_t length = 0;
    int status = 0;

    assert_int_equal(pipe(channel), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(channel[1], STDERR_FILENO);
        close(channel[0]);
        close(channel[1]);
        crime();
        _exit(0);
    }
    close(channel[1]);
    for (;;) {
        char rest[1024];
        bool full = length == sizeof report - 1;
        ssize_t got = full ? read(channel[0], rest, sizeof rest)
                           : read(channel[0], report + length, sizeof report - 1 - length);
        if (got <= 0) {
            break;
        }
        length += full ? 0 : (size_t)got;
    }
    close(channel[0]);
    report[length] = '\0';
    assert_int_equal(waitpid(child, &status, 0), child);
    bool died = !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return died && strstr(report, "use-after-poison") != NULL;
}

static volatile unsigned char sink;

static void use_after_reset(void)
{
    struct engram_arena arena;
    if (engram_arena_create(&arena, 4096) == ENGRAM_OK) {
        volatile unsigned char *memory = engram_arena_alloc(&arena, 100);
        memory[50] = 1;
        engram_arena_reset(&arena);
        sink = memory[50];
    }
}

static void use_after_scope(void)
{
    struct engram_arena arena;
    volatile unsigned char *memory = NULL;
    if (engram_arena_create(&arena, 4096) == ENGRAM_OK) {
        {
            ENGRAM_ARENA_SCOPE(&arena);
            memory = engram_arena_alloc(&arena, 100);
        }
        memory[0] = 1;
    }
}

static void use_after_scratch_end(void)
{
    struct engram_arena arena;
    struct engram_scratch scratch;
    if (engram_arena_create(&arena, 4096) == ENGRAM_OK) {
        engram_scratch_begin(&scratch, &arena, NULL, 0);
        volatile unsigned char *memory = engram_scratch_alloc(&scratch, 100);
        engram_scratch_end(&scratch);
        memory[0] = 1;
    }
}

static void run_past_the_end(void)
{
    struct engram_arena arena;
    if (engram_arena_create(&arena, 4096) == ENGRAM_OK) {
        volatile unsigned char *memory = engram_arena_alloc(&arena, 100);
        unsigned char *next = engram_arena_alloc(&arena, 100);
        memory[100] = 1; /* in the padding, before `next` */
        sink = next[0];
    }
}

static void no_crime(void)
{
    struct engram_arena arena;
    if (engram_arena_create(&arena, 4096) == ENGRAM_OK) {
        for (int round = 0; round < 3; round++) {
            ENGRAM_ARENA_SCOPE(&arena);
            unsigned char *memory = engram_arena_alloc(&arena, 4096);
            memset(memory, round, 4096);
        }
        engram_arena_destroy(&arena);
    }
    _exit(0);
}

static void test_asan_catches_stale_pointers(void **state)
{
    (void)state;
#ifdef ENGRAM_ARENA_ASAN
    assert_true(asan_reports(use_after_reset));
    assert_true(asan_reports(use_after_scope));
    assert_true(asan_reports(use_after_scratch_end));
    assert_true(asan_reports(run_past_the_end));
    assert_false(asan_reports(no_crime));
#else
    (void)asan_reports;
    (void)use_after_reset;
    (void)use_after_scope;
    (void)use_after_scratch_end;
    (void)run_past_the_end;
    (void)no_crime;
    skip(); /* make test SANITIZE=address,undefined runs it */
#endif
}

/* After destroy the pages may be given to anybody, who must not inherit the poison. */
static void test_destroy_leaves_no_poison(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct engram_arena arena = make(256 * KIB);
        unsigned char *memory = engram_arena_alloc(&arena, 100);
        assert_non_null(memory);
        memory[0] = 1;
        engram_arena_destroy(&arena);
        unsigned char *other = malloc(256 * KIB); /* large enough to be mapped */
        assert_non_null(other);
        memset(other, i, 256 * KIB);
        assert_int_equal(other[i], i);
        free(other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alignment_and_order),
        cmocka_unit_test(test_allocations_do_not_overlap),
        cmocka_unit_test(test_new_memory_is_zero),
        cmocka_unit_test(test_zero_size_is_unique),
        cmocka_unit_test(test_exhaustion),
        cmocka_unit_test(test_sizes_that_would_wrap),
        cmocka_unit_test(test_create_fails),
        cmocka_unit_test(test_arena_without_memory),
        cmocka_unit_test(test_large_arena),
        cmocka_unit_test(test_mark_and_rewind),
        cmocka_unit_test(test_high_water),
        cmocka_unit_test(test_scope_guard),
        cmocka_unit_test(test_asan_catches_stale_pointers),
        cmocka_unit_test(test_destroy_leaves_no_poison),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
