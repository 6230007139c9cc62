/* Stands in for the compiler's <immintrin.h>: SIMDe's portable implementations under Intel's names.
 * For tests only (scripts/check-avx512-simde.sh). */
#ifndef ENGRAM_TESTS_SIMDE_IMMINTRIN_H
#define ENGRAM_TESTS_SIMDE_IMMINTRIN_H

/* All in plain C, whatever compiler and machine have. */
#define SIMDE_NO_NATIVE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <math.h>

#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

typedef simde__mmask8 __mmask8;
typedef simde__mmask16 __mmask16;
typedef simde__mmask32 __mmask32;

/* What SIMDe 0.7.4 (Debian 12) lacks, lane by lane; a masked lane is not read. */
#if !defined(_mm512_cvtps_pd)
static inline __m512d _mm512_cvtps_pd(__m256 a)
{
    float from[8];
    double to[8];
    simde_mm256_storeu_ps(from, a);
    for (int i = 0; i < 8; i++) {
        to[i] = (double)from[i];
    }
    return simde_mm512_loadu_pd(to);
}
#endif

#if !defined(_mm512_cvtpd_ps)
static inline __m256 _mm512_cvtpd_ps(__m512d a)
{
    double from[8];
    float to[8];
    simde_mm512_storeu_pd(from, a);
    for (int i = 0; i < 8; i++) {
        to[i] = (float)from[i];
    }
    return simde_mm256_loadu_ps(to);
}
#endif

#if !defined(_mm512_cvtepi32_ps)
static inline __m512 _mm512_cvtepi32_ps(__m512i a)
{
    int32_t from[16];
    float to[16];
    simde_mm512_storeu_si512(from, a);
    for (int i = 0; i < 16; i++) {
        to[i] = (float)from[i];
    }
    return simde_mm512_loadu_ps(to);
}
#endif

#if !defined(_mm256_maskz_loadu_ps)
static inline __m256 _mm256_maskz_loadu_ps(__mmask8 mask, const void *memory)
{
    float lanes[8];
    for (int i = 0; i < 8; i++) {
        lanes[i] = (mask >> i & 1) != 0 ? ((const float *)memory)[i] : 0;
    }
    return simde_mm256_loadu_ps(lanes);
}
#endif

#if !defined(_mm512_maskz_loadu_ps)
static inline __m512 _mm512_maskz_loadu_ps(__mmask16 mask, const void *memory)
{
    float lanes[16];
    for (int i = 0; i < 16; i++) {
        lanes[i] = (mask >> i & 1) != 0 ? ((const float *)memory)[i] : 0;
    }
    return simde_mm512_loadu_ps(lanes);
}
#endif

#if !defined(_mm512_maskz_loadu_pd)
static inline __m512d _mm512_maskz_loadu_pd(__mmask8 mask, const void *memory)
{
    double lanes[8];
    for (int i = 0; i < 8; i++) {
        lanes[i] = (mask >> i & 1) != 0 ? ((const double *)memory)[i] : 0;
    }
    return simde_mm512_loadu_pd(lanes);
}
#endif

#if !defined(_mm256_mask_storeu_ps)
static inline void _mm256_mask_storeu_ps(void *memory, __mmask8 mask, __m256 a)
{
    float lanes[8];
    simde_mm256_storeu_ps(lanes, a);
    for (int i = 0; i < 8; i++) {
        if ((mask >> i & 1) != 0) {
            ((float *)memory)[i] = lanes[i];
        }
    }
}
#endif

#if !defined(_mm512_mask_storeu_ps)
static inline void _mm512_mask_storeu_ps(void *memory, __mmask16 mask, __m512 a)
{
    float lanes[16];
    simde_mm512_storeu_ps(lanes, a);
    for (int i = 0; i < 16; i++) {
        if ((mask >> i & 1) != 0) {
            ((float *)memory)[i] = lanes[i];
        }
    }
}
#endif

#if !defined(_mm512_cvtps_epi32)
static inline __m512i _mm512_cvtps_epi32(__m512 a)
{
    float from[16];
    int32_t to[16];
    simde_mm512_storeu_ps(from, a);
    for (int i = 0; i < 16; i++) {
        to[i] = (int32_t)lrintf(from[i]);
    }
    return simde_mm512_loadu_si512(to);
}
#endif

#if !defined(_mm512_cvtepi32_epi8)
static inline __m128i _mm512_cvtepi32_epi8(__m512i a)
{
    int32_t from[16];
    int8_t to[16];
    simde_mm512_storeu_si512(from, a);
    for (int i = 0; i < 16; i++) {
        to[i] = (int8_t)(uint8_t)((uint32_t)from[i] & 0xff);
    }
    return simde_mm_loadu_si128((const simde__m128i *)(const void *)to);
}
#endif

#if !defined(_mm512_mulhi_epu16)
static inline __m512i _mm512_mulhi_epu16(__m512i a, __m512i b)
{
    uint16_t left[32];
    uint16_t right[32];
    simde_mm512_storeu_si512(left, a);
    simde_mm512_storeu_si512(right, b);
    for (int i = 0; i < 32; i++) {
        left[i] = (uint16_t)((uint32_t)left[i] * right[i] >> 16);
    }
    return simde_mm512_loadu_si512(left);
}
#endif

#endif
