/* Pairs in runs, and the spool and journal that take them. */
#ifndef ENGRAM_TESTS_SPOOL_FIXTURE_H
#define ENGRAM_TESTS_SPOOL_FIXTURE_H

#include "h5_fixture.h"
#include "reference.h"

#include "base/pages.h"
#include "job/spool.h"

#define ROW_BITS 20

static struct engram_order order;

static int compare(const void *left, const void *right)
{
    const struct engram_hit *a = left;
    const struct engram_hit *b = right;
    int64_t query_a = a->tag >> ROW_BITS;
    int64_t query_b = b->tag >> ROW_BITS;
    double key_a = engram_key(order, a->score);
    double key_b = engram_key(order, b->score);
    if (query_a != query_b) {
        return query_a < query_b ? -1 : 1;
    }
    if (key_a != key_b) {
        return key_a < key_b ? -1 : 1;
    }
    return a->tag < b->tag ? -1 : a->tag > b->tag;
}

/* Pairs that all differ, in random order; few keys, so that there are ties. `hub`: most of them
 * are of one query. */
static struct engram_hit *make_pairs(size_t count, int64_t queries, bool hub)
{
    struct engram_hit *pairs = malloc((count + 1) * sizeof *pairs);
    assert_non_null(pairs);
    for (size_t i = 0; i < count; i++) {
        int64_t query = hub && random_below(10) > 0 ? queries / 2 : random_in(0, queries - 1);
        pairs[i].score = (double)random_in(-2, 2) / 4;
        pairs[i].tag = query << ROW_BITS | (int64_t)i;
    }
    for (size_t i = count; i > 1; i--) {
        size_t j = random_below(i);
        struct engram_hit swapped = pairs[j];
        pairs[j] = pairs[i - 1];
        pairs[i - 1] = swapped;
    }
    return pairs;
}

static struct engram_hit *sorted_copy(const struct engram_hit *pairs, size_t count)
{
    struct engram_hit *copy = malloc((count + 1) * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, pairs, count * sizeof *copy);
    qsort(copy, count, sizeof *copy, compare);
    return copy;
}

#define FIRST_QUERY 100
#define FIRST_ROW 1000

static struct engram_spool_options options_for(int64_t queries, size_t memory)
{
    return (struct engram_spool_options){.folder = fixture_folder,
                                         .tmpdir = fixture_folder,
                                         .metric = ENGRAM_COSINE,
                                         .first_query = FIRST_QUERY,
                                         .queries = queries,
                                         .first_row = FIRST_ROW,
                                         .rows = (int64_t)1 << ROW_BITS,
                                         .memory = memory,
                                         .log = fixture_logger};
}

/* A run of these pairs as a search gives it: numbered from `query` and `row` on. */
static struct engram_run make_run(const struct engram_hit *pairs, size_t count, int64_t query,
                                  int64_t row)
{
    struct engram_run run = {.count = count,
                             .bytes = count * sizeof *run.hits,
                             .first_query = FIRST_QUERY + query,
                             .first_row = FIRST_ROW + row};
    run.hits = engram_pages_alloc(run.bytes);
    assert_non_null(run.hits);
    memcpy(run.hits, pairs, run.bytes);
    qsort(run.hits, count, sizeof *run.hits, compare);
    for (size_t i = 0; i < count; i++) {
        int64_t tag = run.hits[i].tag;
        run.hits[i].tag =
            ENGRAM_HIT_TAG((tag >> ROW_BITS) - query, (tag & (((int64_t)1 << ROW_BITS) - 1)) - row);
    }
    return run;
}

static void take(struct engram_spool *spool, struct engram_run run)
{
    assert_int_equal(engram_spool_take(spool, &run), ENGRAM_OK);
    engram_pages_free(run.hits, run.bytes);
}

/* The journal of OUTPUT in the fixture's folder, made where it is not there. */
static struct engram_journal *open_journal(void)
{
    char output[600];
    struct engram_journal *journal = NULL;
    snprintf(output, sizeof output, "%s/out.h5", fixture_folder);
    const struct engram_journal_options options = {
        .output = output, .identity = "pairs", .log = fixture_logger};
    assert_int_equal(engram_journal_open(&options, &journal), ENGRAM_OK);
    return journal;
}

/* Everything that comes out of the spool is `expected`. */
static void check_answers(struct engram_spool *spool, const struct engram_hit *expected,
                          size_t count, int64_t queries)
{
    int64_t *counts = calloc((size_t)queries + 1, sizeof *counts);
    struct engram_hit hits[333];
    size_t some = 0;
    size_t used = 0;
    assert_non_null(counts);
    assert_int_equal(engram_spool_total(spool), (int64_t)count);
    do {
        assert_int_equal(engram_spool_read(spool, hits, 1 + random_below(333), &some), ENGRAM_OK);
        assert_true(some <= count - used);
        for (size_t i = 0; i < some; i++, used++) {
            int64_t tag = expected[used].tag;
            assert_true(same_bits(hits[i].score, expected[used].score));
            assert_int_equal(hits[i].tag, FIRST_ROW + (tag & (((int64_t)1 << ROW_BITS) - 1)));
            counts[tag >> ROW_BITS]++;
        }
    } while (some > 0);
    assert_int_equal(used, count);
    for (int64_t q = 0; q < queries; q++) {
        assert_int_equal(engram_spool_count(spool, q), counts[q]);
    }
    free(counts);
}

#endif
