/* add.c - the sum of two or more inputs (ResNet's shortcut).
 *
 *   y = x_0 + x_1 + ...     dx_i = dy
 *
 * Shapes:  x_i, y [n,C,H,W]
 */
#include "kernels/conv_kernels.h"
#include "kernels/parts.h"
#include "kernels/spans.h"
#include "layer_ops.h"

#include <string.h>

enum { BLOCK = 2048 }; /* values at a time: the sum and its activation stay in L1 */

typedef struct add_state {
    int input_count;
    size_t count; /* values of an image */
    bool blocked; /* in blocks of channels; zeros stay zeros */
    wtl_activation fused;
} add_state;

static wtl_status add_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                            wtl_shape *out, wtl_error *err)
{
    (void)def;
    *out = in[0];
    for (int i = 1; i < input_count; i++) {
        if (in[i].c != out->c || in[i].h != out->h || in[i].w != out->w) {
            return wtl_fail(err, WTL_E_SHAPE,
                            "input %d is %dx%dx%d, must be %dx%dx%d as input 1", i + 1, in[i].c,
                            in[i].h, in[i].w, out->c, out->h, out->w);
        }
    }
    return WTL_OK;
}

static bool add_blocks(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                       wtl_shape out)
{
    (void)def;
    (void)in;
    (void)input_count;
    (void)out;
    return true;
}

static wtl_status add_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                            wtl_error *err)
{
    (void)def;
    (void)err;
    *(add_state *)self = (add_state){
        .input_count = plan->input_count,
        .count = plan->blocked_in ? wtl_blocked_count(plan->out) : wtl_shape_count(plan->out),
        .blocked = plan->blocked_in,
        .fused = plan->fused,
    };
    return WTL_OK;
}

WTL_HOT static void add_two(const float *a, const float *b, float *restrict y, long count)
{
    for (long i = 0; i < count; i++) {
        y[i] = a[i] + b[i];
    }
}

WTL_HOT static void add_one(const float *a, float *restrict y, long count)
{
    for (long i = 0; i < count; i++) {
        y[i] += a[i];
    }
}

/* Of input or output `image` floats apart, if in blocks: where a span begins. */
static size_t at_of(const add_state *state, const wtl_span *s, size_t image)
{
    return s->image * (state->blocked ? image : state->count) + s->at;
}

static void add_span(const add_state *state, const wtl_layer_run *run, const float *const *x,
                     float *y, const wtl_span *s)
{
    y += at_of(state, s, run->y_image);
    const float *first = x[0] + at_of(state, s, state->blocked ? run->x_image[0] : 0);
    const float *second = x[1] + at_of(state, s, state->blocked ? run->x_image[1] : 0);
    for (size_t at = 0; at < s->length; at += BLOCK) {
        long count = s->length - at < BLOCK ? (long)(s->length - at) : BLOCK;
        add_two(first + at, second + at, y + at, count);
        for (int i = 2; i < state->input_count; i++) {
            size_t from = at_of(state, s, state->blocked ? run->x_image[i] : 0);
            add_one(x[i] + from + at, y + at, count);
        }
        wtl_activate(y + at, (size_t)count, state->fused);
    }
}

static void add_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                        float *y)
{
    const add_state *state = self;
    long count = run->n * (long)state->count;
    int parts = wtl_parts(count, count, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        wtl_span s = wtl_span_first(state->count, run->n, part, parts);
        for (; s.length > 0; wtl_span_next(&s)) {
            add_span(state, run, x, y, &s);
        }
    }
}

static void copy_span(const add_state *state, const wtl_layer_run *run, const float *dy,
                      float *const *dx, const wtl_span *s)
{
    const float *from = dy + at_of(state, s, run->dy_image);
    for (int i = 0; i < state->input_count; i++) {
        if (dx[i]) {
            size_t to = at_of(state, s, state->blocked ? run->dx_image[i] : 0);
            memcpy(dx[i] + to, from, s->length * sizeof *from);
        }
    }
}

static void add_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                         const float *y, const float *dy, float *const *dx)
{
    (void)x;
    (void)y;
    const add_state *state = self;
    long count = run->n * (long)state->count;
    int parts = wtl_parts(count, count, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        wtl_span s = wtl_span_first(state->count, run->n, part, parts);
        for (; s.length > 0; wtl_span_next(&s)) {
            copy_span(state, run, dy, dx, &s);
        }
    }
}

const wtl_layer_ops wtl_add_ops = {
    .kind = WTL_LAYER_ADD,
    .word = "add",
    .least_inputs = 2,
    .most_inputs = 0,
    .state_bytes = sizeof(add_state),
    .fuses = true,
    .shape = add_shape,
    .blocks = add_blocks,
    .setup = add_setup,
    .forward = add_forward,
    .backward = add_backward,
};
