/* Slabs of rows: every set of a file is read by our own path and by H5Dread. Where both succeed
 * they give the same bytes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h5_target.h"
#include "io/source.h"

enum { SETS_MAX = 6 };

static bool is_small(const struct engram_dataset_info *info)
{
    int64_t columns = info->dims[1] > 0 ? info->dims[1] : 1;

    return info->rank == 2 && info->content == ENGRAM_CONTENT_NUMERIC &&
           info->dims[0] <= FUZZ_ELEMENTS / columns;
}

/* All rows, as one array of slab elements; NULL when they cannot be read. */
static unsigned char *read_rows(const char *path, const struct engram_dataset_info *info,
                                bool by_hdf5, size_t *bytes)
{
    size_t row_bytes = engram_row_bytes(engram_source_dtype(info), info->dims[1]);
    struct engram_source_options options = {.path = path,
                                            .dataset = info,
                                            .last = info->dims[0],
                                            .slab_rows = ENGRAM_ROW_GRAIN,
                                            .threads = 1,
                                            .by_hdf5 = by_hdf5,
                                            .log = fuzz_log};
    struct engram_source *source = NULL;
    struct engram_slab slab;
    int64_t next = 0;

    fuzz_begin();
    *bytes = row_bytes * (size_t)info->dims[0];
    unsigned char *all = malloc(*bytes + 1);
    FUZZ_CHECK(all != NULL);
    enum engram_status status = engram_source_open(&options, &source);
    while (status == ENGRAM_OK) {
        status = engram_source_next(source, &slab);
        if (status != ENGRAM_OK || slab.set.rows == 0) {
            break;
        }
        FUZZ_CHECK(slab.first_row == next && slab.set.dim == info->dims[1]);
        FUZZ_CHECK(slab.set.dtype == engram_source_dtype(info));
        FUZZ_CHECK(slab.set.rows <= info->dims[0] - next && slab.set.stride >= row_bytes);
        for (int64_t r = 0; r < slab.set.rows && row_bytes > 0; r++) {
            memcpy(all + (size_t)(next + r) * row_bytes,
                   (const unsigned char *)slab.set.data + (size_t)r * slab.set.stride, row_bytes);
        }
        next += slab.set.rows;
    }
    fuzz_check_status(status, FUZZ_READ_FAILURES | FUZZ_ALLOW(ENGRAM_ERR_USAGE));
    FUZZ_CHECK(status != ENGRAM_OK || next == info->dims[0]);
    engram_source_close(source);
    if (status != ENGRAM_OK) {
        free(all);
        return NULL;
    }
    return all;
}

/* NaN has many forms, and conversions keep which one it is only sometimes. */
static bool same_values(enum engram_dtype dtype, const unsigned char *a, const unsigned char *b,
                        size_t bytes)
{
    if (memcmp(a, b, bytes) == 0) {
        return true;
    }
    size_t size = engram_dtype_size(dtype);
    for (size_t i = 0; i < bytes && size > 0; i += size) {
        float f[2];
        double d[2] = {0, 0};
        if (size == sizeof f[0]) {
            memcpy(&f[0], a + i, size);
            memcpy(&f[1], b + i, size);
            d[0] = (double)f[0];
            d[1] = (double)f[1];
        } else {
            memcpy(&d[0], a + i, size);
            memcpy(&d[1], b + i, size);
        }
        if (memcmp(a + i, b + i, size) != 0 && !(isnan(d[0]) && isnan(d[1]))) {
            (void)fprintf(stderr, "element %zu: %g, by HDF5 %g\n", i / size, d[0], d[1]);
            return false;
        }
    }
    return size > 0;
}

static void read_set(const char *path, const struct engram_dataset_info *info)
{
    size_t bytes[2];
    unsigned char *ours = read_rows(path, info, false, &bytes[0]);
    unsigned char *theirs = read_rows(path, info, true, &bytes[1]);

    if (ours != NULL && theirs != NULL) {
        FUZZ_CHECK(bytes[0] == bytes[1]);
        FUZZ_CHECK(same_values(engram_source_dtype(info), ours, theirs, bytes[0]));
    }
    free(ours);
    free(theirs);
}

static void target(const uint8_t *data, size_t size)
{
    struct engram_layout layout;
    const char *path = fuzz_file(data, size);
    int sets = 0;

    if (fuzz_layout(path, &layout)) {
        for (size_t i = 0; i < layout.count && sets < SETS_MAX; i++) {
            const struct engram_dataset_info *info = &layout.datasets[i];
            if (is_small(info) && (info->items == NULL || info->items == layout.items)) {
                read_set(path, info);
                sets++;
            }
        }
        engram_layout_free(&layout);
    }
    fuzz_check_handles();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_isolated(target, data, size);
    return 0;
}
