#include "job/foresee.h"

#include "search/filter.h"
#include "search/prepared.h"

const char *engram_job_filter_reason(enum engram_answer answer, enum engram_filter asked,
                                     enum engram_metric metric, int64_t queries, int64_t rows,
                                     int64_t dim)
{
    const char *reason;
    if (answer == ENGRAM_ANSWER_DENSE || answer == ENGRAM_ANSWER_PAIRWISE) {
        return "every pair asked about gets its value";
    }
    (void)engram_filter_explain(asked, metric, queries, rows, dim, &reason);
    return reason;
}

void engram_job_foresee(const struct engram_inputs *inputs,
                        const struct engram_job_options *options, const struct engram_plan *plan,
                        struct engram_row_sample *sample, struct engram_filter_choice *choice)
{
    struct engram_search_options search = ENGRAM_SEARCH_OPTIONS_INIT;

    *choice = (struct engram_filter_choice){
        .filter = plan->filter,
        .reason = engram_job_filter_reason(inputs->answer, options->filter, inputs->metric,
                                           (int64_t)plan->query_rows, (int64_t)plan->base_rows,
                                           plan->dim)};
    if (options->filter != ENGRAM_FILTER_AUTO || plan->filter != ENGRAM_FILTER_INT) {
        return;
    }
    search.metric = inputs->metric;
    search.k = inputs->k;
    search.max_distance = inputs->max_distance;
    search.min_similarity = inputs->min_similarity;
    search.self = inputs->self;
    search.expected_queries = (int64_t)plan->query_rows;
    search.expected_rows = (int64_t)plan->base_rows;
    search.isa = plan->isa;
    search.threads = plan->threads;
    search.cancel = options->cancel;
    int64_t rows = (int64_t)plan->base_rows;
    int64_t at_once = rows < plan->base_slab_rows ? rows : plan->base_slab_rows;
    if (engram_row_sample_read(inputs, options, sample)) {
        struct engram_filter_choice found;
        search.allowed = inputs->row_data.allowed == NULL ? NULL : sample->allowed;
        if (engram_prepare_choice(&sample->set, at_once, &search, &found) == ENGRAM_OK) {
            *choice = found;
        }
    }
}
