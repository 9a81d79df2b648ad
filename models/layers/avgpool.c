/* avgpool.c - the mean of each window.
 *
 *   y[n,c,p,q]  = sum over the window's h,v of x[n,c,h,v] / (extent(p) * extent(q))
 *   dx[n,c,h,v] = sum over the windows with h,v of dy[n,c,p,q] / (extent(p) * extent(q))
 *
 * where an extent counts the window's rows or columns in the padded map (count_pad) or in
 * the map alone. Padding is zero.
 *
 * Shapes:  x [n,C,H,W]   y [n,C,P,Q]
 *
 * A window is a product of rows and columns, so a row of outputs first adds up the rows of
 * its windows over the full width, then pieces of that one line; backward the other way.
 */
#include "kernels/native/pool.h"
#include "kernels/parts.h"
#include "kernels/planes.h"
#include "kernels/pool_geometry.h"
#include "layer_ops.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <string.h>

typedef struct avgpool_state {
    wtl_pool_geometry geometry;
    const wtl_pool_kernels *in_blocks; /* or NULL */
    size_t line; /* floats of a thread's scratch: W, rounded up to cache lines; in blocks, the
                    larger of W and Q, times 16 */
} avgpool_state;

static wtl_status avgpool_check(wtl_layer_def *def, wtl_error *err)
{
    return wtl_pool_check(&def->as.pool, "give kernel=K, global=yes or adaptive=HxW", err);
}

static wtl_status avgpool_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                                wtl_shape *out, wtl_error *err)
{
    (void)input_count;
    return wtl_pool_shape(&def->as.pool, in[0], out, err);
}

static bool avgpool_blocks(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                           wtl_shape out)
{
    (void)def;
    (void)in;
    (void)input_count;
    (void)out;
    return true;
}

static wtl_status avgpool_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                                wtl_error *err)
{
    avgpool_state *state = self;
    state->geometry = wtl_pool_geometry_of(&def->as.pool, plan->in[0], plan->out);
    state->line = ((size_t)plan->in[0].w + 15) / 16 * 16;
    if (plan->blocked_in) {
        int widest = plan->in[0].w > plan->out.w ? plan->in[0].w : plan->out.w;
        state->in_blocks = plan->native->pool;
        state->line = (size_t)widest * WTL_BLOCK_CHANNELS;
        plan->kernel = "in blocks";
    }
    size_t floats;
    if (plan->engine != WTL_ENGINE_REFERENCE &&
        (!wtl_mul(state->line, (size_t)plan->threads, &floats) ||
         !wtl_mul(floats, sizeof(float), &plan->scratch_bytes))) {
        return wtl_fail(err, WTL_E_RANGE, "%d threads need more scratch than there can be",
                        plan->threads);
    }
    return WTL_OK;
}

/* ---- reference: one output at a time, sums in double ---- */

static void reference_forward(const wtl_pool_geometry *g, const float *x, float *y, float *line)
{
    (void)line;
    for (int pq = 0; pq < g->out[0] * g->out[1]; pq++) {
        wtl_pool_window rows = wtl_pool_window_of(g, 0, pq / g->out[1]);
        wtl_pool_window cols = wtl_pool_window_of(g, 1, pq % g->out[1]);
        double sum = 0.0;
        for (int h = rows.begin; h < rows.end; h++) {
            for (int v = cols.begin; v < cols.end; v++) {
                sum += x[h * g->in[1] + v];
            }
        }
        y[pq] = (float)(sum / ((double)rows.extent * cols.extent));
    }
}

static void reference_backward(const wtl_pool_geometry *g, const float *dy, float *dx,
                               float *line)
{
    (void)line;
    memset(dx, 0, (size_t)g->in[0] * g->in[1] * sizeof *dx);
    for (int pq = 0; pq < g->out[0] * g->out[1]; pq++) {
        wtl_pool_window rows = wtl_pool_window_of(g, 0, pq / g->out[1]);
        wtl_pool_window cols = wtl_pool_window_of(g, 1, pq % g->out[1]);
        float share = (float)(dy[pq] / ((double)rows.extent * cols.extent));
        for (int h = rows.begin; h < rows.end; h++) {
            for (int v = cols.begin; v < cols.end; v++) {
                dx[h * g->in[1] + v] += share;
            }
        }
    }
}

/* ---- fast: by way of one line ---- */

WTL_HOT static void fast_forward(const wtl_pool_geometry *g, const float *x, float *y,
                                 float *line)
{
    int width = g->in[1];
    for (int p = 0; p < g->out[0]; p++) {
        wtl_pool_window rows = wtl_pool_window_of(g, 0, p);
        memcpy(line, x + (size_t)rows.begin * width, (size_t)width * sizeof *line);
        for (int h = rows.begin + 1; h < rows.end; h++) {
            for (int v = 0; v < width; v++) {
                line[v] += x[(size_t)h * width + v];
            }
        }
        for (int q = 0; q < g->out[1]; q++) {
            wtl_pool_window cols = wtl_pool_window_of(g, 1, q);
            float sum = line[cols.begin];
            for (int v = cols.begin + 1; v < cols.end; v++) {
                sum += line[v];
            }
            y[(size_t)p * g->out[1] + q] = sum / ((float)rows.extent * (float)cols.extent);
        }
    }
}

WTL_HOT static void fast_backward(const wtl_pool_geometry *g, const float *dy, float *dx,
                                  float *line)
{
    int width = g->in[1];
    memset(dx, 0, (size_t)g->in[0] * width * sizeof *dx);
    for (int p = 0; p < g->out[0]; p++) {
        wtl_pool_window rows = wtl_pool_window_of(g, 0, p);
        memset(line, 0, (size_t)width * sizeof *line);
        for (int q = 0; q < g->out[1]; q++) {
            wtl_pool_window cols = wtl_pool_window_of(g, 1, q);
            float share =
                dy[(size_t)p * g->out[1] + q] / ((float)rows.extent * (float)cols.extent);
            for (int v = cols.begin; v < cols.end; v++) {
                line[v] += share;
            }
        }
        for (int h = rows.begin; h < rows.end; h++) {
            for (int v = 0; v < width; v++) {
                dx[(size_t)h * width + v] += line[v];
            }
        }
    }
}

/* `plane` from `from` to `to` over all maps; `from_size` and `to_size` floats each. */
static void each_plane(const avgpool_state *state, const wtl_layer_run *run,
                       void (*plane)(const wtl_pool_geometry *, const float *, float *,
                                     float *),
                       const float *from, size_t from_size, float *to, size_t to_size)
{
    long planes = (long)run->n * state->geometry.c;
    int parts = wtl_parts(planes, planes * (long)(from_size + to_size), run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(planes, part, parts, &begin, &end);
        float *line = run->engine == WTL_ENGINE_REFERENCE
                          ? NULL
                          : (float *)run->scratch + (size_t)part * state->line;
        for (long i = begin; i < end; i++) {
            plane(&state->geometry, from + (size_t)i * from_size, to + (size_t)i * to_size,
                  line);
        }
    }
}

/* The same over planes of blocks; `pixels` are of a plane. */
static void each_blocked_plane(const avgpool_state *state, const wtl_layer_run *run,
                               void (*plane)(const wtl_pool_geometry *, const float *, float *,
                                             float *),
                               const float *from, size_t from_image, size_t from_pixels,
                               float *to, size_t to_image, size_t to_pixels)
{
    int blocks = wtl_blocks_of(state->geometry.c);
    long planes = (long)run->n * blocks;
    long floats = planes * (long)(from_pixels + to_pixels) * WTL_BLOCK_CHANNELS;
    int parts = wtl_parts(planes, floats, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(planes, part, parts, &begin, &end);
        float *line = (float *)run->scratch + (size_t)part * state->line;
        for (long i = begin; i < end; i++) {
            plane(&state->geometry, from + wtl_plane_at(i, blocks, from_image, from_pixels),
                  to + wtl_plane_at(i, blocks, to_image, to_pixels), line);
        }
    }
}

static void avgpool_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                            float *y)
{
    const avgpool_state *state = self;
    const wtl_pool_geometry *g = &state->geometry;
    size_t in = (size_t)g->in[0] * g->in[1], out = (size_t)g->out[0] * g->out[1];
    bool reference = run->engine == WTL_ENGINE_REFERENCE;
    if (state->in_blocks) {
        each_blocked_plane(state, run, state->in_blocks->mean, x[0], run->x_image[0], in, y,
                           run->y_image, out);
    } else {
        each_plane(state, run, reference ? reference_forward : fast_forward, x[0], in, y, out);
    }
}

static void avgpool_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                             const float *y, const float *dy, float *const *dx)
{
    (void)x;
    (void)y;
    const avgpool_state *state = self;
    const wtl_pool_geometry *g = &state->geometry;
    size_t in = (size_t)g->in[0] * g->in[1], out = (size_t)g->out[0] * g->out[1];
    bool reference = run->engine == WTL_ENGINE_REFERENCE;
    if (dx[0] && state->in_blocks) {
        each_blocked_plane(state, run, state->in_blocks->mean_gradient, dy, run->dy_image, out,
                           dx[0], run->dx_image[0], in);
    } else if (dx[0]) {
        each_plane(state, run, reference ? reference_backward : fast_backward, dy, out, dx[0],
                   in);
    }
}

#define AT(field) offsetof(wtl_layer_def, as.pool.field)
static const wtl_layer_option avgpool_option_table[] = {
    {"kernel", WTL_OPTION_PAIR, AT(kernel), 0, 1 << 12, "0", NULL},
    {"stride", WTL_OPTION_PAIR, AT(stride), 0, 1 << 12, "0", NULL},
    {"pad", WTL_OPTION_PAD, AT(pad), 0, 1 << 12, "0", NULL},
    {"ceil", WTL_OPTION_BOOL, AT(ceil), 0, 1, "no", NULL},
    {"global", WTL_OPTION_BOOL, AT(global), 0, 1, "no", NULL},
    {"count_pad", WTL_OPTION_BOOL, AT(count_pad), 0, 1, "yes", NULL},
    {"adaptive", WTL_OPTION_PAIR, AT(adaptive), 0, 1 << 12, "0", NULL},
    {0},
};
#undef AT

const wtl_layer_ops wtl_avgpool_ops = {
    .kind = WTL_LAYER_AVGPOOL,
    .word = "avgpool",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = avgpool_option_table,
    .state_bytes = sizeof(avgpool_state),
    .check = avgpool_check,
    .shape = avgpool_shape,
    .blocks = avgpool_blocks,
    .setup = avgpool_setup,
    .forward = avgpool_forward,
    .backward = avgpool_backward,
};
