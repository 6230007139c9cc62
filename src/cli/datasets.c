#include "cli/datasets.h"

#include <string.h>

#include "cli/messages.h"
#include "cli/summary.h"

/* Columns grow with what they hold, up to this: one long path must not push all lines apart. */
enum { COLUMN_MAX = 40 };

enum { PATH, SHAPE, TYPE, STORAGE, CELLS };

struct line {
    char cells[CELLS][320];
};

void engram_cli_format_shape(char text[160], int rank, const int64_t dims[4])
{
    size_t used = 0;

    if (rank <= 0) {
        memcpy(text, "scalar", sizeof "scalar");
        return;
    }
    for (int i = 0; i < rank && i < 4; i++) {
        char count[32];
        engram_cli_format_count(count, (uint64_t)dims[i]);
        /* 4 x (3 + 31) characters at most */
        used += (size_t)snprintf(text + used, 160 - used, "%s%s", i > 0 ? " x " : "", count);
    }
    if (rank > 4) {
        snprintf(text + used, 160 - used, " x ...");
    }
}

static const char *storage_name(enum engram_storage storage)
{
    switch (storage) {
    case ENGRAM_STORAGE_CONTIGUOUS:
        return "contiguous";
    case ENGRAM_STORAGE_CHUNKED:
        return "chunks";
    case ENGRAM_STORAGE_COMPACT:
        return "compact";
    case ENGRAM_STORAGE_VIRTUAL:
        return "virtual";
    case ENGRAM_STORAGE_EXTERNAL:
        return "external file";
    case ENGRAM_STORAGE_ITEMS:
        return "one dataset per item";
    }
    return "unknown";
}

static void describe(const struct engram_dataset_info *dataset, struct line *line)
{
    char shape[160] = "";

    engram_cli_escape(line->cells[PATH], sizeof line->cells[PATH], dataset->path,
                      strlen(dataset->path));
    engram_cli_format_shape(line->cells[SHAPE], dataset->rank, dataset->dims);
    engram_cli_escape(line->cells[TYPE], sizeof line->cells[TYPE], dataset->type_name,
                      strlen(dataset->type_name));
    if (dataset->storage == ENGRAM_STORAGE_CHUNKED) {
        engram_cli_format_shape(shape, dataset->rank, dataset->chunk);
    }
    snprintf(line->cells[STORAGE], sizeof line->cells[STORAGE], "%s%s%s%s%s",
             storage_name(dataset->storage), shape[0] != '\0' ? " of " : "", shape,
             dataset->filters[0] != '\0' ? "; " : "", dataset->filters);
}

/* Columns that well-formed UTF-8 takes, near enough: one a character. */
static int width_of(const char *text)
{
    int width = 0;

    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

static void print_line(FILE *stream, const struct line *line, const int widths[CELLS])
{
    fputs(" ", stream);
    for (int cell = 0; cell < CELLS; cell++) {
        int padding = widths[cell] - width_of(line->cells[cell]);
        fprintf(stream, " %s%*s", line->cells[cell],
                cell + 1 < CELLS && padding > -1 ? padding + 1 : 0, "");
    }
    fputc('\n', stream);
}

/* The next dataset to list from `*at` on: the first `limit`, and as many more that may be sets of
 * vectors. NULL at the end. */
static const struct engram_dataset_info *next_listed(const struct engram_layout *layout,
                                                     size_t limit, size_t *at, size_t *shown)
{
    for (; *at < layout->count; (*at)++) {
        const struct engram_dataset_info *dataset = &layout->datasets[*at];
        bool vectors = dataset->rank == 2 && dataset->content == ENGRAM_CONTENT_NUMERIC;
        if (*at < limit || (vectors && *shown / 2 < limit)) {
            (*at)++;
            (*shown)++;
            return dataset;
        }
    }
    return NULL;
}

void engram_cli_print_datasets(FILE *stream, const struct engram_layout *layout, size_t limit)
{
    static const struct line TITLES = {{"dataset", "shape", "type", "storage"}};
    const struct engram_dataset_info *dataset;
    size_t at = 0;
    size_t shown = 0;
    int widths[CELLS];
    struct line line;

    for (int cell = 0; cell < CELLS; cell++) {
        widths[cell] = width_of(TITLES.cells[cell]);
    }
    while ((dataset = next_listed(layout, limit, &at, &shown)) != NULL) {
        describe(dataset, &line);
        for (int cell = 0; cell < CELLS; cell++) {
            int width = width_of(line.cells[cell]);
            width = width < COLUMN_MAX ? width : COLUMN_MAX;
            widths[cell] = width > widths[cell] ? width : widths[cell];
        }
    }
    if (shown > 0) {
        print_line(stream, &TITLES, widths);
    }
    at = 0;
    shown = 0;
    while ((dataset = next_listed(layout, limit, &at, &shown)) != NULL) {
        describe(dataset, &line);
        print_line(stream, &line, widths);
    }
    if (shown < layout->count) {
        char count[32];
        engram_cli_format_count(count, layout->count - shown);
        fprintf(stream, "  and %s more%s\n", count,
                layout->truncated ? " and others that were not read" : "; -v lists all");
    } else if (layout->truncated) {
        fputs("  and others that were not read\n", stream);
    }
}
