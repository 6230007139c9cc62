#include "cli/inspect_sets.h"

#include <stdio.h>
#include <string.h>

#include "cli/messages.h"
#include "cli/summary.h"
#include "job/look.h"

/* Sets that were not chosen and are named. */
enum { NAMED = 6 };

static const char *why(const struct engram_inputs *inputs, const struct engram_job_options *options)
{
    const char *base = inputs->base.parts[0].dataset->path;

    if (options->base_count > 0) {
        return "the base as --base says";
    }
    switch (inputs->files[0].layout.kind) {
    case ENGRAM_LAYOUT_ANN_BENCHMARKS:
        return "ann-benchmarks: /train is the base, /test asks";
    case ENGRAM_LAYOUT_ANNDATA:
        if (strcmp(base, "/obsm/X_pca") == 0) {
            return "AnnData: obsm/X_pca comes first";
        }
        return strcmp(base, "/X") == 0 ? "AnnData: obsm holds no set, so X"
                                       : "AnnData without obsm/X_pca: the only obsm/X_*";
    case ENGRAM_LAYOUT_SINGLE:
        return "one set of vectors: the only two-dimensional dataset of numbers";
    case ENGRAM_LAYOUT_ITEMS:
        return "one dataset per item";
    case ENGRAM_LAYOUT_NONE:
        break;
    }
    return "not recognised";
}

static bool is_used(const struct engram_set_ref *set, const struct engram_dataset_info *dataset)
{
    for (size_t i = 0; i < set->part_count; i++) {
        if (set->parts[i].dataset == dataset) {
            return true;
        }
    }
    return false;
}

void engram_cli_print_layout(const struct engram_inputs *inputs,
                             const struct engram_job_options *options)
{
    const struct engram_layout *layout = &inputs->files[0].layout;
    size_t others = 0;

    printf("layout   %s\n", why(inputs, options));
    for (size_t i = 0; i < layout->count; i++) {
        const struct engram_dataset_info *dataset = &layout->datasets[i];
        /* All datasets of the file as items are no choice beside some of them. */
        bool everything = strcmp(dataset->path, "/") == 0;
        if (!engram_is_vectors(dataset) || everything || is_used(&inputs->base, dataset) ||
            is_used(&inputs->queries, dataset)) {
            continue;
        }
        if (others < NAMED) {
            fputs(others == 0 ? "others   " : ", ", stdout);
            engram_cli_print_escaped(stdout, dataset->path, strlen(dataset->path));
        }
        others++;
    }
    if (others > NAMED) {
        printf(" and %zu more", others - NAMED);
    }
    if (others > 0) {
        puts(": choose with --base and --queries");
    }
}

static enum engram_status print_sample(const char *label, const struct engram_set_ref *set,
                                       const struct engram_job_options *options)
{
    struct engram_look look;
    char rows[32];
    bool bits = set->dataset->dtype == ENGRAM_BITS;
    enum engram_status status = engram_set_look(set, options, &look);

    if (status != ENGRAM_OK) {
        return status;
    }
    engram_cli_format_count(rows, (uint64_t)look.rows);
    printf("sample   %s rows of the %s", rows, label);
    if (look.rows > look.unfit) {
        printf(": %s %.6g to %.6g, median %.6g", bits ? "ones in a row" : "norms", look.smallest,
               look.largest, look.median);
    }
    if (look.unfit > 0) {
        printf("; %lld with NaN or infinity", (long long)look.unfit);
    }
    if (look.zero > 0) {
        printf("; %lld all zero", (long long)look.zero);
    }
    if (look.duplicates > 0) {
        printf("; %lld equal to an earlier one", (long long)look.duplicates);
    }
    putchar('\n');
    return ENGRAM_OK;
}

enum engram_status engram_cli_print_samples(const struct engram_inputs *inputs,
                                            const struct engram_job_options *options)
{
    const struct engram_set_ref *base = &inputs->base;
    const struct engram_set_ref *queries = &inputs->queries;
    enum engram_status status = print_sample("base", base, options);

    if (status == ENGRAM_OK &&
        !(inputs->self && base->first == queries->first && base->last == queries->last)) {
        status = print_sample("queries", queries, options);
    }
    return status;
}
