#include "job/check.h"

#include <math.h>
#include <stdlib.h>

static double element(const struct engram_set *set, int64_t row, int64_t i)
{
    const unsigned char *data = (const unsigned char *)set->data + (size_t)row * set->stride;
    if (set->dtype == ENGRAM_BITS) {
        return (data[i / 8] & 128 >> i % 8) != 0 ? 1 : 0;
    }
    return set->dtype == ENGRAM_F32 ? (double)((const float *)(const void *)data)[i]
                                    : ((const double *)(const void *)data)[i];
}

/* Copies a row; false when it is not finite. `*scale` is its largest magnitude. */
static bool load_row(const struct engram_set *set, int64_t row, double *out, double *scale)
{
    bool finite = true;
    *scale = 0;
    for (int64_t i = 0; i < set->dim; i++) {
        out[i] = element(set, row, i);
        finite = finite && isfinite(out[i]);
        *scale = fabs(out[i]) > *scale ? fabs(out[i]) : *scale;
    }
    return finite;
}

/* The keys of rows of zeros and ones; two divisions at most, each good to 2^-53. */
static double bit_key(enum engram_metric metric, const double *q, const double *x, int64_t dim,
                      double *error)
{
    int64_t unlike = 0;
    int64_t shared = 0;
    for (int64_t i = 0; i < dim; i++) {
        unlike += q[i] != x[i];
        shared += q[i] == 1 && x[i] == 1;
    }
    *error = 0x1p-51;
    if (metric == ENGRAM_HAMMING) {
        return dim > 0 ? (double)unlike / (double)dim : 0;
    }
    /* The jaccard distance: of the bits set in either, the share that is not in both. */
    return unlike + shared > 0 ? (double)unlike / (double)(unlike + shared) : 1;
}

/* Key and similarity of a pair by textbook formulas; `error` bounds what float64 rounding can do
 * to this key and to the canonical one together: each sums dim terms, so each errs by at most
 * (dim + 8) 2^-53 of the sum of magnitudes. */
static double plain_key(enum engram_metric metric, const double *q, double q_scale, const double *x,
                        double x_scale, int64_t dim, double *error)
{
    double unit = 2 * (double)(dim + 8) * 0x1p-53;
    double dot = 0;
    double magnitude = 0;
    double squares[2] = {0, 0};
    double apart = 0;
    double steps = 0;
    /* Cosine does not depend on scale; without it, 1e300 squared would be infinite. */
    double qs = metric == ENGRAM_COSINE && q_scale > 0 ? q_scale : 1;
    double xs = metric == ENGRAM_COSINE && x_scale > 0 ? x_scale : 1;

    for (int64_t i = 0; i < dim; i++) {
        double a = q[i] / qs;
        double b = x[i] / xs;
        dot += a * b;
        magnitude += fabs(a * b);
        squares[0] += a * a;
        squares[1] += b * b;
        apart += (q[i] - x[i]) * (q[i] - x[i]);
        steps += fabs(q[i] - x[i]);
    }
    switch (metric) {
    case ENGRAM_HAMMING:
    case ENGRAM_JACCARD:
        return bit_key(metric, q, x, dim, error);
    case ENGRAM_L1:
        *error = unit * steps;
        return steps;
    case ENGRAM_COSINE:
        *error = 4 * unit;
        if (squares[0] == 0 || squares[1] == 0) {
            return 1;
        }
        return 1 - fmax(-1, fmin(1, dot / (sqrt(squares[0]) * sqrt(squares[1]))));
    case ENGRAM_IP:
        *error = unit * magnitude + (double)dim * 0x1p-1073;
        return -dot;
    case ENGRAM_L2:
        *error = unit * sqrt(apart) + sqrt((double)dim) * 0x1p-536;
        return sqrt(apart);
    default:
        *error = unit * apart + (double)dim * 0x1p-1073;
        return apart;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Whether base row `r` may be an answer to query `q` by what is said about single rows. */
static bool may_match(const struct engram_check *check, int64_t q, int64_t r)
{
    if (check->info.self && q + check->query_first == r + check->base_first) {
        return false;
    }
    if (check->allowed != NULL && (check->allowed[r / 8] & 1U << r % 8) == 0) {
        return false;
    }
    return check->base_groups == NULL || check->query_groups[q] < 0 ||
           check->query_groups[q] != check->base_groups[r];
}

int64_t engram_check_scan(const struct engram_check *check, struct engram_check_room *room,
                          int64_t q)
{
    double q_scale;
    double x_scale;
    int64_t eligible = 0;
    if (!load_row(&check->queries, q, room->query, &q_scale)) {
        return -1;
    }
    for (int64_t r = 0; r < check->base.rows; r++) {
        room->answered[r] = false;
        room->keys[r] = NAN;
        if (!may_match(check, q, r) || !load_row(&check->base, r, room->row, &x_scale)) {
            continue;
        }
        room->keys[r] = plain_key(check->info.metric, room->query, q_scale, room->row, x_scale,
                                  check->base.dim, &room->errors[r]);
        room->sorted[eligible++] = room->keys[r];
    }
    qsort(room->sorted, (size_t)eligible, sizeof *room->sorted, compare_doubles);
    return eligible;
}

/* Distance and similarity: each follows from the other in the same way. */
static double other_of(enum engram_metric metric, double value)
{
    return metric == ENGRAM_IP ? -value : 1 - value;
}

int engram_check_within(const struct engram_result_info *info, double key, double error)
{
    double similarity = other_of(info->metric, key);
    int verdict = 1;
    if (!isnan(info->max_distance)) {
        verdict = key + error < info->max_distance ? 1 : key - error > info->max_distance ? 0 : -1;
    }
    if (!isnan(info->min_similarity) && verdict != 0) {
        int other = similarity - error > info->min_similarity   ? 1
                    : similarity + error < info->min_similarity ? 0
                                                                : -1;
        verdict = other < verdict ? other : verdict;
        verdict = other == 0 ? 0 : verdict;
    }
    return verdict;
}

double engram_check_distance(const struct engram_result_info *info, double value)
{
    return info->similarity ? other_of(info->metric, value) : value;
}

/* A stored value against the scan's key: the difference beyond what rounding to the stored type
 * makes, relative to the value; infinite where one is NaN. */
static double difference(const struct engram_result_info *info, double stored, double key)
{
    double value = info->similarity ? other_of(info->metric, key) : key;
    double scale = fabs(value) > 1 ? fabs(value) : 1;
    if (isnan(stored) || isnan(value)) {
        return INFINITY;
    }
    if (isinf(stored) && !info->float64) {
        return fabs(value) > 0x1.fffffep127 ? 0 : INFINITY;
    }
    double rounding = info->float64 ? 0 : fabs(value) * 0x1p-24 + 0x1p-150;
    double beyond = fabs(stored - value) - rounding;
    return beyond <= 0 ? 0 : beyond / scale;
}

/* Whether a stored value is within the rounding bound of a key; notes how far off it is. */
static bool agrees(const struct engram_result_info *info, double stored, double key, double slack,
                   struct engram_finding *finding)
{
    double off = difference(info, stored, key);
    finding->difference = off > finding->difference ? off : finding->difference;
    return off * (fabs(key) > 1 ? fabs(key) : 1) <= slack;
}

/* Checks answer i of a query; false: it is wrong. */
static bool check_answer(const struct engram_check *check, struct engram_check_room *room,
                         int64_t i, int64_t row, double value, struct engram_finding *finding)
{
    int64_t local = row - check->base_first;
    if (local < 0 || local >= check->base.rows || isnan(room->keys[local]) ||
        room->answered[local]) {
        return false;
    }
    room->answered[local] = true;
    double key = room->keys[local];
    double slack = 2 * room->errors[local];
    if (!agrees(&check->info, value, key, slack, finding) ||
        engram_check_within(&check->info, key, slack) == 0) {
        return false;
    }
    /* With k, the i-th answer must be as near as the i-th of the scan. */
    if (check->info.k != INT64_MAX && key != room->sorted[i]) {
        if (fabs(key - room->sorted[i]) > 2 * slack) {
            return false;
        }
        finding->swaps++;
    }
    return true;
}

/* Rows that had to be answered and were not. */
static int64_t missing(const struct engram_check *check, const struct engram_check_room *room,
                       int64_t eligible, int64_t count)
{
    int64_t expected = 0;
    int64_t unsure = 0;
    int64_t absent = 0;
    for (int64_t r = 0; r < check->base.rows; r++) {
        if (isnan(room->keys[r])) {
            continue;
        }
        int within = engram_check_within(&check->info, room->keys[r], 2 * room->errors[r]);
        expected += within == 1;
        unsure += within < 0;
        absent += within == 1 && !room->answered[r];
    }
    if (check->info.k == INT64_MAX) {
        return absent;
    }
    /* The i-th answers were compared with the i-th of the scan: only their number is left. */
    int64_t least = expected < check->info.k ? expected : check->info.k;
    int64_t most = expected + unsure < check->info.k ? expected + unsure : check->info.k;
    (void)eligible;
    return count < least ? least - count : count > most ? count - most : 0;
}

/* Every value of a row of a dense or pairwise result. */
static struct engram_finding check_cells(const struct engram_check *check,
                                         struct engram_check_room *room, int64_t q, int64_t count,
                                         const int64_t *rows, const double *values)
{
    struct engram_finding finding = {.answers = count};
    double q_scale;
    double x_scale;
    bool usable = load_row(&check->queries, q, room->query, &q_scale);
    for (int64_t i = 0; i < count; i++) {
        bool both =
            load_row(&check->base, rows[i] - check->base_first, room->row, &x_scale) && usable;
        if (!both) {
            finding.errors += !isnan(values[i]);
            continue;
        }
        double error;
        double key = plain_key(check->info.metric, room->query, q_scale, room->row, x_scale,
                               check->base.dim, &error);
        finding.errors += !agrees(&check->info, values[i], key, 2 * error, &finding);
    }
    return finding;
}

struct engram_finding engram_check_query(const struct engram_check *check,
                                         struct engram_check_room *room, int64_t q, int64_t count,
                                         const int64_t *rows, const double *values)
{
    struct engram_finding finding = {.answers = count};
    if (check->info.kind == ENGRAM_RESULT_DENSE || check->info.kind == ENGRAM_RESULT_PAIRWISE) {
        return check_cells(check, room, q, count, rows, values);
    }
    int64_t eligible = engram_check_scan(check, room, q);
    if (eligible < 0) {
        finding.errors = count;
        return finding;
    }
    for (int64_t i = 0; i < count; i++) {
        bool ordered = i == 0 || engram_check_distance(&check->info, values[i - 1]) <=
                                     engram_check_distance(&check->info, values[i]);
        if (i >= eligible || !ordered ||
            !check_answer(check, room, i, rows[i], values[i], &finding)) {
            finding.errors++;
        }
    }
    finding.errors += missing(check, room, eligible, count);
    return finding;
}

void engram_check_room_free(struct engram_check_room *room)
{
    free(room->query);
    free(room->row);
    free(room->keys);
    free(room->errors);
    free(room->sorted);
    free(room->answered);
}

bool engram_check_room_make(const struct engram_check *check, struct engram_check_room *room)
{
    size_t dim = (size_t)check->base.dim + 1;
    size_t rows = (size_t)check->base.rows + 1;
    *room = (struct engram_check_room){
        .query = calloc(dim, sizeof(double)),
        .row = calloc(dim, sizeof(double)),
        .keys = calloc(rows, sizeof(double)),
        .errors = calloc(rows, sizeof(double)),
        .sorted = calloc(rows, sizeof(double)),
        .answered = calloc(rows, sizeof(bool)),
    };
    return room->query != NULL && room->row != NULL && room->keys != NULL && room->errors != NULL &&
           room->sorted != NULL && room->answered != NULL;
}
