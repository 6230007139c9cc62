/* Small helpers around the HDF5 library, for the files in src/io only. */
#ifndef ENGRAM_IO_H5_H
#define ENGRAM_IO_H5_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "engram/status.h"

/* `ENGRAM_H5_HANDLE hid_t x = ...;` closes x at the end of its scope, whatever kind of id it is;
 * a negative id is left alone. Files that are written need a checked H5Fclose instead. */
void engram_h5_close(hid_t *id);
#define ENGRAM_H5_HANDLE __attribute__((cleanup(engram_h5_close)))

/* HDF5 prints its error stack to stderr by default. `ENGRAM_H5_QUIET;` as the first declaration of
 * a function stops that until the end of the scope and then restores what the caller had. */
struct engram_h5_printer {
    H5E_auto2_t call;
    void *data;
    bool saved;
};
struct engram_h5_printer engram_h5_silence(void);
void engram_h5_restore(struct engram_h5_printer *printer);
#define ENGRAM_H5_QUIET                                                                            \
    __attribute__((cleanup(engram_h5_restore),                                                     \
                   unused)) struct engram_h5_printer engram_h5_quiet_ = engram_h5_silence()

/* The innermost message of HDF5's current error stack, on one line; ENGRAM_H5_NO_MESSAGE without
 * one. To be fetched before any other HDF5 call: those clear the stack. Returns `text`. */
#define ENGRAM_H5_NO_MESSAGE "unknown HDF5 error"
const char *engram_h5_message(char *text, size_t size);

/* The status that fits such a message when reading failed: RESOURCE (no memory), IO (the operating
 * system failed a read), else DATA. (Here for analysers to see that it never is ENGRAM_OK.) */
static inline enum engram_status engram_h5_read_status(const char *message)
{
    if (strstr(message, "allocation failed") != NULL ||
        strstr(message, "unable to allocate") != NULL ||
        strstr(message, "string duplication failed") != NULL ||
        strstr(message, "find property in skip list") != NULL || /* lost for want of memory */
        strstr(message, "after H5MM_realloc") != NULL) {
        return ENGRAM_ERR_RESOURCE;
    }
    return strstr(message, "file read failed") != NULL ? ENGRAM_ERR_IO : ENGRAM_ERR_DATA;
}

/* What to say of a file whose structure HDF5 cannot make out; the status is that of the message.
 * Sizes that a damaged file claims may be more than there is memory: HDF5 does not tell these from
 * want of memory, so neither does the text. */
enum engram_status engram_h5_malformed(const char *path, const char *message,
                                       const struct engram_log *log);

/* Compares the library that is loaded with the headers we were compiled with. Has to come before
 * anything else: HDF5 makes the same comparison on first use, and aborts. INTERNAL when they
 * cannot work together. */
enum engram_status engram_h5_check_version(const struct engram_log *log);

/* Opens the file at `path` for reading. The caller closes *file. External links met on the way to
 * an object are never followed when engram_h5_link_access() is used for the lookup.
 * Errors: NO_INPUT (missing, a directory, not a regular file), PERMISSION, DATA (empty, not HDF5,
 * truncated, malformed), IO (being written, read error), RESOURCE, INTERNAL. */
enum engram_status engram_h5_open(const char *path, const struct engram_log *log, hid_t *file);

/* A link access list that refuses external links; negative on failure. `class_id` is
 * H5P_LINK_ACCESS, H5P_GROUP_ACCESS or H5P_DATASET_ACCESS. */
hid_t engram_h5_link_access(hid_t class_id);

/* Gives variable-length memory of `buffer` back to HDF5. */
herr_t engram_h5_reclaim(hid_t type, hid_t space, void *buffer);

#endif
