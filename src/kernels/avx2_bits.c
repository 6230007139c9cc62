/* AVX2: rows of bits. vpshufb looks up 32 half-bytes at once: 4 bits of 32 rows for one shuffle and
 * one addition, where counting bits of whole words takes about eight operations for 256 bits. */
#include "kernels/bit_table.h"
#include "kernels/bits_x86.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* 4 x 64: 8 accumulators, 4 registers of half-bytes, a line of the table. */
#define QUERIES ENGRAM_AVX2_BIT_QUERIES
#define ROWS ENGRAM_X86_BIT_ROWS

struct wide {
    __m256i sums[4]; /* 16-bit counts of rows 0-7 16-23, 8-15 24-31, and 32 on likewise */
};

INLINE __m256i line(const uint8_t *table, uint8_t at)
{
    return _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)(table + at)));
}

/* Adds the counts of `bytes` (at most BIT_RUN) bytes to `wide`. */
INLINE void add_run(const uint8_t *table, const uint8_t *strip, const uint8_t *panel, size_t bytes,
                    struct wide wide[QUERIES])
{
    const __m256i half = _mm256_set1_epi8(15);
    const __m256i zero = _mm256_setzero_si256();
    __m256i sums[QUERIES][2];
    for (size_t q = 0; q < QUERIES; q++) {
        sums[q][0] = zero;
        sums[q][1] = zero;
    }
    for (size_t b = 0; b < bytes; b++) {
        __m256i x[2];
        for (size_t h = 0; h < 2; h++) {
            x[h] = _mm256_load_si256((const __m256i *)(const void *)(panel + b * ROWS + 32 * h));
        }
        for (size_t high = 0; high < 2; high++) {
            const uint8_t *query = strip + (2 * b + high) * QUERIES;
            __m256i left = _mm256_and_si256(high ? _mm256_srli_epi16(x[0], 4) : x[0], half);
            __m256i right = _mm256_and_si256(high ? _mm256_srli_epi16(x[1], 4) : x[1], half);
            for (size_t q = 0; q < QUERIES; q++) {
                __m256i counts = line(table, query[q]);
                sums[q][0] = _mm256_add_epi8(sums[q][0], _mm256_shuffle_epi8(counts, left));
                sums[q][1] = _mm256_add_epi8(sums[q][1], _mm256_shuffle_epi8(counts, right));
            }
        }
    }
    for (size_t q = 0; q < QUERIES; q++) {
        for (size_t h = 0; h < 2; h++) {
            __m256i *to = wide[q].sums + 2 * h;
            to[0] = _mm256_add_epi16(to[0], _mm256_unpacklo_epi8(sums[q][h], zero));
            to[1] = _mm256_add_epi16(to[1], _mm256_unpackhi_epi8(sums[q][h], zero));
        }
    }
}

/* The rows of a panel that survive for query q. `sizes` in the order of struct wide. */
INLINE uint64_t survivors(const struct engram_bit_strip *args, size_t q, const __m256i sizes[4],
                          const struct wide *wide)
{
    const __m256i level = _mm256_set1_epi16((short)args->level[q]);
    const __m256i slope = _mm256_set1_epi16((short)args->slope[q]);
    const __m128i shift = _mm_cvtsi32_si128(args->shift);
    uint32_t masks[2];
    for (size_t h = 0; h < 2; h++) {
        __m256i good[2];
        for (size_t i = 0; i < 2; i++) {
            __m256i need = _mm256_adds_epu16(level, _mm256_mulhi_epu16(slope, sizes[2 * h + i]));
            __m256i count = _mm256_sll_epi16(wide->sums[2 * h + i], shift);
            __m256i missing = _mm256_subs_epu16(need, count);
            good[i] = _mm256_cmpeq_epi16(missing, _mm256_setzero_si256());
        }
        /* Packing undoes the interleaving of unpacking. */
        masks[h] = (uint32_t)_mm256_movemask_epi8(_mm256_packs_epi16(good[0], good[1]));
    }
    return masks[0] | (uint64_t)masks[1] << 32;
}

INLINE void load_sizes(const uint16_t *from, __m256i sizes[4])
{
    for (size_t h = 0; h < 2; h++) {
        const __m256i *at = (const __m256i *)(const void *)(from + 32 * h);
        __m256i low = _mm256_load_si256(at);
        __m256i high = _mm256_load_si256(at + 1);
        sizes[2 * h] = _mm256_permute2x128_si256(low, high, 0x20);
        sizes[2 * h + 1] = _mm256_permute2x128_si256(low, high, 0x31);
    }
}

size_t engram_avx2_bit_tile(const struct engram_bit_strip *args, struct engram_candidate *out)
{
    const uint8_t *table = BIT_TABLES[args->op];
    size_t found = 0;
    for (size_t p = 0; p < args->panel_count; p++) {
        const uint8_t *panel = args->panels + p * args->bytes * ROWS;
        struct wide wide[QUERIES];
        __m256i sizes[4];
        uint64_t live;

        memset(wide, 0, sizeof wide);
        for (size_t b = 0; b < args->bytes;) {
            size_t run = bit_run(args->bytes - b);
            add_run(table, args->strip + 2 * b * QUERIES, panel + b * ROWS, run, wide);
            b += run;
        }
        load_sizes(args->sizes + p * ROWS, sizes);
        memcpy(&live, args->live + p * 8, sizeof live);
        for (size_t q = 0; q < QUERIES; q++) {
            uint64_t rows = survivors(args, q, sizes, &wide[q]) & live;
            found += bit_emit(rows, args->first_query + (uint32_t)q,
                              args->first_row + (uint32_t)(p * ROWS), out + found);
        }
    }
    return found;
}
