/* show: labels, a line each. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/show_internal.h"

static enum engram_status print_label(const struct engram_show *show, int64_t row)
{
    const char *text;
    size_t length;
    enum engram_status status = engram_result_label(show->result, row, &text, &length);

    if (status == ENGRAM_OK) {
        engram_show_text(show, text, length);
    }
    return status;
}

static enum engram_status print_tsv(const struct engram_show *show, int64_t row, int64_t count,
                                    const int64_t *rows, const double *values)
{
    printf("%" PRId64 "\t", show->info.query_rows[0] + row);
    enum engram_status status = engram_show_query_id(show, row);
    putchar('\t');
    if (status == ENGRAM_OK) {
        status = print_label(show, row);
    }
    if (count == 0) {
        puts("\t\t\t");
        return status;
    }
    printf("\t%.*g\t%" PRId64 "\t", show->info.float64 ? 17 : 9, values[0], rows[0]);
    if (status == ENGRAM_OK) {
        status = engram_show_base_id(show, rows[0]);
    }
    putchar('\n');
    return status;
}

enum engram_status engram_show_label(const struct engram_show *show, int64_t row)
{
    int64_t count = 0;
    const int64_t *rows = NULL;
    const double *values = NULL;
    enum engram_status status = engram_result_row(show->result, row, &count, &rows, &values);

    if (status != ENGRAM_OK) {
        return status;
    }
    if (show->options->tsv) {
        return print_tsv(show, row, count, rows, values);
    }
    printf("\nrow %" PRId64 "%s", show->info.query_rows[0] + row,
           engram_show_has_query_ids(show) ? ": " : "");
    status = engram_show_query_id(show, row);
    if (count == 0) {
        puts("\n  no label");
        return status;
    }
    fputs("\n  ", stdout);
    if (status == ENGRAM_OK) {
        status = print_label(show, row);
    }
    printf("  (%s %.6g, row %" PRId64 "%s", engram_show_value_name(show), values[0], rows[0],
           show->info.has_base_ids ? ": " : "");
    if (status == ENGRAM_OK) {
        status = engram_show_base_id(show, rows[0]);
    }
    puts(")");
    return status;
}
