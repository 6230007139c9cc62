/* Which kernel sets this CPU can run. Compiled for the baseline architecture. */
#include "kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kernels/selftest.h"
#include "kernels/sets.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Bits of CPUID leaves 1 and 7 and of XCR0 (Intel SDM, vol. 2A CPUID and vol. 1 section 13.3). */
#define LEAF1_ECX_FMA (1U << 12)
#define LEAF1_ECX_OSXSAVE (1U << 27)
#define LEAF1_ECX_AVX (1U << 28)
#define LEAF7_EBX_AVX2 (1U << 5)
#define LEAF7_EBX_AVX512F (1U << 16)
#define LEAF7_EBX_AVX512DQ (1U << 17)
#define LEAF7_EBX_AVX512BW (1U << 30)
#define LEAF7_EBX_AVX512VL (1U << 31)
#define LEAF7_ECX_AVX512VNNI (1U << 11)
#define XCR0_SSE_AVX 0x6U
#define XCR0_SSE_AVX_OPMASK_ZMM 0xe6U

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

static bool can_run_avx512(void)
{
    unsigned eax;
    unsigned ebx;
    unsigned ecx;
    unsigned edx;
    const unsigned leaf7 =
        LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512DQ | LEAF7_EBX_AVX512BW | LEAF7_EBX_AVX512VL;

    return can_run_avx2() && (xcr0_low() & XCR0_SSE_AVX_OPMASK_ZMM) == XCR0_SSE_AVX_OPMASK_ZMM &&
           __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & leaf7) == leaf7 &&
           (ecx & LEAF7_ECX_AVX512VNNI) != 0;
}
#endif

static bool can_run_always(void)
{
    return true;
}

/* Slowest first. */
static struct engram_kernel_set sets[] = {
    {&engram_kernels_portable, can_run_always, ENGRAM_VERDICT_GOOD},
#if defined(__x86_64__)
    {&engram_kernels_avx2, can_run_avx2, ENGRAM_VERDICT_NONE},
    {&engram_kernels_avx512, can_run_avx512, ENGRAM_VERDICT_NONE},
#endif
#if defined(__aarch64__)
    {&engram_kernels_neon, can_run_always, ENGRAM_VERDICT_NONE}, /* part of the baseline */
#endif
};
#define SET_COUNT (sizeof sets / sizeof sets[0])

const struct engram_kernels *engram_kernels_at(size_t i)
{
    for (size_t s = 0; s < SET_COUNT; s++) {
        if (sets[s].can_run() && i-- == 0) {
            return sets[s].kernels;
        }
    }
    return NULL;
}

/* Self-test at first use. Threads that come at the same time each run it, with the same result;
 * the one whose result is stored reports it. */
static bool is_good(struct engram_kernel_set *set, bool *first)
{
    int verdict = atomic_load_explicit(&set->verdict, memory_order_relaxed);
    *first = false;
    if (verdict == ENGRAM_VERDICT_NONE) {
        bool good = engram_kernels_selftest(set->kernels);
        *first = atomic_compare_exchange_strong(&set->verdict, &verdict,
                                                good ? ENGRAM_VERDICT_GOOD : ENGRAM_VERDICT_BAD);
        return good;
    }
    return verdict == ENGRAM_VERDICT_GOOD;
}

static enum engram_status select_best(struct engram_kernel_set *from, size_t count,
                                      const struct engram_log *log,
                                      const struct engram_kernels **kernels)
{
    for (size_t s = count; s-- > 1;) {
        bool first;
        if (!from[s].can_run()) {
            continue;
        }
        if (is_good(&from[s], &first)) {
            *kernels = from[s].kernels;
            return ENGRAM_OK;
        }
        if (first) {
            engram_logf(log, ENGRAM_LOG_WARNING,
                        "instruction set %s computes wrongly on this CPU; using a slower one",
                        from[s].kernels->name);
        }
    }
    *kernels = from[0].kernels;
    return ENGRAM_OK;
}

static void list_names(const struct engram_kernel_set *from, size_t count, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t s = 0; s < count && used < size; s++) {
        if (from[s].can_run()) {
            int added = snprintf(text + used, size - used, "%s%s", used == 0 ? "" : ", ",
                                 from[s].kernels->name);
            used += added > 0 ? (size_t)added : 0;
        }
    }
}

enum engram_status engram_kernels_select_from(struct engram_kernel_set *from, size_t count,
                                              const char *name, const struct engram_log *log,
                                              const struct engram_kernels **kernels)
{
    const char *origin = "--isa";
    if (name == NULL) {
        name = getenv("ENGRAM_ISA");
        origin = "ENGRAM_ISA";
    }
    if (name == NULL || name[0] == '\0') {
        return select_best(from, count, log, kernels);
    }
    for (size_t s = 0; s < count; s++) {
        bool first;
        if (strcmp(name, from[s].kernels->name) != 0 || !from[s].can_run()) {
            continue;
        }
        if (s > 0 && !is_good(&from[s], &first)) {
            return engram_fail(log, ENGRAM_ERR_INTERNAL,
                               "%s: instruction set %s computes wrongly on this CPU; leave the "
                               "choice to the program",
                               origin, name);
        }
        *kernels = from[s].kernels;
        return ENGRAM_OK;
    }
    char names[128];
    list_names(from, count, names, sizeof names);
    return engram_fail(log, ENGRAM_ERR_USAGE,
                       "%s: instruction set \"%s\" is unknown or not supported by this CPU; "
                       "it can run: %s",
                       origin, name, names);
}

enum engram_status engram_kernels_select(const char *name, const struct engram_log *log,
                                         const struct engram_kernels **kernels)
{
    return engram_kernels_select_from(sets, SET_COUNT, name, log, kernels);
}
