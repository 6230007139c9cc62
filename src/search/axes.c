/* Subspace (orthogonal) iteration: V <- orthonormalise(V S^T S) for the sample S. After a few
 * rounds every leading part of V spans nearly the best subspace of its size. All heavy work is
 * products of matrices through the kernel f32_products. */
#include "search/axes.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "base/size.h"
#include "kernels/kernels.h"
#include "search/bound_prefix.h"

#define GROUP ENGRAM_PRODUCT_GROUP
#define ROUNDS 3

/* A vector of length 1 of which less than this square is left beside those before it says nothing
 * that float32 could tell from rounding. */
#define PIVOT_MIN 0x1p-14

/* Rows a thread takes at a time: whole tiles of every kernel set. */
#define CHUNK ((size_t)48)

/* The iteration's matrices; `wide` and `deep` are dim and rows rounded up to whole groups. */
struct search {
    const struct engram_kernels *kernels;
    int team;
    const float *sample; /* S [rows][dim] */
    size_t rows;
    size_t dim;
    size_t wide;
    size_t count;   /* a multiple of GROUP */
    float *columns; /* S in groups of columns [wide / 16][rows][16] */
    float *v;       /* [count][wide] */
    float *packed;  /* V as axes [count / 16][dim][16], or in groups of columns [wide /
                       16][count][16] */
    float *scores;  /* S V^T [rows][count], or V V^T */
    float *turned;  /* [count][rows] */
    float *inverse; /* [count][count] */
    double *gram;   /* [count][count] */
    double *solved; /* [count][count] */
    bool *dead;     /* [count] depends on those before it */
};

static void multiply(const struct search *s, struct engram_f32_products args, float *out)
{
    size_t rows = args.row_count;
    size_t width = args.groups * GROUP;
    size_t chunks = (rows + CHUNK - 1) / CHUNK;
    int team = chunks < (size_t)s->team ? (int)chunks : s->team;
#pragma omp parallel for schedule(static) num_threads(team)
    for (size_t first = 0; first < rows; first += CHUNK) {
        struct engram_f32_products part = args;
        part.rows = args.rows + first * args.stride;
        part.row_count = rows - first < CHUNK ? rows - first : CHUNK;
        s->kernels->f32_products(&part, out + first * width);
    }
}

/* `rows` x `width` values into groups of 16 columns [width / 16][rows][16]. */
static void group_columns(const float *values, size_t rows, size_t width, size_t stride, float *out)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < width; i += GROUP) {
            size_t some = width - i < GROUP ? width - i : GROUP;
            memcpy(out + (i * rows + r * GROUP), values + r * stride + i, some * sizeof *out);
        }
    }
}

/* `count` vectors as axes: the columns of their transpose in groups. */
static void group_axes(const float *values, size_t count, size_t dim, size_t stride, float *out)
{
    for (size_t a = 0; a < count; a++) {
        float *to = out + a / GROUP * GROUP * dim + a % GROUP;
        for (size_t i = 0; i < dim; i++) {
            to[i * GROUP] = values[a * stride + i];
        }
    }
}

/* splitmix64 (Steele, Lea, Flood 2014); uniform on [-1, 1). */
static float next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15U);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    z ^= z >> 31;
    return (float)((double)(int64_t)z * 0x1p-63);
}

static void randomise(struct search *s, size_t a, uint64_t *state)
{
    for (size_t i = 0; i < s->dim; i++) {
        s->v[a * s->wide + i] = next_random(state);
    }
}

/* Vector a to length 1; zero when it has none. */
static void normalise(struct search *s, size_t a)
{
    float *v = s->v + a * s->wide;
    double norm2 = 0;
    for (size_t i = 0; i < s->dim; i++) {
        norm2 += (double)v[i] * (double)v[i];
    }
    double factor = norm2 > 0x1p-140 ? 1 / sqrt(norm2) : 0;
    for (size_t i = 0; i < s->dim; i++) {
        v[i] = (float)((double)v[i] * factor);
    }
}

/* The inverse of the Cholesky factor of `gram`, as float32: rows of vectors that depend on those
 * before them are zero. */
static void invert_factor(struct search *s)
{
    size_t n = s->count;
    for (size_t k = 0; k < n; k++) {
        double *row = s->gram + k * n;
        double pivot = row[k];
        s->dead[k] = !(pivot > PIVOT_MIN);
        double factor = s->dead[k] ? 0 : 1 / sqrt(pivot);
        for (size_t j = k; j < n; j++) {
            row[j] *= factor;
        }
        for (size_t i = k + 1; i < n && !s->dead[k]; i++) {
            double *lower = s->gram + i * n;
            double times = row[i];
            for (size_t j = i; j < n; j++) {
                lower[j] -= times * row[j];
            }
        }
    }
    memset(s->solved, 0, n * n * sizeof *s->solved);
    for (size_t i = 0; i < n; i++) {
        double *row = s->solved + i * n;
        for (size_t k = 0; k < i && !s->dead[i]; k++) {
            const double *before = s->solved + k * n;
            double times = s->gram[k * n + i];
            for (size_t j = 0; j <= k; j++) {
                row[j] -= times * before[j];
            }
        }
        row[i] = s->dead[i] ? 0 : 1;
        for (size_t j = 0; j <= i && !s->dead[i]; j++) {
            row[j] /= s->gram[i * n + i];
        }
    }
    for (size_t i = 0; i < n * n; i++) {
        s->inverse[i] = (float)s->solved[i];
    }
}

/* Cholesky QR once: V <- L^-1 V with V V^T = L L^T. */
static void orthonormalise(struct search *s)
{
    size_t n = s->count;
    for (size_t a = 0; a < n; a++) {
        normalise(s, a);
    }
    group_axes(s->v, n, s->dim, s->wide, s->packed);
    multiply(s, (struct engram_f32_products){s->v, n, s->wide, s->packed, n / GROUP, s->dim},
             s->scores);
    for (size_t i = 0; i < n * n; i++) {
        s->gram[i] = (double)s->scores[i];
    }
    invert_factor(s);
    group_columns(s->v, n, s->wide, s->wide, s->packed);
    multiply(s, (struct engram_f32_products){s->inverse, n, n, s->packed, s->wide / GROUP, n},
             s->v);
}

/* V <- V S^T S. */
static void power(struct search *s)
{
    size_t n = s->count;
    group_axes(s->v, n, s->dim, s->wide, s->packed);
    multiply(s,
             (struct engram_f32_products){s->sample, s->rows, s->dim, s->packed, n / GROUP, s->dim},
             s->scores);
    for (size_t r = 0; r < s->rows; r++) {
        for (size_t a = 0; a < n; a++) {
            s->turned[a * s->rows + r] = s->scores[r * n + a];
        }
    }
    multiply(
        s,
        (struct engram_f32_products){s->turned, n, s->rows, s->columns, s->wide / GROUP, s->rows},
        s->v);
}

static void iterate(struct search *s)
{
    uint64_t state = 3;
    for (size_t a = 0; a < s->count; a++) {
        randomise(s, a, &state);
    }
    for (int round = 0; round < ROUNDS; round++) {
        power(s);
        orthonormalise(s);
        for (size_t a = 0; round + 1 < ROUNDS && a < s->count; a++) {
            if (s->dead[a]) {
                randomise(s, a, &state);
            }
        }
        orthonormalise(s);
    }
}

static bool take_memory(struct search *s)
{
    size_t n = s->count;
    size_t most = s->rows > n ? s->rows : n;
    size_t sample = s->wide * s->rows * sizeof(float);
    size_t vectors = s->wide * n * sizeof(float);
    s->columns = engram_pages_alloc(sample);
    s->v = engram_pages_alloc(vectors);
    s->packed = engram_pages_alloc(vectors);
    s->scores = engram_pages_alloc(most * n * sizeof(float));
    s->turned = engram_pages_alloc(s->rows * n * sizeof(float));
    s->inverse = engram_pages_alloc(n * n * sizeof(float));
    s->gram = calloc(n * n, sizeof *s->gram);
    s->solved = calloc(n * n, sizeof *s->solved);
    s->dead = calloc(n, sizeof *s->dead);
    return s->columns != NULL && s->v != NULL && s->packed != NULL && s->scores != NULL &&
           s->turned != NULL && s->inverse != NULL && s->gram != NULL && s->solved != NULL &&
           s->dead != NULL;
}

static void give_back(struct search *s)
{
    size_t n = s->count;
    size_t most = s->rows > n ? s->rows : n;
    engram_pages_free(s->columns, s->wide * s->rows * sizeof(float));
    engram_pages_free(s->v, s->wide * n * sizeof(float));
    engram_pages_free(s->packed, s->wide * n * sizeof(float));
    engram_pages_free(s->scores, most * n * sizeof(float));
    engram_pages_free(s->turned, s->rows * n * sizeof(float));
    engram_pages_free(s->inverse, n * n * sizeof(float));
    free(s->gram);
    free(s->solved);
    free(s->dead);
}

enum engram_status engram_axes_find(const struct engram_kernels *kernels, const float *sample,
                                    size_t rows, size_t dim, size_t count, int team,
                                    struct engram_axes *axes)
{
    struct search s = {
        .kernels = kernels,
        .team = team,
        .sample = sample,
        .rows = rows,
        .dim = dim,
        .wide = engram_size_round_up(dim, GROUP),
        .count = engram_size_round_up(count, GROUP),
    };
    *axes = (struct engram_axes){.dim = dim};
    axes->excess = engram_prefix_excess(axes);
    if (rows == 0 || dim == 0 || count == 0) {
        return ENGRAM_OK;
    }
    bool ok = take_memory(&s);
    enum engram_status status = ENGRAM_ERR_RESOURCE;
    if (ok) {
        size_t found = 0;
        group_columns(sample, rows, dim, dim, s.columns);
        iterate(&s);
        for (size_t a = 0; a < s.count && found < count; a++) {
            if (!s.dead[a]) {
                memmove(s.v + found++ * s.wide, s.v + a * s.wide, s.wide * sizeof *s.v);
            }
        }
        status = engram_axes_take(kernels, s.v, s.wide, found, dim, axes);
    }
    give_back(&s);
    return status;
}

/* e: the Frobenius norm of V V^T - I, raised by more than its own rounding. */
static bool measure_defect(const struct engram_kernels *kernels, const float *values, size_t stride,
                           struct engram_axes *axes)
{
    size_t n = axes->count;
    const struct engram_base_rows rows = {(const unsigned char *)values, stride * sizeof *values};
    double *wide = calloc(axes->dim + n + 1, sizeof *wide);
    double sum = 0;
    if (wide == NULL) {
        return false;
    }
    for (size_t a = 0; a < n; a++) {
        const struct engram_wide_rows one = {wide, axes->dim};
        double *raw = wide + axes->dim;
        for (size_t i = 0; i < axes->dim; i++) {
            wide[i] = (double)values[a * stride + i];
        }
        kernels->canonical_tile[ENGRAM_OP_DOT][ENGRAM_WORK_F32](&one, 1, &rows, n, axes->dim, raw);
        for (size_t b = 0; b < n; b++) {
            double off = raw[b] - (a == b ? 1 : 0);
            sum += off * off;
        }
    }
    free(wide);
    axes->defect = sqrt(sum) * (1 + 0x1p-30) + (double)(n * axes->dim) * 0x1p-50;
    return true;
}

enum engram_status engram_axes_take(const struct engram_kernels *kernels, const float *values,
                                    size_t stride, size_t count, size_t dim,
                                    struct engram_axes *axes)
{
    *axes = (struct engram_axes){.dim = dim};
    axes->excess = engram_prefix_excess(axes);
    if (count == 0) {
        return ENGRAM_OK;
    }
    axes->count = count;
    axes->groups = (count + GROUP - 1) / GROUP;
    axes->bytes = axes->groups * GROUP * dim * sizeof(float);
    axes->packed = engram_pages_alloc(axes->bytes);
    if (axes->packed == NULL || !measure_defect(kernels, values, stride, axes)) {
        engram_axes_free(axes);
        return ENGRAM_ERR_RESOURCE;
    }
    group_axes(values, count, dim, stride, axes->packed);
    axes->excess = engram_prefix_excess(axes);
    if (!(axes->excess <= ENGRAM_PREFIX_EXCESS_MAX)) {
        engram_axes_cut(axes, 0);
    }
    return ENGRAM_OK;
}

void engram_axes_cut(struct engram_axes *axes, size_t count)
{
    if (count < axes->count) {
        axes->count = count;
        axes->groups = (count + GROUP - 1) / GROUP;
        axes->excess = engram_prefix_excess(axes);
    }
}

void engram_axes_free(struct engram_axes *axes)
{
    engram_pages_free(axes->packed, axes->bytes);
    *axes = (struct engram_axes){0};
}
