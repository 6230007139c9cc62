/* Which kernel sets this CPU can run. Compiled for the baseline architecture. */
#include "kernels/kernels.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kernels/sets.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Bits of CPUID leaves 1 and 7 and of XCR0 (Intel SDM, vol. 2A CPUID and vol. 1 section 13.3). */
#define LEAF1_ECX_FMA (1U << 12)
#define LEAF1_ECX_OSXSAVE (1U << 27)
#define LEAF1_ECX_AVX (1U << 28)
#define LEAF7_EBX_AVX2 (1U << 5)
#define XCR0_SSE_AVX 0x6U

static unsigned xcr0_low(void)
{
    unsigned low;
    unsigned high;
    /* xgetbv by its opcode: the mnemonic would need -mxsave, and this file is baseline code. */
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return low;
}

static bool can_run_avx2(void)
{
    unsigned eax;
    unsigned ebx;
    unsigned ecx;
    unsigned edx;
    const unsigned leaf1 = LEAF1_ECX_FMA | LEAF1_ECX_OSXSAVE | LEAF1_ECX_AVX;

    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & leaf1) != leaf1) {
        return false;
    }
    /* The CPU has the registers; the operating system must also save them. */
    if ((xcr0_low() & XCR0_SSE_AVX) != XCR0_SSE_AVX) {
        return false;
    }
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & LEAF7_EBX_AVX2) != 0;
}
#endif

static bool can_run_always(void)
{
    return true;
}

/* Slowest first. */
static const struct {
    const struct engram_kernels *kernels;
    bool (*can_run)(void);
} SETS[] = {
    {&engram_kernels_portable, can_run_always},
#if defined(__x86_64__)
    {&engram_kernels_avx2, can_run_avx2},
#endif
};
#define SET_COUNT (sizeof SETS / sizeof SETS[0])

const struct engram_kernels *engram_kernels_at(size_t i)
{
    for (size_t s = 0; s < SET_COUNT; s++) {
        if (SETS[s].can_run() && i-- == 0) {
            return SETS[s].kernels;
        }
    }
    return NULL;
}

static void list_names(char *text, size_t size)
{
    const struct engram_kernels *set;
    text[0] = '\0';
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        size_t used = strlen(text);
        if (used + strlen(set->name) + 3 < size) {
            strcat(text, i == 0 ? "" : ", ");
            strcat(text, set->name);
        }
    }
}

enum engram_status engram_kernels_select(const char *name, const struct engram_log *log,
                                         const struct engram_kernels **kernels)
{
    const char *origin = "--isa";
    if (name == NULL) {
        name = getenv("ENGRAM_ISA");
        origin = "ENGRAM_ISA";
    }
    const struct engram_kernels *set;
    const struct engram_kernels *best = NULL;
    for (size_t i = 0; (set = engram_kernels_at(i)) != NULL; i++) {
        best = set;
        if (name != NULL && name[0] != '\0' && strcmp(name, set->name) == 0) {
            *kernels = set;
            return ENGRAM_OK;
        }
    }
    if (name == NULL || name[0] == '\0') {
        *kernels = best;
        return ENGRAM_OK;
    }
    char names[128];
    list_names(names, sizeof names);
    return engram_fail(log, ENGRAM_ERR_USAGE,
                       "%s: instruction set \"%s\" is unknown or not supported by this CPU; "
                       "it can run: %s",
                       origin, name, names);
}
