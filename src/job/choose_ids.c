/* Which datasets hold the ids of base and queries. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "job/sets.h"

/* Whether the ids named by --ids fit a part; *found says whether its file has them at all. */
static bool fits_ids(struct engram_set_part *part, const char *path, bool *found)
{
    const struct engram_dataset_info *named = engram_layout_find(&part->file->layout, path);

    *found = *found || named != NULL;
    if (named == NULL || named->content != ENGRAM_CONTENT_STRINGS || named->rank != 1 ||
        named->dims[0] != part->dataset->dims[0]) {
        return false;
    }
    part->ids = named;
    return true;
}

/* Recognised ids, or those that --ids names; a set has ids when all of its parts have. Returns
 * whether --ids fits a part. */
static bool find_ids(const struct engram_job_options *options, struct engram_set_ref *set,
                     bool *found)
{
    bool fits = false;
    size_t with = 0;

    for (size_t i = 0; i < set->part_count; i++) {
        struct engram_set_part *part = &set->parts[i];
        part->ids = engram_layout_ids_for(&part->file->layout, part->dataset);
        fits = (options->ids != NULL && fits_ids(part, options->ids, found)) || fits;
        with += part->ids != NULL;
    }
    set->ids = with == set->part_count ? set->parts[0].ids : NULL;
    if (with > 0 && set->ids == NULL) {
        engram_logf(&options->log, ENGRAM_LOG_WARNING,
                    "%zu of %zu sets have no ids: none are written", set->part_count - with,
                    set->part_count);
    }
    return fits;
}

enum engram_status engram_inputs_choose_ids(const struct engram_job_options *options,
                                            struct engram_inputs *inputs)
{
    const struct engram_set_part *part = &inputs->base.parts[0];
    bool found = false;
    bool fits = find_ids(options, &inputs->base, &found);

    if (inputs->self) {
        inputs->queries.ids = inputs->base.ids;
    } else {
        fits = find_ids(options, &inputs->queries, &found) || fits;
    }
    if (options->ids == NULL || fits) {
        return ENGRAM_OK;
    }
    if (!found) {
        return engram_fail(&options->log, ENGRAM_ERR_NO_INPUT, "%s: --ids %s: no such dataset",
                           part->file->path, options->ids);
    }
    return engram_fail(&options->log, ENGRAM_ERR_DATA,
                       "%s: --ids %s: is not a 1-D dataset of strings, one for each of the %" PRId64
                       " rows of %s",
                       part->file->path, options->ids, part->dataset->dims[0], part->dataset->path);
}
