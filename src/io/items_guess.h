/* Whether the datasets of a file look like items, one for each row of a set. Looks at the list of a
 * layout only; items_scan.c then looks at every item. */
#ifndef ENGRAM_IO_ITEMS_GUESS_H
#define ENGRAM_IO_ITEMS_GUESS_H

#include "io/layout.h"

struct engram_items_guess {
    bool found;
    const char *group;   /* the first `group_length` bytes; points into the layout */
    size_t group_length; /* 0: the root */
    const char *leaf;    /* points into the layout, NULL: without */
    int64_t dim;         /* of most items; 0: unknown */
    char hint[400];      /* for people, when they have to decide: "" without */
};

/* Looks at the datasets below `under` ("/": all of them). */
void engram_items_guess(const struct engram_layout *layout, const char *under,
                        struct engram_items_guess *guess);

#endif
