/* AVX-512 (F, BW): rows of bits, as in avx2_bits.c. VPOPCNTDQ would count faster, but not every CPU
 * of this set has it. */
#include "kernels/bit_table.h"
#include "kernels/bits_x86.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* 8 x 64, two panels at a time where there are two: 16 accumulators, 2 registers of half-bytes and
 * a line of the table, which then serves two shuffles. */
#define QUERIES ENGRAM_AVX512_BIT_QUERIES
#define ROWS ENGRAM_X86_BIT_ROWS
#define PAIR 2

struct wide {
    __m512i sums[2]; /* 16-bit counts of rows 0-7 16-23 32-39 48-55, and of the others */
};

INLINE __m512i line(const uint8_t *table, uint8_t at)
{
    return _mm512_broadcast_i32x4(_mm_load_si128((const __m128i *)(const void *)(table + at)));
}

/* Adds the counts of `bytes` (at most BIT_RUN) bytes of `panels` (a constant) panels, `apart` bytes
 * from each other, to `wide`. */
INLINE void add_run(const uint8_t *table, const uint8_t *strip, const uint8_t *panel, size_t panels,
                    size_t apart, size_t bytes, struct wide wide[QUERIES][PAIR])
{
    const __m512i half = _mm512_set1_epi8(15);
    const __m512i zero = _mm512_setzero_si512();
    __m512i sums[QUERIES][PAIR];
    for (size_t q = 0; q < QUERIES; q++) {
        for (size_t p = 0; p < panels; p++) {
            sums[q][p] = zero;
        }
    }
    for (size_t b = 0; b < bytes; b++) {
        for (size_t high = 0; high < 2; high++) {
            const uint8_t *query = strip + (2 * b + high) * QUERIES;
            __m512i x[PAIR];
            for (size_t p = 0; p < panels; p++) {
                x[p] = _mm512_load_si512((const void *)(panel + p * apart + b * ROWS));
                x[p] = _mm512_and_si512(high ? _mm512_srli_epi16(x[p], 4) : x[p], half);
            }
            for (size_t q = 0; q < QUERIES; q++) {
                __m512i counts = line(table, query[q]);
                for (size_t p = 0; p < panels; p++) {
                    sums[q][p] = _mm512_add_epi8(sums[q][p], _mm512_shuffle_epi8(counts, x[p]));
                }
            }
        }
    }
    for (size_t q = 0; q < QUERIES; q++) {
        for (size_t p = 0; p < panels; p++) {
            __m512i *to = wide[q][p].sums;
            to[0] = _mm512_add_epi16(to[0], _mm512_unpacklo_epi8(sums[q][p], zero));
            to[1] = _mm512_add_epi16(to[1], _mm512_unpackhi_epi8(sums[q][p], zero));
        }
    }
}

/* Sizes in the order of struct wide. */
INLINE void load_sizes(const uint16_t *from, __m512i sizes[2])
{
    const __m512i first = _mm512_setr_epi64(0, 1, 4, 5, 8, 9, 12, 13);
    const __m512i second = _mm512_setr_epi64(2, 3, 6, 7, 10, 11, 14, 15);
    __m512i low = _mm512_load_si512((const void *)from);
    __m512i high = _mm512_load_si512((const void *)(from + 32));
    sizes[0] = _mm512_permutex2var_epi64(low, first, high);
    sizes[1] = _mm512_permutex2var_epi64(low, second, high);
}

/* The rows of a panel that survive for query q. */
INLINE uint64_t survivors(const struct engram_bit_strip *args, size_t q, const __m512i sizes[2],
                          const struct wide *wide)
{
    const __m512i level = _mm512_set1_epi16((short)args->level[q]);
    const __m512i slope = _mm512_set1_epi16((short)args->slope[q]);
    const __m128i shift = _mm_cvtsi32_si128(args->shift);
    __mmask32 good[2];
    for (size_t i = 0; i < 2; i++) {
        __m512i need = _mm512_adds_epu16(level, _mm512_mulhi_epu16(slope, sizes[i]));
        good[i] = _mm512_cmpge_epu16_mask(_mm512_sll_epi16(wide->sums[i], shift), need);
    }
    if (__builtin_expect((good[0] | good[1]) == 0, 1)) {
        return 0;
    }
    /* Packing undoes the interleaving of unpacking. */
    return _mm512_movepi8_mask(
        _mm512_packs_epi16(_mm512_movm_epi16(good[0]), _mm512_movm_epi16(good[1])));
}

/* `panels` panels from number p on. */
INLINE size_t tile_body(const struct engram_bit_strip *args, size_t p, size_t panels,
                        struct engram_candidate *out)
{
    const uint8_t *table = BIT_TABLES[args->op];
    const uint8_t *panel = args->panels + p * args->bytes * ROWS;
    struct wide wide[QUERIES][PAIR];
    size_t found = 0;

    memset(wide, 0, sizeof wide);
    for (size_t b = 0; b < args->bytes;) {
        size_t run = bit_run(args->bytes - b);
        add_run(table, args->strip + 2 * b * QUERIES, panel + b * ROWS, panels, args->bytes * ROWS,
                run, wide);
        b += run;
    }
    for (size_t i = 0; i < panels; i++) {
        __m512i sizes[2];
        uint64_t live;
        load_sizes(args->sizes + (p + i) * ROWS, sizes);
        memcpy(&live, args->live + (p + i) * 8, sizeof live);
        for (size_t q = 0; q < QUERIES; q++) {
            uint64_t rows = survivors(args, q, sizes, &wide[q][i]) & live;
            found += bit_emit(rows, args->first_query + (uint32_t)q,
                              args->first_row + (uint32_t)((p + i) * ROWS), out + found);
        }
    }
    return found;
}

size_t engram_avx512_bit_tile(const struct engram_bit_strip *args, struct engram_candidate *out)
{
    size_t found = 0;
    size_t p = 0;
    for (; p + PAIR <= args->panel_count; p += PAIR) {
        found += tile_body(args, p, PAIR, out + found);
    }
    if (p < args->panel_count) {
        found += tile_body(args, p, 1, out + found);
    }
    return found;
}
