#include "job/merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/size.h"
#include "io/spoolfile.h"
#include "io/tempfile.h"

/* Where the merge is in one run. */
struct cursor {
    const struct engram_hit *at;
    const struct engram_hit *end;
    struct engram_hit *buffer; /* NULL: the run is in memory */
    uint64_t left;             /* pairs on disk that are not in the buffer yet */
    const struct engram_journal *journal;
    struct engram_record record;
    int fd;
    off_t offset; /* of the first of them, in the file or in the record */
};

/* The next pair of a run, ready to be compared. */
struct head {
    int64_t query;
    double key;
    int64_t tag;
    struct cursor *cursor;
};

struct engram_merge {
    const struct engram_merge_options *options;
    struct cursor *cursors;
    struct head *heap; /* [live] the runs that have pairs left; the least is first */
    size_t live;
    struct engram_hit *buffers;
};

static inline bool head_less(const struct head *a, const struct head *b)
{
    if (a->query != b->query) {
        return a->query < b->query;
    }
    /* One query: tags are in the order of rows. */
    return a->key < b->key || (a->key == b->key && a->tag < b->tag);
}

static void sift_down(struct engram_merge *merge, size_t root)
{
    struct head *heap = merge->heap;
    const struct head moving = heap[root];
    for (size_t child; (child = 2 * root + 1) < merge->live; root = child) {
        if (child + 1 < merge->live && head_less(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!head_less(&heap[child], &moving)) {
            break;
        }
        heap[root] = heap[child];
    }
    heap[root] = moving;
}

/* The next `count` pairs of a run on disk into its buffer. */
static enum engram_status read_pairs(const struct engram_merge *merge, const struct cursor *cursor,
                                     size_t count)
{
    const size_t bytes = count * sizeof *cursor->buffer;
    enum engram_status status = ENGRAM_OK;
    if (cursor->journal != NULL) {
        status = engram_journal_read(cursor->journal, &cursor->record, (uint64_t)cursor->offset,
                                     bytes, cursor->buffer);
    } else if (!engram_read_at(cursor->fd, cursor->buffer, bytes, cursor->offset)) {
        status =
            engram_fail(&merge->options->log, ENGRAM_ERR_IO, "%s: cannot read temporary data: %s",
                        merge->options->folder, strerror(errno));
    }
    engram_merge_swap(cursor->buffer, status == ENGRAM_OK ? count : 0);
    return status;
}

/* Reads on when the buffer is used up; cursor->at == cursor->end afterwards: the run is over. */
static enum engram_status refill(struct engram_merge *merge, struct cursor *cursor)
{
    const struct engram_merge_options *options = merge->options;
    if (cursor->at < cursor->end) {
        return ENGRAM_OK;
    }
    if (options->drop && cursor->buffer != NULL && cursor->journal == NULL) {
        off_t used = (off_t)((size_t)(cursor->end - cursor->buffer) * sizeof *cursor->buffer);
        engram_spoolfile_drop(cursor->fd, cursor->offset - used, used);
    }
    size_t count = cursor->left < options->buffer ? (size_t)cursor->left : options->buffer;
    if (count == 0) {
        return ENGRAM_OK;
    }
    enum engram_status status = read_pairs(merge, cursor, count);
    if (status != ENGRAM_OK) {
        return status;
    }
    cursor->at = cursor->buffer;
    cursor->end = cursor->buffer + count;
    cursor->left -= count;
    cursor->offset += (off_t)(count * sizeof *cursor->buffer);
    return ENGRAM_OK;
}

static struct head head_of(const struct engram_merge *merge, struct cursor *cursor)
{
    const struct engram_merge_order *order = &merge->options->order;
    const struct engram_hit *hit = cursor->at;
    return (struct head){hit->tag >> order->row_bits, engram_key(order->order, hit->score),
                         hit->tag, cursor};
}

static enum engram_status take_memory(struct engram_merge *merge, size_t runs, size_t in_files)
{
    size_t pairs;
    size_t bytes;
    merge->cursors = calloc(runs + 1, sizeof *merge->cursors);
    merge->heap = calloc(runs + 1, sizeof *merge->heap);
    if (engram_size_mul(in_files, merge->options->buffer, &pairs) &&
        engram_size_mul(pairs, sizeof *merge->buffers, &bytes)) {
        merge->buffers = malloc(bytes > 0 ? bytes : 1);
    }
    if (merge->cursors == NULL || merge->heap == NULL || merge->buffers == NULL) {
        return engram_fail(&merge->options->log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to merge the pairs within the threshold");
    }
    return ENGRAM_OK;
}

/* Cursors and the heap of all runs that are not empty. */
static enum engram_status start(struct engram_merge *merge, const struct engram_merge_run *runs,
                                size_t count)
{
    struct engram_hit *buffer = merge->buffers;
    enum engram_status status = ENGRAM_OK;
    for (size_t i = 0; status == ENGRAM_OK && i < count; i++) {
        struct cursor *cursor = &merge->cursors[i];
        if (runs[i].hits != NULL) {
            *cursor = (struct cursor){.at = runs[i].hits, .end = runs[i].hits + runs[i].count};
        } else {
            *cursor = (struct cursor){.at = buffer,
                                      .end = buffer,
                                      .buffer = buffer,
                                      .left = runs[i].count,
                                      .journal = runs[i].journal,
                                      .record = runs[i].record,
                                      .fd = runs[i].fd,
                                      .offset = runs[i].offset};
            buffer += merge->options->buffer;
        }
        status = refill(merge, cursor);
        if (status == ENGRAM_OK && cursor->at < cursor->end) {
            merge->heap[merge->live++] = head_of(merge, cursor);
        }
    }
    for (size_t root = merge->live / 2; root-- > 0;) {
        sift_down(merge, root);
    }
    return status;
}

enum engram_status engram_merge_open(const struct engram_merge_run *runs, size_t count,
                                     const struct engram_merge_options *options,
                                     struct engram_merge **merge)
{
    size_t in_files = 0;
    *merge = calloc(1, sizeof **merge);
    if (*merge == NULL) {
        return engram_fail(&options->log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    (*merge)->options = options;
    for (size_t i = 0; i < count; i++) {
        in_files += runs[i].hits == NULL;
    }
    enum engram_status status = take_memory(*merge, count, in_files);
    if (status == ENGRAM_OK) {
        status = start(*merge, runs, count);
    }
    if (status != ENGRAM_OK) {
        engram_merge_close(*merge);
        *merge = NULL;
    }
    return status;
}

/* Only one run has pairs left: no need to compare. */
static size_t copy_last(struct engram_merge *merge, struct engram_hit *hits, size_t room)
{
    struct cursor *cursor = merge->heap[0].cursor;
    size_t count = (size_t)(cursor->end - cursor->at);
    count = count < room ? count : room;
    memcpy(hits, cursor->at, count * sizeof *hits);
    cursor->at += count;
    return count;
}

enum engram_status engram_merge_next(struct engram_merge *merge, struct engram_hit *hits,
                                     size_t room, size_t *count)
{
    size_t used = 0;
    while (used < room && merge->live > 0) {
        struct cursor *cursor = merge->heap[0].cursor;
        if (merge->live == 1) {
            used += copy_last(merge, hits + used, room - used);
        } else {
            hits[used++] = *cursor->at++;
        }
        enum engram_status status = refill(merge, cursor);
        if (status != ENGRAM_OK) {
            *count = 0;
            return status;
        }
        merge->heap[0] =
            cursor->at < cursor->end ? head_of(merge, cursor) : merge->heap[--merge->live];
        sift_down(merge, 0);
    }
    *count = used;
    return ENGRAM_OK;
}

void engram_merge_close(struct engram_merge *merge)
{
    if (merge != NULL) {
        free(merge->cursors);
        free(merge->heap);
        free(merge->buffers);
        free(merge);
    }
}
