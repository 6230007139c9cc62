#define _GNU_SOURCE
#include "isolate.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <hdf5.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

enum { FRAMES = 200, SECONDS = 2, OURS = 71, OF_HDF5 = 72 };

/* Inputs that a child takes, so that what libhdf5 forgets to free stays small; and their size. */
enum { TURNS = 2000, INPUT_MAX = 1 << 22 };

/* The process that runs inputs: sizes go there, a byte comes back for each. */
static struct child {
    pid_t pid; /* 0: none */
    int turns;
    int to;
    int from;
} child;

/* What clang's coverage instrumentation puts between these; none in other builds. */
extern uint8_t __start___sancov_cntrs[] __attribute__((weak, visibility("hidden")));
extern uint8_t __stop___sancov_cntrs[] __attribute__((weak, visibility("hidden")));
extern const uintptr_t __start___sancov_pcs[] __attribute__((weak, visibility("hidden")));
extern const uintptr_t __stop___sancov_pcs[] __attribute__((weak, visibility("hidden")));

/* AddressSanitizer's, where it is linked. */
void __sanitizer_set_death_callback(void (*call)(void)) __attribute__((weak));
void *__asan_get_report_address(void) __attribute__((weak));
int __asan_report_present(void) __attribute__((weak));
const char *__asan_locate_address(void *address, char *name, size_t name_size, void **block,
                                  size_t *size) __attribute__((weak));
size_t __asan_get_alloc_stack(void *address, void **trace, size_t size, int *thread)
    __attribute__((weak));

/* Instrumented code: ours. The sanitizers' runtime is in the same program, but has no counters. */
static uintptr_t first_pc;
static uintptr_t last_pc = UINTPTR_MAX;

/* Bytes outside a block that still are an overrun of it. */
enum { NEAR = 64 };

/* What the child shares with us: the input, and the counters after it. */
static uint8_t *shared;

/* Any object of this program. */
static char caught;

static size_t counters(void)
{
    return __start___sancov_cntrs == NULL
               ? 0
               : (size_t)(__stop___sancov_cntrs - __start___sancov_cntrs);
}

/* Inside libhdf5. */
static unsigned crashes;

static void tell_crashes(void)
{
    (void)fprintf(stderr, "crashes or loops inside libhdf5: %u\n", crashes);
}

static void prepare(void)
{
    static bool done = false;
    void *warm[2];

    if (done) {
        return;
    }
    done = true;
    (void)atexit(tell_crashes);
    (void)backtrace(warm, 2);  /* loads its library now, not in a signal handler */
    FUZZ_CHECK(H5open() >= 0); /* once for all children */
    if (counters() > 0) {
        first_pc = UINTPTR_MAX;
        last_pc = 0;
        for (const uintptr_t *pc = __start___sancov_pcs; pc < __stop___sancov_pcs; pc += 2) {
            first_pc = *pc < first_pc ? *pc : first_pc;
            last_pc = *pc > last_pc ? *pc : last_pc;
        }
    }
    shared = mmap(NULL, INPUT_MAX + counters(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                  -1, 0);
    FUZZ_CHECK(shared != MAP_FAILED);
}

/* Whose is the innermost frame that is anybody's? */
static int owner_of(void *const *frames, size_t count)
{
    Dl_info self;
    Dl_info info;

    if (dladdr(&caught, &self) == 0) {
        return OURS;
    }
    for (size_t i = 0; i < count; i++) {
        uintptr_t at = (uintptr_t)frames[i];
        if (dladdr(frames[i], &info) == 0) {
            continue;
        }
        if (info.dli_fname != NULL && strstr(info.dli_fname, "libhdf5") != NULL) {
            return OF_HDF5;
        }
        if (info.dli_fbase == self.dli_fbase && at >= first_pc && at <= last_pc) {
            return OURS;
        }
    }
    return OURS; /* nobody's: worth a look */
}

/* Whether the block of memory that AddressSanitizer takes an address for is meant: libhdf5 also
 * reads kilobytes behind its own blocks, where any other may be. */
static bool is_near(void *address)
{
    char name[8];
    void *block = NULL;
    size_t size = 0;

    return __asan_locate_address != NULL &&
           __asan_locate_address(address, name, sizeof name, &block, &size) != NULL &&
           (uintptr_t)address + NEAR >= (uintptr_t)block &&
           (uintptr_t)address < (uintptr_t)block + size + NEAR;
}

static __attribute__((no_sanitize("address"))) int judge(void)
{
    void *frames[FRAMES];
    int count = backtrace(frames, FRAMES);
    /* The first frames are those of this file. */
    int skip = 0;
    while (skip < count && skip < 3) {
        skip++;
    }
    int owner = owner_of(frames + skip, (size_t)(count - skip));
    if (owner == OF_HDF5 && __asan_report_present != NULL && __asan_report_present() != 0) {
        int thread = 0;
        void *address = __asan_get_report_address();
        size_t depth = __asan_get_alloc_stack(address, frames, FRAMES, &thread);
        if (depth > 0 && is_near(address) && owner_of(frames, depth) == OURS) {
            owner = OURS;
        }
    }
    return owner;
}

static void on_signal(int number)
{
    (void)number;
    _exit(judge());
}

static void on_death(void)
{
    _exit(judge());
}

static void catch_crashes(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGPROF};
    static char stack[1 << 17];
    const stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action;

    (void)sigaltstack(&other, NULL);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_ONSTACK | (int)SA_RESETHAND;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        (void)sigaction(signals[i], &action, NULL);
    }
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(on_death);
    }
}

static _Noreturn void serve(fuzz_target target, int from, int to)
{
    const struct itimerval limit = {.it_value = {.tv_sec = SECONDS}};
    size_t size;

    catch_crashes();
    while (read(from, &size, sizeof size) == (ssize_t)sizeof size) {
        /* A copy of just these bytes: a read behind them is seen. */
        uint8_t *data = malloc(size > 0 ? size : 1);
        FUZZ_CHECK(data != NULL);
        memcpy(data, shared, size);
        if (counters() > 0) {
            memset(__start___sancov_cntrs, 0, counters());
        }
        (void)setitimer(ITIMER_PROF, &limit, NULL);
        target(data, size);
        if (counters() > 0) {
            memcpy(shared + INPUT_MAX, __start___sancov_cntrs, counters());
        }
        free(data);
        if (write(to, "", 1) != 1) {
            break;
        }
    }
    _exit(0);
}

static void start_child(fuzz_target target)
{
    int to[2];
    int from[2];

    FUZZ_CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    (void)fflush(NULL);
    child = (struct child){.pid = fork(), .to = to[1], .from = from[0]};
    FUZZ_CHECK(child.pid >= 0);
    if (child.pid == 0) {
        (void)close(to[1]);
        (void)close(from[0]);
        serve(target, to[0], from[1]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
}

/* The state in which it ended. */
static int end_child(void)
{
    int state = 0;

    (void)close(child.to);
    (void)close(child.from);
    pid_t ended;
    while ((ended = waitpid(child.pid, &state, 0)) < 0 && errno == EINTR) {
    }
    FUZZ_CHECK(ended == child.pid);
    child.pid = 0;
    return state;
}

/* Runs an input; false when that was the end of the child, in `*state`. */
static bool run(fuzz_target target, const uint8_t *data, size_t size, int *state)
{
    char done;

    if (child.pid == 0) {
        start_child(target);
    }
    if (size > 0) {
        memcpy(shared, data, size);
    }
    child.turns++;
    bool alive = write(child.to, &size, sizeof size) == (ssize_t)sizeof size;
    ssize_t got = -1;
    while (alive && (got = read(child.from, &done, 1)) < 0 && errno == EINTR) {
        /* libFuzzer looks at its clock */
    }
    if (got != 1) {
        *state = end_child();
        return false;
    }
    if (counters() > 0) {
        memcpy(__start___sancov_cntrs, shared + INPUT_MAX, counters());
    }
    if (child.turns == TURNS) {
        (void)end_child();
    }
    return true;
}

static bool is_of_hdf5(int state)
{
    return WIFEXITED(state) && WEXITSTATUS(state) == OF_HDF5;
}

void fuzz_isolated(fuzz_target target, const uint8_t *data, size_t size)
{
    int state = 0;

    (void)fuzz_folder(); /* the parent's, who removes it */
    if (getenv("FUZZ_INLINE") != NULL) {
        target(data, size);
        return;
    }
    prepare();
    if (size > INPUT_MAX || run(target, data, size, &state)) {
        return;
    }
    /* What an earlier input broke inside libhdf5 may come to light now: once more, afresh. */
    if (is_of_hdf5(state) || run(target, data, size, &state) || is_of_hdf5(state)) {
        crashes++;
        return;
    }
    (void)fprintf(stderr, "the child ended with state %d; FUZZ_INLINE=1 shows why\n", state);
    abort();
}
