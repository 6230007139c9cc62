/* Virtual datasets and those that keep their data in external files. HDF5 gives fill values for
 * what is missing, so everything is looked at before it is read, and nothing outside the file
 * without the user's word. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/size.h"
#include "io/claim.h"
#include "io/describe.h"
#include "io/h5.h"
#include "io/objheader.h"
#include "io/source_internal.h"
#include "io/virtual_read.h"

#define FAIL ENGRAM_SOURCE_FAIL
#define NAME_LIMIT 4096

static bool is_file(const char *path, uint64_t *size)
{
    struct stat info;

    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) {
        return false;
    }
    *size = (uint64_t)info.st_size;
    return true;
}

/* `name` in the folder of the source's file; NULL without memory. */
static char *in_folder(const struct engram_source *source, const char *name)
{
    const char *slash = strrchr(source->path, '/');
    char *path = NULL;

    if (asprintf(&path, "%.*s%s", slash == NULL ? 0 : (int)(slash - source->path + 1), source->path,
                 name) < 0) {
        return NULL;
    }
    return path;
}

static enum engram_status not_allowed(const struct engram_source *source, const char *what,
                                      const char *name)
{
    return FAIL(source, ENGRAM_ERR_USAGE,
                "%s (%s); allow with --allow-external that other files are read", what, name);
}

/* ---- external files */

/* One raw file, from which `*left` bytes at most are taken. *near: found in the file's folder. */
static enum engram_status check_raw_file(const struct engram_source *source, const char *name,
                                         uint64_t offset, uint64_t size, uint64_t *left, bool *near)
{
    uint64_t taken = size < *left ? size : *left;
    uint64_t end = 0;
    uint64_t held = 0;
    char *beside = in_folder(source, name);
    bool found = beside != NULL && name[0] != '/' && is_file(beside, &held);

    free(beside);
    *near = *near || found;
    if (!found && !is_file(name, &held)) {
        return FAIL(source, ENGRAM_ERR_NO_INPUT,
                    "its external file %s is neither beside it nor in the working folder", name);
    }
    if (__builtin_add_overflow(offset, taken, &end) || end > held) {
        return FAIL(source, ENGRAM_ERR_DATA,
                    "needs %llu bytes at offset %llu of its external file %s, which has %llu",
                    (unsigned long long)taken, (unsigned long long)offset, name,
                    (unsigned long long)held);
    }
    *left -= taken;
    return ENGRAM_OK;
}

enum engram_status engram_source_check_external(struct engram_source *source, hid_t creation,
                                                uint64_t bytes)
{
    char name[NAME_LIMIT] = "";
    int count = H5Pget_external_count(creation);
    bool near = false;
    enum engram_status status = ENGRAM_OK;

    for (unsigned i = 0; status == ENGRAM_OK && (int)i < count; i++) {
        off_t offset = 0;
        hsize_t size = 0;
        if (H5Pget_external(creation, i, sizeof name - 1, name, &offset, &size) < 0) {
            return engram_source_h5_failure(source, "its external files cannot be listed");
        }
        status =
            source->options.allow_external
                ? check_raw_file(source, name, (uint64_t)offset,
                                 size == H5F_UNLIMITED ? UINT64_MAX : (uint64_t)size, &bytes, &near)
                : not_allowed(source, "keeps its data in external files", name);
    }
    if (status == ENGRAM_OK && bytes > 0) {
        return FAIL(source, ENGRAM_ERR_DATA, "its external files hold %llu bytes too few",
                    (unsigned long long)bytes);
    }
    if (status != ENGRAM_OK || !near) {
        return status;
    }
    /* HDF5 looks for them in the working folder unless it is told otherwise. */
    ENGRAM_H5_HANDLE hid_t access = engram_h5_link_access(H5P_DATASET_ACCESS);
    engram_h5_close(&source->dataset);
    if (access >= 0 && H5Pset_efile_prefix(access, "${ORIGIN}") >= 0) {
        source->dataset = engram_h5_open_dataset(source->file, source->name, access);
    }
    return source->dataset < 0 ? engram_source_h5_failure(source, "cannot be opened") : ENGRAM_OK;
}

/* ---- virtual datasets */

/* Where HDF5 finds a source file; NULL: nowhere. To be freed. */
static char *find_source_file(const struct engram_source *source, const char *name)
{
    const char *base = strrchr(name, '/');
    uint64_t size;
    char *path = name[0] == '/' && is_file(name, &size) ? strdup(name) : NULL;

    if (path != NULL) {
        return path;
    }
    path = in_folder(source, name[0] == '/' ? base + 1 : name);
    if (path != NULL && !is_file(path, &size)) {
        free(path);
        path = is_file(name, &size) ? strdup(name) : NULL;
    }
    return path;
}

static uint64_t row_bytes(hid_t dataset, const hsize_t dims[], int rank)
{
    ENGRAM_H5_HANDLE hid_t type = H5Dget_type(dataset);
    uint64_t bytes = type < 0 ? 0 : H5Tget_size(type);

    for (int i = 1; i < rank; i++) {
        bytes = engram_saturating_mul(bytes, dims[i]);
    }
    return bytes;
}

/* The dataset behind one mapping of so many elements: there, large enough, stored as itself,
 * readable. It stays open: what is read is what was looked at, and a file that can no longer be
 * opened (removed, one descriptor too many) is no matter. */
static enum engram_status check_origin(struct engram_source *source,
                                       struct engram_virtual_part *part, hid_t file,
                                       const char *name, const char *path, hid_t selection,
                                       hid_t target)
{
    const hssize_t elements = H5Sget_select_npoints(target);
    hsize_t dims[H5S_MAX_RANK];
    hsize_t start[H5S_MAX_RANK];
    hsize_t end[H5S_MAX_RANK];
    ENGRAM_H5_HANDLE hid_t access = engram_h5_link_access(H5P_DATASET_ACCESS);
    ENGRAM_H5_HANDLE hid_t dataset = access < 0 ? -1 : engram_h5_open_dataset(file, name, access);
    ENGRAM_H5_HANDLE hid_t space = dataset < 0 ? -1 : H5Dget_space(dataset);
    ENGRAM_H5_HANDLE hid_t creation = dataset < 0 ? -1 : H5Dget_create_plist(dataset);
    int rank = space < 0 || creation < 0 ? -1 : H5Sget_simple_extent_dims(space, dims, NULL);

    if (rank < 0) {
        return FAIL(source, ENGRAM_ERR_NO_INPUT, "its source %s in %s cannot be opened", name,
                    path);
    }
    if (H5Pget_layout(creation) == H5D_VIRTUAL || H5Pget_external_count(creation) > 0) {
        return FAIL(source, ENGRAM_ERR_USAGE,
                    "its source %s in %s is virtual or external itself, which is not supported; "
                    "copy it into one file (h5repack)",
                    name, path);
    }
    bool all = H5Sget_select_type(selection) == H5S_SEL_ALL;
    if (!all && (H5Sget_simple_extent_ndims(selection) != rank ||
                 H5Sget_select_bounds(selection, start, end) < 0)) {
        return FAIL(source, ENGRAM_ERR_USAGE,
                    "takes an unlimited part of its source %s in %s, which is not supported; copy "
                    "it into one file (h5repack)",
                    name, path);
    }
    bool changed = all && H5Sget_simple_extent_npoints(space) != elements;
    for (int i = 0; i < rank && !all; i++) {
        changed = changed || end[i] >= dims[i];
    }
    if (changed) {
        return FAIL(source, ENGRAM_ERR_DATA,
                    "its source %s in %s has another size than when it was mapped", name, path);
    }
    struct engram_dataset_info info = {.path = NULL};
    if (engram_h5_describe(dataset, &info) < 0) {
        return engram_source_h5_failure(source, "its sources cannot be described");
    }
    const struct engram_claim claim = {
        .path = path,
        .name = name,
        .log = &source->options.log,
        .dataset = dataset,
        .info = &info,
        .rows = rank > 0 ? (uint64_t)dims[0] : 1,
        .row_bytes = row_bytes(dataset, dims, rank),
        .by_hdf5 = true,
    };
    enum engram_status status = engram_h5_check_claim(&claim);
    status = status == ENGRAM_OK ? engram_source_check_filters(source, creation) : status;
    if (status == ENGRAM_OK && !engram_virtual_part_select(part, selection, space, target)) {
        status = engram_source_h5_failure(source, "its mapping cannot be followed");
    }
    if (status == ENGRAM_OK) {
        part->dataset = dataset;
        dataset = -1;
    }
    return status;
}

static bool is_pattern(const char *name)
{
    return strstr(name, "%b") != NULL || strstr(name, "%B") != NULL;
}

/* Adds the elements that it stands for to *mapped. */
static enum engram_status check_mapping(struct engram_source *source, hid_t creation, size_t index,
                                        uint64_t *mapped)
{
    char file_name[NAME_LIMIT] = "";
    char name[NAME_LIMIT] = "";
    ENGRAM_H5_HANDLE hid_t selection = H5Pget_virtual_srcspace(creation, index);
    ENGRAM_H5_HANDLE hid_t target = H5Pget_virtual_vspace(creation, index);
    hssize_t elements = target < 0 ? -1 : H5Sget_select_npoints(target);
    struct engram_virtual_part *part = &source->parts[source->part_count];

    *part = (struct engram_virtual_part){.file = -1, .dataset = -1, .from = -1, .to = -1};
    source->part_count++;
    *mapped = engram_saturating_add(*mapped, elements > 0 ? (uint64_t)elements : 0);
    if (selection < 0 ||
        H5Pget_virtual_filename(creation, index, file_name, sizeof file_name) < 0 ||
        H5Pget_virtual_dsetname(creation, index, name, sizeof name) < 0) {
        return engram_source_h5_failure(source, "its sources cannot be listed");
    }
    if (strcmp(file_name, ".") == 0 && !is_pattern(name)) {
        return check_origin(source, part, source->file, name, source->path, selection, target);
    }
    if (!source->options.allow_external) {
        return not_allowed(source, "is virtual, with sources in other files", file_name);
    }
    if (is_pattern(file_name) || is_pattern(name)) {
        return FAIL(source, ENGRAM_ERR_USAGE,
                    "names its sources by a pattern (%s: %s), which is not supported; copy it into "
                    "one file (h5repack)",
                    file_name, name);
    }
    char *path = find_source_file(source, file_name);
    if (path == NULL) {
        return FAIL(source, ENGRAM_ERR_NO_INPUT, "its source file %s is not there", file_name);
    }
    enum engram_status status = engram_h5_open(path, &source->options.log, &part->file);
    if (status == ENGRAM_OK) {
        status = check_origin(source, part, part->file, name, path, selection, target);
    }
    free(path);
    return status;
}

enum engram_status engram_source_check_virtual(struct engram_source *source, hid_t creation,
                                               const struct engram_claim *claim)
{
    size_t count = 0;
    hsize_t dims[H5S_MAX_RANK];
    uint64_t mapped = 0;
    enum engram_status status = ENGRAM_OK;

    if (H5Pget_virtual_count(creation, &count) < 0) {
        return engram_source_h5_failure(source, "its sources cannot be listed");
    }
    source->parts = reallocarray(NULL, count + 1, sizeof *source->parts);
    if (source->parts == NULL) {
        return FAIL(source, ENGRAM_ERR_RESOURCE, "not enough memory for its %zu sources", count);
    }
    for (size_t i = 0; status == ENGRAM_OK && i < count; i++) {
        status = check_mapping(source, creation, i, &mapped);
    }
    if (status == ENGRAM_OK && source->dim > 0) {
        uint64_t rows = mapped / (uint64_t)source->dim + 1;
        status = engram_h5_check_written(claim, engram_saturating_mul(rows, claim->row_bytes));
    }
    if (status != ENGRAM_OK) {
        return status;
    }
    ENGRAM_H5_HANDLE hid_t space = H5Dget_space(source->dataset);
    if (space < 0 || H5Sget_simple_extent_ndims(space) != 2 ||
        H5Sget_simple_extent_dims(space, dims, NULL) < 0 || dims[0] != (hsize_t)source->all_rows ||
        dims[1] != (hsize_t)source->dim) {
        return FAIL(source, ENGRAM_ERR_DATA, "%s", "its shape follows its sources, which changed");
    }
    return ENGRAM_OK;
}
