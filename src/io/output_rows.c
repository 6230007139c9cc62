#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/size.h"
#include "io/codec.h"
#include "io/h5.h"
#include "io/output.h"
#include "io/output_internal.h"
#include "io/spoolfile.h"

/* Rows reach the file as they lie in memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "result files are little-endian");

/* A chunk fits the 1 MiB chunk cache that readers have by default. */
#define CHUNK_TARGET ((size_t)1 << 20)
#define BATCH_CHUNKS 16
#define BATCH_BYTES ((size_t)256 << 20)

/* More than HDF5 adds of its own for one dataset or chunk, or when it closes the file. */
#define METADATA_RESERVE 65536

/* From here on the free space is looked at before any of it is taken. */
#define LARGE_RESERVE ((uint64_t)64 << 20)

/* Where fallocate does not exist the free space is all that can be looked at. Some file systems do
 * not know even that and say 0. */
static bool has_space(int fd, uint64_t bytes)
{
    struct statvfs info;
    size_t free_bytes;

    return fstatvfs(fd, &info) != 0 || info.f_blocks == 0 ||
           !engram_size_mul((size_t)info.f_bavail, info.f_frsize, &free_bytes) ||
           bytes <= free_bytes;
}

/* A failing fallocate takes all the space there is before it gives up, and others on the disk run
 * out of it until the file is gone: what can be seen not to fit is not tried. */
static bool reserve_range(int fd, uint64_t from, uint64_t to)
{
    int failed;

    if (to - from >= LARGE_RESERVE && !has_space(fd, to - from)) {
        errno = ENOSPC;
        return false;
    }
    do {
        failed = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from));
    } while (failed != 0 && errno == EINTR);
    if (failed == 0) {
        return true;
    }
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) {
        return false;
    }
    errno = ENOSPC;
    return has_space(fd, to - from);
}

enum engram_status engram_output_reserve(struct engram_output *output, size_t bytes)
{
    struct rlimit limit;
    haddr_t end = 0;

    if (output->file >= 0 && H5Fget_eoa(output->file, &end) < 0) {
        return engram_output_h5_failure(output, "tell the size of the file");
    }
    if (bytes > INT64_MAX / 2 || end > INT64_MAX / 4) {
        return engram_output_errno_failure(output, EFBIG);
    }
    end += bytes + METADATA_RESERVE;
    if (end <= output->reserved) {
        return ENGRAM_OK;
    }
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        end > limit.rlim_cur) {
        return engram_output_errno_failure(output, EFBIG);
    }
    if (!reserve_range(output->temporary.fd, output->reserved, end)) {
        return engram_output_errno_failure(output, errno);
    }
    output->reserved = end;
    return ENGRAM_OK;
}

void engram_output_plan_chunks(struct engram_output_set *set, int threads)
{
    size_t rows;

    if (set->dims[0] == 0 || set->row_bytes == 0 || engram_codec_bound(set->row_bytes) == 0) {
        set->level = 0;
    }
    if (set->level == 0) {
        return;
    }
    rows = CHUNK_TARGET / set->row_bytes;
    rows = rows < 1 ? 1 : rows;
    set->chunk_rows = set->dims[0] < rows ? set->dims[0] : rows;
    set->chunk_columns = set->dims[1];
    set->chunk_bytes = (size_t)set->chunk_rows * set->row_bytes;
    set->chunks = (set->dims[0] - 1) / set->chunk_rows + 1;
    set->batch = threads > BATCH_CHUNKS ? (size_t)threads : BATCH_CHUNKS;
    if (set->batch > set->chunks) {
        set->batch = (size_t)set->chunks;
    }
    if (set->batch > BATCH_BYTES / set->chunk_bytes) {
        set->batch = BATCH_BYTES / set->chunk_bytes > 0 ? BATCH_BYTES / set->chunk_bytes : 1;
    }
}

uint64_t engram_output_packing_bytes(uint64_t rows, uint64_t row_bytes, int threads)
{
    struct engram_output_set set = {
        .dims = {rows, row_bytes}, .row_bytes = (size_t)row_bytes, .level = 1};
    engram_output_plan_chunks(&set, threads);
    /* Staged, shuffled, packed; the last may be a little longer. */
    uint64_t batch = engram_saturating_mul(set.batch, set.chunk_bytes);
    return engram_saturating_add(engram_saturating_mul(batch, 3), batch / 64);
}

static enum engram_status write_chunk(struct engram_output *output, struct engram_output_set *set,
                                      const void *packed, size_t size)
{
    hsize_t corner[2] = {set->chunks_written * set->chunk_rows, 0};
    enum engram_status status = engram_output_reserve(output, size);

    if (status != ENGRAM_OK) {
        return status;
    }
    if (H5Dwrite_chunk(set->id, H5P_DEFAULT, 0, corner, size, packed) < 0) {
        return engram_output_h5_failure(output, "write a chunk");
    }
    set->chunks_written++;
    return ENGRAM_OK;
}

/* Puts a packed chunk aside until all datasets declared before are complete. Without this the
 * order of chunks in the file would follow the sizes of the caller's blocks. */
static enum engram_status park_chunk(struct engram_output *output, struct engram_output_set *set,
                                     const void *packed, size_t size)
{
    if (output->spool < 0) {
        output->spool = engram_spoolfile_open(output->temporary.folder);
        if (output->spool < 0) {
            return engram_output_errno_failure(output, errno);
        }
    }
    if (set->parked_count == set->parked_room) {
        size_t room = set->parked_room > 0 ? 2 * set->parked_room : 64;
        struct engram_output_parked *grown = realloc(set->parked, room * sizeof *grown);

        if (grown == NULL) {
            return engram_fail(&output->log, ENGRAM_ERR_RESOURCE, "out of memory");
        }
        set->parked = grown;
        set->parked_room = room;
    }
    if (!engram_write_at(output->spool, packed, size, output->spool_end)) {
        return engram_output_errno_failure(output, errno);
    }
    set->parked[set->parked_count].offset = output->spool_end;
    set->parked[set->parked_count].size = size;
    set->parked_count++;
    output->spool_end += (off_t)size;
    return ENGRAM_OK;
}

/* Makes a buffer at least `size` bytes large; its content is lost. */
static bool grow(unsigned char **buffer, size_t *have, size_t size)
{
    unsigned char *grown;

    if (size <= *have) {
        return true;
    }
    grown = malloc(size);
    if (grown == NULL) {
        return false;
    }
    free(*buffer);
    *buffer = grown;
    *have = size;
    return true;
}

/* Moves the chunks of `set` that wait in the spool into the file. */
static enum engram_status unpark(struct engram_output *output, struct engram_output_set *set)
{
    enum engram_status status = ENGRAM_OK;

    for (size_t i = 0; i < set->parked_count && status == ENGRAM_OK; i++) {
        size_t size = set->parked[i].size;

        if (!grow(&output->packed, &output->packed_size, size)) {
            return engram_fail(&output->log, ENGRAM_ERR_RESOURCE, "out of memory");
        }
        if (!engram_read_at(output->spool, output->packed, size, set->parked[i].offset)) {
            return engram_output_errno_failure(output, errno);
        }
        status = write_chunk(output, set, output->packed, size);
    }
    free(set->parked);
    set->parked = NULL;
    set->parked_count = 0;
    set->parked_room = 0;
    return status;
}

static bool is_complete(const struct engram_output_set *set)
{
    return set->level == 0 || set->chunks_written == set->chunks;
}

/* Passes the turn on while the set that has it is complete. */
static enum engram_status pass_turn(struct engram_output *output)
{
    enum engram_status status = ENGRAM_OK;

    while (status == ENGRAM_OK && output->turn < output->count &&
           is_complete(&output->sets[output->turn])) {
        output->turn++;
        if (output->turn < output->count) {
            status = unpark(output, &output->sets[output->turn]);
        }
    }
    return status;
}

static bool reserve_work(struct engram_output *output, const struct engram_output_set *set,
                         size_t bound)
{
    size_t scratch;
    size_t packed;

    if (!engram_size_mul(set->batch, set->chunk_bytes, &scratch) ||
        !engram_size_mul(set->batch, bound, &packed) ||
        !grow(&output->scratch, &output->scratch_size, scratch) ||
        !grow(&output->packed, &output->packed_size, packed)) {
        return false;
    }
    if (output->packed_count < set->batch) {
        size_t *sizes = realloc(output->packed_sizes, set->batch * sizeof *sizes);

        if (sizes == NULL) {
            return false;
        }
        output->packed_sizes = sizes;
        output->packed_count = set->batch;
    }
    return true;
}

/* Packs at most a batch of chunks on all threads. */
static enum engram_status pack_batch(struct engram_output *output,
                                     const struct engram_output_set *set, size_t rows,
                                     const unsigned char *data, size_t *count)
{
    size_t bound = engram_codec_bound(set->chunk_bytes);
    size_t bytes = rows * set->row_bytes;
    int64_t chunks = (int64_t)((bytes - 1) / set->chunk_bytes + 1);
    int threads = output->threads > 0 ? output->threads : omp_get_max_threads();
    int failure = ENGRAM_OK;

    *count = (size_t)chunks;
    if (!reserve_work(output, set, bound)) {
        return engram_fail(&output->log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    if (threads > chunks) {
        threads = (int)chunks;
    }
#pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(max : failure)
    for (int64_t c = 0; c < chunks; c++) {
        size_t start = (size_t)c * set->chunk_bytes;
        size_t length = bytes - start < set->chunk_bytes ? bytes - start : set->chunk_bytes;
        int status = (int)engram_codec_pack(
            data + start, length, set->chunk_bytes, set->element, set->level,
            output->scratch + start, output->packed + (size_t)c * bound, &output->packed_sizes[c]);

        failure = status > failure ? status : failure;
    }
    if (failure != ENGRAM_OK) {
        return engram_fail(&output->log, (enum engram_status)failure,
                           "%s: %s: cannot compress rows: %s", output->temporary.shown, set->path,
                           engram_status_message((enum engram_status)failure));
    }
    return ENGRAM_OK;
}

static enum engram_status emit_batch(struct engram_output *output, struct engram_output_set *set,
                                     size_t rows, const unsigned char *data)
{
    size_t bound = engram_codec_bound(set->chunk_bytes);
    size_t chunks = 0;
    /* Ids are written in the order in which they are declared: always in turn. */
    bool in_turn = set->strings || &output->sets[output->turn] == set;
    enum engram_status status = pack_batch(output, set, rows, data, &chunks);

    for (size_t c = 0; c < chunks && status == ENGRAM_OK; c++) {
        const unsigned char *packed = output->packed + c * bound;
        size_t size = output->packed_sizes[c];

        status = in_turn ? write_chunk(output, set, packed, size)
                         : park_chunk(output, set, packed, size);
    }
    return status;
}

enum engram_status engram_output_feed(struct engram_output *output, struct engram_output_set *set,
                                      hsize_t count, const void *data)
{
    const hsize_t batch_rows = set->batch * set->chunk_rows;
    const unsigned char *from = data;
    enum engram_status status = ENGRAM_OK;

    while (count > 0 && status == ENGRAM_OK) {
        hsize_t take = count < batch_rows - set->staged ? count : batch_rows - set->staged;
        bool last = set->rows_written + take == set->dims[0];
        size_t bytes = (size_t)take * set->row_bytes;

        set->rows_written += take;
        if (set->staged == 0 && (take == batch_rows || last)) {
            status = emit_batch(output, set, (size_t)take, from);
        } else {
            if (set->stage == NULL) {
                set->stage = malloc(set->batch * set->chunk_bytes);
            }
            if (set->stage == NULL) {
                return engram_fail(&output->log, ENGRAM_ERR_RESOURCE, "out of memory");
            }
            memcpy(set->stage + (size_t)set->staged * set->row_bytes, from, bytes);
            set->staged += take;
            if (set->staged == batch_rows || last) {
                status = emit_batch(output, set, (size_t)set->staged, set->stage);
                set->staged = 0;
            }
        }
        from += bytes;
        count -= take;
    }
    if (set->rows_written == set->dims[0]) {
        free(set->stage);
        set->stage = NULL;
    }
    return status == ENGRAM_OK && !set->strings ? pass_turn(output) : status;
}

/* Rows that are worth telling the disk about at once. */
#define EARLY_BYTES ((size_t)8 << 20)

enum engram_status engram_output_by_h5(struct engram_output *output,
                                       const struct engram_output_set *set, hsize_t first,
                                       hsize_t count, const void *data)
{
    hsize_t start[2] = {first, 0};
    hsize_t extent[2] = {count, set->dims[1]};
    ENGRAM_H5_HANDLE hid_t in_file = H5Dget_space(set->id);
    ENGRAM_H5_HANDLE hid_t in_memory = H5Screate_simple(set->rank, extent, NULL);

    if (in_file < 0 || in_memory < 0 ||
        H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, extent, NULL) < 0 ||
        H5Dwrite(set->id, set->type, in_memory, in_file, H5P_DEFAULT, data) < 0) {
        return engram_output_h5_failure(output, "write rows");
    }
    return ENGRAM_OK;
}

/* The disk begins now, while the next rows are computed, and not when the file is synced. What goes
 * wrong here goes wrong there again. */
static void start_writing(int fd, off_t offset, size_t bytes)
{
#ifdef SYNC_FILE_RANGE_WRITE
    (void)sync_file_range(fd, offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
#else
    (void)fd;
    (void)offset;
    (void)bytes;
#endif
}

enum engram_status engram_output_hash_rows(struct engram_output *output,
                                           struct engram_output_set *set, hsize_t first,
                                           hsize_t count, const void *data)
{
    if (set->chain == NULL) {
        return ENGRAM_OK;
    }
    if ((uint64_t)first * set->row_bytes != set->chain->size) {
        return engram_fail(&output->log, ENGRAM_ERR_INTERNAL, "%s: %s: rows are not in order",
                           output->temporary.shown, set->path);
    }
    engram_hash_add(set->chain, data, (size_t)count * set->row_bytes);
    return ENGRAM_OK;
}

enum engram_status engram_output_rows(struct engram_output *output, int dataset, int64_t first,
                                      int64_t count, const void *data)
{
    ENGRAM_H5_QUIET;
    struct engram_output_set *set;

    if (!output->rows_begun) {
        enum engram_status status = engram_output_begin_rows(output);

        status = status == ENGRAM_OK ? pass_turn(output) : status;
        if (status != ENGRAM_OK) {
            return status;
        }
    }
    set = dataset >= 0 && (size_t)dataset < output->count ? &output->sets[dataset] : NULL;
    if (set == NULL || set->strings || first < 0 || count < 0 || (hsize_t)first > set->dims[0] ||
        (hsize_t)count > set->dims[0] - (hsize_t)first ||
        (set->level > 0 && (hsize_t)first != set->rows_written)) {
        return engram_fail(&output->log, ENGRAM_ERR_INTERNAL,
                           "%s: %s: rows %lld to %lld cannot be written", output->temporary.shown,
                           set != NULL ? set->path : "?", (long long)first,
                           (long long)first + (long long)count);
    }
    enum engram_status status =
        engram_output_hash_rows(output, set, (hsize_t)first, (hsize_t)count, data);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (set->level > 0) {
        return engram_output_feed(output, set, (hsize_t)count, data);
    }
    set->rows_written += (hsize_t)count;
    if (count == 0 || set->row_bytes == 0) {
        return ENGRAM_OK;
    }
    if (output->file >= 0) {
        return engram_output_by_h5(output, set, (hsize_t)first, (hsize_t)count, data);
    }
    size_t bytes = (size_t)count * set->row_bytes;
    off_t offset = (off_t)set->offset + (off_t)((size_t)first * set->row_bytes);
    if (!engram_write_at(output->temporary.fd, data, bytes, offset)) {
        return engram_output_errno_failure(output, errno);
    }
    if (bytes >= EARLY_BYTES) {
        start_writing(output->temporary.fd, offset, bytes);
    }
    return ENGRAM_OK;
}
