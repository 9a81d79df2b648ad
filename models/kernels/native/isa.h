/* isa.h - the vectors that the files of this folder are written in. Each file is compiled once
 * for every instruction set (cmake/WattleBuild.cmake), so what it exports is named by
 * WTL_NATIVE(name): wtl_avx512_name, wtl_avx2_name or wtl_plain_name.
 *
 *   vec    as wide as the registers: for kernels that keep a tile of sums in registers.
 *          LANES floats; vec_load and vec_store need no alignment beyond that of a float.
 *   lane16 16 floats, the channels of a block, whatever the registers: for sweeps over maps in
 *          blocks. GCC's vector extension: + - * / < ?: work on it. Aligned to 64 bytes.
 *
 * Products and sums contract to fused multiply-adds (-ffp-contract=fast).
 */
#ifndef WTL_ISA_H
#define WTL_ISA_H

#include <string.h>

#if defined WTL_FOR_AVX512
#include <immintrin.h>
#define WTL_NATIVE(name) wtl_avx512_##name
typedef __m512 vec;
enum { LANES = 16 };
#elif defined WTL_FOR_AVX2
#include <immintrin.h>
#define WTL_NATIVE(name) wtl_avx2_##name
typedef __m256 vec;
enum { LANES = 8 };
#else
#define WTL_NATIVE(name) wtl_plain_##name
typedef float vec __attribute__((vector_size(16)));
typedef int lane4i __attribute__((vector_size(16)));
enum { LANES = 4 };
#endif

enum { WTL_BLOCK = 16 }; /* channels of a block */

typedef float lane16 __attribute__((vector_size(64)));
typedef int lane16i __attribute__((vector_size(64)));

#define WTL_INLINE static inline __attribute__((always_inline))

#if defined WTL_FOR_AVX512
WTL_INLINE vec vec_zero(void)
{
    return _mm512_setzero_ps();
}
WTL_INLINE vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
WTL_INLINE void vec_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}
/* Past the caches; p is aligned to a vector. Then vec_fence() before others look. */
WTL_INLINE void vec_stream(float *p, vec v)
{
    _mm512_stream_ps(p, v);
}
WTL_INLINE void vec_fence(void)
{
    _mm_sfence();
}
WTL_INLINE vec vec_all(float f)
{
    return _mm512_set1_ps(f);
}
WTL_INLINE vec vec_fma(vec a, vec b, vec c) /* a * b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}
WTL_INLINE vec vec_max(vec a, vec b) /* of a NaN and a number: b */
{
    return _mm512_max_ps(a, b);
}
WTL_INLINE vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}
WTL_INLINE vec vec_where_less(vec a, vec b, vec value) /* value where a < b, else 0 */
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), value);
}
#elif defined WTL_FOR_AVX2
WTL_INLINE vec vec_zero(void)
{
    return _mm256_setzero_ps();
}
WTL_INLINE vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
WTL_INLINE void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}
WTL_INLINE void vec_stream(float *p, vec v)
{
    _mm256_stream_ps(p, v);
}
WTL_INLINE void vec_fence(void)
{
    _mm_sfence();
}
WTL_INLINE vec vec_all(float f)
{
    return _mm256_set1_ps(f);
}
WTL_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}
WTL_INLINE vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}
WTL_INLINE vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}
WTL_INLINE vec vec_where_less(vec a, vec b, vec value)
{
    return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), value);
}
#else
WTL_INLINE vec vec_zero(void)
{
    return (vec){0};
}
WTL_INLINE vec vec_load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
WTL_INLINE void vec_store(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}
WTL_INLINE void vec_stream(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}
WTL_INLINE void vec_fence(void)
{
}
WTL_INLINE vec vec_all(float f)
{
    return (vec){f, f, f, f};
}
WTL_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return a * b + c;
}
WTL_INLINE vec vec_max(vec a, vec b)
{
    return (vec)(((lane4i)(a > b) & (lane4i)a) | (~(lane4i)(a > b) & (lane4i)b));
}
WTL_INLINE vec vec_min(vec a, vec b)
{
    return (vec)(((lane4i)(a < b) & (lane4i)a) | (~(lane4i)(a < b) & (lane4i)b));
}
WTL_INLINE vec vec_where_less(vec a, vec b, vec value)
{
    return (vec)((lane4i)(a < b) & (lane4i)value);
}
#endif

#endif
