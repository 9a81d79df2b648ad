/* relu.c - rectifiers, plain and clipped at 6 (MobileNet); read from y, so that the net may
 * run them in their producer.
 *
 *   relu    y = max(x, 0)              dx = dy where y > 0, else 0
 *   relu6   y = min(max(x, 0), 6)      dx = dy where 0 < y < 6, else 0
 *
 * A NaN stays a NaN.     Shapes:  x, y [n,C,H,W]
 */
#include "kernels/parts.h"
#include "layer_ops.h"
#include "wattle/threads.h"

typedef struct relu_state {
    long count; /* values of an image */
    bool clips; /* at 6 */
} relu_state;

static wtl_status relu_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                             wtl_shape *out, wtl_error *err)
{
    (void)def;
    (void)input_count;
    (void)err;
    *out = in[0];
    return WTL_OK;
}

static wtl_status relu_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                             wtl_error *err)
{
    (void)err;
    relu_state *state = self;
    *state = (relu_state){.count = (long)wtl_shape_count(plan->out),
                          .clips = def->kind == WTL_LAYER_RELU6};
    return WTL_OK;
}

WTL_HOT static void relu(const float *x, float *restrict y, long begin, long end)
{
    for (long i = begin; i < end; i++) {
        y[i] = x[i] < 0.0f ? 0.0f : x[i];
    }
}

WTL_HOT static void relu6(const float *x, float *restrict y, long begin, long end)
{
    for (long i = begin; i < end; i++) {
        float value = x[i] < 0.0f ? 0.0f : x[i];
        y[i] = value > 6.0f ? 6.0f : value;
    }
}

WTL_HOT static void relu_slope(const float *y, const float *dy, float *restrict dx, long begin,
                               long end)
{
    for (long i = begin; i < end; i++) {
        dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
    }
}

WTL_HOT static void relu6_slope(const float *y, const float *dy, float *restrict dx, long begin,
                                long end)
{
    for (long i = begin; i < end; i++) {
        dx[i] = y[i] > 0.0f && y[i] < 6.0f ? dy[i] : 0.0f;
    }
}

static void relu_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                         float *y)
{
    const relu_state *state = self;
    long count = run->n * state->count;
    int parts = wtl_parts(count, count, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(count, part, parts, &begin, &end);
        (state->clips ? relu6 : relu)(x[0], y, begin, end);
    }
}

static void relu_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                          const float *y, const float *dy, float *const *dx)
{
    (void)x;
    const relu_state *state = self;
    long count = run->n * state->count;
    int parts = wtl_parts(count, count, run->threads);
    if (!dx[0]) {
        return;
    }
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(count, part, parts, &begin, &end);
        (state->clips ? relu6_slope : relu_slope)(y, dy, dx[0], begin, end);
    }
}

#define WTL_RELU_OPS(its_kind, its_word)                                                       \
    {                                                                                          \
        .kind = (its_kind), .word = (its_word), .least_inputs = 1, .most_inputs = 1,           \
        .state_bytes = sizeof(relu_state), .needs_y = true, .shape = relu_shape,               \
        .setup = relu_setup, .forward = relu_forward, .backward = relu_backward,               \
    }
const wtl_layer_ops wtl_relu_ops = WTL_RELU_OPS(WTL_LAYER_RELU, "relu");
const wtl_layer_ops wtl_relu6_ops = WTL_RELU_OPS(WTL_LAYER_RELU6, "relu6");
