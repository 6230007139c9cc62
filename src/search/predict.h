/* What a sample says about filters before anything is packed: which share of the pairs each would
 * leave to be scored, and what that costs. Base rows stand in for queries. Changes speed, never an
 * answer; the same for every thread count. */
#ifndef ENGRAM_SEARCH_PREDICT_H
#define ENGRAM_SEARCH_PREDICT_H

#include "search/pack_prefix.h"

struct engram_predictor {
    const struct engram_prepared *prepared;
    const struct engram_prefix_sample *sample;
    double queries; /* expected */
    size_t step;    /* of the sample's rows that are looked at */
    size_t rows;
    float *scores;                     /* [rows][PREDICT_QUERIES] Q.X, less the row term of l2 */
    double *row_term;                  /* [rows] */
    double *level;                     /* [PREDICT_QUERIES] what an answer must reach */
    size_t *query_row;                 /* [PREDICT_QUERIES] among `rows` */
    struct engram_filter_choice found; /* its estimates; PREFIX: with the best number of axes */
};

/* Axes that a job of this size may be given: finding them takes a small part of it. */
size_t engram_predict_axes_most(const struct engram_prepared *prepared,
                                const struct engram_search_options *options);

/* Scores the sample. False when memory fails. */
bool engram_predictor_make(struct engram_predictor *predictor,
                           const struct engram_prepared *prepared,
                           const struct engram_prefix_sample *sample,
                           const struct engram_search_options *options);
void engram_predictor_free(struct engram_predictor *predictor);

/* Whether up to `most` axes could make the prefix filter the cheapest, were they the best that the
 * size of the scores allows. */
bool engram_predict_hope(const struct engram_predictor *predictor, size_t most);

/* The best number of these axes, in `found`; `extended` is the sample with all of them. */
void engram_predict_axes(struct engram_predictor *predictor, const struct engram_axes *axes,
                         const float *extended);

/* Whether the prefix filter is clearly cheaper than the others. */
bool engram_predict_pays(const struct engram_filter_choice *found);

#endif
