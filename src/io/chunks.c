/* Rows of chunked datasets: the calling thread reads raw chunks through HDF5, all threads unpack
 * them. HDF5's own reading would unpack behind its lock, on one core.
 *
 *   free slots -> the calling thread reads a chunk -> full slots -> any thread unpacks -> free
 *
 * When no slot is free there is enough read ahead, and the calling thread unpacks too. */
#define _GNU_SOURCE

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "base/reading.h"
#include "base/size.h"
#include "io/h5.h"
#include "io/h5pipeline.h"
#include "io/source_internal.h"

/* What all buffers together may take, as long as one chunk fits. */
#define BUFFER_LIMIT ((size_t)256 << 20)
#define SLOTS_PER_THREAD 2

struct slot {
    unsigned char *raw;
    size_t size; /* 0: the chunk was never written */
    uint32_t mask;
    bool native;   /* `raw` is what H5Dread gave for the wanted part */
    int64_t chunk; /* number in the order of reading */
};

/* What is wrong with a chunk. */
struct failure {
    int64_t chunk; /* INT64_MAX: nothing */
    enum engram_status status;
    const char *why; /* NULL: an integer without exact float64 at row, column */
    int64_t row;
    int64_t column;
};

struct engram_chunk_reader {
    int team;
    int slot_count;
    size_t raw_bytes;                  /* of a slot */
    struct engram_unfilter *unfilters; /* one for each thread */
    struct slot *slots;
    /* The queue; all below is behind the lock. */
    pthread_mutex_t lock;
    pthread_cond_t got_full;
    pthread_cond_t got_free;
    int *free_slots; /* a stack */
    int free_count;
    int *full_slots; /* a ring */
    int full_first;
    int full_count;
    bool finished; /* nothing more will be read */
    struct failure failure;
};

/* One call: chunks that rows [first, last) touch, by rows of chunks. */
struct task {
    struct engram_source *source;
    int64_t first;
    int64_t last;
    unsigned char *to;
    int64_t first_chunk_row; /* of the grid */
    int64_t columns;         /* of the grid */
    int64_t count;
};

/* ---- buffers */

/* Threads and slots: bounded by the memory they take, and by the chunks there are. */
static void choose_size(const struct engram_source *source, int *team, int *slots)
{
    size_t raw = engram_unfilter_packed_limit(&source->pipeline);
    size_t each = SLOTS_PER_THREAD * raw + engram_unfilter_bytes(&source->pipeline);
    int64_t rows = (source->options.last - 1) / source->chunk[0] -
                   source->options.first / source->chunk[0] + 1;
    int64_t columns = (source->dim - 1) / source->chunk[1] + 1;
    size_t limit = source->options.buffer_bytes;
    size_t fitting = (limit > 0 && limit < BUFFER_LIMIT ? limit : BUFFER_LIMIT) / each;

    *team = engram_source_threads(source);
    *team = fitting < (size_t)*team ? (int)fitting : *team;
    *team = rows < *team / columns + 1 && rows * columns < *team ? (int)(rows * columns) : *team;
    *team = *team < 1 ? 1 : *team;
    *slots = *team == 1 ? 1 : *team * SLOTS_PER_THREAD;
}

size_t engram_chunks_bytes(const struct engram_source *source)
{
    int team;
    int slots;

    choose_size(source, &team, &slots);
    return (size_t)slots * engram_unfilter_packed_limit(&source->pipeline) +
           (size_t)team * engram_unfilter_bytes(&source->pipeline);
}

static bool allocate(struct engram_chunk_reader *reader, const struct engram_source *source)
{
    size_t slots = (size_t)reader->slot_count;

    reader->slots = calloc(slots, sizeof *reader->slots);
    reader->free_slots = calloc(slots, sizeof *reader->free_slots);
    reader->full_slots = calloc(slots, sizeof *reader->full_slots);
    reader->unfilters = calloc((size_t)reader->team, sizeof *reader->unfilters);
    if (reader->slots == NULL || reader->free_slots == NULL || reader->full_slots == NULL ||
        reader->unfilters == NULL) {
        return false;
    }
    for (size_t i = 0; i < slots; i++) {
        reader->slots[i].raw = engram_pages_alloc(reader->raw_bytes);
        if (reader->slots[i].raw == NULL) {
            return false;
        }
    }
    for (int i = 0; i < reader->team; i++) {
        if (!engram_unfilter_create(&source->pipeline, &reader->unfilters[i])) {
            return false;
        }
    }
    return true;
}

enum engram_status engram_chunks_create(struct engram_source *source)
{
    struct engram_chunk_reader *reader = calloc(1, sizeof *reader);
    bool made = false;

    if (reader != NULL && pthread_mutex_init(&reader->lock, NULL) == 0) {
        /* Neither can fail on Linux, where it takes no memory. */
        (void)pthread_cond_init(&reader->got_full, NULL);
        (void)pthread_cond_init(&reader->got_free, NULL);
        choose_size(source, &reader->team, &reader->slot_count);
        reader->raw_bytes = engram_unfilter_packed_limit(&source->pipeline);
        source->chunks = reader;
        made = allocate(reader, source);
    } else {
        free(reader);
    }
    return made ? ENGRAM_OK
                : ENGRAM_SOURCE_FAIL(source, ENGRAM_ERR_RESOURCE,
                                     "the %zu bytes for reading its chunks cannot be allocated",
                                     engram_chunks_bytes(source));
}

void engram_chunks_free(struct engram_chunk_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    for (int i = 0; reader->slots != NULL && i < reader->slot_count; i++) {
        engram_pages_free(reader->slots[i].raw, reader->raw_bytes);
    }
    for (int i = 0; reader->unfilters != NULL && i < reader->team; i++) {
        engram_unfilter_destroy(&reader->unfilters[i]);
    }
    (void)pthread_cond_destroy(&reader->got_full);
    (void)pthread_cond_destroy(&reader->got_free);
    (void)pthread_mutex_destroy(&reader->lock);
    free(reader->slots);
    free(reader->free_slots);
    free(reader->full_slots);
    free(reader->unfilters);
    free(reader);
}

/* ---- one chunk */

/* The part of a chunk that is wanted, in rows and columns of the dataset. */
struct box {
    int64_t row, row_end;
    int64_t column, column_end;
    int64_t chunk_row; /* where the chunk starts */
};

static struct box find_box(const struct task *task, int64_t chunk)
{
    const struct engram_source *source = task->source;
    int64_t row = (task->first_chunk_row + chunk / task->columns) * source->chunk[0];
    int64_t column = chunk % task->columns * source->chunk[1];
    int64_t row_end = task->last - row < source->chunk[0] ? task->last : row + source->chunk[0];
    int64_t column_end =
        source->dim - column < source->chunk[1] ? source->dim : column + source->chunk[1];

    return (struct box){row < task->first ? task->first : row, row_end, column, column_end, row};
}

static unsigned char *place_of(const struct task *task, int64_t row, int64_t column)
{
    return task->to + (size_t)(row - task->first) * task->source->row_bytes +
           (size_t)column * task->source->stored.slab_bytes;
}

static void fill_box(const struct task *task, const struct box *box)
{
    const struct engram_source *source = task->source;
    size_t element = source->stored.slab_bytes;

    for (int64_t row = box->row; row < box->row_end; row++) {
        unsigned char *to = place_of(task, row, box->column);
        for (int64_t column = box->column; column < box->column_end; column++) {
            memcpy(to, source->fill, element);
            to += element;
        }
    }
}

/* False: an inexact integer at *row, *column. */
static bool scatter(const struct task *task, const struct box *box, bool native,
                    const struct engram_elements *elements, int64_t *row, int64_t *column)
{
    const struct engram_source *source = task->source;
    struct engram_stored stored = source->stored;
    int64_t width = box->column_end - box->column;
    int64_t rows = box->row_end - box->row;
    int64_t stride = native ? width : source->chunk[1];
    size_t start = native ? 0 : (size_t)((box->row - box->chunk_row) * stride);

    stored.swapped = stored.swapped && !native;
    if (width == stride && width == source->dim) { /* whole rows: one run */
        int64_t bad = engram_place(&stored, elements, start, (size_t)(rows * width),
                                   place_of(task, box->row, 0));
        *row = box->row + bad / width;
        *column = bad % width;
        return bad < 0;
    }
    for (int64_t i = 0; i < rows; i++) {
        int64_t bad = engram_place(&stored, elements, start + (size_t)(i * stride), (size_t)width,
                                   place_of(task, box->row + i, box->column));
        if (bad >= 0) {
            *row = box->row + i;
            *column = box->column + bad;
            return false;
        }
    }
    return true;
}

/* Bits of the filters that were not applied. */
static uint32_t skipped(const struct task *task, const struct box *box, uint32_t mask)
{
    const struct engram_source *source = task->source;
    bool edge = source->all_rows - box->chunk_row < source->chunk[0] ||
                source->dim - box->column < source->chunk[1];

    return source->plain_edges && edge ? ~0U : mask;
}

static struct failure unpack(const struct task *task, struct engram_unfilter *unfilter,
                             const struct slot *slot)
{
    const struct engram_source *source = task->source;
    struct box box = find_box(task, slot->chunk);
    struct failure failure = {.chunk = INT64_MAX};
    struct engram_elements elements;

    if (slot->size == 0 && !slot->native) {
        fill_box(task, &box);
        if (source->fill_inexact) {
            failure = (struct failure){slot->chunk, ENGRAM_ERR_DATA, NULL, box.row, box.column};
        }
        return failure;
    }
    if (slot->native) {
        elements = (struct engram_elements){slot->raw, 0};
        failure.status = ENGRAM_OK;
    } else {
        failure.status =
            engram_unfilter_chunk(&source->pipeline, unfilter, slot->raw, slot->size,
                                  skipped(task, &box, slot->mask), &elements, &failure.why);
    }
    if (failure.status != ENGRAM_OK) {
        failure.chunk = slot->chunk;
    } else if (!scatter(task, &box, slot->native, &elements, &failure.row, &failure.column)) {
        failure = (struct failure){slot->chunk, ENGRAM_ERR_DATA, NULL, failure.row, failure.column};
    }
    return failure;
}

/* ---- the calling thread's part of it: HDF5 */

static enum engram_status chunk_failure(const struct task *task, int64_t chunk,
                                        enum engram_status failed, const char *why)
{
    const struct engram_source *source = task->source;
    struct box box = find_box(task, chunk);
    /* A file that was cut gives zeros for chunks: that comes first. */
    enum engram_status status = engram_source_check_size(source);

    return status != ENGRAM_OK
               ? status
               : ENGRAM_SOURCE_FAIL(source, failed,
                                    "rows %lld to %lld cannot be read (the chunk at row %lld, "
                                    "column %lld: %s)",
                                    (long long)box.row, (long long)box.row_end,
                                    (long long)box.chunk_row, (long long)box.column, why);
}

/* Chunks that have no place in the file: HDF5 knows what stands for them, and has a message when
 * something is really wrong. */
static enum engram_status read_natively(const struct task *task, const struct box *box,
                                        struct slot *slot)
{
    const hsize_t start[2] = {(hsize_t)box->row, (hsize_t)box->column};
    const hsize_t count[2] = {(hsize_t)(box->row_end - box->row),
                              (hsize_t)(box->column_end - box->column)};
    char message[256];

    if (!engram_h5_fetch(task->source, start, count, slot->raw)) {
        engram_h5_message(message, sizeof message);
        return chunk_failure(task, slot->chunk, engram_h5_read_status(message), message);
    }
    slot->native = true;
    return ENGRAM_OK;
}

static enum engram_status read_chunk(const struct task *task, struct slot *slot)
{
    const struct engram_source *source = task->source;
    ENGRAM_READING(source->path, source->name);
    struct box box = find_box(task, slot->chunk);
    hsize_t corner[2] = {(hsize_t)box.chunk_row, (hsize_t)box.column};
    hsize_t size = 0;

    slot->size = 0;
    slot->native = false;
    /* Not H5Dget_chunk_info, which is quadratic in 1.10. For chunks that were never written this
     * gives 0 or fails, or gives the size of a chunk (1.10, without filters) that cannot be read.
     */
    if (H5Dget_chunk_storage_size(source->dataset, corner, &size) < 0) {
        return read_natively(task, &box, slot);
    }
    if (size > source->chunks->raw_bytes) {
        return chunk_failure(task, slot->chunk, ENGRAM_ERR_DATA,
                             "it takes more bytes than a chunk of its shape can");
    }
    if (size == 0 &&
        engram_h5_is_empty_chunk(source->dataset, corner, slot->raw, source->chunks->raw_bytes)) {
        return chunk_failure(task, slot->chunk, ENGRAM_ERR_DATA, "it has no bytes");
    }
    slot->size = (size_t)size;
    return size == 0 || engram_h5_read_chunk(source->dataset, corner, slot->raw,
                                             source->chunks->raw_bytes, &slot->mask) >= 0
               ? ENGRAM_OK
               : read_natively(task, &box, slot);
}

/* ---- the queue */

static void start(struct engram_chunk_reader *reader)
{
    for (int i = 0; i < reader->slot_count; i++) {
        reader->free_slots[i] = i;
    }
    reader->free_count = reader->slot_count;
    reader->full_first = reader->full_count = 0;
    reader->finished = false;
    reader->failure.chunk = INT64_MAX;
}

static int pop_full(struct engram_chunk_reader *reader)
{
    int slot = reader->full_slots[reader->full_first];

    reader->full_first = (reader->full_first + 1) % reader->slot_count;
    reader->full_count--;
    return slot;
}

/* Unpacks what is in a slot and frees it. Called and returns with the lock held. */
static void serve(const struct task *task, int thread, int slot)
{
    struct engram_chunk_reader *reader = task->source->chunks;

    (void)pthread_mutex_unlock(&reader->lock);
    struct failure failure = unpack(task, &reader->unfilters[thread], &reader->slots[slot]);
    (void)pthread_mutex_lock(&reader->lock);
    if (failure.chunk < reader->failure.chunk) {
        reader->failure = failure; /* the first chunk's, whichever thread is the fastest */
    }
    reader->free_slots[reader->free_count++] = slot;
    (void)pthread_cond_signal(&reader->got_free);
}

static void help(const struct task *task, int thread)
{
    struct engram_chunk_reader *reader = task->source->chunks;

    (void)pthread_mutex_lock(&reader->lock);
    for (;;) {
        while (reader->full_count == 0 && !reader->finished) {
            (void)pthread_cond_wait(&reader->got_full, &reader->lock);
        }
        if (reader->full_count == 0) {
            break;
        }
        serve(task, thread, pop_full(reader));
    }
    (void)pthread_mutex_unlock(&reader->lock);
}

static enum engram_status read_into(const struct task *task, struct slot *slot)
{
    int64_t rows = task->source->chunk[0];
    int64_t piece = engram_source_piece_rows(task->source) / rows;
    int64_t grid_row = slot->chunk / task->columns;

    if (engram_source_cancelled(task->source)) {
        return engram_source_interrupted(task->source);
    }
    if (slot->chunk % task->columns == 0 && grid_row > 0 && grid_row % piece == 0) {
        engram_source_report(task->source, (task->first_chunk_row + grid_row) * rows);
    }
    return read_chunk(task, slot);
}

/* Reads while a slot is free, else unpacks, else waits. */
static enum engram_status lead(const struct task *task)
{
    struct engram_chunk_reader *reader = task->source->chunks;
    enum engram_status status = ENGRAM_OK;
    int64_t next = 0;

    (void)pthread_mutex_lock(&reader->lock);
    for (;;) {
        bool more = status == ENGRAM_OK && next < task->count && reader->failure.chunk == INT64_MAX;
        if (more && reader->free_count > 0) {
            int slot = reader->free_slots[--reader->free_count];
            (void)pthread_mutex_unlock(&reader->lock);
            reader->slots[slot].chunk = next++;
            status = read_into(task, &reader->slots[slot]);
            (void)pthread_mutex_lock(&reader->lock);
            if (status == ENGRAM_OK) {
                int last = (reader->full_first + reader->full_count++) % reader->slot_count;
                reader->full_slots[last] = slot;
                (void)pthread_cond_signal(&reader->got_full);
            }
        } else if (reader->full_count > 0) {
            serve(task, 0, pop_full(reader));
        } else if (more) {
            (void)pthread_cond_wait(&reader->got_free, &reader->lock);
        } else {
            break;
        }
    }
    reader->finished = true;
    (void)pthread_cond_broadcast(&reader->got_full);
    (void)pthread_mutex_unlock(&reader->lock);
    return status;
}

enum engram_status engram_chunks_read_rows(struct engram_source *source, int64_t first,
                                           int64_t rows, void *to)
{
    int64_t first_chunk_row = first / source->chunk[0];
    int64_t columns = (source->dim - 1) / source->chunk[1] + 1;
    const struct task task = {
        .source = source,
        .first = first,
        .last = first + rows,
        .to = to,
        .first_chunk_row = first_chunk_row,
        .columns = columns,
        .count = ((first + rows - 1) / source->chunk[0] - first_chunk_row + 1) * columns,
    };
    struct engram_chunk_reader *reader = source->chunks;
    enum engram_status status = ENGRAM_OK;

    start(reader);
#pragma omp parallel num_threads(reader->team)
    {
        int thread = omp_get_thread_num();
        if (thread == 0) {
            status = lead(&task);
        } else {
            help(&task, thread);
        }
    }
    if (status != ENGRAM_OK) {
        return status; /* logged by the calling thread, which is this one */
    }
    const struct failure *failure = &reader->failure;
    if (failure->chunk != INT64_MAX) {
        return failure->why == NULL
                   ? engram_source_inexact(source, failure->row, failure->column)
                   : chunk_failure(&task, failure->chunk, failure->status, failure->why);
    }
    engram_source_report(source, first + rows);
    return ENGRAM_OK;
}
