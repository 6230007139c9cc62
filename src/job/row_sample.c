#include "job/row_sample.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "io/source.h"
#include "job/sets.h"

/* Rows of the sample, and the fewest of a larger base that say anything. */
#define SAMPLE_ROWS ((int64_t)2048)
#define SAMPLE_ROWS_MIN ((int64_t)256)

/* A base no larger is looked at like the job does, as a whole. */
#define WHOLE_BYTES ((int64_t)16 << 20)

/* What the sample may take, and what may be read for it. */
#define SAMPLE_BYTES ((int64_t)64 << 20)

/* Places in the base that are read from: each has to be opened and, in chunks, inflated. */
#define PLACES ((int64_t)128)
#define PLACES_MIN ((int64_t)4)

/* Where the rows of the sample come from. */
struct places {
    int64_t count;
    int64_t span; /* rows read at each */
    int64_t take; /* rows kept of them */
};

static int64_t at_least(int64_t value, int64_t least)
{
    return value > least ? value : least;
}

static int64_t at_most(int64_t value, int64_t most)
{
    return value < most ? value : most;
}

static int64_t rounded_up(int64_t value, int64_t divisor)
{
    return value / divisor + (value % divisor != 0);
}

static struct places choose_places(const struct engram_set_ref *base, size_t row_bytes)
{
    int64_t rows = base->last - base->first;
    int64_t wanted = at_most(SAMPLE_ROWS, SAMPLE_BYTES / at_least((int64_t)row_bytes, 1));
    struct places places = {.count = 1, .span = rows, .take = rows};

    if (rows <= wanted || rows <= WHOLE_BYTES / at_least((int64_t)row_bytes, 1)) {
        return places;
    }
    bool chunked = base->dataset->storage == ENGRAM_STORAGE_CHUNKED && base->dataset->chunk[0] > 0;
    int64_t chunk = chunked ? at_most(base->dataset->chunk[0], rows) : 1;
    int64_t chunks = SAMPLE_BYTES / at_least((int64_t)row_bytes, 1) / chunk; /* that may be read */
    places.count = at_most(PLACES, at_least(chunks, PLACES_MIN));
    places.count = at_most(places.count, rows / chunk);
    places.take = rounded_up(wanted, places.count);
    int64_t room = SAMPLE_BYTES / at_least((int64_t)row_bytes, 1) / places.count;
    places.span = at_least(places.take, at_most(chunk, room)); /* whole chunks where they fit */
    places.span = at_most(places.span, rows / places.count);
    places.take = at_most(places.take, places.span);
    return places;
}

/* The first row of place `i`: evenly spread, the last one at the end, on a chunk's first row. */
static int64_t place_first(const struct engram_set_ref *base, const struct places *places,
                           int64_t i)
{
    int64_t room = base->last - base->first - places->span;
    int64_t steps = at_least(places->count - 1, 1);
    int64_t first = base->first + room / steps * i + room % steps * i / steps;
    int64_t chunk = base->dataset->storage == ENGRAM_STORAGE_CHUNKED ? base->dataset->chunk[0] : 1;
    return chunk > 1 ? at_least(first / chunk * chunk, base->first) : first;
}

/* Keeps `take` of the rows that were read at base row `first`. */
static void keep_rows(const struct engram_slab *slab, const struct engram_inputs *inputs,
                      int64_t first, int64_t take, struct engram_row_sample *sample)
{
    size_t bytes = sample->set.stride;
    const uint8_t *allowed = inputs->row_data.allowed;
    for (int64_t i = 0; i < take && sample->set.rows < sample->room; i++) {
        int64_t row = slab->set.rows * i / take;
        size_t in_base = (size_t)(first - inputs->base.first + row);
        size_t to = (size_t)sample->set.rows++;
        memcpy(sample->rows + to * bytes,
               (const unsigned char *)slab->set.data + (size_t)row * slab->set.stride, bytes);
        if (allowed != NULL && (allowed[in_base >> 3] >> (in_base & 7) & 1) != 0) {
            sample->allowed[to >> 3] |= (uint8_t)(1U << (to & 7));
        }
    }
}

static enum engram_status read_place(const struct engram_inputs *inputs,
                                     const struct engram_job_options *options, int64_t first,
                                     const struct places *places, struct engram_row_sample *sample)
{
    const struct engram_source_options reading = {.slab_rows = INT64_MAX,
                                                  .threads = 1,
                                                  .allow_external = options->allow_external,
                                                  .cancel = options->cancel};
    struct engram_set_ref range = inputs->base;
    struct engram_source *source = NULL;
    struct engram_slab slab;

    range.first = first;
    range.last = at_most(first + places->span, inputs->base.last);
    enum engram_status status = engram_set_open(&range, &reading, &source);
    if (status == ENGRAM_OK) {
        status = engram_source_next(source, &slab);
    }
    if (status == ENGRAM_OK) {
        keep_rows(&slab, inputs, first, at_most(places->take, slab.set.rows), sample);
    }
    engram_source_close(source);
    return status;
}

bool engram_row_sample_read(const struct engram_inputs *inputs,
                            const struct engram_job_options *options,
                            struct engram_row_sample *sample)
{
    const struct engram_dataset_info *dataset = inputs->base.dataset;
    enum engram_dtype dtype = engram_source_dtype(dataset);
    size_t row_bytes = engram_row_bytes(dtype, dataset->dims[1]);
    struct places places = choose_places(&inputs->base, row_bytes);
    size_t bytes;

    *sample = (struct engram_row_sample){.room = places.count * places.take,
                                         .set = {NULL, dtype, 0, dataset->dims[1], row_bytes}};
    if (sample->room < at_most(SAMPLE_ROWS_MIN, inputs->base.last - inputs->base.first) ||
        !engram_size_mul((size_t)sample->room, row_bytes, &bytes)) {
        return false;
    }
    sample->rows = malloc(bytes + 1);
    sample->allowed = calloc((size_t)sample->room / 8 + 1, 1);
    bool ok = sample->rows != NULL && sample->allowed != NULL;
    for (int64_t i = 0; ok && i < places.count; i++) {
        int64_t first = place_first(&inputs->base, &places, i);
        ok = read_place(inputs, options, first, &places, sample) == ENGRAM_OK;
    }
    sample->set.data = sample->rows;
    return ok;
}

void engram_row_sample_free(struct engram_row_sample *sample)
{
    free(sample->rows);
    free(sample->allowed);
    *sample = (struct engram_row_sample){0};
}
