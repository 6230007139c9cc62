#include "io/claim.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/size.h"
#include "io/h5.h"
#include "io/h5pipeline.h"

#define UNWRITTEN_BYTES ((uint64_t)64 << 20)
#define UNWRITTEN_FACTOR 16

/* Chunks are only counted, which takes a walk over their index, when the rows take more than this
 * many times the bytes of the file: compressed data may. */
#define EXPANSION 64

/* A single chunk of many MiB is not believed when it would be so many times as large as the file:
 * deflate can expand by 1032. */
#define CHUNK_EXPANSION 2048

static enum engram_status unknown(const struct engram_claim *claim)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    return engram_fail(claim->log, engram_h5_read_status(message), "%s: %s: cannot be read (%s)",
                       claim->path, claim->name, message);
}

static enum engram_status wrong(const struct engram_claim *claim, const char *what)
{
    return engram_fail(claim->log, ENGRAM_ERR_DATA, "%s: %s: %s; it is damaged", claim->path,
                       claim->name, what);
}

static uint64_t asked(const struct engram_claim *claim)
{
    return engram_saturating_mul(claim->rows, claim->row_bytes);
}

enum engram_status engram_h5_check_written(const struct engram_claim *claim, uint64_t written)
{
    uint64_t bytes = asked(claim);
    uint64_t unwritten = bytes > written ? bytes - written : 0;

    if (unwritten <= UNWRITTEN_BYTES || unwritten / UNWRITTEN_FACTOR <= written) {
        return ENGRAM_OK;
    }
    return engram_fail(claim->log, ENGRAM_ERR_DATA,
                       "%s: %s: its shape takes %llu bytes, of which at most %llu were ever "
                       "written: it is damaged, or its writer did not finish (--base-rows and "
                       "--query-rows choose the rows that are there)",
                       claim->path, claim->name, (unsigned long long)bytes,
                       (unsigned long long)written);
}

/* Where the file ends by its own account: HDF5 does not read beyond. */
static uint64_t told_end(const struct engram_claim *claim, hsize_t file_bytes)
{
    ENGRAM_H5_HANDLE hid_t file = H5Iget_file_id(claim->dataset);
    haddr_t end = HADDR_UNDEF;

    /* Not every driver can tell. */
    return file >= 0 && H5Fget_eoa(file, &end) >= 0 && end < file_bytes ? (uint64_t)end
                                                                        : (uint64_t)file_bytes;
}

static enum engram_status check_place(const struct engram_claim *claim, hsize_t file_bytes)
{
    /* HDF5 reads past the end of compact data, and gives zeros for what is beyond the end of the
     * file, so the whole of it has to be there. */
    uint64_t bytes = engram_saturating_mul((uint64_t)claim->info->dims[0], claim->row_bytes);
    uint64_t held = H5Dget_storage_size(claim->dataset);
    uint64_t end = 0;
    haddr_t offset = H5Dget_offset(claim->dataset);

    if (claim->info->storage == ENGRAM_STORAGE_CONTIGUOUS && offset == HADDR_UNDEF) {
        return engram_h5_check_written(claim, 0);
    }
    if (held < bytes) {
        return engram_fail(claim->log, ENGRAM_ERR_DATA,
                           "%s: %s: its shape takes %llu bytes and the file holds %llu for it; it "
                           "is damaged",
                           claim->path, claim->name, (unsigned long long)bytes,
                           (unsigned long long)held);
    }
    if (claim->info->storage == ENGRAM_STORAGE_CONTIGUOUS &&
        (__builtin_add_overflow(bytes, (uint64_t)offset, &end) ||
         end > told_end(claim, file_bytes))) {
        return engram_fail(claim->log, ENGRAM_ERR_DATA,
                           "%s: %s: takes %llu bytes at offset %llu but the file ends at %llu; it "
                           "is truncated or damaged",
                           claim->path, claim->name, (unsigned long long)bytes,
                           (unsigned long long)offset, (unsigned long long)file_bytes);
    }
    return ENGRAM_OK;
}

/* Elements and bytes of a chunk; false: HDF5 failed. `shape` gets the largest that the dataset may
 * grow to, or damaged, is. */
static bool chunk_size(const struct engram_claim *claim, hid_t creation, hsize_t shape[],
                       hsize_t chunk[], int *rank, uint64_t *elements, uint64_t *bytes)
{
    ENGRAM_H5_HANDLE hid_t type = H5Dget_type(claim->dataset);
    ENGRAM_H5_HANDLE hid_t space = H5Dget_space(claim->dataset);

    hsize_t now[H5S_MAX_RANK] = {0};

    *rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, now, shape);
    for (int i = 0; i < *rank; i++) {
        shape[i] = shape[i] < now[i] ? now[i] : shape[i];
    }
    if (*rank < 1 || type < 0 || H5Pget_chunk(creation, H5S_MAX_RANK, chunk) != *rank) {
        return false;
    }
    *elements = 1;
    for (int i = 0; i < *rank; i++) {
        *elements = engram_saturating_mul(*elements, chunk[i]);
    }
    *bytes = engram_saturating_mul(*elements, H5Tget_size(type));
    return *elements > 0 && *bytes > 0;
}

/* Of some filters the parameters say how many elements a chunk has: so much they allocate. */
static bool filters_fit(hid_t creation, uint64_t elements)
{
    int count = H5Pget_nfilters(creation);

    for (int i = 0; i < count; i++) {
        unsigned flags = 0;
        unsigned values[3] = {0};
        size_t value_count = 3;
        H5Z_filter_t filter =
            H5Pget_filter2(creation, (unsigned)i, &flags, &value_count, values, 0, NULL, NULL);
        if ((filter == H5Z_FILTER_SCALEOFFSET || filter == H5Z_FILTER_NBIT) &&
            (value_count < 3 || values[2] != elements)) {
            return false;
        }
    }
    return count >= 0;
}

/* Bytes that a fixed array takes for the address of every chunk, of some the size, too: header,
 * data block, entries (HDF5's file format, VII.C). Checksums of pages are left out. */
static uint64_t fixed_array_bytes(uint64_t count, uint64_t chunk_bytes, bool filtered,
                                  size_t address, size_t length)
{
    size_t entry = address;

    if (filtered) {
        size_t width = 1 + ((size_t)(63 - __builtin_clzll(chunk_bytes)) + 8) / 8;
        entry += (width > 8 ? 8 : width) + 4;
    }
    return engram_saturating_add(engram_saturating_mul(count, entry),
                                 12 + length + address + 10 + address);
}

/* Bytes of the index of chunks (0: no chunk was ever written), and of an address and a length in
 * this file. */
static bool index_size(hid_t dataset, uint64_t *bytes, size_t *address, size_t *length)
{
    ENGRAM_H5_HANDLE hid_t file = H5Iget_file_id(dataset);
    ENGRAM_H5_HANDLE hid_t created = file < 0 ? -1 : H5Fget_create_plist(file);
#if H5_VERSION_GE(1, 12, 0)
    H5O_native_info_t info;
    herr_t result = H5Oget_native_info(dataset, &info, H5O_NATIVE_INFO_META_SIZE);
#else
    H5O_info_t info;
    herr_t result = H5Oget_info2(dataset, &info, H5O_INFO_META_SIZE);
#endif

    *bytes = result < 0 ? 0 : info.meta_size.obj.index_size;
    return result >= 0 && created >= 0 && H5Pget_sizes(created, address, length) >= 0;
}

/* Whether elements take as many bytes in the file as HDF5 says of their type: references to strings
 * and the like do not. */
static bool is_stored_as_is(hid_t dataset)
{
    ENGRAM_H5_HANDLE hid_t type = H5Dget_type(dataset);
    H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);

    return class == H5T_INTEGER || class == H5T_FLOAT || class == H5T_ENUM ||
           (class == H5T_STRING && H5Tis_variable_str(type) == 0) ||
           (class == H5T_COMPOUND && H5Tdetect_class(type, H5T_VLEN) == 0 &&
            H5Tdetect_class(type, H5T_STRING) == 0 && H5Tdetect_class(type, H5T_REFERENCE) == 0);
}

/* Whether the chunks of a dataset without filters have the size they must have: HDF5 allocates what
 * the index says and uses what the shape says. A look at each would be quadratic, the sum is not.
 */
static bool chunks_are_whole(const struct engram_claim *claim, uint64_t bytes)
{
    hsize_t count = 0;
    ENGRAM_H5_HANDLE hid_t space = H5Dget_space(claim->dataset);

    return space >= 0 && H5Dget_num_chunks(claim->dataset, space, &count) >= 0 &&
           H5Dget_storage_size(claim->dataset) == engram_saturating_mul(count, bytes);
}

/* Unpacks the first chunk, if it was written. HDF5 uses as much of what filters give as the shape
 * says, however little that was. */
static bool first_chunk_is_whole(const struct engram_claim *claim, hid_t creation, uint64_t bytes)
{
    const hsize_t corner[H5S_MAX_RANK] = {0};
    struct engram_pipeline pipeline = {.element = 1, .chunk_bytes = (size_t)bytes};
    struct engram_unfilter unfilter = {.inflater = NULL};
    struct engram_elements found;
    const char *why = NULL;
    hsize_t size = 0;
    uint32_t mask = 0;
    unsigned options = 0;

    if (bytes > SIZE_MAX / 8 || H5Pget_chunk_opts(creation, &options) < 0 || options != 0 ||
        !engram_h5_pipeline(creation, &pipeline) ||
        H5Dget_chunk_storage_size(claim->dataset, corner, &size) < 0 || size == 0) {
        return true;
    }
    if (size > engram_unfilter_packed_limit(&pipeline)) {
        return false;
    }
    bool whole = true;
    unsigned char *raw = malloc((size_t)size);
    /* Without memory the reading itself says so. */
    if (raw != NULL && engram_unfilter_create(&pipeline, &unfilter) &&
        engram_h5_read_chunk(claim->dataset, corner, raw, (size_t)size, &mask) >= 0) {
        whole = engram_unfilter_chunk(&pipeline, &unfilter, raw, (size_t)size, mask, &found,
                                      &why) == ENGRAM_OK;
    }
    engram_unfilter_destroy(&unfilter);
    free(raw);
    return whole;
}

/* What HDF5 believes of its chunks. It looks up chunks beyond the end of a fixed array (1.10 does)
 * in whatever memory comes next. */
static enum engram_status check_layout(const struct engram_claim *claim, uint64_t file_bytes)
{
    hsize_t shape[H5S_MAX_RANK];
    hsize_t chunk[H5S_MAX_RANK];
    H5D_chunk_index_t kind = H5D_CHUNK_IDX_BTREE;
    uint64_t elements = 0;
    uint64_t bytes = 0;
    uint64_t held = 0;
    uint64_t count = 1;
    size_t address = 0;
    size_t length = 0;
    int rank = 0;
    ENGRAM_H5_HANDLE hid_t creation = H5Dget_create_plist(claim->dataset);

    if (creation < 0 || !chunk_size(claim, creation, shape, chunk, &rank, &elements, &bytes) ||
        H5Dget_chunk_index_type(claim->dataset, &kind) < 0) {
        return unknown(claim);
    }
    if (bytes > UNWRITTEN_BYTES && bytes / CHUNK_EXPANSION > file_bytes) {
        return wrong(claim, "a chunk of it would be far larger than the file");
    }
    if (!filters_fit(creation, elements)) {
        return wrong(claim, "the parameters of its filters do not fit its chunks");
    }
    if (H5Pget_nfilters(creation) == 0 && is_stored_as_is(claim->dataset) &&
        !chunks_are_whole(claim, bytes)) {
        return wrong(claim, "its chunks are not as large as its shape says");
    }
    if (claim->by_hdf5 && H5Pget_nfilters(creation) > 0 && is_stored_as_is(claim->dataset) &&
        !first_chunk_is_whole(claim, creation, bytes)) {
        return wrong(claim, "its first chunk does not hold what its shape says");
    }
    if (kind != H5D_CHUNK_IDX_FARRAY) {
        return ENGRAM_OK;
    }
    if (!index_size(claim->dataset, &held, &address, &length)) {
        return unknown(claim);
    }
    for (int i = 0; i < rank; i++) {
        count = engram_saturating_mul(count, shape[i] / chunk[i] + (shape[i] % chunk[i] != 0));
    }
    bool filtered = H5Pget_nfilters(creation) > 0;
    return held == 0 || held >= fixed_array_bytes(count, bytes, filtered, address, length)
               ? ENGRAM_OK
               : wrong(claim, "the index of its chunks has no room for as many as its shape takes");
}

static enum engram_status check_chunks(const struct engram_claim *claim, hsize_t file_bytes)
{
    const int64_t *extent = claim->info->chunk;
    uint64_t chunk = claim->row_bytes;
    hsize_t count = 0;
    enum engram_status status = check_layout(claim, (uint64_t)file_bytes);

    if (status != ENGRAM_OK) {
        return status;
    }
    if (asked(claim) <= UNWRITTEN_BYTES || asked(claim) / EXPANSION <= (uint64_t)file_bytes) {
        return ENGRAM_OK;
    }
    chunk = engram_saturating_mul(chunk, (uint64_t)extent[0]);
    if (claim->info->rank == 2 && extent[1] > 0 && claim->info->dims[1] > extent[1]) {
        chunk /= (uint64_t)((claim->info->dims[1] - 1) / extent[1] + 1);
    }
    ENGRAM_H5_HANDLE hid_t space = H5Dget_space(claim->dataset);
    if (space < 0 || H5Dget_num_chunks(claim->dataset, space, &count) < 0) {
        return unknown(claim);
    }
    return engram_h5_check_written(claim, engram_saturating_mul(count, chunk));
}

enum engram_status engram_h5_check_claim(const struct engram_claim *claim)
{
    hsize_t file_bytes = 0;
    haddr_t end = 0; /* of what the file says that it uses: HDF5 gives zeros for what is behind */

    if (asked(claim) == 0) {
        return ENGRAM_OK;
    }
    ENGRAM_H5_HANDLE hid_t file = H5Iget_file_id(claim->dataset);
    if (file < 0 || H5Fget_filesize(file, &file_bytes) < 0 || H5Fget_eoa(file, &end) < 0) {
        return unknown(claim);
    }
    file_bytes = end < file_bytes ? end : file_bytes;
    switch (claim->info->storage) {
    case ENGRAM_STORAGE_CONTIGUOUS:
    case ENGRAM_STORAGE_COMPACT:
        return check_place(claim, file_bytes);
    case ENGRAM_STORAGE_CHUNKED:
        return check_chunks(claim, file_bytes);
    default:
        return ENGRAM_OK;
    }
}
