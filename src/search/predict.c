#include "search/predict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

#define QUERIES ((size_t)64)
#define ROWS_MAX ((size_t)512)

/* Rows that share a scale, about as in a panel. */
#define PANEL ((size_t)32)

/* Queries of a base whose searches nobody has announced. */
#define QUERIES_UNKNOWN 10000

/* Finding l axes takes 9 * 8 l * l products a dimension, on which 0.5 % of the integer filter's
 * n_queries * n_rows / 4 may be spent. */
#define PAIRS_PER_AXIS2 240000
#define AXES_MIN 15

/* Packing a row, in products of its elements; products with axes run at two thirds of the peak. */
#define PACK_COST 60
#define PRODUCT_COST 1.5

/* The prefix filter has to be cheaper by this factor: predictions err. */
#define CLEARLY 0.85

/* Scores of unlike rows spread like a normal distribution at best: its tail is shorter than the
 * exponential one that fits the sample, by about so much at the usual places. */
#define TAIL_FACTOR 0.8

static double element_cost(const struct engram_predictor *p)
{
    return p->prepared->kernels->rescore_cost;
}

/* A canonical score by itself: a pair to be listed, and a row from anywhere in the base. */
#define PAIR_ELEMENTS 300

static double rescore_cost(const struct engram_predictor *p)
{
    return element_cost(p) * ((double)p->prepared->dim + PAIR_ELEMENTS);
}

/* Tile and survivors for rows of `dim` codes. */
static double coded_cost(const struct engram_predictor *p, size_t dim, double share)
{
    const size_t coded = (dim + 3) / 4 * 4;
    return p->prepared->kernels->int_cost * (double)coded + element_cost(p) / 2 +
           share * rescore_cost(p) + PACK_COST * (double)dim / p->queries;
}

static double prefix_cost(const struct engram_predictor *p, size_t axes, double share)
{
    size_t products = (axes + ENGRAM_PRODUCT_GROUP - 1) / ENGRAM_PRODUCT_GROUP *
                      ENGRAM_PRODUCT_GROUP * p->prepared->dim;
    return coded_cost(p, axes + 1, share) + PRODUCT_COST * (double)products / p->queries;
}

static double expected_queries(const struct engram_search_options *options)
{
    double queries =
        options->expected_queries > 0 ? (double)options->expected_queries : QUERIES_UNKNOWN;
    /* A self-join computes each pair once. */
    return options->self && options->k == INT64_MAX ? (queries + 1) / 2 : queries;
}

size_t engram_predict_axes_most(const struct engram_prepared *prepared,
                                const struct engram_search_options *options)
{
    double pairs = expected_queries(options) * (double)prepared->stands_for;
    double most = sqrt(pairs / PAIRS_PER_AXIS2);
    size_t room = prepared->dim * 2 / 3;
    room = room < 191 ? room : 191;
    return most < AXES_MIN || room < AXES_MIN ? 0 : most < (double)room ? (size_t)most : room;
}

/* The queries, as axes are packed. */
static void pack_queries(const struct engram_predictor *p, float *packed)
{
    size_t dim = p->prepared->dim;
    for (size_t q = 0; q < QUERIES; q++) {
        const float *row = p->sample->flat + p->query_row[q] * p->step * dim;
        float *to = packed + q / ENGRAM_PRODUCT_GROUP * ENGRAM_PRODUCT_GROUP * dim +
                    q % ENGRAM_PRODUCT_GROUP;
        for (size_t i = 0; i < dim; i++) {
            to[i * ENGRAM_PRODUCT_GROUP] = row[i];
        }
    }
}

static int descending(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a < b) - (a > b);
}

/* Scores at the top that the estimate of a place needs. */
#define TOP ((size_t)16)

/* Brings the `TOP` largest to the front, sorted; all of them where a place after those is asked
 * for. */
static void sort_top(double *scores, size_t count, double rank)
{
    size_t top = count < TOP ? count : TOP;
    if (rank >= (double)top) {
        qsort(scores, count, sizeof *scores, descending);
        return;
    }
    qsort(scores, top, sizeof *scores, descending);
    for (size_t i = top; i < count; i++) {
        double score = scores[i];
        if (score <= scores[top - 1]) {
            continue;
        }
        size_t at = top - 1;
        scores[i] = scores[at];
        for (; at > 0 && scores[at - 1] < score; at--) {
            scores[at] = scores[at - 1];
        }
        scores[at] = score;
    }
}

/* The score at place `rank` (from 0, may be a fraction); beyond the sample's end by the mean excess
 * over the last of the top. */
static double at_rank(double *scores, size_t count, double rank)
{
    size_t base = count < TOP ? count - 1 : TOP - 1;
    double excess = 0;
    sort_top(scores, count, rank);
    if (rank >= (double)base) {
        return scores[rank < (double)count ? (size_t)rank : count - 1];
    }
    for (size_t i = 0; i < base; i++) {
        excess += (scores[i] - scores[base]) / (double)base;
    }
    return scores[base] + TAIL_FACTOR * excess * log((double)(base + 1) / (rank + 1e-9));
}

/* What an answer of query q has to reach; `scores` has room for a score of every row. */
static double level_of(const struct engram_predictor *p,
                       const struct engram_search_options *options, size_t q, double *scores)
{
    const struct engram_projection *projection = &p->prepared->codes.projection;
    const struct engram_projected projected = {projection->exponent,
                                               p->sample->norm2[p->query_row[q] * p->step]};
    double level = engram_dot_limit(p->prepared->metric, p->prepared->dim, projection->exponent,
                                    &projected, options->max_distance, options->min_similarity);
    size_t count = 0;
    int64_t all = options->expected_rows > 0 ? options->expected_rows : p->prepared->stands_for;
    if (options->k >= all || p->rows < 2) {
        return level;
    }
    for (size_t r = 0; r < p->rows; r++) {
        if (r != p->query_row[q]) {
            scores[count++] = (double)p->scores[r * QUERIES + q] - p->row_term[r];
        }
    }
    double rank = (double)options->k / (double)all * (double)count;
    double kth = at_rank(scores, count, rank);
    return kth > level ? kth : level;
}

/* Share of the pairs whose score, raised by what `slack` times the norms of both make, reaches the
 * level. */
static double share_within(const struct engram_predictor *p, double absolute, double slack)
{
    size_t found = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        double own = sqrt(p->sample->norm2[p->query_row[q] * p->step]) * slack;
        for (size_t r = 0; r < p->rows; r++) {
            double bound = (double)p->scores[r * QUERIES + q] - p->row_term[r] + absolute +
                           own * sqrt(p->sample->norm2[r * p->step]);
            found += r != p->query_row[q] && bound >= p->level[q];
        }
    }
    return (double)found / (double)(QUERIES * p->rows);
}

/* Mean error bound of codes for vectors of `dim` values with these largest magnitudes and norm. */
static double code_error(const struct engram_predictor *p, size_t dim, double panel_top,
                         double row_top, double norm)
{
    const struct engram_kernels *kernels = p->prepared->kernels;
    return norm * sqrt((double)dim / 12) *
           (panel_top / kernels->int_base_limit + row_top / kernels->int_query_limit);
}

/* As the integer filter would see the sample: centred, in codes. */
static void predict_int(struct engram_predictor *p)
{
    size_t dim = p->prepared->dim;
    const struct engram_prefix_sample *sample = p->sample;
    double panel_top = 0;
    double row_top = 0;
    double norm2 = 0;
    double *mean = p->row_term + p->rows; /* [dim] */
    bool centred = p->prepared->codes.mean == NULL;
    memset(mean, 0, dim * sizeof *mean);
    for (size_t r = 0; r < p->rows && centred; r++) {
        for (size_t i = 0; i < dim; i++) {
            mean[i] += (double)sample->flat[r * p->step * dim + i] / (double)p->rows;
        }
    }
    for (size_t first = 0; first < p->rows; first += PANEL) {
        size_t last = first + PANEL < p->rows ? first + PANEL : p->rows;
        double top = 0;
        for (size_t r = first; r < last; r++) {
            double own = 0;
            for (size_t i = 0; i < dim; i++) {
                double value = fabs((double)sample->flat[r * p->step * dim + i] - mean[i]);
                norm2 += value * value;
                own = value > own ? value : own;
            }
            row_top += own;
            top = own > top ? own : top;
        }
        panel_top += top * (double)(last - first);
    }
    double rows = (double)p->rows;
    double error = code_error(p, dim, panel_top / rows, row_top / rows, sqrt(norm2 / rows));
    p->found.integer.share = share_within(p, error, 0);
    p->found.integer.cost = coded_cost(p, dim, p->found.integer.share);
    p->found.f32.share = share_within(p, 0, 0);
    p->found.f32.cost = 1.2 * (double)dim + element_cost(p) / 2 +
                        p->found.f32.share * rescore_cost(p) + PACK_COST * (double)dim / p->queries;
}

bool engram_predictor_make(struct engram_predictor *p, const struct engram_prepared *prepared,
                           const struct engram_prefix_sample *sample,
                           const struct engram_search_options *options)
{
    size_t dim = prepared->dim;
    *p = (struct engram_predictor){
        .prepared = prepared, .sample = sample, .queries = expected_queries(options)};
    p->step = (sample->rows + ROWS_MAX - 1) / ROWS_MAX;
    p->rows = p->step == 0 ? 0 : sample->rows / p->step;
    float *packed = aligned_alloc(64, (QUERIES * dim + 16) * sizeof *packed);
    double *sorted = calloc(p->rows + 1, sizeof *sorted);
    p->scores = calloc(p->rows * QUERIES + 1, sizeof *p->scores);
    p->row_term = calloc(p->rows + dim + 1, sizeof *p->row_term);
    p->level = calloc(QUERIES, sizeof *p->level);
    p->query_row = calloc(QUERIES, sizeof *p->query_row);
    bool ok = packed != NULL && sorted != NULL && p->scores != NULL && p->row_term != NULL &&
              p->level != NULL && p->query_row != NULL;
    if (ok && p->rows > 0) {
        for (size_t q = 0; q < QUERIES; q++) {
            p->query_row[q] = q * p->rows / QUERIES;
        }
        pack_queries(p, packed);
        const struct engram_f32_products args = {
            sample->flat, p->rows, p->step * dim, packed, QUERIES / ENGRAM_PRODUCT_GROUP, dim};
        prepared->kernels->f32_products(&args, p->scores);
        for (size_t r = 0; r < p->rows && prepared->codes.mean != NULL; r++) {
            p->row_term[r] = sample->norm2[r * p->step] / 2;
        }
        for (size_t q = 0; q < QUERIES; q++) {
            p->level[q] = level_of(p, options, q, sorted);
        }
        predict_int(p);
    }
    free(packed);
    free(sorted);
    return ok;
}

void engram_predictor_free(struct engram_predictor *p)
{
    free(p->scores);
    free(p->row_term);
    free(p->level);
    free(p->query_row);
}

/* The next number of axes to look at: with the tail they fill groups of four. */
static size_t next_count(size_t count)
{
    return count < 31 ? count + 8 : count < 63 ? count + 16 : count + 32;
}

bool engram_predict_pays(const struct engram_filter_choice *found)
{
    return found->prefix.cost < CLEARLY * found->integer.cost &&
           found->prefix.cost < CLEARLY * found->f32.cost;
}

/* The eigenvalues L of the second moment have sum L = E |X|^2 and sum L^2 = E (X.Y)^2, so by Cauchy
 * and Schwarz the first p of them make at most sqrt(p E (X.Y)^2): at least the rest is in tails. */
bool engram_predict_hope(const struct engram_predictor *p, size_t most)
{
    double norm2 = 0;
    double square = 0;
    for (size_t r = 0; r < p->rows; r++) {
        norm2 += p->sample->norm2[r * p->step] / (double)p->rows;
        for (size_t q = 0; q < QUERIES; q++) {
            double score = (double)p->scores[r * QUERIES + q];
            square += r == p->query_row[q] ? 0 : score * score;
        }
    }
    square /= (double)(QUERIES * p->rows);
    for (size_t count = AXES_MIN; count <= most && norm2 > 0; count = next_count(count)) {
        struct engram_filter_choice found = p->found;
        double tail = 1 - sqrt((double)count * square) / norm2;
        double share = share_within(p, 0, tail > 0 ? 0.8 * tail : 0);
        found.prefix.cost = prefix_cost(p, count, share);
        if (engram_predict_pays(&found)) {
            return true;
        }
    }
    return false;
}

/* Largest magnitudes and norms of the sample's coded rows with the first `count` axes. */
static double prefix_error(const struct engram_predictor *p, const float *extended, size_t width,
                           size_t count, const double *tails)
{
    double rows = (double)p->rows;
    double panel_top = 0;
    double row_top = 0;
    double norm2 = 0;
    double *mean = p->row_term + p->rows; /* [count] */
    double tail = 0;
    memset(mean, 0, count * sizeof *mean);
    for (size_t r = 0; r < p->rows; r++) {
        tail += tails[r] / rows;
        for (size_t i = 0; i < count; i++) {
            mean[i] += (double)extended[r * p->step * width + i] / rows;
        }
    }
    double top = 0;
    for (size_t r = 0; r < p->rows; r++) {
        double own = fabs(tails[r] - tail);
        norm2 += own * own;
        for (size_t i = 0; i < count; i++) {
            double value = fabs((double)extended[r * p->step * width + i] - mean[i]);
            norm2 += value * value;
            own = value > own ? value : own;
        }
        row_top += own;
        top = own > top ? own : top;
        if (r % PANEL == PANEL - 1 || r + 1 == p->rows) {
            panel_top += top * (double)(r % PANEL + 1);
            top = 0;
        }
    }
    return code_error(p, count + 1, panel_top / rows, row_top / rows, sqrt(norm2 / rows));
}

/* Of the pairs, from what each query found: two standard errors and two pairs more. Queries differ
 * far more than chance would have it: a few that point where many rows are find most. */
static double cautious_share(const double found[QUERIES], size_t rows)
{
    double sum = 0;
    double squares = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        sum += found[q];
        squares += found[q] * found[q];
    }
    double spread = squares - sum * sum / (double)QUERIES;
    return (sum + 2 * sqrt(spread > 0 ? spread : 0) + 2) / (double)(QUERIES * rows + 1);
}

void engram_predict_axes(struct engram_predictor *p, const struct engram_axes *axes,
                         const float *extended)
{
    size_t width = axes->count + 1;
    size_t last = 0;
    double *tails = calloc(p->rows + 1, sizeof *tails);
    double *heads = calloc(p->rows * QUERIES + 1, sizeof *heads);
    p->found.prefix.cost = INFINITY;
    for (size_t count = AXES_MIN; tails != NULL && heads != NULL; count = next_count(count)) {
        count = count < axes->count ? count : axes->count;
        double found[QUERIES] = {0};
        for (size_t r = 0; r < p->rows; r++) {
            const float *row = extended + r * p->step * width;
            double rest = p->sample->norm2[r * p->step];
            for (size_t i = 0; i < count; i++) {
                rest -= (double)row[i] * (double)row[i];
            }
            tails[r] = rest > 0 ? sqrt(rest) : 0;
        }
        double error = prefix_error(p, extended, width, count, tails);
        for (size_t r = 0; r < p->rows; r++) {
            const float *row = extended + r * p->step * width;
            for (size_t q = 0; q < QUERIES; q++) {
                const float *query = extended + p->query_row[q] * p->step * width;
                double *head = heads + r * QUERIES + q;
                float more = 0;
                for (size_t i = last; i < count; i++) {
                    more += row[i] * query[i];
                }
                *head += (double)more;
                double bound = *head + tails[r] * tails[p->query_row[q]] + error - p->row_term[r];
                found[q] += r != p->query_row[q] && bound >= p->level[q];
            }
        }
        double share = cautious_share(found, p->rows);
        double cost = prefix_cost(p, count, share);
        if (cost < p->found.prefix.cost) {
            p->found.prefix.cost = cost;
            p->found.prefix.share = share;
            p->found.prefix.axes = (int)count;
        }
        last = count;
        if (count == axes->count) {
            break;
        }
    }
    free(tails);
    free(heads);
}
