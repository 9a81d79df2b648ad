/* maxpool.c - the largest value of each window.
 *
 *   y[n,c,p,q]  = max over the window's h,v of x[n,c,h,v]; padding is never a maximum
 *   dx[n,c,h,v] = sum of dy[n,c,p,q] over the windows whose maximum is at h,v
 *
 * Of equal values the first in reading order counts; a NaN counts as the largest.
 *
 * Shapes:  x [n,C,H,W]   y [n,C,P,Q]
 *
 * forward saves, for training, the place of each maximum in its window as row << bits |
 * column, in 1, 2 or 4 bytes; in blocks of channels, one byte, in the order of y.
 */
#include "kernels/native/pool.h"
#include "kernels/parts.h"
#include "kernels/planes.h"
#include "kernels/pool_geometry.h"
#include "layer_ops.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <math.h>
#include <string.h>

enum {
    CHUNK = 32, /* output columns at a time: their maxima and places stay in L1 */
    /* Of the fast loops; larger strides, windows and maps take the reference. */
    MOST_STRIDE = 4,
    MOST_COLUMNS = 16,
    MOST_WIDTH = 1 << 16
};

typedef struct maxpool_state {
    wtl_pool_geometry geometry;
    const wtl_pool_kernels *in_blocks;        /* or NULL; then nothing below is used */
    int bits;                                 /* of a column in a saved place */
    int bytes;                                /* of a saved place */
    bool fast;                                /* the lines below are used */
    int line;                                 /* floats of a line */
    int tap[MOST_COLUMNS];                    /* where a tap column starts in its row's lines */
    int begin[MOST_STRIDE], end[MOST_STRIDE]; /* the part of a phase that is not padding */
} maxpool_state;

static wtl_status maxpool_check(wtl_layer_def *def, wtl_error *err)
{
    return wtl_pool_check(&def->as.pool, "give kernel=K or global=yes", err);
}

static wtl_status maxpool_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                                wtl_shape *out, wtl_error *err)
{
    (void)input_count;
    return wtl_pool_shape(&def->as.pool, in[0], out, err);
}

/* A line serves whole chunks. */
static void lines_setup(maxpool_state *state)
{
    const wtl_pool_geometry *g = &state->geometry;
    int stride = g->stride[1];
    int chunks = (g->out[1] + CHUNK - 1) / CHUNK;
    state->line = chunks * CHUNK + ((g->kernel[1] - 1) / stride + 15) / 16 * 16;
    for (int s = 0; s < g->kernel[1]; s++) {
        state->tap[s] = s % stride * state->line + s / stride;
    }
    for (int phase = 0; phase < stride; phase++) {
        int start = phase - g->pad[2], room = g->in[1] - start; /* column of x at phase[0] */
        int end = room > 0 ? (room + stride - 1) / stride : 0;
        state->begin[phase] = start < 0 ? (-start + stride - 1) / stride : 0;
        state->end[phase] = end < state->line ? end : state->line;
    }
}

static size_t lines_floats(const maxpool_state *state)
{
    const wtl_pool_geometry *g = &state->geometry;
    return (size_t)g->in[0] * (size_t)g->stride[1] * (size_t)state->line;
}

/* A place takes a byte. */
static bool maxpool_blocks(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                           wtl_shape out)
{
    (void)input_count;
    wtl_pool_geometry g = wtl_pool_geometry_of(&def->as.pool, in[0], out);
    return g.kernel[0] <= WTL_POOL_MOST_TAPS && g.kernel[1] <= WTL_POOL_MOST_TAPS;
}

static wtl_status saved_places(wtl_layer_plan *plan, size_t image, int bytes, wtl_error *err)
{
    size_t places;
    if (plan->training && (!wtl_mul(image, (size_t)plan->batch, &places) ||
                           !wtl_mul(places, (size_t)bytes, &plan->saved_bytes))) {
        return wtl_fail(err, WTL_E_RANGE, "a batch of %d does not fit in memory", plan->batch);
    }
    return WTL_OK;
}

static wtl_status maxpool_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                                wtl_error *err)
{
    maxpool_state *state = self;
    state->geometry = wtl_pool_geometry_of(&def->as.pool, plan->in[0], plan->out);
    if (plan->blocked_in) {
        state->in_blocks = plan->native->pool;
        plan->kernel = "in blocks";
        return saved_places(plan, wtl_blocked_count(plan->out), 1, err);
    }
    const int *kernel = state->geometry.kernel;
    int side = kernel[0] > kernel[1] ? kernel[0] : kernel[1];
    if (side > 1 << 15) {
        return wtl_fail(err, WTL_E_RANGE, "a window of %dx%d, at most 32768x32768 are possible",
                        kernel[0], kernel[1]);
    }
    state->bits = side <= 16 ? 4 : side <= 256 ? 8 : 16;
    state->bytes = state->bits / 4;
    state->fast = plan->engine != WTL_ENGINE_REFERENCE &&
                  state->geometry.stride[1] <= MOST_STRIDE && kernel[1] <= MOST_COLUMNS &&
                  state->geometry.in[1] <= MOST_WIDTH;
    if (state->fast) {
        lines_setup(state);
        plan->scratch_bytes = (size_t)plan->threads * lines_floats(state) * sizeof(float);
    }
    plan->kernel = state->fast ? "tap by tap" : "output by output";
    return saved_places(plan, wtl_shape_count(plan->out), state->bytes, err);
}

static void store_places(void *saved, size_t first, int bytes, const int *place, int count)
{
    for (int j = 0; j < count; j++) {
        switch (bytes) {
        case 1:
            ((uint8_t *)saved)[first + j] = (uint8_t)place[j];
            break;
        case 2:
            ((uint16_t *)saved)[first + j] = (uint16_t)place[j];
            break;
        default:
            ((uint32_t *)saved)[first + j] = (uint32_t)place[j];
        }
    }
}

static void load_places(const void *saved, size_t first, int bytes, int *place, int count)
{
    for (int j = 0; j < count; j++) {
        switch (bytes) {
        case 1:
            place[j] = ((const uint8_t *)saved)[first + j];
            break;
        case 2:
            place[j] = ((const uint16_t *)saved)[first + j];
            break;
        default:
            place[j] = (int)((const uint32_t *)saved)[first + j];
        }
    }
}

/* ---- reference: one output at a time ---- */

static void reference_plane(const maxpool_state *state, const float *x, float *y, void *saved,
                            size_t first)
{
    const wtl_pool_geometry *g = &state->geometry;
    for (int pq = 0; pq < g->out[0] * g->out[1]; pq++) {
        int p = pq / g->out[1], q = pq % g->out[1];
        wtl_pool_window rows = wtl_pool_window_of(g, 0, p), cols = wtl_pool_window_of(g, 1, q);
        int at = rows.begin * g->in[1] + cols.begin;
        for (int h = rows.begin; h < rows.end; h++) {
            for (int v = cols.begin; v < cols.end; v++) {
                float value = x[h * g->in[1] + v];
                if (value > x[at] || isnan(value)) {
                    at = h * g->in[1] + v;
                }
            }
        }
        y[pq] = x[at];
        if (saved) {
            int row = at / g->in[1] - (p * g->stride[0] - g->pad[0]);
            int column = at % g->in[1] - (q * g->stride[1] - g->pad[2]);
            int place = row << state->bits | column;
            store_places(saved, first + pq, state->bytes, &place, 1);
        }
    }
}

/* ---- fast: one tap of the window over a row of outputs ----
 *
 * Each thread first spreads a map of x over lines in its scratch, padding as -inf, a row cut
 * into `stride` phases: tap column s of output q is phase[s % stride][q + s / stride]. So
 * every tap is a plain loop over whole vectors. */

/* Everything but the padding, which is set once for all maps. */
WTL_HOT static void spread(const maxpool_state *state, const float *x, float *restrict lines)
{
    const wtl_pool_geometry *g = &state->geometry;
    int stride = g->stride[1];
    for (int row = 0; row < g->in[0] * stride; row++, lines += state->line) {
        int phase = row % stride, begin = state->begin[phase], end = state->end[phase];
        const float *from = x + (long)(row / stride) * g->in[1] + phase - g->pad[2];
        if (stride == 1) {
            for (int j = begin; j < end; j++) {
                lines[j] = from[j];
            }
        } else if (stride == 2) {
            for (int j = begin; j < end; j++) {
                lines[j] = from[2 * j];
            }
        } else {
            for (int j = begin; j < end; j++) {
                lines[j] = from[stride * j];
            }
        }
    }
}

/* The maxima and their places of outputs q .. q+CHUNK-1 of row p; beyond the row's end they
 * mean nothing. The constant count makes these loops vector code; with `restrict`, GCC would
 * interleave taps and lose that. */
WTL_HOT static void chunk(const maxpool_state *state, const float *lines, int p, int q,
                          float *best, int *place)
{
    const wtl_pool_geometry *g = &state->geometry;
    wtl_pool_window rows = wtl_pool_window_of(g, 0, p);
    int top = p * g->stride[0] - g->pad[0], left = q * g->stride[1] - g->pad[2];
    for (int j = 0; j < CHUNK; j++) {
        /* Where all is -inf nothing wins: the window's first place in the map. */
        int column = left + j * g->stride[1];
        best[j] = -INFINITY;
        place[j] = (rows.begin - top) << state->bits | (column < 0 ? -column : 0);
    }
    for (int h = rows.begin; h < rows.end; h++) {
        const float *line = lines + (long)h * g->stride[1] * state->line + q;
        for (int s = 0; s < g->kernel[1]; s++) {
            const float *from = line + state->tap[s];
            int tap = (h - top) << state->bits | s;
            for (int j = 0; j < CHUNK; j++) {
                int wins = (from[j] > best[j]) | (from[j] != from[j]);
                best[j] = wins ? from[j] : best[j];
                place[j] = wins ? tap : place[j];
            }
        }
    }
}

static void fast_plane(const maxpool_state *state, const float *x, float *y, void *saved,
                       size_t first, float *lines)
{
    const wtl_pool_geometry *g = &state->geometry;
    spread(state, x, lines);
    for (int p = 0; p < g->out[0]; p++) {
        for (int q = 0; q < g->out[1]; q += CHUNK) {
            int count = q + CHUNK < g->out[1] ? CHUNK : g->out[1] - q, place[CHUNK];
            float best[CHUNK];
            size_t at = (size_t)p * g->out[1] + q;
            chunk(state, lines, p, q, best, place);
            memcpy(y + at, best, (size_t)count * sizeof *best);
            if (saved) {
                store_places(saved, first + at, state->bytes, place, count);
            }
        }
    }
}

/* ---- */

static void forward_planes(const maxpool_state *state, const wtl_layer_run *run, long begin,
                           long end, const float *x, float *y, float *lines)
{
    const wtl_pool_geometry *g = &state->geometry;
    size_t in = (size_t)g->in[0] * g->in[1], out = (size_t)g->out[0] * g->out[1];
    void *saved = run->training ? run->saved : NULL;
    for (size_t i = 0; lines && i < lines_floats(state); i++) {
        lines[i] = -INFINITY;
    }
    for (long i = begin; i < end; i++) {
        if (lines) {
            fast_plane(state, x + (size_t)i * in, y + (size_t)i * out, saved, (size_t)i * out,
                       lines);
        } else {
            reference_plane(state, x + (size_t)i * in, y + (size_t)i * out, saved,
                            (size_t)i * out);
        }
    }
}

static void blocked_forward(const maxpool_state *state, const wtl_layer_run *run,
                            const float *x, float *y)
{
    const wtl_pool_geometry *g = &state->geometry;
    size_t in = (size_t)g->in[0] * g->in[1], out = (size_t)g->out[0] * g->out[1];
    int blocks = wtl_blocks_of(g->c);
    long planes = (long)run->n * blocks;
    int parts = wtl_parts(planes, planes * (long)in * WTL_BLOCK_CHANNELS, run->threads);
    size_t saved_image = (size_t)blocks * out * WTL_BLOCK_CHANNELS;
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(planes, part, parts, &begin, &end);
        for (long i = begin; i < end; i++) {
            uint8_t *places = run->saved;
            state->in_blocks->maximum(
                g, x + wtl_plane_at(i, blocks, run->x_image[0], in),
                y + wtl_plane_at(i, blocks, run->y_image, out),
                run->training ? places + wtl_plane_at(i, blocks, saved_image, out) : NULL);
        }
    }
}

static void maxpool_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                            float *y)
{
    const maxpool_state *state = self;
    if (state->in_blocks) {
        blocked_forward(state, run, x[0], y);
        return;
    }
    const wtl_pool_geometry *g = &state->geometry;
    long planes = (long)run->n * g->c;
    int parts = wtl_parts(planes, planes * g->in[0] * g->in[1], run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(planes, part, parts, &begin, &end);
        forward_planes(state, run, begin, end, x[0], y,
                       state->fast ? (float *)run->scratch + part * lines_floats(state) : NULL);
    }
}

static void scatter_plane(const maxpool_state *state, const float *dy, const void *saved,
                          size_t first, float *dx)
{
    const wtl_pool_geometry *g = &state->geometry;
    int width = g->in[1], mask = (1 << state->bits) - 1, place[CHUNK];
    memset(dx, 0, (size_t)g->in[0] * width * sizeof *dx);
    for (int p = 0; p < g->out[0]; p++) {
        long corner = (long)(p * g->stride[0] - g->pad[0]) * width - g->pad[2];
        for (int q = 0; q < g->out[1]; q += CHUNK) {
            int count = q + CHUNK < g->out[1] ? CHUNK : g->out[1] - q;
            size_t at = (size_t)p * g->out[1] + q;
            load_places(saved, first + at, state->bytes, place, count);
            for (int j = 0; j < count; j++) {
                long row = place[j] >> state->bits, column = place[j] & mask;
                dx[corner + (long)(q + j) * g->stride[1] + row * width + column] += dy[at + j];
            }
        }
    }
}

static void blocked_backward(const maxpool_state *state, const wtl_layer_run *run,
                             const float *dy, float *dx)
{
    const wtl_pool_geometry *g = &state->geometry;
    size_t in = (size_t)g->in[0] * g->in[1], out = (size_t)g->out[0] * g->out[1];
    int blocks = wtl_blocks_of(g->c);
    long planes = (long)run->n * blocks;
    int parts = wtl_parts(planes, planes * (long)in * WTL_BLOCK_CHANNELS, run->threads);
    size_t saved_image = (size_t)blocks * out * WTL_BLOCK_CHANNELS;
    const uint8_t *places = run->saved;
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(planes, part, parts, &begin, &end);
        for (long i = begin; i < end; i++) {
            state->in_blocks->maximum_gradient(
                g, dy + wtl_plane_at(i, blocks, run->dy_image, out),
                places + wtl_plane_at(i, blocks, saved_image, out),
                dx + wtl_plane_at(i, blocks, run->dx_image[0], in));
        }
    }
}

static void maxpool_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                             const float *y, const float *dy, float *const *dx)
{
    (void)x;
    (void)y;
    const maxpool_state *state = self;
    const wtl_pool_geometry *g = &state->geometry;
    if (!dx[0]) {
        return;
    }
    if (state->in_blocks) {
        blocked_backward(state, run, dy, dx[0]);
        return;
    }
    size_t in = (size_t)g->in[0] * g->in[1], out = (size_t)g->out[0] * g->out[1];
    long planes = (long)run->n * g->c;
    int parts = wtl_parts(planes, planes * (long)in, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(planes, part, parts, &begin, &end);
        for (long i = begin; i < end; i++) {
            scatter_plane(state, dy + (size_t)i * out, run->saved, (size_t)i * out,
                          dx[0] + (size_t)i * in);
        }
    }
}

#define AT(field) offsetof(wtl_layer_def, as.pool.field)
static const wtl_layer_option maxpool_option_table[] = {
    {"kernel", WTL_OPTION_PAIR, AT(kernel), 0, 1 << 12, "0", NULL},
    {"stride", WTL_OPTION_PAIR, AT(stride), 0, 1 << 12, "0", NULL},
    {"pad", WTL_OPTION_PAD, AT(pad), 0, 1 << 12, "0", NULL},
    {"ceil", WTL_OPTION_BOOL, AT(ceil), 0, 1, "no", NULL},
    {"global", WTL_OPTION_BOOL, AT(global), 0, 1, "no", NULL},
    {0},
};
#undef AT

const wtl_layer_ops wtl_maxpool_ops = {
    .kind = WTL_LAYER_MAXPOOL,
    .word = "maxpool",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = maxpool_option_table,
    .state_bytes = sizeof(maxpool_state),
    .check = maxpool_check,
    .shape = maxpool_shape,
    .blocks = maxpool_blocks,
    .setup = maxpool_setup,
    .forward = maxpool_forward,
    .backward = maxpool_backward,
};
