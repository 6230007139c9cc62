#include "search/tiling.h"

/* Panels of one base block: less than half of the smallest L2 in use today (512 KiB), the rest is
 * for strips, candidates and, as it arrives, the next block. */
#define BLOCK_BYTES ((size_t)192 << 10)
#define BLOCK_PANELS_MAX 32

/* Packed queries of an item: they stay in L2 as well, where that has 1 MiB; below, some come from
 * L3. */
#define STRIPS_BYTES ((size_t)512 << 10)

/* Queries of an item. A base block comes from memory once an item, and so do the rows of
 * candidates; 96 queries mean 48 flop a byte, which one core's share of memory bandwidth can feed.
 * It still costs as much as BASE_QUERIES more: with 100 dimensions searching took 1.06 times as
 * long with 168 queries as with 672 for k = 10, 1.08 for k = 100, 1.14 for k = 1000. So there are
 * more than STRIPS_FEW strips where every thread has several items all the same. */
#define QUERIES_MAX 768
#define BASE_QUERIES 12
#define STRIPS_FEW 20
#define STRIPS_GOOD 12

/* Scratch of an item: for wide queries and strips, and for answers. These are written in order, a
 * cache line a query at a time, and need not stay in a cache. */
#define ITEM_BYTES ((size_t)4 << 20)
#define KEPT_BYTES ((size_t)8 << 20)

/* A segment below this is all warm-up: thresholds have no time to tighten. */
#define SEGMENT_ROWS_MIN 2048
#define ITEMS_PER_THREAD 4

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static size_t at_most(size_t value, size_t most)
{
    return value < most ? value : most;
}

/* Strips an item may have for its scratch to stay within bounds; at least one. */
static int64_t strips_that_fit(const struct engram_tiling_input *input)
{
    const size_t width = input->strip;
    size_t per_query =
        input->dim * sizeof(double) + input->row_bytes + ENGRAM_CANONICAL_ROWS * sizeof(double);
    size_t strips = at_most(QUERIES_MAX / width, ITEM_BYTES / (per_query * width));
    if (input->kept > 0) {
        strips = at_most(strips, KEPT_BYTES / 16 / input->kept / width);
    }
    if (input->row_bytes > 0) {
        strips = at_most(strips, STRIPS_BYTES / (input->row_bytes * width));
    } else {
        strips = at_most(strips, STRIPS_FEW);
    }
    return strips < 1 ? 1 : (int64_t)strips;
}

/* Among the good sizes, the one whose busiest thread has the least to do: queries, and for each
 * item the base it reads. */
static int64_t balanced_strips(const struct engram_tiling_input *input, int64_t strips,
                               int64_t most)
{
    int64_t best = most;
    int64_t best_load = INT64_MAX;
    for (int64_t s = most; s >= (most < STRIPS_GOOD ? most : STRIPS_GOOD); s--) {
        int64_t items = ceil_div(strips, s);
        int64_t load = ceil_div(items, input->threads) * (s * (int64_t)input->strip + BASE_QUERIES);
        if (s > STRIPS_FEW && items < (int64_t)input->threads * ITEMS_PER_THREAD) {
            continue;
        }
        if (load < best_load) {
            best = s;
            best_load = load;
        }
    }
    return best;
}

struct engram_tiling engram_tiling_make(const struct engram_tiling_input *input)
{
    struct engram_tiling tiling = {0};
    int64_t strips = ceil_div(input->queries > 0 ? input->queries : 1, (int64_t)input->strip);
    int64_t most = strips_that_fit(input);
    int64_t item_strips = balanced_strips(input, strips, most < strips ? most : strips);

    tiling.block_queries = (size_t)item_strips * input->strip;
    tiling.blocks = ceil_div(input->queries, (int64_t)tiling.block_queries);

    size_t panel_bytes = input->panel * (input->row_bytes > 0 ? input->row_bytes : 1);
    size_t panels = BLOCK_BYTES / panel_bytes;
    tiling.block_panels = panels < 1 ? 1 : panels > BLOCK_PANELS_MAX ? BLOCK_PANELS_MAX : panels;

    int64_t wanted =
        ceil_div((int64_t)input->threads * ITEMS_PER_THREAD, tiling.blocks > 0 ? tiling.blocks : 1);
    int64_t possible = input->rows / SEGMENT_ROWS_MIN;
    tiling.segments = wanted < possible ? wanted : possible;
    if (tiling.segments < 1 || input->threads == 1 ||
        tiling.blocks >= (int64_t)input->threads * ITEMS_PER_THREAD) {
        tiling.segments = 1;
    }
    /* 64 rows: a byte boundary of the live bits and a whole panel of every kernel set. */
    tiling.segment_rows = ceil_div(ceil_div(input->rows, tiling.segments), 64) * 64;
    tiling.segments = tiling.segment_rows == 0 ? 0 : ceil_div(input->rows, tiling.segment_rows);
    return tiling;
}
