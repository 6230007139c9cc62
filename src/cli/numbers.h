/* Strict numbers on the command line: the whole text, no blanks, no overflow, no locale. */
#ifndef ENGRAM_CLI_NUMBERS_H
#define ENGRAM_CLI_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

/* Decimal digits only, value in [smallest, largest] (both >= 0). On failure `*value` is untouched,
 * here and below. */
bool engram_cli_parse_integer(const char *text, int64_t smallest, int64_t largest, int64_t *value);

/* Decimal or hexadecimal floating point, or inf; never NaN. A number that is too large is refused,
 * one too small for a float64 is rounded as usual. */
bool engram_cli_parse_double(const char *text, double *value);

/* Bytes: digits, perhaps with a fraction, and K, M, G or T for powers of 1024 ("4G", "1.5g",
 * "512M"); above 0. */
bool engram_cli_parse_size(const char *text, uint64_t *bytes);

/* "A:B", "A:" or ":B" with A <= B as range[0], range[1]; an open end is -1. */
bool engram_cli_parse_range(const char *text, int64_t range[2]);

/* "I/N" with 1 <= I <= N <= largest. */
bool engram_cli_parse_share(const char *text, int64_t largest, int64_t *number, int64_t *count);

#endif
