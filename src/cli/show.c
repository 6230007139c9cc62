#define _GNU_SOURCE

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/messages.h"
#include "cli/numbers.h"
#include "io/result.h"

#define DEFAULT_ROWS 10
/* Columns of an id in aligned output; ids are cut there, never in --tsv. */
#define ID_COLUMNS 60

/* One row to show: argument `argument` of the command line asked for row `row` of the result. */
struct pick {
    int argument;
    int64_t row;
};

struct show {
    const struct engram_cli_options *options;
    struct engram_log log;
    struct engram_result *result;
    struct engram_result_info info;
    struct pick *picks;
    size_t pick_count;
    size_t pick_room;
};

static const char *value_name(const struct show *show)
{
    return show->info.similarity ? "similarity" : "distance";
}

/* A value for every pair asked about, in the order of the base, instead of the best ones. */
static bool is_matrix(const struct show *show)
{
    return show->info.kind == ENGRAM_RESULT_DENSE || show->info.kind == ENGRAM_RESULT_PAIRWISE;
}

static bool has_query_ids(const struct show *show)
{
    return show->info.has_query_ids || (show->info.self && show->info.has_base_ids);
}

/* Id of a row of the result; a self job needs only one set of ids. */
static enum engram_status query_id(const struct show *show, int64_t row, const char **text,
                                   size_t *length)
{
    if (show->info.has_query_ids) {
        return engram_result_id(show->result, true, row, text, length);
    }
    return engram_result_id(show->result, false, show->info.query_rows[0] + row, text, length);
}

static void print_id(const struct show *show, const char *text, size_t length)
{
    /* Room for the longest prefix that can matter: every character 4 bytes, or an escape. */
    char safe[ID_COLUMNS * 16 + 1];
    size_t used;
    size_t columns = 0;
    size_t cut = 0;

    if (show->options->tsv) {
        engram_cli_print_escaped(stdout, text, length);
        return;
    }
    used = engram_cli_escape(safe, sizeof safe, text, length);
    for (size_t i = 0; i < used; i++) {
        if (((unsigned char)safe[i] & 0xc0) == 0x80) {
            continue; /* inside a character */
        }
        if (columns == ID_COLUMNS - 1) {
            cut = i;
        }
        columns++;
    }
    if (columns > ID_COLUMNS) {
        printf("%.*s\xe2\x80\xa6", (int)cut, safe);
    } else {
        fputs(safe, stdout);
    }
}

static enum engram_status print_query_id(const struct show *show, int64_t row)
{
    const char *text = "";
    size_t length = 0;
    enum engram_status status = ENGRAM_OK;

    if (has_query_ids(show)) {
        status = query_id(show, row, &text, &length);
        print_id(show, text, length);
    }
    return status;
}

static enum engram_status print_base_id(const struct show *show, int64_t base_row)
{
    const char *text = "";
    size_t length = 0;
    enum engram_status status = ENGRAM_OK;

    if (show->info.has_base_ids) {
        status = engram_result_id(show->result, false, base_row, &text, &length);
        print_id(show, text, length);
    }
    return status;
}

static int digits_of(int64_t number)
{
    return snprintf(NULL, 0, "%" PRId64, number);
}

static void print_title(const struct show *show)
{
    const struct engram_result_info *info = &show->info;
    const char *name = engram_metric_name(info->metric);

    printf("%" PRId64 " %s, %s %s", info->queries, info->queries == 1 ? "query" : "queries", name,
           value_name(show));
    if (info->kind == ENGRAM_RESULT_DENSE) {
        printf(" to %" PRId64 " base rows", info->base_rows[1] - info->base_rows[0]);
    } else if (info->kind == ENGRAM_RESULT_PAIRWISE) {
        fputs(", row by row", stdout);
    }
    if (info->k != INT64_MAX) {
        printf(", k = %" PRId64, info->k);
    }
    if (!isnan(info->max_distance)) {
        printf(", at most %g", info->max_distance);
    }
    if (!isnan(info->min_similarity)) {
        printf(", similarity at least %g", info->min_similarity);
    }
    if (info->self && !is_matrix(show)) {
        fputs(", no row with itself", stdout);
    }
    putchar('\n');
}

static enum engram_status print_aligned(const struct show *show, int64_t row, int64_t count,
                                        const int64_t *rows, const double *values)
{
    int rank_width = digits_of(count);
    int row_width = digits_of(show->info.base_rows[1]);
    int64_t shown = is_matrix(show) && count > DEFAULT_ROWS ? DEFAULT_ROWS : count;
    enum engram_status status;

    printf("\nrow %" PRId64 "%s", show->info.query_rows[0] + row, has_query_ids(show) ? ": " : "");
    status = print_query_id(show, row);
    putchar('\n');
    if (count == 0) {
        puts(is_matrix(show) ? "  no base rows" : "  no neighbours");
        return status;
    }
    rank_width = rank_width < 4 ? 4 : rank_width;
    row_width = row_width < 3 ? 3 : row_width;
    if (!is_matrix(show)) {
        printf("  %*s", rank_width, "rank");
    }
    printf("  %11s  %*s%s\n", value_name(show), row_width, "row",
           show->info.has_base_ids ? "  id" : "");
    for (int64_t i = 0; i < shown && status == ENGRAM_OK; i++) {
        if (!is_matrix(show)) {
            printf("  %*" PRId64, rank_width, i + 1);
        }
        printf("  %11.6g  %*" PRId64, values[i], row_width, rows[i]);
        if (show->info.has_base_ids) {
            fputs("  ", stdout);
        }
        status = print_base_id(show, rows[i]);
        putchar('\n');
    }
    if (shown < count) {
        printf("  and %" PRId64 " more base rows; --tsv prints all\n", count - shown);
    }
    return status;
}

static enum engram_status print_tsv(const struct show *show, int64_t row, int64_t count,
                                    const int64_t *rows, const double *values)
{
    int digits = show->info.float64 ? 17 : 9;
    enum engram_status status = ENGRAM_OK;

    for (int64_t i = 0; i < count && status == ENGRAM_OK; i++) {
        printf("%" PRId64 "\t", show->info.query_rows[0] + row);
        status = print_query_id(show, row);
        if (!is_matrix(show)) {
            printf("\t%" PRId64, i + 1);
        }
        printf("\t%" PRId64 "\t", rows[i]);
        if (status == ENGRAM_OK) {
            status = print_base_id(show, rows[i]);
        }
        printf("\t%.*g\n", digits, values[i]);
    }
    return status;
}

static enum engram_status print_row(const struct show *show, int64_t row)
{
    int64_t count = 0;
    const int64_t *rows = NULL;
    const double *values = NULL;
    enum engram_status status = engram_result_row(show->result, row, &count, &rows, &values);

    if (status != ENGRAM_OK) {
        return status;
    }
    return show->options->tsv ? print_tsv(show, row, count, rows, values)
                              : print_aligned(show, row, count, rows, values);
}

static enum engram_status add_pick(struct show *show, int argument, int64_t row)
{
    if (show->pick_count == show->pick_room) {
        size_t room = show->pick_room > 0 ? 2 * show->pick_room : 64;
        struct pick *grown = realloc(show->picks, room * sizeof *grown);

        if (grown == NULL) {
            return engram_fail(&show->log, ENGRAM_ERR_RESOURCE, "out of memory");
        }
        show->picks = grown;
        show->pick_room = room;
    }
    show->picks[show->pick_count].argument = argument;
    show->picks[show->pick_count].row = row;
    show->pick_count++;
    return ENGRAM_OK;
}

/* Picks every row whose id is one of the arguments, in one pass over the ids. */
static enum engram_status pick_by_id(struct show *show, bool *found)
{
    enum engram_status status = ENGRAM_OK;

    for (int64_t row = 0; row < show->info.queries && status == ENGRAM_OK; row++) {
        const char *text;
        size_t length;

        status = query_id(show, row, &text, &length);
        for (int a = 0; a < show->options->shown_count && status == ENGRAM_OK; a++) {
            const char *wanted = show->options->shown[a];

            if (strncmp(wanted, text, length) == 0 && strlen(wanted) == length) {
                status = add_pick(show, a, row);
                found[a] = true;
            }
        }
    }
    return status;
}

static int compare_picks(const void *left, const void *right)
{
    const struct pick *a = left;
    const struct pick *b = right;

    if (a->argument != b->argument) {
        return a->argument < b->argument ? -1 : 1;
    }
    return (a->row > b->row) - (a->row < b->row);
}

/* Finds the rows that the arguments name. */
static enum engram_status pick_rows(struct show *show)
{
    const struct engram_result_info *info = &show->info;
    bool *found = calloc((size_t)show->options->shown_count, sizeof *found);
    enum engram_status status = ENGRAM_OK;

    if (found == NULL) {
        return engram_fail(&show->log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    if (has_query_ids(show)) {
        status = pick_by_id(show, found);
    }
    for (int a = 0; a < show->options->shown_count && status == ENGRAM_OK; a++) {
        int64_t row;

        if (found[a]) {
            continue;
        }
        if (engram_cli_parse_integer(show->options->shown[a], 0, INT64_MAX, &row) &&
            row >= info->query_rows[0] && row < info->query_rows[1]) {
            status = add_pick(show, a, row - info->query_rows[0]);
        } else {
            status = engram_fail(&show->log, ENGRAM_ERR_USAGE,
                                 "%s: '%s' is %s of a query (%" PRId64 " rows from %" PRId64 ")",
                                 show->options->job.output, show->options->shown[a],
                                 has_query_ids(show) ? "neither the id nor the row number"
                                                     : "not the row number",
                                 info->queries, info->query_rows[0]);
        }
    }
    free(found);
    if (status == ENGRAM_OK && show->pick_count > 0) {
        qsort(show->picks, show->pick_count, sizeof *show->picks, compare_picks);
    }
    return status;
}

static enum engram_status print_rows(struct show *show)
{
    enum engram_status status = ENGRAM_OK;
    int64_t rows = show->options->show_rows >= 0 ? show->options->show_rows : DEFAULT_ROWS;

    if (show->options->shown_count > 0) {
        status = pick_rows(show);
        rows = (int64_t)show->pick_count;
    } else if (rows > show->info.queries) {
        rows = show->info.queries;
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    if (show->options->tsv) {
        printf("query_row\tquery_id%s\tbase_row\tbase_id\t%s\n", is_matrix(show) ? "" : "\trank",
               value_name(show));
    } else {
        print_title(show);
    }
    /* A reader that went away (head) ends it; main tells of other errors. */
    for (int64_t i = 0; i < rows && status == ENGRAM_OK && !ferror(stdout); i++) {
        status = print_row(show, show->options->shown_count > 0 ? show->picks[i].row : i);
    }
    return status;
}

int engram_cli_show(const struct engram_cli_options *options)
{
    struct show show = {.options = options, .log = options->job.log};
    enum engram_status status =
        engram_result_open(options->job.output, &show.log, &show.result, &show.info);

    if (status == ENGRAM_OK) {
        status = print_rows(&show);
        engram_result_close(show.result);
    }
    free(show.picks);
    return engram_status_exit_code(status);
}
