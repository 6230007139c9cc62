#define _GNU_SOURCE
#include "io/attribute.h"

#include <stdlib.h>
#include <string.h>

#include "io/h5.h"

static bool copy_text(char *text, size_t size, const char *source, size_t length)
{
    length = strnlen(source, length);
    if (length >= size) {
        return false;
    }
    memcpy(text, source, length);
    text[length] = '\0';
    return true;
}

static bool read_variable(hid_t attribute, hid_t type, hid_t space, char *text, size_t size)
{
    char *value = NULL;

    if (H5Aread(attribute, type, &value) < 0 || value == NULL) {
        return false;
    }
    bool copied = copy_text(text, size, value, strlen(value));
    (void)engram_h5_reclaim(type, space, &value);
    return copied;
}

static bool read_fixed(hid_t attribute, hid_t type, char *text, size_t size)
{
    char fixed[1024];
    size_t length = H5Tget_size(type);

    if (length == 0 || length > sizeof fixed || H5Aread(attribute, type, fixed) < 0) {
        return false;
    }
    while (H5Tget_strpad(type) == H5T_STR_SPACEPAD && length > 0 && fixed[length - 1] == ' ') {
        length--;
    }
    return copy_text(text, size, fixed, length);
}

bool engram_h5_text_attribute(hid_t object, const char *name, char *text, size_t size)
{
    text[0] = '\0';
    if (H5Aexists(object, name) <= 0) {
        return false;
    }
    ENGRAM_H5_HANDLE hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    ENGRAM_H5_HANDLE hid_t type = attribute < 0 ? -1 : H5Aget_type(attribute);
    ENGRAM_H5_HANDLE hid_t space = attribute < 0 ? -1 : H5Aget_space(attribute);
    if (type < 0 || space < 0 || H5Tget_class(type) != H5T_STRING ||
        H5Sget_simple_extent_npoints(space) != 1) {
        return false;
    }
    return H5Tis_variable_str(type) > 0 ? read_variable(attribute, type, space, text, size)
                                        : read_fixed(attribute, type, text, size);
}

bool engram_h5_integer_attribute(hid_t object, const char *name, int64_t *value)
{
    if (H5Aexists(object, name) <= 0) {
        return false;
    }
    ENGRAM_H5_HANDLE hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    ENGRAM_H5_HANDLE hid_t type = attribute < 0 ? -1 : H5Aget_type(attribute);
    ENGRAM_H5_HANDLE hid_t space = attribute < 0 ? -1 : H5Aget_space(attribute);
    return type >= 0 && space >= 0 && H5Tget_class(type) == H5T_INTEGER &&
           H5Sget_simple_extent_npoints(space) == 1 &&
           H5Aread(attribute, H5T_NATIVE_INT64, value) >= 0;
}
