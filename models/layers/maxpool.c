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
 * column, in 1, 2 or 4 bytes.
 */
#include "kernels/parts.h"
#include "kernels/pool_geometry.h"
#include "layer_ops.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 64 }; /* output columns at a time: their maxima stay in registers or L1 */

typedef struct maxpool_state {
    wtl_pool_geometry geometry;
    int bits;  /* of a column in a saved place */
    int bytes; /* of a saved place */
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

static wtl_status maxpool_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                                wtl_error *err)
{
    maxpool_state *state = self;
    state->geometry = wtl_pool_geometry_of(&def->as.pool, plan->in[0], plan->out);
    const int *kernel = state->geometry.kernel;
    int side = kernel[0] > kernel[1] ? kernel[0] : kernel[1];
    if (side > 1 << 15) {
        return wtl_fail(err, WTL_E_RANGE, "a window of %dx%d, at most 32768x32768 are possible",
                        kernel[0], kernel[1]);
    }
    state->bits = side <= 16 ? 4 : side <= 256 ? 8 : 16;
    state->bytes = state->bits / 4;
    if (plan->training) {
        size_t places;
        if (!wtl_mul(wtl_shape_count(plan->out), (size_t)plan->batch, &places) ||
            !wtl_mul(places, (size_t)state->bytes, &plan->saved_bytes)) {
            return wtl_fail(err, WTL_E_RANGE, "a batch of %d does not fit in memory",
                            plan->batch);
        }
        static const char *const kernel_text[] = {
            [1] = "argmax in 1 byte", [2] = "argmax in 2 bytes", [4] = "argmax in 4 bytes"};
        plan->kernel = kernel_text[state->bytes];
    }
    return WTL_OK;
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

/* ---- fast: one tap of the window over a row of outputs ---- */

/* Taps come in reverse reading order, so that `>=` lets the first of equals win and a row
 * of -inf still finds a place. */
static inline void compare(const float *x, int stride, int count, int tap, float *best,
                           int *place)
{
    for (int j = 0; j < count; j++) {
        float value = x[j * stride];
        int wins = (value >= best[j]) | (value != value);
        best[j] = wins ? value : best[j];
        place[j] = wins ? tap : place[j];
    }
}

static inline void compare_values(const float *x, int stride, int count, float *best)
{
    for (int j = 0; j < count; j++) {
        float value = x[j * stride];
        best[j] = (value >= best[j]) | (value != value) ? value : best[j];
    }
}

/* Columns q of [q0, q1) for which tap column s lies in the map. */
static inline void reach(const wtl_pool_geometry *g, int s, int q0, int q1, int *begin,
                         int *end)
{
    int stride = g->stride[1], shift = g->pad[2] - s; /* v = q*stride - shift */
    int low = shift > 0 ? (shift + stride - 1) / stride : 0;
    int high = g->in[1] + shift > 0 ? (g->in[1] + shift - 1) / stride + 1 : 0;
    *begin = low > q0 ? low : q0;
    *end = high < q1 ? high : q1;
}

WTL_HOT static void chunk_places(const wtl_pool_geometry *g, int bits, const float *x, int p,
                                 int q0, int q1, float *best, int *place)
{
    wtl_pool_window rows = wtl_pool_window_of(g, 0, p);
    int top = p * g->stride[0] - g->pad[0], stride = g->stride[1], begin, end;
    for (int h = rows.end - 1; h >= rows.begin; h--) {
        for (int s = g->kernel[1] - 1; s >= 0; s--) {
            reach(g, s, q0, q1, &begin, &end);
            if (begin >= end) {
                continue;
            }
            const float *from = x + (long)h * g->in[1] + (long)begin * stride - g->pad[2] + s;
            int tap = (h - top) << bits | s;
            if (stride == 1) {
                compare(from, 1, end - begin, tap, best + (begin - q0), place + (begin - q0));
            } else if (stride == 2) {
                compare(from, 2, end - begin, tap, best + (begin - q0), place + (begin - q0));
            } else {
                compare(from, stride, end - begin, tap, best + (begin - q0),
                        place + (begin - q0));
            }
        }
    }
}

WTL_HOT static void chunk_values(const wtl_pool_geometry *g, const float *x, int p, int q0,
                                 int q1, float *best)
{
    wtl_pool_window rows = wtl_pool_window_of(g, 0, p);
    int stride = g->stride[1], begin, end;
    for (int h = rows.end - 1; h >= rows.begin; h--) {
        for (int s = g->kernel[1] - 1; s >= 0; s--) {
            reach(g, s, q0, q1, &begin, &end);
            if (begin >= end) {
                continue;
            }
            const float *from = x + (long)h * g->in[1] + (long)begin * stride - g->pad[2] + s;
            if (stride == 1) {
                compare_values(from, 1, end - begin, best + (begin - q0));
            } else if (stride == 2) {
                compare_values(from, 2, end - begin, best + (begin - q0));
            } else {
                compare_values(from, stride, end - begin, best + (begin - q0));
            }
        }
    }
}

static void fast_plane(const maxpool_state *state, const float *x, float *y, void *saved,
                       size_t first)
{
    const wtl_pool_geometry *g = &state->geometry;
    for (int p = 0; p < g->out[0]; p++) {
        for (int q = 0; q < g->out[1]; q += CHUNK) {
            int end = q + CHUNK < g->out[1] ? q + CHUNK : g->out[1], place[CHUNK] = {0};
            float *best = y + (size_t)p * g->out[1] + q;
            for (int j = 0; j < end - q; j++) {
                best[j] = -INFINITY;
            }
            if (saved) {
                chunk_places(g, state->bits, x, p, q, end, best, place);
                store_places(saved, first + (size_t)p * g->out[1] + q, state->bytes, place,
                             end - q);
            } else {
                chunk_values(g, x, p, q, end, best);
            }
        }
    }
}

static void maxpool_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                            float *y)
{
    const maxpool_state *state = self;
    const wtl_pool_geometry *g = &state->geometry;
    size_t in = (size_t)g->in[0] * g->in[1], out = (size_t)g->out[0] * g->out[1];
    long planes = (long)run->n * g->c;
    void (*plane)(const maxpool_state *, const float *, float *, void *, size_t) =
        run->engine == WTL_ENGINE_REFERENCE ? reference_plane : fast_plane;
    int parts = wtl_parts(planes, planes * (long)in, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(planes, part, parts, &begin, &end);
        for (long i = begin; i < end; i++) {
            plane(state, x[0] + (size_t)i * in, y + (size_t)i * out,
                  run->training ? run->saved : NULL, (size_t)i * out);
        }
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
    .setup = maxpool_setup,
    .forward = maxpool_forward,
    .backward = maxpool_backward,
};
