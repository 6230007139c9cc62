#define _GNU_SOURCE
#include "job/done.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static bool is_empty(const struct engram_unit *unit)
{
    return unit->queries[0] >= unit->queries[1] || unit->base[0] >= unit->base[1];
}

static bool contains(const int64_t outer[2], const int64_t inner[2])
{
    return outer[0] <= inner[0] && inner[1] <= outer[1];
}

static bool equal(const int64_t a[2], const int64_t b[2])
{
    return a[0] == b[0] && a[1] == b[1];
}

static bool touch(const int64_t a[2], const int64_t b[2])
{
    return a[0] <= b[1] && b[0] <= a[1];
}

static bool overlap(const int64_t a[2], const int64_t b[2])
{
    return a[0] < b[1] && b[0] < a[1];
}

static void widen(int64_t a[2], const int64_t b[2])
{
    a[0] = b[0] < a[0] ? b[0] : a[0];
    a[1] = b[1] > a[1] ? b[1] : a[1];
}

/* Whether `unit` and another one are a rectangle together; then it becomes that. */
static bool join(struct engram_unit *unit, const struct engram_unit *other)
{
    if (contains(unit->queries, other->queries) && contains(unit->base, other->base)) {
        return true;
    }
    if (contains(other->queries, unit->queries) && contains(other->base, unit->base)) {
        *unit = *other;
        return true;
    }
    if (equal(unit->base, other->base) && touch(unit->queries, other->queries)) {
        widen(unit->queries, other->queries);
        return true;
    }
    if (equal(unit->queries, other->queries) && touch(unit->base, other->base)) {
        widen(unit->base, other->base);
        return true;
    }
    return false;
}

enum engram_status engram_done_add(struct engram_done *done, const struct engram_unit *unit,
                                   const struct engram_log *log)
{
    struct engram_unit whole = *unit;
    if (is_empty(unit)) {
        return ENGRAM_OK;
    }
    /* Each join may make another one possible. */
    for (size_t i = 0; i < done->count;) {
        if (join(&whole, &done->units[i])) {
            done->units[i] = done->units[--done->count];
            i = 0;
        } else {
            i++;
        }
    }
    if (done->count == done->room) {
        size_t room = done->room == 0 ? 16 : 2 * done->room;
        struct engram_unit *more = reallocarray(done->units, room, sizeof *more);
        if (more == NULL) {
            return engram_fail(log, ENGRAM_ERR_RESOURCE,
                               "not enough memory for the list of units that are done");
        }
        done->units = more;
        done->room = room;
    }
    done->units[done->count++] = whole;
    return ENGRAM_OK;
}

static bool covers(const struct engram_unit *unit, int64_t query)
{
    return unit->queries[0] <= query && query < unit->queries[1];
}

/* The first base rows of `base` that are not done for `query`; false: all are. */
static bool first_gap(const struct engram_done *done, int64_t query, const int64_t base[2],
                      int64_t gap[2])
{
    int64_t at = base[0];
    bool moved = true;
    while (moved && at < base[1]) {
        moved = false;
        for (size_t i = 0; i < done->count; i++) {
            const struct engram_unit *unit = &done->units[i];
            if (covers(unit, query) && unit->base[0] <= at && at < unit->base[1]) {
                at = unit->base[1];
                moved = true;
            }
        }
    }
    gap[0] = at;
    gap[1] = base[1];
    for (size_t i = 0; i < done->count; i++) {
        const struct engram_unit *unit = &done->units[i];
        if (covers(unit, query) && unit->base[0] > at && unit->base[0] < gap[1]) {
            gap[1] = unit->base[0];
        }
    }
    return at < base[1];
}

/* The next query after `query` at which a unit begins or ends; at most `last`. */
static int64_t next_edge(const struct engram_done *done, int64_t query, int64_t last)
{
    for (size_t i = 0; i < done->count; i++) {
        for (int e = 0; e < 2; e++) {
            int64_t edge = done->units[i].queries[e];
            last = edge > query && edge < last ? edge : last;
        }
    }
    return last;
}

bool engram_done_left(const struct engram_done *done, const struct engram_unit *within,
                      struct engram_unit *left)
{
    int64_t query = within->queries[0];
    while (query < within->queries[1] && !first_gap(done, query, within->base, left->base)) {
        query = next_edge(done, query, within->queries[1]);
    }
    if (query >= within->queries[1]) {
        return false;
    }
    left->queries[0] = query;
    left->queries[1] = within->queries[1];
    for (size_t i = 0; i < done->count; i++) {
        const struct engram_unit *unit = &done->units[i];
        if (overlap(unit->base, left->base) && unit->queries[0] > query &&
            unit->queries[0] < left->queries[1]) {
            left->queries[1] = unit->queries[0];
        }
    }
    return true;
}

void engram_done_around(const struct engram_done *done, const int64_t queries[2], int64_t base,
                        int64_t range[2])
{
    bool moved = true;
    range[0] = base;
    range[1] = base;
    while (moved) {
        moved = false;
        for (size_t i = 0; i < done->count; i++) {
            const struct engram_unit *unit = &done->units[i];
            /* The first that is taken must hold the row itself, the others touch what is known. */
            bool near = range[0] == range[1] ? unit->base[0] <= base && base < unit->base[1]
                                             : touch(unit->base, range);
            if (near && contains(unit->queries, queries) && !contains(range, unit->base)) {
                widen(range, unit->base);
                moved = true;
            }
        }
    }
}

uint64_t engram_done_pairs(const struct engram_done *done, const struct engram_unit *within)
{
    uint64_t pairs = 0;
    for (int64_t query = within->queries[0]; query < within->queries[1];) {
        int64_t next = next_edge(done, query, within->queries[1]);
        int64_t rest[2] = {within->base[0], within->base[1]};
        int64_t missing = 0;
        int64_t gap[2];
        while (rest[0] < rest[1] && first_gap(done, query, rest, gap)) {
            missing += gap[1] - gap[0];
            rest[0] = gap[1];
        }
        pairs += (uint64_t)(next - query) * (uint64_t)(within->base[1] - within->base[0] - missing);
        query = next;
    }
    return pairs;
}

void engram_done_free(struct engram_done *done)
{
    free(done->units);
    *done = (struct engram_done){0};
}
