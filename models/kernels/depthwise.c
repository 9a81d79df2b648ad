/* depthwise.c - depthwise convolution by direct sums; sizes as in conv_kernels.h.
 *
 * Each plane of x is first *laid out*: padded and, for strides, dealt out to one sub-plane a
 * phase, all with the same row length `pitch`,
 *
 *   laid[f(r)][f(s)][i][j] = x[i*stride + f(r) - top, j*stride + f(s) - left]
 *   f(r) = r*dilation mod stride,  shift(r) = r*dilation / stride
 *
 * so that a tap is one shift of one sub-plane, whatever the stride: with rows of y, dy and
 * dx laid out with that pitch, too, whole planes are single loops over contiguous memory.
 *
 *   y          = b + sum over r,s of  w[r,s] * (laid[f(r)][f(s)] shifted forth)
 *   dw[r,s]   += dy . (laid[f(r)][f(s)] shifted forth)
 *   dx phase   = sum over the r,s of that phase of  w[r,s] * (dy shifted back)
 *
 * What the columns between rows hold is never used, or multiplied by zeros of dy.
 */
#include "conv_kernels.h"

#include "wattle/memory.h"
#include "wattle/threads.h"

#include <string.h>

enum {
    SLACK = 64, /* zeros behind a buffer: products are summed in blocks */
    LANES = 32  /* of such a block */
};

/* Sizes, all in floats, of one thread's scratch: laid, out and, in training, dy. */
typedef struct layout {
    int shift[2];   /* largest of a tap: rows, columns */
    size_t pitch;   /* row length of every sub-plane */
    size_t columns; /* of a phase of dx */
    size_t rows;    /* of a phase of dx */
    size_t phase;   /* of one sub-plane of laid */
    size_t laid, out, dy;
    size_t front; /* of dy before its first value: zeros */
    size_t total; /* a multiple of a cache line; SIZE_MAX if it cannot be counted */
} layout;

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static layout layout_of(const wtl_conv_geometry *g, bool training)
{
    layout l = {.shift = {(g->r - 1) * g->dilation[0] / g->stride[0],
                          (g->s - 1) * g->dilation[1] / g->stride[1]}};
    size_t widest = (size_t)g->q, highest = (size_t)g->p, phases;
    l.rows = ((size_t)g->h + g->pad[0] + g->stride[0] - 1) / g->stride[0];
    l.columns = ((size_t)g->w + g->pad[2] + g->stride[1] - 1) / g->stride[1];
    if (training) {
        widest = larger(widest, l.columns);
        highest = larger(highest, l.rows);
    }
    /* Lengths are below 2^32 and their products fit; the number of phases may not. */
    l.pitch = widest + l.shift[1];
    l.phase = ((size_t)g->p + l.shift[0]) * l.pitch + SLACK;
    l.front = (size_t)l.shift[0] * l.pitch + l.shift[1];
    l.out = highest * l.pitch;
    l.dy = training ? l.front + highest * l.pitch + SLACK : 0;
    bool fits = wtl_mul((size_t)g->stride[0], (size_t)g->stride[1], &phases) &&
                wtl_mul(l.phase, phases, &l.laid) && wtl_add(l.laid, l.out, &l.total) &&
                wtl_add(l.total, l.dy, &l.total) && wtl_add(l.total, 15, &l.total);
    l.total = fits ? l.total / 16 * 16 : SIZE_MAX;
    return l;
}

size_t wtl_depthwise_scratch(const wtl_conv_geometry *g, int threads, bool training)
{
    layout l = layout_of(g, training);
    size_t floats, bytes;
    bool fits =
        wtl_mul(l.total, (size_t)threads, &floats) && wtl_mul(floats, sizeof(float), &bytes);
    return fits ? bytes : SIZE_MAX;
}

/* ---- laying out ---- */

static bool phase_is_used(int f, int taps, int dilation, int stride)
{
    for (int t = 0; t < taps; t++) {
        if (t * dilation % stride == f) {
            return true;
        }
    }
    return false;
}

/* The columns j in [*begin, *end) for which j*stride + f - left is within 0..w-1. */
static void columns_inside(int w, int left, int stride, int f, size_t *begin, size_t *end)
{
    *begin = left > f ? ((size_t)(left - f) + stride - 1) / stride : 0;
    *end = f - left < w ? (size_t)(w - 1 - (f - left)) / stride + 1 : 0;
    *end = larger(*begin, *end);
}

WTL_HOT static void take_every(const float *from, size_t step, size_t count, float *to)
{
    if (step == 2) { /* a constant, so that it vectorises */
        for (size_t j = 0; j < count; j++) {
            to[j] = from[2 * j];
        }
        return;
    }
    for (size_t j = 0; j < count; j++) {
        to[j] = from[j * step];
    }
}

/* One row of one phase. */
static void lay_row(const wtl_conv_geometry *g, const layout *l, const float *x, int f,
                    float *to)
{
    size_t begin, end;
    columns_inside(g->w, g->pad[2], g->stride[1], f, &begin, &end);
    begin = begin < l->pitch ? begin : l->pitch;
    end = end < l->pitch ? end : l->pitch;
    memset(to, 0, begin * sizeof *to);
    if (end > begin) {
        const float *from = x + (begin * g->stride[1] + f - g->pad[2]);
        if (g->stride[1] == 1) {
            memcpy(to + begin, from, (end - begin) * sizeof *to);
        } else {
            take_every(from, (size_t)g->stride[1], end - begin, to + begin);
        }
    }
    memset(to + end, 0, (l->pitch - end) * sizeof *to);
}

static void lay_phase(const wtl_conv_geometry *g, const layout *l, const float *x, int f_row,
                      int f_column, float *to)
{
    long h = f_row - g->pad[0];
    for (int i = 0; i < g->p + l->shift[0]; i++, h += g->stride[0], to += l->pitch) {
        if (h < 0 || h >= g->h) {
            memset(to, 0, l->pitch * sizeof *to);
        } else {
            lay_row(g, l, x + (size_t)h * g->w, f_column, to);
        }
    }
    memset(to, 0, SLACK * sizeof *to);
}

static void lay_plane(const wtl_conv_geometry *g, const layout *l, const float *x, float *laid)
{
    for (int f = 0; f < g->stride[0] * g->stride[1]; f++) {
        int row = f / g->stride[1], column = f % g->stride[1];
        if (phase_is_used(row, g->r, g->dilation[0], g->stride[0]) &&
            phase_is_used(column, g->s, g->dilation[1], g->stride[1])) {
            lay_phase(g, l, x, row, column, laid + (size_t)f * l->phase);
        }
    }
}

static void lay_dy(const wtl_conv_geometry *g, const layout *l, const float *dy, float *to)
{
    memset(to, 0, l->dy * sizeof *to);
    to += l->front;
    for (int p = 0; p < g->p; p++) {
        memcpy(to + (size_t)p * l->pitch, dy + (size_t)p * g->q, (size_t)g->q * sizeof *to);
    }
}

/* ---- sums of shifted planes ---- */

WTL_HOT static void add_nine(float *restrict out, size_t count, const float *const row[9],
                             const float w[9])
{
    const float *a = row[0], *b = row[1], *c = row[2], *d = row[3], *e = row[4], *f = row[5],
                *g = row[6], *h = row[7], *i = row[8];
    for (size_t j = 0; j < count; j++) {
        float first = w[0] * a[j] + w[1] * b[j] + w[2] * c[j];
        float second = w[3] * d[j] + w[4] * e[j] + w[5] * f[j];
        float third = w[6] * g[j] + w[7] * h[j] + w[8] * i[j];
        out[j] += first + second + third;
    }
}

WTL_HOT static void add_three(float *restrict out, size_t count, const float *const row[3],
                              const float w[3])
{
    const float *a = row[0], *b = row[1], *c = row[2];
    for (size_t j = 0; j < count; j++) {
        out[j] += w[0] * a[j] + w[1] * b[j] + w[2] * c[j];
    }
}

/* out += sum of weight * row over the terms gathered so far. */
typedef struct gathered {
    float *out;
    size_t count;
    int terms;
    const float *row[9];
    float weight[9];
} gathered;

static void put_down(gathered *sum)
{
    for (int t = sum->terms; t % 3 != 0; t++) { /* fill up with nothing */
        sum->row[t] = sum->row[0];
        sum->weight[t] = 0.0f;
    }
    if (sum->terms > 6) {
        add_nine(sum->out, sum->count, sum->row, sum->weight);
    } else {
        for (int t = 0; t < sum->terms; t += 3) {
            add_three(sum->out, sum->count, sum->row + t, sum->weight + t);
        }
    }
    sum->terms = 0;
}

static void add_term(gathered *sum, float weight, const float *row)
{
    if (sum->terms == 9) {
        put_down(sum);
    }
    sum->row[sum->terms] = row;
    sum->weight[sum->terms++] = weight;
}

static void fill(float *out, size_t count, float value)
{
    for (size_t j = 0; j < count; j++) {
        out[j] = value;
    }
}

/* Values from the first to the last of `rows` rows of `columns`. */
static size_t span_of(const layout *l, size_t rows, size_t columns)
{
    return (rows - 1) * l->pitch + columns;
}

static size_t shift_of(const wtl_conv_geometry *g, const layout *l, int r, int s)
{
    return (size_t)r * g->dilation[0] / g->stride[0] * l->pitch +
           (size_t)s * g->dilation[1] / g->stride[1];
}

/* What output (0,0) reads at tap (r,s). */
static const float *tap_of(const wtl_conv_geometry *g, const layout *l, const float *laid,
                           int r, int s)
{
    size_t f_row = (size_t)r * g->dilation[0] % g->stride[0];
    size_t f_column = (size_t)s * g->dilation[1] % g->stride[1];
    return laid + (f_row * g->stride[1] + f_column) * l->phase + shift_of(g, l, r, s);
}

static void forward_plane(const wtl_conv_geometry *g, const layout *l, const float *x,
                          const float *w, float bias, wtl_activation activation, float *y,
                          float *scratch)
{
    float *laid = scratch, *out = laid + l->laid;
    gathered sum = {.out = out, .count = span_of(l, (size_t)g->p, (size_t)g->q)};
    lay_plane(g, l, x, laid);
    fill(out, sum.count, bias);
    for (int tap = 0; tap < g->r * g->s; tap++) {
        add_term(&sum, w[tap], tap_of(g, l, laid, tap / g->s, tap % g->s));
    }
    put_down(&sum);
    for (int p = 0; p < g->p; p++) {
        memcpy(y + (size_t)p * g->q, out + (size_t)p * l->pitch, (size_t)g->q * sizeof *y);
    }
    wtl_activate(y, (size_t)g->p * g->q, activation);
}

/* One phase of dx, laid out; zeros if no tap has that phase. dy is laid out. */
static void data_phase(const wtl_conv_geometry *g, const layout *l, const float *dy,
                       const float *w, int f_row, int f_column, float *out)
{
    gathered sum = {.out = out, .count = span_of(l, l->rows, l->columns)};
    fill(out, sum.count, 0.0f);
    for (int r = 0; r < g->r; r++) {
        for (int s = 0; s < g->s && r * g->dilation[0] % g->stride[0] == f_row; s++) {
            if (s * g->dilation[1] % g->stride[1] == f_column) {
                add_term(&sum, w[r * g->s + s], dy + l->front - shift_of(g, l, r, s));
            }
        }
    }
    put_down(&sum);
}

/* One phase back into dx. */
static void spread_phase(const wtl_conv_geometry *g, const layout *l, const float *out,
                         int f_row, int f_column, float *dx)
{
    size_t begin, end, step = (size_t)g->stride[1];
    columns_inside(g->w, g->pad[2], g->stride[1], f_column, &begin, &end);
    for (long h = f_row - g->pad[0]; h < g->h; h += g->stride[0], out += l->pitch) {
        if (h < 0) {
            continue;
        }
        float *row = dx + (size_t)h * g->w;
        for (size_t j = begin; j < end; j++) {
            row[j * step + f_column - g->pad[2]] = out[j];
        }
    }
}

static void data_plane(const wtl_conv_geometry *g, const layout *l, const float *dy,
                       const float *w, float *dx, float *out)
{
    for (int f = 0; f < g->stride[0] * g->stride[1]; f++) {
        int row = f / g->stride[1], column = f % g->stride[1];
        data_phase(g, l, dy, w, row, column, out);
        spread_phase(g, l, out, row, column, dx);
    }
}

/* dot[t] = a . b[t], in LANES running sums each; readable up to a multiple of LANES, where a
 * has zeros. */
WTL_HOT static void dot_three(const float *restrict a, const float *const b[3], size_t count,
                              float dot[3])
{
    float first[LANES] = {0}, second[LANES] = {0}, third[LANES] = {0};
    const float *c = b[0], *d = b[1], *e = b[2];
    for (size_t i = 0; i < count; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            first[j] += a[i + j] * c[i + j];
        }
        for (int j = 0; j < LANES; j++) {
            second[j] += a[i + j] * d[i + j];
        }
        for (int j = 0; j < LANES; j++) {
            third[j] += a[i + j] * e[i + j];
        }
    }
    for (int j = 1; j < LANES; j++) {
        first[0] += first[j];
        second[0] += second[j];
        third[0] += third[j];
    }
    dot[0] = first[0];
    dot[1] = second[0];
    dot[2] = third[0];
}

/* Both planes laid out; adds to dw [R,S]. */
static void weights_plane(const wtl_conv_geometry *g, const layout *l, const float *laid,
                          const float *dy, float *dw)
{
    int taps = g->r * g->s;
    size_t count = span_of(l, (size_t)g->p, (size_t)g->q);
    for (int tap = 0; tap < taps; tap += 3) {
        const float *shifted[3];
        float dot[3];
        for (int t = 0; t < 3; t++) {
            int which = tap + t < taps ? tap + t : tap;
            shifted[t] = tap_of(g, l, laid, which / g->s, which % g->s);
        }
        dot_three(dy + l->front, shifted, count, dot);
        for (int t = 0; t < 3 && tap + t < taps; t++) {
            dw[tap + t] += dot[t];
        }
    }
}

/* ---- threads ---- */

void wtl_depthwise_forward(const wtl_conv_geometry *g, int n, int threads, const float *x,
                           const float *w, const float *b, wtl_activation activation, float *y,
                           float *scratch)
{
    layout l = layout_of(g, false);
    size_t in = (size_t)g->h * g->w, out = (size_t)g->p * g->q, taps = (size_t)g->r * g->s;
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        long begin, end;
        wtl_share((long)n * g->c, part, threads, &begin, &end);
        for (long i = begin; i < end; i++) {
            size_t c = (size_t)(i % g->c);
            forward_plane(g, &l, x + (size_t)i * in, w + c * taps, b ? b[c] : 0.0f, activation,
                          y + (size_t)i * out, scratch + (size_t)part * l.total);
        }
    }
}

/* One channel's images in order: its sums do not depend on the number of threads. */
static void backward_channel(const wtl_conv_geometry *g, const layout *l, int n, int c,
                             const float *x, const float *w, const float *dy, float *dw,
                             float *db, float *dx, float *scratch)
{
    float *laid = scratch, *sums = laid + l->laid, *laid_dy = sums + l->out;
    size_t in = (size_t)g->h * g->w, out = (size_t)g->p * g->q, taps = (size_t)g->r * g->s;
    for (int i = 0; i < n; i++) {
        size_t plane = (size_t)i * g->c + c;
        lay_plane(g, l, x + plane * in, laid);
        lay_dy(g, l, dy + plane * out, laid_dy);
        weights_plane(g, l, laid, laid_dy, dw + c * taps);
        if (db) {
            db[c] += wtl_row_sum(dy + plane * out, out);
        }
        if (dx) {
            data_plane(g, l, laid_dy, w + c * taps, dx + plane * in, sums);
        }
    }
}

void wtl_depthwise_backward(const wtl_conv_geometry *g, int n, int threads, const float *x,
                            const float *w, const float *dy, float *dw, float *db, float *dx,
                            float *scratch)
{
    layout l = layout_of(g, true);
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        long begin, end;
        wtl_share(g->c, part, threads, &begin, &end);
        for (long c = begin; c < end; c++) {
            backward_channel(g, &l, n, (int)c, x, w, dy, dw, db, dx,
                             scratch + (size_t)part * l.total);
        }
    }
}
