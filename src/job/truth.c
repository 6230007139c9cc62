#include "job/truth.h"

#include <math.h>
#include <string.h>

#include "io/source.h"
#include "job/check.h"

/* ann-benchmarks: plotting/metrics.py, `epsilon`. */
#define DISTANCE_SLACK 1e-3

/* Distances this small are rounding errors where the truth was computed in float32. */
#define DISTANCE_NOISE 1e-5

/* A 2-D truth dataset of the right rows, or NULL. */
static const struct engram_dataset_info *find_truth(const struct engram_inputs *inputs,
                                                    const char *path)
{
    const struct engram_layout *layout = &inputs->queries.file->layout;
    const struct engram_dataset_info *found = engram_layout_find(layout, path);
    if (layout->kind != ENGRAM_LAYOUT_ANN_BENCHMARKS || inputs->base.file != inputs->queries.file ||
        strcmp(inputs->queries.dataset->path, "/test") != 0 ||
        strcmp(inputs->base.dataset->path, "/train") != 0 || found == NULL || found->rank != 2 ||
        found->content != ENGRAM_CONTENT_NUMERIC ||
        found->dims[0] != inputs->queries.dataset->dims[0] || found->dims[1] < 1) {
        return NULL;
    }
    return found;
}

static enum engram_status open_truth(const struct engram_inputs *inputs,
                                     const struct engram_dataset_info *dataset,
                                     const struct engram_job_options *options,
                                     struct engram_source **source, struct engram_slab *slab)
{
    const struct engram_source_options read = {
        .path = inputs->queries.file->path,
        .dataset = dataset,
        .first = inputs->queries.first,
        .last = inputs->queries.last,
        .slab_rows = INT64_MAX,
        .threads = 1,
        .cancel = options->cancel,
        .log = options->log,
    };
    enum engram_status status = engram_source_open(&read, source);
    return status == ENGRAM_OK ? engram_source_next(*source, slab) : status;
}

static double cell(const struct engram_slab *slab, int64_t row, int64_t column)
{
    const unsigned char *data =
        (const unsigned char *)slab->set.data + (size_t)row * slab->set.stride;
    return slab->set.dtype == ENGRAM_F32 ? (double)((const float *)(const void *)data)[column]
                                         : ((const double *)(const void *)data)[column];
}

struct tally {
    int64_t wanted;
    int64_t by_index;
    int64_t by_distance;
    int64_t ties;
    int64_t nearer;
    int64_t farther;
    int64_t other_values; /* of those by index: the truth has another distance */
};

/* The column of the first `depth` where the truth has row `row`; -1: it has not. */
static int64_t column_of(const struct engram_slab *neighbors, int64_t q, int64_t depth, int64_t row)
{
    for (int64_t j = 0; j < depth; j++) {
        if (cell(neighbors, q, j) == (double)row) {
            return j;
        }
    }
    return -1;
}

/* One answer, at rank `column` of the truth (-1: none), whose distances are `truth`. */
static void tally_distance(struct tally *tally, int64_t depth, int64_t q, int64_t column,
                           double distance, const struct engram_slab *truth)
{
    double last = cell(truth, q, depth - 1);
    double slack = DISTANCE_SLACK * fabs(last);

    tally->by_distance += distance <= last + slack;
    if (column >= 0) {
        double there = cell(truth, q, column);
        tally->other_values +=
            fabs(there - distance) > DISTANCE_NOISE + DISTANCE_SLACK * fabs(there);
    } else if (distance < last - slack) {
        tally->nearer++;
    } else if (distance <= last + slack) {
        tally->ties++;
    } else {
        tally->farther++;
    }
}

/* Compares the first `depth` answers of one query with the first `depth` of the truth. */
static void tally_query(struct tally *tally, const struct engram_result_info *info, int64_t depth,
                        int64_t q, int64_t count, const int64_t *rows, const double *values,
                        const struct engram_slab *neighbors, const struct engram_slab *truth)
{
    tally->wanted += depth;
    for (int64_t i = 0; i < count && i < depth; i++) {
        int64_t column = column_of(neighbors, q, depth, rows[i]);
        tally->by_index += column >= 0;
        if (truth != NULL) {
            tally_distance(tally, depth, q, column, engram_check_distance(info, values[i]), truth);
        } else {
            tally->by_distance += column >= 0;
        }
    }
}

static void report_tally(const struct tally *tally, bool with_distances,
                         struct engram_verify_report *report)
{
    report->has_truth = true;
    report->recall_by_index = (double)tally->by_index / (double)tally->wanted;
    report->recall_by_distance = (double)tally->by_distance / (double)tally->wanted;
    report->truth_has_distances = with_distances;
    report->truth_ties = tally->ties;
    report->truth_nearer = tally->nearer;
    report->truth_farther = tally->farther;
    report->truth_other_metric = tally->other_values > tally->by_index / 2;
}

enum engram_status engram_truth_recall(const struct engram_inputs *inputs,
                                       const struct engram_result_info *info,
                                       struct engram_result *result,
                                       const struct engram_job_options *options,
                                       struct engram_verify_report *report)
{
    const struct engram_dataset_info *neighbors = find_truth(inputs, "/neighbors");
    const struct engram_dataset_info *distances = find_truth(inputs, "/distances");
    struct engram_source *sources[2] = {NULL, NULL};
    struct engram_slab slabs[2];
    struct tally tally = {0};

    /* A part of the base or a threshold has another truth. */
    if (neighbors == NULL || info->kind != ENGRAM_RESULT_KNN || info->self ||
        info->k == INT64_MAX || !isnan(info->max_distance) || !isnan(info->min_similarity) ||
        inputs->base.first != 0 || inputs->base.last != inputs->base.dataset->dims[0]) {
        return ENGRAM_OK;
    }
    int64_t depth = info->k < neighbors->dims[1] ? info->k : neighbors->dims[1];
    bool with_distances = distances != NULL && distances->dims[1] >= depth;
    enum engram_status status = open_truth(inputs, neighbors, options, &sources[0], &slabs[0]);
    if (status == ENGRAM_OK && with_distances) {
        status = open_truth(inputs, distances, options, &sources[1], &slabs[1]);
    }
    for (int64_t q = 0; status == ENGRAM_OK && q < info->queries; q++) {
        int64_t count;
        const int64_t *rows;
        const double *found;
        status = engram_result_row(result, q, &count, &rows, &found);
        if (status == ENGRAM_OK) {
            tally_query(&tally, info, depth, q, count, rows, found, &slabs[0],
                        with_distances ? &slabs[1] : NULL);
        }
    }
    engram_source_close(sources[0]);
    engram_source_close(sources[1]);
    if (status == ENGRAM_OK && tally.wanted > 0) {
        report_tally(&tally, with_distances, report);
    }
    return status;
}
