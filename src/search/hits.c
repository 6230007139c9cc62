#include "search/hits.h"

/* Below this, insertion sort wins over another partition. */
#define SMALL 16

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

/* Hoare partition around the median of three; count >= 3. Everything in [0, split) is not after
 * everything in [split, count); 0 < split < count. */
static size_t partition(struct engram_hit *hits, size_t count, struct engram_order order)
{
    struct engram_hit *middle = &hits[count / 2];
    struct engram_hit *last = &hits[count - 1];
    if (engram_hit_less(order, middle, &hits[0])) {
        swap(middle, &hits[0]);
    }
    if (engram_hit_less(order, last, middle)) {
        swap(last, middle);
        if (engram_hit_less(order, middle, &hits[0])) {
            swap(middle, &hits[0]);
        }
    }
    struct engram_hit pivot = *middle;
    size_t i = 0;
    size_t j = count - 1;
    for (;;) {
        while (engram_hit_less(order, &hits[i], &pivot)) {
            i++;
        }
        while (engram_hit_less(order, &pivot, &hits[j])) {
            j--;
        }
        if (i >= j) {
            return j + 1;
        }
        swap(&hits[i++], &hits[j--]);
    }
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

void engram_hits_select(struct engram_hit *hits, size_t count, size_t keep,
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
