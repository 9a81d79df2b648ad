/* winograd.c - see winograd.h. A transform of a tile is the transform of a row of it applied to
 * its columns and then to its rows.
 *
 * With the points p = 0, a, -a, b, -b and infinity, and N(p) the product of p's distances to the
 * other finite points:
 *
 *   B' row of p   the coefficients of x(x^2-a^2)(x^2-b^2) / (x-p), of infinity those of the whole
 *   G  row of p   [1, p, p^2] / N(p),  infinity [0, 0, 1];   H the same with p^3
 *   A  row of p   [1, p, p^2, p^3],    infinity [0, 0, 0, 1];   A3 the same without p^3
 */
#include "winograd.h"
#include "isa.h"

enum { VALUES = WTL_WINOGRAD_VALUES, TILE = WTL_WINOGRAD_TILE, PATCH = 6 };

#define UNROLL _Pragma("GCC unroll 16")

#define A  0.625f
#define B  1.5f
#define A2 (A * A)
#define B2 (B * B)
/* 1 / N of 0, +-a and +-b */
#define N0 (1.0f / (A2 * B2))
#define NA (0.5f / (A2 * (A2 - B2)))
#define NB (0.5f / (B2 * (B2 - A2)))

/* from[6] to to[6] by B'. */
WTL_INLINE void transform_input(const vec *from, vec *to)
{
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

/* from[6] to to[4] by A'. */
WTL_INLINE void transform_output(const vec *from, vec *to)
{
    vec sum_a = from[1] + from[2], odd_a = from[1] - from[2];
    vec sum_b = from[3] + from[4], odd_b = from[3] - from[4];
    to[0] = from[0] + sum_a + sum_b;
    to[1] = vec_fma(vec_all(A), odd_a, vec_all(B) * odd_b);
    to[2] = vec_fma(vec_all(A2), sum_a, vec_all(B2) * sum_b);
    to[3] = vec_fma(vec_all(A * A2), odd_a, vec_fma(vec_all(B * B2), odd_b, from[5]));
}

/* from[4] to to[6] by H. */
WTL_INLINE void transform_gradient(const vec *from, vec *to)
{
    vec even_a = vec_fma(vec_all(A2 * NA), from[2], vec_all(NA) * from[0]);
    vec odd_a = vec_fma(vec_all(A * A2 * NA), from[3], vec_all(A * NA) * from[1]);
    vec even_b = vec_fma(vec_all(B2 * NB), from[2], vec_all(NB) * from[0]);
    vec odd_b = vec_fma(vec_all(B * B2 * NB), from[3], vec_all(B * NB) * from[1]);
    to[0] = vec_all(N0) * from[0];
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = from[3];
}

/* from[3] to to[6] by G. */
WTL_INLINE void transform_filter(const vec *from, vec *to)
{
    vec even_a = vec_fma(vec_all(A2 * NA), from[2], vec_all(NA) * from[0]);
    vec even_b = vec_fma(vec_all(B2 * NB), from[2], vec_all(NB) * from[0]);
    vec odd_a = vec_all(A * NA) * from[1], odd_b = vec_all(B * NB) * from[1];
    to[0] = vec_all(N0) * from[0];
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = from[2];
}

/* from[6] to to[3] by A3'. */
WTL_INLINE void transform_filter_gradient(const vec *from, vec *to)
{
    vec sum_a = from[1] + from[2], sum_b = from[3] + from[4];
    to[0] = from[0] + sum_a + sum_b;
    to[1] = vec_fma(vec_all(A), from[1] - from[2], vec_all(B) * (from[3] - from[4]));
    to[2] = vec_fma(vec_all(A2), sum_a, vec_fma(vec_all(B2), sum_b, from[5]));
}

typedef void transform(const vec *from, vec *to);

/* [rows,rows] to [made,made]: `one` on columns, then on rows. Values of `from` are `pixel`
 * floats apart in rows `row` apart, those of `to` `step` apart. */
WTL_INLINE void transform_tile(transform *one, int rows, int made, const float *from, long row,
                               long pixel, float *to, long step)
{
    vec half[PATCH][PATCH];
    UNROLL for (int j = 0; j < rows; j++)
    {
        vec column[PATCH], out[PATCH];
        UNROLL for (int i = 0; i < rows; i++)
        {
            column[i] = vec_load(from + i * row + j * pixel);
        }
        one(column, out);
        UNROLL for (int i = 0; i < made; i++)
        {
            half[i][j] = out[i];
        }
    }
    UNROLL for (int i = 0; i < made; i++)
    {
        vec out[PATCH];
        one(half[i], out);
        UNROLL for (int j = 0; j < made; j++, to += step)
        {
            vec_store(to, out[j]);
        }
    }
}

static bool is_inside(const wtl_winograd_place *at, int size)
{
    return at->top >= 0 && at->left >= 0 && at->top + size <= at->h && at->left + size <= at->w;
}

/* The part [begin, end) of a tile's `size` rows or columns from `first` on that lies in a map of
 * `count`. */
static void clip(int first, int size, int count, int *begin, int *end)
{
    *begin = first < 0 ? -first : 0;
    *end = count - first < size ? count - first : size;
}

/* A tile that is not wholly inside, with zeros outside. */
WTL_INLINE void gather(const wtl_winograd_place *at, int size, const float *map, float *tile)
{
    int top, bottom, left, right;
    clip(at->top, size, at->h, &top, &bottom);
    clip(at->left, size, at->w, &left, &right);
    for (int i = 0; i < size; i++) {
        const float *from = map + ((long)(at->top + i) * at->w + at->left) * WTL_BLOCK;
        bool in_map = i >= top && i < bottom;
        for (int j = 0; j < size; j++, from += WTL_BLOCK) {
            for (int lane = 0; lane < WTL_BLOCK; lane += LANES, tile += LANES) {
                bool reads = in_map && j >= left && j < right;
                vec_store(tile, reads ? vec_load(from + lane) : vec_zero());
            }
        }
    }
}

/* A tile of a map: its first value, and the distance of its rows. */
WTL_INLINE const float *tile_of(const wtl_winograd_place *at, int size, const float *map,
                                float *tile, long *row)
{
    if (is_inside(at, size)) {
        *row = (long)at->w * WTL_BLOCK;
        return map + ((long)at->top * at->w + at->left) * WTL_BLOCK;
    }
    gather(at, size, map, tile);
    *row = (long)size * WTL_BLOCK;
    return tile;
}

static void input(const wtl_winograd_place *at, const float *x, float *v, long step)
{
    _Alignas(64) float tile[PATCH * PATCH * WTL_BLOCK];
    long row;
    const float *from = tile_of(at, PATCH, x, tile, &row);
    for (int lane = 0; lane < WTL_BLOCK; lane += LANES) {
        transform_tile(transform_input, PATCH, PATCH, from + lane, row, WTL_BLOCK, v + lane,
                       step);
    }
}

static void gradient(const wtl_winograd_place *at, const float *dy, float *d, long step)
{
    _Alignas(64) float tile[TILE * TILE * WTL_BLOCK];
    long row;
    const float *from = tile_of(at, TILE, dy, tile, &row);
    for (int lane = 0; lane < WTL_BLOCK; lane += LANES) {
        transform_tile(transform_gradient, TILE, PATCH, from + lane, row, WTL_BLOCK, d + lane,
                       step);
    }
}

static void filter(const float *w, float *u, long step)
{
    for (int lane = 0; lane < WTL_BLOCK; lane += LANES) {
        transform_tile(transform_filter, 3, PATCH, w + lane, 3L * WTL_BLOCK, WTL_BLOCK,
                       u + lane, step);
    }
}

static void filter_gradient(const float *m, long step, int copies, long copy_step, float *dw)
{
    _Alignas(64) float sum[VALUES * WTL_BLOCK];
    for (int i = 0; i < VALUES; i++) {
        for (int lane = 0; lane < WTL_BLOCK; lane += LANES) {
            vec value = vec_load(m + i * step + lane);
            for (int copy = 1; copy < copies; copy++) {
                value += vec_load(m + copy * copy_step + i * step + lane);
            }
            vec_store(sum + i * WTL_BLOCK + lane, value);
        }
    }
    for (int lane = 0; lane < WTL_BLOCK; lane += LANES) {
        transform_tile(transform_filter_gradient, PATCH, 3, sum + lane, 6L * WTL_BLOCK,
                       WTL_BLOCK, dw + lane, WTL_BLOCK);
    }
}

/* One value of y; `low` and `high` are the bounds of the activation. */
WTL_INLINE void finish(vec value, const float *add, vec low, vec high, float *y)
{
    if (add) {
        value += vec_load(add);
    }
    vec_store(y, vec_min(high, vec_max(low, value))); /* a NaN stays */
}

static void output(const wtl_winograd_place *at, const float *m, long step, const float *bias,
                   const float *add, wtl_activation activation, float *y)
{
    const vec low = vec_all(activation == WTL_ACTIVATION_NONE ? -__builtin_inff() : 0.0f);
    const vec high = vec_all(activation == WTL_ACTIVATION_RELU6 ? 6.0f : __builtin_inff());
    _Alignas(64) float tile[TILE * TILE * WTL_BLOCK];
    int top, bottom, left, right;
    clip(at->top, TILE, at->h, &top, &bottom);
    clip(at->left, TILE, at->w, &left, &right);
    for (int lane = 0; lane < WTL_BLOCK; lane += LANES) {
        transform_tile(transform_output, PATCH, TILE, m + lane, PATCH * step, step, tile + lane,
                       WTL_BLOCK);
    }
    for (int i = top; i < bottom; i++) {
        for (int j = left; j < right; j++) {
            long offset = ((long)(at->top + i) * at->w + at->left + j) * WTL_BLOCK;
            const float *from = tile + (i * TILE + j) * WTL_BLOCK;
            for (int lane = 0; lane < WTL_BLOCK; lane += LANES) {
                finish(vec_load(from + lane) + vec_load(bias + lane),
                       add ? add + offset + lane : NULL, low, high, y + offset + lane);
            }
        }
    }
}

const wtl_winograd_kernels WTL_NATIVE(winograd) = {
    .input = input,
    .output = output,
    .gradient = gradient,
    .filter = filter,
    .filter_gradient = filter_gradient,
};
