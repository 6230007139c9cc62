/* The table of datasets that inspect prints. */
#ifndef ENGRAM_CLI_DATASETS_H
#define ENGRAM_CLI_DATASETS_H

#include <stdio.h>

#include "io/layout.h"

/* "1,000 x 100"; "scalar" for rank 0. `rank` may exceed 4: "..." stands for the rest. */
void engram_cli_format_shape(char text[160], int rank, const int64_t dims[4]);

/* One line for each dataset: path, shape, type, storage and filters. At most `limit` lines, then
 * how many are left. */
void engram_cli_print_datasets(FILE *stream, const struct engram_layout *layout, size_t limit);

#endif
