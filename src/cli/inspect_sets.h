/* What inspect tells about the sets beyond their names. */
#ifndef ENGRAM_CLI_INSPECT_SETS_H
#define ENGRAM_CLI_INSPECT_SETS_H

#include "job/inputs.h"

/* The decision for a layout, and the sets of INPUT that were not chosen. */
void engram_cli_print_layout(const struct engram_inputs *inputs,
                             const struct engram_job_options *options);

/* Reads a sample of base and queries and tells what it is like. */
enum engram_status engram_cli_print_samples(const struct engram_inputs *inputs,
                                            const struct engram_job_options *options);

#endif
