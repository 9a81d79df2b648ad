/* relu6.c - rectifier clipped at 6 (MobileNet); read from y as relu.
 *
 *   y = min(max(x, 0), 6)     dx = dy where 0 < y < 6, else 0
 *
 * A NaN stays a NaN.     Shapes:  x, y [n,C,H,W]
 */
#include "kernels/parts.h"
#include "layer_ops.h"
#include "wattle/threads.h"

typedef struct relu6_state {
    long count; /* values of an image */
} relu6_state;

static wtl_status relu6_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                              wtl_shape *out, wtl_error *err)
{
    (void)def;
    (void)input_count;
    (void)err;
    *out = in[0];
    return WTL_OK;
}

static wtl_status relu6_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                              wtl_error *err)
{
    (void)def;
    (void)err;
    ((relu6_state *)self)->count = (long)wtl_shape_count(plan->out);
    return WTL_OK;
}

WTL_HOT static void forward(const float *x, float *restrict y, long begin, long end)
{
    for (long i = begin; i < end; i++) {
        float value = x[i] < 0.0f ? 0.0f : x[i];
        y[i] = value > 6.0f ? 6.0f : value;
    }
}

WTL_HOT static void backward(const float *y, const float *dy, float *restrict dx, long begin,
                             long end)
{
    for (long i = begin; i < end; i++) {
        dx[i] = y[i] > 0.0f && y[i] < 6.0f ? dy[i] : 0.0f;
    }
}

static void relu6_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                          float *y)
{
    long count = run->n * ((const relu6_state *)self)->count;
    int parts = wtl_parts(count, count, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(count, part, parts, &begin, &end);
        forward(x[0], y, begin, end);
    }
}

static void relu6_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                           const float *y, const float *dy, float *const *dx)
{
    (void)x;
    long count = run->n * ((const relu6_state *)self)->count;
    int parts = wtl_parts(count, count, run->threads);
    if (!dx[0]) {
        return;
    }
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(count, part, parts, &begin, &end);
        backward(y, dy, dx[0], begin, end);
    }
}

const wtl_layer_ops wtl_relu6_ops = {
    .kind = WTL_LAYER_RELU6,
    .word = "relu6",
    .least_inputs = 1,
    .most_inputs = 1,
    .state_bytes = sizeof(relu6_state),
    .needs_y = true,
    .shape = relu6_shape,
    .setup = relu6_setup,
    .forward = relu6_forward,
    .backward = relu6_backward,
};
