/* Members of compound datasets as datasets of their own: old AnnData files keep `obs` and `obsm` as
 * one compound dataset each. For the files in src/io only. */
#ifndef ENGRAM_IO_MEMBER_H
#define ENGRAM_IO_MEMBER_H

#include <hdf5.h>

#include "io/layout.h"

/* Opens the dataset that `path` leads to. When a dataset is met on the way, the rest of the path
 * is a member of it: *member points into `path`, else it is NULL. Negative on failure. */
hid_t engram_h5_open_member(hid_t file, const char *path, const char **member);

/* The type of a member (to be closed) of the compound type `type`; `type` itself, once more, for
 * NULL. Negative when there is no such member. */
hid_t engram_h5_member_type(hid_t type, const char *member);

/* As engram_h5_member_type, but for a member that is an array the type of its elements. */
hid_t engram_h5_element_type(hid_t type, const char *member);

/* As engram_h5_describe, for a member: an array makes a second dimension. */
herr_t engram_h5_describe_member(hid_t dataset, const char *member,
                                 struct engram_dataset_info *info);

/* The name of the next member of `dataset` that can be a set or ids (an array of numbers, or a
 * string) at or after *index, which moves behind it; to be given back with H5free_memory. NULL at
 * the end. */
char *engram_h5_next_member(hid_t dataset, int *index);

/* A compound of this one member only, for H5Dread: its rows hold nothing else. Closes `element`
 * (which may be negative). `length`: 0 for a single value. Negative on failure. */
hid_t engram_h5_member_memory_type(const char *member, hid_t element, hsize_t length);

/* Whether the file is AnnData, for layout->anndata, and which dataset then names the rows of `obs`,
 * for layout->obs_ids. The names alone decide: a list of datasets may be cut short. */
void engram_h5_find_obs(hid_t file, struct engram_layout *layout);

#endif
