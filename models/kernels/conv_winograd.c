/* conv_winograd.c - convolution by Winograd's minimal filtering, sizes as in conv_kernels.h.
 *
 * Output is cut into tiles of 4x4 pixels (2x2 if filters are 5x5), counted through all images,
 * and these into *runs* of some dozens. A run's tiles of x, 6x6 and overlapping, are transformed:
 *
 *   V [36, C/16, tiles, 16]      M [K/16, 36, tiles, 16]      U [36, K/32, C, 32]
 *
 * then each of the 36 values is a matrix product over channels, M = U * V, and M is transformed
 * back into y. V and M of a run stay in cache; U, the transformed weights, is read once a run.
 * A last odd block of K makes a *pair* of 16 lanes instead of 32.
 *
 * The gradient of the input is the same with the weights turned around. That of the weights
 * transforms tiles of dy to D, laid out as V, and sums products over tiles, dU += V * D:
 *
 *   D [36, K/16, tiles, 16]      dU [K/32, C/16, 36, 16, 32]
 *
 * In all of these the 36 values are a cache line further apart than their data where that is
 * needed to keep them from falling into one set of the cache.
 *
 * Threads take shares of the tiles, or, where tiles are few or copies of dU would be large, of
 * the pairs of output channels too (and then each transforms V for itself).
 */
#include "conv_winograd.h"

#include "native/tile.h"
#include "native/winograd.h"

#include "wattle/memory.h"
#include "wattle/threads.h"

#include <stdint.h>
#include <string.h>

enum {
    BLOCK = WTL_BLOCK_CHANNELS,
    VALUES = WTL_WINOGRAD_VALUES,
    MOST_TAPS = WTL_WINOGRAD_MOST_TAPS,
    TILE_AND_FILTER = 7,      /* their sizes add up to this */
    PAIR = 2 * BLOCK,         /* lanes of a pair of blocks */
    RUN_FLOATS = 1024 * 1024, /* of V, more or less */
    LEAST_RUN = 56,           /* tiles: below this U is read too often */
    MOST_RUN = 112,
    GROUP_PAIRS = 2,            /* pairs whose M lies in cache */
    LEAST_SHARE = 28,           /* tiles a thread, for threads to share tiles alone */
    COPIED_FLOATS = 512 * 1024, /* of dU, that each thread may have a copy of */
};

/* How one convolution is cut. Channels, blocks and pairs are those of a group. */
typedef struct cut {
    int c, k;       /* channels that exist */
    int tile, taps; /* columns of a tile, values of a filter */
    int blocks_in, blocks_out, pairs;
    int down, across;           /* tiles of an image */
    long tiles;                 /* of all images */
    int run;                    /* most tiles of a run */
    long step;                  /* of V and D: floats from value to value */
    long m_step;                /* the same of M */
    int tile_parts, pair_parts; /* shares of threads */
} cut;

static int least(long a, long b)
{
    return (int)(a < b ? a : b);
}

static int blocks_of(int channels)
{
    return (channels + BLOCK - 1) / BLOCK;
}

/* Floats of `count` values, and a line more if that keeps 36 of them from falling into one set of
 * the cache. */
static long spread(long count)
{
    return count / BLOCK % 2 == 0 ? count + BLOCK : count;
}

/* The most tiles of a run whose V and D have `blocks` blocks of channels. */
static int run_of(int blocks, long tiles)
{
    long run = RUN_FLOATS / (VALUES * BLOCK * (long)blocks) / 14 * 14;
    run = run < LEAST_RUN ? LEAST_RUN : run > MOST_RUN ? MOST_RUN : run;
    return tiles < 1 ? 1 : least(run, tiles);
}

static cut cut_of(const wtl_conv_geometry *g, int n)
{
    cut t = {.c = g->c / g->groups, .k = g->k / g->groups, .tile_parts = 1, .pair_parts = 1};
    t.blocks_in = blocks_of(t.c);
    t.blocks_out = blocks_of(t.k);
    t.pairs = (t.blocks_out + 1) / 2;
    t.taps = g->r * g->s;
    t.tile = TILE_AND_FILTER - g->r;
    t.down = (g->p + t.tile - 1) / t.tile;
    t.across = (g->q + t.tile - 1) / t.tile;
    t.tiles = (long)n * t.down * t.across;
    return t;
}

static void set_run(cut *t, int blocks)
{
    t->run = run_of(blocks, t->tiles);
    t->step = spread((long)blocks * t->run * BLOCK);
    t->m_step = spread((long)t->run * BLOCK);
}

/* `threads` as tile_parts * pair_parts, with `pair_parts` the least factor from `from` on. */
static void share(cut *t, int threads, int from)
{
    t->pair_parts = from;
    while (threads % t->pair_parts != 0) {
        t->pair_parts++;
    }
    t->tile_parts = threads / t->pair_parts;
}

/* Tiles alone if there are enough of them. */
static cut forward_cut(const wtl_conv_geometry *g, int n, int threads)
{
    cut t = cut_of(g, n);
    set_run(&t, t.blocks_in);
    int from = 1;
    while (from < threads && from < t.pairs && t.tiles * from < (long)LEAST_SHARE * threads) {
        from++;
    }
    share(&t, threads, from);
    return t;
}

/* Floats of dU: most of what there is of it. */
static long gradient_floats(const cut *t)
{
    return (long)t->pairs * t->blocks_in * VALUES * spread((long)BLOCK * PAIR);
}

/* Pairs where copies of dU are large and pairs many: not by `n`, which scratch may not know. */
static cut weights_cut(const wtl_conv_geometry *g, int n, int threads)
{
    cut t = cut_of(g, n);
    set_run(&t, t.blocks_in > t.blocks_out ? t.blocks_in : t.blocks_out);
    int from = 1;
    while (from < threads && gradient_floats(&t) > COPIED_FLOATS && t.pairs >= 4 * (from + 1)) {
        from++;
    }
    share(&t, threads, from);
    return t;
}

/* The convolution that makes dx of dy. */
static wtl_conv_geometry turned(const wtl_conv_geometry *g)
{
    wtl_conv_geometry t = *g;
    t.c = g->k, t.h = g->p, t.w = g->q;
    t.k = g->c, t.p = g->h, t.q = g->w;
    for (int side = 0; side < 4; side++) {
        t.pad[side] = g->r - 1 - g->pad[side];
    }
    return t;
}

bool wtl_winograd_takes(const wtl_conv_geometry *g)
{
    bool whole =
        g->groups == 1 || (g->c / g->groups % BLOCK == 0 && g->k / g->groups % BLOCK == 0);
    for (int side = 0; side < 4; side++) {
        whole = whole && g->pad[side] >= 0 && g->pad[side] < g->r;
    }
    return whole && (g->r == 3 || g->r == 5) && g->s == g->r && g->stride[0] == 1 &&
           g->stride[1] == 1 && g->dilation[0] == 1 && g->dilation[1] == 1;
}

bool wtl_winograd_pays(const wtl_conv_geometry *g)
{
    if (!wtl_winograd_takes(g)) {
        return false;
    }
    cut t = cut_of(g, 1);
    double direct = (double)g->p * g->q * t.taps;
    return t.c >= BLOCK && t.k >= BLOCK && VALUES * (double)t.tiles <= 0.7 * direct;
}

static const wtl_winograd_size *size_of(const wtl_native *native, const cut *t)
{
    return &native->winograd->size[t->taps == 9 ? 0 : 1];
}

/* ---- scratch ---- */

static long v_floats(const cut *t)
{
    return VALUES * t->step;
}

static long m_floats(const cut *t)
{
    return 2L * GROUP_PAIRS * VALUES * t->m_step;
}

static size_t forward_floats(const wtl_conv_geometry *g, int batch, int threads)
{
    cut t = forward_cut(g, batch, threads);
    return (size_t)threads * (size_t)(v_floats(&t) + m_floats(&t));
}

static size_t weights_floats(const wtl_conv_geometry *g, int batch, int threads)
{
    cut t = weights_cut(g, batch, threads);
    size_t copies;
    return wtl_mul((size_t)t.tile_parts, (size_t)gradient_floats(&t), &copies)
               ? copies + (size_t)threads * 2 * (size_t)v_floats(&t)
               : SIZE_MAX;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t wtl_winograd_scratch(const wtl_conv_geometry *g, int batch, int threads, bool training)
{
    size_t floats = forward_floats(g, batch, threads), bytes;
    if (training) {
        wtl_conv_geometry back = turned(g);
        floats = larger(floats, forward_floats(&back, batch, threads));
        floats = larger(floats, weights_floats(g, batch, threads));
    }
    return wtl_mul(floats, sizeof(float), &bytes) ? bytes : SIZE_MAX;
}

/* ---- weights to U, dU to their gradient ---- */

/* Where a block of output channels lies in U or dU of a group: its first value, and the distances
 * of the 36 values, of blocks of input channels and of input channels. */
typedef struct in_u {
    long first, value, block_in;
    int lanes;
} in_u;

static int lanes_of(const cut *t, int pair)
{
    return least(2, t->blocks_out - 2L * pair) * BLOCK;
}

static in_u place_in_u(const cut *t, int block_out)
{
    long channels = (long)t->blocks_in * BLOCK;
    int pair = block_out / 2, lanes = lanes_of(t, pair);
    return (in_u){.first = pair * channels * PAIR + block_out % 2 * BLOCK,
                  .value = spread(channels * t->blocks_out * BLOCK),
                  .block_in = (long)BLOCK * lanes,
                  .lanes = lanes};
}

static in_u place_in_gradient(const cut *t, int block_out)
{
    int pair = block_out / 2, lanes = lanes_of(t, pair);
    long value = spread((long)BLOCK * lanes);
    return (in_u){.first = pair * t->blocks_in * VALUES * spread((long)BLOCK * PAIR) +
                           block_out % 2 * BLOCK,
                  .value = value,
                  .block_in = VALUES * value,
                  .lanes = lanes};
}

static long group_floats(const cut *t)
{
    return VALUES * spread((long)t->blocks_in * BLOCK * t->blocks_out * BLOCK);
}

size_t wtl_winograd_pack_floats(const wtl_conv_geometry *g)
{
    wtl_conv_geometry back = turned(g);
    cut t = cut_of(g, 1), flipped = cut_of(&back, 1);
    return (size_t)g->groups * larger((size_t)group_floats(&t), (size_t)group_floats(&flipped));
}

/* Filters of `channels` input and `lanes` output channels, to taps [16][taps][16]; those of the
 * padding are 0. */
static void gather_filters(const float *w, long in_step, int channels, long out_step, int lanes,
                           int count, bool flipped, float *taps)
{
    if (lanes < BLOCK || channels < BLOCK) {
        memset(taps, 0, sizeof(float) * BLOCK * BLOCK * (size_t)count);
    }
    int first = flipped ? count - 1 : 0, step = flipped ? -1 : 1;
    for (int c = 0; c < channels; c++, taps += count * BLOCK) {
        for (int lane = 0; lane < lanes; lane++) {
            const float *from = w + c * in_step + lane * out_step;
            for (int tap = 0; tap < count; tap++) {
                taps[tap * BLOCK + lane] = from[first + tap * step];
            }
        }
    }
}

void wtl_winograd_pack(const wtl_native *native, const wtl_conv_geometry *g, int threads,
                       const float *w, bool flipped, float *packed)
{
    wtl_conv_geometry back = turned(g);
    cut t = cut_of(flipped ? &back : g, 1);
    const wtl_winograd_size *size = size_of(native, &t);
    long in_step = flipped ? (long)t.k * t.taps : t.taps;
    long out_step = flipped ? t.taps : (long)t.c * t.taps;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int block = 0; block < g->groups * t.blocks_out; block++) {
        int group = block / t.blocks_out, out = block % t.blocks_out;
        in_u place = place_in_u(&t, out);
        const float *from = w + (long)group * t.k * t.c * t.taps + out * BLOCK * out_step;
        float *u = packed + group * group_floats(&t) + place.first;
        for (int c = 0; c < t.c; c += BLOCK) {
            float taps[BLOCK * MOST_TAPS * BLOCK];
            gather_filters(from + c * in_step, in_step, least(BLOCK, t.c - c), out_step,
                           least(BLOCK, t.k - (long)out * BLOCK), t.taps, flipped, taps);
            for (int d = 0; d < BLOCK; d++, u += place.lanes) {
                size->filter(taps + d * t.taps * BLOCK, u, place.value);
            }
        }
    }
}

/* taps [count,16] of `lanes` filters, `step` apart, added to them. */
static void add_filters(const float *taps, int count, int lanes, float *dw, long step)
{
    for (int lane = 0; lane < lanes; lane++, dw += step) {
        for (int tap = 0; tap < count; tap++) {
            dw[tap] += taps[tap * BLOCK + lane];
        }
    }
}

/* dU, `copies` of it, into dw. */
static void add_gradient(const wtl_native *native, const cut *t, int threads, const float *du,
                         int copies, float *dw)
{
    const wtl_winograd_size *size = size_of(native, t);
    long copy = gradient_floats(t), filter = (long)t->c * t->taps;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int block = 0; block < t->blocks_out; block++) {
        in_u place = place_in_gradient(t, block);
        int lanes = least(BLOCK, t->k - (long)block * BLOCK);
        float *to = dw + (long)block * BLOCK * filter;
        for (int c = 0; c < t->c; c++, to += t->taps) {
            const float *from =
                du + place.first + c / BLOCK * place.block_in + c % BLOCK * place.lanes;
            float taps[MOST_TAPS * BLOCK];
            size->filter_gradient(from, place.value, copies, copy, taps);
            add_filters(taps, t->taps, lanes, to, filter);
        }
    }
}

/* Asks for lines [begin, end) of what will be used next. */
static void prefetch(const float *data, long begin, long end)
{
    for (long line = begin; line < end; line++) {
        __builtin_prefetch(data + line * BLOCK, 0, 2);
    }
}

/* ---- transforms of the tiles of a run ---- */

/* The map of one pass that tiles are read from or written to. */
typedef struct tiled_map {
    int h, w, top, left; /* of the first tile */
    size_t image;        /* floats */
} tiled_map;

/* Some tiles in order: where they are in a map, image and all. */
typedef struct run {
    long begin;
    int count;
    wtl_winograd_place at[MOST_RUN];
    size_t image[MOST_RUN];
} run;

/* The tiles of a run in `map`. */
static void place_run(const cut *t, const tiled_map *map, run *r)
{
    long per_image = (long)t->down * t->across;
    for (int i = 0; i < r->count; i++) {
        long index = r->begin + i;
        int tile = (int)(index % per_image);
        r->image[i] = (size_t)(index / per_image) * map->image;
        r->at[i] = (wtl_winograd_place){
            .h = map->h,
            .w = map->w,
            .top = map->top + tile / t->across * t->tile,
            .left = map->left + tile % t->across * t->tile,
        };
    }
}

typedef void read_tile(const wtl_winograd_place *at, const float *map, float *to, long step);

/* `blocks` blocks of a map, from its pointer on, to V or D. */
static void read_tiles(const cut *t, run *r, read_tile *read, const tiled_map *map,
                       const float *from, int blocks, float *to)
{
    size_t block = (size_t)map->h * map->w * BLOCK;
    place_run(t, map, r);
    for (int b = 0; b < blocks; b++, from += block) {
        for (int i = 0; i < r->count; i++, to += BLOCK) {
            read(&r->at[i], from + r->image[i], to, t->step);
        }
    }
}

/* ---- outputs ---- */

typedef struct output_job {
    const wtl_native *native;
    const wtl_conv_geometry *g;
    cut t;
    tiled_map in, out;
    const float *x, *u, *b, *add;
    wtl_activation activation;
    float *y;
    float *v, *m; /* scratch of this thread */
} output_job;

/* One value of M of a pair. U of the pair that is next, at `ahead`, is asked for meanwhile: it
 * comes from afar, and nothing else tells the processor of it. */
static void multiply_pair(const wtl_tile_kernels *kernels, const wtl_tile *tile, int blocks,
                          int count, const float *v, const float *w, const float *ahead,
                          float *m)
{
    int most = kernels->widths[blocks], parts = (count + most - 1) / most;
    long lines = (long)tile->blocks_in * BLOCK * blocks;
    for (int part = 0; part < parts; part++) {
        int from = count * part / parts, to = count * (part + 1) / parts;
        prefetch(ahead, lines * part / parts, lines * (part + 1) / parts);
        kernels->forward(tile, blocks, to - from, v + (long)from * BLOCK, w, NULL, NULL,
                         m + (long)from * BLOCK);
    }
}

/* M of pairs [begin, end): their products with V. */
static void multiply(const output_job *job, const float *u, int begin, int end, int count)
{
    const cut *t = &job->t;
    wtl_tile tile = {.blocks_in = t->blocks_in,
                     .rows = 1,
                     .cols = 1,
                     .depth = BLOCK,
                     .block_step = (long)count * BLOCK,
                     .pixel_step = BLOCK,
                     .y_pixel_step = BLOCK,
                     .y_block_step = VALUES * t->m_step};
    in_u first = place_in_u(t, 2 * begin);
    for (int value = 0; value < VALUES; value++) {
        const float *v = job->v + value * t->step, *w = u + first.first + value * first.value;
        const float *next_value = value + 1 < VALUES ? w + first.value : w;
        for (int pair = begin; pair < end; pair++) {
            int blocks = lanes_of(t, pair) / BLOCK;
            const float *next = w + blocks * BLOCK * (long)t->blocks_in * BLOCK;
            bool last = pair == end - 1;
            multiply_pair(job->native->tile, &tile, blocks, count, v, w,
                          last ? next_value : next,
                          job->m + 2 * (pair - begin) * tile.y_block_step + value * t->m_step);
            w = next;
        }
    }
}

/* M of pairs [begin, end) of a group into y. */
static void write_tiles(const output_job *job, run *r, int group, int begin, int end)
{
    const cut *t = &job->t;
    size_t size = (size_t)job->out.h * job->out.w * BLOCK;
    int blocks = least(2L * end, t->blocks_out) - 2 * begin;
    place_run(t, &job->out, r);
    for (int b = 0; b < blocks; b++) {
        int block = 2 * begin + b, lanes = least(BLOCK, t->k - (long)block * BLOCK);
        float bias[BLOCK] = {0};
        if (job->b) {
            memcpy(bias, job->b + (long)group * t->k + (long)block * BLOCK,
                   (size_t)lanes * sizeof *bias);
        }
        const float *m = job->m + b * VALUES * t->m_step;
        for (int i = 0; i < r->count; i++, m += BLOCK) {
            size_t offset = r->image[i] + ((size_t)group * t->blocks_out + block) * size;
            size_of(job->native, t)
                ->output(&r->at[i], m, t->m_step, bias, job->add ? job->add + offset : NULL,
                         job->activation, job->y + offset);
        }
    }
}

static void output_run(const output_job *job, run *r, int pair_begin, int pair_end)
{
    const cut *t = &job->t;
    size_t group_in = (size_t)t->blocks_in * BLOCK * job->in.h * job->in.w;
    for (int group = 0; group < job->g->groups; group++) {
        const float *u = job->u + group * group_floats(t);
        read_tiles(t, r, job->native->winograd->input, &job->in, job->x + group * group_in,
                   t->blocks_in, job->v);
        for (int begin = pair_begin; begin < pair_end; begin += GROUP_PAIRS) {
            int end = least(begin + GROUP_PAIRS, pair_end);
            multiply(job, u, begin, end, r->count);
            write_tiles(job, r, group, begin, end);
        }
    }
}

/* Tiles [begin, end) in `count` runs of equal length: the `index`-th. */
static run run_at(long begin, long end, int index, int count)
{
    long from, to;
    run r;
    wtl_share(end - begin, index, count, &from, &to);
    r.begin = begin + from;
    r.count = (int)(to - from);
    return r;
}

static int runs_of(const cut *t, long tiles)
{
    return (int)((tiles + t->run - 1) / t->run);
}

static void make_output(output_job job, int threads, float *scratch)
{
    const cut *t = &job.t;
#pragma omp parallel for num_threads(threads) schedule(static, 1)                              \
    firstprivate(job) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        long begin, end, pair_begin, pair_end;
        wtl_share(t->tiles, part / t->pair_parts, t->tile_parts, &begin, &end);
        wtl_share(t->pairs, part % t->pair_parts, t->pair_parts, &pair_begin, &pair_end);
        job.v = scratch + part * (v_floats(t) + m_floats(t));
        job.m = job.v + v_floats(t);
        int runs = pair_begin < pair_end ? runs_of(t, end - begin) : 0;
        for (int i = 0; i < runs; i++) {
            run r = run_at(begin, end, i, runs);
            output_run(&job, &r, (int)pair_begin, (int)pair_end);
        }
    }
}

static tiled_map input_map(const wtl_conv_geometry *g, size_t image)
{
    return (tiled_map){
        .h = g->h, .w = g->w, .top = -g->pad[0], .left = -g->pad[2], .image = image};
}

static tiled_map output_map(const wtl_conv_geometry *g, size_t image)
{
    return (tiled_map){.h = g->p, .w = g->q, .image = image};
}

void wtl_winograd_forward(const wtl_native *native, const wtl_conv_geometry *g, int n,
                          int threads, const float *x, size_t x_image, const float *packed,
                          const float *b, const float *add, wtl_activation activation, float *y,
                          size_t y_image, float *scratch)
{
    output_job job = {.native = native,
                      .g = g,
                      .t = forward_cut(g, n, threads),
                      .in = input_map(g, x_image),
                      .out = output_map(g, y_image),
                      .x = x,
                      .u = packed,
                      .b = b,
                      .add = add,
                      .activation = activation,
                      .y = y};
    make_output(job, threads, scratch);
}

void wtl_winograd_data(const wtl_native *native, const wtl_conv_geometry *g, int n, int threads,
                       const float *dy, size_t y_image, const float *flipped, const float *add,
                       float *dx, size_t x_image, float *scratch)
{
    wtl_conv_geometry back = turned(g);
    wtl_winograd_forward(native, &back, n, threads, dy, y_image, flipped, NULL, add,
                         WTL_ACTIVATION_NONE, dx, x_image, scratch);
}

/* ---- gradient of the weights ---- */

typedef struct weights_job {
    const wtl_native *native;
    cut t;
    tiled_map in, out;
    const float *x, *dy; /* of the group */
    float *du;           /* of this thread's share of the tiles */
    float *v, *d;        /* scratch of this thread */
} weights_job;

/* dU of pairs [begin, end) += V * D; D starts at the first of these pairs. */
static void add_products(const weights_job *job, int begin, int end, int count)
{
    const cut *t = &job->t;
    wtl_outer outer = {
        .rows = 1, .pixels = count, .x_step = BLOCK, .dy_block = (long)count * BLOCK};
    for (int value = 0; value < VALUES; value++) {
        const float *v = job->v + value * t->step, *d = job->d + value * t->step;
        for (int pair = begin; pair < end; pair++, d += 2 * outer.dy_block) {
            in_u place = place_in_gradient(t, 2 * pair);
            float *du = job->du + place.first + value * place.value;
            for (int b = 0; b < t->blocks_in; b++, du += place.block_in) {
                if (b + 1 < t->blocks_in ||
                    pair + 1 < end) { /* the next pair comes right after */
                    prefetch(du + place.block_in, 0, place.lanes);
                }
                job->native->tile->weights(&outer, place.lanes / BLOCK, BLOCK,
                                           v + b * outer.dy_block, d, du);
            }
        }
    }
}

static void weights_share(const weights_job *job, long begin, long end, int pair_begin,
                          int pair_end)
{
    const cut *t = &job->t;
    if (pair_begin == pair_end) {
        return;
    }
    int first = 2 * pair_begin, blocks = least(2L * pair_end, t->blocks_out) - first;
    long pair = place_in_gradient(t, 2).first;
    memset(job->du + pair_begin * pair, 0,
           sizeof(float) * (size_t)(pair_end - pair_begin) * (size_t)pair);
    int runs = runs_of(t, end - begin);
    for (int i = 0; i < runs; i++) {
        run r = run_at(begin, end, i, runs);
        read_tiles(t, &r, job->native->winograd->input, &job->in, job->x, t->blocks_in, job->v);
        read_tiles(t, &r, size_of(job->native, t)->gradient, &job->out,
                   job->dy + (size_t)first * BLOCK * job->out.h * job->out.w, blocks, job->d);
        add_products(job, pair_begin, pair_end, r.count);
    }
}

static void weights_group(weights_job job, int threads, float *scratch)
{
    const cut *t = &job.t;
    float *du = scratch + threads * 2 * v_floats(t);
#pragma omp parallel for num_threads(threads) schedule(static, 1)                              \
    firstprivate(job) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        long begin, end, pair_begin, pair_end;
        wtl_share(t->tiles, part / t->pair_parts, t->tile_parts, &begin, &end);
        wtl_share(t->pairs, part % t->pair_parts, t->pair_parts, &pair_begin, &pair_end);
        job.v = scratch + part * 2 * v_floats(t);
        job.d = job.v + v_floats(t);
        job.du = du + part / t->pair_parts * gradient_floats(t);
        weights_share(&job, begin, end, (int)pair_begin, (int)pair_end);
    }
}

void wtl_winograd_weights(const wtl_native *native, const wtl_conv_geometry *g, int n,
                          int threads, const float *x, size_t x_image, const float *dy,
                          size_t y_image, float *dw, float *scratch)
{
    weights_job job = {.native = native,
                       .t = weights_cut(g, n, threads),
                       .in = input_map(g, x_image),
                       .out = output_map(g, y_image)};
    const cut *t = &job.t;
    for (int group = 0; group < g->groups; group++) {
        job.x = x + (size_t)group * t->blocks_in * BLOCK * g->h * g->w;
        job.dy = dy + (size_t)group * t->blocks_out * BLOCK * g->p * g->q;
        weights_group(job, threads, scratch);
        add_gradient(native, t, threads, scratch + threads * 2 * v_floats(t), t->tile_parts,
                     dw + (long)group * t->k * t->c * t->taps);
    }
}
