/* What the fuzz targets share. A target is a file fuzz_NAME.c with LLVMFuzzerTestOneInput and
 * perhaps a mutator of its own. With clang it is linked with libFuzzer (scripts/fuzz.sh), else with
 * replay.c, which runs it on files (tests/fuzz/replay.sh). */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Of libFuzzer: changes `size` bytes at random, into at most `max_size`. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* A property of our code: its breach is a crash. */
#define FUZZ_CHECK(holds)                                                                          \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            fuzz_breach(__FILE__, __LINE__, #holds);                                               \
        }                                                                                          \
    } while (0)
_Noreturn void fuzz_breach(const char *file, int line, const char *what);

/* Checks that messages are single lines, counts errors, and drops them. */
extern const struct engram_log fuzz_log;

/* Since the last fuzz_begin. */
extern int fuzz_errors;
void fuzz_begin(void);

/* A failure is one that its kind of function may have, and was told once. */
void fuzz_check_status(enum engram_status status, unsigned allowed);
#define FUZZ_ALLOW(status) (1U << (unsigned)(status))

/* The path of a file of these bytes; valid until the next call. */
const char *fuzz_file(const uint8_t *data, size_t size);

/* A folder of this process, made when it is first asked for; removed with its files at the end. */
const char *fuzz_folder(void);

/* Reads numbers from the front of an input; 0 when it is used up. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
};
uint64_t fuzz_take(struct fuzz_input *input, size_t bytes);

/* xorshift64*, for mutators. */
uint64_t fuzz_random(uint64_t *state);
uint64_t fuzz_below(uint64_t *state, uint64_t limit);

#endif
