/* A job with many pairs that is killed again and again: whatever was in memory, in the journal or
 * half written then, every pair comes out once in the end. */
#define _GNU_SOURCE
#include "spool_fixture.h"

#define QUERIES 200

/* One process of the job. */
struct session {
    struct engram_journal *journal;
    struct engram_spool *spool;
    struct engram_done done;
    struct engram_done unsaved;
};

static struct session start(const struct engram_spool_options *options)
{
    struct session s = {.journal = open_journal()};
    assert_int_equal(engram_spool_create(options, &s.spool), ENGRAM_OK);
    engram_spool_attach(s.spool, s.journal);
    for (size_t i = 0; i < engram_journal_count(s.journal); i++) {
        const struct engram_record *record = engram_journal_record(s.journal, i);
        const struct engram_unit unit = {{record->queries[0], record->queries[1]},
                                         {record->base[0], record->base[1]}};
        if (record->kind == ENGRAM_RECORD_DONE) {
            assert_int_equal(engram_done_add(&s.done, &unit, NULL), ENGRAM_OK);
        }
    }
    assert_int_equal(engram_spool_load(s.spool, &s.done), ENGRAM_OK);
    return s;
}

/* What the process held is gone; its file is not. */
static void end(struct session *s, bool finished)
{
    engram_spool_free(s->spool);
    engram_journal_close(s->journal, finished);
    engram_done_free(&s->done);
    engram_done_free(&s->unsaved);
}

/* A save; `torn`: it may end anywhere. */
static void save(struct session *s, bool torn)
{
    assert_int_equal(engram_spool_save(s->spool), ENGRAM_OK);
    for (size_t i = 0; i < s->unsaved.count; i++) {
        const struct engram_unit *unit = &s->unsaved.units[i];
        const struct engram_record record = {.kind = ENGRAM_RECORD_DONE,
                                             .queries = {unit->queries[0], unit->queries[1]},
                                             .base = {unit->base[0], unit->base[1]}};
        if (torn && random_below(3) == 0) {
            return;
        }
        assert_int_equal(engram_journal_append(s->journal, &record, NULL, 0), ENGRAM_OK);
    }
    assert_int_equal(engram_journal_commit(s->journal), ENGRAM_OK);
    engram_done_free(&s->unsaved);
}

/* The pairs of a unit; some of its queries have none. */
static size_t pairs_of(const struct engram_hit *all, size_t count, const struct engram_unit *unit,
                       struct engram_hit *pairs)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t query = all[i].tag >> ROW_BITS;
        int64_t row = all[i].tag & (((int64_t)1 << ROW_BITS) - 1);
        if (query >= unit->queries[0] && query < unit->queries[1] && row >= unit->base[0] &&
            row < unit->base[1]) {
            pairs[found++] = all[i];
        }
    }
    return found;
}

/* Gives the pairs of a unit in some runs, or only the first of them. */
static void answer(struct session *s, const struct engram_hit *pairs, size_t count, bool all)
{
    for (size_t at = 0; at < count && (all || random_below(4) > 0);) {
        size_t some = 1 + random_below(count - at);
        take(s->spool, make_run(pairs + at, some, 0, 0));
        at += some;
    }
}

/* Works until all is done (true), or until it is killed. */
static bool work(struct session *s, const struct engram_hit *all, size_t count,
                 struct engram_hit *room)
{
    const int64_t rows = (int64_t)1 << ROW_BITS;
    const struct engram_unit everything = {{0, QUERIES}, {0, rows}};
    struct engram_unit unit;
    while (engram_done_left(&s->done, &everything, &unit)) {
        if (random_below(2) == 0) {
            unit.queries[1] = random_in(unit.queries[0] + 1, unit.queries[1]);
        }
        if (random_below(3) == 0) { /* another job's slabs */
            unit.base[1] = random_in(unit.base[0] + 1, unit.base[1]);
        }
        size_t found = pairs_of(all, count, &unit, room);
        bool killed = random_below(6) == 0;
        engram_spool_unit(s->spool, &unit);
        answer(s, room, found, !killed);
        if (killed) {
            if (random_below(2) == 0) {
                save(s, true); /* a signal */
            }
            return false;
        }
        engram_spool_unit(s->spool, NULL);
        assert_int_equal(engram_done_add(&s->done, &unit, NULL), ENGRAM_OK);
        assert_int_equal(engram_done_add(&s->unsaved, &unit, NULL), ENGRAM_OK);
        if (random_below(3) == 0) {
            bool torn = random_below(4) == 0;
            save(s, torn);
            if (torn) {
                return false;
            }
        }
    }
    return random_below(3) > 0; /* or killed while OUTPUT is written */
}

static void test_kills(void **state)
{
    (void)state;
    size_t usual_fan = engram_spool_fan_in;
    size_t usual_record = engram_spool_record_pairs;
    order = engram_metric_order(ENGRAM_COSINE);
    for (int trial = 0; trial < (UNDER_ASAN ? 30 : 150); trial++) {
        size_t count = random_below(5000);
        struct engram_hit *pairs = make_pairs(count, QUERIES, trial % 2 == 0);
        struct engram_hit *expected = sorted_copy(pairs, count);
        struct engram_hit *room = malloc((count + 1) * sizeof *room);
        bool finished = false;
        assert_non_null(room);
        while (!finished) {
            /* Memory may change between runs. */
            static const size_t MEMORY[] = {0, 16, 5000, 100000, (size_t)1 << 30};
            struct engram_spool_options options = options_for(QUERIES, MEMORY[random_below(5)]);
            struct session s = start(&options);
            engram_spool_fan_in = (size_t[]){0, 2, 5}[random_below(3)];
            engram_spool_record_pairs = random_below(2) == 0 ? 10 : usual_record;
            finished = work(&s, pairs, count, room);
            if (finished) {
                check_answers(s.spool, expected, count, QUERIES);
            }
            end(&s, finished);
            fixture_clear();
        }
        free(pairs);
        free(expected);
        free(room);
    }
    engram_spool_fan_in = usual_fan;
    engram_spool_record_pairs = usual_record;
}

/* A record that is none of this job's is refused. */
static void test_other_pairs(void **state)
{
    (void)state;
    const struct engram_unit all = {{0, QUERIES}, {0, (int64_t)1 << ROW_BITS}};
    struct engram_spool_options options = options_for(QUERIES, 1000);
    const struct engram_hit wrong[][2] = {
        {{0, (int64_t)QUERIES << ROW_BITS}, {0, 1}}, /* no such query */
        {{0, 5}, {0, 4}},                            /* out of order */
        {{0, 5}, {0, 5}},                            /* twice */
        {{0, 0}, {0, -1}},
    };
    order = engram_metric_order(ENGRAM_COSINE);
    for (size_t i = 0; i < 4; i++) {
        struct engram_spool *spool = NULL;
        struct engram_done done = {0};
        struct engram_journal *journal = open_journal();
        const struct engram_record record = {.kind = ENGRAM_RECORD_RUN,
                                             .queries = {0, QUERIES},
                                             .base = {0, (int64_t)1 << ROW_BITS},
                                             .bytes = sizeof wrong[i] - i % 2};
        assert_int_equal(engram_journal_append(journal, &record, wrong[i], sizeof wrong[i] - i % 2),
                         ENGRAM_OK);
        assert_int_equal(engram_done_add(&done, &all, NULL), ENGRAM_OK);
        assert_int_equal(engram_spool_create(&options, &spool), ENGRAM_OK);
        engram_spool_attach(spool, journal);
        assert_int_equal(engram_spool_load(spool, &done), ENGRAM_ERR_CANT_CREATE);
        assert_logged("--from-scratch");
        engram_spool_free(spool);
        engram_journal_close(journal, true);
        engram_done_free(&done);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kills),
        cmocka_unit_test(test_other_pairs),
    };
    random_start();
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
