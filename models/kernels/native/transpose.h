/* transpose.h - LANES x LANES floats in registers, rows to columns: between maps in blocks, where
 * the channels of a pixel are neighbours, and planes, where the pixels of a channel are. */
#ifndef WTL_TRANSPOSE_H
#define WTL_TRANSPOSE_H

#include "isa.h"

#if defined WTL_FOR_AVX512
WTL_INLINE void vec_transpose(vec row[LANES])
{
    vec half[LANES];
    _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++)
    {
        half[2 * i] = _mm512_unpacklo_ps(row[2 * i], row[2 * i + 1]);
        half[2 * i + 1] = _mm512_unpackhi_ps(row[2 * i], row[2 * i + 1]);
    }
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)
    {
        _Pragma("GCC unroll 2") for (int j = 0; j < 2; j++)
        {
            __m512d low = _mm512_castps_pd(half[4 * i + j]);
            __m512d high = _mm512_castps_pd(half[4 * i + j + 2]);
            row[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            row[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    }
    /* row[4i + j] has, in its quarter l, column 4l + j of rows 4i .. 4i+3. */
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)
    {
        half[j] = _mm512_shuffle_f32x4(row[j], row[4 + j], 0x88);
        half[4 + j] = _mm512_shuffle_f32x4(row[j], row[4 + j], 0xdd);
        half[8 + j] = _mm512_shuffle_f32x4(row[8 + j], row[12 + j], 0x88);
        half[12 + j] = _mm512_shuffle_f32x4(row[8 + j], row[12 + j], 0xdd);
    }
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)
    {
        row[j] = _mm512_shuffle_f32x4(half[j], half[8 + j], 0x88);
        row[8 + j] = _mm512_shuffle_f32x4(half[j], half[8 + j], 0xdd);
        row[4 + j] = _mm512_shuffle_f32x4(half[4 + j], half[12 + j], 0x88);
        row[12 + j] = _mm512_shuffle_f32x4(half[4 + j], half[12 + j], 0xdd);
    }
}
#elif defined WTL_FOR_AVX2
WTL_INLINE void vec_transpose(vec row[LANES])
{
    vec half[LANES];
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)
    {
        half[2 * i] = _mm256_unpacklo_ps(row[2 * i], row[2 * i + 1]);
        half[2 * i + 1] = _mm256_unpackhi_ps(row[2 * i], row[2 * i + 1]);
    }
    _Pragma("GCC unroll 2") for (int i = 0; i < 2; i++)
    {
        _Pragma("GCC unroll 2") for (int j = 0; j < 2; j++)
        {
            __m256d low = _mm256_castps_pd(half[4 * i + j]);
            __m256d high = _mm256_castps_pd(half[4 * i + j + 2]);
            row[4 * i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
            row[4 * i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
        }
    }
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)
    {
        half[j] = _mm256_permute2f128_ps(row[j], row[4 + j], 0x20);
        half[4 + j] = _mm256_permute2f128_ps(row[j], row[4 + j], 0x31);
    }
    _Pragma("GCC unroll 8") for (int j = 0; j < 8; j++)
    {
        row[j] = half[j];
    }
}
#else
WTL_INLINE void vec_transpose(vec row[LANES])
{
    vec was[LANES];
    memcpy(was, row, sizeof was);
    for (int i = 0; i < LANES; i++) {
        for (int j = 0; j < LANES; j++) {
            row[i][j] = was[j][i];
        }
    }
}
#endif

#endif
