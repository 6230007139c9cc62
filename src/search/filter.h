/* Filters: what may decide, with a proven bound, that a pair cannot be an answer.
 *
 * A filter owns a packed copy of the base (made by engram_prepare) and, in an item's scratch, its
 * form of the queries with a threshold each. It lists the candidates of panels; everything else
 * (eligibility, canonical scores, collecting) is the block's. */
#ifndef ENGRAM_SEARCH_FILTER_H
#define ENGRAM_SEARCH_FILTER_H

#include "engram/arena.h"
#include "search/prepared.h"

/* A query as the block has it. */
struct engram_query_view {
    const double *wide;   /* [dim] widened, under cosine scaled; NULL for bits */
    double self_product;  /* qq of engram_score; 0 where it is not used */
    double largest;       /* magnitude */
    const uint64_t *bits; /* [words] as engram_bits_load makes them; NULL for numbers */
};

struct engram_filter_ops {
    const char *name;
    /* Queries of a strip, rows of a panel (a divisor of 64), bytes of a packed row. */
    size_t (*strip_queries)(const struct engram_prepared *prepared);
    size_t (*panel_rows)(const struct engram_prepared *prepared);
    size_t (*row_bytes)(const struct engram_prepared *prepared);
    /* Bytes of scratch that `begin` takes for `queries` queries. */
    size_t (*scratch_size)(const struct engram_prepared *prepared, size_t queries);
    /* The item's state, with all thresholds at "nothing survives"; NULL when scratch fails. */
    void *(*begin)(const struct engram_prepared *prepared, size_t queries,
                   struct engram_scratch *scratch);
    /* Packs query q, which is finite; others stay at "nothing survives". */
    void (*load)(void *state, size_t q, const struct engram_query_view *query);
    /* Only pairs of query q with key <= max_key and score >= min_score matter from now on. */
    void (*limit)(void *state, size_t q, double max_key, double min_score);
    /* Appends the candidates of one strip in `panels` panels; `out` has room for all pairs. */
    size_t (*scan)(void *state, size_t strip, size_t panel, size_t panels,
                   struct engram_candidate *out);
    /* The scan after this one will be of these panels: the tile may fetch them meanwhile. NULL: it
     * does not. */
    void (*announce)(void *state, size_t panel, size_t panels);
};

/* The filter's operations; NULL for ENGRAM_FILTER_CANONICAL. */
const struct engram_filter_ops *engram_filter_ops(enum engram_filter filter);

extern const struct engram_filter_ops engram_f32_filter;
extern const struct engram_filter_ops engram_int_filter;
extern const struct engram_filter_ops engram_bit_filter;

/* USAGE when there is no such filter, or none for the metric. */
enum engram_status engram_filter_check(enum engram_filter filter, enum engram_metric metric,
                                       const struct engram_log *log);

/* The filter that would run: `filter` itself where it can, or what AUTO means. */
enum engram_filter engram_filter_choose(enum engram_filter filter, enum engram_metric metric,
                                        int64_t queries, int64_t rows, int64_t dim);

/* The same, and why; `*reason` is a constant, NULL where `filter` was asked for, or where only a
 * sample of the rows can say whether another is better. */
enum engram_filter engram_filter_explain(enum engram_filter filter, enum engram_metric metric,
                                         int64_t queries, int64_t rows, int64_t dim,
                                         const char **reason);

/* What a search uses of what was packed: everything but an explicit CANONICAL. Once packed, even a
 * single query reads a quarter of the bytes that way. */
enum engram_filter engram_prepared_filter(const struct engram_prepared *prepared,
                                          enum engram_filter asked);

#endif
