/* What the files that make a layout share. */
#ifndef ENGRAM_IO_LAYOUT_INTERNAL_H
#define ENGRAM_IO_LAYOUT_INTERNAL_H

#include "io/items.h"
#include "io/layout.h"
#include "io/scan.h"

/* Into the order of the paths' bytes. */
void engram_layout_sort(struct engram_layout *layout);

/* Recognises a file of items, and puts their table in place of their entries. */
enum engram_status engram_layout_guess_items(struct engram_layout *layout, const char *path,
                                             const struct engram_log *log);

#endif
