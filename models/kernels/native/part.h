/* part.h - vectors of which only the first lanes count, for sizes that do not divide, and sums
 * across lanes. Beside isa.h. */
#ifndef WTL_PART_H
#define WTL_PART_H

#include "isa.h"

#include "wattle/net.h"

#define WTL_UNROLL _Pragma("GCC unroll 64")

/* The first `count` lanes from p, 0 in the others; 0 < count < LANES. */
WTL_INLINE vec part_load(const float *p, int count);
WTL_INLINE void part_store(float *p, int count, vec v);

/* The same for a count that may be none or all, or beyond. */
WTL_INLINE vec some_load(const float *p, int count)
{
    return count <= 0 ? vec_zero() : count < LANES ? part_load(p, count) : vec_load(p);
}
WTL_INLINE void some_store(float *p, int count, vec v)
{
    if (count >= LANES) {
        vec_store(p, v);
    } else if (count > 0) {
        part_store(p, count, v);
    }
}

/* Four floats: what a tile of four filters leaves to an image. */
typedef float four __attribute__((vector_size(16)));

/* The sums over the lanes of a, b, c and d, always in the same order. */
WTL_INLINE four four_sums(vec a, vec b, vec c, vec d);
WTL_INLINE four four_max(four a, four b); /* of a NaN and a number: b */
WTL_INLINE four four_min(four a, four b);

WTL_INLINE four four_load(const float *p)
{
    four v;
    memcpy(&v, p, sizeof v);
    return v;
}

WTL_INLINE void four_store(float *p, four v)
{
    memcpy(p, &v, sizeof v);
}

WTL_INLINE four four_activated(four v, wtl_activation activation)
{
    if (activation != WTL_ACTIVATION_NONE) {
        v = four_max((four){0}, v); /* a NaN stays */
    }
    return activation == WTL_ACTIVATION_RELU6 ? four_min((four){6, 6, 6, 6}, v) : v;
}

#if defined WTL_FOR_AVX512
WTL_INLINE vec part_load(const float *p, int count)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
}
WTL_INLINE void part_store(float *p, int count, vec v)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), v);
}
#elif defined WTL_FOR_AVX2
WTL_INLINE __m256i part_mask(int count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
WTL_INLINE vec part_load(const float *p, int count)
{
    return _mm256_maskload_ps(p, part_mask(count));
}
WTL_INLINE void part_store(float *p, int count, vec v)
{
    _mm256_maskstore_ps(p, part_mask(count), v);
}
#else
WTL_INLINE vec part_load(const float *p, int count)
{
    return (vec){p[0], count > 1 ? p[1] : 0.0f, count > 2 ? p[2] : 0.0f, 0.0f};
}
WTL_INLINE void part_store(float *p, int count, vec v)
{
    for (int i = 0; i < count; i++) {
        p[i] = v[i];
    }
}
#endif

#if defined WTL_FOR_AVX512 || defined WTL_FOR_AVX2
/* Within each 128 bits: the sums of a, b, c and d over the four lanes there. */
#define WTL_QUARTERS(w, add, low, high, shuffle)                                               \
    vec ab = add(low(a, b), high(a, b)), cd = add(low(c, d), high(c, d));                      \
    vec w = add(shuffle(ab, cd, 0x44), shuffle(ab, cd, 0xee))

WTL_INLINE four four_max(four a, four b)
{
    return _mm_max_ps(a, b);
}
WTL_INLINE four four_min(four a, four b)
{
    return _mm_min_ps(a, b);
}
#endif

#if defined WTL_FOR_AVX512
WTL_INLINE four four_sums(vec a, vec b, vec c, vec d)
{
    WTL_QUARTERS(all, _mm512_add_ps, _mm512_unpacklo_ps, _mm512_unpackhi_ps, _mm512_shuffle_ps);
    __m256 half = _mm512_castps512_ps256(all) + _mm512_extractf32x8_ps(all, 1);
    return _mm256_castps256_ps128(half) + _mm256_extractf128_ps(half, 1);
}
#elif defined WTL_FOR_AVX2
WTL_INLINE four four_sums(vec a, vec b, vec c, vec d)
{
    WTL_QUARTERS(all, _mm256_add_ps, _mm256_unpacklo_ps, _mm256_unpackhi_ps, _mm256_shuffle_ps);
    return _mm256_castps256_ps128(all) + _mm256_extractf128_ps(all, 1);
}
#else
WTL_INLINE float sum_of_four(four v)
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}
WTL_INLINE four four_sums(vec a, vec b, vec c, vec d)
{
    return (four){sum_of_four(a), sum_of_four(b), sum_of_four(c), sum_of_four(d)};
}
WTL_INLINE four four_max(four a, four b)
{
    return vec_max(a, b);
}
WTL_INLINE four four_min(four a, four b)
{
    return vec_min(a, b);
}
#endif

#endif
