#include "search/hits.h"

#include <string.h>

/* Below this, insertion sort wins over another partition. */
#define SMALL 16

/* From so many on hits are first spread over buckets: so many a hit, because keys crowd where the
 * list ends, but at most this many. */
#define SPREAD_FROM 64
#define BUCKETS_EACH 4
#define BUCKETS_MAX 4096

static inline void swap(struct engram_hit *a, struct engram_hit *b)
{
    struct engram_hit t = *a;
    *a = *b;
    *b = t;
}

static void insertion_sort(struct engram_hit *hits, size_t count, struct engram_order order)
{
    for (size_t i = 1; i < count; i++) {
        struct engram_hit moving = hits[i];
        size_t j = i;
        for (; j > 0 && engram_hit_less(order, &moving, &hits[j - 1]); j--) {
            hits[j] = hits[j - 1];
        }
        hits[j] = moving;
    }
}

static void sift_down(struct engram_hit *hits, size_t root, size_t count, struct engram_order order)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && engram_hit_less(order, &hits[child], &hits[child + 1])) {
            child++;
        }
        if (!engram_hit_less(order, &hits[root], &hits[child])) {
            return;
        }
        swap(&hits[root], &hits[child]);
    }
}

/* The way out when partitioning goes badly. */
static void heap_sort(struct engram_hit *hits, size_t count, struct engram_order order)
{
    for (size_t root = count / 2; root-- > 0;) {
        sift_down(hits, root, count, order);
    }
    for (size_t end = count; end-- > 1;) {
        swap(&hits[0], &hits[end]);
        sift_down(hits, 0, end, order);
    }
}

/* engram_hit_less(order, hit, pivot), without a branch: half of the time it would be predicted
 * wrongly. */
static inline bool before(struct engram_order order, const struct engram_hit *hit,
                          const struct engram_hit *pivot, double pivot_key)
{
    double key = engram_key(order, hit->score);
    return (key < pivot_key) | ((key == pivot_key) & (hit->tag < pivot->tag));
}

/* Lomuto partition around the median of three; count >= 3. Everything in [0, split) is before
 * everything in [split, count), or equal to it; 0 < split < count. */
static size_t partition(struct engram_hit *hits, size_t count, struct engram_order order)
{
    struct engram_hit *middle = &hits[count / 2];
    struct engram_hit *last = &hits[count - 1];
    if (engram_hit_less(order, middle, &hits[0])) {
        swap(middle, &hits[0]);
    }
    if (engram_hit_less(order, middle, last)) {
        swap(middle, last);
    } else if (engram_hit_less(order, last, &hits[0])) {
        swap(last, &hits[0]);
    }
    const struct engram_hit pivot = *last; /* and the first is not after it */
    double key = engram_key(order, pivot.score);
    size_t split = 1;
    for (size_t i = 1; i + 1 < count; i++) {
        size_t next = split + before(order, &hits[i], &pivot, key);
        swap(&hits[i], &hits[split]);
        split = next;
    }
    swap(&hits[split], last);
    return split;
}

/* Bad partitions allowed before the heap takes over: 2 log2(count). */
static unsigned patience_for(size_t count)
{
    unsigned bits = 0;
    for (; count > 1; count >>= 1) {
        bits++;
    }
    return 2 * bits;
}

static void quick_sort(struct engram_hit *hits, size_t count, struct engram_order order,
                       unsigned patience)
{
    while (count > SMALL) {
        if (patience-- == 0) {
            heap_sort(hits, count, order);
            return;
        }
        size_t split = partition(hits, count, order);
        /* Recurse into the shorter part: the stack stays logarithmic. */
        if (split < count - split) {
            quick_sort(hits, split, order, patience);
            hits += split;
            count -= split;
        } else {
            quick_sort(hits + split, count - split, order, patience);
            count = split;
        }
    }
    insertion_sort(hits, count, order);
}

void engram_hits_sort(struct engram_hit *hits, size_t count, struct engram_order order)
{
    quick_sort(hits, count, order, patience_for(count));
}

/* ---- buckets: no comparison, so none that is predicted wrongly
 *
 * bucket = floor((key - low) scale). Both operations are monotone, rounded as they are, so hits of
 * a lower bucket come before those of a higher one. Where keys crowd into few buckets the comparing
 * methods below finish the work. */
struct spread {
    struct engram_order order;
    double low;
    double scale;
    size_t buckets;
    uint32_t counts[BUCKETS_MAX];
};

static inline size_t bucket_of(const struct spread *spread, const struct engram_hit *hit)
{
    return (uint32_t)(int32_t)((engram_key(spread->order, hit->score) - spread->low) *
                               spread->scale);
}

/* False: the keys do not lend themselves to it. */
static bool spread_out(struct spread *spread, const struct engram_hit *hits, size_t count,
                       struct engram_order order)
{
    if (count < SPREAD_FROM || count > UINT32_MAX) {
        return false;
    }
    double low = engram_key(order, hits[0].score);
    double high = low;
    for (size_t i = 1; i < count; i++) {
        double key = engram_key(order, hits[i].score);
        low = key < low ? key : low;
        high = key > high ? key : high;
    }
    spread->order = order;
    spread->low = low;
    spread->buckets = count * BUCKETS_EACH < BUCKETS_MAX ? count * BUCKETS_EACH : BUCKETS_MAX;
    spread->scale = (double)(spread->buckets - 1) / (high - low);
    /* Equal keys, differences that overflow, or quotients that do. */
    if (!(spread->scale > 0 && spread->scale <= 0x1p1000 && high - low <= 0x1p1000)) {
        return false;
    }
    memset(spread->counts, 0, spread->buckets * sizeof *spread->counts);
    for (size_t i = 0; i < count; i++) {
        spread->counts[bucket_of(spread, &hits[i])]++;
    }
    return true;
}

static void quick_select(struct engram_hit *hits, size_t count, size_t keep,
                         struct engram_order order)
{
    unsigned patience = patience_for(count);
    while (keep > 0 && keep < count) {
        if (count <= SMALL) {
            insertion_sort(hits, count, order);
            return;
        }
        if (patience-- == 0) {
            heap_sort(hits, count, order);
            return;
        }
        size_t split = partition(hits, count, order);
        if (keep < split) {
            count = split;
        } else {
            hits += split;
            count -= split;
            keep -= split;
        }
    }
}

void engram_hits_select(struct engram_hit *hits, size_t count, size_t keep,
                        struct engram_order order)
{
    struct spread spread;
    if (keep == 0 || keep >= count) {
        return;
    }
    if (!spread_out(&spread, hits, count, order)) {
        quick_select(hits, count, keep, order);
        return;
    }
    size_t last = 0;  /* the bucket that holds the worst hit that stays */
    size_t below = 0; /* hits before it */
    while (below + spread.counts[last] < keep) {
        below += spread.counts[last++];
    }
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        struct engram_hit hit = hits[i];
        hits[left] = hit;
        left += bucket_of(&spread, &hit) <= last;
    }
    if (left == keep) {
        return;
    }
    /* Those of the last bucket behind the others; some of them stay. */
    for (size_t i = left, end = left; end > below;) {
        if (bucket_of(&spread, &hits[--i]) == last) {
            swap(&hits[i], &hits[--end]);
        }
    }
    quick_select(hits + below, left - below, keep - below, order);
}

/* The first bucket with which there are `keep` hits; counts[] up to it become where each begins. */
static size_t place_buckets(struct spread *spread, size_t keep)
{
    uint32_t first = 0;
    size_t b = 0;
    for (; first + spread->counts[b] < keep; b++) {
        uint32_t next = first + spread->counts[b];
        spread->counts[b] = first;
        first = next;
    }
    spread->counts[b] = first;
    return b;
}

/* Sorts what lies in order of buckets; counts[] is where each of buckets [0, end) ends. */
static void sort_buckets(const struct spread *spread, size_t end, struct engram_hit *hits,
                         size_t count)
{
    uint32_t first = 0;
    for (size_t b = 0; b < end; b++) {
        size_t size = spread->counts[b] - first;
        if (size > SMALL) {
            quick_sort(hits + first, size, spread->order, patience_for(size));
        }
        first = spread->counts[b];
    }
    insertion_sort(hits, count, spread->order);
}

size_t engram_hits_best_to(struct engram_hit *hits, size_t count, size_t keep,
                           struct engram_order order, struct engram_hit *out)
{
    struct spread spread;
    keep = keep < count ? keep : count;
    if (keep == 0) {
        return 0;
    }
    if (!spread_out(&spread, hits, count, order)) {
        quick_select(hits, count, keep, order);
        memcpy(out, hits, keep * sizeof *out);
        engram_hits_sort(out, keep, order);
        return keep;
    }
    const size_t last = place_buckets(&spread, keep);
    const size_t below = spread.counts[last]; /* hits that stay whatever the last bucket holds */
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        struct engram_hit hit = hits[i];
        hits[left] = hit;
        left += bucket_of(&spread, &hit) <= last;
    }
    size_t edge = 0; /* hits of the last bucket; they gather in front */
    for (size_t i = 0; i < left; i++) {
        struct engram_hit hit = hits[i];
        size_t bucket = bucket_of(&spread, &hit);
        if (bucket == last) {
            hits[edge++] = hit;
        } else {
            out[spread.counts[bucket]++] = hit;
        }
    }
    quick_select(hits, edge, keep - below, order);
    memcpy(out + below, hits, (keep - below) * sizeof *out);
    spread.counts[last] = (uint32_t)keep;
    sort_buckets(&spread, last + 1, out, keep);
    return keep;
}
