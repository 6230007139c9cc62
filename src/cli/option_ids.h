/* Ids of the options that have no letter of their own; private to table.c and options.c. */
#ifndef ENGRAM_CLI_OPTION_IDS_H
#define ENGRAM_CLI_OPTION_IDS_H

enum option_id {
    OPT_BASE = 256, /* above every letter */
    OPT_QUERIES,
    OPT_SELF,
    OPT_BASE_ROWS,
    OPT_QUERY_ROWS,
    OPT_IDS,
    OPT_LEAF,
    OPT_DTYPE,
    OPT_ALLOW_EXTERNAL,
    OPT_METRIC,
    OPT_MAX_DISTANCE,
    OPT_MIN_SIMILARITY,
    OPT_ALL,
    OPT_PAIRWISE,
    OPT_LABELS,
    OPT_COMPONENTS,
    OPT_SUBSET,
    OPT_EXCLUDE_SAME,
    OPT_SIMILARITY,
    OPT_FLOAT64,
    OPT_MAX_PAIRS,
    OPT_TMPDIR,
    OPT_COMPRESS,
    OPT_FORCE,
    OPT_FROM_SCRATCH,
    OPT_THREADS,
    OPT_MEMORY,
    OPT_ISA,
    OPT_FILTER,
    OPT_SHARD,
    OPT_TSV,
    OPT_FULL,
    OPT_SAMPLE,
    OPT_PROGRESS,
    OPT_STATS,
    OPT_VERSION
};

#endif
