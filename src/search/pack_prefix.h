/* Rows by way of principal axes: which axes, and the queries' side. The mathematics is in
 * bound_prefix.h, the packing in pack_int.c. */
#ifndef ENGRAM_SEARCH_PACK_PREFIX_H
#define ENGRAM_SEARCH_PACK_PREFIX_H

#include "search/bound_prefix.h"
#include "search/prepared.h"

/* Finds axes for prepared->codes, whose projection is known, from a sample of the live rows, and
 * decides on their number; sets axes, dim and centre. RESOURCE when memory fails. */
ENGRAM_MUST_CHECK enum engram_status engram_prefix_choose(struct engram_prepared *prepared,
                                                          int team);

/* Replaces a projected query (`dense`, float64) by (h, T); `norm2` is |Q|^2. `room`: this many
 * floats, none without axes. */
size_t engram_prefix_query_room(const struct engram_prepared *prepared);
void engram_prefix_query(const struct engram_prepared *prepared, double norm2, double *dense,
                         float *room);

#endif
