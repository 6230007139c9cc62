/* Rows by way of principal axes: which axes, and the queries' side. The mathematics is in
 * bound_prefix.h, the packing in pack_int.c. */
#ifndef ENGRAM_SEARCH_PACK_PREFIX_H
#define ENGRAM_SEARCH_PACK_PREFIX_H

#include "search/bound_prefix.h"
#include "search/prepared.h"

/* Rows F of a strided sample of the live base rows. */
struct engram_prefix_sample {
    float *flat; /* [rows][dim] */
    size_t rows;
    size_t bytes;
    double *norm2; /* [rows] */
};

/* Decides, with `automatic`, whether prepared->codes goes by way of axes (codes.prefix), and finds
 * them; the projection is known. Sets axes, dim and centre where it does, and the estimates of
 * prepared->choice. RESOURCE when memory fails. */
ENGRAM_MUST_CHECK enum engram_status engram_prefix_choose(
    struct engram_prepared *prepared, const struct engram_search_options *options, bool automatic,
    int team);

/* Replaces a projected query (`dense`, float64) by (h, T); `norm2` is |Q|^2. `room`: this many
 * floats, none without axes. */
size_t engram_prefix_query_room(const struct engram_prepared *prepared);
void engram_prefix_query(const struct engram_prepared *prepared, double norm2, double *dense,
                         float *room);

#endif
