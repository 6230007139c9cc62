/* Datasets of texts of variable length: a look at what HDF5 is about to believe. For src/io only.
 */
#ifndef ENGRAM_IO_REFERENCES_H
#define ENGRAM_IO_REFERENCES_H

#include <stdint.h>

#include "io/claim.h"

/* DATA, logged: one of claim->rows references from `first` on (of `member` of a compound dataset;
 * else NULL) claims another length than its text has in the file's heap, more than the file has,
 * or all of them together far more (io/heap.h). Errors also: IO, RESOURCE, PLUGIN. */
enum engram_status engram_h5_check_references(const struct engram_claim *claim, const char *member,
                                              int64_t first);

#endif
