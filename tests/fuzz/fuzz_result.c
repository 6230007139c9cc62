/* Results that are read back: whatever a file claims, rows are given that fit its own shapes. */
#include <stdlib.h>
#include <string.h>

#include "h5_target.h"
#include "io/result.h"

enum { ROWS_MAX = 40 };

static void read_text(struct engram_result *result, int what, int64_t row)
{
    const char *text = NULL;
    size_t length = 0;

    fuzz_begin();
    enum engram_status status = what == 2
                                    ? engram_result_label(result, row, &text, &length)
                                    : engram_result_id(result, what == 0, row, &text, &length);
    if (status == ENGRAM_ERR_USAGE) {
        FUZZ_CHECK(fuzz_errors == 0);
        return;
    }
    fuzz_check_status(status, FUZZ_READ_FAILURES);
    if (status == ENGRAM_OK && length > 0) {
        FUZZ_CHECK(memchr(text + length - 1, text[length - 1], 1) != NULL);
    }
}

static void read_row(struct engram_result *result, const struct engram_result_info *info,
                     int64_t row)
{
    const int64_t *rows = NULL;
    const double *values = NULL;
    int64_t count = -1;

    fuzz_begin();
    enum engram_status status = engram_result_row(result, row, &count, &rows, &values);
    fuzz_check_status(status, FUZZ_READ_FAILURES);
    if (status != ENGRAM_OK) {
        return;
    }
    FUZZ_CHECK(count >= 0);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        FUZZ_CHECK(rows[i] >= 0 && rows[i] < info->base_shape[0]);
        sum += values[i];
        if (info->has_base_ids && i < 3) {
            read_text(result, 1, rows[i]);
        }
    }
    (void)sum;
}

static void target(const uint8_t *data, size_t size)
{
    struct engram_result *result = NULL;
    struct engram_result_info info;
    const char *path = fuzz_file(data, size);
    char digest[64];

    fuzz_begin();
    engram_result_digest(path, digest);
    FUZZ_CHECK(fuzz_errors == 0 && memchr(digest, 0, sizeof digest) != NULL);
    enum engram_status status = engram_result_open(path, &fuzz_log, &result, &info);
    fuzz_check_status(status, FUZZ_READ_FAILURES);
    if (status == ENGRAM_OK) {
        FUZZ_CHECK(info.kind <= ENGRAM_RESULT_COMPONENTS && info.queries >= 0);
        FUZZ_CHECK(info.metric <= ENGRAM_JACCARD);
        if (info.kind == ENGRAM_RESULT_COMPONENTS && info.queries <= FUZZ_ELEMENTS) {
            int64_t *component = NULL;
            int8_t *keep = NULL;
            fuzz_begin();
            fuzz_check_status(engram_result_components(result, &component, &keep),
                              FUZZ_READ_FAILURES);
            free(component);
            free(keep);
        }
        int64_t step = info.queries / ROWS_MAX + 1;
        for (int64_t row = 0; row < info.queries && info.kind != ENGRAM_RESULT_COMPONENTS &&
                              info.base_shape[0] <= FUZZ_ELEMENTS;
             row += step) {
            read_row(result, &info, row);
            read_text(result, 0, row);
            if (info.kind == ENGRAM_RESULT_LABELS) {
                read_text(result, 2, row);
            }
        }
        engram_result_close(result);
    }
    fuzz_check_handles();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_isolated(target, data, size);
    return 0;
}
