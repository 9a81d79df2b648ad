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

enum { AHEAD = 24 * WTL_BLOCK }; /* floats: memory is asked for what comes then */

/* ---- sweeps: two pixels at a time, so that sums wait less for each other ---- */

static void moments(long pixels, const float *x, double *sum, double *square)
{
    sums all[2] = {no_sums(), no_sums()}, squares[2] = {no_sums(), no_sums()};
    long i = 0;
    for (; i + 2 <= pixels; i += 2, x += 2 * WTL_BLOCK) {
        block a = block_load(x), b = block_load(x + WTL_BLOCK);
        __builtin_prefetch(x + AHEAD);
        __builtin_prefetch(x + AHEAD + WTL_BLOCK);
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

/* Nothing cancels in the sums of gradients, so that short runs may be summed in float. */
enum { RUN = 8 };

/* dy of a pixel behind the activation. */
WTL_INLINE block passed(block x, block dy, block centre, block scale, block shift,
                        wtl_activation activation)
{
    return block_passed(block_fma(block_sub(x, centre), scale, shift), dy, activation);
}

WTL_INLINE void products_by(long pixels, const float *x, const float *dy,
                            const wtl_batchnorm_forward *f, wtl_activation activation,
                            double *sum, double *product)
{
    sums all = no_sums(), with_x = no_sums();
    const block centre = block_load(f->mean), scale = block_load(f->factor);
    const block shift = block_load(f->bias);
    for (long i = 0; i < pixels; i += RUN) {
        block run = block_all(0.0f), run_with_x = block_all(0.0f);
        long end = i + RUN < pixels ? i + RUN : pixels;
        for (long j = i; j < end; j++, x += WTL_BLOCK, dy += WTL_BLOCK) {
            __builtin_prefetch(x + AHEAD);
            __builtin_prefetch(dy + AHEAD);
            block value = block_load(x), gradient = block_load(dy);
            gradient = passed(value, gradient, centre, scale, shift, activation);
            run = block_add(run, gradient);
            run_with_x = block_fma(gradient, block_sub(value, centre), run_with_x);
        }
        add(&all, run);
        add(&with_x, run_with_x);
    }
    store(all, no_sums(), sum);
    store(with_x, no_sums(), product);
}

static void products(long pixels, const float *x, const float *dy,
                     const wtl_batchnorm_forward *f, double *sum, double *product)
{
    switch (f->activation) { /* constants, so that each is one plain loop */
    case WTL_ACTIVATION_RELU:
        products_by(pixels, x, dy, f, WTL_ACTIVATION_RELU, sum, product);
        break;
    case WTL_ACTIVATION_RELU6:
        products_by(pixels, x, dy, f, WTL_ACTIVATION_RELU6, sum, product);
        break;
    default:
        products_by(pixels, x, dy, f, WTL_ACTIVATION_NONE, sum, product);
    }
}

WTL_INLINE void normalise_by(long pixels, const float *x, const float *mean,
                             const float *factor, const float *bias, wtl_activation activation,
                             bool stream, float *y)
{
    const block centre = block_load(mean), scale = block_load(factor), shift = block_load(bias);
    for (long i = 0; i < pixels; i++, x += WTL_BLOCK, y += WTL_BLOCK) {
        __builtin_prefetch(x + AHEAD);
        block value = block_fma(block_sub(block_load(x), centre), scale, shift);
        value = block_activated(value, activation);
        if (stream) {
            block_stream(y, value);
        } else {
            block_store(y, value);
        }
    }
    if (stream) {
        vec_fence();
    }
}

static void normalise(long pixels, const float *x, const float *mean, const float *factor,
                      const float *bias, wtl_activation activation, bool stream, float *y)
{
    switch (activation) { /* constants, so that each is one plain loop */
    case WTL_ACTIVATION_RELU:
        normalise_by(pixels, x, mean, factor, bias, WTL_ACTIVATION_RELU, stream, y);
        break;
    case WTL_ACTIVATION_RELU6:
        normalise_by(pixels, x, mean, factor, bias, WTL_ACTIVATION_RELU6, stream, y);
        break;
    default:
        normalise_by(pixels, x, mean, factor, bias, WTL_ACTIVATION_NONE, stream, y);
    }
}

WTL_INLINE void combine_by(long pixels, const float *x, const float *dy,
                           const wtl_batchnorm_forward *f, wtl_activation activation,
                           const float *dy_mean, const float *slope, const float *scale,
                           bool stream, float *dx)
{
    const block centre = block_load(f->mean), factor = block_load(f->factor);
    const block shift = block_load(f->bias), dy_centre = block_load(dy_mean);
    const block along = block_sub(block_all(0.0f), block_load(slope));
    const block by = block_load(scale);
    for (long i = 0; i < pixels; i++, x += WTL_BLOCK, dy += WTL_BLOCK, dx += WTL_BLOCK) {
        __builtin_prefetch(x + AHEAD);
        __builtin_prefetch(dy + AHEAD);
        block value = block_load(x);
        block rest = passed(value, block_load(dy), centre, factor, shift, activation);
        rest = block_sub(rest, dy_centre);
        rest = block_fma(block_sub(value, centre), along, rest);
        rest = block_mul(by, rest);
        if (stream) {
            block_stream(dx, rest);
        } else {
            block_store(dx, rest);
        }
    }
    if (stream) {
        vec_fence();
    }
}

static void combine(long pixels, const float *x, const float *dy,
                    const wtl_batchnorm_forward *f, const float *dy_mean, const float *slope,
                    const float *scale, bool stream, float *dx)
{
    switch (f->activation) {
    case WTL_ACTIVATION_RELU:
        combine_by(pixels, x, dy, f, WTL_ACTIVATION_RELU, dy_mean, slope, scale, stream, dx);
        break;
    case WTL_ACTIVATION_RELU6:
        combine_by(pixels, x, dy, f, WTL_ACTIVATION_RELU6, dy_mean, slope, scale, stream, dx);
        break;
    default:
        combine_by(pixels, x, dy, f, WTL_ACTIVATION_NONE, dy_mean, slope, scale, stream, dx);
    }
}

extern const wtl_batchnorm_kernels WTL_NATIVE(batchnorm);
const wtl_batchnorm_kernels WTL_NATIVE(batchnorm) = {
    .moments = moments,
    .normalise = normalise,
    .products = products,
    .combine = combine,
};
