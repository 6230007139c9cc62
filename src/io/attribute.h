/* Reads single attributes by name. For the files in src/io only. */
#ifndef ENGRAM_IO_ATTRIBUTE_H
#define ENGRAM_IO_ATTRIBUTE_H

#include <hdf5.h>
#include <stddef.h>
#include <stdint.h>

/* Copies the attribute `name` of `object` when it is one string that fits; "" and 0 otherwise;
 * negative when HDF5 cannot read it. No other attribute is looked at: damaged ones can bring HDF5
 * down. */
htri_t engram_h5_text_attribute(hid_t object, const char *name, char *text, size_t size);

/* One integer; 0 when it is none or there is no such attribute, negative when HDF5 cannot read it.
 */
htri_t engram_h5_integer_attribute(hid_t object, const char *name, int64_t *value);

#endif
