/* Linked into what is built for coverage (scripts/coverage.sh), with -Wl,--wrap=_exit: a process
 * that leaves by _exit, as the handlers of crashes and children of tests do, writes down what it
 * ran, too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

void __gcov_dump(void);
_Noreturn void __real__exit(int code);
_Noreturn void __wrap__exit(int code);

static int exit_code;

/* Calls do not fail for gcov (tests/fault/fault.c). Runs before gcov's own work at the exit. */
__attribute__((destructor)) static void stop_faults(void)
{
    void (*stop)(void) = NULL;
    *(void **)&stop = dlsym(RTLD_DEFAULT, "fault_stop");
    if (stop != NULL) {
        stop();
    }
}

static void leave(int number)
{
    (void)number;
    __real__exit(exit_code);
}

_Noreturn void __wrap__exit(int code)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGABRT, SIGALRM};
    sigset_t none;

    /* After a crash there may be no memory in order to do it with: then without, and in silence. */
    exit_code = code;
    (void)sigemptyset(&none);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        (void)signal(numbers[i], leave);
    }
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
    (void)alarm(5);
    stop_faults();
    __gcov_dump();
    __real__exit(code);
}
