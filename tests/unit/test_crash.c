/* A library that crashes or hangs: the message, the exit code, and what is left. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/leftover.h"
#include "base/reading.h"
#include "cli/crash.h"
#include "reference.h"

struct ended {
    int code; /* negative: the signal */
    char text[512];
};

static char folder[] = "/tmp/engram-crash-XXXXXX";
static char leftover[sizeof folder + 16];

/* What a function does to a process in which crashes are caught. */
static struct ended run(void (*function)(void))
{
    struct ended ended = {0, ""};
    int ends[2];
    int status = 0;
    size_t used = 0;

    assert_int_equal(pipe(ends), 0);
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit none = {0, 0};
        static struct engram_cli_messages messages;
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)signal(SIGSEGV, SIG_DFL); /* cmocka catches some, too */
        engram_cli_catch_crashes(&messages, 0.25);
        function();
        _exit(0);
    }
    (void)close(ends[1]);
    for (ssize_t got = 1; got > 0 && used + 1 < sizeof ended.text; used += (size_t)got) {
        got = read(ends[0], ended.text + used, sizeof ended.text - 1 - used);
        if (got < 0) {
            break;
        }
    }
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return ended;
}

static void segmentation_fault(void)
{
    ENGRAM_READING("in.h5", "/a\nb");
    (void)raise(SIGSEGV);
}

static void crash_at_the_start(void)
{
    engram_cli_starting(true);
    (void)raise(SIGSEGV);
}

static void use_up_the_stack(volatile char *above)
{
    volatile char here[4096];

    here[0] = *above;
    if (here[0] == 0) {
        use_up_the_stack(here);
    }
    here[1] = here[0]; /* no tail call */
}

static void recursion(void)
{
    const struct rlimit small = {1 << 20, 1 << 20};
    volatile char start = 0;
    ENGRAM_READING("in.h5", NULL);

    (void)setrlimit(RLIMIT_STACK, &small);
    use_up_the_stack(&start);
}

static void *recurse_here(void *unused)
{
    volatile char start = 0;
    ENGRAM_READING("in.h5", "/z");

    use_up_the_stack(&start);
    return unused;
}

static void recursion_elsewhere(void)
{
    pthread_t thread;
    pthread_attr_t small;

    if (pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 1 << 18) == 0 &&
        pthread_create(&thread, &small, recurse_here, NULL) == 0) {
        (void)pthread_join(thread, NULL);
    }
}

static void abortion(void)
{
    engram_leftover_add(leftover);
    ENGRAM_READING("in.h5", "/x");
    abort();
}

static void late_after_all(void)
{
    engram_leftover_published(leftover);
    abort();
}

static void our_own(void)
{
    {
        ENGRAM_READING("in.h5", "/x");
    }
    (void)raise(SIGFPE);
}

/* What glibc does when it finds its memory overwritten. */
static void late_abortion(void)
{
    {
        ENGRAM_READING("in.h5", "/x");
    }
    abort();
}

static void early_abortion(void)
{
    abort();
}

static void hang(void)
{
    ENGRAM_READING("in.h5", "/x");
    engram_reading_at("/y");
    for (;;) {
        (void)getppid();
    }
}

static void *hang_here(void *unused)
{
    (void)unused;
    hang();
    return NULL;
}

static void hang_elsewhere(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, hang_here, NULL) == 0) {
        (void)pthread_join(thread, NULL);
    }
}

/* Processor time, but with signs of life, or while nothing is read. */
static void busy(void)
{
    const clock_t begin = clock();

    {
        ENGRAM_READING("in.h5", "/x");
        while (clock() - begin < 3 * CLOCKS_PER_SEC / 4) {
            engram_reading_at("/y");
        }
    }
    while (clock() - begin < 3 * CLOCKS_PER_SEC / 2) {
    }
}

static void test_crashes(void **state)
{
    (void)state;
    struct ended ended = run(segmentation_fault);
    assert_string_equal(ended.text, "engram-batch: in.h5: /a\\nb: the HDF5 library crashed while "
                                    "reading it (segmentation fault); the file is damaged\n");
    assert_int_equal(ended.code, 65);
    ended = run(our_own);
    assert_string_equal(ended.text, "engram-batch: internal error (division by zero, the last file "
                                    "read was in.h5); please report it\n");
    assert_int_equal(ended.code, 70);
    ended = run(crash_at_the_start);
    assert_non_null(strstr(ended.text, "batch: the HDF5 library crashed while it started (segm"));
    assert_int_equal(ended.code, 71);
    ended = run(late_abortion);
    assert_non_null(strstr(ended.text, "batch: in.h5: memory was found overwritten (abort) after"));
    assert_int_equal(ended.code, 65);
    ended = run(early_abortion);
    assert_string_equal(ended.text, "engram-batch: internal error (abort); please report it\n");
    assert_int_equal(ended.code, 70);
}

static void test_stack(void **state)
{
    (void)state;
    struct ended ended = run(recursion);
    assert_non_null(strstr(ended.text, "in.h5: the HDF5 library crashed"));
    assert_int_equal(ended.code, 65);
    ended = run(recursion_elsewhere);
    assert_non_null(strstr(ended.text, "in.h5: /z: the HDF5 library crashed"));
    assert_int_equal(ended.code, 65);
}

static void test_leftovers(void **state)
{
    (void)state;
    int fd = open(leftover, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(run(early_abortion).code, 70);
    assert_int_equal(access(leftover, F_OK), 0);
    engram_leftover_add("/nowhere/at/all");
    engram_leftover_done("/something else");
    struct ended ended = run(abortion);
    assert_int_equal(ended.code, 65);
    assert_int_not_equal(access(leftover, F_OK), 0);

    fd = open(leftover, O_WRONLY | O_CREAT | O_EXCL, 0600); /* one that has its name already */
    assert_true(fd >= 0);
    (void)close(fd);
    ended = run(late_after_all);
    assert_int_equal(ended.code, 70);
    assert_int_not_equal(access(leftover, F_OK), 0);
}

static void test_hangs(void **state)
{
    (void)state;
    struct ended ended = run(hang);
    assert_string_equal(ended.text, "engram-batch: in.h5: /y: the HDF5 library does not come to an "
                                    "end while reading it; the file is damaged\n");
    assert_int_equal(ended.code, 65);
    ended = run(hang_elsewhere);
    assert_non_null(strstr(ended.text, "in.h5: /y: the HDF5 library does not come to an end"));
    assert_int_equal(ended.code, 65);
    ended = run(busy);
    assert_string_equal(ended.text, "");
    assert_int_equal(ended.code, 0);
}

static void test_scopes(void **state)
{
    (void)state;
    assert_null(engram_reading_self()->now.file);
    engram_reading_at("/nothing");
    assert_string_equal(engram_reading_self()->now.object, "");
    {
        ENGRAM_READING("a.h5", "/x");
        engram_reading_bytes(5);
        struct engram_reading outer = engram_reading_begin("b.h5", NULL);
        assert_string_equal(engram_reading_self()->now.file, "b.h5");
        assert_string_equal(engram_reading_self()->now.object, "");
        assert_true(engram_reading_self()->now.bytes == 0);
        engram_reading_end(&outer);
        assert_string_equal(engram_reading_self()->now.file, "a.h5");
        assert_string_equal(engram_reading_self()->now.object, "/x");
        assert_true(engram_reading_self()->now.bytes == 5);
    }
    assert_null(engram_reading_self()->now.file);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(leftover, sizeof leftover, "%s/unfinished", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(leftover);
    return rmdir(folder);
}

int main(void)
{
#if UNDER_ASAN || UNDER_TSAN
    /* A sanitizer keeps the signals to itself. */
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scopes)};
    (void)test_crashes, (void)test_stack, (void)test_leftovers, (void)test_hangs;
#else
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crashes),   cmocka_unit_test(test_stack),
        cmocka_unit_test(test_leftovers), cmocka_unit_test(test_hangs),
        cmocka_unit_test(test_scopes),
    };
#endif
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
