/* Stands in for <cmocka.h> where that library is not to be had: the unit tests compiled for
 * another architecture (scripts/check-neon.sh). What they use of it and no more, with the same
 * lines of output. Like cmocka, it needs <setjmp.h> and <stdarg.h> before it. */
#ifndef ENGRAM_TESTS_CROSS_CMOCKA_H
#define ENGRAM_TESTS_CROSS_CMOCKA_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*test)(void **state);
    int (*setup)(void **state);
    int (*teardown)(void **state);
    void *initial;
};

#define cmocka_unit_test(f)                                                                        \
    {                                                                                              \
#f, f, NULL, NULL, NULL                                                                    \
    }
#define cmocka_unit_test_setup(f, setup)                                                           \
    {                                                                                              \
#f, f, setup, NULL, NULL                                                                   \
    }
#define cmocka_unit_test_teardown(f, teardown)                                                     \
    {                                                                                              \
#f, f, NULL, teardown, NULL                                                                \
    }
#define cmocka_unit_test_setup_teardown(f, setup, teardown)                                        \
    {                                                                                              \
#f, f, setup, teardown, NULL                                                               \
    }
#define cmocka_unit_test_prestate(f, state)                                                        \
    {                                                                                              \
#f, f, NULL, NULL, state                                                                   \
    }

/* One program has one test running; only its main thread asserts. */
static jmp_buf cross_end;
enum { CROSS_FAILED = 1, CROSS_SKIPPED = 2 };

__attribute__((noreturn, unused)) static void cross_fail(const char *file, int line)
{
    printf("%s:%d: error: Failure!\n", file, line);
    longjmp(cross_end, CROSS_FAILED);
}

#define print_message(...) printf(__VA_ARGS__)
#define skip() longjmp(cross_end, CROSS_SKIPPED)
#define fail() cross_fail(__FILE__, __LINE__)
#define fail_msg(...) (printf("ERROR: " __VA_ARGS__), puts(""), cross_fail(__FILE__, __LINE__))

#define cross_check(holds, text)                                                                   \
    ((holds) ? (void)0 : (puts("not true: " text), cross_fail(__FILE__, __LINE__)))
#define assert_true(c) cross_check(c, #c)
#define assert_false(c) cross_check(!(c), "!(" #c ")")
#define assert_non_null(p) cross_check((p) != NULL, #p " != NULL")
#define assert_null(p) cross_check((p) == NULL, #p " == NULL")
#define assert_ptr_equal(a, b) cross_check((const void *)(a) == (const void *)(b), #a " == " #b)
#define assert_ptr_not_equal(a, b) cross_check((const void *)(a) != (const void *)(b), #a " != " #b)
#define assert_string_equal(a, b) cross_check(strcmp(a, b) == 0, #a " equals " #b)
#define assert_string_not_equal(a, b) cross_check(strcmp(a, b) != 0, #a " differs from " #b)
#define assert_memory_equal(a, b, n) cross_check(memcmp(a, b, n) == 0, #a " equals " #b)

__attribute__((unused)) static void cross_integers(intmax_t a, intmax_t b, int equal,
                                                   const char *text, const char *file, int line)
{
    if ((a == b) != equal) {
        printf("%s: %" PRIdMAX ", %" PRIdMAX "\n", text, a, b);
        cross_fail(file, line);
    }
}
#define assert_int_equal(a, b)                                                                     \
    cross_integers((intmax_t)(a), (intmax_t)(b), 1, #a " == " #b, __FILE__, __LINE__)
#define assert_int_not_equal(a, b)                                                                 \
    cross_integers((intmax_t)(a), (intmax_t)(b), 0, #a " != " #b, __FILE__, __LINE__)

__attribute__((unused)) static int cross_run(const struct CMUnitTest *tests, size_t count,
                                             int (*setup)(void **), int (*teardown)(void **))
{
    void *volatile shared = NULL;
    volatile size_t failed = 0;
    volatile size_t skipped = 0;
    if (setup != NULL && setup((void **)(uintptr_t)&shared) != 0) {
        puts("[  FAILED  ] 1 test(s): the setup");
        return 1;
    }
    for (volatile size_t i = 0; i < count; i++) {
        const struct CMUnitTest *test = &tests[i];
        void *volatile state = test->initial != NULL ? test->initial : shared;
        printf("[ RUN      ] %s\n", test->name);
        int end = setjmp(cross_end);
        if (end == 0) {
            if (test->setup != NULL && test->setup((void **)(uintptr_t)&state) != 0) {
                cross_fail(test->name, 0);
            }
            test->test((void **)(uintptr_t)&state);
        }
        if (test->teardown != NULL && test->teardown((void **)(uintptr_t)&state) != 0) {
            end = CROSS_FAILED;
        }
        failed += end == CROSS_FAILED;
        skipped += end == CROSS_SKIPPED;
        printf("[ %s ] %s\n",
               end == 0              ? "      OK"
               : end == CROSS_FAILED ? " FAILED "
                                     : " SKIPPED",
               test->name);
        fflush(stdout);
    }
    if (teardown != NULL && teardown((void **)(uintptr_t)&shared) != 0) {
        failed++;
    }
    printf("[==========] %zu test(s) run.\n[  PASSED  ] %zu test(s).\n", count,
           count - failed - skipped);
    if (failed > 0) {
        printf("[  FAILED  ] %zu test(s)\n", failed);
    }
    return (int)failed;
}
#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    cross_run(tests, sizeof(tests) / sizeof((tests)[0]), setup, teardown)
#define cmocka_run_group_tests_name(name, tests, setup, teardown)                                  \
    cmocka_run_group_tests(tests, setup, teardown)

#endif
