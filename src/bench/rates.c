/* Yardsticks that are measured again and again between the things they are compared with. */
#include <omp.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/peak.h"

static double rate_of(engram_f32_peak_fn burst, int threads, double ns)
{
    double total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
        uint64_t operations = 0;
        uint64_t start = engram_bench_now();
        uint64_t now = start;
        while ((double)(now - start) < ns) {
            operations += burst(2000);
            now = engram_bench_now();
        }
        total += (double)operations / (double)(now - start);
    }
    return total;
}

double engram_bench_f32_rate(const struct engram_kernels *kernels, int threads, double ns)
{
    return rate_of(kernels->f32_peak, threads, ns);
}

#if defined(__x86_64__)
/* One loop a set, in assembler: no compiler may shorten it, and no file needs other flags. Twelve
 * sums hide the latency. Only registers that the baseline calling convention knows are used, so
 * the clobbers name all that the compiler could lose. */
#define CLOBBERS                                                                                   \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc"

/* vpmaddubsw makes 32 products, vpaddw takes them into the sum: 64 operations. */
#define AVX2_STEP(sum, product)                                                                    \
    "vpmaddubsw %%ymm14, %%ymm15, %%ymm" product "\n\t"                                            \
    "vpaddw %%ymm" product ", %%ymm" sum ", %%ymm" sum "\n\t"
#define AVX2_STEPS 12

static uint64_t avx2_burst(uint64_t rounds)
{
    uint64_t left = rounds;
    __asm__ volatile("vzeroall\n"
                     "1:\n\t" AVX2_STEP("0", "12") AVX2_STEP("1", "13") AVX2_STEP("2", "12")
                         AVX2_STEP("3", "13") AVX2_STEP("4", "12") AVX2_STEP("5", "13")
                             AVX2_STEP("6", "12") AVX2_STEP("7", "13") AVX2_STEP("8", "12")
                                 AVX2_STEP("9", "13") AVX2_STEP("10", "12")
                                     AVX2_STEP("11", "13") "dec %0\n\t"
                                                           "jnz 1b\n\t"
                                                           "vzeroupper"
                     : "+r"(left)
                     :
                     : CLOBBERS);
    return rounds * AVX2_STEPS * 64;
}

/* vpdpbusd: 64 products and as many additions. */
#define AVX512_STEP(sum) "vpdpbusd %%zmm14, %%zmm15, %%zmm" sum "\n\t"
#define AVX512_STEPS 12

static uint64_t avx512_burst(uint64_t rounds)
{
    uint64_t left = rounds;
    __asm__ volatile("vzeroall\n"
                     "1:\n\t" AVX512_STEP("0") AVX512_STEP("1") AVX512_STEP("2") AVX512_STEP("3")
                         AVX512_STEP("4") AVX512_STEP("5") AVX512_STEP("6") AVX512_STEP("7")
                             AVX512_STEP("8") AVX512_STEP("9") AVX512_STEP("10")
                                 AVX512_STEP("11") "dec %0\n\t"
                                                   "jnz 1b\n\t"
                                                   "vzeroupper"
                     : "+r"(left)
                     :
                     : CLOBBERS);
    return rounds * AVX512_STEPS * 128;
}
#endif

engram_f32_peak_fn engram_bench_int_burst(const struct engram_kernels *kernels)
{
#if defined(__x86_64__)
    if (strcmp(kernels->name, "avx2") == 0) {
        return avx2_burst;
    }
    if (strcmp(kernels->name, "avx512") == 0) {
        return avx512_burst;
    }
#else
    (void)kernels;
#endif
    return NULL;
}

double engram_bench_int_rate(const struct engram_kernels *kernels, int threads, double ns)
{
    engram_f32_peak_fn burst = engram_bench_int_burst(kernels);
    return burst == NULL ? 0 : rate_of(burst, threads, ns);
}

/* Eight vectors side by side: what limits it is the memory, not the additions. */
typedef uint64_t vector __attribute__((vector_size(16)));
enum { LANES = 8 };

static uint64_t sum_of(const vector *data, size_t count)
{
    vector sums[LANES];
    memset(sums, 0, sizeof sums);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            sums[l] += data[i + l];
        }
    }
    for (; i < count; i++) {
        sums[0] += data[i];
    }
    uint64_t sum = 0;
    for (size_t l = 0; l < LANES; l++) {
        sum += sums[l][0] + sums[l][1];
    }
    return sum;
}

double engram_bench_stream(const void *data, size_t bytes, int threads)
{
    const vector *all = data;
    size_t count = bytes / sizeof(vector);
    uint64_t sum = 0;
    uint64_t start = engram_bench_now();
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    {
        size_t team = (size_t)omp_get_num_threads();
        size_t me = (size_t)omp_get_thread_num();
        size_t share = (count + team - 1) / team;
        size_t first = me * share < count ? me * share : count;
        size_t end = count - first < share ? count : first + share;
        sum += sum_of(all + first, end - first);
    }
    uint64_t end = engram_bench_now();
    (void)engram_bench_keep((void *)(uintptr_t)sum);
    return (double)(end - start) * 1e-9;
}
