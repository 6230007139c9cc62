/* In which order a block looks at its segment of the base. */
#include "search/block_internal.h"

/* Scoring a survivor by itself costs about three times what a pair costs in a canonical tile. When
 * more than one pair in three survives, the next blocks are scored in tiles, without the filter;
 * then it gets another chance. */
#define HEAVY_SHARE 3
#define HEAVY_BLOCKS 8

/* .. but not before so many times the buffered answers were seen: until then the limits are far
 * from their final place. */
#define SETTLED 64

/* A sample of panels, from which the collector learns limits, is looked at first: of every
 * SAMPLE_PERIOD panels the first, then those that make it SAMPLE_GROWTH times as large, and so on.
 * Each level is scanned with the limits that the one before taught, and teaches tighter ones. With
 * fewer panels than SAMPLE_PANELS_MIN a sample tells too little. */
#define SAMPLE_PERIOD 64
#define SAMPLE_GROWTH 4
#define SAMPLE_PANELS_MIN 128

/* A filtered scan under way. */
struct scan {
    int64_t width; /* rows of a panel */
    size_t most;   /* panels of a step */
    size_t begin;  /* panels of the segment */
    size_t end;
    uint64_t settled; /* rows to be seen before the share of survivors means anything */
    uint64_t seen;
    int heavy; /* steps still to go without the filter */
};

/* Where the scan begins: under symmetry rows before the block that are queries, too, look at the
 * block's themselves. */
static void skip_other_half(struct engram_block *b)
{
    const struct engram_collector *collector = b->context->collector;
    const int64_t base = collector->base_first_row;
    const int64_t query = engram_block_first_query_row(b);
    b->first_row = b->item->first_row;
    if (!collector->symmetric || base + query < collector->both[0] ||
        base + query + (int64_t)b->queries > collector->both[1] ||
        base + b->first_row < collector->both[0]) {
        return;
    }
    int64_t first = query / 64 * 64; /* whole panels of every filter */
    if (first > b->first_row) {
        int64_t last = first < b->item->last_row ? first : b->item->last_row;
        engram_block_report(b, b->first_row, last);
        b->first_row = last;
    }
}

/* All rows before `next_row` were looked at: whether the collector can take more. */
static bool go_on(const struct engram_block *b, int64_t next_row)
{
    const struct engram_collector_ops *ops = b->context->collector->ops;
    return ops->step == NULL || ops->step(b->collected, next_row);
}

/* One step of the filtered scan: panels [panel, panel + panels); the next begins with `next`. */
static void scan_step(struct engram_block *b, struct scan *scan, size_t panel, size_t panels,
                      size_t next)
{
    const struct engram_filter_ops *filter = b->context->filter;
    int64_t first = (int64_t)panel * scan->width;
    int64_t last = (int64_t)(panel + panels) * scan->width;
    first = first > b->first_row ? first : b->first_row;
    last = last < b->item->last_row ? last : b->item->last_row;
    scan->seen += (uint64_t)(last - first);
    if (scan->heavy > 0) {
        (void)engram_block_score_waiting(b);
        engram_block_score_all(b, first, last);
        scan->heavy--;
    } else {
        if (filter->announce != NULL) {
            filter->announce(b->filtered, next, panels);
        }
        uint64_t scored = engram_block_score_panels(b, panel, panels);
        uint64_t pairs = (uint64_t)(last - first) * b->queries;
        scan->heavy =
            scan->seen >= scan->settled && scored > pairs / HEAVY_SHARE ? HEAVY_BLOCKS : 0;
    }
    engram_block_report(b, first, last);
}

/* Panels [first, last) in steps that double from `step` on; `next` comes after them. */
static enum engram_status scan_run(struct engram_block *b, struct scan *scan, size_t first,
                                   size_t last, size_t step, size_t next)
{
    while (first < last) {
        size_t panels = last - first < step ? last - first : step;
        if (engram_request_cancelled(b->context->request)) {
            return ENGRAM_ERR_CANCELLED;
        }
        scan_step(b, scan, first, panels, first + panels < last ? first + panels : next);
        first += panels;
        if (!go_on(b, (int64_t)first * scan->width)) {
            break;
        }
        step = step * 2 < scan->most ? step * 2 : scan->most;
    }
    return ENGRAM_OK;
}

/* Panels [from, to) of every SAMPLE_PERIOD. They lie all over the segment, because sets are often
 * ordered (by frequency, by class). */
static enum engram_status scan_level(struct engram_block *b, struct scan *scan, size_t from,
                                     size_t to, size_t step)
{
    enum engram_status status = ENGRAM_OK;
    for (size_t p = scan->begin; p + from < scan->end && status == ENGRAM_OK; p += SAMPLE_PERIOD) {
        size_t last = scan->end - p < to ? scan->end : p + to;
        status = scan_run(b, scan, p + from, last, step, p + SAMPLE_PERIOD + from);
    }
    return status;
}

/* Samples that grow, as long as the collector has a use for another; then the rest. */
static enum engram_status scan_sampled(struct engram_block *b, struct scan *scan)
{
    const struct engram_collector_ops *ops = b->context->collector->ops;
    enum engram_status status = ENGRAM_OK;
    size_t from = 0;
    size_t to = 1;
    do {
        status = scan_level(b, scan, from, to, from == 0 ? 1 : scan->most);
        (void)engram_block_score_waiting(b);
        ops->sampled(b->collected, b->limit);
        engram_block_start_pass(b);
        from = to;
        to *= SAMPLE_GROWTH;
    } while (status == ENGRAM_OK && to < SAMPLE_PERIOD &&
             ops->sample(b->collected, (double)to / SAMPLE_PERIOD));
    return status == ENGRAM_OK ? scan_level(b, scan, from, SAMPLE_PERIOD, scan->most) : status;
}

/* One filtered scan. Without a sample, steps start with a single panel, because until there are
 * limits everything survives. */
static enum engram_status scan_filtered(struct engram_block *b, bool may_sample)
{
    const struct engram_collector *collector = b->context->collector;
    struct scan scan = {
        .width = (int64_t)b->context->filter->panel_rows(b->context->prepared),
        .most = collector->tiling.block_panels,
        .settled = SETTLED * collector->ops->kept(collector),
    };
    scan.begin = (size_t)(b->first_row / scan.width);
    scan.end = (size_t)((b->item->last_row + scan.width - 1) / scan.width);
    size_t panels = scan.end > scan.begin ? scan.end - scan.begin : 0;
    if (may_sample && panels >= SAMPLE_PANELS_MIN &&
        collector->ops->sample(b->collected, 1.0 / SAMPLE_PERIOD)) {
        return scan_sampled(b, &scan);
    }
    return scan_run(b, &scan, scan.begin, scan.end, 1, scan.end);
}

static enum engram_status scan_all(struct engram_block *b)
{
    for (int64_t r = b->first_row; r < b->item->last_row; r += ENGRAM_CANONICAL_ROWS) {
        int64_t last = r + ENGRAM_CANONICAL_ROWS;
        last = last < b->item->last_row ? last : b->item->last_row;
        if (engram_request_cancelled(b->context->request)) {
            return ENGRAM_ERR_CANCELLED;
        }
        engram_block_score_all(b, r, last);
        engram_block_report(b, r, last);
        if (!go_on(b, last)) {
            break;
        }
    }
    return ENGRAM_OK;
}

enum engram_status engram_block_scan(struct engram_block *b)
{
    const struct engram_collector_ops *ops = b->context->collector->ops;
    enum engram_status status = ENGRAM_OK;
    bool again = true;

    skip_other_half(b);
    for (bool first = true; again && status == ENGRAM_OK; first = false) {
        engram_block_start_pass(b);
        status = b->context->filter != NULL ? scan_filtered(b, first) : scan_all(b);
        if (status == ENGRAM_OK) {
            (void)engram_block_score_waiting(b);
        }
        /* Some queries may have guessed their limit wrong: once more, for them, without. */
        again = status == ENGRAM_OK && !ops->finish(b->collected, b->limit);
    }
    return status;
}
