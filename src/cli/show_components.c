/* show: groups. Of the rows that are asked for, or the largest ones. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "cli/show_internal.h"

/* A group: the row that stands for it, within the result, and how many rows it has. */
struct group {
    int64_t row;
    int64_t size;
};

struct groups {
    const struct engram_show *show;
    int64_t *component; /* dataset rows */
    int8_t *keep;
    struct group *largest; /* groups of two rows or more, largest first */
    int64_t count;
};

/* Largest first; among equals the first. */
static int compare_groups(const void *left, const void *right)
{
    const struct group *a = left;
    const struct group *b = right;

    if (a->size != b->size) {
        return a->size > b->size ? -1 : 1;
    }
    return (a->row > b->row) - (a->row < b->row);
}

static enum engram_status find_groups(struct groups *groups)
{
    const struct engram_result_info *info = &groups->show->info;
    int64_t rows = info->queries;
    struct group *all = calloc((size_t)rows + 1, sizeof *all);

    if (all == NULL) {
        return engram_fail(&groups->show->log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    for (int64_t i = 0; i < rows; i++) {
        struct group *group = &all[groups->component[i] - info->query_rows[0]];
        group->row = groups->component[i] - info->query_rows[0];
        group->size++;
    }
    for (int64_t i = 0; i < rows; i++) {
        if (all[i].size > 1) {
            all[groups->count++] = all[i];
        }
    }
    qsort(all, (size_t)groups->count, sizeof *all, compare_groups);
    groups->largest = all;
    return ENGRAM_OK;
}

static enum engram_status print_member(const struct engram_show *show, int64_t row)
{
    printf("  row %" PRId64 "%s", show->info.query_rows[0] + row,
           engram_show_has_query_ids(show) ? ": " : "");
    enum engram_status status = engram_show_query_id(show, row);
    putchar('\n');
    return status;
}

/* The rows of the group that `row` stands for, at most `limit` of them. */
static enum engram_status print_group(const struct groups *groups, int64_t row, int64_t limit)
{
    const struct engram_show *show = groups->show;
    int64_t name = show->info.query_rows[0] + row;
    int64_t size = 0;
    int64_t shown = 0;
    enum engram_status status = ENGRAM_OK;

    for (int64_t i = row; i < show->info.queries; i++) {
        size += groups->component[i] == name;
    }
    printf("\ngroup %" PRId64 ": %" PRId64 " %s\n", name, size, size == 1 ? "row" : "rows");
    for (int64_t i = row; i < show->info.queries && shown < limit && status == ENGRAM_OK; i++) {
        if (groups->component[i] == name) {
            status = print_member(show, i);
            shown++;
        }
    }
    if (shown < size) {
        printf("  and %" PRId64 " more\n", size - shown);
    }
    return status;
}

static void print_title(const struct groups *groups)
{
    const struct engram_show *show = groups->show;
    int64_t kept = 0;

    engram_show_title(show);
    for (int64_t i = 0; i < show->info.queries; i++) {
        kept += groups->keep[i] != 0;
    }
    printf("%" PRId64 " %s of two rows or more, %" PRId64 " %s kept\n", groups->count,
           groups->count == 1 ? "group" : "groups", kept, kept == 1 ? "row" : "rows");
}

static enum engram_status print_tsv(const struct groups *groups, int64_t row)
{
    const struct engram_show *show = groups->show;

    printf("%" PRId64 "\t", show->info.query_rows[0] + row);
    enum engram_status status = engram_show_query_id(show, row);
    printf("\t%" PRId64 "\t%d\n", groups->component[row], groups->keep[row] != 0);
    return status;
}

static enum engram_status print_all(const struct groups *groups, int64_t rows)
{
    const struct engram_show *show = groups->show;
    bool picked = show->options->shown_count > 0;
    enum engram_status status = ENGRAM_OK;

    if (show->options->tsv) {
        puts("query_row\tquery_id\tcomponent\tkeep");
        for (int64_t i = 0; i < rows && status == ENGRAM_OK && !ferror(stdout); i++) {
            status = print_tsv(groups, picked ? show->picks[i].row : i);
        }
        return status;
    }
    print_title(groups);
    rows = !picked && rows > groups->count ? groups->count : rows;
    for (int64_t i = 0; i < rows && status == ENGRAM_OK && !ferror(stdout); i++) {
        int64_t row = picked ? groups->component[show->picks[i].row] - show->info.query_rows[0]
                             : groups->largest[i].row;
        status = print_group(groups, row, picked ? INT64_MAX : ENGRAM_SHOW_ROWS);
    }
    return status;
}

enum engram_status engram_show_groups(const struct engram_show *show, int64_t rows)
{
    struct groups groups = {.show = show};
    enum engram_status status =
        engram_result_components(show->result, &groups.component, &groups.keep);

    if (status == ENGRAM_OK) {
        status = find_groups(&groups);
    }
    if (status == ENGRAM_OK) {
        status = print_all(&groups, rows);
    }
    free(groups.component);
    free(groups.keep);
    free(groups.largest);
    return status;
}
