/* Base and queries on their way to the search, as many rows at a time as the plan has memory for.
 *
 * Slabs of queries come one after another, and for each of them all slabs of the base. A base that
 * fits whole is read and prepared once; one that does not is read again for every slab of queries,
 * as far as something is left to do, and what is read again has to be what was read before. Where
 * the queries are the rows of a base that fits, they are not read at all. Which slabs there are
 * changes no answer. */
#ifndef ENGRAM_JOB_STREAM_H
#define ENGRAM_JOB_STREAM_H

#include "job/state.h"
#include "search/prepared.h"

struct engram_stream;

/* RESOURCE, or as opening a source. `job` is borrowed. */
enum engram_status engram_stream_open(struct engram_job_state *job, struct engram_stream **stream);

/* The next slab of queries of which something is left to do, in job->queries; `*more` false: there
 * is none. Of a set without rows there is one slab. Errors: as reading. */
enum engram_status engram_stream_queries(struct engram_stream *stream, bool *more);

/* The next slab of the base for these queries, prepared, and the request for it; `*prepared` is
 * NULL after the last. Slabs of which nothing is left to do (engram_units_left) are neither read
 * nor given: engram_feed_rest sees to their content. It is the stream's, until the next call. The
 * order of slabs changes from one slab of queries to the next. The slab that follows may be read
 * meanwhile: nothing else calls HDF5 before `*prepared` was NULL, or engram_stream_queries or
 * engram_stream_close. Errors: as reading, as engram_prepare, and DATA for queries that break a
 * limit. */
enum engram_status engram_stream_base(struct engram_stream *stream,
                                      const struct engram_prepared **prepared, int64_t *first_row,
                                      struct engram_request *request);

/* What is asked of the queries in memory and a slab of the base that starts at a row. */
void engram_slab_question(struct engram_job_state *job, int64_t base_first_row,
                          struct engram_search_options *options, struct engram_request *request);

/* NULL is allowed. */
void engram_stream_close(struct engram_stream *stream);

#endif
