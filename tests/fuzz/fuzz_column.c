/* One value for every row: columns, labels made of them, and ids. */
#include <string.h>

#include "h5_target.h"
#include "io/column.h"
#include "io/ids.h"
#include "io/labels.h"

enum { COLUMNS_MAX = 8 };

static void check_texts(const struct engram_texts *texts)
{
    size_t before = 0;

    for (int64_t i = 0; i < texts->count; i++) {
        FUZZ_CHECK(texts->ends[i] >= before);
        before = texts->ends[i];
    }
    if (before > 0) { /* the last byte can be read */
        FUZZ_CHECK(memchr(texts->text + before - 1, texts->text[before - 1], 1) != NULL);
    }
}

static void check_column(const struct engram_column *column)
{
    bool texts = column->kind == ENGRAM_COLUMN_TEXTS;

    FUZZ_CHECK(column->count >= 0 && column->kind <= ENGRAM_COLUMN_CODES);
    check_texts(&column->texts);
    FUZZ_CHECK(!texts || column->texts.count == column->count);
    for (int64_t i = 0; column->kind == ENGRAM_COLUMN_CODES && i < column->count; i++) {
        FUZZ_CHECK(column->numbers[i] < column->texts.count);
    }
}

static void check_labels(const struct engram_labels *labels)
{
    check_texts(&labels->names);
    for (int64_t i = 0; i < labels->count; i++) {
        char room[24];
        size_t length = 0;
        FUZZ_CHECK(labels->codes[i] >= -1);
        FUZZ_CHECK(labels->numbers || labels->codes[i] < labels->names.count);
        if (labels->codes[i] >= 0) {
            FUZZ_CHECK(engram_labels_name(labels, labels->codes[i], room, &length) != NULL);
            FUZZ_CHECK(length > 0);
        }
    }
}

static void read_column(const char *path, const char *name)
{
    struct engram_column column;
    struct engram_column more;
    struct engram_labels labels;

    fuzz_begin();
    enum engram_status status = engram_column_read(path, name, &fuzz_log, &column);
    fuzz_check_status(status, FUZZ_READ_FAILURES | FUZZ_ALLOW(ENGRAM_ERR_USAGE));
    if (status != ENGRAM_OK) {
        FUZZ_CHECK(column.numbers == NULL && column.texts.text == NULL);
        return;
    }
    check_column(&column);
    if (engram_column_read(path, name, &fuzz_log, &more) == ENGRAM_OK) {
        FUZZ_CHECK(engram_column_append(&column, &more, &fuzz_log) == ENGRAM_OK);
        check_column(&column);
        engram_column_free(&more);
    }
    FUZZ_CHECK(engram_labels_of(&column, &fuzz_log, &labels) == ENGRAM_OK);
    check_labels(&labels);
    engram_labels_free(&labels);
    engram_column_free(&column);
}

static void read_ids(const char *path, const struct engram_dataset_info *info)
{
    struct engram_ids ids;

    fuzz_begin();
    enum engram_status status = engram_ids_of(path, info, 0, info->dims[0], &fuzz_log, &ids);
    fuzz_check_status(status, FUZZ_READ_FAILURES | FUZZ_ALLOW(ENGRAM_ERR_USAGE));
    if (status == ENGRAM_OK) {
        FUZZ_CHECK(ids.count == info->dims[0] && ids.width >= 1);
        engram_ids_free(&ids);
    }
}

static void target(const uint8_t *data, size_t size)
{
    static const char *const groups[] = {"/obs/cell_type", "/obs/nullable", "/obs"};
    struct engram_layout layout;
    const char *path = fuzz_file(data, size);
    int columns = 0;

    if (fuzz_layout(path, &layout)) {
        for (size_t i = 0; i < layout.count && columns < COLUMNS_MAX; i++) {
            const struct engram_dataset_info *info = &layout.datasets[i];
            if (info->rank < 1 || info->dims[0] > FUZZ_ELEMENTS) {
                continue;
            }
            columns++;
            if (info->content == ENGRAM_CONTENT_STRINGS || info->items != NULL) {
                read_ids(path, info);
            }
            read_column(path, info->path);
        }
        engram_layout_free(&layout);
        for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
            if (engram_column_exists(path, groups[i])) {
                read_column(path, groups[i]);
            }
        }
    }
    fuzz_check_handles();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_isolated(target, data, size);
    return 0;
}
