/* Attacks the bound of the prefix filter: its inequality itself, with axes good and bad; and whole
 * searches where Cauchy and Schwarz are equalities: the rest that no axis sees points the same way
 * in query and row, and the limit is exactly the pair's own key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engram/search.h"
#include "kernels/kernels.h"
#include "reference.h"
#include "search/bound_prefix.h"

/* ---- Q.X <= Q~.X~ */

#define DIM_MAX 300
#define VECTORS 24

struct family {
    const struct engram_kernels *kernels;
    size_t dim;
    size_t count;
    float axes[DIM_MAX * DIM_MAX];
    float rows[VECTORS * DIM_MAX];
};

/* Gram-Schmidt in float64, then a disturbance of every value. */
static void make_axes(struct family *f, double disturbance)
{
    static double v[DIM_MAX * DIM_MAX];
    for (size_t a = 0; a < f->count; a++) {
        double *row = v + a * f->dim;
        double norm2 = 0;
        for (size_t i = 0; i < f->dim; i++) {
            row[i] = random_bell();
        }
        for (size_t pass = 0; pass < 2; pass++) {
            for (size_t b = 0; b < a; b++) {
                double along = 0;
                for (size_t i = 0; i < f->dim; i++) {
                    along += row[i] * v[b * f->dim + i];
                }
                for (size_t i = 0; i < f->dim; i++) {
                    row[i] -= along * v[b * f->dim + i];
                }
            }
        }
        for (size_t i = 0; i < f->dim; i++) {
            norm2 += row[i] * row[i];
        }
        for (size_t i = 0; i < f->dim; i++) {
            row[i] /= sqrt(norm2);
        }
    }
    for (size_t i = 0; i < f->count * f->dim; i++) {
        f->axes[i] = (float)(v[i] * (1 + disturbance) + disturbance * random_signed() / 8);
    }
}

/* Unit rows: anywhere, on the axes, beside them, all but equal, nearly nothing. */
static void make_rows(struct family *f)
{
    for (size_t r = 0; r < VECTORS; r++) {
        double row[DIM_MAX] = {0};
        double norm2 = 0;
        for (size_t i = 0; i < f->dim; i++) {
            row[i] = r % 6 == 5 ? (double)f->rows[i] + random_signed() * 0x1p-20 : random_bell();
        }
        for (size_t a = 0; a < f->count && r % 6 >= 1 && r % 6 <= 3; a++) {
            double along = 0;
            for (size_t i = 0; i < f->dim; i++) {
                along += row[i] * (double)f->axes[a * f->dim + i];
            }
            for (size_t i = 0; i < f->dim; i++) {
                double part = along * (double)f->axes[a * f->dim + i];
                row[i] = r % 6 == 1 && a == 0 ? part : row[i] + (r % 6 == 1 ? part : -part);
            }
        }
        for (size_t i = 0; i < f->dim; i++) {
            norm2 += row[i] * row[i];
        }
        double factor = norm2 > 0 ? 1 / sqrt(norm2) : 0;
        factor *= r % 6 == 4 ? ldexp(1, -(int)random_below(60)) : 1;
        for (size_t i = 0; i < f->dim; i++) {
            f->rows[r * f->dim + i] = (float)(row[i] * factor);
        }
    }
}

static void check_inequality(const struct family *f, const struct engram_axes *axes)
{
    double norm2[VECTORS] = {0};
    size_t width = axes->count + 1;
    float *heads = calloc(VECTORS * (axes->groups + 1) * ENGRAM_PRODUCT_GROUP, sizeof *heads);
    float *extended = calloc(VECTORS * width, sizeof *extended);
    assert_non_null(heads);
    assert_non_null(extended);
    for (size_t i = 0; i < VECTORS * f->dim; i++) {
        norm2[i / f->dim] += (double)f->rows[i] * (double)f->rows[i];
    }
    engram_prefix_rows(f->kernels, axes, f->rows, norm2, VECTORS, heads, extended);
    for (size_t q = 0; q < VECTORS; q++) {
        for (size_t r = 0; r < VECTORS; r++) {
            double score = 0;
            double bound = 0;
            for (size_t i = 0; i < f->dim; i++) {
                score += (double)f->rows[q * f->dim + i] * (double)f->rows[r * f->dim + i];
            }
            for (size_t i = 0; i < width; i++) {
                bound += (double)extended[q * width + i] * (double)extended[r * width + i];
            }
            if (!(score <= bound + 0x1p-110)) {
                fail_msg("%s: %zu axes of %zu: rows %zu and %zu: %.17g > %.17g", f->kernels->name,
                         axes->count, f->dim, q, r, score, bound);
            }
        }
    }
    free(heads);
    free(extended);
}

static void test_inequality(void **state)
{
    static const size_t dims[] = {1, 2, 7, 64, 65, 129, 300};
    static const double disturbances[] = {0, 1e-6, -1e-6, 1e-4, -1e-4, 0.01, 0.3};
    static struct family f;
    (void)state;
    for (size_t k = 0; (f.kernels = engram_kernels_at(k)) != NULL; k++) {
        for (size_t i = 0; i < sizeof dims / sizeof dims[0] * 7; i++) {
            struct engram_axes axes;
            f.dim = dims[i / 7];
            f.count = i % 3 == 0 ? (f.dim < 255 ? f.dim : 255) : 1 + random_below(f.dim) / 2;
            make_axes(&f, disturbances[i % 7]);
            make_rows(&f);
            assert_int_equal(engram_axes_take(f.kernels, f.axes, f.dim, f.count, f.dim, &axes),
                             ENGRAM_OK);
            /* Far from orthonormal: better none at all. */
            assert_true(disturbances[i % 7] < 0.1 || axes.count == 0);
            assert_true(fabs(disturbances[i % 7]) > 1e-6 || axes.count == f.count);
            check_inequality(&f, &axes);
            engram_axes_cut(&axes, axes.count / 2);
            check_inequality(&f, &axes);
            engram_axes_free(&axes);
        }
    }
}

/* ---- searches */

#define SEEN_DIM 6
#define ROWS 4100
#define DIM 48
#define QUERIES 9

struct attack {
    enum engram_metric metric;
    enum engram_dtype dtype;
    double base[ROWS * DIM];
    double query[QUERIES * DIM];
    float narrow_base[ROWS * DIM];
    float narrow_query[QUERIES * DIM];
};

/* Whether the sample that axes are found from can hold the row: any stride will meet the rows of
 * one parity only, whatever it is, when the others are few and far between. */
static bool hidden(size_t row)
{
    return row % 293 == 292;
}

static void make_attack(struct attack *a, double offset, double size)
{
    for (size_t r = 0; r < ROWS; r++) {
        double *row = a->base + r * DIM;
        for (size_t i = 0; i < DIM; i++) {
            bool there = hidden(r) ? i >= SEEN_DIM || i == 0 : i < SEEN_DIM;
            row[i] = there ? random_bell() : 0;
        }
    }
    for (size_t q = 0; q < QUERIES; q++) {
        const double *row = a->base + (q * 293 + 292) * DIM;
        for (size_t i = 0; i < DIM; i++) {
            a->query[q * DIM + i] = row[i] * (q % 3 == 0 ? 1 : 0.75 + 0.0625 * (double)q);
        }
    }
    for (size_t i = 0; i < ROWS * DIM; i++) {
        a->narrow_base[i] = (float)(a->base[i] * size + offset);
        a->base[i] =
            a->dtype == ENGRAM_F32 ? (double)a->narrow_base[i] : a->base[i] * size + offset;
    }
    for (size_t i = 0; i < QUERIES * DIM; i++) {
        a->narrow_query[i] = (float)(a->query[i] * size + offset);
        a->query[i] =
            a->dtype == ENGRAM_F32 ? (double)a->narrow_query[i] : a->query[i] * size + offset;
    }
}

static struct engram_prepared *prepare(const struct attack *a,
                                       const struct engram_search_options *options)
{
    bool narrow = a->dtype == ENGRAM_F32;
    const struct engram_set base = {narrow ? (const void *)a->narrow_base : (const void *)a->base,
                                    a->dtype, ROWS, DIM, 0};
    struct engram_prepared *prepared = NULL;
    assert_int_equal(engram_prepare(&base, options, &prepared), ENGRAM_OK);
    return prepared;
}

/* The answers of query q must be the canonical ones, with the limit at the key of its own row. */
static void check_query(const struct attack *a, const struct engram_prepared *prepared,
                        struct engram_search_options *options, size_t q)
{
    bool narrow = a->dtype == ENGRAM_F32;
    const void *data =
        narrow ? (const void *)(a->narrow_query + q * DIM) : (const void *)(a->query + q * DIM);
    const struct engram_set query = {data, a->dtype, 1, DIM, 0};
    double score =
        reference_score(a->metric, a->query + q * DIM, a->base + (q * 293 + 292) * DIM, DIM);
    struct engram_pairs pairs[2];
    struct engram_search_stats stats[2];
    options->max_distance = reference_key(a->metric, score);
    for (int f = 0; f < 2; f++) {
        options->filter = f == 0 ? ENGRAM_FILTER_AUTO : ENGRAM_FILTER_CANONICAL;
        assert_int_equal(engram_search_pairs(prepared, &query, options, &pairs[f], &stats[f]),
                         ENGRAM_OK);
    }
    assert_int_equal(stats[0].filter, ENGRAM_FILTER_PREFIX);
    assert_true(pairs[1].indptr[1] >= 1);
    assert_int_equal(pairs[0].indptr[1], pairs[1].indptr[1]);
    for (int64_t i = 0; i < pairs[0].indptr[1]; i++) {
        assert_int_equal(pairs[0].rows[i], pairs[1].rows[i]);
        assert_true(same_bits(pairs[0].distances[i], pairs[1].distances[i]));
    }
    engram_pairs_free(&pairs[0]);
    engram_pairs_free(&pairs[1]);
}

static void attack_metric(enum engram_metric metric)
{
    static struct attack attack;
    static const double offsets[] = {0, 0, 1e4, 0, 3};
    static const double sizes[] = {1, 1e-40, 1, 1e18, 1e-3};
    const struct engram_kernels *kernels;
    attack.metric = metric;
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        attack.dtype = i % 2 == 0 ? ENGRAM_F32 : ENGRAM_F64;
        make_attack(&attack, offsets[i / 2], sizes[i / 2]);
        for (size_t k = 0; (kernels = engram_kernels_at(k)) != NULL; k++) {
            struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
            options.metric = metric;
            options.k = INT64_MAX;
            options.isa = kernels->name;
            options.threads = 1;
            options.filter = ENGRAM_FILTER_PREFIX;
            struct engram_prepared *prepared = prepare(&attack, &options);
            for (size_t q = 0; q < QUERIES; q++) {
                check_query(&attack, prepared, &options, q);
            }
            engram_prepared_free(prepared);
        }
    }
}

static void test_cosine(void **state)
{
    (void)state;
    attack_metric(ENGRAM_COSINE);
}

static void test_ip(void **state)
{
    (void)state;
    attack_metric(ENGRAM_IP);
}

static void test_l2(void **state)
{
    (void)state;
    attack_metric(ENGRAM_L2);
}

static void test_sqeuclidean(void **state)
{
    (void)state;
    attack_metric(ENGRAM_SQEUCLIDEAN);
}

/* ---- axes */

/* Of a sample whose rows lie near a plane, the first two axes span that plane; the same with any
 * number of threads; no more axes than the sample has dimensions. */
static void test_axes(void **state)
{
    static float sample[500 * 40];
    const struct engram_kernels *kernels;
    (void)state;
    for (size_t k = 0; (kernels = engram_kernels_at(k)) != NULL; k++) {
        struct engram_axes axes[2];
        for (size_t r = 0; r < 500; r++) {
            float a = (float)random_signed() / 4;
            float b = (float)random_signed() / 4;
            for (size_t i = 0; i < 40; i++) {
                sample[r * 40 + i] = a * (float)(i % 2) + b * (float)(i % 3);
                sample[r * 40 + i] /= 8;
            }
        }
        for (int t = 0; t < 2; t++) {
            assert_int_equal(engram_axes_find(kernels, sample, 500, 40, 33, 1 + 2 * t, &axes[t]),
                             ENGRAM_OK);
        }
        assert_true(axes[0].count >= 2 && axes[0].count <= 33);
        assert_int_equal(axes[0].count, axes[1].count);
        assert_memory_equal(axes[0].packed, axes[1].packed, axes[0].bytes);
        assert_true(axes[0].defect < 1e-4);
        for (size_t r = 0; r < 500; r += 50) {
            double norm2 = 0;
            double seen = 0;
            for (size_t i = 0; i < 40; i++) {
                norm2 += (double)sample[r * 40 + i] * (double)sample[r * 40 + i];
            }
            for (size_t a = 0; a < 2; a++) {
                double along = 0;
                for (size_t i = 0; i < 40; i++) {
                    along += (double)sample[r * 40 + i] *
                             (double)axes[0].packed[i * ENGRAM_PRODUCT_GROUP + a];
                }
                seen += along * along;
            }
            assert_true(seen > norm2 * 0.999);
        }
        engram_axes_free(&axes[0]);
        engram_axes_free(&axes[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inequality), cmocka_unit_test(test_axes),
        cmocka_unit_test(test_cosine),     cmocka_unit_test(test_ip),
        cmocka_unit_test(test_l2),         cmocka_unit_test(test_sqeuclidean),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
