/* engram-batch: takes the command line apart and calls the command. */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/crash.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "engram/version.h"
#include "io/library.h"
#include "job/ranks.h"
#include "kernels/kernels.h"

static void print_version(void)
{
    const struct engram_kernels *kernels;
    char libraries[128];

    engram_io_versions(libraries, sizeof libraries);
    printf("engram-batch " ENGRAM_VERSION "\n%s\nKernel sets of this CPU:", libraries);
    for (size_t i = 0; (kernels = engram_kernels_at(i)) != NULL; i++) {
        printf(" %s", kernels->name);
    }
    putchar('\n');
}

/* A standard stream that the parent closed would be the next file to be opened: messages would go
 * into a data file. Its place is taken by one on which every write (or read) fails. */
static void fill_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            /* The lowest free number is the one that we look at. */
            if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) {
                _exit(engram_status_exit_code(ENGRAM_ERR_IO));
            }
        }
    }
}

/* Results that did not reach stdout are lost: an error, but a silent one when the reader went
 * away, as head does. */
static int finish_stdout(int code)
{
    struct engram_log log = engram_cli_log_to(NULL);
    bool failed = ferror(stdout) != 0;

    if (failed) {
        /* The reason of that failure is gone; what broke off takes no harm from a line end, whose
         * failure tells it again. */
        putchar('\n');
    }
    errno = 0;
    if (fclose(stdout) != 0 || failed) {
        if (errno != EPIPE) {
            engram_logf(&log, ENGRAM_LOG_ERROR, "standard output: %s",
                        errno != 0 ? strerror(errno) : "a write failed");
        }
        return engram_status_exit_code(ENGRAM_ERR_IO);
    }
    return code;
}

static int run(int argc, char **argv)
{
    struct engram_cli_messages messages = {0};
    struct engram_cli_options options;

    if (argc == 2 && strcmp(argv[1], "--print-man-page") == 0) { /* for the Makefile */
        engram_cli_print_man_page(stdout);
        return 0;
    }
    enum engram_cli_command command = engram_cli_find_command(&argc, argv);
    int code = engram_cli_parse(command, argc, argv, &messages, &options);
    if (code != 0) {
        return code;
    }
    if (options.action == ENGRAM_CLI_HELP) {
        engram_cli_print_help(stdout, command);
        return 0;
    }
    if (options.action == ENGRAM_CLI_VERSION) {
        print_version();
        return 0;
    }
    engram_cli_catch_exits(&messages);
    engram_cli_catch_crashes(&messages, ENGRAM_CLI_PATIENCE);
    if (command != ENGRAM_CLI_JOB && engram_ranks_self() > 0) {
        return 0; /* one process is enough */
    }
    engram_cli_starting(true);
    if (!engram_io_start()) {
        engram_cli_log(&messages, ENGRAM_LOG_ERROR,
                       "the HDF5 library cannot start; free some memory");
        return engram_status_exit_code(ENGRAM_ERR_RESOURCE);
    }
    engram_cli_starting(false);
    switch (command) {
    case ENGRAM_CLI_INSPECT:
        return engram_cli_inspect(&options);
    case ENGRAM_CLI_SHOW:
        return engram_cli_show(&options);
    case ENGRAM_CLI_VERIFY:
        return engram_cli_verify(&options);
    case ENGRAM_CLI_MERGE:
        return engram_cli_merge(&options);
    default:
        return engram_cli_run(&options);
    }
}

/* Room for a help text as a whole: an error of the last write is the one that can be explained. */
static void buffer_stdout(void)
{
    static char room[1 << 15];

    if (isatty(STDOUT_FILENO) == 0) {
        (void)setvbuf(stdout, room, _IOFBF, sizeof room);
    }
}

/* --memory is a promise on what the process has, not on what it uses: what is freed goes back.
 * glibc else raises the size from which it does, up to 32 MiB, with every block that is freed. */
static void give_memory_back(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 20);
#endif
}

int main(int argc, char **argv)
{
    give_memory_back();
    fill_standard_streams();
    buffer_stdout();
    /* A file that grows beyond the limit (ulimit -f) is a failed write, EFBIG, not the end. */
    (void)signal(SIGXFSZ, SIG_IGN);
    if (!engram_ranks_start(&argc, &argv)) {
        return engram_status_exit_code(ENGRAM_ERR_INTERNAL);
    }
    if (engram_ranks_self() > 0) {
        engram_cli_be_silent(); /* rank 0 speaks for all */
    }
    int code = run(argc, argv);
    engram_cli_may_exit();
    return engram_ranks_stop(finish_stdout(code));
}
