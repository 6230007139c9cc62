#include "cli/numbers.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Digits up to `end`; at least one. */
static bool parse_digits(const char *text, const char *end, int64_t *value)
{
    int64_t result = 0;

    if (text == end) {
        return false;
    }
    for (; text != end; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        int64_t digit = *text - '0';
        if (result > (INT64_MAX - digit) / 10) {
            return false;
        }
        result = result * 10 + digit;
    }
    *value = result;
    return true;
}

bool engram_cli_parse_integer(const char *text, int64_t smallest, int64_t largest, int64_t *value)
{
    int64_t result;

    if (!parse_digits(text, text + strlen(text), &result) || result < smallest ||
        result > largest) {
        return false;
    }
    *value = result;
    return true;
}

bool engram_cli_parse_double(const char *text, double *value)
{
    /* strtod skips blanks; the first character must belong to the number. The command never calls
     * setlocale, so the decimal point is a point. */
    if (*text == '\0' || strchr("+-.0123456789iI", *text) == NULL) {
        return false;
    }
    char *end;
    errno = 0;
    double result = strtod(text, &end);
    if (*end != '\0' || isnan(result) || (errno == ERANGE && isinf(result))) {
        return false;
    }
    *value = result;
    return true;
}

bool engram_cli_parse_range(const char *text, int64_t range[2])
{
    int64_t first = 0;
    int64_t last = -1;
    const char *colon = strchr(text, ':');

    if (colon == NULL || strcmp(text, ":") == 0) {
        return false;
    }
    if (colon != text && !parse_digits(text, colon, &first)) {
        return false;
    }
    if (colon[1] != '\0' &&
        (!parse_digits(colon + 1, colon + strlen(colon), &last) || last < first)) {
        return false;
    }
    range[0] = first;
    range[1] = last;
    return true;
}

bool engram_cli_parse_size(const char *text, uint64_t *bytes)
{
    static const char UNITS[] = "kmgt";
    char digits[32];
    size_t length = strspn(text, "0123456789.");
    double number;
    double unit = 1;
    const char *rest = text + length;

    if (length == 0 || length >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, length);
    digits[length] = '\0';
    if (!engram_cli_parse_double(digits, &number)) {
        return false;
    }
    if (*rest != '\0') {
        const char *found = strchr(UNITS, *rest >= 'A' && *rest <= 'Z' ? *rest - 'A' + 'a' : *rest);
        if (found == NULL || rest[1] != '\0') {
            return false;
        }
        unit = ldexp(1, 10 * (int)(found - UNITS + 1));
    }
    if (!(number * unit >= 1) || !(number * unit < 0x1p63)) {
        return false;
    }
    *bytes = (uint64_t)(number * unit);
    return true;
}

bool engram_cli_parse_share(const char *text, int64_t largest, int64_t *number, int64_t *count)
{
    const char *slash = strchr(text, '/');
    int64_t share[2];

    if (slash == NULL || !parse_digits(text, slash, &share[0]) ||
        !parse_digits(slash + 1, slash + strlen(slash), &share[1]) || share[0] < 1 ||
        share[0] > share[1] || share[1] > largest) {
        return false;
    }
    *number = share[0];
    *count = share[1];
    return true;
}
