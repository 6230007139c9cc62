/* Which of HDF5's element types we can read, and how. For the files in src/io only. */
#ifndef ENGRAM_IO_H5TYPE_H
#define ENGRAM_IO_H5TYPE_H

#include <hdf5.h>
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
    char name[48]; /* for people */
};

/* Never fails: what cannot be classified is OTHER. */
void engram_h5_classify(hid_t type, struct engram_h5_type *found);

#endif
