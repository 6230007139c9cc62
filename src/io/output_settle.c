/* A result that is complete but for the cells of one dataset and its digest, handed over. */
#define _GNU_SOURCE

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "io/h5.h"
#include "io/output.h"
#include "io/output_internal.h"

#define BLOCK_BYTES ((size_t)1 << 20)

/* A search for the mark; where it was found last, and how often. */
struct hunt {
    const char *mark;
    unsigned char *block; /* BLOCK_BYTES */
    int fd;
    int found;
    uint64_t at;
};

/* Looks at bytes [from, to) of the file. */
static bool look(struct hunt *hunt, uint64_t from, uint64_t to)
{
    while (to - from >= ENGRAM_MARK_LENGTH) {
        size_t size = to - from < BLOCK_BYTES ? (size_t)(to - from) : BLOCK_BYTES;
        if (!engram_read_at(hunt->fd, hunt->block, size, (off_t)from)) {
            return false;
        }
        for (const unsigned char *at = hunt->block, *end = hunt->block + size;
             (at = memmem(at, (size_t)(end - at), hunt->mark, ENGRAM_MARK_LENGTH)) != NULL; at++) {
            hunt->found++;
            hunt->at = from + (uint64_t)(at - hunt->block);
        }
        from += size == BLOCK_BYTES ? size - (ENGRAM_MARK_LENGTH - 1) : size;
    }
    return true;
}

/* Attributes of variable length lie in a heap whose format has no checksum, but a place that only
 * HDF5 knows. */
static enum engram_status find_mark(struct engram_output *output, struct engram_cells_place *place)
{
    struct hunt hunt = {
        .mark = place->mark, .block = malloc(BLOCK_BYTES), .fd = output->temporary.fd};
    if (hunt.block == NULL) {
        return engram_fail(&output->log, ENGRAM_ERR_RESOURCE, "out of memory");
    }
    bool read = look(&hunt, 0, place->offset) &&
                look(&hunt, place->offset + place->rows * place->row_bytes, place->bytes);
    int error = errno;
    free(hunt.block);
    if (!read) {
        return engram_output_errno_failure(output, error);
    }
    if (hunt.found != 1) {
        return engram_fail(&output->log, ENGRAM_ERR_INTERNAL,
                           "%s: the digest is in %d places of the file", output->temporary.shown,
                           hunt.found);
    }
    place->mark_at = hunt.at;
    return ENGRAM_OK;
}

static enum engram_status describe(struct engram_output *output, int dataset, const int *late,
                                   const char *mark, struct engram_cells_place *place)
{
    const struct engram_output_set *set = &output->sets[dataset];
    struct stat info;
    enum engram_status status = engram_output_begin_rows(output);
    if (status != ENGRAM_OK) {
        return status;
    }
    if (output->file >= 0 || fstat(output->temporary.fd, &info) != 0) {
        return engram_fail(&output->log, ENGRAM_ERR_INTERNAL, "%s: rows are to be packed",
                           output->temporary.shown);
    }
    *place = (struct engram_cells_place){.bytes = (uint64_t)info.st_size,
                                         .offset = set->offset,
                                         .rows = set->dims[0],
                                         .row_bytes = set->row_bytes};
    for (int i = 0; late != NULL && i < ENGRAM_LATE_SETS; i++) {
        place->late_at[i] = output->sets[late[i]].offset;
    }
    memcpy(place->mark, mark, ENGRAM_MARK_LENGTH);
    return find_mark(output, place);
}

enum engram_status engram_output_settle(struct engram_output *output, int dataset, const int *late,
                                        const char *mark, struct engram_cells *cells)
{
    ENGRAM_H5_QUIET;
    *cells = (struct engram_cells){.log = output->log};
    enum engram_status status = describe(output, dataset, late, mark, &cells->place);
    if (status == ENGRAM_OK) {
        status = engram_tempfile_settle(&output->temporary, &output->log);
    }
    if (status == ENGRAM_OK) {
        cells->file = output->temporary;
        output->temporary = (struct engram_tempfile){.fd = -1, .folder_fd = -1};
    }
    engram_output_discard(output);
    return status;
}
