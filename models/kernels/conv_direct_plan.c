/* conv_direct_plan.c - how a direct convolution is cut, and its packed filters.
 *
 * Packed filters: a phase after the other, in each the output channels by two blocks (the last
 * may be one), in each [blocks_in, rows, cols, 16, 16*blocks]; then the bias, padded with 0.
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

void wtl_direct_reach(const wtl_direct_pass *pass, int axis, int begin, int end, int *low,
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
        wtl_direct_reach(pass, axis, 0, axis == 0 ? pass->p : pass->q, &pass->low[axis],
                         &pass->high[axis]);
    }
    pass->patches = pass->low[0] < 0 || pass->low[1] < 0 || pass->high[0] >= pass->h ||
                    pass->high[1] >= pass->w;
    size_t depth =
        pass->plain ? (size_t)pass->channels : (size_t)wtl_direct_blocks(pass->channels) * B;
    size_t row = depth * (size_t)(pass->patches ? pass->high[1] - pass->low[1] + 1 : pass->w);
    pass->rows = pass->p;
    int low, high;
    wtl_direct_reach(pass, 0, 0, pass->rows, &low, &high);
    while (pass->rows > 1 && row * (size_t)(high - low + 1) > WTL_DIRECT_UNIT) {
        int units = (pass->p + pass->rows - 1) / pass->rows + 1;
        pass->rows = least(pass->rows - 1, (pass->p + units - 1) / units);
        wtl_direct_reach(pass, 0, 0, pass->rows, &low, &high);
    }
    /* A block of a later unit may start at another phase and so reach a row further. */
    pass->patch = pass->patches ? row * (size_t)(high - low + 2) : 0;
    pass->images = 1;
    if (pass->rows == pass->p) {
        size_t fitting = WTL_DIRECT_UNIT / (row * (size_t)(high - low + 1) + 1);
        pass->images =
            fitting > WTL_DIRECT_MOST_IMAGES ? WTL_DIRECT_MOST_IMAGES : most(1, (int)fitting);
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
int wtl_direct_depth(const wtl_direct_pass *pass)
{
    return pass->plain ? pass->s : B;
}

static size_t taps_of_phase(const wtl_direct_pass *pass, int fh, int fw)
{
    if (pass->plain) {
        return (size_t)pass->channels * pass->r;
    }
    return (size_t)wtl_direct_blocks(pass->channels) * pass->axis[0][fh].taps *
           pass->axis[1][fw].taps;
}

/* Floats of a phase's filters for one block of output channels of one group. */
size_t wtl_direct_block_floats(const wtl_direct_pass *pass, int fh, int fw)
{
    return taps_of_phase(pass, fh, fw) * (size_t)wtl_direct_depth(pass) * B;
}

size_t wtl_direct_phases_floats(const wtl_direct_pass *pass)
{
    size_t sum = 0;
    for (int f = 0; f < pass->phases[0] * pass->phases[1]; f++) {
        sum += wtl_direct_block_floats(pass, f / pass->phases[1], f % pass->phases[1]);
    }
    return sum;
}

/* Filters of one pair of blocks of a group lie together, phase after phase. */
size_t wtl_direct_pair_start(const wtl_direct_pass *pass, int group, int block)
{
    return ((size_t)group * wtl_direct_blocks(pass->filters) + block) *
           wtl_direct_phases_floats(pass);
}

size_t wtl_direct_packed(const wtl_direct_pass *pass)
{
    size_t blocks = (size_t)pass->groups * wtl_direct_blocks(pass->filters);
    return blocks * wtl_direct_phases_floats(pass) + blocks * B;
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
        memset(to, 0, (size_t)blocks * wtl_direct_phases_floats(pass) * sizeof *to);
    }
    for (int f = 0; f < pass->phases[0] * pass->phases[1]; f++) {
        int fh = f / pass->phases[1], fw = f % pass->phases[1];
        if (pass->plain) {
            pack_plain(job, first, lanes, to);
        } else {
            pack_phase(job, first, lanes, &pass->axis[0][fh], &pass->axis[1][fw], to);
        }
        to += (size_t)blocks * wtl_direct_block_floats(pass, fh, fw);
    }
}

void wtl_direct_pack(const wtl_direct_pass *pass, int threads, const float *w, const float *b,
                     float *packed)
{
    int blocks = wtl_direct_blocks(pass->filters), pairs = (blocks + 1) / 2;
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
                  packed + wtl_direct_pair_start(pass, of_group, block));
    }
    float *bias = packed + (size_t)pass->groups * blocks * wtl_direct_phases_floats(pass);
    memset(bias, 0, (size_t)pass->groups * blocks * B * sizeof *bias);
    for (int k = 0; b && k < pass->groups * pass->filters; k++) {
        bias[k] = b[k]; /* with several groups, filters are whole blocks */
    }
}
