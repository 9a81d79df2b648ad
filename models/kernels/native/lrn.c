/* lrn.c - see lrn.h. The squares of all channels of some pixels lie in lines, so that the sum
 * over a window is a sum of lines shifted by some channels. */
#include "lrn.h"
#include "block.h"

#include <math.h>

/* The same pixel of the next call: the planes are so many streams that the processor does not
 * follow them by itself. */
#define NEXT_READ(at)  __builtin_prefetch((at) + WTL_LRN_PIXELS * WTL_BLOCK)
#define NEXT_WRITE(at) __builtin_prefetch((at) + WTL_LRN_PIXELS * WTL_BLOCK, 1)

/* s^-1/2 */
WTL_INLINE vec inverse_root(vec s)
{
#if defined WTL_FOR_AVX512
    vec r = _mm512_rsqrt14_ps(s);
    return r * vec_fma(vec_all(-0.5f) * s * r, r, vec_all(1.5f)); /* Newton's step */
#elif defined WTL_FOR_AVX2
    vec r = _mm256_rsqrt_ps(s); /* 12 bits */
    vec error = vec_fma(-s * r, r, vec_all(1.0f)), half = vec_all(0.5f);
    return vec_fma(r * error, vec_fma(vec_all(0.375f), error, half), r); /* Halley's step */
#else
    float lanes[LANES];
    vec_store(lanes, s);
    for (int j = 0; j < LANES; j++) {
        lanes[j] = 1.0f / sqrtf(lanes[j]);
    }
    return vec_load(lanes);
#endif
}

static vec general_power(vec s, float beta)
{
    float lanes[LANES];
    vec_store(lanes, s);
    for (int j = 0; j < LANES; j++) {
        lanes[j] = powf(lanes[j], -beta);
    }
    return vec_load(lanes);
}

/* s^-beta, and 1/s unless it is NULL. */
WTL_INLINE vec power(vec s, float beta, bool by_roots, vec *inverse)
{
    if (!by_roots) {
        if (inverse) {
            *inverse = vec_all(1.0f) / s;
        }
        return general_power(s, beta);
    }
    vec root = inverse_root(s);
    if (inverse) {
        *inverse = root * root;
    }
    return root * (root * inverse_root(root)); /* root * its own square root */
}

/* The sum of 2*half + 1 neighbours of LANES channels. */
WTL_INLINE vec window(const float *line, int half)
{
    vec sum = vec_load(line - half);
    for (int j = 1 - half; j <= half; j++) {
        sum += vec_load(line + j);
    }
    return sum;
}

static long margin_of(const wtl_lrn *l)
{
    return (l->half + WTL_BLOCK - 1) / WTL_BLOCK * WTL_BLOCK;
}

static void clear_margins(const wtl_lrn *l, int pixels, float *lines)
{
    size_t line = wtl_lrn_line(l), margin = (size_t)margin_of(l);
    for (int i = 0; i < pixels; i++, lines += line) {
        memset(lines, 0, margin * sizeof *lines);
        memset(lines + line - margin, 0, margin * sizeof *lines);
    }
}

static void square(const wtl_lrn *l, int pixels, const float *x, float *lines)
{
    long line = (long)wtl_lrn_line(l);
    float *first = lines + margin_of(l);
    clear_margins(l, pixels, lines);
    for (int a = 0; a < l->blocks; a++, first += WTL_BLOCK) {
        const float *from = x + a * l->plane;
        for (int i = 0; i < pixels; i++) {
            block value = block_load(from + i * WTL_BLOCK);
            NEXT_READ(from + i * WTL_BLOCK);
            block_store(first + i * line, block_mul(value, value));
        }
    }
}

WTL_INLINE void normalise(const wtl_lrn *l, int pixels, int half, bool by_roots, const float *x,
                          float *y, const float *lines)
{
    const long line = (long)wtl_lrn_line(l), plane = l->plane;
    const float *first = lines + margin_of(l);
    const vec k = vec_all(l->k), coefficient = vec_all(l->coefficient);
    const float beta = l->beta;
    for (int c = 0; c < l->blocks * WTL_BLOCK; c += LANES) {
        long at = c / WTL_BLOCK * plane + c % WTL_BLOCK;
        for (int i = 0; i < pixels; i++, at += WTL_BLOCK) {
            vec s = vec_fma(coefficient, window(first + i * line + c, half), k);
            NEXT_WRITE(y + at);
            vec_store(y + at, vec_load(x + at) * power(s, beta, by_roots, NULL));
        }
    }
}

static void forward(const wtl_lrn *l, int pixels, const float *x, float *y, float *lines)
{
    square(l, pixels, x, lines);
    if (l->beta == 0.75f && l->half == 2) { /* the usual one as straight code */
        normalise(l, pixels, 2, true, x, y, lines);
    } else if (l->beta == 0.75f) {
        normalise(l, pixels, l->half, true, x, y, lines);
    } else {
        normalise(l, pixels, l->half, false, x, y, lines);
    }
}

/* ratios = dy * y / s, dx = dy * s^-beta */
WTL_INLINE void direct(const wtl_lrn *l, int pixels, int half, bool by_roots, const float *x,
                       const float *dy, float *dx, const float *lines, float *ratios)
{
    const long line = (long)wtl_lrn_line(l), margin = margin_of(l), plane = l->plane;
    const vec k = vec_all(l->k), coefficient = vec_all(l->coefficient);
    const float beta = l->beta;
    for (int c = 0; c < l->blocks * WTL_BLOCK; c += LANES) {
        long at = c / WTL_BLOCK * plane + c % WTL_BLOCK, in_line = margin + c;
        for (int i = 0; i < pixels; i++, at += WTL_BLOCK, in_line += line) {
            vec inverse, s = vec_fma(coefficient, window(lines + in_line, half), k);
            vec through = vec_load(dy + at) * power(s, beta, by_roots, &inverse);
            NEXT_READ(dy + at);
            NEXT_WRITE(dx + at);
            vec_store(dx + at, through);
            vec_store(ratios + in_line, through * vec_load(x + at) * inverse);
        }
    }
}

/* dx -= 2 * coefficient * beta * x * sum of the window's ratios */
WTL_INLINE void cross(const wtl_lrn *l, int pixels, int half, const float *x, float *dx,
                      const float *ratios)
{
    const long line = (long)wtl_lrn_line(l), margin = margin_of(l), plane = l->plane;
    const vec factor = vec_all(-2.0f * l->coefficient * l->beta);
    for (int c = 0; c < l->blocks * WTL_BLOCK; c += LANES) {
        long at = c / WTL_BLOCK * plane + c % WTL_BLOCK, in_line = margin + c;
        for (int i = 0; i < pixels; i++, at += WTL_BLOCK, in_line += line) {
            vec scaled = factor * vec_load(x + at);
            vec_store(dx + at,
                      vec_fma(scaled, window(ratios + in_line, half), vec_load(dx + at)));
        }
    }
}

static void backward(const wtl_lrn *l, int pixels, const float *x, const float *dy, float *dx,
                     float *lines)
{
    float *ratios = lines + WTL_LRN_PIXELS * wtl_lrn_line(l);
    square(l, pixels, x, lines);
    clear_margins(l, pixels, ratios);
    if (l->beta == 0.75f && l->half == 2) {
        direct(l, pixels, 2, true, x, dy, dx, lines, ratios);
        cross(l, pixels, 2, x, dx, ratios);
        return;
    }
    if (l->beta == 0.75f) {
        direct(l, pixels, l->half, true, x, dy, dx, lines, ratios);
    } else {
        direct(l, pixels, l->half, false, x, dy, dx, lines, ratios);
    }
    cross(l, pixels, l->half, x, dx, ratios);
}

extern const wtl_lrn_kernels WTL_NATIVE(lrn);
const wtl_lrn_kernels WTL_NATIVE(lrn) = {forward, backward};
