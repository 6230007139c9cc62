/* The SETs that `--base` names, lists of them read. */
#ifndef ENGRAM_JOB_BASES_H
#define ENGRAM_JOB_BASES_H

#include "engram/job.h"

struct engram_bases {
    char **sets;
    size_t count;
};

/* Puts the lines of "@LIST.txt" in its place: one SET a line, paths relative to the list's folder,
 * `#` starts a comment line. To be freed in any case. NO_INPUT, PERMISSION, IO, USAGE (an empty
 * list), DATA (no text), RESOURCE. */
enum engram_status engram_bases_expand(const struct engram_job_options *options,
                                       struct engram_bases *bases);
void engram_bases_free(struct engram_bases *bases);

/* A file, not a folder. */
bool engram_is_file(const char *path);

#endif
