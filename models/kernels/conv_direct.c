/* conv_direct.c - see conv_direct.h.
 *
 * Forward and the input's gradient are one correlation here (wtl_direct_pass): the gradient
 * reads dy by the same taps backwards, and where the filters move by a stride, the pixels of
 * dx fall into phases, each with its own share of the taps. A *unit* of work is some rows of
 * the output of some images of one group: small enough that the part of the input it reads
 * stays in the second-level cache while all filters pass over it.
 *
 * Packed filters: a phase after the other, in each the output channels by two blocks (the last
 * may be one), in each [blocks_in, rows, cols, 16, 16*blocks]; then the bias, padded with 0.
 */
#include "conv_direct.h"
#include "native/tile.h"

#include "wattle/threads.h"

#include <string.h>

enum {
    B = WTL_BLOCK_CHANNELS,
    UNIT_FLOATS = 96 * 1024, /* of input that a unit reads: beside filters in 1 MiB of L2 */
    MOST_UNIT_IMAGES = 8,
};

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

static int blocks_of(int channels)
{
    return (channels + B - 1) / B;
}

/* ---- planning ---- */

bool wtl_direct_can(const wtl_conv_geometry *g)
{
    bool strided = g->stride[0] > 1 || g->stride[1] > 1;
    bool dilated = g->dilation[0] > 1 || g->dilation[1] > 1;
    return g->stride[0] <= WTL_DIRECT_MOST_STRIDE && g->stride[1] <= WTL_DIRECT_MOST_STRIDE &&
           !(strided && dilated) &&
           (g->groups == 1 || (g->c / g->groups % B == 0 && g->k / g->groups % B == 0));
}

bool wtl_direct_wants_plain(const wtl_conv_geometry *g)
{
    return g->groups == 1 && g->c < B / 2 && g->s <= B && g->dilation[1] == 1;
}

static wtl_direct_axis forward_axis(int out, int taps, int stride, int pad, int dilation)
{
    return (wtl_direct_axis){.step = 1,
                             .count = out,
                             .in_first = -pad,
                             .in_step = stride,
                             .taps = taps,
                             .tap_step = dilation,
                             .filter_step = 1};
}

/* Outputs h of dx with (h + pad) % stride == phase read dy by taps phase, phase + stride, ... */
static wtl_direct_axis data_axis(int phase, int out, int taps, int stride, int pad,
                                 int dilation)
{
    int first = ((phase - pad) % stride + stride) % stride;
    return (wtl_direct_axis){.first = first,
                             .step = stride,
                             .count = first < out ? (out - first + stride - 1) / stride : 0,
                             .in_first = (first + pad - phase) / stride,
                             .in_step = 1,
                             .tap_first = phase,
                             .taps = phase < taps ? (taps - phase + stride - 1) / stride : 0,
                             .tap_step = -dilation,
                             .filter_step = stride};
}

/* What rows (or columns) outputs [begin, end) of an axis with all its phases read. */
static void reach(const wtl_direct_pass *pass, int axis, int begin, int end, int *low,
                  int *high)
{
    *low = INT32_MAX;
    *high = INT32_MIN;
    for (int f = 0; f < pass->phases[axis]; f++) {
        const wtl_direct_axis *a = &pass->axis[axis][f];
        int from = begin > a->first ? (begin - a->first + a->step - 1) / a->step : 0;
        int to = end > a->first ? (end - a->first + a->step - 1) / a->step : 0;
        if (from >= to || a->taps == 0) {
            continue;
        }
        int span = (a->taps - 1) * a->tap_step, at = a->in_first + from * a->in_step;
        int last = a->in_first + (to - 1) * a->in_step;
        *low = least(*low, at + least(span, 0));
        *high = most(*high, last + most(span, 0));
    }
    if (*low > *high) { /* no tap reaches: nothing is read */
        *low = *high = 0;
    }
}

/* A 1x1 filter sees no rows: give it rows that fill the tile. */
static void flatten(wtl_conv_geometry *g, int widest)
{
    int pixels = g->h * g->w, best = g->w;
    double best_share = 0.0;
    for (int width = 1; width <= pixels && width <= 4096; width++) {
        int tiles = (width + widest - 1) / widest;
        double share = (double)width / (tiles * widest);
        if (pixels % width == 0 && share >= best_share) {
            best = width;
            best_share = share;
        }
    }
    g->w = g->q = best;
    g->h = g->p = pixels / best;
}

static void size_units(wtl_direct_pass *pass)
{
    for (int axis = 0; axis < 2; axis++) {
        reach(pass, axis, 0, axis == 0 ? pass->p : pass->q, &pass->low[axis],
              &pass->high[axis]);
    }
    pass->patches = pass->low[0] < 0 || pass->low[1] < 0 || pass->high[0] >= pass->h ||
                    pass->high[1] >= pass->w;
    size_t depth = pass->plain ? (size_t)pass->channels : (size_t)blocks_of(pass->channels) * B;
    size_t row = depth * (size_t)(pass->patches ? pass->high[1] - pass->low[1] + 1 : pass->w);
    pass->rows = pass->p;
    int low, high;
    reach(pass, 0, 0, pass->rows, &low, &high);
    while (pass->rows > 1 && row * (size_t)(high - low + 1) > UNIT_FLOATS) {
        int units = (pass->p + pass->rows - 1) / pass->rows + 1;
        pass->rows = least(pass->rows - 1, (pass->p + units - 1) / units);
        reach(pass, 0, 0, pass->rows, &low, &high);
    }
    /* A block of a later unit may start at another phase and so reach a row further. */
    pass->patch = pass->patches ? row * (size_t)(high - low + 2) : 0;
    pass->images = 1;
    if (pass->rows == pass->p) {
        size_t fitting = UNIT_FLOATS / (row * (size_t)(high - low + 1) + 1);
        pass->images = fitting > MOST_UNIT_IMAGES ? MOST_UNIT_IMAGES : most(1, (int)fitting);
    }
}

wtl_direct wtl_direct_plan(const wtl_conv_geometry *given, const wtl_native *native,
                           int threads, bool plain)
{
    wtl_conv_geometry g = *given;
    if (!wtl_conv_unrolls(&g)) {
        flatten(&g, native->tile->widths[g.k / g.groups <= B ? 1 : 2]);
    }
    wtl_direct d = {.geometry = g, .threads = threads};
    int in[2] = {g.h, g.w}, out[2] = {g.p, g.q}, taps[2] = {g.r, g.s};
    int pads[2] = {g.pad[0], g.pad[2]};
    d.forward = (wtl_direct_pass){.channels = g.c / g.groups,
                                  .h = g.h,
                                  .w = g.w,
                                  .filters = g.k / g.groups,
                                  .p = g.p,
                                  .q = g.q,
                                  .groups = g.groups,
                                  .plain = plain,
                                  .r = g.r,
                                  .s = g.s};
    d.data = (wtl_direct_pass){.channels = g.k / g.groups,
                               .h = g.p,
                               .w = g.q,
                               .filters = g.c / g.groups,
                               .p = g.h,
                               .q = g.w,
                               .groups = g.groups,
                               .r = g.r,
                               .s = g.s,
                               .transposed = true};
    for (int axis = 0; axis < 2; axis++) {
        d.forward.phases[axis] = 1;
        d.forward.axis[axis][0] =
            forward_axis(out[axis], taps[axis], g.stride[axis], pads[axis], g.dilation[axis]);
        d.data.phases[axis] = g.stride[axis];
        for (int f = 0; f < g.stride[axis]; f++) {
            d.data.axis[axis][f] = data_axis(f, in[axis], taps[axis], g.stride[axis],
                                             pads[axis], g.dilation[axis]);
        }
    }
    size_units(&d.forward);
    size_units(&d.data);
    return d;
}

/* ---- packed filters ---- */

/* Taps of a plain image: the filter's columns take the place of channels. */
static int depth_of(const wtl_direct_pass *pass)
{
    return pass->plain ? pass->s : B;
}

static size_t taps_of_phase(const wtl_direct_pass *pass, int fh, int fw)
{
    if (pass->plain) {
        return (size_t)pass->channels * pass->r;
    }
    return (size_t)blocks_of(pass->channels) * pass->axis[0][fh].taps * pass->axis[1][fw].taps;
}

/* Floats of a phase's filters for one block of output channels of one group. */
static size_t block_floats(const wtl_direct_pass *pass, int fh, int fw)
{
    return taps_of_phase(pass, fh, fw) * (size_t)depth_of(pass) * B;
}

static size_t phases_floats(const wtl_direct_pass *pass)
{
    size_t sum = 0;
    for (int f = 0; f < pass->phases[0] * pass->phases[1]; f++) {
        sum += block_floats(pass, f / pass->phases[1], f % pass->phases[1]);
    }
    return sum;
}

/* Filters of one pair of blocks of a group lie together, phase after phase. */
static size_t pair_start(const wtl_direct_pass *pass, int group, int block)
{
    return ((size_t)group * blocks_of(pass->filters) + block) * phases_floats(pass);
}

size_t wtl_direct_packed(const wtl_direct_pass *pass)
{
    size_t blocks = (size_t)pass->groups * blocks_of(pass->filters);
    return blocks * phases_floats(pass) + blocks * B;
}

typedef struct pack_job {
    const wtl_direct_pass *pass;
    const float *w;
    long from_in, from_out; /* steps of w, by the pass's input and output channel */
} pack_job;

/* One phase of a pair: [blocks_in, rows, cols, 16, lanes]. */
static void pack_phase(const pack_job *job, int first, int lanes, const wtl_direct_axis *ah,
                       const wtl_direct_axis *aw, float *to)
{
    const wtl_direct_pass *pass = job->pass;
    int filters = least(lanes, pass->filters - first);
    long tap = (long)B * lanes, taps = (long)ah->taps * aw->taps;
    for (int k = 0; k < filters; k++) {
        for (int c = 0; c < pass->channels; c++) {
            const float *from = job->w + (first + k) * job->from_out + c * job->from_in;
            float *at = to + c / B * taps * tap + c % B * lanes + k;
            for (int j = 0; j < ah->taps; j++) {
                const float *row =
                    from + (ah->tap_first + j * ah->filter_step) * pass->s + aw->tap_first;
                for (int i = 0; i < aw->taps; i++, at += tap) {
                    *at = row[i * aw->filter_step];
                }
            }
        }
    }
}

/* [c, r, s, lanes]. */
static void pack_plain(const pack_job *job, int first, int lanes, float *to)
{
    const wtl_direct_pass *pass = job->pass;
    int filters = least(lanes, pass->filters - first);
    long count = (long)pass->channels * pass->r * pass->s;
    for (long i = 0; i < count; i++, to += lanes) {
        for (int k = 0; k < filters; k++) {
            to[k] = job->w[(first + k) * job->from_out + i];
        }
    }
}

static void pack_pair(const pack_job *job, int first, int blocks, float *to)
{
    const wtl_direct_pass *pass = job->pass;
    int lanes = blocks * B;
    if (first + lanes > pass->filters || pass->channels % B != 0) {
        memset(to, 0, (size_t)blocks * phases_floats(pass) * sizeof *to);
    }
    for (int f = 0; f < pass->phases[0] * pass->phases[1]; f++) {
        int fh = f / pass->phases[1], fw = f % pass->phases[1];
        if (pass->plain) {
            pack_plain(job, first, lanes, to);
        } else {
            pack_phase(job, first, lanes, &pass->axis[0][fh], &pass->axis[1][fw], to);
        }
        to += (size_t)blocks * block_floats(pass, fh, fw);
    }
}

void wtl_direct_pack(const wtl_direct_pass *pass, int threads, const float *w, const float *b,
                     float *packed)
{
    int blocks = blocks_of(pass->filters), pairs = (blocks + 1) / 2;
    long filter = (long)pass->r * pass->s;
    /* w is [K, C/G, R, S] in both passes. */
    long in = pass->transposed ? (long)pass->filters * filter : filter;
    long out = pass->transposed ? filter : (long)pass->channels * filter;
    long group = (long)pass->channels * pass->filters * filter;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int i = 0; i < pass->groups * pairs; i++) {
        int block = i % pairs * 2, of_group = i / pairs;
        pack_job job = {pass, w + of_group * group, in, out};
        pack_pair(&job, block * B, least(2, blocks - block),
                  packed + pair_start(pass, of_group, block));
    }
    float *bias = packed + (size_t)pass->groups * blocks * phases_floats(pass);
    memset(bias, 0, (size_t)pass->groups * blocks * B * sizeof *bias);
    for (int k = 0; b && k < pass->groups * pass->filters; k++) {
        bias[k] = b[k]; /* with several groups, filters are whole blocks */
    }
}

/* ---- padded copies ---- */

/* What a unit reads: rows [top, top + rows) and columns [left, left + pitch) of the input. */
typedef struct window {
    const float *data;
    int top, left;
    long pitch, plane; /* in pixels: of a row, of a block (or channel) */
    int pixel;         /* floats */
} window;

static void copy_row(const wtl_direct_pass *pass, const float *row, int left, int columns,
                     int pixel, float *to)
{
    int begin = least(most(-left, 0), columns), end = least(pass->w - left, columns);
    end = most(end, begin);
    memset(to, 0, (size_t)begin * pixel * sizeof *to);
    if (end > begin) {
        memcpy(to + (long)begin * pixel, row + (long)(left + begin) * pixel,
               (size_t)(end - begin) * pixel * sizeof *to);
    }
    memset(to + (long)end * pixel, 0, (size_t)(columns - end) * pixel * sizeof *to);
}

/* The window of output rows [p0, p1) over blocks (or channels) [first, last) of the group that
 * starts at x; copied to `patch` where the pass needs that. */
static window window_of(const wtl_direct_pass *pass, const float *x, int first, int last,
                        int p0, int p1, float *patch)
{
    int pixel = pass->plain ? 1 : B;
    window v = {.data = x, .pitch = pass->w, .plane = (long)pass->h * pass->w, .pixel = pixel};
    if (!pass->patches) {
        return v;
    }
    int high;
    reach(pass, 0, p0, p1, &v.top, &high);
    v.left = pass->low[1];
    int rows = high - v.top + 1, columns = pass->high[1] - v.left + 1;
    v.data = patch;
    v.pitch = columns;
    v.plane = (long)rows * columns;
    for (int plane = first; plane < last; plane++) {
        const float *from = x + (long)plane * pass->h * pass->w * pixel;
        float *to = patch + plane * v.plane * pixel;
        for (int row = 0; row < rows; row++, to += (long)columns * pixel) {
            int h = v.top + row;
            if (h < 0 || h >= pass->h) {
                memset(to, 0, (size_t)columns * pixel * sizeof *to);
            } else {
                copy_row(pass, from + (long)h * pass->w * pixel, v.left, columns, pixel, to);
            }
        }
    }
    return v;
}

static const float *at(const window *v, long row, long column)
{
    return v->data + ((row - v->top) * v->pitch + column - v->left) * v->pixel;
}

/* ---- forward, and the input's gradient ---- */

typedef struct correlation {
    const wtl_direct_pass *pass;
    const wtl_native *native;
    const float *packed, *bias; /* bias NULL: none */
    wtl_const_map in;
    const float *add; /* NULL, or like out */
    wtl_map out;
    wtl_activation activation;
    bool stream; /* out is larger than the caches */
} correlation;

static wtl_tile tile_of(const correlation *c, const window *v, const wtl_direct_axis *ah,
                        const wtl_direct_axis *aw)
{
    const wtl_direct_pass *pass = c->pass;
    wtl_tile t = {.block_step = v->plane * v->pixel,
                  .row_step = ah->tap_step * v->pitch * v->pixel,
                  .pixel_step = (long)aw->in_step * v->pixel,
                  .y_pixel_step = (long)aw->step * B,
                  .y_block_step = (long)pass->p * pass->q * B,
                  .stream = c->stream,
                  .activation = c->activation,
                  .rows = ah->taps};
    if (pass->plain) {
        t.blocks_in = pass->channels;
        t.cols = 1;
        t.depth = aw->taps;
    } else {
        t.blocks_in = blocks_of(pass->channels);
        t.cols = aw->taps;
        t.col_step = (long)aw->tap_step * B;
        t.depth = B;
    }
    return t;
}

/* One phase, output rows [p0, p1), one pair of blocks whose map starts at y. */
static void run_phase(const correlation *c, const window *v, const wtl_direct_axis *ah,
                      const wtl_direct_axis *aw, int p0, int p1, int blocks, const float *w,
                      const float *bias, long y)
{
    wtl_tile t = tile_of(c, v, ah, aw);
    int widest = c->native->tile->widths[blocks];
    int tiles = (aw->count + widest - 1) / widest;
    int from = p0 > ah->first ? (p0 - ah->first + ah->step - 1) / ah->step : 0;
    for (int i = from; i < ah->count && ah->first + i * ah->step < p1; i++) {
        long row = y + (long)(ah->first + i * ah->step) * c->pass->q * B;
        for (int tile = 0; tile < tiles; tile++) {
            int begin = (int)((long)aw->count * tile / tiles);
            int end = (int)((long)aw->count * (tile + 1) / tiles);
            long to = row + ((long)aw->first + (long)begin * aw->step) * B;
            c->native->tile->forward(&t, blocks, end - begin,
                                     at(v, ah->in_first + (long)i * ah->in_step,
                                        aw->in_first + (long)begin * aw->in_step),
                                     w, bias, c->add ? c->add + to : NULL, c->out.data + to);
        }
    }
}

/* All output blocks [first, last) of a group of one image. */
static void run_blocks(const correlation *c, const window *v, int group, int image, int p0,
                       int p1, int block, int blocks)
{
    const wtl_direct_pass *pass = c->pass;
    const float *w = c->packed + pair_start(pass, group, block);
    size_t of_group = (size_t)group * blocks_of(pass->filters) + block;
    const float *bias = c->bias ? c->bias + of_group * B : NULL;
    long y = (long)image * (long)c->out.image + (long)of_group * pass->p * pass->q * B;
    for (int f = 0; f < pass->phases[0] * pass->phases[1]; f++) {
        int fh = f / pass->phases[1], fw = f % pass->phases[1];
        run_phase(c, v, &pass->axis[0][fh], &pass->axis[1][fw], p0, p1, blocks, w, bias, y);
        w += (size_t)blocks * block_floats(pass, fh, fw);
    }
}

/* How the work of a pass is cut: units of rows and images, and each into parts of the output
 * channels where the units alone do not occupy the threads evenly. */
typedef struct cut {
    int image_units, row_units, images, rows, parts;
    long units;
} cut;

/* How much longer the busiest of `threads` works than the mean. */
static double imbalance(long items, int threads)
{
    return (double)((items + threads - 1) / threads * threads) / (double)items;
}

static cut cut_work(const wtl_direct_pass *pass, int n, int threads)
{
    cut c = {.images = pass->images, .rows = pass->rows, .parts = 1};
    while (c.images > 1 && (n + c.images - 1) / c.images * pass->groups < 4 * threads) {
        c.images /= 2;
    }
    c.image_units = (n + c.images - 1) / c.images;
    c.row_units = (pass->p + c.rows - 1) / c.rows;
    c.units = (long)c.image_units * c.row_units * pass->groups;
    int pairs = (blocks_of(pass->filters) + 1) / 2;
    double whole = imbalance(c.units, threads), by_pairs = imbalance(c.units * pairs, threads);
    int finer = threads * ((c.row_units + threads - 1) / threads);
    finer = least(finer, pass->p);
    double by_rows = imbalance(pass->p, finer) * imbalance((long)finer * pass->groups, threads);
    if (whole < 1.1 || (by_pairs > 0.95 * whole && by_rows > 0.95 * whole)) {
        return c;
    }
    if (by_rows < by_pairs) {
        c.rows = (pass->p + finer - 1) / finer;
        c.row_units = (pass->p + c.rows - 1) / c.rows;
        c.units = (long)c.image_units * c.row_units * pass->groups;
    } else {
        c.parts = least(threads, pairs);
    }
    return c;
}

typedef struct position {
    long unit;
    int group, image, images, p0, p1;
} position;

static position position_of(const wtl_direct_pass *pass, const cut *c, int n, long unit)
{
    position at = {.unit = unit, .group = (int)(unit % pass->groups)};
    long rest = unit / pass->groups;
    at.p0 = (int)(rest % c->row_units) * c->rows;
    at.p1 = least(pass->p, at.p0 + c->rows);
    at.image = (int)(rest / c->row_units) * c->images;
    at.images = least(c->images, n - at.image);
    return at;
}

static void run_unit(const correlation *c, const position *u, int part, int parts,
                     const window *windows)
{
    int blocks = blocks_of(c->pass->filters), pairs = (blocks + 1) / 2;
    long begin, end;
    wtl_share(pairs, part, parts, &begin, &end);
    for (int block = (int)begin * 2; block < end * 2 && block < blocks; block += 2) {
        for (int i = 0; i < u->images; i++) {
            run_blocks(c, &windows[i], u->group, u->image + i, u->p0, u->p1, block,
                       least(2, blocks - block));
        }
    }
}

static void correlate(correlation *c, int n, int threads, float *scratch)
{
    const wtl_direct_pass *pass = c->pass;
    c->stream = wtl_streams((size_t)n * c->out.image);
    cut work = cut_work(pass, n, threads);
    long items = work.units * work.parts;
    int planes = pass->plain ? pass->channels : blocks_of(pass->channels);
    long group = (long)planes * pass->h * pass->w * (pass->plain ? 1 : B);
    int used = items < threads ? (int)items : threads;
#pragma omp parallel for num_threads(used) schedule(static, 1) if (used > 1)
    for (int thread = 0; thread < used; thread++) {
        long begin, end, last = -1;
        window windows[MOST_UNIT_IMAGES];
        float *patch = scratch + (size_t)thread * pass->patch * (size_t)pass->images;
        wtl_share(items, thread, used, &begin, &end);
        for (long item = begin; item < end; item++) {
            position u = position_of(pass, &work, n, item / work.parts);
            for (int i = 0; i < u.images && u.unit != last; i++) {
                const float *x = c->in.data + (size_t)(u.image + i) * c->in.image;
                windows[i] = window_of(pass, x + u.group * group, 0, planes, u.p0, u.p1,
                                       patch + (size_t)i * pass->patch);
            }
            last = u.unit;
            run_unit(c, &u, (int)(item % work.parts), work.parts, windows);
        }
        c->native->tile->fence();
    }
}

void wtl_direct_forward(const wtl_direct *d, const wtl_native *native, int n, wtl_const_map x,
                        const float *packed, const float *add, wtl_activation activation,
                        wtl_map y, float *scratch)
{
    const wtl_direct_pass *pass = &d->forward;
    size_t blocks = (size_t)pass->groups * blocks_of(pass->filters);
    correlation c = {.pass = pass,
                     .native = native,
                     .packed = packed,
                     .bias = packed + blocks * phases_floats(pass),
                     .in = x,
                     .add = add,
                     .out = y,
                     .activation = activation};
    correlate(&c, n, d->threads, scratch);
}

void wtl_direct_data(const wtl_direct *d, const wtl_native *native, int n, wtl_const_map dy,
                     const float *packed, wtl_map dx, float *scratch)
{
    correlation c = {.pass = &d->data, .native = native, .packed = packed, .in = dy, .out = dx};
    correlate(&c, n, d->threads, scratch);
}

/* ---- the weights' gradient ---- */

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
    return d->forward.plain ? d->forward.channels : blocks_of(d->forward.channels);
}

/* Taps that one call of the kernel does not cover. */
static int outer_taps(const wtl_direct *d)
{
    return d->forward.plain ? d->geometry.r : d->geometry.r * d->geometry.s;
}

enum { FEW_SUMS = 32 * 1024 };

static size_t tile_floats(const wtl_direct *d)
{
    return (size_t)outer_taps(d) * (size_t)depth_of(&d->forward) * B;
}

static split split_outer(const wtl_direct *d)
{
    int in = inputs_of(d), out = blocks_of(d->forward.filters), threads = d->threads;
    size_t sums = (size_t)in * (size_t)out * tile_floats(d);
    size_t maps = (size_t)(in + out) * B * (size_t)d->forward.p * (size_t)d->forward.q;
    if (sums <= FEW_SUMS && maps >= 8 * sums) { /* each image is read by one thread alone */
        return (split){1, 1, threads};
    }
    if (in >= threads && imbalance(in, threads) < 1.15) {
        return (split){threads, 1, 1};
    }
    if (out >= threads && imbalance(out, threads) < 1.15) {
        return (split){1, threads, 1};
    }
    return (split){1, 1, threads};
}

static size_t share_floats(const wtl_direct *d, const split *s)
{
    int in = (inputs_of(d) + s->in - 1) / s->in;
    int out = (blocks_of(d->forward.filters) + s->out - 1) / s->out;
    return (size_t)in * (size_t)out * tile_floats(d);
}

enum { OUTER_PIXELS = 176 }; /* of one call: maps of x and dy stay in the first-level cache */

/* All taps of one input block and one pair over output rows [p0, p1) of an image. */
static void outer_rows(const outer *o, const window *v, int in, const float *dy, int blocks,
                       int p0, int p1, float *sums)
{
    const wtl_conv_geometry *g = &o->d->geometry;
    wtl_outer t = {.pixels = g->q,
                   .x_row = g->stride[0] * v->pitch * v->pixel,
                   .x_step = (long)g->stride[1] * v->pixel,
                   .dy_row = (long)g->q * B,
                   .dy_block = (long)g->p * g->q * B};
    int step = most(1, OUTER_PIXELS / g->q), depth = depth_of(&o->d->forward);
    int cols = o->d->forward.plain ? 1 : g->s;
    for (int p = p0; p < p1; p += step) {
        t.rows = least(step, p1 - p);
        float *to = sums;
        for (int r = 0; r < g->r; r++) {
            for (int s = 0; s < cols; s++, to += (long)depth * blocks * B) {
                const float *x =
                    at(v, (long)p * g->stride[0] + (long)r * g->dilation[0] - g->pad[0],
                       (long)s * g->dilation[1] - g->pad[2]);
                o->native->tile->weights(&t, blocks, depth, x + in * v->plane * v->pixel,
                                         dy + (long)p * g->q * B, to);
            }
        }
    }
}

/* Rows [p0, p1) of `images` images, whose windows are ready. */
static void outer_unit(const outer *o, const window *v, int group, int image, int images,
                       int p0, int p1)
{
    const wtl_direct_pass *pass = &o->d->forward;
    size_t plane = (size_t)pass->p * pass->q * B, tile = tile_floats(o->d);
    float *sums = o->sums;
    for (int in = o->in0; in < o->in1; in++) {
        for (int out = o->out0; out < o->out1; out += 2) {
            int blocks = least(2, o->out1 - out);
            size_t block = (size_t)group * blocks_of(pass->filters) + out;
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
    int channels = (pass->plain ? pass->channels : blocks_of(pass->channels) * B) +
                   blocks_of(pass->filters) * B;
    int fitting = 2 * UNIT_FLOATS / (channels * pass->q);
    return fitting < 1 ? 1 : least(fitting, pass->rows);
}

static void outer_group(const outer *o, int group)
{
    const wtl_direct_pass *pass = &o->d->forward;
    int rows = outer_rows_of(pass);
    size_t of_group = (size_t)inputs_of(o->d) * pass->h * pass->w * (pass->plain ? 1 : B);
    window windows[MOST_UNIT_IMAGES];
    memset(o->sums, 0,
           (size_t)(o->in1 - o->in0) * (size_t)(o->out1 - o->out0) * tile_floats(o->d) *
               sizeof *o->sums);
    for (int n = o->n0; n < o->n1; n += pass->images) {
        int images = least(pass->images, o->n1 - n);
        for (int p0 = 0; p0 < pass->p; p0 += rows) {
            int p1 = least(pass->p, p0 + rows);
            for (int i = 0; i < images; i++) {
                const float *x = o->x.data + (size_t)(n + i) * o->x.image + group * of_group;
                windows[i] = window_of(pass, x, o->in0, o->in1, p0, p1,
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
    wtl_share(blocks_of(d->forward.filters), s->out > 1 ? thread : 0, s->out, &out0, &out1);
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
    int blocks = pass->groups * blocks_of(pass->filters), threads = least(d->threads, blocks);
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
