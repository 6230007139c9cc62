/* What can be said on the command line. */
#include "cli/options.h"

/* Ids of options without a letter; options.c takes the same numbers from the names. */
#include "cli/option_ids.h"

#define JOB ENGRAM_CLI_ON_JOB
#define INSPECT ENGRAM_CLI_ON_INSPECT
#define SHOW ENGRAM_CLI_ON_SHOW
#define VERIFY ENGRAM_CLI_ON_VERIFY
#define MERGE ENGRAM_CLI_ON_MERGE

/* clang-format off: one option, one paragraph. */
const struct engram_cli_option engram_cli_table[] = {
    {OPT_BASE, "base", 0, "SET", ENGRAM_CLI_GROUP_SETS, JOB | INSPECT | VERIFY,
     "vectors to search in [the layout decides]; several\n"
     "make one base, also --base @LIST.txt"},
    {OPT_QUERIES, "queries", 0, "SET", ENGRAM_CLI_GROUP_SETS, JOB | INSPECT | VERIFY,
     "vectors to find neighbours for [the layout decides]"},
    {OPT_SELF, "self", 0, NULL, ENGRAM_CLI_GROUP_SETS, JOB | INSPECT,
     "queries = base, and no row matches itself\n[so when INPUT holds one set]"},
    {OPT_BASE_ROWS, "base-rows", 0, "A:B", ENGRAM_CLI_GROUP_SETS, JOB | INSPECT,
     "rows A to B-1 of the base only; also A: and :B"},
    {OPT_QUERY_ROWS, "query-rows", 0, "A:B", ENGRAM_CLI_GROUP_SETS, JOB | INSPECT,
     "rows A to B-1 of the queries only"},
    {OPT_IDS, "ids", 0, "PATH", ENGRAM_CLI_GROUP_SETS, JOB | INSPECT,
     "dataset with the ids of the rows [recognised]"},
    {OPT_LEAF, "leaf", 0, "NAME", ENGRAM_CLI_GROUP_SETS, JOB | INSPECT | VERIFY,
     "dataset of that name in each item's group is its row"},
    {OPT_DTYPE, "dtype", 0, "T", ENGRAM_CLI_GROUP_SETS, JOB | INSPECT | VERIFY,
     "what raw bits stand for: bfloat16, float16, ..."},
    {OPT_ALLOW_EXTERNAL, "allow-external", 0, NULL, ENGRAM_CLI_GROUP_SETS, JOB | INSPECT | VERIFY,
     "read other files that a dataset refers to"},

    {OPT_METRIC, "metric", 0, "NAME", ENGRAM_CLI_GROUP_QUESTION, JOB | INSPECT,
     "cosine (angular), ip (dot), l2 (euclidean),\n"
     "sqeuclidean, l1 (manhattan, cityblock), hamming or\n"
     "jaccard [attribute `distance`, else cosine]"},
    {'k', NULL, 'k', "N", ENGRAM_CLI_GROUP_QUESTION, JOB | INSPECT,
     "the N nearest neighbours of every query [10]"},
    {OPT_MAX_DISTANCE, "max-distance", 0, "X", ENGRAM_CLI_GROUP_QUESTION, JOB | INSPECT,
     "every pair at most X apart; with -k at most N a row"},
    {OPT_MIN_SIMILARITY, "min-similarity", 0, "X", ENGRAM_CLI_GROUP_QUESTION, JOB | INSPECT,
     "every pair with similarity X or more (cosine, ip,\n"
     "jaccard); with -k at most N a row"},
    {OPT_ALL, "all", 0, NULL, ENGRAM_CLI_GROUP_QUESTION, JOB | INSPECT,
     "the distance of every query to every base row"},
    {OPT_PAIRWISE, "pairwise", 0, NULL, ENGRAM_CLI_GROUP_QUESTION, JOB | INSPECT,
     "the distance of query i to base row i"},
    {OPT_LABELS, "labels", 0, "LABELS", ENGRAM_CLI_GROUP_QUESTION, JOB | INSPECT | VERIFY,
     "the label of the nearest labelled base row; a file\n"
     "of lines id<TAB>label, or a dataset"},
    {OPT_COMPONENTS, "components", 0, NULL, ENGRAM_CLI_GROUP_QUESTION, JOB | INSPECT,
     "groups of rows that chains of pairs within the\n"
     "threshold connect; chains may join distant rows"},
    {OPT_SUBSET, "subset", 0, "PATH", ENGRAM_CLI_GROUP_QUESTION, JOB | INSPECT | VERIFY,
     "base rows allowed: a dataset of bools or row numbers"},
    {OPT_EXCLUDE_SAME, "exclude-same", 0, "PATH", ENGRAM_CLI_GROUP_QUESTION, JOB | INSPECT | VERIFY,
     "no matches between rows with the same value in this\ndataset"},
    {OPT_MAX_PAIRS, "max-pairs", 0, "N", ENGRAM_CLI_GROUP_QUESTION, JOB | INSPECT | MERGE,
     "stop with an error when there are more pairs"},

    {OPT_SIMILARITY, "similarity", 0, NULL, ENGRAM_CLI_GROUP_RESULT, JOB | INSPECT,
     "similarities instead of distances (cosine, ip,\njaccard)"},
    {OPT_FLOAT64, "float64", 0, NULL, ENGRAM_CLI_GROUP_RESULT, JOB | INSPECT,
     "float64 instead of float32"},
    {OPT_TMPDIR, "tmpdir", 0, "DIR", ENGRAM_CLI_GROUP_RESULT, JOB | INSPECT,
     "folder for temporary data [OUTPUT's]"},
    {OPT_COMPRESS, "compress", 0, "LEVEL", ENGRAM_CLI_GROUP_RESULT, JOB | INSPECT,
     "deflate the result, 1 to 9 [0: do not]"},
    {OPT_FORCE, "force", 0, NULL, ENGRAM_CLI_GROUP_RESULT, JOB | MERGE,
     "replace an existing OUTPUT"},
    {OPT_FROM_SCRATCH, "from-scratch", 0, NULL, ENGRAM_CLI_GROUP_RESULT, JOB,
     "drop the checkpoint that an interrupted run left"},

    {OPT_THREADS, "threads", 0, "N", ENGRAM_CLI_GROUP_RUN, JOB | INSPECT | VERIFY | MERGE,
     "[OMP_NUM_THREADS, else all that the job may use]"},
    {OPT_MEMORY, "memory", 0, "SIZE", ENGRAM_CLI_GROUP_RUN, JOB | INSPECT | MERGE,
     "the most that the process may take; K, M, G, T [80 %\n"
     "of what machine, cgroup, Slurm and limits allow]"},
    {OPT_ISA, "isa", 0, "NAME", ENGRAM_CLI_GROUP_RUN, JOB | INSPECT,
     "portable, avx2, avx512 or neon\n[ENGRAM_ISA, else the fastest]"},
    {OPT_FILTER, "filter", 0, "NAME", ENGRAM_CLI_GROUP_RUN, JOB | INSPECT,
     "auto, canonical, f32, int or prefix [auto]"},
    {OPT_SHARD, "shard", 0, "I/N", ENGRAM_CLI_GROUP_RUN, JOB | INSPECT,
     "answer the Ith of N shares of the queries; out.h5\n"
     "becomes out.shard-I-of-N.h5, for merge"},

    {'n', "rows", 'n', "N", ENGRAM_CLI_GROUP_SHOW, SHOW, "the first N rows [10]"},
    {OPT_TSV, "tsv", 0, NULL, ENGRAM_CLI_GROUP_SHOW, SHOW,
     "values separated by tabs, for other programs"},

    {OPT_FULL, "full", 0, NULL, ENGRAM_CLI_GROUP_VERIFY, VERIFY, "check every query"},
    {OPT_SAMPLE, "sample", 0, "N", ENGRAM_CLI_GROUP_VERIFY, VERIFY,
     "check N queries, spread evenly [100]"},

    {OPT_PROGRESS, "progress", 0, "HOW", ENGRAM_CLI_GROUP_MESSAGES, JOB | VERIFY | MERGE,
     "auto, bar, lines or none [auto]"},
    {OPT_STATS, "stats", 0, "FILE", ENGRAM_CLI_GROUP_MESSAGES, JOB,
     "write the final summary to FILE, as JSON"},
    {'q', "quiet", 'q', NULL, ENGRAM_CLI_GROUP_MESSAGES, ENGRAM_CLI_ON_ALL, "errors only"},
    {'v', "verbose", 'v', NULL, ENGRAM_CLI_GROUP_MESSAGES, ENGRAM_CLI_ON_ALL,
     "more messages; -vv: all of them"},
    {'h', "help", 'h', NULL, ENGRAM_CLI_GROUP_MESSAGES, ENGRAM_CLI_ON_ALL,
     "this text; also engram-batch COMMAND --help"},
    {OPT_VERSION, "version", 0, NULL, ENGRAM_CLI_GROUP_MESSAGES, ENGRAM_CLI_ON_ALL,
     "versions and the kernel sets of this CPU"},

};
/* clang-format on */

const size_t engram_cli_table_size = sizeof engram_cli_table / sizeof engram_cli_table[0];

const struct engram_cli_command_text engram_cli_commands[ENGRAM_CLI_COMMANDS] = {
    [ENGRAM_CLI_JOB] = {"", "INPUT.h5 OUTPUT.h5", "find the neighbours: the job",
                        "Reads vectors from INPUT.h5, finds for every query vector its nearest "
                        "base vectors, exactly, and writes row numbers and distances to "
                        "OUTPUT.h5, which appears complete or not at all. INPUT.h5 is only ever "
                        "read."},
    [ENGRAM_CLI_INSPECT] = {"inspect", "INPUT.h5", "tell what is in a file and what would run",
                            "Lists the datasets of INPUT.h5, which of them would be base and "
                            "queries, the metric and the reason for it, and what the job would "
                            "take. Takes the options of the job; runs and writes nothing."},
    [ENGRAM_CLI_SHOW] = {"show", "OUTPUT.h5 [ID|ROW...]", "read a result",
                         "Prints the neighbours of the queries with these ids or row numbers, "
                         "or of the first ten. What is the id of a query is taken for an id, "
                         "also when it looks like a number; row numbers are those of the "
                         "dataset in the input."},
    [ENGRAM_CLI_VERIFY] = {"verify", "INPUT.h5 OUTPUT.h5",
                           "check a result against an independent scan",
                           "Compares OUTPUT.h5 with a plain float64 scan of INPUT.h5, for a "
                           "sample of the queries or all of them, and with the neighbours that "
                           "INPUT.h5 itself holds. Give --base and --queries again when they "
                           "name other files. The exit status is 1 when an answer is wrong."},
    [ENGRAM_CLI_MERGE] = {"merge", "PART.h5... OUTPUT.h5", "join the parts of a sharded job",
                          "Joins the parts that jobs with --shard 1/N to N/N wrote, in any order, "
                          "to the file that the job writes without --shard, byte for byte. The "
                          "input is not read. Parts of different jobs or inputs, missing and "
                          "damaged ones are refused by name."},
};
