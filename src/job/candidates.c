/* Says in one line what a file offers. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "job/inputs.h"

/* Candidates that are named before "and N more". */
#define NAMED 6

struct line {
    char *text;
    size_t size;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...)
{
    va_list arguments;

    if (line->used + 1 >= line->size) {
        return;
    }
    va_start(arguments, format);
    int written = vsnprintf(line->text + line->used, line->size - line->used, format, arguments);
    va_end(arguments);
    if (written > 0) {
        line->used += (size_t)written;
        line->used = line->used < line->size ? line->used : line->size - 1;
    }
}

bool engram_is_vectors(const struct engram_dataset_info *dataset)
{
    return dataset->rank == 2 && dataset->content == ENGRAM_CONTENT_NUMERIC;
}

const char *engram_dataset_shape(const struct engram_dataset_info *dataset, char *text, size_t size)
{
    struct line line = {text, size, 0};

    text[0] = '\0';
    for (int i = 0; i < dataset->rank && i < 4; i++) {
        add(&line, "%s%" PRId64, i > 0 ? " x " : "", dataset->dims[i]);
    }
    add(&line, "%s%s%s", dataset->rank > 4 ? " x ..." : "", dataset->rank > 0 ? " " : "",
        dataset->type_name);
    return text;
}

/* What a look at all datasets tells. True when it said something. */
static bool add_known(struct line *line, const struct engram_layout *layout)
{
    if (engram_layout_find(layout, "size_train") != NULL) {
        add(line, "it is a sparse ann-benchmarks file (size_train: train and test hold sets of "
                  "numbers), which is not supported; store each set as a row of bits");
    } else if (layout->hint[0] != '\0') {
        add(line, "%s", layout->hint);
    } else {
        return false;
    }
    return true;
}

const char *engram_inputs_candidates(const struct engram_layout *layout, char *text, size_t size)
{
    struct line line = {text, size, 0};
    char shape[128];
    size_t candidates = 0;
    size_t named = 0;

    text[0] = '\0';
    bool known = add_known(&line, layout);
    for (size_t i = 0; i < layout->count; i++) {
        candidates += engram_is_vectors(&layout->datasets[i]);
    }
    if (known && candidates > 0) {
        add(&line, "; ");
    }
    if (candidates > 0) {
        add(&line, "2-D datasets of numbers: ");
    } else if (!known) {
        add(&line, layout->count == 0 ? "it holds no datasets"
                                      : "it holds no 2-D dataset of numbers, but ");
    }
    for (size_t i = 0; i < layout->count && named < NAMED; i++) {
        const struct engram_dataset_info *dataset = &layout->datasets[i];
        if (engram_is_vectors(dataset) || (candidates == 0 && !known)) {
            add(&line, "%s%s (%s)", named > 0 ? ", " : "", dataset->path,
                engram_dataset_shape(dataset, shape, sizeof shape));
            named++;
        }
    }
    size_t all = candidates > 0 ? candidates : known ? 0 : layout->count;
    if (all > named) {
        add(&line, " and %zu%s more", all - named, layout->truncated ? " or" : "");
    }
    if (layout->outside[0] != '\0') {
        add(&line, "; %s", layout->outside);
    }
    return text;
}
