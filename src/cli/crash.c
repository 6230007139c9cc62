#define _GNU_SOURCE

#include "cli/crash.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/leftover.h"
#include "base/reading.h"
#include "engram/status.h"

/* The handler's stack: libhdf5 may have used up the thread's own by recursion. */
#define STACK_BYTES ((size_t)64 << 10)

/* Looks a second, of the process' processor time. */
#define TICKS_PER_SECOND 4

/* On top of the patience a call may take what going through the bytes of the file and of the data
 * at this rate takes, with a bound. The slowest filters of HDF5 unpack more than that. A call that
 * asks for far more than the file can hold gets time for what it can hold. */
#define BYTES_PER_SECOND ((uint64_t)8 << 20)
#define EXPANSION 1024
#define MOST_SECONDS 900

static const struct {
    int number;
    const char *name;
} CRASHES[] = {
    {SIGSEGV, "segmentation fault"}, {SIGBUS, "bus error"}, {SIGFPE, "division by zero"},
    {SIGILL, "illegal instruction"}, {SIGABRT, "abort"},
};
enum { CRASH_COUNT = sizeof CRASHES / sizeof CRASHES[0] };

static struct engram_cli_messages *screen;
static volatile sig_atomic_t ending;
static volatile sig_atomic_t starting;
static bool may_exit = true;

/* The watchdog's, of every thread that reads: the last sign of life that it saw, and the thread's
 * processor time then. */
static struct watch {
    const struct engram_reader *reader;
    unsigned long steps;
    double seconds;
} watches[ENGRAM_READERS];
static double patience_seconds;

/* The stack of a thread's handlers. */
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t stack_key;
static bool has_key;

/* Room for a message that is put together without stdio, which a handler may not call. */
struct message {
    char text[1024];
    size_t length;
};

static void add(struct message *message, const char *text)
{
    size_t length = strnlen(text, sizeof message->text - 1 - message->length);

    memcpy(message->text + message->length, text, length);
    message->length += length;
    message->text[message->length] = '\0';
}

/* A path may have 4096 bytes: its end is cut before the explanation is. */
static void add_file(struct message *message, const char *path)
{
    char file[512];
    size_t length = strnlen(path, sizeof file - 1);

    memcpy(file, path, length);
    file[length] = '\0';
    add(message, file);
}

__attribute__((noreturn)) static void say_and_end(const struct message *message,
                                                  enum engram_status status)
{
    engram_leftover_remove();
    engram_cli_log(screen, ENGRAM_LOG_ERROR, message->text);
    _exit(engram_status_exit_code(status));
}

__attribute__((noreturn)) static void tell_of_reading(const char *what, const char *how,
                                                      const char *end,
                                                      const struct engram_reading *now)
{
    struct message message = {"", 0};

    add_file(&message, now->file);
    add(&message, ": ");
    if (now->object[0] != '\0') {
        add(&message, now->object);
        add(&message, ": ");
    }
    add(&message, what);
    add(&message, how);
    add(&message, end);
    say_and_end(&message, ENGRAM_ERR_DATA);
}

__attribute__((noreturn)) static void tell_of_start(const char *name)
{
    struct message message = {"", 0};

    add(&message, "the HDF5 library crashed while it started (");
    add(&message, name);
    add(&message, "), as it does for want of memory; free some memory");
    say_and_end(&message, ENGRAM_ERR_RESOURCE);
}

/* Nothing of ours ends by abort: the C library does, when it finds its memory overwritten. Anything
 * else can have many causes, our own mistakes among them. */
__attribute__((noreturn)) static void tell_of_crash(int number, const char *name)
{
    struct message message = {"", 0};
    const char *file = engram_reading_last_file();

    if (number == SIGABRT && file[0] != '\0') {
        add_file(&message, file);
        add(&message,
            ": memory was found overwritten (abort) after the HDF5 library read this file; "
            "the file is damaged, or memory ran out (if neither, please report this)");
        say_and_end(&message, ENGRAM_ERR_DATA);
    }
    add(&message, "internal error (");
    add(&message, name);
    if (file[0] != '\0') {
        add(&message, ", the last file read was ");
        add_file(&message, file);
    }
    add(&message, "); please report it");
    say_and_end(&message, ENGRAM_ERR_INTERNAL);
}

static void on_crash(int number)
{
    const char *name = "";
    const struct engram_reading *now = &engram_reading_self()->now;

    if (ending) { /* another thread crashed, too */
        (void)pause();
    }
    ending = 1;
    for (size_t i = 0; i < CRASH_COUNT; i++) {
        name = CRASHES[i].number == number ? CRASHES[i].name : name;
    }
    if (starting) {
        tell_of_start(name);
    }
    if (now->file != NULL) {
        tell_of_reading("the HDF5 library crashed while reading it (", name,
                        "); the file is damaged", now);
    }
    tell_of_crash(number, name);
}

/* Seconds that the present call may take. */
static double allowed_seconds(const struct engram_reading *now)
{
    uint64_t file = engram_reading_largest_file();
    uint64_t most = file > UINT64_MAX / EXPANSION ? UINT64_MAX : file * EXPANSION;
    uint64_t seconds =
        file / BYTES_PER_SECOND + (now->bytes < most ? now->bytes : most) / BYTES_PER_SECOND;

    return patience_seconds + (double)(seconds < MOST_SECONDS ? seconds : MOST_SECONDS);
}

static void look_at(struct watch *watch, const struct engram_reader *reader)
{
    struct timespec spent;

    if (reader == NULL || clock_gettime(reader->clock, &spent) != 0) {
        watch->reader = NULL;
        return;
    }
    double seconds = (double)spent.tv_sec + 1e-9 * (double)spent.tv_nsec;
    if (reader != watch->reader || reader->steps != watch->steps) {
        *watch = (struct watch){reader, reader->steps, seconds};
    } else if (seconds - watch->seconds > allowed_seconds(&reader->now) && !ending) {
        ending = 1;
        tell_of_reading("the HDF5 library does not come to an end while reading it", "",
                        "; the file is damaged", &reader->now);
    }
}

/* Runs on any thread, on one at a time. */
static void on_tick(int number)
{
    static atomic_flag at_work = ATOMIC_FLAG_INIT;

    (void)number;
    if (atomic_flag_test_and_set(&at_work)) {
        return;
    }
    for (int i = 0; i < ENGRAM_READERS; i++) {
        look_at(&watches[i], engram_reading_reader(i));
    }
    atomic_flag_clear(&at_work);
}

static bool install(int number, void (*handler)(int), int flags)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    (void)sigfillset(&action.sa_mask);
    return sigaction(number, &action, NULL) == 0;
}

static bool is_handled(int number)
{
    struct sigaction old;

    return sigaction(number, NULL, &old) == 0 && old.sa_handler != SIG_DFL;
}

static void take_stack(void *memory)
{
    stack_t none;

    memset(&none, 0, sizeof none);
    none.ss_flags = SS_DISABLE;
    (void)sigaltstack(&none, NULL);
    free(memory);
}

static void create_key(void)
{
    has_key = pthread_key_create(&stack_key, take_stack) == 0;
}

/* Gives the calling thread a stack for handlers, until it ends. Without memory for it, a stack that
 * overflows stays a crash. */
static void give_stack(void)
{
    stack_t stack;

    (void)pthread_once(&key_once, create_key);
    if (!has_key || pthread_getspecific(stack_key) != NULL) {
        return;
    }
    memset(&stack, 0, sizeof stack);
    stack.ss_sp = malloc(STACK_BYTES);
    stack.ss_size = STACK_BYTES;
    if (stack.ss_sp == NULL || pthread_setspecific(stack_key, stack.ss_sp) != 0) {
        free(stack.ss_sp);
    } else if (sigaltstack(&stack, NULL) != 0) {
        (void)pthread_setspecific(stack_key, NULL);
        free(stack.ss_sp);
    }
}

/* Without it (no timers left) a hang stays one. */
static void start_watchdog(void)
{
    const struct timespec tick = {0, 1000000000 / TICKS_PER_SECOND};
    const struct itimerspec every = {tick, tick};
    struct sigevent event;
    timer_t timer;

    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGVTALRM;
    if (install(SIGVTALRM, on_tick, SA_RESTART | SA_ONSTACK) &&
        timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) == 0) {
        (void)timer_settime(timer, 0, &every, NULL);
    }
}

void engram_cli_catch_crashes(struct engram_cli_messages *messages, double patience)
{
    screen = messages;
    patience_seconds = patience;
    if (is_handled(SIGSEGV)) {
        return;
    }
    give_stack();
    engram_reading_on_new_thread(give_stack);
    for (size_t i = 0; i < CRASH_COUNT; i++) {
        (void)install(CRASHES[i].number, on_crash, (int)SA_RESETHAND | SA_ONSTACK);
    }
    start_watchdog();
}

void engram_cli_starting(bool now)
{
    starting = now;
}

static void on_exit_of_a_library(void)
{
    if (!may_exit) {
        engram_leftover_remove();
        engram_cli_log(screen, ENGRAM_LOG_ERROR,
                       "a library gave up, for want of memory or threads; free some memory, or use "
                       "fewer --threads");
        _exit(engram_status_exit_code(ENGRAM_ERR_RESOURCE));
    }
}

void engram_cli_catch_exits(struct engram_cli_messages *messages)
{
    screen = messages;
    may_exit = atexit(on_exit_of_a_library) != 0;
}

void engram_cli_may_exit(void)
{
    may_exit = true;
}
