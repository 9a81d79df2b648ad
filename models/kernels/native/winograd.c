/* winograd.c - see winograd.h. A transform of a tile is the transform of a row of it applied to
 * its columns and then to its rows.
 *
 * With the points p = 0, a, -a, b, -b and infinity, and N(p) the product of p's distances to the
 * other finite points:
 *
 *   B' row of p   the coefficients of x(x^2-a^2)(x^2-b^2) / (x-p), of infinity those of the whole
 *   Gn row of p   [1, p, ..., p^(n-1)] / N(p),   infinity [0, ..., 0, 1]
 *   An row of p   [1, p, ..., p^(n-1)],          infinity [0, ..., 0, 1]
 *
 * Opposite points share what is even in p and what is odd.
 */
#include "winograd.h"
#include "isa.h"

enum { VALUES = WTL_WINOGRAD_VALUES, PATCH = 6, MOST_TILE = 4 };

#define UNROLL _Pragma("GCC unroll 16")

#define A  0.625f /* the points */
#define B  1.5f
#define A2 (A * A)
#define B2 (B * B)
/* 1 / N of 0, +-a and +-b */
#define N0 (1.0f / (A2 * B2))
#define NA (0.5f / (A2 * (A2 - B2)))
#define NB (0.5f / (B2 * (B2 - A2)))

/* from[6] to to[6] by B'. */
WTL_INLINE void interpolate(int n, const vec *from, vec *to)
{
    (void)n;
    const vec a = vec_all(A), b = vec_all(B), minus_a2 = vec_all(-A2), minus_b2 = vec_all(-B2);
    const vec sum = vec_all(-A2 - B2), product = vec_all(A2 * B2);
    vec even_a = vec_fma(minus_b2, from[2], from[4]),
        odd_a = vec_fma(minus_b2, from[1], from[3]);
    vec even_b = vec_fma(minus_a2, from[2], from[4]),
        odd_b = vec_fma(minus_a2, from[1], from[3]);
    to[0] = vec_fma(product, from[0], vec_fma(sum, from[2], from[4]));
    to[1] = vec_fma(a, odd_a, even_a);
    to[2] = even_a - a * odd_a;
    to[3] = vec_fma(b, odd_b, even_b);
    to[4] = even_b - b * odd_b;
    to[5] = vec_fma(product, from[1], vec_fma(sum, from[3], from[5]));
}

/* from[n] to to[6] by G. */
WTL_INLINE void expand(int n, const vec *from, vec *to)
{
    vec even_a = vec_all(NA) * from[0], odd_a = vec_all(NA * A) * from[1];
    vec even_b = vec_all(NB) * from[0], odd_b = vec_all(NB * B) * from[1];
    if (n > 2) {
        even_a = vec_fma(vec_all(NA * A2), from[2], even_a);
        even_b = vec_fma(vec_all(NB * B2), from[2], even_b);
    }
    if (n > 3) {
        odd_a = vec_fma(vec_all(NA * A * A2), from[3], odd_a);
        odd_b = vec_fma(vec_all(NB * B * B2), from[3], odd_b);
    }
    if (n > 4) {
        even_a = vec_fma(vec_all(NA * A2 * A2), from[4], even_a);
        even_b = vec_fma(vec_all(NB * B2 * B2), from[4], even_b);
    }
    to[0] = vec_all(N0) * from[0];
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = from[n - 1];
}

/* from[6] to to[n] by A'. */
WTL_INLINE void reduce(int n, const vec *from, vec *to)
{
    vec even_a = from[1] + from[2], odd_a = from[1] - from[2];
    vec even_b = from[3] + from[4], odd_b = from[3] - from[4];
    to[0] = from[0] + even_a + even_b;
    to[1] = vec_fma(vec_all(A), odd_a, vec_all(B) * odd_b);
    if (n > 2) {
        to[2] = vec_fma(vec_all(A2), even_a, vec_all(B2) * even_b);
    }
    if (n > 3) {
        to[3] = vec_fma(vec_all(A * A2), odd_a, vec_all(B * B2) * odd_b);
    }
    if (n > 4) {
        to[4] = vec_fma(vec_all(A2 * A2), even_a, vec_all(B2 * B2) * even_b);
    }
    to[n - 1] += from[5];
}

/* Between rows of n and of 6 values. */
typedef void transform(int n, const vec *from, vec *to);

/* What a transform reads: values `pixel` floats apart in rows of their own, which start at column
 * `begin`; columns before that and from `end` on are 0. */
typedef struct source {
    const float *row[PATCH];
    long pixel;
    int begin, end;
} source;

/* [rows,rows] to [made,made], `step` apart: `one` on columns, then on rows. */
WTL_INLINE void transform_tile(transform *one, int rows, int made, const source *from, int lane,
                               float *to, long step)
{
    const int n = rows < made ? rows : made;
    vec half[PATCH][PATCH];
    UNROLL for (int j = 0; j < rows; j++)
    {
        vec column[PATCH], out[PATCH] = {vec_zero(), vec_zero(), vec_zero(),
                                         vec_zero(), vec_zero(), vec_zero()};
        if (j >= from->begin && j < from->end) {
            UNROLL for (int i = 0; i < rows; i++)
            {
                column[i] = vec_load(from->row[i] + (j - from->begin) * from->pixel + lane);
            }
            one(n, column, out);
        }
        UNROLL for (int i = 0; i < made; i++)
        {
            half[i][j] = out[i];
        }
    }
    to += lane;
    UNROLL for (int i = 0; i < made; i++)
    {
        vec out[PATCH];
        one(n, half[i], out);
        UNROLL for (int j = 0; j < made; j++, to += step)
        {
            vec_store(to, out[j]);
        }
    }
}

/* All 16 lanes of `rows` rows that are `row` floats apart. */
WTL_INLINE void transform_block(transform *one, int rows, int made, const float *from, long row,
                                long pixel, float *to, long step)
{
    source all = {.pixel = pixel, .begin = 0, .end = rows};
    for (int i = 0; i < rows; i++) {
        all.row[i] = from + i * row;
    }
    for (int lane = 0; lane < WTL_BLOCK; lane += LANES) {
        transform_tile(one, rows, made, &all, lane, to, step);
    }
}

/* The part [begin, end) of a tile's `size` rows or columns from `first` on that lies in a map of
 * `count`. */
WTL_INLINE void clip(int first, int size, int count, int *begin, int *end)
{
    *begin = first < 0 ? -first : 0;
    *end = count - first < size ? count - first : size;
}

/* The tile of a map, with zeros outside. */
WTL_INLINE void transform_place(transform *one, int rows, const wtl_winograd_place *at,
                                const float *map, float *to, long step)
{
    static const float zeros[PATCH * WTL_BLOCK];
    source tile = {.pixel = WTL_BLOCK};
    clip(at->left, rows, at->w, &tile.begin, &tile.end);
    long first = at->left + tile.begin;
    for (int i = 0; i < rows; i++) {
        int h = at->top + i;
        bool inside = h >= 0 && h < at->h;
        tile.row[i] = inside ? map + ((long)h * at->w + first) * WTL_BLOCK : zeros;
    }
    for (int lane = 0; lane < WTL_BLOCK; lane += LANES) {
        transform_tile(one, rows, PATCH, &tile, lane, to, step);
    }
}

static void input(const wtl_winograd_place *at, const float *x, float *v, long step)
{
    transform_place(interpolate, PATCH, at, x, v, step);
}

WTL_INLINE void filter_gradient(int size, const float *v, long step, int copies, long copy_step,
                                float *dw)
{
    _Alignas(64) float sum[VALUES * WTL_BLOCK];
    for (int i = 0; i < VALUES; i++) {
        for (int lane = 0; lane < WTL_BLOCK; lane += LANES) {
            vec value = vec_load(v + i * step + lane);
            for (int copy = 1; copy < copies; copy++) {
                value += vec_load(v + copy * copy_step + i * step + lane);
            }
            vec_store(sum + i * WTL_BLOCK + lane, value);
        }
    }
    transform_block(reduce, PATCH, size, sum, (long)PATCH * WTL_BLOCK, WTL_BLOCK, dw,
                    WTL_BLOCK);
}

/* One value of y; `low` and `high` are the bounds of the activation. */
WTL_INLINE void finish(vec value, const float *add, vec low, vec high, float *y)
{
    if (add) {
        value += vec_load(add);
    }
    vec_store(y, vec_min(high, vec_max(low, value))); /* a NaN stays */
}

WTL_INLINE void output(int size, const wtl_winograd_place *at, const float *v, long step,
                       const float *bias, const float *add, wtl_activation activation, float *y)
{
    const vec low = vec_all(activation == WTL_ACTIVATION_NONE ? -__builtin_inff() : 0.0f);
    const vec high = vec_all(activation == WTL_ACTIVATION_RELU6 ? 6.0f : __builtin_inff());
    _Alignas(64) float tile[MOST_TILE * MOST_TILE * WTL_BLOCK];
    int top, bottom, left, right;
    clip(at->top, size, at->h, &top, &bottom);
    clip(at->left, size, at->w, &left, &right);
    transform_block(reduce, PATCH, size, v, PATCH * step, step, tile, WTL_BLOCK);
    for (int i = top; i < bottom; i++) {
        for (int j = left; j < right; j++) {
            long offset = ((long)(at->top + i) * at->w + at->left + j) * WTL_BLOCK;
            const float *from = tile + (i * size + j) * WTL_BLOCK;
            for (int lane = 0; lane < WTL_BLOCK; lane += LANES) {
                finish(vec_load(from + lane) + vec_load(bias + lane),
                       add ? add + offset + lane : NULL, low, high, y + offset + lane);
            }
        }
    }
}

#define SIZE(m, r)                                                                             \
    static void output_##m(const wtl_winograd_place *at, const float *v, long step,            \
                           const float *bias, const float *add, wtl_activation activation,     \
                           float *y)                                                           \
    {                                                                                          \
        output(m, at, v, step, bias, add, activation, y);                                      \
    }                                                                                          \
    static void gradient_##m(const wtl_winograd_place *at, const float *dy, float *v,          \
                             long step)                                                        \
    {                                                                                          \
        transform_place(expand, m, at, dy, v, step);                                           \
    }                                                                                          \
    static void filter_##r(const float *w, float *v, long step)                                \
    {                                                                                          \
        transform_block(expand, r, PATCH, w, (long)(r)*WTL_BLOCK, WTL_BLOCK, v, step);         \
    }                                                                                          \
    static void filter_gradient_##r(const float *v, long step, int copies, long copy_step,     \
                                    float *dw)                                                 \
    {                                                                                          \
        filter_gradient(r, v, step, copies, copy_step, dw);                                    \
    }
#define SIZE_OF(m, r)                                                                          \
    {                                                                                          \
        m, r, output_##m, gradient_##m, filter_##r, filter_gradient_##r                        \
    }

SIZE(4, 3)
SIZE(2, 5)

const wtl_winograd_kernels WTL_NATIVE(winograd) = {
    .input = input,
    .size = {SIZE_OF(4, 3), SIZE_OF(2, 5)},
};
