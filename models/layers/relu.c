/* relu.c - rectifiers, plain and clipped at 6 (MobileNet); read from y, so that the net may
 * run them in their producer.
 *
 *   relu    y = max(x, 0)              dx = dy where y > 0, else 0
 *   relu6   y = min(max(x, 0), 6)      dx = dy where 0 < y < 6, else 0
 *
 * A NaN stays a NaN.     Shapes:  x, y [n,C,H,W]
 */
#include "kernels/parts.h"
#include "kernels/spans.h"
#include "layer_ops.h"

typedef struct relu_state {
    size_t count; /* values of an image */
    bool blocked; /* in blocks of channels; zeros stay zeros */
    bool clips;   /* at 6 */
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

static bool relu_blocks(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                        wtl_shape out)
{
    (void)def;
    (void)in;
    (void)input_count;
    (void)out;
    return true;
}

static wtl_status relu_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                             wtl_error *err)
{
    (void)err;
    relu_state *state = self;
    *state = (relu_state){
        .count = plan->blocked_in ? wtl_blocked_count(plan->out) : wtl_shape_count(plan->out),
        .blocked = plan->blocked_in,
        .clips = def->kind == WTL_LAYER_RELU6,
    };
    return WTL_OK;
}

WTL_HOT static void relu(const float *x, float *restrict y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        y[i] = x[i] < 0.0f ? 0.0f : x[i];
    }
}

WTL_HOT static void relu6(const float *x, float *restrict y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = x[i] < 0.0f ? 0.0f : x[i];
        y[i] = value > 6.0f ? 6.0f : value;
    }
}

WTL_HOT static void relu_slope(const float *y, const float *dy, float *restrict dx,
                               size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
    }
}

WTL_HOT static void relu6_slope(const float *y, const float *dy, float *restrict dx,
                                size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dx[i] = y[i] > 0.0f && y[i] < 6.0f ? dy[i] : 0.0f;
    }
}

static void relu_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                         float *y)
{
    const relu_state *state = self;
    long count = run->n * (long)state->count;
    size_t x_image = state->blocked ? run->x_image[0] : state->count;
    size_t y_image = state->blocked ? run->y_image : state->count;
    int parts = wtl_parts(count, count, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        wtl_span s = wtl_span_first(state->count, run->n, part, parts);
        for (; s.length > 0; wtl_span_next(&s)) {
            (state->clips ? relu6 : relu)(x[0] + s.image * x_image + s.at,
                                          y + s.image * y_image + s.at, s.length);
        }
    }
}

static void relu_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                          const float *y, const float *dy, float *const *dx)
{
    (void)x;
    const relu_state *state = self;
    long count = run->n * (long)state->count;
    int parts = wtl_parts(count, count, run->threads);
    if (!dx[0]) {
        return;
    }
    size_t y_image = state->blocked ? run->y_image : state->count;
    size_t dy_image = state->blocked ? run->dy_image : state->count;
    size_t dx_image = state->blocked ? run->dx_image[0] : state->count;
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        wtl_span s = wtl_span_first(state->count, run->n, part, parts);
        for (; s.length > 0; wtl_span_next(&s)) {
            (state->clips ? relu6_slope : relu_slope)(
                y + s.image * y_image + s.at, dy + s.image * dy_image + s.at,
                dx[0] + s.image * dx_image + s.at, s.length);
        }
    }
}

#define WTL_RELU_OPS(its_kind, its_word)                                                       \
    {                                                                                          \
        .kind = (its_kind), .word = (its_word), .least_inputs = 1, .most_inputs = 1,           \
        .state_bytes = sizeof(relu_state), .needs_y = true, .shape = relu_shape,               \
        .blocks = relu_blocks, .setup = relu_setup, .forward = relu_forward,                   \
        .backward = relu_backward,                                                             \
    }
const wtl_layer_ops wtl_relu_ops = WTL_RELU_OPS(WTL_LAYER_RELU, "relu");
const wtl_layer_ops wtl_relu6_ops = WTL_RELU_OPS(WTL_LAYER_RELU6, "relu6");
