/* engram-bench: measures what the documentation claims. */
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "engram/version.h"

enum { EXIT_USAGE = 64, EXIT_IO = 74 };

static const struct {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
} COMMANDS[] = {
    {"arena", "the arena against malloc, and its share of a kernel's time", engram_bench_arena},
    {"kernels", "each kernel alone against the peak", engram_bench_kernels},
    {"peak", "float32 multiply-adds in registers, the yardstick", engram_bench_peak},
    {"search", "k nearest neighbours in memory against the peak", engram_bench_search},
    {"read", "FILE DATASET: rows into memory against H5Dread and plain reads", engram_bench_read},
};
#define COMMAND_COUNT (sizeof COMMANDS / sizeof COMMANDS[0])

static void print_usage(FILE *stream)
{
    fprintf(stream, "Usage: engram-bench COMMAND [--json] [--threads N] [--help]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(stream, "  %-8s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
    }
}

static int dispatch(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    if (strcmp(name, "--help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        printf("engram-bench %s\n", ENGRAM_VERSION);
        return 0;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, COMMANDS[i].name) == 0) {
            return COMMANDS[i].run(argc - 1, argv + 1);
        }
    }
    print_usage(stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    int code = dispatch(argc, argv);
    if (fflush(stdout) != 0 && code == 0) {
        perror("engram-bench: standard output");
        code = EXIT_IO;
    }
    return code;
}
