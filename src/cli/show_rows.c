/* show: neighbours, pairs and distances, row by row. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "cli/show_internal.h"

const char *engram_show_value_name(const struct engram_show *show)
{
    return show->info.similarity ? "similarity" : "distance";
}

/* A value for every pair asked about, in the order of the base, instead of the best ones. */
static bool is_matrix(const struct engram_show *show)
{
    return show->info.kind == ENGRAM_RESULT_DENSE || show->info.kind == ENGRAM_RESULT_PAIRWISE;
}

int engram_show_digits(int64_t number)
{
    return snprintf(NULL, 0, "%" PRId64, number);
}

void engram_show_title(const struct engram_show *show)
{
    const struct engram_result_info *info = &show->info;
    const char *name = engram_metric_name(info->metric);
    bool labels = info->kind == ENGRAM_RESULT_LABELS;

    if (show->options->tsv) {
        const char *columns = is_matrix(show) ? "\tbase_row\tbase_id"
                              : labels        ? "\tlabel"
                                              : "\trank\tbase_row\tbase_id";
        printf("query_row\tquery_id%s\t%s%s\n", columns, engram_show_value_name(show),
               labels ? "\tbase_row\tbase_id" : "");
        return;
    }
    bool groups = info->kind == ENGRAM_RESULT_COMPONENTS;
    const char *noun = groups               ? info->queries == 1 ? "row" : "rows"
                       : info->queries == 1 ? "query"
                                            : "queries";

    printf("%" PRId64 " %s, %s %s", info->queries, noun, name, engram_show_value_name(show));
    if (info->kind == ENGRAM_RESULT_DENSE) {
        printf(" to %" PRId64 " base rows", info->base_rows[1] - info->base_rows[0]);
    } else if (info->kind == ENGRAM_RESULT_PAIRWISE) {
        fputs(", row by row", stdout);
    }
    if (labels) {
        fputs(" to the nearest labelled row", stdout);
    } else if (info->k != INT64_MAX) {
        printf(", k = %" PRId64, info->k);
    }
    if (!isnan(info->max_distance)) {
        printf(", at most %g", info->max_distance);
    }
    if (!isnan(info->min_similarity)) {
        printf(", similarity at least %g", info->min_similarity);
    }
    if (info->self && !is_matrix(show) && !groups) {
        fputs(", no row with itself", stdout);
    }
    if (info->shard[1] > 0) {
        printf(", shard %" PRId64 " of %" PRId64, info->shard[0], info->shard[1]);
    }
    putchar('\n');
}

static enum engram_status print_aligned(const struct engram_show *show, int64_t row, int64_t count,
                                        const int64_t *rows, const double *values)
{
    int rank_width = engram_show_digits(count);
    int row_width = engram_show_digits(show->info.base_rows[1]);
    int64_t shown = is_matrix(show) && count > ENGRAM_SHOW_ROWS ? ENGRAM_SHOW_ROWS : count;
    enum engram_status status;

    printf("\nrow %" PRId64 "%s", show->info.query_rows[0] + row,
           engram_show_has_query_ids(show) ? ": " : "");
    status = engram_show_query_id(show, row);
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
    printf("  %11s  %*s%s\n", engram_show_value_name(show), row_width, "row",
           show->info.has_base_ids ? "  id" : "");
    for (int64_t i = 0; i < shown && status == ENGRAM_OK; i++) {
        if (!is_matrix(show)) {
            printf("  %*" PRId64, rank_width, i + 1);
        }
        printf("  %11.6g  %*" PRId64, values[i], row_width, rows[i]);
        if (show->info.has_base_ids) {
            fputs("  ", stdout);
        }
        status = engram_show_base_id(show, rows[i]);
        putchar('\n');
    }
    if (shown < count) {
        printf("  and %" PRId64 " more base rows; --tsv prints all\n", count - shown);
    }
    return status;
}

static enum engram_status print_tsv(const struct engram_show *show, int64_t row, int64_t count,
                                    const int64_t *rows, const double *values)
{
    int digits = show->info.float64 ? 17 : 9;
    enum engram_status status = ENGRAM_OK;

    for (int64_t i = 0; i < count && status == ENGRAM_OK; i++) {
        printf("%" PRId64 "\t", show->info.query_rows[0] + row);
        status = engram_show_query_id(show, row);
        if (!is_matrix(show)) {
            printf("\t%" PRId64, i + 1);
        }
        printf("\t%" PRId64 "\t", rows[i]);
        if (status == ENGRAM_OK) {
            status = engram_show_base_id(show, rows[i]);
        }
        printf("\t%.*g\n", digits, values[i]);
    }
    return status;
}

enum engram_status engram_show_row(const struct engram_show *show, int64_t row)
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
