/* Text from people: lists of bases, label files, names of sets, numbers, and what is shown on a
 * terminal. The first byte says which. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/messages.h"
#include "cli/numbers.h"
#include "fuzz.h"
#include "io/labels.h"
#include "job/bases.h"
#include "job/inputs.h"

static void lists(const uint8_t *data, size_t size)
{
    char name[320];
    const char *const bases[] = {name, "x"};
    struct engram_job_options options = ENGRAM_JOB_OPTIONS_INIT;
    struct engram_bases found;

    (void)snprintf(name, sizeof name, "@%s", fuzz_file(data, size));
    options.bases = bases;
    options.base_count = 2;
    options.log = fuzz_log;
    enum engram_status status = engram_bases_expand(&options, &found);
    fuzz_check_status(status, FUZZ_ALLOW(ENGRAM_ERR_USAGE) | FUZZ_ALLOW(ENGRAM_ERR_DATA));
    FUZZ_CHECK(status != ENGRAM_OK || found.count >= 2);
    for (size_t i = 0; i < found.count; i++) {
        size_t length = strlen(found.sets[i]);
        FUZZ_CHECK(length > 0 && strchr(" \t\r\n#", found.sets[i][0]) == NULL);
        FUZZ_CHECK(strchr(" \t\r\n", found.sets[i][length - 1]) == NULL);
    }
    engram_bases_free(&found);
}

static void labels(const uint8_t *data, size_t size)
{
    enum { ROWS = 6, WIDTH = 4 };
    static char ids[ROWS * WIDTH] = "a\0\0\0b\0\0\0a\0\0\0\0\0\0\0\xc3\xa9\xc3\xa9wide";
    const struct engram_ids rows = {ROWS, WIDTH, ids};
    struct engram_labels found;
    int64_t unknown = 0;

    enum engram_status status =
        engram_labels_read_file(fuzz_file(data, size), &rows, &fuzz_log, &found, &unknown);
    fuzz_check_status(status, FUZZ_ALLOW(ENGRAM_ERR_DATA));
    if (status != ENGRAM_OK) {
        FUZZ_CHECK(found.codes == NULL);
        return;
    }
    FUZZ_CHECK(found.count == ROWS && !found.numbers && unknown >= 0);
    FUZZ_CHECK(found.codes[0] == found.codes[2] && found.codes[3] == -1);
    for (int64_t i = 0; i < ROWS; i++) {
        char room[24];
        size_t length = 0;
        FUZZ_CHECK(found.codes[i] < found.names.count);
        if (found.codes[i] >= 0) {
            const char *name = engram_labels_name(&found, found.codes[i], room, &length);
            FUZZ_CHECK(length > 0 && memchr(name, '\t', length) == NULL);
        }
    }
    engram_labels_free(&found);
}

static void names(const char *text)
{
    char *file = NULL;
    const char *dataset = NULL;

    /* The part on the left has to be a file. */
    (void)fuzz_file((const uint8_t *)"", 0);
    FUZZ_CHECK(engram_set_split(text, &fuzz_log, &file, &dataset) == ENGRAM_OK);
    if (file != NULL) {
        size_t length = strlen(file);
        FUZZ_CHECK(strncmp(file, text, length) == 0 && strncmp(text + length, "::", 2) == 0);
        FUZZ_CHECK(dataset == text + length + 2);
        FUZZ_CHECK(engram_is_file(file));
    }
    free(file);
}

static void numbers(const char *text)
{
    char again[64];
    int64_t integer = -7;
    double real = 0;
    double twin = 0;
    uint64_t bytes = 0;
    int64_t range[2];

    if (engram_cli_parse_integer(text, 3, INT64_MAX - 1, &integer)) {
        FUZZ_CHECK(integer >= 3 && integer < INT64_MAX);
        (void)snprintf(again, sizeof again, "%" PRId64, integer);
        FUZZ_CHECK(strcmp(again, text + strspn(text, "0")) == 0);
    } else {
        FUZZ_CHECK(integer == -7);
    }
    if (engram_cli_parse_double(text, &real)) {
        FUZZ_CHECK(!isnan(real));
        (void)snprintf(again, sizeof again, "%.17g", real);
        FUZZ_CHECK(engram_cli_parse_double(again, &twin) && !(twin < real || twin > real));
    }
    if (engram_cli_parse_size(text, &bytes)) {
        FUZZ_CHECK(bytes > 0 && bytes <= INT64_MAX);
    }
    if (engram_cli_parse_range(text, range)) {
        FUZZ_CHECK(range[0] >= 0 && (range[1] == -1 || range[1] >= range[0]));
    }
}

static void escapes(const uint8_t *data, size_t size)
{
    size_t room = ENGRAM_CLI_ESCAPE_FACTOR * size + 1;
    char *whole = malloc(room);
    size_t small_room = size / 2 + 1;
    char *small = malloc(small_room);

    FUZZ_CHECK(whole != NULL && small != NULL);
    size_t length = engram_cli_escape(whole, room, (const char *)data, size);
    FUZZ_CHECK(length < room && strlen(whole) == length);
    for (size_t i = 0; i < length;) {
        uint32_t point = 0;
        size_t bytes = engram_cli_utf8((const unsigned char *)whole + i, length - i, &point);
        FUZZ_CHECK(bytes > 0 && point >= 0x20 && !(point >= 0x7f && point <= 0x9f));
        i += bytes;
    }
    size_t cut = engram_cli_escape(small, small_room, (const char *)data, size);
    FUZZ_CHECK(cut < small_room && memcmp(small, whole, cut) == 0);
    free(whole);
    free(small);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    unsigned which = (unsigned)fuzz_take(&input, 1) % 5;
    char *text = malloc(input.size + 1);

    FUZZ_CHECK(text != NULL);
    if (input.size > 0) {
        memcpy(text, input.data, input.size);
    }
    text[input.size] = '\0';
    fuzz_begin();
    switch (which) {
    case 0:
        lists(input.data, input.size);
        break;
    case 1:
        labels(input.data, input.size);
        break;
    case 2:
        names(text);
        break;
    case 3:
        numbers(text);
        break;
    default:
        escapes(input.data, input.size);
        break;
    }
    free(text);
    return 0;
}
