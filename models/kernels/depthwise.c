/* depthwise.c - depthwise convolution by direct sums of rows; sizes as in conv_kernels.h.
 *
 * Each plane is first *laid out* with its padding, the columns of one stride phase side by
 * side: column j*stride + f of a padded row is laid[f][j]. Then, whatever the stride, one
 * output row is a weighted sum of rows that are contiguous in memory,
 *
 *   y[p][q]  = b + sum over r,s of  w[r,s] * laid[p*stride + r*dilation][f(s)][q + shift(s)]
 *   f(s) = s*dilation mod stride,  shift(s) = s*dilation / stride
 *
 * and so is one phase of a row of dx, over rows of dy with zeros around them.
 */
#include "conv_kernels.h"

#include "wattle/memory.h"
#include "wattle/threads.h"

#include <string.h>

enum {
    BLOCK = 32,     /* columns summed in registers */
    MOST_TERMS = 64 /* rows summed before they are put down */
};

/* Where things are in one thread's scratch. */
typedef struct layout {
    int rows, stride; /* of laid: as many as the filter reaches; phases of a row */
    size_t pitch;     /* of one phase */
    size_t laid;      /* floats: rows * stride * pitch, and a block of zeros */
    size_t front;     /* zeros before a row of dy */
    size_t dy_pitch;  /* front, Q, and zeros up to the last column of dx plus a block */
    size_t dy;        /* floats */
    size_t dx_pitch;  /* of one phase of a row of dx */
    size_t total;     /* floats of one thread, a multiple of a cache line */
} layout;

/* Two-dimensional sizes saturate; the rest are lengths of rows, below 2^32. */
static layout layout_of(const wtl_conv_geometry *g, bool training)
{
    layout l = {.stride = g->stride[1]};
    size_t most_shift = (size_t)(g->s - 1) * g->dilation[1] / g->stride[1];
    l.rows = (g->p - 1) * g->stride[0] + (g->r - 1) * g->dilation[0] + 1;
    l.pitch = (size_t)g->q + most_shift + 1;
    size_t columns = ((size_t)g->w + g->pad[2] + g->stride[1] - 1) / g->stride[1];
    bool fits =
        wtl_mul((size_t)l.rows * l.stride, l.pitch, &l.laid) && wtl_add(l.laid, BLOCK, &l.laid);
    l.total = l.laid;
    if (training) {
        l.front = most_shift;
        l.dy_pitch = most_shift + (columns > (size_t)g->q ? columns : (size_t)g->q) + BLOCK;
        l.dx_pitch = columns;
        fits = fits && wtl_mul(l.dy_pitch, (size_t)g->p, &l.dy) &&
               wtl_add(l.total, l.dy, &l.total) &&
               wtl_add(l.total, l.dx_pitch * l.stride, &l.total);
    }
    l.total = fits && l.total < SIZE_MAX - 15 ? (l.total + 15) / 16 * 16 : SIZE_MAX;
    return l;
}

size_t wtl_depthwise_scratch(const wtl_conv_geometry *g, int threads, bool training)
{
    layout l = layout_of(g, training);
    size_t floats, bytes;
    if (!wtl_mul(l.total, (size_t)threads, &floats) ||
        !wtl_mul(floats, sizeof(float), &bytes)) {
        return SIZE_MAX;
    }
    return bytes;
}

/* ---- laying out ---- */

static void lay_row(const float *x, int w, int left, int stride, size_t pitch, float *to)
{
    for (int f = 0; f < stride; f++, to += pitch) {
        /* laid[f][j] = x[j*stride + f - left] */
        size_t begin = left > f ? ((size_t)(left - f) + stride - 1) / stride : 0;
        size_t end = f - left < w ? (size_t)(w - 1 - (f - left)) / stride + 1 : 0;
        begin = begin < pitch ? begin : pitch;
        end = end < pitch ? end : pitch;
        memset(to, 0, begin * sizeof *to);
        if (stride == 1 && end > begin) {
            memcpy(to + begin, x + begin - left, (end - begin) * sizeof *to);
        }
        for (size_t j = begin; stride != 1 && j < end; j++) {
            to[j] = x[j * stride + f - left];
        }
        end = end > begin ? end : begin;
        memset(to + end, 0, (pitch - end) * sizeof *to);
    }
}

static void lay_plane(const wtl_conv_geometry *g, const layout *l, const float *x, float *laid)
{
    size_t row_floats = (size_t)l->stride * l->pitch;
    for (int i = 0; i < l->rows; i++) {
        int h = i - g->pad[0];
        float *to = laid + (size_t)i * row_floats;
        if (h < 0 || h >= g->h) {
            memset(to, 0, row_floats * sizeof *to);
        } else {
            lay_row(x + (size_t)h * g->w, g->w, g->pad[2], l->stride, l->pitch, to);
        }
    }
    memset(laid + (size_t)l->rows * row_floats, 0, BLOCK * sizeof *laid);
}

static void lay_dy(const wtl_conv_geometry *g, const layout *l, const float *dy, float *to)
{
    memset(to, 0, l->dy * sizeof *to);
    for (int p = 0; p < g->p; p++) {
        memcpy(to + (size_t)p * l->dy_pitch + l->front, dy + (size_t)p * g->q,
               (size_t)g->q * sizeof *to);
    }
}

/* ---- weighted sums of rows ---- */

typedef struct row_sum {
    float *out;
    size_t count;  /* of out; the rows can be read up to a block further */
    bool started;  /* out has a sum already */
    float initial; /* what it starts from if not */
    int terms;
    const float *row[MOST_TERMS];
    float weight[MOST_TERMS];
} row_sum;

WTL_HOT static void add_up(const row_sum *sum)
{
    for (size_t at = 0; at < sum->count; at += BLOCK) {
        size_t width = sum->count - at < BLOCK ? sum->count - at : BLOCK;
        float block[BLOCK];
        for (int j = 0; j < BLOCK; j++) {
            block[j] = sum->initial;
        }
        for (size_t j = 0; sum->started && j < width; j++) {
            block[j] = sum->out[at + j];
        }
        for (int t = 0; t < sum->terms; t++) {
            const float *row = sum->row[t] + at;
            float weight = sum->weight[t];
            for (int j = 0; j < BLOCK; j++) {
                block[j] += weight * row[j];
            }
        }
        memcpy(sum->out + at, block, width * sizeof *block);
    }
}

static void put_down(row_sum *sum)
{
    if (sum->terms > 0 || !sum->started) {
        add_up(sum);
    }
    sum->started = true;
    sum->terms = 0;
}

static void add_term(row_sum *sum, float weight, const float *row)
{
    if (sum->terms == MOST_TERMS) {
        put_down(sum);
    }
    sum->row[sum->terms] = row;
    sum->weight[sum->terms++] = weight;
}

/* Start of the laid row that tap (r,s) reads for output row p. */
static const float *tap_row(const wtl_conv_geometry *g, const layout *l, const float *laid,
                            int p, int r, int s)
{
    size_t row = (size_t)p * g->stride[0] + (size_t)r * g->dilation[0];
    size_t reach = (size_t)s * g->dilation[1];
    size_t phase = reach % l->stride, shift = reach / l->stride;
    return laid + (row * l->stride + phase) * l->pitch + shift;
}

static void forward_plane(const wtl_conv_geometry *g, const layout *l, const float *x,
                          const float *w, float bias, wtl_activation activation, float *y,
                          float *laid)
{
    lay_plane(g, l, x, laid);
    for (int p = 0; p < g->p; p++) {
        row_sum sum = {.out = y + (size_t)p * g->q, .count = (size_t)g->q, .initial = bias};
        for (int tap = 0; tap < g->r * g->s; tap++) {
            add_term(&sum, w[tap], tap_row(g, l, laid, p, tap / g->s, tap % g->s));
        }
        put_down(&sum);
    }
    wtl_activate(y, (size_t)g->p * g->q, activation);
}

/* Phase f of row h of dx from column `begin` of the phase: the taps of that phase, over the
 * rows of dy that reach h. */
static void data_phase(const wtl_conv_geometry *g, const layout *l, const float *dy,
                       const float *w, int h, int f, size_t begin, size_t count, float *out)
{
    row_sum sum = {.out = out, .count = count};
    for (int r = 0; r < g->r; r++) {
        long from = (long)h + g->pad[0] - (long)r * g->dilation[0];
        long p = from / g->stride[0];
        if (from < 0 || from % g->stride[0] != 0 || p >= g->p) {
            continue;
        }
        for (int s = 0; s < g->s; s++) {
            size_t reach = (size_t)s * g->dilation[1];
            if (reach % l->stride == (size_t)f) {
                add_term(&sum, w[r * g->s + s],
                         dy + (size_t)p * l->dy_pitch + l->front + begin - reach / l->stride);
            }
        }
    }
    put_down(&sum);
}

/* dy laid out; row: dx_pitch * stride floats of scratch. */
static void data_plane(const wtl_conv_geometry *g, const layout *l, const float *dy,
                       const float *w, float *dx, float *row)
{
    size_t left = (size_t)g->pad[2];
    for (int h = 0; h < g->h; h++, dx += g->w) {
        if (l->stride == 1) {
            data_phase(g, l, dy, w, h, 0, left, (size_t)g->w, dx);
            continue;
        }
        for (int f = 0; f < l->stride; f++) {
            data_phase(g, l, dy, w, h, f, 0, l->dx_pitch, row + (size_t)f * l->dx_pitch);
        }
        for (size_t v = 0; v < (size_t)g->w; v++) {
            dx[v] = row[(v + left) % l->stride * l->dx_pitch + (v + left) / l->stride];
        }
    }
}

/* ---- weights ---- */

/* Sum of a row of products; both rows can be read up to a multiple of 16, where a has
 * zeros. */
WTL_HOT static void add_products(const float *a, const float *b, size_t count, float sums[16])
{
    for (size_t i = 0; i < count; i += 16) {
        for (int j = 0; j < 16; j++) {
            sums[j] += a[i + j] * b[i + j];
        }
    }
}

/* Both planes laid out; adds to dw [R,S]. */
static void weights_plane(const wtl_conv_geometry *g, const layout *l, const float *laid,
                          const float *dy, float *dw)
{
    for (int tap = 0; tap < g->r * g->s; tap++) {
        float sums[16] = {0};
        for (int p = 0; p < g->p; p++) {
            add_products(dy + (size_t)p * l->dy_pitch + l->front,
                         tap_row(g, l, laid, p, tap / g->s, tap % g->s), (size_t)g->q, sums);
        }
        dw[tap] += wtl_row_sum(sums, 16);
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
    float *laid = scratch, *laid_dy = laid + l->laid, *row = laid_dy + l->dy;
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
            data_plane(g, l, laid_dy, w + c * taps, dx + plane * in, row);
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
