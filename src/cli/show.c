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
#include "cli/show_internal.h"

/* Columns of an id in aligned output; ids are cut there, never in --tsv. */
#define ID_COLUMNS 60

bool engram_show_has_query_ids(const struct engram_show *show)
{
    return show->info.has_query_ids || (show->info.self && show->info.has_base_ids);
}

/* Id of a row of the result; a self job needs only one set of ids. */
static enum engram_status query_id(const struct engram_show *show, int64_t row, const char **text,
                                   size_t *length)
{
    if (show->info.has_query_ids) {
        return engram_result_id(show->result, true, row, text, length);
    }
    return engram_result_id(show->result, false, show->info.query_rows[0] + row, text, length);
}

void engram_show_text(const struct engram_show *show, const char *text, size_t length)
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

enum engram_status engram_show_query_id(const struct engram_show *show, int64_t row)
{
    const char *text = "";
    size_t length = 0;
    enum engram_status status = ENGRAM_OK;

    if (engram_show_has_query_ids(show)) {
        status = query_id(show, row, &text, &length);
        engram_show_text(show, text, length);
    }
    return status;
}

enum engram_status engram_show_base_id(const struct engram_show *show, int64_t base_row)
{
    const char *text = "";
    size_t length = 0;
    enum engram_status status = ENGRAM_OK;

    if (show->info.has_base_ids) {
        status = engram_result_id(show->result, false, base_row, &text, &length);
        engram_show_text(show, text, length);
    }
    return status;
}

static enum engram_status add_pick(struct engram_show *show, int argument, int64_t row)
{
    if (show->pick_count == show->pick_room) {
        size_t room = show->pick_room > 0 ? 2 * show->pick_room : 64;
        struct engram_show_pick *grown = realloc(show->picks, room * sizeof *grown);

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
static enum engram_status pick_by_id(struct engram_show *show, bool *found)
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
    const struct engram_show_pick *a = left;
    const struct engram_show_pick *b = right;

    if (a->argument != b->argument) {
        return a->argument < b->argument ? -1 : 1;
    }
    return (a->row > b->row) - (a->row < b->row);
}

/* Finds the rows that the arguments name. */
static enum engram_status pick_rows(struct engram_show *show)
{
    const struct engram_result_info *info = &show->info;
    bool *found = calloc((size_t)show->options->shown_count, sizeof *found);
    enum engram_status status = ENGRAM_OK;

    if (found == NULL) {
        return engram_fail(&show->log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    if (engram_show_has_query_ids(show)) {
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
            status =
                engram_fail(&show->log, ENGRAM_ERR_USAGE,
                            "%s: '%s' is %s of a query (%" PRId64 " rows from %" PRId64 ")",
                            show->options->job.output, show->options->shown[a],
                            engram_show_has_query_ids(show) ? "neither the id nor the row number"
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

static enum engram_status print_rows(struct engram_show *show)
{
    enum engram_status status = ENGRAM_OK;
    int64_t rows = show->options->show_rows >= 0 ? show->options->show_rows : ENGRAM_SHOW_ROWS;

    if (show->options->shown_count > 0) {
        status = pick_rows(show);
        rows = (int64_t)show->pick_count;
    } else if (rows > show->info.queries) {
        rows = show->info.queries;
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    if (show->info.kind == ENGRAM_RESULT_COMPONENTS) {
        return engram_show_groups(show, rows);
    }
    engram_show_title(show);
    /* A reader that went away (head) ends it; main tells of other errors. */
    for (int64_t i = 0; i < rows && status == ENGRAM_OK && !ferror(stdout); i++) {
        int64_t row = show->options->shown_count > 0 ? show->picks[i].row : i;
        status = show->info.kind == ENGRAM_RESULT_LABELS ? engram_show_label(show, row)
                                                         : engram_show_row(show, row);
    }
    return status;
}

int engram_cli_show(const struct engram_cli_options *options)
{
    struct engram_show show = {.options = options, .log = options->job.log};
    enum engram_status status =
        engram_result_open(options->job.output, &show.log, &show.result, &show.info);

    if (status == ENGRAM_OK) {
        status = print_rows(&show);
        engram_result_close(show.result);
    }
    free(show.picks);
    return engram_status_exit_code(status);
}
