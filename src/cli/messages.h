/* What the command says on stderr, and text made safe for a terminal. */
#ifndef ENGRAM_CLI_MESSAGES_H
#define ENGRAM_CLI_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "engram/status.h"

/* Context of engram_cli_log. All zero is a good start: normal verbosity, no bar on the screen.
 * Used by one thread, as log and progress callbacks are. */
struct engram_cli_messages {
    int verbosity; /* -1: errors only (-q); 0: and warnings; 1: and info (-v); 2: and debug (-vv) */
    bool bar_drawn; /* the cursor stands behind a progress bar; the next message clears it first */
};

/* An engram_log_fn. Writes "engram-batch: MESSAGE\n" (warnings: "engram-batch: warning: MESSAGE\n")
 * to stderr with a single write, so that lines of several processes do not mix. `context` is a
 * struct engram_cli_messages, or NULL for normal verbosity. */
void engram_cli_log(void *context, enum engram_log_level level, const char *message);

/* "engram-batch: MESSAGE\n" in the same way, for what is no matter of a level: nothing with -q. */
void engram_cli_say(struct engram_cli_messages *messages, const char *message);

/* A log made of engram_cli_log and `messages`. */
struct engram_log engram_cli_log_to(struct engram_cli_messages *messages);

/* Removes the progress bar from the screen if there is one. */
void engram_cli_clear_bar(struct engram_cli_messages *messages);

/* From now on nothing is written: another process says it. */
void engram_cli_be_silent(void);

/* Writes all `size` bytes to stderr, retrying after signals; false when that fails, which callers
 * may ignore: there is nowhere else to complain. */
bool engram_cli_write_stderr(const char *text, size_t size);

/* Length of the well-formed UTF-8 character (Unicode, table 3-7) at the start of `length` > 0
 * bytes, its code point in `*point`; 0 when there is none. */
size_t engram_cli_utf8(const unsigned char *text, size_t length, uint32_t *point);

/* Longest output for one byte of input of engram_cli_escape. */
#define ENGRAM_CLI_ESCAPE_FACTOR 4

/* Copies `length` bytes of `text` so that a terminal shows them and obeys none: control characters,
 * bytes that are not UTF-8 and characters that reorder text become \n, \t or \xNN. Always
 * terminates `out` (`size` > 0) and cuts what does not fit, never inside a character or escape.
 * Returns the length written; size >= ENGRAM_CLI_ESCAPE_FACTOR * length + 1 is always enough. */
size_t engram_cli_escape(char *out, size_t size, const char *text, size_t length);

/* engram_cli_escape to a stdio stream; a failed write shows in ferror(stream). */
void engram_cli_print_escaped(FILE *stream, const char *text, size_t length);

#endif
