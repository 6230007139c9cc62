#include "search/values.h"

/* Values converted at a time; each loop below is simple enough for the compiler to vectorise, which
 * one loop that does all of it is not. */
#define CHUNK 64

/* out = offset + sign * score. NaN gets one pattern, whatever made it. */
static void convert(const double *scores, size_t count, double offset, double sign, double *out)
{
    for (size_t i = 0; i < count; i++) {
        double value = offset + sign * scores[i];
        out[i] = isnan(value) ? (double)NAN : value;
    }
}

/* engram_narrow: what C leaves open is settled before the conversion. */
static void narrow(double *values, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        double value = values[i];
        value = value >= ENGRAM_NARROW_LIMIT ? (double)INFINITY : value;
        values[i] = value <= -ENGRAM_NARROW_LIMIT ? -(double)INFINITY : value;
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)values[i];
    }
}

void engram_values_put(const struct engram_values *values, struct engram_order order, size_t at,
                       size_t count, const double *scores)
{
    /* Distance and similarity are one formula. */
    const double offset = values->similarity ? 0.0 : order.offset;
    const double sign = values->similarity ? 1.0 : order.sign;
    double chunk[CHUNK];

    if (!values->float32) {
        convert(scores, count, offset, sign, (double *)values->data + at);
        return;
    }
    for (size_t i = 0; i < count; i += CHUNK) {
        size_t some = count - i < CHUNK ? count - i : CHUNK;
        convert(scores + i, some, offset, sign, chunk);
        narrow(chunk, some, (float *)values->data + at + i);
    }
}

/* engram_score of cosine without branches, to be vectorised. */
static void score_cosine(double *sums, size_t count, double qq, const double *xx)
{
    for (size_t i = 0; i < count; i++) {
        double product = qq * xx[i];
        double divisor = product == 0 ? 1 : product;
        double cosine = sums[i] / sqrt(divisor);
        cosine = cosine > 1 ? 1 : cosine;
        cosine = cosine < -1 ? -1 : cosine;
        sums[i] = product == 0 ? 0 : cosine;
    }
}

void engram_scores(enum engram_metric metric, double *sums, size_t count, double qq,
                   const double *xx)
{
    if (metric == ENGRAM_COSINE) {
        score_cosine(sums, count, qq, xx);
        return;
    }
    if (metric == ENGRAM_L2) {
        for (size_t i = 0; i < count; i++) {
            sums[i] = sqrt(sums[i]);
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        sums[i] = engram_score(metric, sums[i], qq, xx == NULL ? 0 : xx[i]);
    }
}
