#define _GNU_SOURCE
#include "io/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/attribute.h"
#include "io/describe.h"
#include "io/h5.h"
#include "io/h5type.h"
#include "io/objheader.h"

/* Whether the first `length` bytes of `path` lead to a dataset: 1, another object: 0, nothing: -1.
 */
static int leads_to_dataset(hid_t file, const char *path, size_t length, hid_t link_access)
{
    char *prefix = strndup(path, length);
    hid_t object = prefix == NULL ? -1 : engram_h5_open_object(file, prefix, link_access);

    free(prefix);
    int result = object < 0 ? -1 : H5Iget_type(object) == H5I_DATASET;
    if (object >= 0) {
        (void)H5Oclose(object);
    }
    return result;
}

hid_t engram_h5_open_member(hid_t file, const char *path, const char **member)
{
    ENGRAM_H5_HANDLE hid_t access = engram_h5_link_access(H5P_DATASET_ACCESS);
    ENGRAM_H5_HANDLE hid_t link_access = engram_h5_link_access(H5P_LINK_ACCESS);

    *member = NULL;
    if (access < 0 || link_access < 0) {
        return -1;
    }
    for (const char *at = strchr(path + strspn(path, "/"), '/'); at != NULL;
         at = strchr(at + 1, '/')) {
        int found = leads_to_dataset(file, path, (size_t)(at - path), link_access);
        if (found < 0) {
            break;
        }
        if (found > 0) {
            char *prefix = strndup(path, (size_t)(at - path));
            hid_t dataset = prefix == NULL ? -1 : engram_h5_open_dataset(file, prefix, access);
            free(prefix);
            *member = at + 1;
            return dataset;
        }
    }
    return engram_h5_open_dataset(file, path, access);
}

hid_t engram_h5_member_type(hid_t type, const char *member)
{
    if (member == NULL) {
        return H5Tcopy(type);
    }
    int index = H5Tget_class(type) == H5T_COMPOUND ? H5Tget_member_index(type, member) : -1;
    hid_t found = index < 0 ? -1 : H5Tget_member_type(type, (unsigned)index);
    /* HDF5 takes a damaged member's word for where it is. */
    if (found >= 0 &&
        (H5Tget_size(found) > H5Tget_size(type) ||
         H5Tget_member_offset(type, (unsigned)index) > H5Tget_size(type) - H5Tget_size(found))) {
        (void)H5Tclose(found);
        return -1;
    }
    return found;
}

/* A one-dimensional array of numbers: its length and element type, which the caller closes. */
static hid_t array_element(hid_t type, hsize_t *length)
{
    struct engram_h5_type found;

    if (H5Tget_class(type) != H5T_ARRAY || H5Tget_array_ndims(type) != 1 ||
        H5Tget_array_dims2(type, length) < 0) {
        return -1;
    }
    hid_t element = H5Tget_super(type);
    if (element >= 0) {
        engram_h5_classify(element, &found);
        if (found.content != ENGRAM_CONTENT_NUMERIC) {
            (void)H5Tclose(element);
            element = -1;
        }
    }
    return element;
}

hid_t engram_h5_element_type(hid_t type, const char *member)
{
    hsize_t length;
    hid_t found = engram_h5_member_type(type, member);
    hid_t element = found < 0 || member == NULL ? -1 : array_element(found, &length);

    if (element < 0) {
        return found;
    }
    (void)H5Tclose(found);
    return element;
}

herr_t engram_h5_describe_member(hid_t dataset, const char *member,
                                 struct engram_dataset_info *info)
{
    struct engram_h5_type found;
    hsize_t length = 0;

    if (engram_h5_describe(dataset, info) < 0) {
        return -1;
    }
    if (member == NULL) {
        return 0;
    }
    ENGRAM_H5_HANDLE hid_t whole = H5Dget_type(dataset);
    ENGRAM_H5_HANDLE hid_t type = whole < 0 ? -1 : engram_h5_member_type(whole, member);
    if (type < 0 || info->rank != 1) {
        return -1;
    }
    ENGRAM_H5_HANDLE hid_t element = array_element(type, &length);
    engram_h5_classify(element >= 0 ? element : type, &found);
    engram_h5_set_type(info, &found, H5Tget_size(element >= 0 ? element : type));
    if (element >= 0) {
        info->rank = 2;
        info->dims[1] = (int64_t)length;
        info->chunk[1] = info->chunk[0] > 0 ? (int64_t)length : 0;
    }
    return 0;
}

static bool is_useful(hid_t type)
{
    hsize_t length;
    ENGRAM_H5_HANDLE hid_t element = array_element(type, &length);

    return element >= 0 || H5Tget_class(type) == H5T_STRING;
}

char *engram_h5_next_member(hid_t dataset, int *index)
{
    ENGRAM_H5_HANDLE hid_t whole = H5Dget_type(dataset);
    int count = whole >= 0 && H5Tget_class(whole) == H5T_COMPOUND ? H5Tget_nmembers(whole) : 0;

    while (*index < count) {
        unsigned at = (unsigned)(*index)++;
        ENGRAM_H5_HANDLE hid_t type = H5Tget_member_type(whole, at);
        if (type >= 0 && is_useful(type)) {
            return H5Tget_member_name(whole, at);
        }
    }
    return NULL;
}

hid_t engram_h5_member_memory_type(const char *member, hid_t element, hsize_t length)
{
    ENGRAM_H5_HANDLE hid_t single = element;
    ENGRAM_H5_HANDLE hid_t array =
        element >= 0 && length > 0 ? H5Tarray_create2(element, 1, &length) : -1;
    hid_t type = length > 0 ? array : single;
    hid_t memory = type < 0 ? -1 : H5Tcreate(H5T_COMPOUND, H5Tget_size(type));

    if (memory >= 0 && H5Tinsert(memory, member, 0, type) < 0) {
        engram_h5_close(&memory);
        memory = -1;
    }
    return memory;
}

static bool has_link(hid_t file, const char *name)
{
    return H5Lexists(file, name, H5P_DEFAULT) > 0;
}

void engram_h5_find_obs(hid_t file, struct engram_layout *layout)
{
    static const char *const usual[] = {"/obs/_index", "/obs/index"};
    ENGRAM_H5_HANDLE hid_t access = engram_h5_link_access(H5P_GROUP_ACCESS);
    char name[sizeof layout->obs_ids - 8];

    layout->obs_ids[0] = '\0';
    layout->anndata = has_link(file, "obs") && has_link(file, "var") &&
                      (has_link(file, "obsm") || has_link(file, "X"));
    if (access < 0 || !layout->anndata) {
        return;
    }
    ENGRAM_H5_HANDLE hid_t obs = H5Gopen2(file, "/obs", access);
    if (obs >= 0 && engram_h5_text_attribute(obs, "_index", name, sizeof name) > 0) {
        (void)snprintf(layout->obs_ids, sizeof layout->obs_ids, "/obs/%s", name);
    }
    for (size_t i = 0; layout->obs_ids[0] == '\0' && i < 2; i++) {
        if (engram_layout_find(layout, usual[i]) != NULL) {
            (void)snprintf(layout->obs_ids, sizeof layout->obs_ids, "%s", usual[i]);
        }
    }
}
