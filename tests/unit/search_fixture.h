/* Sets of any element type in memory, and the brute-force answer to compare searches with. */
#ifndef ENGRAM_TESTS_SEARCH_FIXTURE_H
#define ENGRAM_TESTS_SEARCH_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "reference.h"

#define DTYPES 11
#define NO_K INT64_MAX

/* Restarts the program once with OpenMP threads that sleep while they wait: on a busy machine a
 * thread that spins takes the core from the one it waits for, and thousands of small searches
 * take minutes. libgomp reads the environment before main. */
static inline void wait_passively(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") == NULL && setenv("OMP_WAIT_POLICY", "passive", 1) == 0) {
        (void)execv("/proc/self/exe", argv); /* on failure: as we are */
    }
}

/* What the values are like. */
enum kind { KIND_PLAIN, KIND_FEW, KIND_ODD, KIND_DENORMAL, KIND_LARGE, KINDS };

struct matrix {
    struct engram_set set;
    double *wide; /* [rows][dim] */
    void *memory;
};

/* IEEE 754 binary16, from its definition. */
static inline double half_to_double(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    int fraction = bits & 1023;
    double value = exponent == 31  ? (fraction == 0 ? (double)INFINITY : (double)NAN)
                   : exponent == 0 ? fraction * 0x1p-24
                                   : (1024 + fraction) * ldexp(1, exponent - 25);
    return (bits & 0x8000) != 0 ? -value : value;
}

static inline double any_float(enum kind kind, bool wide_range, bool cosine)
{
    size_t dice = random_below(60);
    switch (kind) {
    case KIND_FEW:
        return (double)random_in(-1, 1);
    case KIND_ODD:
        return dice == 0   ? (double)NAN
               : dice == 1 ? -(double)INFINITY
               : dice < 20 ? 0.0
               : dice < 40 ? -0.0
                           : random_bell();
    case KIND_DENORMAL:
        return ldexp(random_signed(), wide_range ? -524 - (int)random_below(14) : -140);
    case KIND_LARGE:
        return random_signed() * (wide_range ? cosine ? 1e308 : 1e150 : 3e38);
    default:
        return random_bell();
    }
}

/* Stores a value of the type at `to` and gives what it is worth. */
static inline double any_element(enum engram_dtype dtype, enum kind kind, bool cosine, void *to)
{
    int64_t small = kind == KIND_FEW ? random_in(0, 2) : (int64_t)random_u64();
    union {
        float f32;
        double f64;
        int8_t i8;
        uint8_t u8;
        int16_t i16;
        uint16_t u16;
        int32_t i32;
        uint32_t u32;
        int64_t i64;
        uint64_t u64;
    } v = {.u64 = 0};
    double value = 0;
#define STORE(member, expression) (v.member = (expression), value = (double)v.member)
    switch (dtype) {
    case ENGRAM_F32:
        STORE(f32, (float)any_float(kind, false, cosine));
        break;
    case ENGRAM_F64:
        STORE(f64, any_float(kind, true, cosine));
        break;
    case ENGRAM_F16: /* all bit patterns, mostly finite; few: 0, 1 or 2 */
        STORE(u16, (uint16_t)(kind == KIND_FEW   ? small * 0x3c00 / 2
                              : kind == KIND_ODD ? small & 0xffff
                                                 : small & 0xbfff));
        value = half_to_double(v.u16);
        break;
    case ENGRAM_I8:
        STORE(i8, (int8_t)small);
        break;
    case ENGRAM_U8:
        STORE(u8, (uint8_t)small);
        break;
    case ENGRAM_I16:
        STORE(i16, (int16_t)small);
        break;
    case ENGRAM_U16:
        STORE(u16, (uint16_t)small);
        break;
    case ENGRAM_I32:
        STORE(i32, (int32_t)small);
        break;
    case ENGRAM_U32:
        STORE(u32, (uint32_t)small);
        break;
    case ENGRAM_I64: /* up to 2^53 in magnitude */
        STORE(i64, kind == KIND_FEW ? small : small % (((int64_t)1 << 53) + 1));
        break;
    default:
        STORE(u64, (uint64_t)small % (((uint64_t)1 << 53) + 1));
        break;
    }
#undef STORE
    memcpy(to, &v, engram_dtype_size(dtype));
    return value;
}

/* `gap` elements lie between rows. Under KIND_FEW whole rows are alike as well. */
static inline struct matrix matrix_make(enum engram_dtype dtype, int64_t rows, int64_t dim,
                                        size_t gap, enum kind kind, bool cosine)
{
    size_t element = engram_dtype_size(dtype);
    size_t stride = ((size_t)dim + gap) * element;
    struct matrix m = {.set = {NULL, dtype, rows, dim, gap == 0 ? 0 : stride}};
    m.memory = malloc((size_t)rows * stride + 16);
    m.wide = malloc(((size_t)rows * (size_t)dim + 1) * sizeof *m.wide);
    assert_non_null(m.memory);
    assert_non_null(m.wide);
    memset(m.memory, 0xff, (size_t)rows * stride + 16);
    m.set.data = m.memory;
    for (int64_t r = 0; r < rows; r++) {
        unsigned char *row = (unsigned char *)m.memory + (size_t)r * stride;
        double *wide = m.wide + r * dim;
        if (r > 0 && kind == KIND_FEW && random_below(2) == 0) {
            memcpy(row, row - stride, (size_t)dim * element);
            memcpy(wide, wide - dim, (size_t)dim * sizeof *wide);
            continue;
        }
        for (int64_t i = 0; i < dim; i++) {
            wide[i] = any_element(dtype, kind, cosine, row + (size_t)i * element);
        }
    }
    return m;
}

static inline void matrix_free(struct matrix *m)
{
    free(m->memory);
    free(m->wide);
}

/* ---- the answer by brute force */

struct found {
    double key;
    int64_t row;
};

static inline int found_compare(const void *left, const void *right)
{
    const struct found *a = left;
    const struct found *b = right;
    if (a->key != b->key) {
        return a->key < b->key ? -1 : 1;
    }
    return a->row < b->row ? -1 : a->row > b->row;
}

struct oracle {
    int64_t queries;
    int64_t rows;
    double *scores; /* [queries][rows]; NaN where a row is not finite */
    struct found *list;
};

static inline struct oracle oracle_make(const struct matrix *base, const struct matrix *queries,
                                        enum engram_metric metric)
{
    size_t dim = (size_t)base->set.dim;
    struct oracle o = {.queries = queries->set.rows, .rows = base->set.rows};
    o.scores = malloc(((size_t)o.queries * (size_t)o.rows + 1) * sizeof *o.scores);
    o.list = malloc(((size_t)o.rows + 1) * sizeof *o.list);
    assert_non_null(o.scores);
    assert_non_null(o.list);
    for (int64_t q = 0; q < o.queries; q++) {
        const double *a = queries->wide + q * (int64_t)dim;
        for (int64_t r = 0; r < o.rows; r++) {
            const double *b = base->wide + r * (int64_t)dim;
            bool finite = reference_finite(a, dim) && reference_finite(b, dim);
            o.scores[q * o.rows + r] = finite ? reference_score(metric, a, b, dim) : (double)NAN;
        }
    }
    return o;
}

static inline void oracle_free(struct oracle *o)
{
    free(o->scores);
    free(o->list);
}

/* Whether base row r may be an answer to query q as far as the options say. */
static inline bool oracle_eligible(const struct engram_search_options *options, int64_t q,
                                   int64_t r)
{
    if (options->self && q + options->self_offset == r) {
        return false;
    }
    if (options->allowed != NULL && (options->allowed[r / 8] & 1 << r % 8) == 0) {
        return false;
    }
    return options->base_groups == NULL || options->query_groups[q] < 0 ||
           options->query_groups[q] != options->base_groups[r];
}

/* Fills o->list with the answers of query q, best first, and returns how many there are. */
static inline int64_t oracle_answer(const struct oracle *o, int64_t q,
                                    const struct engram_search_options *options)
{
    int64_t count = 0;
    for (int64_t r = 0; r < o->rows; r++) {
        double score = o->scores[q * o->rows + r];
        double key = reference_key(options->metric, score);
        /* False for NaN. */
        if (key <= options->max_distance && score >= options->min_similarity &&
            oracle_eligible(options, q, r)) {
            o->list[count++] = (struct found){key, r};
        }
    }
    qsort(o->list, (size_t)count, sizeof *o->list, found_compare);
    return count < options->k ? count : options->k;
}

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("%s: %s", context, #condition);                                               \
        }                                                                                          \
    } while (0)

/* What a search found, kept for the comparison. */
struct answer {
    bool pairs;
    enum engram_status status;
    int64_t *neighbors; /* pairs: NULL */
    double *distances;
    int32_t *counts;
    struct engram_pairs found;
    struct engram_search_stats stats;
};

/* One search, k-NN or pairs; asserts nothing, so that it may run in any thread and any
 * floating-point mode. */
static inline void answer_run(struct answer *a, const struct engram_prepared *prepared,
                              const struct engram_set *queries,
                              const struct engram_search_options *options)
{
    if (a->pairs) {
        a->status = engram_search_pairs(prepared, queries, options, &a->found, &a->stats);
        return;
    }
    size_t cells = (size_t)(queries->rows * options->k) + 1;
    a->neighbors = malloc(cells * sizeof *a->neighbors);
    a->distances = malloc(cells * sizeof *a->distances);
    a->counts = malloc(((size_t)queries->rows + 1) * sizeof *a->counts);
    if (a->neighbors == NULL || a->distances == NULL || a->counts == NULL) {
        abort();
    }
    memset(a->neighbors, 0x55, cells * sizeof *a->neighbors);
    memset(a->distances, 0x55, cells * sizeof *a->distances);
    memset(a->counts, 0x55, ((size_t)queries->rows + 1) * sizeof *a->counts);
    a->status = engram_search_knn(prepared, queries, options, a->neighbors, a->distances, a->counts,
                                  &a->stats);
}

static inline void answer_free(struct answer *a)
{
    free(a->neighbors);
    free(a->distances);
    free(a->counts);
    engram_pairs_free(&a->found);
    bool pairs = a->pairs;
    *a = (struct answer){.pairs = pairs};
}

static inline void answer_check(const struct answer *a, const struct oracle *o,
                                const struct engram_search_options *options, const char *context)
{
    EXPECT(a->status == ENGRAM_OK);
    EXPECT(!a->pairs || a->found.queries == o->queries);
    EXPECT(!a->pairs || a->found.indptr[0] == 0);
    for (int64_t q = 0; q < o->queries; q++) {
        int64_t count = oracle_answer(o, q, options);
        if (a->pairs) {
            int64_t first = a->found.indptr[q];
            EXPECT(a->found.indptr[q + 1] - first == count);
            for (int64_t i = 0; i < count; i++) {
                EXPECT(a->found.rows[first + i] == o->list[i].row);
                EXPECT(same_bits(a->found.distances[first + i], o->list[i].key));
            }
            continue;
        }
        EXPECT(a->counts[q] == count);
        for (int64_t i = 0; i < options->k; i++) {
            bool there = i < count;
            EXPECT(a->neighbors[q * options->k + i] == (there ? o->list[i].row : -1));
            EXPECT(same_bits(a->distances[q * options->k + i],
                             there ? o->list[i].key : (double)INFINITY));
        }
    }
}

#endif
