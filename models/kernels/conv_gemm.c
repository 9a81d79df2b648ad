/* conv_gemm.c - convolution as GEMM over unrolled patches (im2col), sizes as in
 * conv_kernels.h.
 *
 * A patch matrix `col` has one row per (c,r,s) of a group and one column per output pixel:
 *   forward  Y [Kg, pixels]  = W [Kg, CRS] * col [CRS, pixels]
 *   data     dcol            = W^T * dY, then added back into dx (col2im)
 *   weights  dW              += dY * col^T
 *
 * Work is cut into *tiles* of output pixels so that col stays in the second-level cache:
 * either some rows of one image's output, or, where maps are small, several whole images
 * side by side (GEMM is slow on 49 or 64 columns). Threads take whole images, with private
 * weight gradients added up in a fixed order at the end; images that are too few for that are
 * split: each thread takes some rows or filters of the output, or some input channels of
 * the gradients, so that no two write to one place.
 */
#include "conv_kernels.h"

#include "wattle/blas.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <string.h>

enum {
    COL_FLOATS = 192 * 1024, /* of one thread's patch matrix: well inside 1 to 2 MiB of L2 */
    LEAST_COLUMNS = 192,     /* below this GEMM wastes its registers */
    LEAST_SPLIT = 96,        /* output pixels a thread, for one image to be split by rows */
    MANY_IMAGES = 8,         /* a thread: from here on one image more or less is little */
};

/* How one layer is cut. */
typedef struct tiling {
    int images;     /* whole images side by side, or 1 */
    int rows;       /* output rows per tile when images == 1, else all */
    size_t columns; /* most columns of a tile */
    size_t crs;     /* rows of col */
} tiling;

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

bool wtl_conv_unrolls(const wtl_conv_geometry *g)
{
    return g->r != 1 || g->s != 1 || g->stride[0] != 1 || g->stride[1] != 1 ||
           g->pad[0] + g->pad[1] + g->pad[2] + g->pad[3] != 0;
}

static tiling tile(const wtl_conv_geometry *g, int images_at_hand)
{
    tiling t;
    int pixels = g->p * g->q;
    t.crs = (size_t)(g->c / g->groups) * g->r * g->s;
    size_t fitting = COL_FLOATS / t.crs;
    int columns = most(LEAST_COLUMNS, fitting > 4096 ? 4096 : (int)fitting);
    if (pixels <= columns / 2 && images_at_hand > 1) {
        t.images = least(columns / pixels, images_at_hand);
        t.rows = g->p;
    } else {
        t.images = 1;
        t.rows = most(1, least(g->p, columns / g->q));
        /* Equal tiles, not one of full size and a rest. */
        int tiles = (g->p + t.rows - 1) / t.rows;
        t.rows = (g->p + tiles - 1) / tiles;
    }
    t.columns = t.images > 1 ? (size_t)t.images * pixels : (size_t)t.rows * g->q;
    return t;
}

/* Floats of scratch one thread needs: col, and a tile of Y where images lie side by side.
 * Below 2^62: rows and columns have at most 2^30. */
static size_t thread_floats(const wtl_conv_geometry *g, const tiling *t)
{
    size_t floats = (t->crs + (size_t)(g->k / g->groups)) * t->columns;
    return (floats + 15) / 16 * 16;
}

static size_t weight_floats(const wtl_conv_geometry *g)
{
    size_t floats = (size_t)g->k * (g->c / g->groups) * g->r * g->s + (size_t)g->k;
    return (floats + 15) / 16 * 16;
}

/* The outputs [begin, end) of a row whose tap, starting at `first`, lies within 0..w-1. */
static void inside(int first, int stride, int w, int q, int *begin, int *end)
{
    int low = first < 0 ? (-first + stride - 1) / stride : 0;
    int high = first < w ? (w - 1 - first) / stride + 1 : 0;
    *begin = least(low, q);
    *end = most(least(high, q), *begin);
}

/* Where a tap moves a plane by whole rows (stride 1, as many columns out as in), output
 * rows [p0, p1) are one stretch of the plane: value i of `count` is plane[first + i] for i in
 * low..high-1 and lies in the padding elsewhere; so do the columns outside begin..end-1. */
typedef struct stretch {
    long first, count, low, high;
    int begin, end;
} stretch;

static bool moves_whole_rows(const wtl_conv_geometry *g)
{
    return g->stride[0] == 1 && g->stride[1] == 1 && g->q == g->w;
}

static stretch stretch_of(const wtl_conv_geometry *g, int r, int s, int p0, int p1)
{
    stretch t = {.count = (long)(p1 - p0) * g->q};
    int left = s * g->dilation[1] - g->pad[2];
    long top = (long)p0 + (long)r * g->dilation[0] - g->pad[0], size = (long)g->h * g->w;
    t.first = top * g->w + left;
    t.low = t.first < 0 ? -t.first : 0;
    t.low = t.low < t.count ? t.low : t.count;
    t.high = size - t.first < t.count ? size - t.first : t.count;
    t.high = t.high > t.low ? t.high : t.low;
    inside(left, 1, g->w, g->q, &t.begin, &t.end);
    return t;
}

/* Zero the columns of `rows` rows where the stretch wraps around into the next row. */
static void clear_wrapped(const stretch *t, int q, int rows, float *col)
{
    for (int p = 0; p < rows && t->end - t->begin < q; p++, col += q) {
        for (int j = 0; j < t->begin; j++) {
            col[j] = 0.0f;
        }
        for (int j = t->end; j < q; j++) {
            col[j] = 0.0f;
        }
    }
}

static void shift_plane(const wtl_conv_geometry *g, const float *plane, int r, int s, int p0,
                        int p1, float *col)
{
    stretch t = stretch_of(g, r, s, p0, p1);
    memset(col, 0, (size_t)t.low * sizeof *col);
    if (t.high > t.low) {
        memcpy(col + t.low, plane + (t.first + t.low), (size_t)(t.high - t.low) * sizeof *col);
    }
    memset(col + t.high, 0, (size_t)(t.count - t.high) * sizeof *col);
    clear_wrapped(&t, g->q, p1 - p0, col);
}

/* The same for any stride and padding, row by row. */
WTL_HOT static void gather_plane(const wtl_conv_geometry *g, const float *plane, int r, int s,
                                 int p0, int p1, float *out)
{
    int begin, end, first = s * g->dilation[1] - g->pad[2], stride = g->stride[1];
    inside(first, stride, g->w, g->q, &begin, &end);
    for (int p = p0; p < p1; p++, out += g->q) {
        int h = p * g->stride[0] + r * g->dilation[0] - g->pad[0];
        int from = h < 0 || h >= g->h ? g->q : begin, to = from == begin ? end : g->q;
        const float *row = plane + (long)h * g->w + first;
        for (int q = 0; q < from; q++) {
            out[q] = 0.0f;
        }
        if (stride == 1) {
            for (int q = from; q < to; q++) {
                out[q] = row[q];
            }
        } else if (stride == 2) { /* a constant, so that it vectorises */
            for (int q = from; q < to; q++) {
                out[q] = row[2L * q];
            }
        } else {
            for (int q = from; q < to; q++) {
                out[q] = row[(long)q * stride];
            }
        }
        for (int q = to; q < g->q; q++) {
            out[q] = 0.0f;
        }
    }
}

/* The rows of col of `channels` planes from x on, for output rows [p0, p1); col has `ld`
 * columns a row. */
static void im2col(const wtl_conv_geometry *g, const float *x, int channels, int p0, int p1,
                   float *col, size_t ld)
{
    bool shifts = moves_whole_rows(g);
    for (int c = 0; c < channels; c++, x += (size_t)g->h * g->w) {
        for (int tap = 0; tap < g->r * g->s; tap++, col += ld) {
            if (shifts) {
                shift_plane(g, x, tap / g->s, tap % g->s, p0, p1, col);
            } else {
                gather_plane(g, x, tap / g->s, tap % g->s, p0, p1, col);
            }
        }
    }
}

/* One row of col (tap r,s; output rows [p0, p1)) added into its plane of dx. */
WTL_HOT static void scatter_plane(const wtl_conv_geometry *g, const float *col, int r, int s,
                                  int p0, int p1, float *plane)
{
    int begin, end, first = s * g->dilation[1] - g->pad[2], stride = g->stride[1];
    inside(first, stride, g->w, g->q, &begin, &end);
    for (int p = p0; p < p1; p++, col += g->q) {
        int h = p * g->stride[0] + r * g->dilation[0] - g->pad[0];
        int to = h < 0 || h >= g->h ? begin : end;
        float *row = plane + (long)h * g->w + first;
        if (stride == 1) {
            for (int q = begin; q < to; q++) {
                row[q] += col[q];
            }
        } else if (stride == 2) {
            for (int q = begin; q < to; q++) {
                row[2L * q] += col[q];
            }
        } else {
            for (int q = begin; q < to; q++) {
                row[(long)q * stride] += col[q];
            }
        }
    }
}

WTL_HOT static void add_to(float *sum, const float *more, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        sum[i] += more[i];
    }
}

/* As shift_plane(), back into the plane. */
static void shift_back(const wtl_conv_geometry *g, float *col, int r, int s, int p0, int p1,
                       float *plane)
{
    stretch t = stretch_of(g, r, s, p0, p1);
    clear_wrapped(&t, g->q, p1 - p0, col);
    if (t.high > t.low) {
        add_to(plane + (t.first + t.low), col + t.low, 0, (size_t)(t.high - t.low));
    }
}

/* The reverse of im2col: adds into dx. The values of col are lost. */
static void col2im(const wtl_conv_geometry *g, float *col, size_t ld, int channels, int p0,
                   int p1, float *dx)
{
    bool shifts = moves_whole_rows(g);
    for (int c = 0; c < channels; c++, dx += (size_t)g->h * g->w) {
        for (int tap = 0; tap < g->r * g->s; tap++, col += ld) {
            if (shifts) {
                shift_back(g, col, tap / g->s, tap % g->s, p0, p1, dx);
            } else {
                scatter_plane(g, col, tap / g->s, tap % g->s, p0, p1, dx);
            }
        }
    }
}

/* Copy [rows][width] between arrays with other row lengths. */
static void copy_rows(const float *from, size_t from_ld, float *to, size_t to_ld, int rows,
                      size_t width)
{
    for (int i = 0; i < rows; i++) {
        memcpy(to + (size_t)i * to_ld, from + (size_t)i * from_ld, width * sizeof *to);
    }
}

/* y = activation(y + b[k]) over `k` rows of `width`. */
WTL_HOT static void add_bias(float *y, size_t ld, int k, size_t width, const float *b)
{
    for (int j = 0; j < k; j++) {
        float bias = b[j], *row = y + (size_t)j * ld;
        for (size_t i = 0; i < width; i++) {
            row[i] += bias;
        }
    }
}

static void finish_rows(float *y, size_t ld, int k, size_t width, const float *b,
                        wtl_activation activation)
{
    if (b) {
        add_bias(y, ld, k, width, b);
    }
    for (int j = 0; j < k && activation != WTL_ACTIVATION_NONE; j++) {
        wtl_activate(y + (size_t)j * ld, width, activation);
    }
}

/* ---- the three products over a range of images by one thread ---- */

typedef struct conv_job {
    const wtl_conv_geometry *g;
    const float *x, *w, *b, *dy;
    wtl_activation activation;
    float *y, *dx, *dw, *db;
    float *scratch;
    int part, parts; /* which share of every image; parts 1: all of it */
} conv_job;

/* One product of a tile: images [i, i + images) of a group, output rows [p0, p1), filters
 * [k0, k1) and input channels [c0, c1) of the group. */
typedef struct conv_tile {
    int i, images, group;
    int p0, p1, k0, k1, c0, c1;
} conv_tile;

/* Where a tile's input channels, filters, and rows of filters start. */
static size_t at_x(const wtl_conv_geometry *g, const conv_tile *t)
{
    size_t channel = (size_t)t->i * g->c + (size_t)t->group * (g->c / g->groups) + t->c0;
    return channel * g->h * g->w;
}

static size_t at_y(const wtl_conv_geometry *g, const conv_tile *t)
{
    size_t channel = (size_t)t->i * g->k + (size_t)t->group * (g->k / g->groups) + t->k0;
    return (channel * g->p + t->p0) * g->q;
}

static size_t at_w(const wtl_conv_geometry *g, const conv_tile *t)
{
    size_t filter = (size_t)t->group * (g->k / g->groups) + t->k0;
    return (filter * (g->c / g->groups) + t->c0) * g->r * g->s;
}

static size_t width_of(const wtl_conv_geometry *g, const conv_tile *t)
{
    return (size_t)t->images * (t->p1 - t->p0) * g->q;
}

/* The patch matrix of a tile and its row length. */
static const float *patches(const conv_job *job, const conv_tile *t, float *col, size_t *ld)
{
    const wtl_conv_geometry *g = job->g;
    const float *x = job->x + at_x(g, t);
    size_t pixels = (size_t)g->p * g->q, image = (size_t)g->c * g->h * g->w;
    bool unrolls = wtl_conv_unrolls(g);
    if (!unrolls && t->images == 1) {
        *ld = pixels;
        return x + (size_t)t->p0 * g->q;
    }
    *ld = width_of(g, t);
    for (int j = 0; j < t->images; j++, x += image) {
        if (unrolls) {
            im2col(g, x, t->c1 - t->c0, t->p0, t->p1, col + (size_t)j * pixels, *ld);
        } else {
            copy_rows(x, pixels, col + (size_t)j * pixels, *ld, t->c1 - t->c0, pixels);
        }
    }
    return col;
}

/* dY of a tile and its row length: in place, or images gathered side by side. */
static const float *upstream(const conv_job *job, const conv_tile *t, float *side, size_t *ld)
{
    const wtl_conv_geometry *g = job->g;
    const float *dy = job->dy + at_y(g, t);
    size_t pixels = (size_t)g->p * g->q;
    *ld = t->images == 1 ? pixels : width_of(g, t);
    if (t->images == 1) {
        return dy;
    }
    for (int j = 0; j < t->images; j++) {
        copy_rows(dy + (size_t)j * g->k * pixels, pixels, side + (size_t)j * pixels, *ld,
                  t->k1 - t->k0, pixels);
    }
    return side;
}

static void forward_tile(const conv_job *job, const conv_tile *t, float *col, float *side)
{
    const wtl_conv_geometry *g = job->g;
    size_t ld, pixels = (size_t)g->p * g->q, width = width_of(g, t);
    int k = t->k1 - t->k0, crs = g->c / g->groups * g->r * g->s;
    const float *patch = patches(job, t, col, &ld);
    const float *b = job->b ? job->b + t->group * (g->k / g->groups) + t->k0 : NULL;
    float *y = job->y + at_y(g, t), *out = t->images == 1 ? y : side;
    size_t out_ld = t->images == 1 ? pixels : width;
    wtl_gemm('N', 'N', k, (int)width, crs, job->w + at_w(g, t), crs, patch, (int)ld, 0.0f, out,
             (int)out_ld);
    finish_rows(out, out_ld, k, width, b, job->activation);
    for (int j = 0; out == side && j < t->images; j++) {
        copy_rows(side + (size_t)j * pixels, width, y + (size_t)j * g->k * pixels, pixels, k,
                  pixels);
    }
}

/* dcol = W^T dY, added into dx. */
static void data_tile(const conv_job *job, const conv_tile *t, float *col, float *side)
{
    const wtl_conv_geometry *g = job->g;
    int channels = t->c1 - t->c0, taps = g->r * g->s, crs = g->c / g->groups * taps;
    size_t up_ld, pixels = (size_t)g->p * g->q, width = width_of(g, t);
    float *dx = job->dx + at_x(g, t);
    bool in_place = !wtl_conv_unrolls(g) && t->images == 1; /* dcol is dx */
    float *dcol = in_place ? dx + (size_t)t->p0 * g->q : col;
    const float *up = upstream(job, t, side, &up_ld);
    wtl_gemm('T', 'N', channels * taps, (int)width, t->k1 - t->k0, job->w + at_w(g, t), crs, up,
             (int)up_ld, 0.0f, dcol, (int)(in_place ? pixels : width));
    for (int j = 0; !in_place && j < t->images; j++, dx += (size_t)g->c * g->h * g->w) {
        if (wtl_conv_unrolls(g)) {
            col2im(g, col + (size_t)j * pixels, width, channels, t->p0, t->p1, dx);
        } else {
            copy_rows(col + (size_t)j * pixels, width, dx, pixels, channels, pixels);
        }
    }
}

static void weights_tile(const conv_job *job, const conv_tile *t, float *col, float *side)
{
    const wtl_conv_geometry *g = job->g;
    int k = t->k1 - t->k0, taps = g->r * g->s, crs = g->c / g->groups * taps;
    size_t ld, up_ld, width = width_of(g, t);
    const float *patch = patches(job, t, col, &ld);
    const float *up = upstream(job, t, side, &up_ld);
    wtl_gemm('N', 'T', k, (t->c1 - t->c0) * taps, (int)width, up, (int)up_ld, patch, (int)ld,
             1.0f, job->dw + at_w(g, t), crs);
    if (job->db && job->part == 0) {
        float *db = job->db + t->group * (g->k / g->groups) + t->k0;
        for (int j = 0; j < k; j++) {
            db[j] += wtl_row_sum(up + (size_t)j * up_ld, width);
        }
    }
}

/* ---- tiles of images ---- */

typedef void tile_function(const conv_job *job, const conv_tile *t, float *col, float *side);

/* Narrow *begin..*end to this job's share. */
static void share_of(const conv_job *job, int *begin, int *end)
{
    long low, high;
    wtl_share(*end - *begin, job->part, job->parts, &low, &high);
    *end = *begin + (int)high;
    *begin += (int)low;
}

static void over_tiles(const conv_job *job, int begin, int end, conv_tile all,
                       tile_function *work)
{
    const wtl_conv_geometry *g = job->g;
    tiling cut = tile(g, job->parts > 1 ? 1 : end - begin);
    float *col = job->scratch, *side = col + cut.crs * cut.columns;
    if (all.p0 == all.p1 || all.k0 == all.k1 || all.c0 == all.c1) {
        return;
    }
    for (int i = begin; i < end; i += cut.images) {
        for (int group = 0; group < g->groups; group++) {
            conv_tile t = all;
            t.i = i;
            t.images = least(cut.images, end - i);
            t.group = group;
            for (t.p0 = all.p0; t.p0 < all.p1; t.p0 = t.p1) {
                t.p1 = least(all.p1, t.p0 + cut.rows);
                work(job, &t, col, side);
            }
        }
    }
}

static conv_tile everything(const wtl_conv_geometry *g)
{
    return (conv_tile){.p1 = g->p, .k1 = g->k / g->groups, .c1 = g->c / g->groups};
}

static void forward_images(const conv_job *job, int begin, int end)
{
    const wtl_conv_geometry *g = job->g;
    conv_tile all = everything(g);
    if (g->p >= job->parts && (long)g->p * g->q >= (long)job->parts * LEAST_SPLIT) {
        share_of(job, &all.p0, &all.p1);
    } else { /* each thread unrolls all patches: cheap beside the products of many filters */
        share_of(job, &all.k0, &all.k1);
    }
    over_tiles(job, begin, end, all, forward_tile);
}

static void data_images(const conv_job *job, int begin, int end)
{
    const wtl_conv_geometry *g = job->g;
    conv_tile all = everything(g);
    size_t plane = (size_t)g->h * g->w;
    share_of(job, &all.c0, &all.c1);
    for (int i = begin; i < end && wtl_conv_unrolls(g); i++) {
        for (int group = 0; group < g->groups; group++) {
            conv_tile t = {.i = i, .group = group, .c0 = all.c0};
            memset(job->dx + at_x(g, &t), 0,
                   (size_t)(all.c1 - all.c0) * plane * sizeof *job->dx);
        }
    }
    over_tiles(job, begin, end, all, data_tile);
}

static void weights_images(const conv_job *job, int begin, int end)
{
    conv_tile all = everything(job->g);
    share_of(job, &all.c0, &all.c1);
    over_tiles(job, begin, end, all, weights_tile);
}

/* ---- threads ---- */

size_t wtl_conv_gemm_scratch(const wtl_conv_geometry *g, int batch, int threads, bool training)
{
    /* More images at hand never make a tile narrower: all of them give the most. */
    tiling t = tile(g, batch);
    size_t floats = thread_floats(g, &t), sums = weight_floats(g), bytes;
    bool fits = wtl_mul(floats, (size_t)threads, &floats) &&
                wtl_mul(sums, training ? (size_t)threads - 1 : 0, &sums) &&
                wtl_add(floats, sums, &floats) && wtl_mul(floats, sizeof(float), &bytes);
    return fits ? bytes : SIZE_MAX;
}

/* How many of n images are dealt out whole; the rest are split. */
static int whole_images(int n, int threads)
{
    return n < MANY_IMAGES * threads ? n / threads * threads : n;
}

typedef void images_function(const conv_job *job, int begin, int end);

static void over_images(conv_job job, int n, int threads, images_function *work)
{
    tiling most_of_all = tile(job.g, n);
    size_t stride = thread_floats(job.g, &most_of_all);
    float *scratch = job.scratch;
    int whole = whole_images(n, threads);
#pragma omp parallel for num_threads(threads) schedule(static, 1) firstprivate(job)
    for (int part = 0; part < threads; part++) {
        long begin, end;
        wtl_share(whole, part, threads, &begin, &end);
        job.scratch = scratch + (size_t)part * stride;
        job.part = 0;
        job.parts = 1;
        work(&job, (int)begin, (int)end);
        job.part = part;
        job.parts = threads;
        work(&job, whole, n);
    }
}

void wtl_conv_gemm_forward(const wtl_conv_geometry *g, int n, int threads, const float *x,
                           const float *w, const float *b, wtl_activation activation, float *y,
                           float *scratch)
{
    conv_job job = {
        .g = g, .x = x, .w = w, .b = b, .activation = activation, .y = y, .scratch = scratch};
    over_images(job, n, threads, forward_images);
}

void wtl_conv_gemm_data(const wtl_conv_geometry *g, int n, int threads, const float *dy,
                        const float *w, float *dx, float *scratch)
{
    conv_job job = {.g = g, .w = w, .dy = dy, .dx = dx, .scratch = scratch};
    over_images(job, n, threads, data_images);
}

/* dw and db += the sums of parts 1, 2, ... below `summed`, in this order; one slice of
 * `parts`. */
static void add_sums(const wtl_conv_geometry *g, const float *sums, int summed, int part,
                     int parts, float *dw, float *db)
{
    size_t count = (size_t)g->k * (g->c / g->groups) * g->r * g->s, one = weight_floats(g);
    long begin, end;
    wtl_share((long)count, part, parts, &begin, &end);
    for (int other = 1; other < summed; other++, sums += one) {
        add_to(dw, sums, (size_t)begin, (size_t)end);
        if (db && part == 0) {
            add_to(db, sums + count, 0, (size_t)g->k);
        }
    }
}

/* Part 0 adds to dw and db themselves, the others to sums of their own. */
static void sum_weights(conv_job job, int begin, int end, float *sums)
{
    size_t one = weight_floats(job.g), part = (size_t)job.part;
    if (part > 0) {
        job.dw = sums + (part - 1) * one;
        memset(job.dw, 0, one * sizeof *job.dw);
        const wtl_conv_geometry *g = job.g;
        size_t count = (size_t)g->k * (g->c / g->groups) * g->r * g->s;
        job.db = job.db ? job.dw + count : NULL;
    }
    job.part = 0;
    job.parts = 1;
    weights_images(&job, begin, end);
}

void wtl_conv_gemm_weights(const wtl_conv_geometry *g, int n, int threads, const float *x,
                           const float *dy, float *dw, float *db, float *scratch)
{
    conv_job job = {.g = g, .x = x, .dy = dy, .dw = dw, .db = db, .parts = threads};
    tiling most_of_all = tile(g, n);
    size_t stride = thread_floats(g, &most_of_all);
    float *sums = scratch + (size_t)threads * stride;
    int whole = whole_images(n, threads);
#pragma omp parallel num_threads(threads) firstprivate(job)
    {
#pragma omp for schedule(static, 1)
        for (int part = 0; part < threads; part++) {
            long begin, end;
            wtl_share(whole, part, threads, &begin, &end);
            job.part = part;
            job.scratch = scratch + (size_t)part * stride;
            if (whole > 0) {
                sum_weights(job, (int)begin, (int)end, sums);
            }
        }
#pragma omp for schedule(static, 1)
        for (int part = 0; part < threads; part++) {
            add_sums(g, sums, whole > 0 ? threads : 1, part, threads, dw, db);
        }
#pragma omp for schedule(static, 1)
        for (int part = 0; part < threads; part++) {
            job.part = part;
            job.scratch = scratch + (size_t)part * stride;
            weights_images(&job, whole, n);
        }
    }
}
