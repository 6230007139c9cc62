/* Which of HDF5's element types we can read, and how. For the files in src/io only. */
#ifndef ENGRAM_IO_H5TYPE_H
#define ENGRAM_IO_H5TYPE_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>

#include "io/layout.h"

/* How elements get from the file into a slab. */
enum engram_h5_encoding {
    ENGRAM_ENCODING_PLAIN,    /* exactly `dtype`, perhaps with the other byte order */
    ENGRAM_ENCODING_BFLOAT16, /* the upper half of a float32 */
    ENGRAM_ENCODING_CUSTOM    /* some other float; HDF5 converts it to `dtype` */
};

struct engram_h5_type {
    enum engram_content content;
    enum engram_dtype dtype; /* NUMERIC only; what a value needs, see engram_dataset_info */
    enum engram_h5_encoding encoding;
    enum engram_bits_form bits;
    bool raw;      /* an element is some whole bytes, which another type could give meaning to */
    char name[48]; /* for people */
};

/* Never fails: what cannot be classified is OTHER. */
void engram_h5_classify(hid_t type, struct engram_h5_type *found);

/* Takes elements of `bytes` bytes for another type of the same size; `name` as in
 * engram_dataset_read_as. False, and *found as it was, when they cannot be. */
bool engram_h5_read_as(const char *name, size_t bytes, struct engram_h5_type *found);

/* Whether `name` is the name of an element type: "float16", "f16", "bfloat16", "bits", ... */
bool engram_h5_names_type(const char *name);

/* A type for H5Dread (to be closed) that brings elements of `type` into native byte order and
 * changes nothing else; negative on failure. */
hid_t engram_h5_native_order(hid_t type);

/* Whether elements of `type` lie in the other byte order. */
bool engram_h5_is_swapped(hid_t type);

#endif
