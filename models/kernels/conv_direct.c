/* conv_direct.c - see conv_direct.h.
 *
 * Forward and the input's gradient are one correlation here (wtl_direct_pass): the gradient
 * reads dy by the same taps backwards, and where the filters move by a stride, the pixels of
 * dx fall into phases, each with its own share of the taps. A *unit* of work is some rows of
 * the output of some images of one group: small enough that the part of the input it reads
 * stays in the second-level cache while all filters pass over it.
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

/* ---- padded copies ---- */

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

wtl_direct_window wtl_direct_window_of(const wtl_direct_pass *pass, const float *x, int first,
                                       int last, int p0, int p1, float *patch)
{
    int pixel = pass->plain ? 1 : B;
    wtl_direct_window v = {
        .data = x, .pitch = pass->w, .plane = (long)pass->h * pass->w, .pixel = pixel};
    if (!pass->patches) {
        return v;
    }
    int high;
    wtl_direct_reach(pass, 0, p0, p1, &v.top, &high);
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

static wtl_tile tile_of(const correlation *c, const wtl_direct_window *v,
                        const wtl_direct_axis *ah, const wtl_direct_axis *aw)
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
        t.blocks_in = wtl_direct_blocks(pass->channels);
        t.cols = aw->taps;
        t.col_step = (long)aw->tap_step * B;
        t.depth = B;
    }
    return t;
}

/* One phase, output rows [p0, p1), one pair of blocks whose map starts at y. */
static void run_phase(const correlation *c, const wtl_direct_window *v,
                      const wtl_direct_axis *ah, const wtl_direct_axis *aw, int p0, int p1,
                      int blocks, const float *w, const float *bias, long y)
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
                                     wtl_direct_at(v, ah->in_first + (long)i * ah->in_step,
                                                   aw->in_first + (long)begin * aw->in_step),
                                     w, bias, c->add ? c->add + to : NULL, c->out.data + to);
        }
    }
}

/* All output blocks [first, last) of a group of one image. */
static void run_blocks(const correlation *c, const wtl_direct_window *v, int group, int image,
                       int p0, int p1, int block, int blocks)
{
    const wtl_direct_pass *pass = c->pass;
    const float *w = c->packed + wtl_direct_pair_start(pass, group, block);
    size_t of_group = (size_t)group * wtl_direct_blocks(pass->filters) + block;
    const float *bias = c->bias ? c->bias + of_group * B : NULL;
    long y = (long)image * (long)c->out.image + (long)of_group * pass->p * pass->q * B;
    for (int f = 0; f < pass->phases[0] * pass->phases[1]; f++) {
        int fh = f / pass->phases[1], fw = f % pass->phases[1];
        run_phase(c, v, &pass->axis[0][fh], &pass->axis[1][fw], p0, p1, blocks, w, bias, y);
        w += (size_t)blocks * wtl_direct_block_floats(pass, fh, fw);
    }
}

/* How the work of a pass is cut: units of rows and images, and each into parts of the output
 * channels where the units alone do not occupy the threads evenly. */
typedef struct cut {
    int image_units, row_units, images, rows, parts;
    long units;
} cut;

static cut cut_work(const wtl_direct_pass *pass, int n, int threads)
{
    cut c = {.images = pass->images, .rows = pass->rows, .parts = 1};
    while (c.images > 1 && (n + c.images - 1) / c.images * pass->groups < 4 * threads) {
        c.images /= 2;
    }
    c.image_units = (n + c.images - 1) / c.images;
    c.row_units = (pass->p + c.rows - 1) / c.rows;
    c.units = (long)c.image_units * c.row_units * pass->groups;
    int pairs = (wtl_direct_blocks(pass->filters) + 1) / 2;
    double whole = wtl_direct_imbalance(c.units, threads),
           by_pairs = wtl_direct_imbalance(c.units * pairs, threads);
    int finer = threads * ((c.row_units + threads - 1) / threads);
    finer = least(finer, pass->p);
    double by_rows = wtl_direct_imbalance(pass->p, finer) *
                     wtl_direct_imbalance((long)finer * pass->groups, threads);
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
                     const wtl_direct_window *windows)
{
    int blocks = wtl_direct_blocks(c->pass->filters), pairs = (blocks + 1) / 2;
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
    int planes = pass->plain ? pass->channels : wtl_direct_blocks(pass->channels);
    long group = (long)planes * pass->h * pass->w * (pass->plain ? 1 : B);
    int used = items < threads ? (int)items : threads;
#pragma omp parallel for num_threads(used) schedule(static, 1) if (used > 1)
    for (int thread = 0; thread < used; thread++) {
        long begin, end, last = -1;
        wtl_direct_window windows[WTL_DIRECT_MOST_IMAGES];
        float *patch = scratch + (size_t)thread * pass->patch * (size_t)pass->images;
        wtl_share(items, thread, used, &begin, &end);
        for (long item = begin; item < end; item++) {
            position u = position_of(pass, &work, n, item / work.parts);
            for (int i = 0; i < u.images && u.unit != last; i++) {
                const float *x = c->in.data + (size_t)(u.image + i) * c->in.image;
                windows[i] = wtl_direct_window_of(pass, x + u.group * group, 0, planes, u.p0,
                                                  u.p1, patch + (size_t)i * pass->patch);
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
    size_t blocks = (size_t)pass->groups * wtl_direct_blocks(pass->filters);
    correlation c = {.pass = pass,
                     .native = native,
                     .packed = packed,
                     .bias = packed + blocks * wtl_direct_phases_floats(pass),
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
