#include "search/sample.h"

#include <stdlib.h>

#include "search/bound_int.h"

#define SAMPLE_QUERIES 8
#define SAMPLE_ROWS 256

/* With scores spread like a normal distribution, the best of 10^4 lies 3.7 standard deviations
 * out, and a bound 2.4 of them wide lets one pair in ten through: there a float32 tile, at three
 * times the cost of an integer tile, is the cheaper filter. */
#define WIDTH_MAX 2.4

/* Room for one sampled query and one row. */
struct sample {
    const struct engram_prepared *prepared;
    double *query; /* [dim] projected */
    double *row;
    double *coded; /* [dim] overwritten by the coding */
    int8_t *codes;
};

static double project_sample(const struct sample *sample, size_t row, double *out,
                             struct engram_projected *projected)
{
    const struct engram_prepared *prepared = sample->prepared;
    const struct engram_projection *projection = &prepared->codes.projection;
    enum engram_dtype dtype = prepared->type == ENGRAM_WORK_F32 ? ENGRAM_F32 : ENGRAM_F64;
    double xx = prepared->self_products == NULL ? 0 : prepared->self_products[row];
    engram_prepared_row(prepared, row, out);
    struct engram_row_look look =
        engram_row_look(dtype, prepared->view.data + row * prepared->view.stride, prepared->dim);
    double factor = engram_projection_factor(projection, out, xx, look.largest, projected);
    double norm2 = engram_project(projection, factor, out, out);
    if (projected != NULL) {
        projected->norm2 = norm2;
    }
    return norm2;
}

/* Mean width of the bound over the standard deviation of the scores of one query. */
static double width_of(const struct sample *sample, size_t query_row)
{
    const struct engram_prepared *prepared = sample->prepared;
    const struct engram_int_pack *pack = &prepared->codes;
    size_t rows = (size_t)prepared->rows;
    size_t step = rows / SAMPLE_ROWS + 1;
    struct engram_projected projected;
    struct engram_int_query query;
    double width = 0;
    double mean = 0;
    double squares = 0;
    double count = 0;

    (void)project_sample(sample, query_row, sample->query, &projected);
    for (size_t i = 0; i < prepared->dim; i++) {
        sample->coded[i] = sample->query[i];
    }
    engram_int_query_make(prepared, sample->coded, &projected, sample->codes, &query);
    for (size_t r = 0; r < rows; r += step) {
        if (!engram_prepared_live(prepared, r)) {
            continue;
        }
        const struct engram_int_head *head = &pack->heads[r / prepared->kernels->int_rows];
        double norm2 = project_sample(sample, r, sample->row, NULL);
        double score = pack->mean == NULL ? 0 : -query.slope * query.scale * norm2 / 2;
        for (size_t i = 0; i < prepared->dim; i++) {
            score += sample->query[i] * sample->row[i];
        }
        count++;
        width += query.scale *
                 (query.row_error * (double)head->error + query.query_error * (double)head->norm) /
                 (double)head->scale;
        double off = score - mean;
        mean += off / count;
        squares += off * (score - mean);
    }
    double spread = count > 1 ? sqrt(squares / count) : 0;
    return spread > 0 ? width / count / spread : 0;
}

bool engram_int_pack_tells(const struct engram_prepared *prepared)
{
    size_t dim = prepared->dim + 1;
    size_t rows = (size_t)prepared->rows;
    struct sample sample = {
        .prepared = prepared,
        .query = calloc(dim, sizeof(double)),
        .row = calloc(dim, sizeof(double)),
        .coded = calloc(dim, sizeof(double)),
        .codes = calloc(dim, sizeof(int8_t)),
    };
    double total = 0;
    int count = 0;
    bool ok =
        sample.query != NULL && sample.row != NULL && sample.coded != NULL && sample.codes != NULL;

    for (size_t r = 0; ok && r < rows; r += rows / SAMPLE_QUERIES + 1) {
        if (engram_prepared_live(prepared, r)) {
            total += width_of(&sample, r);
            count++;
        }
    }
    free(sample.query);
    free(sample.row);
    free(sample.coded);
    free(sample.codes);
    return count == 0 || total / count < WIDTH_MAX;
}
