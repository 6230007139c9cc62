/* Reads single attributes by name. For the files in src/io only. */
#ifndef ENGRAM_IO_ATTRIBUTE_H
#define ENGRAM_IO_ATTRIBUTE_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies the attribute `name` of `object` when it is one string that fits; "" and false otherwise.
 * No other attribute is looked at: damaged ones can bring HDF5 down. */
bool engram_h5_text_attribute(hid_t object, const char *name, char *text, size_t size);

/* One integer; false when it is none or there is no such attribute. */
bool engram_h5_integer_attribute(hid_t object, const char *name, int64_t *value);

#endif
