/* The four levels of scratch memory: their order, their counts, their failures. */
#include "engram/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

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

static void assert_served(const struct engram_scratch *scratch, uint64_t caller, uint64_t arena,
                          uint64_t stack, uint64_t refused)
{
    assert_int_equal(scratch->served[ENGRAM_SCRATCH_CALLER], caller);
    assert_int_equal(scratch->served[ENGRAM_SCRATCH_ARENA], arena);
    assert_int_equal(scratch->served[ENGRAM_SCRATCH_STACK], stack);
    assert_int_equal(scratch->served[ENGRAM_SCRATCH_REFUSED], refused);
}

static bool within(const void *pointer, const void *start, size_t size)
{
    return (uintptr_t)pointer >= (uintptr_t)start && (uintptr_t)pointer < (uintptr_t)start + size;
}

static void test_scratch_levels_in_order(void **state)
{
    (void)state;
    __attribute__((aligned(64))) unsigned char buffer[256];
    struct engram_arena arena = make(512);
    struct engram_scratch scratch;

    engram_scratch_begin(&scratch, &arena, buffer, sizeof buffer);
    assert_served(&scratch, 0, 0, 0, 0);
    void *memory = engram_scratch_alloc(&scratch, 200);
    assert_ptr_equal(memory, buffer);
    memory = engram_scratch_alloc(&scratch, 65); /* one line too much for the buffer */
    assert_true(within(memory, arena.base, 512));
    memory = engram_scratch_alloc(&scratch, 384);
    assert_true(within(memory, arena.base, 512));
    memory = engram_scratch_alloc(&scratch, 1000);
    assert_true(within(memory, scratch.stack, sizeof scratch.stack));
    assert_true(aligned(memory));
    memset(memory, 1, 1000);
    assert_served(&scratch, 1, 2, 1, 0);
    assert_null(engram_scratch_alloc(&scratch, 1));
    assert_null(engram_scratch_alloc(&scratch, 0));
    assert_served(&scratch, 1, 2, 1, 2);
    engram_scratch_end(&scratch);
    assert_int_equal(arena.used, 0);
    assert_served(&scratch, 1, 2, 1, 2);
    engram_arena_destroy(&arena);
}

static void test_scratch_prefers_an_earlier_level_again(void **state)
{
    (void)state;
    __attribute__((aligned(64))) unsigned char buffer[128];
    struct engram_arena arena = make(128);
    struct engram_scratch scratch;

    engram_scratch_begin(&scratch, &arena, buffer, sizeof buffer);
    assert_true(within(engram_scratch_alloc(&scratch, 129), scratch.stack, KIB));
    assert_ptr_equal(engram_scratch_alloc(&scratch, 64), buffer);
    assert_ptr_equal(engram_scratch_alloc(&scratch, 128), arena.base);
    assert_ptr_equal(engram_scratch_alloc(&scratch, 64), buffer + 64);
    assert_served(&scratch, 2, 1, 1, 0);
    /* The request that the arena could not hold counts as its failure, the others do not. */
    assert_int_equal(arena.failures, 1);
    engram_scratch_end(&scratch);
    engram_arena_destroy(&arena);
}

static void test_scratch_stack_is_one_kib(void **state)
{
    (void)state;
    struct engram_scratch scratch;

    engram_scratch_begin(&scratch, NULL, NULL, 0);
    assert_null(engram_scratch_alloc(&scratch, 1025));
    for (int i = 0; i < 16; i++) {
        assert_non_null(engram_scratch_alloc(&scratch, 64));
    }
    assert_null(engram_scratch_alloc(&scratch, 1));
    assert_served(&scratch, 0, 0, 16, 2);
    engram_scratch_end(&scratch);

    engram_scratch_begin(&scratch, NULL, NULL, 0);
    assert_non_null(engram_scratch_alloc(&scratch, 1024));
    engram_scratch_end(&scratch);
    engram_scratch_end(&scratch);
    assert_null(engram_scratch_alloc(&scratch, 1)); /* ended: nothing is served any more */
}

static void test_scratch_unaligned_buffer(void **state)
{
    (void)state;
    __attribute__((aligned(64))) unsigned char buffer[256];

    for (size_t skip = 0; skip < 64; skip++) {
        for (size_t size = 0; size + skip <= sizeof buffer; size += 13) {
            struct engram_scratch scratch;
            engram_scratch_begin(&scratch, NULL, buffer + skip, size);
            for (;;) {
                unsigned char *memory = engram_scratch_alloc(&scratch, 64);
                if (!within(memory, buffer, sizeof buffer)) {
                    break;
                }
                assert_true(aligned(memory));
                assert_true(memory >= buffer + skip && memory + 64 <= buffer + skip + size);
            }
            engram_scratch_end(&scratch);
        }
    }
}

static void test_scratch_overflowing_counts(void **state)
{
    (void)state;
    struct engram_arena arena = make(1024);
    struct engram_scratch scratch;

    engram_scratch_begin(&scratch, &arena, NULL, 0);
    assert_null(ENGRAM_SCRATCH_NEW(&scratch, double, SIZE_MAX / 8 + 1));
    assert_null(engram_scratch_alloc_array(&scratch, 3, SIZE_MAX / 2));
    assert_null(engram_scratch_alloc(&scratch, SIZE_MAX));
    assert_served(&scratch, 0, 0, 0, 3);
    float *values = ENGRAM_SCRATCH_NEW(&scratch, float, 768 / 4);
    assert_non_null(values);
    assert_served(&scratch, 0, 1, 0, 3);
    engram_scratch_end(&scratch);
    engram_arena_destroy(&arena);
}

static int use_scratch_scope(struct engram_arena *arena, uint64_t totals[ENGRAM_SCRATCH_LEVELS])
{
    for (int i = 0; i < 10; i++) {
        ENGRAM_SCRATCH_SCOPE(scratch, arena, NULL, 0);
        if (engram_scratch_alloc(&scratch, 512) == NULL) {
            return -1;
        }
        engram_scratch_count(&scratch, totals);
        if (i == 7) {
            return i;
        }
    }
    return -1;
}

static void test_scratch_scope_and_totals(void **state)
{
    (void)state;
    struct engram_arena arena = make(1024);
    uint64_t totals[ENGRAM_SCRATCH_LEVELS] = {0};

    assert_non_null(engram_arena_alloc(&arena, 1)); /* belongs to the caller, must survive */
    assert_int_equal(use_scratch_scope(&arena, totals), 7);
    assert_int_equal(arena.used, 64);
    assert_int_equal(totals[ENGRAM_SCRATCH_ARENA], 8);
    assert_int_equal(totals[ENGRAM_SCRATCH_STACK], 0);
    engram_arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scratch_levels_in_order),
        cmocka_unit_test(test_scratch_prefers_an_earlier_level_again),
        cmocka_unit_test(test_scratch_stack_is_one_kib),
        cmocka_unit_test(test_scratch_unaligned_buffer),
        cmocka_unit_test(test_scratch_overflowing_counts),
        cmocka_unit_test(test_scratch_scope_and_totals),
    };
    return cmocka_run_group_tests_name("scratch", tests, NULL, NULL);
}
