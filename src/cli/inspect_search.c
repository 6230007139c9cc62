#include "cli/inspect_search.h"

#include <math.h>
#include <stdio.h>

#include "cli/summary.h"
#include "job/foresee.h"
#include "job/predict_time.h"

/* One filter that was thought about. */
static void print_candidate(const char *name, const struct engram_filter_estimate *estimate,
                            double cheapest)
{
    if (estimate->why_not != NULL) {
        printf("  %-7s%s\n", name, estimate->why_not);
    } else if (estimate->cost > 0) {
        printf("  %-7s%.2g %% of the pairs to be scored, cost %.2f", name, 100 * estimate->share,
               estimate->cost / cheapest);
        printf(estimate->axes > 0 ? ", %d axes\n" : "\n", estimate->axes);
    }
}

static void print_candidates(const struct engram_filter_choice *choice)
{
    const struct engram_filter_estimate *all[] = {&choice->f32, &choice->integer, &choice->prefix};
    double cheapest = INFINITY;
    for (size_t i = 0; i < 3; i++) {
        if (all[i]->cost > 0 && all[i]->cost < cheapest) {
            cheapest = all[i]->cost;
        }
    }
    print_candidate("f32", &choice->f32, cheapest);
    print_candidate("int", &choice->integer, cheapest);
    print_candidate("prefix", &choice->prefix, cheapest);
}

/* "3.2 s", "12 min", "5.3 h", "40 days". */
static const char *time_text(double seconds, char text[32])
{
    if (seconds < 120) {
        snprintf(text, 32, seconds < 10 ? "%.2g s" : "%.0f s", seconds);
    } else if (seconds < 7200) {
        snprintf(text, 32, "%.0f min", seconds / 60);
    } else if (seconds < 48 * 3600) {
        snprintf(text, 32, "%.3g h", seconds / 3600);
    } else {
        snprintf(text, 32, "%.0f days", seconds / 86400);
    }
    return text;
}

static void print_time(const struct engram_time_prediction *time)
{
    char text[4][32];
    switch (time->kind) {
    case ENGRAM_TIME_SHORT:
        puts("time     under a second");
        break;
    case ENGRAM_TIME_UNKNOWN:
        puts("time     unknown: no rows could be tried");
        break;
    case ENGRAM_TIME_MEASURED:
        printf("time     %s %s (%s searching, %s reading%s; calibrated in %s)\n",
               time->least ? "at least" : "about", time_text(time->total, text[0]),
               time_text(time->search, text[1]), time_text(time->read, text[2]),
               time->least ? ", and writing what is found" : "",
               time_text(time->calibration, text[3]));
        break;
    }
}

/* Which filter, and why, and how long all will take. */
void engram_cli_print_search(const struct engram_inputs *inputs,
                             const struct engram_job_options *job, const struct engram_plan *plan)
{
    struct engram_filter_choice choice;
    struct engram_row_sample sample = {0};
    struct engram_time_prediction time;
    char pairs[32];
    (void)fflush(stdout); /* a large sample takes a moment */
    engram_job_foresee(inputs, job, plan, &sample, &choice);
    printf("filter   %s (%s)\n", engram_cli_filter_name(choice.filter),
           engram_cli_filter_reason(job->filter, choice.filter, choice.reason));
    print_candidates(&choice);
    engram_cli_format_count(pairs, plan->pairs);
    printf("work     %s%s pairs, %.3g GFLOP\n", plan->pairs == UINT64_MAX ? "more than " : "",
           pairs, plan->gflop);
    (void)fflush(stdout);
    engram_job_predict_time(inputs, job, plan, &choice, &sample, &time);
    print_time(&time);
    engram_row_sample_free(&sample);
}
