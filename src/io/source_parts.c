/* Slabs put together from several datasets, and those whose elements are converted on the way: bits
 * from numbers, numbers from bits, float64 from float32. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/pages.h"
#include "base/size.h"
#include "io/memory.h"
#include "io/source_internal.h"

#define FAIL ENGRAM_SOURCE_FAIL

static const struct engram_source_part *part_list(const struct engram_source *source)
{
    return source->options.part_count > 0 ? source->options.parts : &source->single;
}

static size_t part_count(const struct engram_source *source)
{
    return source->options.part_count > 0 ? source->options.part_count : 1;
}

enum engram_status engram_parts_prepare(struct engram_source *source)
{
    const struct engram_dataset_info *whole = source->options.dataset;
    int64_t rows = 0;

    source->single = (struct engram_source_part){source->path, whole};
    source->way = ENGRAM_WAY_PARTS;
    source->slab_dtype = engram_source_dtype(whole);
    source->dim = whole->dims[1];
    source->chunk[0] = 1;
    source->chunk[1] = source->dim;
    source->row_bytes = engram_row_bytes(source->slab_dtype, source->dim);
    for (size_t i = 0; i < part_count(source); i++) {
        const struct engram_source_part *part = &part_list(source)[i];
        if (part->dataset->dims[1] != source->dim ||
            __builtin_add_overflow(rows, part->dataset->dims[0], &rows)) {
            return FAIL(source, ENGRAM_ERR_INTERNAL, "part %zu does not fit", i);
        }
    }
    source->all_rows = rows;
    if (rows != whole->dims[0] || source->options.first < 0 ||
        source->options.first > source->options.last || source->options.last > rows) {
        return FAIL(source, ENGRAM_ERR_INTERNAL, "the parts hold %lld rows", (long long)rows);
    }
    source->next = source->options.first;
    return ENGRAM_OK;
}

/* A part tells of its own rows. */
static void report(void *context, uint64_t done, uint64_t total)
{
    const struct engram_source *source = context;

    (void)total;
    engram_source_report(source, source->part_first + source->part->options.first + (int64_t)done);
}

/* Opens part `index`, whose first row is row `first` of all; only the rows that are asked for. */
static enum engram_status open_part(struct engram_source *source, size_t index, int64_t first)
{
    const struct engram_source_part *part = &part_list(source)[index];
    struct engram_source_options options = source->options;
    int64_t rows = part->dataset->dims[0];

    if (source->part != NULL && source->part_at == index) {
        return ENGRAM_OK;
    }
    engram_source_close(source->part);
    source->part = NULL;
    options.path = part->path;
    options.dataset = part->dataset;
    options.parts = NULL;
    options.part_count = 0;
    options.first = source->options.first > first ? source->options.first - first : 0;
    options.last = source->options.last - first < rows ? source->options.last - first : rows;
    options.progress = report;
    options.progress_context = source;
    enum engram_status status = engram_source_open_stored(&options, &source->part);
    source->part_at = index;
    source->part_first = first;
    return status;
}

enum engram_status engram_parts_check_rows(struct engram_source *source, int64_t first,
                                           int64_t rows)
{
    int64_t part_last = source->all_rows;
    enum engram_status status = ENGRAM_OK;

    /* The last one first: the first one is read next, and is open then. */
    for (size_t i = part_count(source); i-- > 0 && status == ENGRAM_OK;) {
        int64_t part_rows = part_list(source)[i].dataset->dims[0];
        int64_t part_first = part_last - part_rows;
        if (part_rows > 0 && part_first < first + rows && first < part_last) {
            status = open_part(source, i, part_first);
        }
        part_last = part_first;
    }
    return status;
}

/* ---- conversions of one row: from float32 or float64 (packed bits: a byte as a float32) */

static double element(const void *row, enum engram_dtype dtype, int64_t i)
{
    return dtype == ENGRAM_F32 ? (double)((const float *)row)[i] : ((const double *)row)[i];
}

/* Packs a row of numbers; returns the first column that is neither 0 nor 1, -1 without. */
static int64_t pack_row(const void *row, enum engram_dtype dtype, int64_t dim, unsigned char *bits)
{
    for (int64_t i = 0; i < dim; i += 8) {
        unsigned byte = 0;
        int64_t end = dim - i < 8 ? dim - i : 8;
        for (int64_t j = 0; j < end; j++) {
            double value = element(row, dtype, i + j);
            if (!(value == 0 || value == 1)) {
                return i + j;
            }
            byte |= (unsigned)(value == 1) << (7 - j);
        }
        bits[i / 8] = (unsigned char)byte;
    }
    return -1;
}

/* Bytes of packed bits, those behind the last bit cleared. */
static void copy_bits(const float *row, int64_t dim, unsigned char *bits)
{
    int64_t bytes = (dim + 7) / 8;

    for (int64_t i = 0; i < bytes; i++) {
        bits[i] = (unsigned char)row[i];
    }
    if (dim % 8 != 0) {
        bits[bytes - 1] = (unsigned char)(bits[bytes - 1] & (0xff00U >> (dim % 8)));
    }
}

static double bit(const float *row, int64_t i)
{
    return (double)(((unsigned)row[i / 8] >> (7 - i % 8)) & 1U);
}

/* Returns the first column that cannot be converted, -1 without. */
static int64_t convert_row(const struct engram_source *source, const void *from, void *to)
{
    bool packed = source->part->type.bits == ENGRAM_BITS_PACKED;
    enum engram_dtype dtype = source->part->slab_dtype;
    int64_t dim = source->dim;

    if (source->slab_dtype == ENGRAM_BITS) {
        if (!packed) {
            return pack_row(from, dtype, dim, to);
        }
        copy_bits(from, dim, to);
        return -1;
    }
    for (int64_t i = 0; i < dim; i++) {
        double value = packed ? bit(from, i) : element(from, dtype, i);
        if (source->slab_dtype == ENGRAM_F32) {
            ((float *)to)[i] = (float)value;
        } else {
            ((double *)to)[i] = value;
        }
    }
    return -1;
}

static enum engram_status no_bit(const struct engram_source *source, int64_t row, int64_t column,
                                 const void *from)
{
    return FAIL(source->part, ENGRAM_ERR_DATA,
                "row %lld, column %lld: %.9g is neither 0 nor 1, and metrics hamming and jaccard "
                "compare bits",
                (long long)row, (long long)column, element(from, source->part->slab_dtype, column));
}

/* Makes room for `bytes` of stored elements. */
static enum engram_status make_stage(struct engram_source *source, size_t bytes)
{
    if (source->stage != NULL && source->stage_bytes >= bytes) {
        return ENGRAM_OK;
    }
    engram_pages_free(source->stage, source->stage_bytes);
    source->stage = bytes > engram_memory_available() ? NULL : engram_pages_alloc(bytes);
    source->stage_bytes = source->stage == NULL ? 0 : bytes;
    return source->stage != NULL
               ? ENGRAM_OK
               : FAIL(source, ENGRAM_ERR_RESOURCE, "%zu bytes cannot be allocated", bytes);
}

/* Rows [first, first + rows) of the open part, by pieces. */
static enum engram_status read_converted(struct engram_source *source, int64_t first, int64_t rows,
                                         char *to)
{
    struct engram_source *part = source->part;
    int64_t piece = engram_source_piece_rows(part);
    int threads = engram_source_threads(source);
    size_t bytes = 0;

    piece = piece < rows ? piece : rows;
    if (!engram_size_mul((size_t)piece, part->row_bytes, &bytes)) {
        bytes = SIZE_MAX;
    }
    enum engram_status status = make_stage(source, bytes);
    for (int64_t done = 0; status == ENGRAM_OK && done < rows; done += piece) {
        int64_t count = rows - done < piece ? rows - done : piece;
        int64_t bad = INT64_MAX;
        const char *stage = source->stage;
        char *place = to + (size_t)done * source->row_bytes;
        status = engram_source_read(part, first + done, count, source->stage);
        if (status != ENGRAM_OK) {
            break;
        }
#pragma omp parallel for schedule(static) num_threads(threads) reduction(min : bad)
        for (int64_t r = 0; r < count; r++) {
            int64_t column = convert_row(source, stage + (size_t)r * part->row_bytes,
                                         place + (size_t)r * source->row_bytes);
            if (column >= 0 && r < bad) {
                bad = r;
            }
        }
        if (bad != INT64_MAX) {
            char *row = source->stage;
            row += (size_t)bad * part->row_bytes;
            int64_t column = convert_row(source, row, place);
            status = no_bit(source, first + done + bad, column, row);
        }
    }
    return status;
}

enum engram_status engram_parts_read_rows(struct engram_source *source, int64_t first, int64_t rows,
                                          void *to)
{
    int64_t part_first = 0;
    char *place = to;

    for (size_t i = 0; i < part_count(source) && rows > 0; i++) {
        int64_t part_rows = part_list(source)[i].dataset->dims[0];
        int64_t part_last = part_first + part_rows;
        if (first < part_last && part_rows > 0) {
            int64_t count = part_last - first < rows ? part_last - first : rows;
            enum engram_status status = open_part(source, i, part_first);
            bool as_it_is = status == ENGRAM_OK && source->part->type.bits != ENGRAM_BITS_PACKED &&
                            source->part->slab_dtype == source->slab_dtype;
            if (status == ENGRAM_OK) {
                status = as_it_is
                             ? engram_source_read(source->part, first - part_first, count, place)
                             : read_converted(source, first - part_first, count, place);
            }
            if (status != ENGRAM_OK) {
                return status;
            }
            place += (size_t)count * source->row_bytes;
            first += count;
            rows -= count;
        }
        part_first = part_last;
    }
    return ENGRAM_OK;
}
