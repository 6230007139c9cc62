/* Groups of a threshold self-join: /component, /keep. */
#include <stdlib.h>

#include "base/log.h"
#include "job/publish_internal.h"

static enum engram_status declare(struct engram_publication *p)
{
    enum engram_status status = engram_publication_declare(p, ENGRAM_GROUPS_ROWS, "/component",
                                                           ENGRAM_OUT_I64, 1, &p->queries);
    if (status == ENGRAM_OK) {
        status = engram_publication_declare(p, ENGRAM_GROUPS_KEEP, "/keep", ENGRAM_OUT_BOOL, 1,
                                            &p->queries);
    }
    if (status == ENGRAM_OK) {
        p->texts = malloc((size_t)ENGRAM_PUBLISH_CELLS);
        if (p->texts == NULL) {
            status = engram_fail(&p->options->log, ENGRAM_ERR_RESOURCE,
                                 "not enough memory to write the result");
        }
    }
    return status;
}

static enum engram_status write(struct engram_publication *p)
{
    const int64_t *component = p->answers->component;
    enum engram_status status = ENGRAM_OK;
    for (int64_t at = 0; status == ENGRAM_OK && at < p->queries; at += ENGRAM_PUBLISH_CELLS) {
        int64_t left = p->queries - at;
        int64_t count = left < ENGRAM_PUBLISH_CELLS ? left : ENGRAM_PUBLISH_CELLS;
        for (int64_t i = 0; i < count; i++) {
            p->texts[i] = component[at + i] == p->inputs->base.first + at + i;
        }
        status =
            engram_output_rows(p->output, p->sets[ENGRAM_GROUPS_ROWS], at, count, component + at);
        if (status == ENGRAM_OK) {
            status =
                engram_output_rows(p->output, p->sets[ENGRAM_GROUPS_KEEP], at, count, p->texts);
        }
        if (status == ENGRAM_OK) {
            status = engram_publication_step(p, at + count);
        }
    }
    return status;
}

const struct engram_publication_kind engram_publication_components = {declare, write};
