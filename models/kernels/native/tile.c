/* tile.c - see tile.h. One function a width, so that all sums stay in registers. */
#include "tile.h"
#include "isa.h"

enum { BLOCK_VECS = WTL_BLOCK / LANES };

/* The widest tiles whose sums fit the registers, beside the weights and one value of x. */
#if defined WTL_FOR_AVX512
enum { WIDEST_1 = 28, WIDEST_2 = 14 };
#elif defined WTL_FOR_AVX2
enum { WIDEST_1 = 6, WIDEST_2 = 3 };
#else
enum { WIDEST_1 = 3, WIDEST_2 = 1 };
#endif

#define UNROLL _Pragma("GCC unroll 64")

WTL_INLINE vec activated(vec v, wtl_activation activation)
{
    if (activation != WTL_ACTIVATION_NONE) {
        v = vec_max(vec_zero(), v); /* a NaN stays */
    }
    return activation == WTL_ACTIVATION_RELU6 ? vec_min(vec_all(6.0f), v) : v;
}

WTL_INLINE void forward_tile(const wtl_tile *t, int blocks, int width, long step,
                             const float *x, const float *w, const float *bias,
                             const float *add, float *y)
{
    enum { MOST = WTL_TILE_MOST_BLOCKS * BLOCK_VECS };
    const int vecs = blocks * BLOCK_VECS;
    vec sum[WIDEST_1][MOST];
    UNROLL for (int v = 0; v < vecs; v++)
    {
        vec start = bias ? vec_load(bias + v * LANES) : vec_zero();
        UNROLL for (int i = 0; i < width; i++)
        {
            sum[i][v] = start;
        }
    }
    for (int a = 0; a < t->blocks_in; a++) {
        for (int r = 0; r < t->rows; r++) {
            const float *row = x + a * t->block_step + r * t->row_step;
            for (int s = 0; s < t->cols; s++, row += t->col_step) {
                const float *at = row;
                if (r == 0 && s == 0) { /* what the tile after next will read */
                    UNROLL for (int i = 0; i < width; i++)
                    {
                        __builtin_prefetch(at + (i + 2 * width) * step);
                    }
                }
                for (int d = 0; d < t->depth; d++, at++, w += vecs * LANES) {
                    vec weight[MOST];
                    UNROLL for (int v = 0; v < vecs; v++)
                    {
                        weight[v] = vec_load(w + v * LANES);
                    }
                    UNROLL for (int i = 0; i < width; i++)
                    {
                        vec value = vec_all(at[i * step]);
                        UNROLL for (int v = 0; v < vecs; v++)
                        {
                            sum[i][v] = vec_fma(value, weight[v], sum[i][v]);
                        }
                    }
                }
            }
        }
    }
    UNROLL for (int v = 0; v < vecs; v++)
    {
        long offset = v / BLOCK_VECS * t->y_block_step + v % BLOCK_VECS * LANES;
        UNROLL for (int i = 0; i < width; i++)
        {
            vec value = sum[i][v];
            if (add) {
                value += vec_load(add + i * t->y_pixel_step + offset);
            }
            value = activated(value, t->activation);
            if (t->stream) {
                vec_stream(y + i * t->y_pixel_step + offset, value);
            } else {
                vec_store(y + i * t->y_pixel_step + offset, value);
            }
        }
    }
}

typedef void forward_function(const wtl_tile *t, const float *x, const float *w,
                              const float *bias, const float *add, float *y);

#define FORWARD(blocks, width, step, name)                                                     \
    static void forward_##blocks##_##width##_##name(const wtl_tile *t, const float *x,         \
                                                    const float *w, const float *bias,         \
                                                    const float *add, float *y)                \
    {                                                                                          \
        forward_tile(t, blocks, width, step, x, w, bias, add, y);                              \
    }
#define FORWARDS(blocks, width)                                                                \
    FORWARD(blocks, width, 16, next)                                                           \
    FORWARD(blocks, width, 32, second)                                                         \
    FORWARD(blocks, width, t->pixel_step, any)
#define FORWARD_NAMES(blocks, width)                                                           \
    {                                                                                          \
        forward_##blocks##_##width##_next, forward_##blocks##_##width##_second,                \
            forward_##blocks##_##width##_any                                                   \
    }

#define EACH_4(M, b, n) M(b, n##1) SEP M(b, n##2) SEP M(b, n##3) SEP M(b, n##4)
#define EACH_3(M, b)    M(b, 1) SEP M(b, 2) SEP M(b, 3)
#define EACH_6(M, b)    EACH_3(M, b) SEP M(b, 4) SEP M(b, 5) SEP M(b, 6)
#define EACH_14(M, b)                                                                          \
    EACH_6(M, b)                                                                               \
    SEP M(b, 7) SEP M(b, 8) SEP M(b, 9) SEP M(b, 10) SEP EACH_4(M, b, 1)
#define EACH_16(M, b) EACH_14(M, b) SEP M(b, 15) SEP M(b, 16)
#define EACH_28(M, b)                                                                          \
    EACH_16(M, b)                                                                              \
    SEP M(b, 17) SEP M(b, 18) SEP M(b, 19) SEP M(b, 20) SEP EACH_4(M, b, 2) SEP M(b, 25) SEP   \
    M(b, 26) SEP                                                                               \
    M(b, 27) SEP                                                                               \
    M(b, 28)

#if defined WTL_FOR_AVX512
#define WIDTHS_1(M) EACH_28(M, 1)
#define WIDTHS_2(M) EACH_14(M, 2)
#define COUNTS_1(M) EACH_16(M, 1)
#define COUNTS_2(M) EACH_14(M, 2)
#elif defined WTL_FOR_AVX2
#define WIDTHS_1(M) EACH_6(M, 1)
#define WIDTHS_2(M) EACH_3(M, 2)
#define COUNTS_1(M) EACH_6(M, 1)
#define COUNTS_2(M) EACH_3(M, 2)
#else
#define WIDTHS_1(M) EACH_3(M, 1)
#define WIDTHS_2(M) M(2, 1)
#define COUNTS_1(M) EACH_3(M, 1)
#define COUNTS_2(M) M(2, 1)
#endif

#define SEP
WIDTHS_1(FORWARDS)
WIDTHS_2(FORWARDS)
#undef SEP
#define SEP ,
static forward_function *const forward_1[][3] = {WIDTHS_1(FORWARD_NAMES)};
static forward_function *const forward_2[][3] = {WIDTHS_2(FORWARD_NAMES)};
#undef SEP

static void forward(const wtl_tile *t, int blocks, int width, const float *x, const float *w,
                    const float *bias, const float *add, float *y)
{
    int which = t->pixel_step == 16 ? 0 : t->pixel_step == 32 ? 1 : 2;
    (blocks == 1 ? forward_1 : forward_2)[width - 1][which](t, x, w, bias, add, y);
}

static void fence(void)
{
    vec_fence();
}

/* ---- weights ---- */

enum { AHEAD = 16 }; /* pixels: memory is asked for what comes then */

WTL_INLINE void weights_tile(const wtl_outer *t, int blocks, int count, long step,
                             const float *x, const float *dy, float *dw)
{
    enum { MOST = WTL_TILE_MOST_BLOCKS * BLOCK_VECS };
    const int vecs = blocks * BLOCK_VECS;
    vec sum[16][MOST];
    UNROLL for (int d = 0; d < count; d++)
    {
        UNROLL for (int v = 0; v < vecs; v++)
        {
            sum[d][v] = vec_load(dw + (d * vecs + v) * LANES);
        }
    }
    for (int p = 0; p < t->rows; p++) {
        const float *from = x + p * t->x_row, *gradient = dy + p * t->dy_row;
        for (int q = 0; q < t->pixels; q++, from += step, gradient += WTL_BLOCK) {
            vec of_y[MOST];
            __builtin_prefetch(from + AHEAD * step);
            UNROLL for (int b = 0; b < blocks; b++)
            {
                __builtin_prefetch(gradient + b * t->dy_block + AHEAD * WTL_BLOCK);
            }
            UNROLL for (int v = 0; v < vecs; v++)
            {
                of_y[v] =
                    vec_load(gradient + v / BLOCK_VECS * t->dy_block + v % BLOCK_VECS * LANES);
            }
            UNROLL for (int d = 0; d < count; d++)
            {
                vec value = vec_all(from[d]);
                UNROLL for (int v = 0; v < vecs; v++)
                {
                    sum[d][v] = vec_fma(value, of_y[v], sum[d][v]);
                }
            }
        }
    }
    UNROLL for (int d = 0; d < count; d++)
    {
        UNROLL for (int v = 0; v < vecs; v++)
        {
            vec_store(dw + (d * vecs + v) * LANES, sum[d][v]);
        }
    }
}

typedef void weights_function(const wtl_outer *t, const float *x, const float *dy, float *dw);

#define WEIGHT(blocks, count, step, name)                                                      \
    static void weights_##blocks##_##count##_##name(const wtl_outer *t, const float *x,        \
                                                    const float *dy, float *dw)                \
    {                                                                                          \
        weights_tile(t, blocks, count, step, x, dy, dw);                                       \
    }
#define WEIGHTS(blocks, count)                                                                 \
    WEIGHT(blocks, count, 16, next) WEIGHT(blocks, count, t->x_step, any)
#define WEIGHT_NAMES(blocks, count)                                                            \
    {                                                                                          \
        weights_##blocks##_##count##_next, weights_##blocks##_##count##_any                    \
    }

#define SEP
COUNTS_1(WEIGHTS)
COUNTS_2(WEIGHTS)
#undef SEP
#define SEP ,
static weights_function *const weights_1[][2] = {COUNTS_1(WEIGHT_NAMES)};
static weights_function *const weights_2[][2] = {COUNTS_2(WEIGHT_NAMES)};
#undef SEP

/* Channels in equal parts that fit the registers. */
static void weights(const wtl_outer *t, int blocks, int count, const float *x, const float *dy,
                    float *dw)
{
    weights_function *const(*table)[2] = blocks == 1 ? weights_1 : weights_2;
    int most = blocks == 1 ? (int)(sizeof weights_1 / sizeof *weights_1)
                           : (int)(sizeof weights_2 / sizeof *weights_2);
    int parts = (count + most - 1) / most, which = t->x_step == 16 ? 0 : 1;
    for (int part = 0; part < parts; part++) {
        int begin = count * part / parts, end = count * (part + 1) / parts;
        table[end - begin - 1][which](t, x + begin, dy, dw + (long)begin * blocks * WTL_BLOCK);
    }
}

/* Eight running sums, then pairs. */
static void sums(long pixels, const float *dy, float *sum)
{
    lane16 part[8] = {{0}};
    const lane16 *value = (const lane16 *)(const void *)dy;
    long i = 0;
    for (; i + 8 <= pixels; i += 8) {
        UNROLL for (int j = 0; j < 8; j++)
        {
            part[j] += value[i + j];
        }
    }
    for (; i < pixels; i++) {
        part[0] += value[i];
    }
    lane16 all = ((part[0] + part[1]) + (part[2] + part[3])) +
                 ((part[4] + part[5]) + (part[6] + part[7]));
    memcpy(sum, &all, sizeof all);
}

const wtl_tile_kernels WTL_NATIVE(tile) = {
    .widths = {0, WIDEST_1, WIDEST_2},
    .forward = forward,
    .fence = fence,
    .weights = weights,
    .sums = sums,
};
