/* Preparing a base set: look at every row, take what must be copied, pack. */
#include "search/filter.h"
#include "search/sample.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pages.h"
#include "base/size.h"
#include "search/team.h"

/* What one pass over the rows finds. */
struct survey {
    struct engram_bad_row bad;
    double largest; /* magnitude over the finite rows */
    int64_t skipped;
    bool needs_scale; /* some cosine row has to be multiplied */
};

static bool cancelled(const int *cancel)
{
    return cancel != NULL && __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0;
}

static void survey_join(struct survey *into, const struct survey *from)
{
    engram_bad_row_join(&into->bad, &from->bad);
    into->largest = from->largest > into->largest ? from->largest : into->largest;
    into->skipped += from->skipped;
    into->needs_scale = into->needs_scale || from->needs_scale;
}

/* Canonical self product of a row: against itself, widened on one side into `wide`. */
static void self_product(const struct engram_prepared *prepared, const void *row, int64_t r,
                         double *wide)
{
    const struct engram_base_rows one = {row, 0};
    const struct engram_wide_rows query = {wide, 0};
    enum engram_dtype dtype = prepared->type == ENGRAM_WORK_F32 ? ENGRAM_F32 : ENGRAM_F64;
    engram_row_widen(dtype, row, prepared->dim, wide);
    prepared->kernels->canonical_tile[ENGRAM_OP_DOT][prepared->type](
        &query, 1, &one, 1, prepared->dim, &prepared->self_products[r]);
}

/* Looks at row r; its live bit, 0 or 1. */
static unsigned survey_row(struct engram_prepared *prepared, const struct engram_set *base,
                           int64_t r, struct survey *found)
{
    struct engram_row_look look =
        engram_row_look(base->dtype, engram_set_row(base, r), prepared->dim);
    engram_bad_row_note(&found->bad, &look, prepared->metric, r);
    if (!look.finite) {
        found->skipped++;
        return 0;
    }
    found->largest = look.largest > found->largest ? look.largest : found->largest;
    found->needs_scale = found->needs_scale || (prepared->metric == ENGRAM_COSINE &&
                                                engram_cosine_exponent(look.largest) != 0);
    return 1;
}

/* Looks at `count` float32 rows, at most eight, by the kernel set's own loop; their live bits. Such
 * rows are never too large and never scaled, so they get their self products at once. */
static unsigned survey_f32(struct engram_prepared *prepared, const struct engram_set *base,
                           int64_t first, size_t count, struct survey *found)
{
    const struct engram_base_rows rows = {engram_set_row(base, first), base->stride};
    double *products = prepared->self_products;
    uint32_t tops[8];
    unsigned bits = 0;
    products = products == NULL ? NULL : products + first;
    prepared->kernels->f32_look(&rows, count, prepared->dim, tops, products);
    for (size_t i = 0; i < count; i++) {
        float largest;
        memcpy(&largest, &tops[i], sizeof largest);
        if (tops[i] < 0x7f800000U) {
            bits |= 1U << i;
            found->largest = (double)largest > found->largest ? (double)largest : found->largest;
            continue;
        }
        found->skipped++;
        if (products != NULL) {
            products[i] = 0;
        }
    }
    return bits;
}

/* Looks at all rows and fills prepared->live. Eight rows share a byte of `live`, so threads take
 * rows in groups of eight. */
static struct survey survey_rows(struct engram_prepared *prepared, const struct engram_set *base,
                                 int team)
{
    struct survey all = {ENGRAM_BAD_ROW_NONE, 0, 0, false};
#pragma omp parallel num_threads(team)
    {
        fenv_t saved;
        struct survey mine = {ENGRAM_BAD_ROW_NONE, 0, 0, false};
        engram_fp_enter(&saved);
#pragma omp for schedule(static)
        for (int64_t group = 0; group < (base->rows + 7) / 8; group++) {
            int64_t left = base->rows - group * 8;
            unsigned bits = 0;
            if (base->dtype == ENGRAM_F32) {
                bits = survey_f32(prepared, base, group * 8, left < 8 ? (size_t)left : 8, &mine);
            }
            for (int64_t i = 0; base->dtype != ENGRAM_F32 && i < 8 && i < left; i++) {
                bits |= survey_row(prepared, base, group * 8 + i, &mine) << i;
            }
            prepared->live[group] = (uint8_t)bits;
        }
#pragma omp critical(engram_survey)
        survey_join(&all, &mine);
        engram_fp_leave(&saved);
    }
    return all;
}

/* Rows in the type that the kernels read, in our own memory, scaled for cosine where needed. */
static enum engram_status copy_rows(struct engram_prepared *prepared, const struct engram_set *base,
                                    int team, double *wide_all, const struct engram_log *log)
{
    size_t element = prepared->type == ENGRAM_WORK_F32 ? sizeof(float) : sizeof(double);
    size_t stride = prepared->dim * element;
    if (!engram_size_mul((size_t)base->rows, stride, &prepared->owned_bytes) ||
        (prepared->owned = engram_pages_alloc(prepared->owned_bytes)) == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for a copy of the base");
    }
#pragma omp parallel num_threads(team)
    {
        fenv_t saved;
        double *wide = wide_all + (prepared->dim + 8) * (size_t)omp_get_thread_num();
        engram_fp_enter(&saved);
#pragma omp for schedule(static)
        for (int64_t r = 0; r < base->rows; r++) {
            const void *row = engram_set_row(base, r);
            unsigned char *to = (unsigned char *)prepared->owned + (size_t)r * stride;
            engram_row_widen(base->dtype, row, prepared->dim, wide);
            if (prepared->metric == ENGRAM_COSINE && prepared->type == ENGRAM_WORK_F64) {
                struct engram_row_look look = engram_row_look(ENGRAM_F64, wide, prepared->dim);
                if (look.finite) {
                    engram_row_scale_cosine(wide, prepared->dim, look.largest);
                }
            }
            for (size_t i = 0; i < prepared->dim; i++) {
                if (prepared->type == ENGRAM_WORK_F32) {
                    ((float *)(void *)to)[i] = (float)wide[i];
                } else {
                    ((double *)(void *)to)[i] = wide[i];
                }
            }
        }
        engram_fp_leave(&saved);
    }
    prepared->view = (struct engram_base_rows){prepared->owned, stride};
    return ENGRAM_OK;
}

/* Self products of rows that survey_rows left for later. */
static void self_products(struct engram_prepared *prepared, int team, double *wide_all)
{
#pragma omp parallel num_threads(team)
    {
        fenv_t saved;
        double *wide = wide_all + (prepared->dim + 8) * (size_t)omp_get_thread_num();
        engram_fp_enter(&saved);
#pragma omp for schedule(static)
        for (int64_t r = 0; r < prepared->rows; r++) {
            if (engram_prepared_live(prepared, (size_t)r)) {
                self_product(prepared, prepared->view.data + (size_t)r * prepared->view.stride, r,
                             wide);
            }
        }
        engram_fp_leave(&saved);
    }
}

/* Looks at the rows and copies them where they cannot be borrowed. */
static enum engram_status take_rows(struct engram_prepared *prepared, const struct engram_set *base,
                                    const char *what, int64_t first_row, int team, double *wide_all,
                                    double *largest, const struct engram_log *log)
{
    if (base->dtype == ENGRAM_BITS) {
        engram_bits_take(prepared, base, team, (uint64_t *)(void *)wide_all);
        return ENGRAM_OK;
    }
    struct survey survey = survey_rows(prepared, base, team);
    bool borrowed = (base->dtype == ENGRAM_F32 || base->dtype == ENGRAM_F64) && !survey.needs_scale;
    prepared->skipped = survey.skipped;
    *largest = survey.largest;
    enum engram_status status =
        engram_bad_row_status(&survey.bad, what, first_row, prepared->metric, log);
    if (status == ENGRAM_OK && borrowed) {
        prepared->view = (struct engram_base_rows){base->data, base->stride};
    } else if (status == ENGRAM_OK) {
        status = copy_rows(prepared, base, team, wide_all, log);
    }
    if (status == ENGRAM_OK && prepared->self_products != NULL && base->dtype != ENGRAM_F32) {
        self_products(prepared, team, wide_all);
    }
    return status;
}

/* Rows that the caller rules out live on as if they were not finite. */
static void mask_rows(struct engram_prepared *prepared, const uint8_t *allowed)
{
    prepared->masked = allowed != NULL;
    for (size_t i = 0; allowed != NULL && i < ((size_t)prepared->rows + 7) / 8; i++) {
        prepared->live[i] &= allowed[i];
    }
}

/* What AUTO keeps of the codes that were packed. */
static enum engram_filter settle_codes(struct engram_prepared *prepared, const char **reason)
{
    if (prepared->codes.prefix) {
        *reason = "clearly cheaper than the others, says a sample of the rows";
        return ENGRAM_FILTER_PREFIX;
    }
    if (engram_int_pack_tells(prepared)) {
        const double own = prepared->choice.integer.cost;
        const double prefix = prepared->choice.prefix.cost;
        *reason = own > 0 && prefix > 0 && prefix < own
                      ? "prefix is not clearly cheaper, says a sample of the rows"
                  : own > 0 && own <= prepared->choice.f32.cost
                      ? "the cheapest, says a sample of the rows"
                      : "its bound is narrow, says a sample of the rows";
        return ENGRAM_FILTER_INT;
    }
    engram_int_pack_free(&prepared->codes);
    *reason = "the bound of int is wide, says a sample of the rows";
    return ENGRAM_FILTER_F32;
}

/* Chooses a filter and packs for it. A prepared set is made to be searched often: AUTO means many
 * queries here. */
static enum engram_status pack(struct engram_prepared *prepared, double largest,
                               const struct engram_search_options *options, int team)
{
    const struct engram_log *log = &options->log;
    const char *reason = NULL;
    const bool automatic = options->filter == ENGRAM_FILTER_AUTO;
    enum engram_filter filter =
        engram_filter_explain(options->filter, prepared->metric, INT64_MAX, prepared->stands_for,
                              (int64_t)prepared->dim, &reason);
    enum engram_status status = ENGRAM_OK;
    if (filter == ENGRAM_FILTER_INT || filter == ENGRAM_FILTER_PREFIX) {
        status = engram_int_pack_make(prepared, largest, options, team);
        if (status == ENGRAM_OK && automatic) {
            filter = settle_codes(prepared, &reason);
        }
    }
    if (status == ENGRAM_OK && filter == ENGRAM_FILTER_BITS) {
        status = engram_bit_pack_make(prepared, team, log);
    }
    if (status == ENGRAM_OK && filter == ENGRAM_FILTER_F32) {
        status = engram_f32_pack_make(prepared, largest, team, log);
    }
    if (prepared->model != NULL) {
        prepared->choice = prepared->model->choice;
        return status;
    }
    prepared->choice.filter = filter;
    prepared->choice.reason = reason;
    return status;
}

/* Everything after the arguments are known to be good. */
static enum engram_status fill(struct engram_prepared *prepared, const struct engram_set *base,
                               const char *what, int64_t first_row,
                               const struct engram_search_options *options, int team)
{
    const struct engram_log *log = &options->log;
    bool products = prepared->metric == ENGRAM_COSINE || prepared->metric == ENGRAM_JACCARD;
    double *wide_all = calloc((prepared->dim + 8) * (size_t)team, sizeof *wide_all);
    double largest = 0;
    /* Whole panels of any kernel set are covered, so that the tile reads zeros past the end. */
    prepared->live = calloc((size_t)base->rows / 8 + ENGRAM_INT_ROWS_MAX, 1);
    if (products) {
        prepared->self_products = calloc((size_t)base->rows + 1, sizeof(double));
    }
    if (wide_all == NULL || prepared->live == NULL ||
        (products && prepared->self_products == NULL)) {
        free(wide_all);
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for the base");
    }
    enum engram_status status =
        take_rows(prepared, base, what, first_row, team, wide_all, &largest, log);
    free(wide_all);
    prepared->largest = largest;
    mask_rows(prepared, options->allowed);
    if (status == ENGRAM_OK && cancelled(options->cancel)) {
        status = ENGRAM_ERR_CANCELLED;
    }
    return status == ENGRAM_OK ? pack(prepared, largest, options, team) : status;
}

/* All that there is of every row; what is left can be a model. */
static void free_rows(struct engram_prepared *prepared)
{
    struct engram_int_pack *codes = &prepared->codes;
    engram_pages_free(prepared->f32.panels, prepared->f32.bytes);
    prepared->f32.panels = NULL;
    engram_pages_free(codes->panels, codes->bytes);
    free(codes->heads);
    free(codes->bias);
    codes->panels = NULL;
    codes->heads = NULL;
    codes->bias = NULL;
    engram_pages_free(prepared->owned, prepared->owned_bytes);
    free(prepared->self_products);
    free(prepared->live);
    prepared->owned = NULL;
    prepared->self_products = NULL;
    prepared->live = NULL;
    prepared->view = (struct engram_base_rows){NULL, 0};
}

/* What a set stands for. */
struct role {
    const struct engram_prepared *model;
    int64_t sample_of; /* rows of which these are a sample; 0: they are all */
    bool explain;
};

/* Checks the arguments and allocates. */
static enum engram_status prepare(const struct engram_set *base, const char *what,
                                  int64_t first_row, const struct role *role,
                                  const struct engram_search_options *options,
                                  struct engram_prepared **prepared)
{
    struct engram_set set;
    const struct engram_kernels *kernels;
    int team;

    if (options == NULL || options->size != sizeof *options || prepared == NULL) {
        return ENGRAM_ERR_USAGE;
    }
    *prepared = NULL;
    enum engram_status status = engram_set_check(base, what, &options->log, &set);
    if (status == ENGRAM_OK && !engram_metric_valid(options->metric)) {
        status = engram_fail(&options->log, ENGRAM_ERR_USAGE, "unknown metric");
    }
    if (status == ENGRAM_OK) {
        status = engram_filter_check(options->filter, options->metric, &options->log);
    }
    if (status == ENGRAM_OK) {
        status = engram_set_check_metric(&set, what, options->metric, &options->log);
    }
    if (status == ENGRAM_OK) {
        status = engram_kernels_select(options->isa, &options->log, &kernels);
    }
    if (status == ENGRAM_OK) {
        status = engram_team_size(options->threads, &options->log, &team);
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    struct engram_prepared *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "not enough memory for the base");
    }
    made->metric = options->metric;
    made->kernels = kernels;
    made->type = engram_work_type_of(set.dtype);
    made->rows = set.rows;
    made->stands_for = role->sample_of > 0 ? role->sample_of : set.rows;
    made->explain = role->explain;
    made->model = role->model;
    made->dim = (size_t)set.dim;
    fenv_t saved;
    engram_fp_enter(&saved);
    status = fill(made, &set, what, first_row, options, team);
    engram_fp_leave(&saved);
    if (status != ENGRAM_OK) {
        engram_prepared_free(made);
        return status;
    }
    *prepared = made;
    return ENGRAM_OK;
}

enum engram_status engram_prepare_like(const struct engram_prepared *model,
                                       const struct engram_set *base, const char *what,
                                       int64_t first_row,
                                       const struct engram_search_options *options,
                                       struct engram_prepared **prepared)
{
    const struct role role = {.model = model};
    struct engram_search_options known = *options;
    if (model != NULL) {
        known.filter = model->choice.filter;
    }
    return prepare(base, what, first_row, &role, &known, prepared);
}

enum engram_status engram_prepare_named(const struct engram_set *base, const char *what,
                                        int64_t first_row,
                                        const struct engram_search_options *options,
                                        struct engram_prepared **prepared)
{
    const struct role role = {.model = NULL};
    return prepare(base, what, first_row, &role, options, prepared);
}

enum engram_status engram_prepare_model(const struct engram_set *sample, const char *what,
                                        int64_t rows, const struct engram_search_options *options,
                                        struct engram_prepared **model)
{
    const struct role role = {.sample_of = rows};
    enum engram_status status = prepare(sample, what, 0, &role, options, model);
    if (status == ENGRAM_OK) {
        free_rows(*model);
    }
    return status;
}

enum engram_status engram_prepare_choice(const struct engram_set *sample, int64_t rows,
                                         const struct engram_search_options *options,
                                         struct engram_filter_choice *choice)
{
    const struct role role = {.sample_of = rows, .explain = true};
    struct engram_prepared *prepared = NULL;
    enum engram_status status = prepare(sample, "sample", 0, &role, options, &prepared);
    if (status == ENGRAM_OK) {
        *choice = prepared->choice;
    }
    engram_prepared_free(prepared);
    return status;
}

enum engram_status engram_prepare(const struct engram_set *base,
                                  const struct engram_search_options *options,
                                  struct engram_prepared **prepared)
{
    return engram_prepare_named(base, "base", 0, options, prepared);
}

void engram_prepared_free(struct engram_prepared *prepared)
{
    if (prepared == NULL) {
        return;
    }
    free_rows(prepared);
    engram_f32_pack_free(&prepared->f32);
    engram_int_pack_free(&prepared->codes);
    engram_bit_pack_free(&prepared->bits);
    free(prepared);
}
