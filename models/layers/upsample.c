/* upsample.c - enlarging by a whole factor f.
 *
 *   nearest   y[c,p,q] = x[c, floor(p/f), floor(q/f)]
 *   bilinear  y[c,p,q] = sum over h,v of  a(p,h) * a(q,v) * x[c,h,v]
 *             a(p,.) is linear interpolation at (p + 1/2)/f - 1/2, kept within 0..H-1
 *             (half-pixel centres, torch's align_corners=False)
 *
 * Shapes:  x [n,C,H,W]   y [n,C,H*f,W*f]
 */
#include "layer_ops.h"
#include "wattle/threads.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

typedef struct upsample_state {
    int c, h, w;
    int factor;
    bool bilinear;
} upsample_state;

static wtl_status upsample_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                                 wtl_shape *out, wtl_error *err)
{
    (void)input_count;
    int f = def->as.resample.factor;
    /* The product can exceed size_t, hence double. */
    if ((double)in->c * in->h * in->w * f * f > INT_MAX / 2) {
        return wtl_fail(err, WTL_E_RANGE,
                        "factor %d makes more than 2^30 values of an input of %dx%dx%d", f,
                        in->c, in->h, in->w);
    }
    *out = (wtl_shape){in->c, in->h * f, in->w * f};
    return WTL_OK;
}

/* Scratch of one thread: a row of x with its ends repeated. */
static size_t row_floats(const upsample_state *l)
{
    return ((size_t)l->w + 2 + 15) / 16 * 16;
}

static wtl_status upsample_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                                 wtl_error *err)
{
    (void)err;
    upsample_state *state = self;
    *state = (upsample_state){.c = plan->in[0].c,
                              .h = plan->in[0].h,
                              .w = plan->in[0].w,
                              .factor = def->as.resample.factor,
                              .bilinear = def->as.resample.bilinear};
    if (plan->engine == WTL_ENGINE_REFERENCE) {
        plan->kernel = "reference";
    } else {
        plan->kernel = state->bilinear ? "bilinear rows" : "nearest rows";
        plan->scratch_bytes = (size_t)plan->threads * row_floats(state) * sizeof(float);
    }
    return WTL_OK;
}

/* Output p lies between inputs `low` and `low` + 1, at `high_weight` from low; both may be
 * one beyond the map, where the map's edge counts. */
typedef struct blend {
    int low;
    float high_weight;
} blend;

static blend blend_of(const upsample_state *l, int p)
{
    int f = l->factor, twice = 2 * (p % f) + 1 - f; /* (offset from p/f) * 2f, in (-f, f) */
    int before = twice < 0 ? 1 : 0;
    return (blend){p / f - before, (float)(twice + 2 * f * before) / (float)(2 * f)};
}

static int within(int at, int size)
{
    return at < 0 ? 0 : at >= size ? size - 1 : at;
}

/* ---- reference: a(p,h) as in the formula ---- */

static double share_of(const upsample_state *l, int p, int h, int size)
{
    if (!l->bilinear) {
        return p / l->factor == h ? 1.0 : 0.0;
    }
    double at = (p + 0.5) / l->factor - 0.5;
    at = at < 0.0 ? 0.0 : at > size - 1 ? size - 1 : at;
    double distance = at > h ? at - h : h - at;
    return distance < 1.0 ? 1.0 - distance : 0.0;
}

static void reference_forward(const upsample_state *l, const float *x, float *y)
{
    int p_count = l->h * l->factor, q_count = l->w * l->factor;
    for (int p = 0; p < p_count; p++) {
        for (int q = 0; q < q_count; q++) {
            double sum = 0.0;
            for (int h = 0; h < l->h; h++) {
                for (int v = 0; v < l->w; v++) {
                    sum += share_of(l, p, h, l->h) * share_of(l, q, v, l->w) *
                           x[(size_t)h * l->w + v];
                }
            }
            y[(size_t)p * q_count + q] = (float)sum;
        }
    }
}

static void reference_backward(const upsample_state *l, const float *dy, float *dx)
{
    int p_count = l->h * l->factor, q_count = l->w * l->factor;
    for (int h = 0; h < l->h; h++) {
        for (int v = 0; v < l->w; v++) {
            double sum = 0.0;
            for (int p = 0; p < p_count; p++) {
                for (int q = 0; q < q_count; q++) {
                    sum += share_of(l, p, h, l->h) * share_of(l, q, v, l->w) *
                           dy[(size_t)p * q_count + q];
                }
            }
            dx[(size_t)h * l->w + v] = (float)sum;
        }
    }
}

/* ---- rows: down first, then across ---- */

static void nearest_forward(const upsample_state *l, const float *x, float *y)
{
    int f = l->factor;
    size_t width = (size_t)l->w * f;
    for (int h = 0; h < l->h; h++, x += l->w) {
        float *first = y;
        for (size_t q = 0; q < width; q++) {
            first[q] = x[q / f];
        }
        for (y += width; y < first + width * f; y += width) {
            memcpy(y, first, width * sizeof *y);
        }
    }
}

static void nearest_backward(const upsample_state *l, const float *dy, float *dx)
{
    int f = l->factor;
    memset(dx, 0, (size_t)l->h * l->w * sizeof *dx);
    for (int p = 0; p < l->h * f; p++) {
        float *to = dx + (size_t)(p / f) * l->w;
        for (int v = 0; v < l->w; v++) {
            for (int j = 0; j < f; j++) {
                to[v] += *dy++;
            }
        }
    }
}

/* row[v + 1] is the blended value of column v; row[0] and row[w + 1] repeat the edges. */
static void bilinear_forward(const upsample_state *l, const float *x, float *y, float *row)
{
    for (int p = 0; p < l->h * l->factor; p++) {
        blend down = blend_of(l, p);
        const float *low = x + (size_t)within(down.low, l->h) * l->w;
        const float *high = x + (size_t)within(down.low + 1, l->h) * l->w;
        for (int v = 0; v < l->w; v++) {
            row[v + 1] = low[v] + down.high_weight * (high[v] - low[v]);
        }
        row[0] = row[1];
        row[l->w + 1] = row[l->w];
        for (int j = 0; j < l->factor; j++) {
            blend across = blend_of(l, j);
            const float *from = row + 1 + across.low;
            for (int v = 0; v < l->w; v++) {
                y[(size_t)v * l->factor + j] =
                    from[v] + across.high_weight * (from[v + 1] - from[v]);
            }
        }
        y += (size_t)l->w * l->factor;
    }
}

static void bilinear_backward(const upsample_state *l, const float *dy, float *dx, float *row)
{
    assert(row);
    memset(dx, 0, (size_t)l->h * l->w * sizeof *dx);
    for (int p = 0; p < l->h * l->factor; p++) {
        memset(row, 0, ((size_t)l->w + 2) * sizeof *row);
        for (int j = 0; j < l->factor; j++) {
            blend across = blend_of(l, j);
            float *to = row + 1 + across.low;
            for (int v = 0; v < l->w; v++) {
                float upstream = dy[(size_t)v * l->factor + j];
                to[v] += (1.0f - across.high_weight) * upstream;
                to[v + 1] += across.high_weight * upstream;
            }
        }
        row[1] += row[0];
        row[l->w] += row[l->w + 1];
        blend down = blend_of(l, p);
        float *low = dx + (size_t)within(down.low, l->h) * l->w;
        float *high = dx + (size_t)within(down.low + 1, l->h) * l->w;
        for (int v = 0; v < l->w; v++) {
            low[v] += (1.0f - down.high_weight) * row[v + 1];
            high[v] += down.high_weight * row[v + 1];
        }
        dy += (size_t)l->w * l->factor;
    }
}

static void plane_forward(const upsample_state *l, wtl_engine engine, const float *x, float *y,
                          float *row)
{
    if (engine == WTL_ENGINE_REFERENCE) {
        reference_forward(l, x, y);
    } else if (l->bilinear) {
        bilinear_forward(l, x, y, row);
    } else {
        nearest_forward(l, x, y);
    }
}

static void plane_backward(const upsample_state *l, wtl_engine engine, const float *dy,
                           float *dx, float *row)
{
    if (engine == WTL_ENGINE_REFERENCE) {
        reference_backward(l, dy, dx);
    } else if (l->bilinear) {
        bilinear_backward(l, dy, dx, row);
    } else {
        nearest_backward(l, dy, dx);
    }
}

/* Planes of `from_count` and `to_count` values, shared out to the threads. */
static void over_planes(const upsample_state *l, const wtl_layer_run *run, const float *from,
                        size_t from_count, float *to, size_t to_count,
                        void (*plane)(const upsample_state *l, wtl_engine engine,
                                      const float *from, float *to, float *row))
{
#pragma omp parallel for num_threads(run->threads) schedule(static, 1)
    for (int part = 0; part < run->threads; part++) {
        long begin, end;
        float *row = run->scratch;
        row = row ? row + (size_t)part * row_floats(l) : NULL;
        wtl_share((long)run->n * l->c, part, run->threads, &begin, &end);
        for (long i = begin; i < end; i++) {
            plane(l, run->engine, from + (size_t)i * from_count, to + (size_t)i * to_count,
                  row);
        }
    }
}

static void upsample_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                             float *y)
{
    const upsample_state *l = self;
    size_t small = (size_t)l->h * l->w, large = small * l->factor * l->factor;
    over_planes(l, run, x[0], small, y, large, plane_forward);
}

static void upsample_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                              const float *y, const float *dy, float *const *dx)
{
    (void)x;
    (void)y;
    const upsample_state *l = self;
    size_t small = (size_t)l->h * l->w, large = small * l->factor * l->factor;
    if (dx[0]) {
        over_planes(l, run, dy, large, dx[0], small, plane_backward);
    }
}

static const wtl_layer_option upsample_option_table[] = {
    {"factor", WTL_OPTION_INT, offsetof(wtl_layer_def, as.resample.factor), 1, 1 << 8, NULL,
     NULL},
    {"mode", WTL_OPTION_WORD, offsetof(wtl_layer_def, as.resample.bilinear), 0, 1, "nearest",
     "nearest|bilinear"},
    {0},
};

const wtl_layer_ops wtl_upsample_ops = {
    .kind = WTL_LAYER_UPSAMPLE,
    .word = "upsample",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = upsample_option_table,
    .state_bytes = sizeof(upsample_state),
    .shape = upsample_shape,
    .setup = upsample_setup,
    .forward = upsample_forward,
    .backward = upsample_backward,
};
