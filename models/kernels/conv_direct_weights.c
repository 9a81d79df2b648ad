/* conv_direct_weights.c - the gradients of the weights and of the bias of a direct convolution:
 * outer products of 16 channels of x and one or two blocks of dy, summed in registers over the
 * pixels of some rows, a tap at a time. Sums of a thread's share stay in blocks until the end.
 */
#include "conv_direct_private.h"

#include "wattle/threads.h"

#include <string.h>

enum { B = WTL_BLOCK_CHANNELS };

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

/* A thread's share: input blocks (or plain channels) [in0, in1), output blocks [out0, out1) of
 * a group, images [n0, n1); sums in `sums`, [in][pairs of out][taps][depth][16*blocks]. */
typedef struct outer {
    const wtl_direct *d;
    const wtl_native *native;
    wtl_const_map x, dy;
    int in0, in1, out0, out1, n0, n1;
    float *sums, *patch;
} outer;

/* Parts along input blocks, output blocks and images; only those of images add up later. */
typedef struct split {
    int in, out, images;
} split;

static int inputs_of(const wtl_direct *d)
{
    return d->forward.plain ? d->forward.channels : wtl_direct_blocks(d->forward.channels);
}

/* Taps that one call of the kernel does not cover. */
static int outer_taps(const wtl_direct *d)
{
    return d->forward.plain ? d->geometry.r : d->geometry.r * d->geometry.s;
}

enum { FEW_SUMS = 32 * 1024 };

static size_t tile_floats(const wtl_direct *d)
{
    return (size_t)outer_taps(d) * (size_t)wtl_direct_depth(&d->forward) * B;
}

static split split_outer(const wtl_direct *d)
{
    int in = inputs_of(d), out = wtl_direct_blocks(d->forward.filters), threads = d->threads;
    size_t sums = (size_t)in * (size_t)out * tile_floats(d);
    size_t maps = (size_t)(in + out) * B * (size_t)d->forward.p * (size_t)d->forward.q;
    if (sums <= FEW_SUMS && maps >= 8 * sums) { /* each image is read by one thread alone */
        return (split){1, 1, threads};
    }
    if (in >= threads && wtl_direct_imbalance(in, threads) < 1.15) {
        return (split){threads, 1, 1};
    }
    if (out >= threads && wtl_direct_imbalance(out, threads) < 1.15) {
        return (split){1, threads, 1};
    }
    return (split){1, 1, threads};
}

static size_t share_floats(const wtl_direct *d, const split *s)
{
    int in = (inputs_of(d) + s->in - 1) / s->in;
    int out = (wtl_direct_blocks(d->forward.filters) + s->out - 1) / s->out;
    return (size_t)in * (size_t)out * tile_floats(d);
}

enum { OUTER_PIXELS = 176 }; /* of one call: maps of x and dy stay in the first-level cache */

/* All taps of one input block and one pair over output rows [p0, p1) of an image. */
static void outer_rows(const outer *o, const wtl_direct_window *v, int in, const float *dy,
                       int blocks, int p0, int p1, float *sums)
{
    const wtl_conv_geometry *g = &o->d->geometry;
    wtl_outer t = {.pixels = g->q,
                   .x_row = g->stride[0] * v->pitch * v->pixel,
                   .x_step = (long)g->stride[1] * v->pixel,
                   .dy_row = (long)g->q * B,
                   .dy_block = (long)g->p * g->q * B};
    int step = most(1, OUTER_PIXELS / g->q), depth = wtl_direct_depth(&o->d->forward);
    int cols = o->d->forward.plain ? 1 : g->s;
    for (int p = p0; p < p1; p += step) {
        t.rows = least(step, p1 - p);
        float *to = sums;
        for (int r = 0; r < g->r; r++) {
            for (int s = 0; s < cols; s++, to += (long)depth * blocks * B) {
                const float *x = wtl_direct_at(
                    v, (long)p * g->stride[0] + (long)r * g->dilation[0] - g->pad[0],
                    (long)s * g->dilation[1] - g->pad[2]);
                o->native->tile->weights(&t, blocks, depth, x + in * v->plane * v->pixel,
                                         dy + (long)p * g->q * B, to);
            }
        }
    }
}

/* Rows [p0, p1) of `images` images, whose windows are ready. */
static void outer_unit(const outer *o, const wtl_direct_window *v, int group, int image,
                       int images, int p0, int p1)
{
    const wtl_direct_pass *pass = &o->d->forward;
    size_t plane = (size_t)pass->p * pass->q * B, tile = tile_floats(o->d);
    float *sums = o->sums;
    for (int in = o->in0; in < o->in1; in++) {
        for (int out = o->out0; out < o->out1; out += 2) {
            int blocks = least(2, o->out1 - out);
            size_t block = (size_t)group * wtl_direct_blocks(pass->filters) + out;
            for (int i = 0; i < images; i++) {
                const float *dy =
                    o->dy.data + (size_t)(image + i) * o->dy.image + block * plane;
                outer_rows(o, &v[i], in, dy, blocks, p0, p1, sums);
            }
            sums += (size_t)blocks * tile;
        }
    }
}

/* Rows of x and dy that lie in the second-level cache together. */
static int outer_rows_of(const wtl_direct_pass *pass)
{
    int channels = (pass->plain ? pass->channels : wtl_direct_blocks(pass->channels) * B) +
                   wtl_direct_blocks(pass->filters) * B;
    int fitting = 2 * WTL_DIRECT_UNIT / (channels * pass->q);
    return fitting < 1 ? 1 : least(fitting, pass->rows);
}

static void outer_group(const outer *o, int group)
{
    const wtl_direct_pass *pass = &o->d->forward;
    int rows = outer_rows_of(pass);
    size_t of_group = (size_t)inputs_of(o->d) * pass->h * pass->w * (pass->plain ? 1 : B);
    wtl_direct_window windows[WTL_DIRECT_MOST_IMAGES];
    memset(o->sums, 0,
           (size_t)(o->in1 - o->in0) * (size_t)(o->out1 - o->out0) * tile_floats(o->d) *
               sizeof *o->sums);
    for (int n = o->n0; n < o->n1; n += pass->images) {
        int images = least(pass->images, o->n1 - n);
        for (int p0 = 0; p0 < pass->p; p0 += rows) {
            int p1 = least(pass->p, p0 + rows);
            for (int i = 0; i < images; i++) {
                const float *x = o->x.data + (size_t)(n + i) * o->x.image + group * of_group;
                windows[i] = wtl_direct_window_of(pass, x, o->in0, o->in1, p0, p1,
                                                  o->patch + (size_t)i * pass->patch);
            }
            outer_unit(o, windows, group, n, images, p0, p1);
        }
    }
}

/* dw += the sums of one tile, of output channels k.. and input block (or channel) `in`. */
static void unpack_tile(const wtl_direct *d, int in, int out, int blocks, const float *sums,
                        float *dw)
{
    const wtl_direct_pass *pass = &d->forward;
    int lanes = blocks * B, taps = pass->r * pass->s,
        filters = least(lanes, pass->filters - out * B);
    if (pass->plain) {
        for (int k = 0; k < filters; k++) {
            float *to = dw + ((long)(out * B + k) * pass->channels + in) * taps;
            for (int t = 0; t < taps; t++) {
                to[t] += sums[t * lanes + k];
            }
        }
        return;
    }
    int channels = least(B, pass->channels - in * B);
    for (int k = 0; k < filters; k++) {
        float *to = dw + ((long)(out * B + k) * pass->channels + in * B) * taps;
        for (int c = 0; c < channels; c++) {
            for (int t = 0; t < taps; t++) {
                *to++ += sums[((long)t * B + c) * lanes + k];
            }
        }
    }
}

static void unpack_share(const outer *o, float *dw)
{
    const float *sums = o->sums;
    for (int in = o->in0; in < o->in1; in++) {
        for (int out = o->out0; out < o->out1; out += 2) {
            int blocks = least(2, o->out1 - out);
            unpack_tile(o->d, in, out, blocks, sums, dw);
            sums += (size_t)blocks * tile_floats(o->d);
        }
    }
}

static outer share_of(const wtl_direct *d, const split *s, int thread, int n)
{
    long in0, in1, out0, out1, n0, n1;
    outer o = {.d = d};
    wtl_share(inputs_of(d), s->in > 1 ? thread : 0, s->in, &in0, &in1);
    wtl_share(wtl_direct_blocks(d->forward.filters), s->out > 1 ? thread : 0, s->out, &out0,
              &out1);
    wtl_share(n, s->images > 1 ? thread : 0, s->images, &n0, &n1);
    o.in0 = (int)in0;
    o.in1 = (int)in1;
    o.out0 = (int)out0;
    o.out1 = (int)out1;
    o.n0 = (int)n0;
    o.n1 = (int)n1;
    return o;
}

void wtl_direct_bias(const wtl_direct *d, const wtl_native *native, int n, wtl_const_map dy,
                     float *db)
{
    const wtl_direct_pass *pass = &d->forward;
    int blocks = pass->groups * wtl_direct_blocks(pass->filters),
        threads = least(d->threads, blocks);
    long pixels = (long)pass->p * pass->q;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int block = 0; block < blocks; block++) {
        double sum[B] = {0};
        for (int i = 0; i < n; i++) {
            float part[B];
            native->tile->sums(
                pixels, dy.data + (size_t)i * dy.image + (size_t)block * pixels * B, part);
            for (int k = 0; k < B; k++) {
                sum[k] += part[k];
            }
        }
        for (int k = 0; k < B && block * B + k < pass->groups * pass->filters; k++) {
            db[block * B + k] += (float)sum[k];
        }
    }
}

void wtl_direct_weights(const wtl_direct *d, const wtl_native *native, int n, wtl_const_map x,
                        wtl_const_map dy, float *dw, float *scratch)
{
    const wtl_direct_pass *pass = &d->forward;
    split s = split_outer(d);
    size_t share = share_floats(d, &s), patch = pass->patch * (size_t)pass->images;
    size_t of_group = (size_t)pass->filters * pass->channels * pass->r * pass->s;
    for (int group = 0; group < pass->groups; group++) {
        float *to = dw + (size_t)group * of_group;
#pragma omp parallel for num_threads(d->threads) schedule(static, 1) if (d->threads > 1)
        for (int thread = 0; thread < d->threads; thread++) {
            outer o = share_of(d, &s, thread, n);
            o.native = native;
            o.x = x;
            o.dy = dy;
            o.sums = scratch + (size_t)thread * (share + patch);
            o.patch = o.sums + share;
            outer_group(&o, group);
            if (s.images == 1) {
                unpack_share(&o, to);
            }
        }
        for (int part = 0; s.images > 1 && part < s.images; part++) {
            outer o = share_of(d, &s, part, n);
            o.sums = scratch + (size_t)part * (share + patch);
            unpack_share(&o, to);
        }
    }
}

size_t wtl_direct_scratch(const wtl_direct *d, bool training)
{
    split s = split_outer(d);
    size_t forward = d->forward.patch * (size_t)d->forward.images;
    size_t data = d->data.patch * (size_t)d->data.images;
    size_t weights = forward + share_floats(d, &s);
    size_t floats = !training ? forward : weights > data ? weights : data;
    return floats * (size_t)d->threads;
}
