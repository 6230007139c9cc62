/* What the tests of the compute layers share: random numbers with a printed seed, and the
 * canonical score written down once more, from the text of <engram/search.h> alone. */
#ifndef ENGRAM_TESTS_REFERENCE_H
#define ENGRAM_TESTS_REFERENCE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engram/search.h"

/* Sanitizers make everything many times slower: tests do less then. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#elif __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

static uint64_t random_state;

/* Prints the seed; ENGRAM_TEST_SEED repeats a run. */
static inline void random_start(void)
{
    const char *given = getenv("ENGRAM_TEST_SEED");
    struct timespec now;
    (void)timespec_get(&now, TIME_UTC);
    random_state = given != NULL ? strtoull(given, NULL, 0)
                                 : (uint64_t)now.tv_sec * 1000000007U + (uint64_t)now.tv_nsec;
    printf("ENGRAM_TEST_SEED=%llu\n", (unsigned long long)random_state);
    (void)fflush(stdout);
}

/* ENGRAM_TEST_LONG=1 (`make check`) asks for the long form of random sweeps. */
static inline bool long_tests(void)
{
    const char *given = getenv("ENGRAM_TEST_LONG");
    return given != NULL && strcmp(given, "1") == 0 && !UNDER_ASAN && !UNDER_TSAN;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t random_u64(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15U);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

static inline size_t random_below(size_t limit)
{
    return (size_t)(random_u64() % limit);
}

/* low .. high */
static inline int64_t random_in(int64_t low, int64_t high)
{
    return low + (int64_t)random_below((size_t)(high - low + 1));
}

/* [-1, 1) */
static inline double random_signed(void)
{
    return (double)(int64_t)(random_u64() >> 11) * 0x1p-52 - 1;
}

/* Bell-shaped is enough: nobody needs a true gaussian here. */
static inline double random_bell(void)
{
    return random_signed() + random_signed() + random_signed();
}

static inline double reference_sum(bool dot, const double *q, const double *x, size_t dim)
{
    double s[8] = {0};
    for (size_t i = 0; i < dim; i++) {
        double difference = q[i] - x[i];
        s[i % 8] += dot ? q[i] * x[i] : difference * difference;
    }
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static inline double reference_l1(const double *q, const double *x, size_t dim)
{
    double s[8] = {0};
    for (size_t i = 0; i < dim; i++) {
        s[i % 8] += fabs(q[i] - x[i]);
    }
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static inline bool reference_finite(const double *row, size_t dim)
{
    for (size_t i = 0; i < dim; i++) {
        if (!isfinite(row[i])) {
            return false;
        }
    }
    return true;
}

/* A copy of the row (to be freed), brought to [1, 2) by a power of two where the text says so. */
static inline double *reference_scaled(const double *row, size_t dim)
{
    double *copy = malloc((dim + 1) * sizeof *copy);
    double largest = 0;
    int exponent = 0;
    for (size_t i = 0; i < dim; i++) {
        largest = fmax(largest, fabs(row[i]));
    }
    if (largest != 0 && (largest > 0x1p240 || largest < 0x1p-240)) {
        exponent = -ilogb(largest);
    }
    for (size_t i = 0; i < dim; i++) {
        copy[i] = ldexp(row[i], exponent);
    }
    return copy;
}

/* Rows of zeros and ones. */
static inline double reference_bits(enum engram_metric metric, const double *q, const double *x,
                                    size_t dim)
{
    size_t different = 0;
    size_t both = 0;
    size_t either = 0;
    for (size_t i = 0; i < dim; i++) {
        bool a = q[i] != 0;
        bool b = x[i] != 0;
        different += a != b;
        both += a && b;
        either += a || b;
    }
    if (metric == ENGRAM_HAMMING) {
        return dim == 0 ? 0 : (double)different / (double)dim;
    }
    return either == 0 ? 0 : (double)both / (double)either;
}

static inline double reference_score(enum engram_metric metric, const double *q, const double *x,
                                     size_t dim)
{
    if (metric == ENGRAM_HAMMING || metric == ENGRAM_JACCARD) {
        return reference_bits(metric, q, x, dim);
    }
    if (metric == ENGRAM_IP) {
        return reference_sum(true, q, x, dim);
    }
    if (metric == ENGRAM_L1) {
        return reference_l1(q, x, dim);
    }
    if (metric != ENGRAM_COSINE) {
        double sum = reference_sum(false, q, x, dim);
        return metric == ENGRAM_L2 ? sqrt(sum) : sum;
    }
    double *a = reference_scaled(q, dim);
    double *b = reference_scaled(x, dim);
    double product = reference_sum(true, a, a, dim) * reference_sum(true, b, b, dim);
    double score = product == 0 ? 0 : reference_sum(true, a, b, dim) / sqrt(product);
    free(a);
    free(b);
    return fmin(1, fmax(-1, score));
}

static inline double reference_key(enum engram_metric metric, double score)
{
    bool one_less = metric == ENGRAM_COSINE || metric == ENGRAM_JACCARD;
    double key = one_less ? 1 - score : metric == ENGRAM_IP ? -score : score;
    return key == 0 ? 0 : key;
}

static inline bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static inline const char *const *metric_names(void)
{
    static const char *const names[] = {"cosine", "ip",      "l2",     "sqeuclidean",
                                        "l1",     "hamming", "jaccard"};
    return names;
}
#define FILTERS 5
#define METRICS 5 /* those of numbers */

/* Whether a filter goes with a metric of numbers, from the text of <engram/search.h>. */
static inline bool filter_fits(enum engram_filter filter, enum engram_metric metric)
{
    return metric != ENGRAM_L1 || filter <= ENGRAM_FILTER_F32;
}

/* Any filter that goes with the metric. */
static inline enum engram_filter any_filter(enum engram_metric metric)
{
    enum engram_filter filter = (enum engram_filter)random_below(FILTERS);
    return filter_fits(filter, metric) ? filter : ENGRAM_FILTER_AUTO;
}

#endif
