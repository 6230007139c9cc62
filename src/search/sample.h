/* What a sample of the data says about a filter. */
#ifndef ENGRAM_SEARCH_SAMPLE_H
#define ENGRAM_SEARCH_SAMPLE_H

#include "search/prepared.h"

/* Whether the integer filter, already packed, will tell rows apart: its bound has to be narrow
 * beside the spread of the scores. Base rows stand in for queries. Changes speed, never an answer;
 * the same for every thread count. True also when memory for the sample fails. */
bool engram_int_pack_tells(const struct engram_prepared *prepared);

#endif
