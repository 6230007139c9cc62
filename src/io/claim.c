#include "io/claim.h"

#include "base/log.h"
#include "base/size.h"
#include "io/h5.h"

#define UNWRITTEN_BYTES ((uint64_t)64 << 20)
#define UNWRITTEN_FACTOR 16

/* Chunks are only counted, which takes a walk over their index, when the rows take more than this
 * many times the bytes of the file: compressed data may. */
#define EXPANSION 64

static enum engram_status unknown(const struct engram_claim *claim)
{
    char message[256];

    engram_h5_message(message, sizeof message);
    return engram_fail(claim->log, engram_h5_read_status(message), "%s: %s: cannot be read (%s)",
                       claim->path, claim->name, message);
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
        (__builtin_add_overflow(bytes, (uint64_t)offset, &end) || end > file_bytes)) {
        return engram_fail(claim->log, ENGRAM_ERR_DATA,
                           "%s: %s: takes %llu bytes at offset %llu but the file ends at %llu; it "
                           "is truncated or damaged",
                           claim->path, claim->name, (unsigned long long)bytes,
                           (unsigned long long)offset, (unsigned long long)file_bytes);
    }
    return ENGRAM_OK;
}

/* Bytes that a fixed array takes for the address of every chunk, of some the size, too: header,
 * data block, entries (HDF5's file format, VII.C). Checksums of pages are left out. 0: HDF5 failed.
 */
static uint64_t fixed_array_bytes(hid_t dataset, size_t address, size_t length)
{
    hsize_t dims[H5S_MAX_RANK];
    hsize_t chunk[H5S_MAX_RANK];
    ENGRAM_H5_HANDLE hid_t type = H5Dget_type(dataset);
    ENGRAM_H5_HANDLE hid_t space = H5Dget_space(dataset);
    ENGRAM_H5_HANDLE hid_t creation = H5Dget_create_plist(dataset);
    int rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, dims, NULL);
    uint64_t bytes = type < 0 ? 0 : H5Tget_size(type);
    uint64_t count = 1;
    size_t entry = address;

    if (rank < 1 || bytes == 0 || creation < 0 ||
        H5Pget_chunk(creation, H5S_MAX_RANK, chunk) != rank) {
        return 0;
    }
    for (int i = 0; i < rank && chunk[i] > 0; i++) {
        count = engram_saturating_mul(count, dims[i] / chunk[i] + (dims[i] % chunk[i] != 0));
        bytes = engram_saturating_mul(bytes, chunk[i]);
    }
    if (H5Pget_nfilters(creation) > 0) {
        size_t width = 1 + ((size_t)(63 - __builtin_clzll(bytes | 1)) + 8) / 8;
        entry += (width > 8 ? 8 : width) + 4;
    }
    return engram_saturating_add(engram_saturating_mul(count, entry),
                                 12 + length + address + 10 + address);
}

/* HDF5 1.10 looks up chunks beyond the end of a fixed array, in whatever memory comes next. */
static enum engram_status check_index(const struct engram_claim *claim)
{
    H5D_chunk_index_t kind = H5D_CHUNK_IDX_BTREE;
    size_t address = 0;
    size_t length = 0;

    if (H5Dget_chunk_index_type(claim->dataset, &kind) < 0) {
        return unknown(claim);
    }
    if (kind != H5D_CHUNK_IDX_FARRAY) {
        return ENGRAM_OK;
    }
    ENGRAM_H5_HANDLE hid_t file = H5Iget_file_id(claim->dataset);
    ENGRAM_H5_HANDLE hid_t created = file < 0 ? -1 : H5Fget_create_plist(file);
#if H5_VERSION_GE(1, 12, 0)
    H5O_native_info_t info;
    herr_t result = H5Oget_native_info(claim->dataset, &info, H5O_NATIVE_INFO_META_SIZE);
#else
    H5O_info_t info;
    herr_t result = H5Oget_info2(claim->dataset, &info, H5O_INFO_META_SIZE);
#endif
    if (result < 0 || created < 0 || H5Pget_sizes(created, &address, &length) < 0) {
        return unknown(claim);
    }
    uint64_t held = info.meta_size.obj.index_size; /* 0: no chunk was ever written */
    uint64_t needed = fixed_array_bytes(claim->dataset, address, length);
    if (needed == 0) {
        return unknown(claim);
    }
    if (held == 0 || held >= needed) {
        return ENGRAM_OK;
    }
    return engram_fail(
        claim->log, ENGRAM_ERR_DATA,
        "%s: %s: the index of its chunks has no room for as many as its shape takes; "
        "it is damaged",
        claim->path, claim->name);
}

static enum engram_status check_chunks(const struct engram_claim *claim, hsize_t file_bytes)
{
    const int64_t *extent = claim->info->chunk;
    uint64_t chunk = claim->row_bytes;
    hsize_t count = 0;
    enum engram_status status = check_index(claim);

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

    if (asked(claim) == 0) {
        return ENGRAM_OK;
    }
    ENGRAM_H5_HANDLE hid_t file = H5Iget_file_id(claim->dataset);
    if (file < 0 || H5Fget_filesize(file, &file_bytes) < 0) {
        return unknown(claim);
    }
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
