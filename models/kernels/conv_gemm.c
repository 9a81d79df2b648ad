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
 * side by side (GEMM is slow on 49 or 64 columns). Threads take whole images when there are
 * enough of them, with private weight gradients added up in a fixed order at the end; a
 * single image is split inside the products instead.
 */
#include "conv_kernels.h"

#include "wattle/blas.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <string.h>

enum {
    COL_FLOATS = 192 * 1024, /* of one thread's patch matrix: well inside 1 to 2 MiB of L2 */
    LEAST_COLUMNS = 192,     /* below this GEMM wastes its registers */
};

/* How one layer is cut. */
typedef struct tiling {
    int images;     /* whole images side by side, or 1 */
    int rows;       /* output rows per tile when images == 1, else all */
    size_t columns; /* most columns of a tile */
    size_t crs;     /* rows of col */
    bool unrolled;  /* false: 1x1, stride 1, no padding: x is the patch matrix */
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
    t.unrolled = wtl_conv_unrolls(g);
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

/* One row of output pixels of one tap: q outputs reading src[first + j*stride], zeros where
 * that leaves 0..w-1. */
static inline void gather_row(const float *src, int w, int first, int stride, int q, float *dst)
{
    int begin = first < 0 ? (-first + stride - 1) / stride : 0;
    int end = first >= w ? 0 : least(q, (w - 1 - first) / stride + 1);
    begin = least(begin, q);
    end = most(end, begin);
    for (int j = 0; j < begin; j++) {
        dst[j] = 0.0f;
    }
    if (stride == 1) {
        for (int j = begin; j < end; j++) {
            dst[j] = src[first + j];
        }
    } else {
        for (int j = begin; j < end; j++) {
            dst[j] = src[first + j * stride];
        }
    }
    for (int j = end; j < q; j++) {
        dst[j] = 0.0f;
    }
}

static inline void scatter_row(const float *src, int w, int first, int stride, int q,
                               float *dst)
{
    int begin = first < 0 ? (-first + stride - 1) / stride : 0;
    int end = first >= w ? 0 : least(q, (w - 1 - first) / stride + 1);
    for (int j = begin; j < end; j++) {
        dst[first + j * stride] += src[j];
    }
}

/* Rows [row_begin, row_end) of col for output rows [p_begin, p_end) of one image's group;
 * col has `ld` columns a row. */
WTL_HOT static void im2col(const wtl_conv_geometry *g, const float *x, int row_begin,
                           int row_end, int p_begin, int p_end, float *col, size_t ld)
{
    for (int row = row_begin; row < row_end; row++) {
        int c = row / (g->r * g->s), r = row / g->s % g->r, s = row % g->s;
        const float *plane = x + (size_t)c * g->h * g->w;
        float *out = col + (size_t)row * ld;
        int first = s * g->dilation[1] - g->pad[2];
        for (int p = p_begin; p < p_end; p++, out += g->q) {
            int h = p * g->stride[0] + r * g->dilation[0] - g->pad[0];
            if (h < 0 || h >= g->h) {
                memset(out, 0, (size_t)g->q * sizeof *out);
            } else {
                gather_row(plane + (size_t)h * g->w, g->w, first, g->stride[1], g->q, out);
            }
        }
    }
}

/* The reverse: adds col's rows of channels [c_begin, c_end) into dx. */
WTL_HOT static void col2im(const wtl_conv_geometry *g, const float *col, size_t ld, int c_begin,
                           int c_end, int p_begin, int p_end, float *dx)
{
    for (int row = c_begin * g->r * g->s; row < c_end * g->r * g->s; row++) {
        int c = row / (g->r * g->s), r = row / g->s % g->r, s = row % g->s;
        float *plane = dx + (size_t)c * g->h * g->w;
        const float *in = col + (size_t)row * ld;
        int first = s * g->dilation[1] - g->pad[2];
        for (int p = p_begin; p < p_end; p++, in += g->q) {
            int h = p * g->stride[0] + r * g->dilation[0] - g->pad[0];
            if (h >= 0 && h < g->h) {
                scatter_row(in, g->w, first, g->stride[1], g->q, plane + (size_t)h * g->w);
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

/* y = activation(y + b[k]) over `kg` rows of `width`. */
WTL_HOT static void add_bias(float *y, size_t ld, int kg, size_t width, const float *b)
{
    for (int k = 0; k < kg; k++) {
        float bias = b[k];
        for (size_t i = 0; i < width; i++) {
            y[(size_t)k * ld + i] += bias;
        }
    }
}

static void finish_rows(float *y, size_t ld, int kg, size_t width, const float *b,
                        wtl_activation activation)
{
    if (b) {
        add_bias(y, ld, kg, width, b);
    }
    if (activation != WTL_ACTIVATION_NONE) {
        for (int k = 0; k < kg; k++) {
            wtl_activate(y + (size_t)k * ld, width, activation);
        }
    }
}

/* The patch matrix of `images` whole images (x of the first, its group's channels), or of
 * output rows [p0, p1) of one. `inner` threads share the work. Returns its row length. */
static const float *patches(const wtl_conv_geometry *g, const tiling *t, const float *x,
                            int images, int p0, int p1, int inner, float *col, size_t *ld)
{
    size_t pixels = (size_t)g->p * g->q, image = (size_t)g->c * g->h * g->w;
    if (!t->unrolled && t->images == 1) {
        *ld = pixels;
        return x + (size_t)p0 * g->q;
    }
    *ld = t->images > 1 ? (size_t)images * pixels : (size_t)(p1 - p0) * g->q;
    if (!t->unrolled) {
        for (int i = 0; i < images; i++) {
            copy_rows(x + (size_t)i * image, pixels, col + (size_t)i * pixels, *ld, (int)t->crs,
                      pixels);
        }
    } else if (inner > 1) {
#pragma omp parallel for num_threads(inner) schedule(static, 1)
        for (int part = 0; part < inner; part++) {
            long begin, end;
            wtl_share((long)t->crs, part, inner, &begin, &end);
            im2col(g, x, (int)begin, (int)end, p0, p1, col, *ld);
        }
    } else {
        for (int i = 0; i < images; i++) {
            im2col(g, x + (size_t)i * image, 0, (int)t->crs, p0, p1, col + (size_t)i * pixels,
                   *ld);
        }
    }
    return col;
}

/* ---- the three products over a range of images by one thread (inner == 1), or over one
 * image by `inner` threads ---- */

typedef struct conv_job {
    const wtl_conv_geometry *g;
    int inner;
    const float *x, *w, *b, *dy;
    wtl_activation activation;
    float *y, *dx, *dw, *db;
    float *scratch;
} conv_job;

static void forward_images(const conv_job *job, int begin, int end)
{
    const wtl_conv_geometry *g = job->g;
    tiling t = tile(g, end - begin);
    int kg = g->k / g->groups;
    size_t pixels = (size_t)g->p * g->q, plane_in = (size_t)g->h * g->w;
    float *col = job->scratch, *side = col + t.crs * t.columns;
    for (int i = begin; i < end; i += t.images) {
        int images = least(t.images, end - i);
        for (int group = 0; group < g->groups; group++) {
            const float *x =
                job->x + ((size_t)i * g->c + (size_t)group * (g->c / g->groups)) * plane_in;
            const float *w = job->w + (size_t)group * kg * t.crs;
            const float *b = job->b ? job->b + group * kg : NULL;
            float *y = job->y + ((size_t)i * g->k + (size_t)group * kg) * pixels;
            for (int p = 0; p < g->p; p += t.rows) {
                int p_end = least(g->p, p + t.rows);
                size_t ld, width = (size_t)(p_end - p) * g->q;
                const float *patch = patches(g, &t, x, images, p, p_end, job->inner, col, &ld);
                if (t.images == 1) {
                    float *out = y + (size_t)p * g->q;
                    wtl_gemm_threads(job->inner, 'N', 'N', kg, (int)width, (int)t.crs, w,
                                     (int)t.crs, patch, (int)ld, 0.0f, out, (int)pixels);
                    finish_rows(out, pixels, kg, width, b, job->activation);
                } else {
                    wtl_gemm_threads(job->inner, 'N', 'N', kg, (int)ld, (int)t.crs, w,
                                     (int)t.crs, patch, (int)ld, 0.0f, side, (int)ld);
                    finish_rows(side, ld, kg, ld, b, job->activation);
                    for (int j = 0; j < images; j++) {
                        copy_rows(side + (size_t)j * pixels, ld, y + (size_t)j * g->k * pixels,
                                  pixels, kg, pixels);
                    }
                }
            }
        }
    }
}

/* dY of a tile with its row length: in place, or images gathered side by side. */
static const float *upstream(const wtl_conv_geometry *g, const tiling *t, const float *dy,
                             int images, int p0, float *side, size_t *ld)
{
    size_t pixels = (size_t)g->p * g->q;
    if (t->images == 1) {
        *ld = pixels;
        return dy + (size_t)p0 * g->q;
    }
    *ld = (size_t)images * pixels;
    for (int j = 0; j < images; j++) {
        copy_rows(dy + (size_t)j * g->k * pixels, pixels, side + (size_t)j * pixels, *ld,
                  g->k / g->groups, pixels);
    }
    return side;
}

/* dcol = W^T dY for one tile, added into dx. */
static void data_tile(const conv_job *job, const tiling *t, const float *w, const float *dy,
                      float *dx, int images, int p, int p_end)
{
    const wtl_conv_geometry *g = job->g;
    int kg = g->k / g->groups, cg = g->c / g->groups;
    size_t pixels = (size_t)g->p * g->q, image = (size_t)g->c * g->h * g->w;
    float *col = job->scratch, *side = col + t->crs * t->columns;
    size_t dy_ld, width = t->images > 1 ? (size_t)images * pixels : (size_t)(p_end - p) * g->q;
    const float *up = upstream(g, t, dy, images, p, side, &dy_ld);
    if (!t->unrolled && t->images == 1) { /* 1x1: dcol is dx */
        wtl_gemm_threads(job->inner, 'T', 'N', (int)t->crs, (int)width, kg, w, (int)t->crs, up,
                         (int)dy_ld, 0.0f, dx + (size_t)p * g->q, (int)pixels);
        return;
    }
    wtl_gemm_threads(job->inner, 'T', 'N', (int)t->crs, (int)width, kg, w, (int)t->crs, up,
                     (int)dy_ld, 0.0f, col, (int)width);
    if (!t->unrolled) {
        for (int j = 0; j < images; j++) {
            copy_rows(col + (size_t)j * pixels, width, dx + (size_t)j * image, pixels,
                      (int)t->crs, pixels);
        }
    } else if (job->inner > 1) {
#pragma omp parallel for num_threads(job->inner) schedule(static, 1)
        for (int part = 0; part < job->inner; part++) {
            long begin, end;
            wtl_share(cg, part, job->inner, &begin, &end);
            col2im(g, col, width, (int)begin, (int)end, p, p_end, dx);
        }
    } else {
        for (int j = 0; j < images; j++) {
            col2im(g, col + (size_t)j * pixels, width, 0, cg, p, p_end, dx + (size_t)j * image);
        }
    }
}

static void data_images(const conv_job *job, int begin, int end)
{
    const wtl_conv_geometry *g = job->g;
    tiling t = tile(g, end - begin);
    int kg = g->k / g->groups;
    size_t pixels = (size_t)g->p * g->q, plane_in = (size_t)g->h * g->w;
    if (t.unrolled) {
        memset(job->dx + (size_t)begin * g->c * plane_in, 0,
               (size_t)(end - begin) * g->c * plane_in * sizeof *job->dx);
    }
    for (int i = begin; i < end; i += t.images) {
        for (int group = 0; group < g->groups; group++) {
            size_t channel = (size_t)i * g->c + (size_t)group * (g->c / g->groups);
            for (int p = 0; p < g->p; p += t.rows) {
                data_tile(job, &t, job->w + (size_t)group * kg * t.crs,
                          job->dy + ((size_t)i * g->k + (size_t)group * kg) * pixels,
                          job->dx + channel * plane_in, least(t.images, end - i), p,
                          least(g->p, p + t.rows));
            }
        }
    }
}

static void weights_images(const conv_job *job, int begin, int end)
{
    const wtl_conv_geometry *g = job->g;
    tiling t = tile(g, end - begin);
    int kg = g->k / g->groups;
    size_t pixels = (size_t)g->p * g->q, plane_in = (size_t)g->h * g->w;
    float *col = job->scratch, *side = col + t.crs * t.columns;
    for (int i = begin; i < end; i += t.images) {
        int images = least(t.images, end - i);
        for (int group = 0; group < g->groups; group++) {
            const float *x =
                job->x + ((size_t)i * g->c + (size_t)group * (g->c / g->groups)) * plane_in;
            const float *dy = job->dy + ((size_t)i * g->k + (size_t)group * kg) * pixels;
            for (int p = 0; p < g->p; p += t.rows) {
                int p_end = least(g->p, p + t.rows);
                size_t ld, dy_ld;
                const float *patch = patches(g, &t, x, images, p, p_end, job->inner, col, &ld);
                const float *up = upstream(g, &t, dy, images, p, side, &dy_ld);
                size_t width =
                    t.images > 1 ? (size_t)images * pixels : (size_t)(p_end - p) * g->q;
                wtl_gemm_threads(job->inner, 'N', 'T', kg, (int)t.crs, (int)width, up,
                                 (int)dy_ld, patch, (int)ld, 1.0f,
                                 job->dw + (size_t)group * kg * t.crs, (int)t.crs);
                for (int k = 0; job->db && k < kg; k++) {
                    job->db[group * kg + k] += wtl_row_sum(up + (size_t)k * dy_ld, width);
                }
            }
        }
    }
}

/* ---- threads ---- */

static int parts_of(int n, int threads)
{
    return n >= threads ? threads : 1;
}

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

/* Each thread's piece of scratch: all of the same size, that of the largest share. */
static size_t stride_of_scratch(const wtl_conv_geometry *g, int n, int parts)
{
    tiling larger = tile(g, (n + parts - 1) / parts), smaller = tile(g, most(1, n / parts));
    size_t a = thread_floats(g, &larger), b = thread_floats(g, &smaller);
    return a > b ? a : b;
}

static void over_images(conv_job job, int n, int threads,
                        void (*images)(const conv_job *job, int begin, int end))
{
    int parts = parts_of(n, threads);
    job.inner = parts == 1 ? threads : 1;
    if (parts == 1) {
        images(&job, 0, n);
        return;
    }
    size_t stride = stride_of_scratch(job.g, n, parts);
    float *scratch = job.scratch;
#pragma omp parallel for num_threads(parts) schedule(static, 1) firstprivate(job)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(n, part, parts, &begin, &end);
        job.scratch = scratch + (size_t)part * stride;
        images(&job, (int)begin, (int)end);
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

WTL_HOT static void add_to(float *sum, const float *more, long begin, long end)
{
    for (long i = begin; i < end; i++) {
        sum[i] += more[i];
    }
}

void wtl_conv_gemm_weights(const wtl_conv_geometry *g, int n, int threads, const float *x,
                           const float *dy, float *dw, float *db, float *scratch)
{
    int parts = parts_of(n, threads);
    conv_job job = {.g = g, .x = x, .dy = dy, .dw = dw, .db = db, .scratch = scratch};
    if (parts == 1) {
        job.inner = threads;
        weights_images(&job, 0, n);
        return;
    }
    /* Part 0 adds to dw itself; the others to private sums, added afterwards in order. */
    size_t stride = stride_of_scratch(g, n, parts);
    size_t count = (size_t)g->k * (g->c / g->groups) * g->r * g->s;
    float *private_sums = scratch + (size_t)parts * stride;
    job.inner = 1;
#pragma omp parallel num_threads(parts) firstprivate(job)
    {
#pragma omp for schedule(static, 1)
        for (int part = 0; part < parts; part++) {
            long begin, end;
            wtl_share(n, part, parts, &begin, &end);
            job.scratch = scratch + (size_t)part * stride;
            job.dw = dw;
            job.db = db;
            if (part > 0) {
                job.dw = private_sums + (size_t)(part - 1) * weight_floats(g);
                job.db = db ? job.dw + count : NULL;
                memset(job.dw, 0, weight_floats(g) * sizeof *job.dw);
            }
            weights_images(&job, (int)begin, (int)end);
        }
#pragma omp for schedule(static, 1)
        for (int slice = 0; slice < parts; slice++) {
            long begin, end;
            wtl_share((long)count, slice, parts, &begin, &end);
            for (int part = 1; part < parts; part++) {
                add_to(dw, private_sums + (size_t)(part - 1) * weight_floats(g), begin, end);
            }
        }
    }
    for (int part = 1; db && part < parts; part++) {
        add_to(db, private_sums + (size_t)(part - 1) * weight_floats(g) + count, 0, g->k);
    }
}
