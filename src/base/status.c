#include "engram/status.h"

#include <stddef.h>

#include "engram/version.h"

struct status_text {
    const char *name;
    const char *message;
    int exit_code; /* <sysexits.h>; 1 as in cmp and diff */
};

static const struct status_text TEXTS[] = {
    [ENGRAM_OK] = {"ENGRAM_OK", "success", 0},
    [ENGRAM_DIFFERENT] = {"ENGRAM_DIFFERENT", "the result differs", 1},
    [ENGRAM_ERR_USAGE] = {"ENGRAM_ERR_USAGE", "wrong or unsupported argument", 64},
    [ENGRAM_ERR_DATA] = {"ENGRAM_ERR_DATA", "bad input data", 65},
    [ENGRAM_ERR_NO_INPUT] = {"ENGRAM_ERR_NO_INPUT", "no such input", 66},
    [ENGRAM_ERR_PLUGIN] = {"ENGRAM_ERR_PLUGIN", "HDF5 filter plugin missing", 69},
    [ENGRAM_ERR_INTERNAL] = {"ENGRAM_ERR_INTERNAL", "internal error", 70},
    [ENGRAM_ERR_RESOURCE] = {"ENGRAM_ERR_RESOURCE", "not enough memory or threads", 71},
    [ENGRAM_ERR_CANT_CREATE] = {"ENGRAM_ERR_CANT_CREATE", "cannot create the output", 73},
    [ENGRAM_ERR_IO] = {"ENGRAM_ERR_IO", "input/output error", 74},
    [ENGRAM_ERR_CANCELLED] = {"ENGRAM_ERR_CANCELLED", "interrupted", 75},
    [ENGRAM_ERR_PERMISSION] = {"ENGRAM_ERR_PERMISSION", "permission denied", 77},
};

static const struct status_text UNKNOWN = {"ENGRAM_ERR_UNKNOWN", "unknown status", 70};

static const struct status_text *text_of(enum engram_status status)
{
    size_t index = (size_t)status;
    return index < sizeof TEXTS / sizeof TEXTS[0] ? &TEXTS[index] : &UNKNOWN;
}

const char *engram_status_name(enum engram_status status)
{
    return text_of(status)->name;
}

const char *engram_status_message(enum engram_status status)
{
    return text_of(status)->message;
}

int engram_status_exit_code(enum engram_status status)
{
    return text_of(status)->exit_code;
}

const char *engram_version(void)
{
    return ENGRAM_VERSION;
}
