/* Partials: the merge is order-free and idempotent, the serialised form survives, damage does not
 * pass. */
#include "search/partial.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/endian.h"
#include "base/hash.h"
#include "reference.h"

#define QUERIES 7
#define BASE 60
#define NO_LIMIT INT64_MAX

/* The canonical scores of a whole problem; units see some rows each. */
struct problem {
    enum engram_metric metric;
    int64_t k;
    double scores[QUERIES][BASE];
};

static struct problem any_problem(void)
{
    struct problem p = {.metric = (enum engram_metric)random_below(METRICS)};
    p.k = random_below(4) == 0 ? NO_LIMIT : random_in(1, 20);
    for (int q = 0; q < QUERIES; q++) {
        for (int r = 0; r < BASE; r++) {
            /* Few values, so that there are ties; some of both zeros. */
            double score = random_below(3) == 0 ? random_signed() : (double)random_in(-2, 2) / 4;
            bool similarity = p.metric == ENGRAM_COSINE || p.metric == ENGRAM_IP;
            p.scores[q][r] = similarity ? score : fabs(score);
        }
    }
    return p;
}

/* The best answers of the rows with `in`, the way a unit would give them. */
static struct engram_partial answer(const struct problem *p, const bool *in)
{
    struct engram_partial partial;
    struct engram_order order = engram_metric_order(p->metric);
    assert_int_equal(
        engram_partial_create(p->metric, 1000, QUERIES, p->k, QUERIES * BASE, NULL, &partial),
        ENGRAM_OK);
    for (int64_t q = 0; q < QUERIES; q++) {
        struct engram_hit *hits = partial.hits + partial.indptr[q];
        int64_t count = 0;
        for (int64_t r = 0; r < BASE; r++) {
            if (in[r]) {
                hits[count++] = (struct engram_hit){p->scores[q][r], 5000000000 + r};
            }
        }
        engram_hits_sort(hits, (size_t)count, order);
        partial.indptr[q + 1] = partial.indptr[q] + (count < p->k ? count : p->k);
    }
    return partial;
}

static struct engram_partial copy_of(const struct engram_partial *from)
{
    struct engram_partial copy;
    assert_int_equal(engram_partial_create(from->metric, from->first_query, from->queries, from->k,
                                           from->indptr[from->queries], NULL, &copy),
                     ENGRAM_OK);
    memcpy(copy.indptr, from->indptr, (size_t)(from->queries + 1) * sizeof *copy.indptr);
    memcpy(copy.hits, from->hits, (size_t)from->indptr[from->queries] * sizeof *copy.hits);
    return copy;
}

static struct engram_partial merged(const struct engram_partial *a, const struct engram_partial *b)
{
    struct engram_partial into = copy_of(a);
    assert_int_equal(engram_partial_merge(&into, b, NULL), ENGRAM_OK);
    return into;
}

static void assert_same(const struct engram_partial *a, const struct engram_partial *b)
{
    assert_int_equal(a->metric, b->metric);
    assert_int_equal(a->first_query, b->first_query);
    assert_int_equal(a->queries, b->queries);
    assert_int_equal(a->k, b->k);
    assert_memory_equal(a->indptr, b->indptr, (size_t)(a->queries + 1) * sizeof *a->indptr);
    assert_memory_equal(a->hits, b->hits, (size_t)a->indptr[a->queries] * sizeof *a->hits);
}

static void assert_same_and_free(struct engram_partial a, struct engram_partial b)
{
    assert_same(&a, &b);
    engram_partial_free(&a);
    engram_partial_free(&b);
}

static void test_merge(void **state)
{
    (void)state;
    for (int trial = 0; trial < 300; trial++) {
        struct problem p = any_problem();
        bool in[4][BASE];
        struct engram_partial part[4];
        memset(in[3], 0, sizeof in[3]);
        for (int i = 0; i < 3; i++) {
            size_t share = 1 + random_below(4); /* units overlap, or are empty */
            for (int r = 0; r < BASE; r++) {
                in[i][r] = random_below(share + 1) == 0;
                in[3][r] = in[3][r] || in[i][r];
            }
        }
        for (int i = 0; i < 4; i++) {
            part[i] = answer(&p, in[i]);
        }
        assert_same_and_free(merged(&part[0], &part[1]), merged(&part[1], &part[0]));
        assert_same_and_free(merged(&part[0], &part[0]), copy_of(&part[0]));
        struct engram_partial ab = merged(&part[0], &part[1]);
        struct engram_partial bc = merged(&part[1], &part[2]);
        assert_same_and_free(merged(&ab, &part[2]), merged(&part[0], &bc));
        assert_same_and_free(merged(&ab, &part[2]), copy_of(&part[3]));
        assert_same_and_free(merged(&ab, &ab), copy_of(&ab));
        assert_same_and_free(merged(&ab, &part[1]), copy_of(&ab));
        engram_partial_free(&ab);
        engram_partial_free(&bc);
        for (int i = 0; i < 4; i++) {
            engram_partial_free(&part[i]);
        }
    }
}

/* Queries [first, last) of a partial, with the others' memory gone. */
static struct engram_partial part_of(const struct engram_partial *from, int64_t first, int64_t last)
{
    struct engram_partial part;
    int64_t count = from->indptr[last] - from->indptr[first];
    assert_int_equal(engram_partial_create(from->metric, from->first_query + first, last - first,
                                           from->k, count, NULL, &part),
                     ENGRAM_OK);
    for (int64_t q = first; q < last; q++) {
        part.indptr[q - first + 1] = from->indptr[q + 1] - from->indptr[first];
    }
    memcpy(part.hits, from->hits + from->indptr[first], (size_t)count * sizeof *part.hits);
    return part;
}

/* Only the queries that both have are merged, whichever has more. */
static void test_merge_of_some_queries(void **state)
{
    (void)state;
    for (int trial = 0; trial < 300; trial++) {
        struct problem p = any_problem();
        bool in[2][BASE];
        for (int r = 0; r < BASE; r++) {
            in[0][r] = random_below(3) == 0;
            in[1][r] = random_below(trial % 3 == 0 ? 100 : 3) == 0;
        }
        struct engram_partial a = answer(&p, in[0]);
        struct engram_partial b = answer(&p, in[1]);
        struct engram_partial both = merged(&a, &b);
        int64_t first = random_in(0, QUERIES);
        int64_t last = random_in(first, QUERIES);
        int64_t begin = random_in(0, QUERIES);
        int64_t end = random_in(begin, QUERIES);
        struct engram_partial into = part_of(&a, begin, end);
        struct engram_partial some = part_of(&b, first, last);
        assert_int_equal(engram_partial_merge(&into, &some, NULL), ENGRAM_OK);
        assert_int_equal(into.queries, end - begin);
        for (int64_t q = begin; q < end; q++) {
            const struct engram_partial *wanted = q >= first && q < last ? &both : &a;
            int64_t count = wanted->indptr[q + 1] - wanted->indptr[q];
            const struct engram_hit *hits = into.hits + into.indptr[q - begin];
            assert_int_equal(into.indptr[q - begin + 1] - into.indptr[q - begin], count);
            assert_memory_equal(hits, wanted->hits + wanted->indptr[q],
                                (size_t)count * sizeof *hits);
        }
        engram_partial_free(&into);
        engram_partial_free(&some);
        /* Piece by piece, in any order. */
        int64_t cut = random_in(0, QUERIES);
        some = part_of(&b, cut, QUERIES);
        into = merged(&a, &some);
        engram_partial_free(&some);
        some = part_of(&b, 0, cut);
        assert_int_equal(engram_partial_merge(&into, &some, NULL), ENGRAM_OK);
        engram_partial_free(&some);
        assert_same_and_free(into, both);
        engram_partial_free(&a);
        engram_partial_free(&b);
    }
}

static void test_merge_refuses_other_questions(void **state)
{
    (void)state;
    struct problem p = any_problem();
    bool in[BASE] = {true};
    struct engram_partial a = answer(&p, in);
    for (int field = 0; field < 2; field++) {
        struct engram_partial b = copy_of(&a);
        struct engram_partial before = copy_of(&a);
        b.k = field == 0 ? (b.k == NO_LIMIT ? 3 : b.k + 1) : b.k;
        b.metric = field == 1 ? (enum engram_metric)((b.metric + 1) % METRICS) : b.metric;
        assert_int_not_equal(engram_partial_merge(&a, &b, NULL), ENGRAM_OK);
        assert_same_and_free(before, copy_of(&a));
        engram_partial_free(&b);
    }
    engram_partial_free(&a);
    engram_partial_free(&a); /* all zero is allowed */
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int trial = 0; trial < 100; trial++) {
        struct problem p = any_problem();
        bool in[BASE];
        for (int r = 0; r < BASE; r++) {
            in[r] = random_below(3) == 0;
        }
        struct engram_partial a = answer(&p, in);
        struct engram_partial back;
        size_t size = engram_partial_serialized_size(&a);
        unsigned char *bytes = malloc(size + 2);
        assert_non_null(bytes);
        bytes[0] = bytes[size + 1] = 0xA5;
        engram_partial_serialize(&a, bytes + 1); /* any alignment */
        assert_true(bytes[0] == 0xA5 && bytes[size + 1] == 0xA5);
        assert_int_equal(engram_partial_deserialize(bytes + 1, size, NULL, &back), ENGRAM_OK);
        assert_same(&a, &back);
        engram_partial_free(&a);
        engram_partial_free(&back);
        free(bytes);
    }
}

static void test_empty(void **state)
{
    (void)state;
    struct engram_partial none;
    struct engram_partial back;
    unsigned char bytes[64];
    assert_int_equal(engram_partial_create(ENGRAM_L2, 3, 0, 5, 0, NULL, &none), ENGRAM_OK);
    assert_int_equal(engram_partial_serialized_size(&none), 56);
    engram_partial_serialize(&none, bytes);
    assert_int_equal(engram_partial_deserialize(bytes, 56, NULL, &back), ENGRAM_OK);
    assert_same_and_free(none, back);
}

/* Reads a copy that ends exactly where its memory ends, so that AddressSanitizer sees too much. */
static enum engram_status read_damaged(const unsigned char *bytes, size_t size)
{
    struct engram_partial back;
    unsigned char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    enum engram_status status = engram_partial_deserialize(copy, size, NULL, &back);
    if (status != ENGRAM_OK) {
        assert_null(back.indptr);
        assert_null(back.hits);
    }
    engram_partial_free(&back);
    free(copy);
    return status;
}

static void test_damage(void **state)
{
    (void)state;
    struct problem p = any_problem();
    bool in[BASE];
    for (int r = 0; r < BASE; r++) {
        in[r] = r % 3 == 0;
    }
    struct engram_partial a = answer(&p, in);
    size_t size = engram_partial_serialized_size(&a);
    unsigned char *bytes = malloc(size + 16);
    assert_non_null(bytes);
    engram_partial_serialize(&a, bytes);
    memset(bytes + size, 0, 16);
    for (size_t i = 0; i < size; i++) {
        unsigned char flip = (unsigned char)(1U << random_below(8));
        bytes[i] ^= flip;
        assert_int_equal(read_damaged(bytes, size), ENGRAM_ERR_DATA);
        bytes[i] ^= flip;
    }
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(read_damaged(bytes, cut), ENGRAM_ERR_DATA);
    }
    assert_int_equal(read_damaged(bytes, size + 8), ENGRAM_ERR_DATA);
    assert_int_equal(read_damaged(bytes, size), ENGRAM_OK);
    free(bytes);
    engram_partial_free(&a);
}

/* Damage under a checksum that fits: header and counts may say anything, nothing may crash, and
 * what is accepted is a sane partial. */
static void test_lies(void **state)
{
    (void)state;
    static const uint64_t lies[] = {0,
                                    1,
                                    2,
                                    3,
                                    7,
                                    8,
                                    1000,
                                    (uint64_t)1 << 31,
                                    INT64_MAX,
                                    (uint64_t)INT64_MAX + 1,
                                    UINT64_MAX,
                                    0x7ff0000000000000U,
                                    0xfff8000000000000U};
    struct problem p = any_problem();
    bool in[BASE] = {true, true, false, true};
    p.k = 3;
    struct engram_partial a = answer(&p, in);
    size_t size = engram_partial_serialized_size(&a);
    unsigned char *bytes = malloc(size);
    unsigned char *good = malloc(size);
    assert_non_null(bytes);
    assert_non_null(good);
    engram_partial_serialize(&a, good);
    for (size_t word = 0; word < size / 8 - 1; word++) {
        for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
            struct engram_partial back;
            memcpy(bytes, good, size);
            engram_store64le(bytes + 8 * word, lies[i]);
            engram_store64le(bytes + size - 8, engram_hash64(bytes, size - 8, 0));
            if (engram_partial_deserialize(bytes, size, NULL, &back) == ENGRAM_OK) {
                assert_true(back.queries >= 0 && back.k > 0 && back.first_query >= 0);
                assert_int_equal(engram_partial_serialized_size(&back), size);
                for (int64_t h = 0; h < back.indptr[back.queries]; h++) {
                    assert_true(isfinite(back.hits[h].score) && back.hits[h].tag >= 0);
                }
                engram_partial_free(&back);
            }
        }
    }
    free(bytes);
    free(good);
    engram_partial_free(&a);
}

static void test_create_refuses_what_cannot_be(void **state)
{
    (void)state;
    struct engram_partial partial;
    assert_int_equal(
        engram_partial_create(ENGRAM_IP, 0, 1, NO_LIMIT, INT64_MAX / 4, NULL, &partial),
        ENGRAM_ERR_RESOURCE);
    assert_null(partial.indptr);
    assert_null(partial.hits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_of_some_queries),
        cmocka_unit_test(test_merge_refuses_other_questions),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_create_refuses_what_cannot_be),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
