/* The command line: every list of words gives options or exit code 64, and options that hold. The
 * words of an input end with a newline. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/team.h"
#include "cli/options.h"
#include "fuzz.h"

enum { WORDS_MAX = 300 };

static void check_ranges(const struct engram_job_options *job)
{
    FUZZ_CHECK(job->base_rows[0] >= 0 &&
               (job->base_rows[1] == -1 || job->base_rows[1] >= job->base_rows[0]));
    FUZZ_CHECK(job->query_rows[0] >= 0 &&
               (job->query_rows[1] == -1 || job->query_rows[1] >= job->query_rows[0]));
    FUZZ_CHECK(job->k >= 0 && job->k <= INT32_MAX);
    FUZZ_CHECK(!isnan(job->max_distance) && !isnan(job->min_similarity));
    FUZZ_CHECK(job->compress >= 0 && job->compress <= 9);
    FUZZ_CHECK(job->threads >= 0 && job->threads <= ENGRAM_THREADS_MAX);
    FUZZ_CHECK(job->metric <= ENGRAM_JACCARD);
    FUZZ_CHECK(job->base_count <= ENGRAM_CLI_BASES_MAX);
    for (size_t i = 0; i < job->base_count; i++) {
        FUZZ_CHECK(job->bases[i][0] != '\0');
    }
}

static void parse(int argc, char **argv)
{
    struct engram_cli_messages messages = {0};
    struct engram_cli_options options;

    enum engram_cli_command command = engram_cli_find_command(&argc, argv);
    FUZZ_CHECK(argv[argc] == NULL);
    int code = engram_cli_parse(command, argc, argv, &messages, &options);
    FUZZ_CHECK(code == 0 || code == 64);
    if (code == 0 && options.action == ENGRAM_CLI_RUN) {
        FUZZ_CHECK(options.job.input != NULL || options.job.output != NULL);
        FUZZ_CHECK(options.sample >= 0 && options.show_rows >= -1);
        check_ranges(&options.job);
    }
}

/* Messages go to a descriptor of their own. */
static void silence_stderr(bool on)
{
    static int saved = -1;
    static int null = -1;

    if (null < 0) {
        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        saved = dup(STDERR_FILENO);
    }
    (void)dup2(on ? null : saved, STDERR_FILENO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *argv[WORDS_MAX + 2];
    int argc = 0;
    char *text = malloc(size + 1);

    FUZZ_CHECK(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    argv[argc++] = (char[]){"engram-batch"};
    for (char *word = text; word < text + size && argc <= WORDS_MAX;) {
        char *end = memchr(word, '\n', (size_t)(text + size - word));
        end = end == NULL ? text + size : end;
        *end = '\0';
        argv[argc++] = word;
        word = end + 1;
    }
    argv[argc] = NULL;
    silence_stderr(true);
    parse(argc, argv);
    silence_stderr(false);
    free(text);
    return 0;
}
