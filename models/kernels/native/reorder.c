/* reorder.c - see reorder.h. Squares of LANES channels by LANES pixels are transposed in
 * registers. */
#include "reorder.h"
#include "isa.h"

#define UNROLL _Pragma("GCC unroll 64")

#if defined WTL_FOR_AVX512 || defined WTL_FOR_AVX2

#if defined WTL_FOR_AVX512
#define LOW(a, b)       _mm512_unpacklo_ps(a, b)
#define HIGH(a, b)      _mm512_unpackhi_ps(a, b)
#define LOW_PAIR(a, b)  (vec) _mm512_unpacklo_pd((__m512d)(a), (__m512d)(b))
#define HIGH_PAIR(a, b) (vec) _mm512_unpackhi_pd((__m512d)(a), (__m512d)(b))
#else
#define LOW(a, b)       _mm256_unpacklo_ps(a, b)
#define HIGH(a, b)      _mm256_unpackhi_ps(a, b)
#define LOW_PAIR(a, b)  (vec) _mm256_unpacklo_pd((__m256d)(a), (__m256d)(b))
#define HIGH_PAIR(a, b) (vec) _mm256_unpackhi_pd((__m256d)(a), (__m256d)(b))
#endif

/* Within groups of four rows: quarter q of row i + k becomes column 4*q + k of rows i .. i+3. */
WTL_INLINE void transpose_quarters(vec row[LANES])
{
    UNROLL for (int i = 0; i < LANES; i += 4)
    {
        vec a = LOW(row[i], row[i + 1]), b = HIGH(row[i], row[i + 1]);
        vec c = LOW(row[i + 2], row[i + 3]), d = HIGH(row[i + 2], row[i + 3]);
        row[i] = LOW_PAIR(a, c);
        row[i + 1] = HIGH_PAIR(a, c);
        row[i + 2] = LOW_PAIR(b, d);
        row[i + 3] = HIGH_PAIR(b, d);
    }
}

/* Then quarters change places. */
WTL_INLINE void transpose(vec row[LANES])
{
    transpose_quarters(row);
    UNROLL for (int k = 0; k < 4; k++)
    {
#if defined WTL_FOR_AVX512
        vec even = _mm512_shuffle_f32x4(row[k], row[4 + k], 0x88);
        vec odd = _mm512_shuffle_f32x4(row[k], row[4 + k], 0xdd);
        vec even_2 = _mm512_shuffle_f32x4(row[8 + k], row[12 + k], 0x88);
        vec odd_2 = _mm512_shuffle_f32x4(row[8 + k], row[12 + k], 0xdd);
        row[k] = _mm512_shuffle_f32x4(even, even_2, 0x88);
        row[4 + k] = _mm512_shuffle_f32x4(odd, odd_2, 0x88);
        row[8 + k] = _mm512_shuffle_f32x4(even, even_2, 0xdd);
        row[12 + k] = _mm512_shuffle_f32x4(odd, odd_2, 0xdd);
#else
        vec first = row[k], second = row[4 + k];
        row[k] = _mm256_permute2f128_ps(first, second, 0x20);
        row[4 + k] = _mm256_permute2f128_ps(first, second, 0x31);
#endif
    }
}

#else

WTL_INLINE void transpose(vec row[LANES])
{
    vec from[LANES];
    memcpy(from, row, sizeof from);
    UNROLL for (int i = 0; i < LANES; i++)
    {
        UNROLL for (int j = 0; j < LANES; j++)
        {
            row[i][j] = from[j][i];
        }
    }
}

#endif

WTL_INLINE void put(float *at, vec v, bool add)
{
    if (add) {
        v += vec_load(at);
    }
    vec_store(at, v);
}

/* LANES pixels of the channels first .. first + LANES - 1. */
WTL_INLINE void square_to_block(const float *plain, long plane, int first, int channels,
                                bool add, float *block)
{
    vec row[LANES];
    UNROLL for (int c = 0; c < LANES; c++)
    {
        row[c] = first + c < channels ? vec_load(plain + (first + c) * plane) : vec_zero();
    }
    transpose(row);
    UNROLL for (int i = 0; i < LANES; i++)
    {
        put(block + i * WTL_BLOCK + first, row[i], add);
    }
}

WTL_INLINE void square_to_plain(const float *block, int first, int channels, bool add,
                                float *plain, long plane)
{
    vec row[LANES];
    UNROLL for (int i = 0; i < LANES; i++)
    {
        row[i] = vec_load(block + i * WTL_BLOCK + first);
    }
    transpose(row);
    UNROLL for (int c = 0; c < LANES; c++)
    {
        if (first + c < channels) {
            put(plain + (first + c) * plane, row[c], add);
        }
    }
}

static void rest_to_block(const float *plain, long plane, int channels, long pixels, bool add,
                          float *block)
{
    for (long i = 0; i < pixels; i++, block += WTL_BLOCK) {
        for (int c = 0; c < WTL_BLOCK; c++) {
            float value = c < channels ? plain[c * plane + i] : 0.0f;
            block[c] = add ? block[c] + value : value;
        }
    }
}

static void rest_to_plain(const float *block, int channels, long pixels, bool add, float *plain,
                          long plane)
{
    for (int c = 0; c < channels; c++) {
        for (long i = 0; i < pixels; i++) {
            float *at = plain + c * plane + i;
            *at = add ? *at + block[i * WTL_BLOCK + c] : block[i * WTL_BLOCK + c];
        }
    }
}

/* `channels` and `add` are constants where these are called most. */
WTL_INLINE void all_to_blocks(const float *plain, long plane, int channels, long pixels,
                              bool add, float *block)
{
    long i = 0;
    for (; i + LANES <= pixels; i += LANES) {
        for (int first = 0; first < WTL_BLOCK; first += LANES) {
            square_to_block(plain + i, plane, first, channels, add, block + i * WTL_BLOCK);
        }
    }
    rest_to_block(plain + i, plane, channels, pixels - i, add, block + i * WTL_BLOCK);
}

WTL_INLINE void all_to_plain(const float *block, int channels, long pixels, bool add,
                             float *plain, long plane)
{
    long i = 0;
    for (; i + LANES <= pixels; i += LANES) {
        for (int first = 0; first < WTL_BLOCK; first += LANES) {
            square_to_plain(block + i * WTL_BLOCK, first, channels, add, plain + i, plane);
        }
    }
    rest_to_plain(block + i * WTL_BLOCK, channels, pixels - i, add, plain + i, plane);
}

static void to_blocks(const float *plain, long plane, int channels, long pixels, bool add,
                      float *block)
{
    if (channels == WTL_BLOCK && !add) {
        all_to_blocks(plain, plane, WTL_BLOCK, pixels, false, block);
    } else if (channels == WTL_BLOCK) {
        all_to_blocks(plain, plane, WTL_BLOCK, pixels, true, block);
    } else {
        all_to_blocks(plain, plane, channels, pixels, add, block);
    }
}

static void to_plain(const float *block, int channels, long pixels, bool add, float *plain,
                     long plane)
{
    if (channels == WTL_BLOCK && !add) {
        all_to_plain(block, WTL_BLOCK, pixels, false, plain, plane);
    } else if (channels == WTL_BLOCK) {
        all_to_plain(block, WTL_BLOCK, pixels, true, plain, plane);
    } else {
        all_to_plain(block, channels, pixels, add, plain, plane);
    }
}

extern const wtl_reorder_kernels WTL_NATIVE(reorder);
const wtl_reorder_kernels WTL_NATIVE(reorder) = {to_blocks, to_plain};
