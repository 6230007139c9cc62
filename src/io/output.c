#define _GNU_SOURCE

#include "io/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/size.h"
#include "io/h5.h"
#include "io/output_internal.h"

/* H5Pset_file_locking came with 1.10.7 and, on the next branch, with 1.12.1. */
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
#define HAVE_FILE_LOCKING 1
#else
#define HAVE_FILE_LOCKING 0
#endif

/* Large arrays start on a page, for readers that map them. Smaller things stay packed. */
#define ALIGN_FROM 65536
#define ALIGN_TO 4096

/* All attributes of an object stay in its header up to this number. */
#define COMPACT_ATTRIBUTES 64

enum engram_status engram_output_errno_failure(struct engram_output *output, int error)
{
    return engram_write_failure(output->temporary.shown, error, &output->log);
}

enum engram_status engram_output_h5_failure(struct engram_output *output, const char *what)
{
    /* Messages of failed system calls begin with the file's name, which can be long. */
    char message[4096 + 512];
    const char *number = strstr(engram_h5_message(message, sizeof message), "errno = ");
    enum engram_status status;

    if (number != NULL) {
        int error = (int)strtol(number + strlen("errno = "), NULL, 10);
        return engram_output_errno_failure(output, error != 0 ? error : EIO);
    }
    status = engram_h5_read_status(message) == ENGRAM_ERR_RESOURCE ? ENGRAM_ERR_RESOURCE
                                                                   : ENGRAM_ERR_INTERNAL;
    return engram_fail(&output->log, status, "%s: cannot %s: %.200s", output->temporary.shown, what,
                       message);
}

/* Everything that could change the bytes of the file is set here, also where today's default is
 * the same: drivers can be chosen by an environment variable, formats by a newer library. */
static hid_t access_list(void)
{
    hid_t list = H5Pcreate(H5P_FILE_ACCESS);

    if (list >= 0 &&
        (H5Pset_fapl_sec2(list) < 0 ||
         H5Pset_libver_bounds(list, H5F_LIBVER_V18, H5F_LIBVER_V18) < 0 ||
         H5Pset_fclose_degree(list, H5F_CLOSE_SEMI) < 0 ||
         H5Pset_alignment(list, ALIGN_FROM, ALIGN_TO) < 0 ||
         H5Pset_meta_block_size(list, 2048) < 0 ||
         H5Pset_small_data_block_size(list, 2048) < 0
#if HAVE_FILE_LOCKING
         /* The name is known to nobody else, and some parallel file systems have no locks. */
         || H5Pset_file_locking(list, false, true) < 0
#endif
         )) {
        engram_h5_close(&list);
    }
    return list;
}

/* Creation list of a file, group or dataset: no time stamps. */
static hid_t creation_list(hid_t class_id)
{
    hid_t list = H5Pcreate(class_id);

    if (list >= 0 &&
        (H5Pset_obj_track_times(list, false) < 0 ||
         H5Pset_attr_phase_change(list, COMPACT_ATTRIBUTES, COMPACT_ATTRIBUTES - 2) < 0)) {
        engram_h5_close(&list);
    }
    return list;
}

static hid_t create_file(const char *path)
{
    ENGRAM_H5_HANDLE hid_t access = access_list();
    ENGRAM_H5_HANDLE hid_t creation = creation_list(H5P_FILE_CREATE);

    if (access < 0 || creation < 0 || H5Pset_sizes(creation, 8, 8) < 0 ||
        H5Pset_file_space_strategy(creation, H5F_FSPACE_STRATEGY_FSM_AGGR, false, 1) < 0) {
        return -1;
    }
    return H5Fcreate(path, H5F_ACC_TRUNC, creation, access);
}

/* HDF5 opened the file by its name; make sure that it is the one we created. */
static bool same_file(hid_t file, int fd)
{
    void *handle = NULL;
    struct stat ours;
    struct stat theirs;

    if (H5Fget_vfd_handle(file, H5P_DEFAULT, &handle) < 0 || handle == NULL) {
        return false;
    }
    return fstat(fd, &ours) == 0 && fstat(*(const int *)handle, &theirs) == 0 &&
           ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

enum engram_status engram_output_create(const char *path, bool replace, int threads,
                                        const struct engram_log *log, struct engram_output **output)
{
    struct engram_output *made;
    enum engram_status status = engram_h5_check_version(log);

    *output = NULL;
    if (status != ENGRAM_OK) {
        return status;
    }
    ENGRAM_H5_QUIET;
    made = calloc(1, sizeof *made);
    if (made == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    made->file = -1;
    made->spool = -1;
    made->threads = threads;
    made->log = log != NULL ? *log : (struct engram_log){NULL, NULL};
    status = engram_tempfile_create(path, ENGRAM_TEMPFILE_SUFFIX, replace, log, &made->temporary);
    if (status == ENGRAM_OK) {
        status = engram_output_reserve(made, 0);
        made->reserved = 0; /* HDF5 truncates the file now */
    }
    if (status == ENGRAM_OK) {
        made->file = create_file(made->temporary.path);
        if (made->file < 0) {
            status = engram_output_h5_failure(made, "create the file");
        } else if (!same_file(made->file, made->temporary.fd)) {
            status = engram_fail(log, ENGRAM_ERR_CANT_CREATE,
                                 "%s: another program moved the temporary file away", path);
        } else {
            status = engram_output_reserve(made, 0);
        }
    }
    if (status != ENGRAM_OK) {
        engram_output_discard(made);
        return status;
    }
    *output = made;
    return ENGRAM_OK;
}

static hid_t bool_type(void)
{
    hid_t type = H5Tenum_create(H5T_STD_I8LE);
    const int8_t no = 0;
    const int8_t yes = 1;

    if (type >= 0 &&
        (H5Tenum_insert(type, "FALSE", &no) < 0 || H5Tenum_insert(type, "TRUE", &yes) < 0)) {
        engram_h5_close(&type);
    }
    return type;
}

static hid_t file_type(enum engram_output_type type)
{
    switch (type) {
    case ENGRAM_OUT_F32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case ENGRAM_OUT_F64:
        return H5Tcopy(H5T_IEEE_F64LE);
    case ENGRAM_OUT_I32:
        return H5Tcopy(H5T_STD_I32LE);
    case ENGRAM_OUT_I64:
        return H5Tcopy(H5T_STD_I64LE);
    case ENGRAM_OUT_BOOL:
        return bool_type();
    }
    return -1;
}

hid_t engram_output_string_type(size_t size)
{
    hid_t type = H5Tcopy(H5T_C_S1);

    if (type >= 0 &&
        (H5Tset_size(type, size) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0 ||
         H5Tset_strpad(type, size == H5T_VARIABLE ? H5T_STR_NULLTERM : H5T_STR_NULLPAD) < 0)) {
        engram_h5_close(&type);
    }
    return type;
}

/* Creates the groups above `path`. HDF5 could do it by itself, but would stamp them with times. */
static bool create_groups(struct engram_output *output, const char *path)
{
    ENGRAM_H5_HANDLE hid_t creation = creation_list(H5P_GROUP_CREATE);
    char *name = strdup(path);
    bool good = creation >= 0 && name != NULL;

    for (char *slash = good ? strchr(name + 1, '/') : NULL; good && slash != NULL;
         slash = strchr(slash + 1, '/')) {
        htri_t exists;

        *slash = '\0';
        exists = H5Lexists(output->file, name, H5P_DEFAULT);
        good = exists >= 0;
        if (exists == 0) {
            hid_t group = H5Gcreate2(output->file, name, H5P_DEFAULT, creation, H5P_DEFAULT);

            good = group >= 0 && H5Gclose(group) >= 0;
        }
        *slash = '/';
    }
    free(name);
    return good;
}

static hid_t create_dataset(struct engram_output *output, const struct engram_output_set *set)
{
    ENGRAM_H5_HANDLE hid_t creation = creation_list(H5P_DATASET_CREATE);
    ENGRAM_H5_HANDLE hid_t space = H5Screate_simple(set->rank, set->dims, NULL);
    hsize_t chunk[2] = {set->chunk_rows, set->chunk_columns};

    if (creation < 0 || space < 0 || H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER) < 0) {
        return -1;
    }
    if (set->level == 0) {
        if (H5Pset_layout(creation, H5D_CONTIGUOUS) < 0 ||
            H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY) < 0) {
            return -1;
        }
    } else if (H5Pset_chunk(creation, set->rank, chunk) < 0 || H5Pset_shuffle(creation) < 0 ||
               H5Pset_deflate(creation, (unsigned)set->level) < 0 ||
               H5Pset_alloc_time(creation, H5D_ALLOC_TIME_INCR) < 0) {
        return -1;
    }
    return H5Dcreate2(output->file, set->path, set->type, space, H5P_DEFAULT, creation,
                      H5P_DEFAULT);
}

/* Closes what HDF5 holds of a set; false when HDF5 could not. */
static bool close_set(struct engram_output_set *set)
{
    bool good = set->id < 0 || H5Dclose(set->id) >= 0;

    set->id = -1;
    engram_h5_close(&set->type);
    return good;
}

static void free_set(struct engram_output_set *set)
{
    (void)close_set(set);
    free(set->path);
    free(set->stage);
    free(set->parked);
    free(set->chain);
}

/* Checks sizes, decides the storage and creates the dataset as the last of output->sets. Takes
 * `type` whatever happens. */
static enum engram_status add_set(struct engram_output *output, const char *path, hid_t type,
                                  int rank, const int64_t dims[], int compress)
{
    struct engram_output_set *sets;
    struct engram_output_set set = {.id = -1, .type = type, .rank = rank, .level = compress};
    size_t bytes = 0;
    bool fits;

    set.element = type >= 0 ? H5Tget_size(type) : 0;
    fits = !output->rows_begun && (rank == 1 || rank == 2) && set.element > 0 && compress >= 0 &&
           compress <= 9 && path[0] == '/' && dims[0] >= 0 && (rank == 1 || dims[1] >= 0) &&
           engram_size_mul(rank == 2 ? (size_t)dims[1] : 1, set.element, &set.row_bytes) &&
           engram_size_mul((size_t)dims[0], set.row_bytes, &bytes) && bytes <= INT64_MAX;
    set.path = strdup(path);
    sets = fits ? realloc(output->sets, (output->count + 1) * sizeof *sets) : NULL;
    if (sets != NULL) {
        output->sets = sets;
    }
    if (!fits || sets == NULL || set.path == NULL) {
        free_set(&set);
        return fits ? engram_fail(&output->log, ENGRAM_ERR_RESOURCE, "out of memory")
                    : engram_fail(&output->log, ENGRAM_ERR_INTERNAL, "%s: %s: cannot be declared",
                                  output->temporary.shown, path);
    }
    for (int d = 0; d < rank; d++) {
        set.dims[d] = (hsize_t)dims[d];
    }
    engram_output_plan_chunks(&set, output->threads);
    enum engram_status room = engram_output_reserve(output, set.level == 0 ? bytes : 0);
    if (room != ENGRAM_OK) {
        free_set(&set);
        return room;
    }
    if (!create_groups(output, path) || (set.id = create_dataset(output, &set)) < 0) {
        enum engram_status status = engram_output_h5_failure(output, "create a dataset");

        free_set(&set);
        return status;
    }
    if (output->hashes && (set.chain = calloc(1, sizeof *set.chain)) == NULL) {
        free_set(&set);
        return engram_fail(&output->log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    output->sets[output->count++] = set;
    return ENGRAM_OK;
}

void engram_output_keep_hashes(struct engram_output *output)
{
    output->hashes = true;
}

uint64_t engram_output_hash(const struct engram_output *output, int dataset)
{
    const struct engram_hash_chain *chain = output->sets[dataset].chain;
    return chain != NULL ? engram_hash_of(chain) : 0;
}

enum engram_status engram_output_dataset(struct engram_output *output, const char *path,
                                         enum engram_output_type type, int rank,
                                         const int64_t dims[], int compress, int *dataset)
{
    ENGRAM_H5_QUIET;
    enum engram_status status = add_set(output, path, file_type(type), rank, dims, compress);

    if (status == ENGRAM_OK) {
        *dataset = (int)output->count - 1;
    }
    return status;
}

enum engram_status engram_output_strings(struct engram_output *output, const char *path,
                                         size_t width, int64_t count, int compress, int *dataset)
{
    ENGRAM_H5_QUIET;
    enum engram_status status =
        add_set(output, path, engram_output_string_type(width), 1, &count, compress);

    if (status == ENGRAM_OK) {
        *dataset = (int)output->count - 1;
    }
    return status;
}

enum engram_status engram_output_ids_begin(struct engram_output *output, const char *path,
                                           size_t width, int64_t count, int compress, int *dataset)
{
    enum engram_status status =
        engram_output_strings(output, path, width, count, compress, dataset);

    if (status == ENGRAM_OK) {
        output->sets[*dataset].strings = true;
    }
    return status;
}

enum engram_status engram_output_ids_next(struct engram_output *output, int dataset, int64_t count,
                                          const char *text)
{
    ENGRAM_H5_QUIET;
    struct engram_output_set *set = &output->sets[dataset];
    hsize_t first = set->rows_written;

    if (count == 0) {
        return ENGRAM_OK;
    }
    if (output->rows_begun || count < 0 || (hsize_t)count > set->dims[0] - first) {
        return engram_fail(&output->log, ENGRAM_ERR_INTERNAL, "%s: %s: too many ids",
                           output->temporary.shown, set->path);
    }
    enum engram_status status = engram_output_hash_rows(output, set, first, (hsize_t)count, text);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (set->level > 0) {
        return engram_output_feed(output, set, (hsize_t)count, text);
    }
    set->rows_written += (hsize_t)count;
    return engram_output_by_h5(output, set, first, (hsize_t)count, text);
}

enum engram_status engram_output_ids(struct engram_output *output, const char *path,
                                     const struct engram_ids *ids, int compress)
{
    int dataset = 0;
    enum engram_status status =
        engram_output_ids_begin(output, path, ids->width, ids->count, compress, &dataset);

    return status == ENGRAM_OK ? engram_output_ids_next(output, dataset, ids->count, ids->text)
                               : status;
}

/* Closes the HDF5 side. What it still writes has its room, see engram_output_reserve. */
static enum engram_status close_h5(struct engram_output *output)
{
    bool good = true;

    for (size_t i = 0; i < output->count; i++) {
        good = close_set(&output->sets[i]) && good;
    }
    if (output->file >= 0) {
        good = H5Fclose(output->file) >= 0 && good;
        output->file = -1;
    }
    return good ? ENGRAM_OK : engram_output_h5_failure(output, "write the file");
}

enum engram_status engram_output_begin_rows(struct engram_output *output)
{
    size_t size = 0;
    bool packed = false;
    struct stat info;

    output->rows_begun = true;
    for (size_t i = 0; i < output->count; i++) {
        struct engram_output_set *set = &output->sets[i];
        size_t bytes = (size_t)set->dims[0] * set->row_bytes;

        packed = packed || (set->level > 0 && !set->strings);
        if (set->level > 0 || bytes == 0) {
            continue;
        }
        set->offset = H5Dget_offset(set->id);
        if (set->offset == HADDR_UNDEF) {
            return engram_output_h5_failure(output, "find a dataset's place");
        }
        size = (size_t)set->offset + bytes > size ? (size_t)set->offset + bytes : size;
    }
    if (packed) {
        return ENGRAM_OK;
    }
    /* Nothing that HDF5 holds in memory may be written over rows later on: it is done here. */
    enum engram_status status = close_h5(output);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (fstat(output->temporary.fd, &info) != 0) {
        return engram_output_errno_failure(output, errno);
    }
    if (info.st_size < 0 || (size_t)info.st_size < size) {
        return engram_fail(&output->log, ENGRAM_ERR_INTERNAL, "%s: datasets lie past the end",
                           output->temporary.shown);
    }
    return ENGRAM_OK;
}

enum engram_status engram_output_publish(struct engram_output *output)
{
    ENGRAM_H5_QUIET;
    enum engram_status status = output->rows_begun ? ENGRAM_OK : engram_output_begin_rows(output);

    for (size_t i = 0; i < output->count && status == ENGRAM_OK; i++) {
        const struct engram_output_set *set = &output->sets[i];

        if ((set->row_bytes > 0 && set->rows_written < set->dims[0]) ||
            set->chunks_written < set->chunks) {
            status = engram_fail(&output->log, ENGRAM_ERR_INTERNAL, "%s: %s: rows are missing",
                                 output->temporary.shown, set->path);
        }
    }
    if (status == ENGRAM_OK) {
        status = close_h5(output);
    }
    if (status == ENGRAM_OK) {
        status = engram_tempfile_publish(&output->temporary, &output->log);
    }
    engram_output_discard(output);
    return status;
}

void engram_output_discard(struct engram_output *output)
{
    if (output == NULL) {
        return;
    }
    ENGRAM_H5_QUIET;
    output->log = (struct engram_log){NULL, NULL}; /* what fails from here on is of no interest */
    (void)close_h5(output);
    for (size_t i = 0; i < output->count; i++) {
        free_set(&output->sets[i]);
    }
    if (output->spool >= 0) {
        (void)close(output->spool);
    }
    engram_tempfile_discard(&output->temporary);
    free(output->sets);
    free(output->scratch);
    free(output->packed);
    free(output->packed_sizes);
    free(output);
}
