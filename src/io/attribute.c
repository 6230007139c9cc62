#define _GNU_SOURCE
#include "io/attribute.h"

#include <stdlib.h>
#include <string.h>

#include "io/h5.h"
#include "io/heap.h"

static htri_t copy_text(char *text, size_t size, const char *source, size_t length)
{
    length = strnlen(source, length);
    if (length >= size) {
        return 0;
    }
    memcpy(text, source, length);
    text[length] = '\0';
    return 1;
}

static htri_t read_variable(hid_t attribute, hid_t type, hid_t space, char *text, size_t size)
{
    __attribute__((cleanup(engram_heap_close))) struct engram_heap heap = {0};
    char *value = NULL;

    if (engram_heap_read_text(&heap, attribute, type, &value) < 0) {
        return -1;
    }
    if (value == NULL) {
        return 0;
    }
    htri_t copied = copy_text(text, size, value, strlen(value));
    (void)engram_h5_reclaim(type, space, &value);
    return copied;
}

static htri_t read_fixed(hid_t attribute, hid_t type, char *text, size_t size)
{
    char fixed[1024];
    size_t length = H5Tget_size(type);

    if (length == 0 || length > sizeof fixed) {
        return 0;
    }
    if (H5Aread(attribute, type, fixed) < 0) {
        return -1;
    }
    while (H5Tget_strpad(type) == H5T_STR_SPACEPAD && length > 0 && fixed[length - 1] == ' ') {
        length--;
    }
    return copy_text(text, size, fixed, length);
}

/* The attribute with its type and space, which the caller closes. As the functions below. */
static htri_t open_single(hid_t object, const char *name, hid_t *attribute, hid_t *type,
                          hid_t *space)
{
    htri_t exists = H5Aexists(object, name);

    if (exists <= 0) {
        return exists;
    }
    *attribute = H5Aopen(object, name, H5P_DEFAULT);
    *type = *attribute < 0 ? -1 : H5Aget_type(*attribute);
    *space = *attribute < 0 ? -1 : H5Aget_space(*attribute);
    if (*type < 0 || *space < 0) {
        return -1;
    }
    hssize_t values = H5Sget_simple_extent_npoints(*space);
    return values < 0 ? -1 : values == 1;
}

htri_t engram_h5_text_attribute(hid_t object, const char *name, char *text, size_t size)
{
    ENGRAM_H5_HANDLE hid_t attribute = -1;
    ENGRAM_H5_HANDLE hid_t type = -1;
    ENGRAM_H5_HANDLE hid_t space = -1;

    text[0] = '\0';
    htri_t single = open_single(object, name, &attribute, &type, &space);
    if (single <= 0 || H5Tget_class(type) != H5T_STRING) {
        return single < 0 ? -1 : 0;
    }
    return H5Tis_variable_str(type) > 0 ? read_variable(attribute, type, space, text, size)
                                        : read_fixed(attribute, type, text, size);
}

htri_t engram_h5_integer_attribute(hid_t object, const char *name, int64_t *value)
{
    ENGRAM_H5_HANDLE hid_t attribute = -1;
    ENGRAM_H5_HANDLE hid_t type = -1;
    ENGRAM_H5_HANDLE hid_t space = -1;

    htri_t single = open_single(object, name, &attribute, &type, &space);
    if (single <= 0 || H5Tget_class(type) != H5T_INTEGER) {
        return single < 0 ? -1 : 0;
    }
    return H5Aread(attribute, H5T_NATIVE_INT64, value) < 0 ? -1 : 1;
}
