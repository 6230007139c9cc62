/* What collectors do that guess no limits and need one round. */
#include "search/collector.h"

size_t engram_collector_keeps_none(const struct engram_collector *collector)
{
    (void)collector;
    return 0;
}

bool engram_collector_no_sample(void *state, double share)
{
    (void)state;
    (void)share;
    return false;
}

void engram_collector_not_sampled(void *state, double *limit)
{
    (void)state;
    (void)limit;
}

bool engram_collector_finished(void *state, double *limit)
{
    (void)state;
    (void)limit;
    return true;
}

void engram_collector_failed(const struct engram_collector *collector,
                             const struct engram_item *item)
{
    (void)collector;
    (void)item;
}

bool engram_collector_wants_all(const struct engram_collector *collector, struct engram_item *item)
{
    (void)collector;
    (void)item;
    return true;
}

enum engram_status engram_collector_once(struct engram_collector *collector, bool *again)
{
    (void)collector;
    *again = false;
    return ENGRAM_OK;
}
