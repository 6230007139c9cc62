/* Where the survivors of a filter go. A collector decides which answers a query keeps, and with
 * that how bad an answer may be to matter: limit[q], a key. Four so far: the k best, all pairs
 * within the limits, the groups that such pairs connect, and the value of every pair.
 *
 * One collector serves a whole unit and is read-only during the parallel loop; what an item needs
 * to remember lives in a state that `begin` makes in the item's scratch memory. */
#ifndef ENGRAM_SEARCH_COLLECTOR_H
#define ENGRAM_SEARCH_COLLECTOR_H

#include "engram/arena.h"
#include "search/partial.h"
#include "search/request.h"
#include "search/tiling.h"
#include "search/values.h"

/* One parallel iteration: a block of queries against a segment of the base. */
struct engram_item {
    int64_t index; /* segment * blocks + block */
    int64_t block;
    int64_t segment;
    int64_t first_query; /* within the unit */
    size_t queries;
    int64_t first_row; /* within the prepared set */
    int64_t last_row;
};

struct engram_collector;

struct engram_collector_ops {
    /* Answers an item buffers a query, for the tiling. */
    size_t (*kept)(const struct engram_collector *collector);
    /* Bytes of scratch that `begin` takes for an item of `queries` queries. */
    size_t (*scratch_size)(const struct engram_collector *collector, size_t queries);
    /* Memory that depends on the tiling; called once, before the loop. */
    enum engram_status (*open)(struct engram_collector *collector);
    /* Starts an item: sets limit[0, queries). NULL when scratch memory fails. */
    void *(*begin)(const struct engram_collector *collector, const struct engram_item *item,
                   struct engram_scratch *scratch, double *limit);
    /* Takes scored pairs, all eligible and within the request's limits, in any order but each at
     * most once an item; tightens limit[]. */
    void (*offer)(void *state, const struct engram_candidate *pairs, const double *scores,
                  size_t count, double *limit);
    /* Takes, instead of offer, the scores of query `query` of the item with rows [first_row,
     * first_row + count) of the set, whatever the limits; NaN: one of the two is not finite. NULL:
     * pairs are offered. */
    void (*cells)(void *state, size_t query, int64_t first_row, size_t count, const double *scores);
    /* Whether answering base row `row` to query `query` (of the unit) would change nothing, so that
     * the pair need not be scored. NULL: never. */
    bool (*redundant)(const struct engram_collector *collector, int64_t query, int64_t row);
    /* Asked before a filtered scan: a sample of `share` of the rows, spread evenly, will be offered
     * first. False: the collector has no use for one. Asked again after each sample: a larger
     * share, of which that sample was a part. */
    bool (*sample)(void *state, double share);
    /* The sample is complete: limits may be guessed from it. */
    void (*sampled)(void *state, double *limit);
    /* After each step of a scan without a sample: all pairs with rows before `next_row` were
     * offered. False: the scan ends here, the rest of the item is for another round. NULL where
     * scans are never left. */
    bool (*step)(void *state, int64_t next_row);
    /* Ends a scan: what it keeps goes to memory of the collector. False: the limits of some queries
     * were guessed too tight; limit[] lets only those queries' answers pass, and the whole scan
     * must be made once more, without a sample. */
    bool (*finish)(void *state, double *limit);
    /* An item that got no scratch: no answers. */
    void (*fail)(const struct engram_collector *collector, const struct engram_item *item);
    /* Whether the calling thread should run this item in this round of the loop; moves its first
     * row on to where an earlier round left it. */
    bool (*wants)(const struct engram_collector *collector, struct engram_item *item);
    /* After a round. `*again`: some items are not done, because their answers did not fit; there
     * is more room now, and another round must follow. */
    enum engram_status (*again)(struct engram_collector *collector, bool *again);
    /* Gathers everything. */
    enum engram_status (*gather)(struct engram_collector *collector, struct engram_partial *out);
    void (*close)(struct engram_collector *collector);
};

/* What all collectors share; each embeds it first. */
struct engram_collector {
    const struct engram_collector_ops *ops;
    const struct engram_request *request;
    const struct engram_partial *known; /* answers found earlier: they tighten limits; or NULL */
    struct engram_tiling tiling;        /* set before `open` */
    struct engram_order order;
    int64_t queries;
    int64_t first_query;    /* global row of the unit's first query */
    int64_t base_first_row; /* global row of the prepared set's first row */
    int64_t first_row;      /* of the prepared set; what is looked at begins here .. */
    int64_t base_rows;      /* .. and is so long */
    /* Items of the next round: [first_item, last_item). All of them, unless the collector sets it
     * in `open` and `again`. */
    int64_t first_item;
    int64_t last_item;
    /* Queries are rows of the base, and each answer counts for both of its rows: scores are
     * symmetric to the bit. Pairs and components only. */
    bool symmetric;
    /* Global rows that are on both sides then: of two of them, the lower looks at the higher. */
    int64_t both[2];
    int threads;
};

/* The k best of every query. */
struct engram_topk {
    struct engram_collector common;
    size_t keep;                   /* k, at most the base rows */
    size_t capacity;               /* answers buffered before the worst are dropped */
    struct engram_hit *slots;      /* [queries][segments][keep] */
    uint32_t *counts;              /* [queries][segments] */
    struct engram_topk_luck *luck; /* how well guessing limits goes */
};
extern const struct engram_collector_ops engram_topk_ops;
void engram_topk_init(struct engram_topk *topk);

/* Every pair within the limits. */
struct engram_pair_collector {
    struct engram_collector common;
    struct engram_pair_sink *sinks; /* [threads] room that items append to during a round */
    struct engram_pair_room *rooms; /* full sinks of earlier rounds, newest first */
    int64_t *next_row;              /* [segments x blocks] rows before it are done; INT64_MAX */
    size_t room;                    /* answers a sink has room for */
    size_t room_max;                /* .. and may have */
    int64_t found;                  /* atomic; counted with max_pairs only */
};
extern const struct engram_collector_ops engram_pair_ops;

/* The connected components of the graph whose edges are the pairs within the limits. */
struct engram_component_collector {
    struct engram_collector common;
    uint32_t *parents; /* of the forest */
    uint32_t queries;  /* row of the forest that is the unit's first query .. */
    uint32_t base;     /* .. and the prepared set's first row */
};
extern const struct engram_collector_ops engram_component_ops;

/* The value of every pair: values[query][base row]. */
struct engram_dense_collector {
    struct engram_collector common;
    struct engram_values values; /* the caller's */
};
extern const struct engram_collector_ops engram_dense_ops;

/* Operations of collectors that buffer no answers, guess no limits and need one round. */
size_t engram_collector_keeps_none(const struct engram_collector *collector);
bool engram_collector_no_sample(void *state, double share);
void engram_collector_not_sampled(void *state, double *limit);
bool engram_collector_finished(void *state, double *limit);
void engram_collector_failed(const struct engram_collector *collector,
                             const struct engram_item *item);
bool engram_collector_wants_all(const struct engram_collector *collector, struct engram_item *item);
enum engram_status engram_collector_once(struct engram_collector *collector, bool *again);

/* Answers that a thread's first sink has room for; tests make it small, so that rounds follow. */
extern size_t engram_pairs_first_room;

/* The failure of --max-pairs. */
enum engram_status engram_pairs_too_many(int64_t max_pairs, const struct engram_log *log);

/* The key that `known` answers of query q (within the unit) allow: its k-th, or `max_key`. */
static inline double engram_known_limit(const struct engram_collector *collector, int64_t query)
{
    const struct engram_partial *known = collector->known;
    double limit = collector->request->max_key;
    if (known == NULL) {
        return limit;
    }
    query += collector->first_query - known->first_query;
    if (query >= 0 && query < known->queries &&
        known->indptr[query + 1] - known->indptr[query] >= known->k) {
        double key = engram_key(collector->order, known->hits[known->indptr[query + 1] - 1].score);
        limit = key < limit ? key : limit;
    }
    return limit;
}

#endif
