#define _GNU_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/h5.h"
#include "io/heap.h"
#include "io/result_internal.h"

/* No attribute of ours comes near; a header message cannot hold more. */
#define TEXT_LIMIT 65536

static enum engram_status bad_attribute(const struct engram_result *result, const char *name,
                                        const char *what)
{
    return engram_fail(&result->log, ENGRAM_ERR_DATA,
                       "%s: attribute `%s` %s; not a result of engram-batch, or damaged",
                       result->path, name, what);
}

/* Opens an attribute; *attribute is negative, with OK, when there is none and there need not be.*/
static enum engram_status open_attribute(const struct engram_result *result, const char *name,
                                         bool *found, hid_t *attribute)
{
    htri_t exists = H5Aexists(result->file, name);

    *attribute = -1;
    if (exists < 0) {
        return bad_attribute(result, name, "cannot be read");
    }
    if (found != NULL) {
        *found = exists > 0;
    }
    if (exists == 0) {
        return found != NULL ? ENGRAM_OK : bad_attribute(result, name, "is missing");
    }
    *attribute = H5Aopen(result->file, name, H5P_DEFAULT);
    return *attribute >= 0 ? ENGRAM_OK : bad_attribute(result, name, "cannot be read");
}

/* Number of elements; negative on failure. */
static hssize_t element_count(hid_t attribute)
{
    ENGRAM_H5_HANDLE hid_t space = H5Aget_space(attribute);

    return space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
}

/* Copies at most size - 1 bytes; false when they are more. */
static bool keep_text(const char *from, size_t length, char *text, size_t size)
{
    if (length >= size) {
        return false;
    }
    memcpy(text, from, length);
    text[length] = '\0';
    return true;
}

enum engram_status engram_result_text(const struct engram_result *result, const char *name,
                                      char *text, size_t size, bool *found)
{
    hid_t opened;
    enum engram_status status = open_attribute(result, name, found, &opened);
    ENGRAM_H5_HANDLE hid_t attribute = opened;

    text[0] = '\0';
    if (attribute < 0) {
        return status;
    }
    ENGRAM_H5_HANDLE hid_t type = H5Aget_type(attribute);
    if (type < 0 || H5Tget_class(type) != H5T_STRING || element_count(attribute) != 1) {
        return bad_attribute(result, name, "is not text");
    }
    bool fits = false;
    if (H5Tis_variable_str(type) > 0) {
        ENGRAM_H5_HANDLE hid_t space = H5Aget_space(attribute);
        __attribute__((cleanup(engram_heap_close))) struct engram_heap heap = {0};
        char *value = NULL;

        if (space < 0 || engram_heap_read_text(&heap, attribute, type, &value) < 0) {
            return bad_attribute(result, name, "cannot be read");
        }
        fits = keep_text(value != NULL ? value : "", value != NULL ? strlen(value) : 0, text, size);
        (void)engram_h5_reclaim(type, space, &value);
    } else {
        size_t length = H5Tget_size(type);
        char *value = length > 0 && length <= TEXT_LIMIT ? calloc(1, length + 1) : NULL;

        if (value == NULL || H5Aread(attribute, type, value) < 0) {
            free(value);
            return bad_attribute(result, name, "cannot be read");
        }
        fits = keep_text(value, strlen(value), text, size);
        free(value);
    }
    return fits ? ENGRAM_OK : bad_attribute(result, name, "is too long");
}

enum engram_status engram_result_integers(const struct engram_result *result, const char *name,
                                          int count, int64_t *values, bool *found)
{
    hid_t opened;
    enum engram_status status = open_attribute(result, name, found, &opened);
    ENGRAM_H5_HANDLE hid_t attribute = opened;

    if (attribute < 0) {
        return status;
    }
    ENGRAM_H5_HANDLE hid_t type = H5Aget_type(attribute);
    if (type < 0 || H5Tget_class(type) != H5T_INTEGER || element_count(attribute) != count) {
        return bad_attribute(result, name,
                             count == 1 ? "is not one integer" : "does not hold two integers");
    }
    if (H5Aread(attribute, H5T_NATIVE_INT64, values) < 0) {
        return bad_attribute(result, name, "cannot be read");
    }
    return ENGRAM_OK;
}

enum engram_status engram_result_number(const struct engram_result *result, const char *name,
                                        double *value, bool *found)
{
    hid_t opened;
    enum engram_status status = open_attribute(result, name, found, &opened);
    ENGRAM_H5_HANDLE hid_t attribute = opened;

    if (attribute < 0) {
        return status;
    }
    ENGRAM_H5_HANDLE hid_t type = H5Aget_type(attribute);
    if (type < 0 || H5Tget_class(type) != H5T_FLOAT || element_count(attribute) != 1) {
        return bad_attribute(result, name, "is not a number");
    }
    if (H5Aread(attribute, H5T_NATIVE_DOUBLE, value) < 0) {
        return bad_attribute(result, name, "cannot be read");
    }
    return ENGRAM_OK;
}
