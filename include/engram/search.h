/* Exact similarity search over vectors in memory.
 *
 * Terms. A *set* is rows of one element type, one dimension and one stride. A *prepared set* is a
 * base set packed once and searched often. Every pair of rows has one *canonical score*, computed
 * in float64 in a fixed order (see below), and the answer to a query is what a brute-force scan
 * with that score gives, in the total order (key, row): smaller key first, then smaller row. No
 * option below except metric, k, the limits, self, allowed and the groups changes a bit of any
 * answer.
 *
 * Canonical score. Stored values are widened to float64. Element i is added to partial sum i mod 8
 * of s0..s7, without fused multiply-add; the sum is
 *     ((s0+s4) + (s2+s6)) + ((s1+s5) + (s3+s7)).
 *   ip            score = sum q_i x_i                     key = -score
 *   cosine        score = dot / sqrt(qq * xx), clamped    key = 1 - score
 *                 to [-1, 1]; 0 if either row is zero
 *   sqeuclidean   score = sum (q_i - x_i)^2               key = score
 *   l2            score = sqrt(sum (q_i - x_i)^2)         key = score
 *   l1            score = sum |q_i - x_i|                 key = score
 * and of rows of bits, counted in integers, with one float64 division:
 *   hamming       score = |q xor x| / dim; 0 if dim is 0  key = score
 *   jaccard       score = |q and x| / |q or x|; 0 if      key = 1 - score
 *                 both rows are empty
 * A float64 row whose largest magnitude lies outside [2^-240, 2^240] is first multiplied, under
 * cosine only, by the power of two that brings that magnitude into [1, 2). A key of -0 counts
 * as +0.
 *
 * Values. A row that holds NaN or infinity is never an answer, and as a query has no answers.
 * float64 rows with a magnitude above 1e150 under ip, l2, sqeuclidean and l1, and 64-bit integers
 * beyond 2^53, are ENGRAM_ERR_DATA, naming the row. Rows of bits go with hamming and jaccard, and
 * those two with bits only; everything else is ENGRAM_ERR_USAGE. */
#ifndef ENGRAM_SEARCH_H
#define ENGRAM_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engram/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element types of a set. Values are part of the ABI. */
enum engram_dtype {
    ENGRAM_F32 = 0,
    ENGRAM_F64 = 1,
    ENGRAM_F16 = 2,
    ENGRAM_I8 = 3,
    ENGRAM_U8 = 4,
    ENGRAM_I16 = 5,
    ENGRAM_U16 = 6,
    ENGRAM_I32 = 7,
    ENGRAM_U32 = 8,
    ENGRAM_I64 = 9,
    ENGRAM_U64 = 10,
    /* Eight to a byte, the first in the highest bit: element i of a row is bit 7 - i % 8 of its
     * byte i / 8 (numpy.packbits). Bits of the last byte past `dim` are ignored. */
    ENGRAM_BITS = 11
};

/* Bytes of one element; 0 for ENGRAM_BITS and for a value outside the enumeration. */
ENGRAM_API size_t engram_dtype_size(enum engram_dtype dtype);
/* Bytes of a row of `dim` elements; SIZE_MAX when that does not fit, `dim` is negative or `dtype`
 * is outside the enumeration. */
ENGRAM_API size_t engram_row_bytes(enum engram_dtype dtype, int64_t dim);
/* "float32", "int8", ...; "unknown" for a value outside the enumeration. */
ENGRAM_API const char *engram_dtype_name(enum engram_dtype dtype);

enum engram_metric {
    ENGRAM_COSINE = 0,
    ENGRAM_IP = 1,
    ENGRAM_L2 = 2,
    ENGRAM_SQEUCLIDEAN = 3,
    ENGRAM_L1 = 4,
    ENGRAM_HAMMING = 5,
    ENGRAM_JACCARD = 6
};

/* Canonical name: "cosine", "ip", "l2", "sqeuclidean", "l1", "hamming", "jaccard"; "unknown"
 * outside the enumeration. */
ENGRAM_API const char *engram_metric_name(enum engram_metric metric);
/* Parses a name or an alias (angular, dot, euclidean, manhattan, cityblock); case matters.
 * ENGRAM_ERR_USAGE, and `*metric` untouched, when it is none of them. */
ENGRAM_API ENGRAM_MUST_CHECK enum engram_status engram_metric_parse(const char *name,
                                                                    enum engram_metric *metric);

/* How candidates are found. No filter changes a result. */
enum engram_filter {
    ENGRAM_FILTER_AUTO = 0,
    ENGRAM_FILTER_CANONICAL = 1, /* every pair by its canonical score */
    ENGRAM_FILTER_F32 = 2,       /* a float32 tile with a proven bound, survivors rescored */
    ENGRAM_FILTER_INT = 3,       /* a tile of small integer codes, likewise */
    ENGRAM_FILTER_PREFIX = 4,    /* the same for a few leading principal axes of the base */
    ENGRAM_FILTER_BITS = 5       /* a tile that counts bits: what AUTO means for rows of bits */
};

/* Vectors in the caller's memory, row-major; native byte order. */
struct engram_set {
    const void *data; /* aligned to the element; may be NULL when rows or dim is 0 */
    enum engram_dtype dtype;
    int64_t rows;  /* >= 0, at most 2^31 - 64 */
    int64_t dim;   /* elements per row, 0 .. 2^24 */
    size_t stride; /* bytes from one row to the next; 0 means engram_row_bytes */
};

/* Shared by preparing and searching. Always start from ENGRAM_SEARCH_OPTIONS_INIT. */
struct engram_search_options {
    size_t size; /* sizeof(struct engram_search_options) */
    enum engram_metric metric;
    int64_t k;             /* neighbours per query, > 0; INT64_MAX: no limit (pairs only) */
    double max_distance;   /* keep pairs with key <= this (float64); +INFINITY: no limit */
    double min_similarity; /* keep pairs with score >= this (cosine, ip, jaccard); -INFINITY: no
                              limit */
    bool self;             /* query row i is base row i + self_offset and never matches it */
    int64_t self_offset;
    /* Base row r may be an answer when bit r & 7 of byte r >> 3 is set; NULL: all rows may. Taken
     * by engram_prepare, which makes it part of the prepared set; the searches do not look at it.
     */
    const uint8_t *allowed;
    /* A group number for every row of base and queries: rows with the same number never match; a
     * negative number is no group. Both or neither; the searches look at them. */
    const int64_t *base_groups;
    const int64_t *query_groups;
    enum engram_filter filter;
    const char *isa;   /* kernel set ("portable", "avx2", ...); NULL: the best there is */
    int threads;       /* OpenMP team size; 0: OpenMP's own default */
    const int *cancel; /* polled; a non-zero value (stored atomically) ends the search with
                          ENGRAM_ERR_CANCELLED; NULL: never */
    /* Called by the calling thread with the number of pairs done and in all; NULL: not called.
     * It runs inside the parallel loop and should be quick. */
    void (*progress)(void *context, uint64_t pairs_done, uint64_t pairs_total);
    void *progress_context;
    struct engram_log log;
    int64_t expected_queries; /* of all searches of a base, for engram_prepare, which chooses and
                                 packs accordingly; 0: unknown, many */
    int64_t expected_rows;    /* of the whole base, where this is a part of it; 0: this is all */
};

#define ENGRAM_SEARCH_OPTIONS_INIT                                                                 \
    {                                                                                              \
        sizeof(struct engram_search_options), ENGRAM_COSINE, 10, ENGRAM_INFINITY,                  \
            -ENGRAM_INFINITY, false, 0, NULL, NULL, NULL, ENGRAM_FILTER_AUTO, NULL, 0, NULL, NULL, \
            NULL, {NULL, NULL}, 0, 0                                                               \
    }
#define ENGRAM_INFINITY (__builtin_inf())

/* What a sample of the base said of a filter before anything was packed; for people. All zero where
 * nothing was estimated. */
struct engram_filter_estimate {
    double share;        /* of all pairs: what it leaves to be scored once every query's limit is
                            known; a search for the k nearest leaves more while it finds it */
    double cost;         /* of a pair, in float32 products at the CPU's peak; 0: not estimated */
    int axes;            /* PREFIX: how many principal axes */
    const char *why_not; /* why nothing was estimated; NULL: nobody asked */
};

/* Which filter a base was packed for, and why. Texts are constants. */
struct engram_filter_choice {
    enum engram_filter filter;
    const char *reason; /* NULL: it was asked for */
    struct engram_filter_estimate f32;
    struct engram_filter_estimate integer;
    struct engram_filter_estimate prefix;
};

/* What a search did; for people, not part of the answer. */
struct engram_search_stats {
    uint64_t pairs;            /* queries x base rows looked at */
    uint64_t rescored;         /* pairs whose canonical score was computed after a filter */
    uint64_t canonical;        /* pairs whose canonical score was computed without a filter */
    uint64_t scratch[4];       /* scratch requests served by caller, arena, stack; refused */
    size_t arena_high_water;   /* bytes, the largest of all threads */
    int threads;               /* team size that ran */
    const char *isa;           /* name of the kernel set */
    enum engram_filter filter; /* the filter that ran */
    int64_t skipped_queries;   /* queries with a non-finite element */
    int64_t skipped_base;      /* base rows with a non-finite element */
    struct engram_filter_choice choice; /* how `filter` was chosen */
};

/* A base set ready to be searched. Opaque, read-only after creation: any number of threads may
 * search one prepared set at the same time. */
struct engram_prepared;

/* Packs `base` for `options->metric`. Float32 and float64 data are borrowed and must stay
 * unchanged until the prepared set is freed; other types are copied. Uses isa, threads, metric,
 * filter, cancel and log of the options. On success `*prepared` is owned by the caller.
 * Errors: USAGE (NULL, sizes or stride out of range, metric, isa), DATA (see Values), RESOURCE,
 * CANCELLED. */
ENGRAM_API ENGRAM_MUST_CHECK enum engram_status engram_prepare(
    const struct engram_set *base, const struct engram_search_options *options,
    struct engram_prepared **prepared);

/* NULL is allowed. */
ENGRAM_API void engram_prepared_free(struct engram_prepared *prepared);

/* The k nearest base rows of every query, row i of each output for query i:
 *   neighbors int64 (queries.rows, k)   base rows, best first; -1 past the count
 *   distances float64 (queries.rows, k) keys; +inf past the count; may be NULL
 *   counts    int32 (queries.rows)      entries found; may be NULL
 * All outputs are the caller's, row-major and dense. `options->metric` must be the prepared
 * one. When scratch memory fails the outputs are -1, +inf and 0 and the status is RESOURCE.
 * `stats` may be NULL. Errors: USAGE, DATA (dimensions differ; see Values), RESOURCE, CANCELLED
 * (outputs undefined). */
ENGRAM_API ENGRAM_MUST_CHECK enum engram_status engram_search_knn(
    const struct engram_prepared *prepared, const struct engram_set *queries,
    const struct engram_search_options *options, int64_t *neighbors, double *distances,
    int32_t *counts, struct engram_search_stats *stats);

/* All pairs within the limits, as CSR: the answers of query i are rows[indptr[i]] up to
 * rows[indptr[i + 1] - 1], best first. Owned by the caller, freed by engram_pairs_free. */
struct engram_pairs {
    int64_t queries;
    int64_t *indptr;   /* queries + 1 entries */
    int64_t *rows;     /* base rows */
    double *distances; /* keys */
};

/* As engram_search_knn, for every pair within max_distance and min_similarity, at most k a query
 * (INT64_MAX: all of them). `*pairs` is all zero unless the status is OK. */
ENGRAM_API ENGRAM_MUST_CHECK enum engram_status engram_search_pairs(
    const struct engram_prepared *prepared, const struct engram_set *queries,
    const struct engram_search_options *options, struct engram_pairs *pairs,
    struct engram_search_stats *stats);

/* The distance of every pair: distances float64 (queries.rows, base rows), the caller's, row-major
 * and dense; the key of query i and base row j, and NaN where one of them is not finite (or the
 * base row is no answer). k, limits, self, groups and filter are not looked at: on the diagonal of
 * a set with itself stands the distance of a row from itself. Errors as engram_search_knn; the
 * output is undefined unless the status is OK. */
ENGRAM_API ENGRAM_MUST_CHECK enum engram_status engram_search_dense(
    const struct engram_prepared *prepared, const struct engram_set *queries,
    const struct engram_search_options *options, double *distances,
    struct engram_search_stats *stats);

/* distances[i], float64: the key of query i and base row i, NaN where one of them is not finite.
 * Both sets have the same number of rows; element types may differ. Of the options only metric,
 * isa, threads, cancel and log are looked at. Errors: USAGE, DATA, RESOURCE, CANCELLED; the output
 * is undefined unless the status is OK. */
ENGRAM_API ENGRAM_MUST_CHECK enum engram_status engram_search_pairwise(
    const struct engram_set *queries, const struct engram_set *base,
    const struct engram_search_options *options, double *distances,
    struct engram_search_stats *stats);

ENGRAM_API void engram_pairs_free(struct engram_pairs *pairs);

/* Groups of near duplicates: the connected components of the graph whose edges are the pairs of
 * `set` with itself within max_distance and min_similarity. component[i] (caller's, set.rows
 * entries) becomes the lowest row of the component of row i; rows that are not finite or not
 * allowed are alone. Two rows of a component may be far apart: a chain of near pairs connects them.
 * `prepared` was made from `set`; `options->self` must be true, k is not looked at. No pair is kept
 * in memory. Errors: as engram_search_knn (`component` undefined). */
ENGRAM_API ENGRAM_MUST_CHECK enum engram_status engram_search_components(
    const struct engram_prepared *prepared, const struct engram_set *set,
    const struct engram_search_options *options, int64_t *component,
    struct engram_search_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
