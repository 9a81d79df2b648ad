/* batchnorm.c - see batchnorm.h. Sums are double: x^2 - mean^2 cancels in float. */
#include "batchnorm.h"
#include "block.h"

/* ---- half a vec in doubles ---- */

#if defined WTL_FOR_AVX512
typedef __m512d wide;
WTL_INLINE wide wide_low(vec v)
{
    return _mm512_cvtps_pd(_mm512_castps512_ps256(v));
}
WTL_INLINE wide wide_high(vec v)
{
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
}
#elif defined WTL_FOR_AVX2
typedef __m256d wide;
WTL_INLINE wide wide_low(vec v)
{
    return _mm256_cvtps_pd(_mm256_castps256_ps128(v));
}
WTL_INLINE wide wide_high(vec v)
{
    return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
}
#else
typedef double wide __attribute__((vector_size(16)));
WTL_INLINE wide wide_low(vec v)
{
    return (wide){v[0], v[1]};
}
WTL_INLINE wide wide_high(vec v)
{
    return (wide){v[2], v[3]};
}
#endif

typedef struct sums {
    wide of[2 * BLOCK_VECS];
} sums;

WTL_INLINE sums no_sums(void)
{
    sums s;
    UNROLL for (int i = 0; i < 2 * BLOCK_VECS; i++)
    {
        s.of[i] = wide_low(vec_zero());
    }
    return s;
}

WTL_INLINE void add(sums *s, block b)
{
    EACH_VEC
    {
        s->of[2 * v_] += wide_low(b.of[v_]);
        s->of[2 * v_ + 1] += wide_high(b.of[v_]);
    }
}

WTL_INLINE void add_square(sums *s, block b)
{
    EACH_VEC
    {
        wide low = wide_low(b.of[v_]), high = wide_high(b.of[v_]);
        s->of[2 * v_] += low * low;
        s->of[2 * v_ + 1] += high * high;
    }
}

WTL_INLINE void store(sums s, sums more, double *to)
{
    UNROLL for (int i = 0; i < 2 * BLOCK_VECS; i++)
    {
        s.of[i] += more.of[i];
    }
    memcpy(to, &s, sizeof s);
}

/* ---- sweeps: two pixels at a time, so that sums wait less for each other ---- */

static void moments(long pixels, const float *x, double *sum, double *square)
{
    sums all[2] = {no_sums(), no_sums()}, squares[2] = {no_sums(), no_sums()};
    long i = 0;
    for (; i + 2 <= pixels; i += 2, x += 2 * WTL_BLOCK) {
        block a = block_load(x), b = block_load(x + WTL_BLOCK);
        add(&all[0], a);
        add_square(&squares[0], a);
        add(&all[1], b);
        add_square(&squares[1], b);
    }
    if (i < pixels) {
        add(&all[0], block_load(x));
        add_square(&squares[0], block_load(x));
    }
    store(all[0], all[1], sum);
    store(squares[0], squares[1], square);
}

static void products(long pixels, const float *x, const float *dy, const float *mean,
                     double *sum, double *product)
{
    sums all[2] = {no_sums(), no_sums()}, with_x[2] = {no_sums(), no_sums()};
    const block centre = block_load(mean);
    long i = 0;
    for (; i + 2 <= pixels; i += 2, x += 2 * WTL_BLOCK, dy += 2 * WTL_BLOCK) {
        block a = block_load(dy), b = block_load(dy + WTL_BLOCK);
        add(&all[0], a);
        add(&with_x[0], block_mul(a, block_sub(block_load(x), centre)));
        add(&all[1], b);
        add(&with_x[1], block_mul(b, block_sub(block_load(x + WTL_BLOCK), centre)));
    }
    if (i < pixels) {
        add(&all[0], block_load(dy));
        add(&with_x[0], block_mul(block_load(dy), block_sub(block_load(x), centre)));
    }
    store(all[0], all[1], sum);
    store(with_x[0], with_x[1], product);
}

WTL_INLINE void normalise_by(long pixels, const float *x, const float *mean,
                             const float *factor, const float *bias, wtl_activation activation,
                             float *y)
{
    const block centre = block_load(mean), scale = block_load(factor), shift = block_load(bias);
    for (long i = 0; i < pixels; i++, x += WTL_BLOCK, y += WTL_BLOCK) {
        block value = block_fma(block_sub(block_load(x), centre), scale, shift);
        block_store(y, block_activated(value, activation));
    }
}

static void normalise(long pixels, const float *x, const float *mean, const float *factor,
                      const float *bias, wtl_activation activation, float *y)
{
    switch (activation) { /* constants, so that each is one plain loop */
    case WTL_ACTIVATION_RELU:
        normalise_by(pixels, x, mean, factor, bias, WTL_ACTIVATION_RELU, y);
        break;
    case WTL_ACTIVATION_RELU6:
        normalise_by(pixels, x, mean, factor, bias, WTL_ACTIVATION_RELU6, y);
        break;
    default:
        normalise_by(pixels, x, mean, factor, bias, WTL_ACTIVATION_NONE, y);
    }
}

static void combine(long pixels, const float *x, const float *dy, const float *mean,
                    const float *dy_mean, const float *slope, const float *factor, float *dx)
{
    const block centre = block_load(mean), dy_centre = block_load(dy_mean);
    const block along = block_sub(block_all(0.0f), block_load(slope));
    const block scale = block_load(factor);
    for (long i = 0; i < pixels; i++, x += WTL_BLOCK, dy += WTL_BLOCK, dx += WTL_BLOCK) {
        block rest = block_sub(block_load(dy), dy_centre);
        rest = block_fma(block_sub(block_load(x), centre), along, rest);
        block_store(dx, block_mul(scale, rest));
    }
}

extern const wtl_batchnorm_kernels WTL_NATIVE(batchnorm);
const wtl_batchnorm_kernels WTL_NATIVE(batchnorm) = {
    .moments = moments,
    .normalise = normalise,
    .products = products,
    .combine = combine,
};
