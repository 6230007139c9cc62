/* One process: all of the job. */
#include "job/ranks.h"

bool engram_ranks_start(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return true;
}

int engram_ranks_stop(int code)
{
    return code;
}

int engram_ranks_self(void)
{
    return 0;
}

int engram_ranks_count(void)
{
    return 1;
}

int engram_ranks_here(void)
{
    return 1;
}

uint64_t engram_ranks_bytes(void)
{
    return 0;
}

uint64_t engram_ranks_least(uint64_t value)
{
    return value;
}

bool engram_ranks_ask(const int64_t held[2], struct engram_unit *unit)
{
    (void)held;
    (void)unit;
    return false;
}

void engram_ranks_send(const void *piece, size_t bytes)
{
    (void)piece;
    (void)bytes;
}

void engram_ranks_finish(const struct engram_unit *unit, const int64_t pairs[2])
{
    (void)unit;
    (void)pairs;
}

void engram_ranks_report(const struct engram_grain *grains, size_t count)
{
    (void)grains;
    (void)count;
}

void engram_ranks_leave(enum engram_status status, const char *why)
{
    (void)status;
    (void)why;
}

enum engram_status engram_ranks_serve(const struct engram_ranks_desk *desk)
{
    (void)desk;
    return ENGRAM_OK;
}

bool engram_ranks_rest(void)
{
    return true;
}
