/* What the rooms of `show` share: show.c finds the rows, show_KIND.c prints them. */
#ifndef ENGRAM_CLI_SHOW_INTERNAL_H
#define ENGRAM_CLI_SHOW_INTERNAL_H

#include "cli/options.h"
#include "io/result.h"

#define ENGRAM_SHOW_ROWS 10

/* One row to show: argument `argument` of the command line asked for row `row` of the result. */
struct engram_show_pick {
    int argument;
    int64_t row;
};

struct engram_show {
    const struct engram_cli_options *options;
    struct engram_log log;
    struct engram_result *result;
    struct engram_result_info info;
    struct engram_show_pick *picks;
    size_t pick_count;
    size_t pick_room;
};

/* Ids of result rows and of base rows; they print nothing where there are none. */
bool engram_show_has_query_ids(const struct engram_show *show);
enum engram_status engram_show_query_id(const struct engram_show *show, int64_t row);
enum engram_status engram_show_base_id(const struct engram_show *show, int64_t base_row);

/* Text out of a file: shortened where it is for people. */
void engram_show_text(const struct engram_show *show, const char *text, size_t length);

int engram_show_digits(int64_t number);
/* "distance" or "similarity" */
const char *engram_show_value_name(const struct engram_show *show);

/* The first line, and one row. */
void engram_show_title(const struct engram_show *show);
enum engram_status engram_show_row(const struct engram_show *show, int64_t row);

/* The same for labels. */
enum engram_status engram_show_label(const struct engram_show *show, int64_t row);

/* The groups that the picked rows are in; without picks the `rows` largest, or with --tsv what is
 * known of the first `rows` rows. */
enum engram_status engram_show_groups(const struct engram_show *show, int64_t rows);

#endif
