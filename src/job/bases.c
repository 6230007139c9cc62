#define _GNU_SOURCE
#include "job/bases.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "job/inputs.h"

bool engram_is_file(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

enum engram_status engram_set_split(const char *set, const struct engram_log *log, char **file,
                                    const char **dataset)
{
    char *left = strdup(set);

    *file = NULL;
    if (left == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "%s: not enough memory", set);
    }
    for (size_t at = strlen(left); at-- > 0;) {
        if (left[at] == ':' && set[at + 1] == ':') {
            left[at] = '\0';
            if (engram_is_file(left)) {
                *file = left;
                *dataset = set + at + 2;
                return ENGRAM_OK;
            }
        }
    }
    free(left);
    return ENGRAM_OK;
}

/* Takes over `set`. */
static enum engram_status append(struct engram_bases *bases, char *set,
                                 const struct engram_log *log)
{
    char **sets =
        set == NULL ? NULL : reallocarray(bases->sets, bases->count + 1, sizeof *bases->sets);

    if (sets == NULL) {
        free(set);
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory for the list of bases");
    }
    bases->sets = sets;
    bases->sets[bases->count++] = set;
    return ENGRAM_OK;
}

/* A line of a list: relative to the list's folder where that names a file, else as it is. */
static enum engram_status append_line(struct engram_bases *bases, const char *list,
                                      const char *line, const struct engram_log *log)
{
    const char *slash = strrchr(list, '/');
    const char *unused = NULL;
    char *near = NULL;
    char *file = NULL;

    if (line[0] == '/' || slash == NULL) {
        return append(bases, strdup(line), log);
    }
    if (asprintf(&near, "%.*s%s", (int)(slash - list + 1), list, line) < 0) {
        return append(bases, NULL, log);
    }
    enum engram_status status = engram_set_split(near, log, &file, &unused);
    if (status != ENGRAM_OK) {
        free(near);
        return status;
    }
    bool there = file != NULL || engram_is_file(near);
    free(file);
    if (there) {
        return append(bases, near, log);
    }
    free(near);
    return append(bases, strdup(line), log);
}

static enum engram_status read_list(struct engram_bases *bases, const char *path,
                                    const struct engram_log *log)
{
    struct stat info;
    size_t before = bases->count;
    FILE *stream = fopen(path, "re");

    if (stream == NULL || fstat(fileno(stream), &info) != 0 || S_ISDIR(info.st_mode)) {
        int error = stream == NULL ? errno : EISDIR;
        if (stream != NULL) {
            (void)fclose(stream);
        }
        return engram_fail(log, engram_status_of_errno(error), "--base @%s: %s", path,
                           strerror(error));
    }
    char *line = NULL;
    size_t size = 0;
    ssize_t length = 0;
    bool first = true;
    enum engram_status status = ENGRAM_OK;
    while (status == ENGRAM_OK && (length = getline(&line, &size, stream)) >= 0) {
        if (memchr(line, '\0', (size_t)length) != NULL) {
            status = engram_fail(log, ENGRAM_ERR_DATA,
                                 "--base @%s: is no text file (it holds a zero byte); a list names "
                                 "one set a line",
                                 path);
            break;
        }
        /* A mark that some editors put before the first character. */
        size_t skip = first && strncmp(line, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        first = false;
        while (length > 0 && strchr(" \t\r\n", line[length - 1]) != NULL) {
            line[--length] = '\0';
        }
        const char *start = line + skip + strspn(line + skip, " \t\r");
        if (start[0] != '\0' && start[0] != '#') {
            status = append_line(bases, path, start, log);
        }
    }
    if (status == ENGRAM_OK && !feof(stream)) { /* it ends only where the file does */
        status = ferror(stream)
                     ? engram_fail(log, ENGRAM_ERR_IO, "--base @%s: cannot be read", path)
                     : engram_fail(log, ENGRAM_ERR_RESOURCE, "--base @%s: not enough memory", path);
    }
    free(line);
    (void)fclose(stream);
    if (status == ENGRAM_OK && bases->count == before) {
        status = engram_fail(log, ENGRAM_ERR_USAGE, "--base @%s: the list names no set", path);
    }
    return status;
}

enum engram_status engram_bases_expand(const struct engram_job_options *options,
                                       struct engram_bases *bases)
{
    enum engram_status status = ENGRAM_OK;

    *bases = (struct engram_bases){0};
    for (size_t i = 0; status == ENGRAM_OK && i < options->base_count; i++) {
        const char *set = options->bases[i];
        status = set[0] == '@' ? read_list(bases, set + 1, &options->log)
                               : append(bases, strdup(set), &options->log);
    }
    return status;
}

void engram_bases_free(struct engram_bases *bases)
{
    for (size_t i = 0; i < bases->count; i++) {
        free(bases->sets[i]);
    }
    free(bases->sets);
    *bases = (struct engram_bases){0};
}
