/* Strings of variable length: a look at what HDF5 is about to believe. For src/io only.
 *
 * Such a string is stored as a reference: its length, and where it is. HDF5 allocates that length,
 * twice, before it looks whether there is such a string: a damaged length costs gigabytes. */
#ifndef ENGRAM_IO_REFERENCES_H
#define ENGRAM_IO_REFERENCES_H

#include <stdint.h>

#include "io/claim.h"

/* DATA, logged: one of claim->rows references from `first` on claims more bytes than the file has,
 * or all of them together far more. References that can only be had through HDF5 (compact storage,
 * other filters, very many chunks without filters) are taken as they are. Errors also: IO,
 * RESOURCE. */
enum engram_status engram_h5_check_references(const struct engram_claim *claim, int64_t first);

#endif
