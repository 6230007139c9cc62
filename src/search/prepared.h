/* A prepared base set, from the inside. */
#ifndef ENGRAM_SEARCH_PREPARED_H
#define ENGRAM_SEARCH_PREPARED_H

#include "search/axes.h"
#include "search/bound_f32.h"
#include "search/pack_bits.h"
#include "search/project.h"
#include "search/rows.h"

/* Rows packed for the float32 tile. */
struct engram_f32_pack {
    float *panels; /* [panel_count][bound.depth][kernels->f32_rows]; NULL: not packed */
    size_t bytes;
    size_t panel_count;
    double *mean; /* [dim], subtracted from both sides; NULL: nothing is */
    struct engram_f32_bound bound;
};

/* Rows packed for the integer tile: as they are, or (prefix filter) their products with axes and
 * the norm of the rest. */
struct engram_int_pack {
    uint8_t *panels; /* [panel_count][groups][kernels->int_rows][4]; NULL: not packed */
    size_t bytes;
    size_t panel_count;
    size_t dim; /* of a coded row: that of the set, or axes.count + 1 */
    size_t groups;
    bool prefix;   /* rows are coded by way of the axes */
    bool borrowed; /* the axes are the model's */
    struct engram_axes axes;
    struct engram_int_head *heads; /* [panel_count] */
    float *bias;                   /* [panel_count][kernels->int_rows] */
    double *mean;                  /* of the projection (l2, sqeuclidean); or NULL */
    double *centre; /* [dim] m of bound_int.h (cosine, ip; any metric with axes); NULL: zero */
    double centre_norm2;
    float *mean32;   /* the same vectors for the packing loops, .. */
    float *centre32; /* .. zeros where there is none */
    float *zeros32;  /* as many as any row has */
    struct engram_projection projection;
    double tiny; /* T */
};

struct engram_prepared {
    enum engram_metric metric;
    const struct engram_kernels *kernels;
    enum engram_work_type type;
    int64_t rows;
    int64_t stands_for; /* rows of which these are a sample; `rows`, where they are all */
    size_t dim;
    bool explain;                        /* estimates are wanted also where they change nothing */
    const struct engram_prepared *model; /* whose choices are taken over; NULL */
    double largest;                      /* magnitude over the finite rows */
    struct engram_filter_choice choice;
    struct engram_base_rows view; /* the caller's memory or `owned` */
    void *owned;
    size_t owned_bytes;
    double *self_products; /* xx of engram_score; cosine and jaccard, else NULL */
    uint8_t *live;         /* bit r: row r is finite and may be an answer; zero past the end */
    bool masked;           /* some rows may be none although they are finite */
    int64_t skipped;       /* rows that are not finite */
    struct engram_f32_pack f32;
    struct engram_int_pack codes;
    struct engram_bit_pack bits;
};

static inline bool engram_prepared_live(const struct engram_prepared *prepared, size_t row)
{
    return (prepared->live[row >> 3] >> (row & 7) & 1) != 0;
}

/* The elements of `view`. */
static inline enum engram_dtype engram_prepared_dtype(const struct engram_prepared *prepared)
{
    return engram_metric_of_bits(prepared->metric) ? ENGRAM_BITS
           : prepared->type == ENGRAM_WORK_F32     ? ENGRAM_F32
                                                   : ENGRAM_F64;
}

/* engram_prepare for a caller who has a name for the base and for its rows: `what` and `first_row`
 * (number of the first row) appear in messages. */
enum engram_status engram_prepare_named(const struct engram_set *base, const char *what,
                                        int64_t first_row,
                                        const struct engram_search_options *options,
                                        struct engram_prepared **prepared);

/* A sample of the rows of a base that comes in parts. engram_prepare_like prepares the parts with
 * the filter, the axes and the means of the model, which are right for any rows: they are found
 * once. The model keeps nothing of the rows, cannot be searched, and has to outlive what is made
 * like it; with `model` NULL it is engram_prepare_named.
 */
enum engram_status engram_prepare_model(const struct engram_set *sample, const char *what,
                                        int64_t rows, const struct engram_search_options *options,
                                        struct engram_prepared **model);
enum engram_status engram_prepare_like(const struct engram_prepared *model,
                                       const struct engram_set *base, const char *what,
                                       int64_t first_row,
                                       const struct engram_search_options *options,
                                       struct engram_prepared **prepared);

/* The choice that engram_prepare would make for `rows` rows of which `sample` is a sample spread
 * evenly: by the same steps, but estimates are made also where they could not change it. */
enum engram_status engram_prepare_choice(const struct engram_set *sample, int64_t rows,
                                         const struct engram_search_options *options,
                                         struct engram_filter_choice *choice);

/* prepare_bits.c: takes rows of bits where they lie; live bits and self products. `room` holds a
 * row in words. */
void engram_bits_take(struct engram_prepared *prepared, const struct engram_set *base, int team,
                      uint64_t *room);

/* Bytes of the packed copy for a plan. */
size_t engram_f32_pack_bytes(const struct engram_kernels *kernels, enum engram_metric metric,
                             int64_t rows, int64_t dim);

/* pack_f32.c: fills prepared->f32, on `team` threads. `largest`: magnitude of all live rows. */
enum engram_status engram_f32_pack_make(struct engram_prepared *prepared, double largest, int team,
                                        const struct engram_log *log);
void engram_f32_pack_free(struct engram_f32_pack *pack);

/* A mean of rows to subtract from all: the model's, if there is one. `*largest` is brought up to
 * what covers it. NULL when memory fails. */
double *engram_prepared_mean(const struct engram_prepared *prepared, double *largest);

/* pack_int.c: likewise for prepared->codes, by way of principal axes where the options' filter is
 * PREFIX, or AUTO and a sample says that it pays. */
size_t engram_int_pack_bytes(const struct engram_kernels *kernels, int64_t rows, int64_t dim);
size_t engram_prefix_pack_bytes(const struct engram_kernels *kernels, int64_t rows, int64_t dim);
enum engram_status engram_int_pack_make(struct engram_prepared *prepared, double largest,
                                        const struct engram_search_options *options, int team);
void engram_int_pack_free(struct engram_int_pack *pack);
struct engram_int_row engram_int_centre_row(const struct engram_prepared *prepared, size_t row,
                                            const float *centre, double *wide, float *narrow,
                                            float *out);

/* One row, widened, as it goes into the tile: `depth` values. `self_product` is the canonical qq
 * (cosine). `dense` has room for depth floats. For queries `query` is filled; for base rows it is
 * NULL and the base's exponent is used. */
void engram_f32_project(const struct engram_f32_bound *bound, const double *mean, const double *row,
                        double self_product, double largest, struct engram_projected *query,
                        float *dense);

#endif
