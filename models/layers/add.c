/* add.c - the sum of two or more inputs (ResNet's shortcut).
 *
 *   y = x_0 + x_1 + ...     dx_i = dy
 *
 * Shapes:  x_i, y [n,C,H,W]
 */
#include "kernels/conv_kernels.h"
#include "kernels/parts.h"
#include "layer_ops.h"
#include "wattle/threads.h"

#include <string.h>

enum { BLOCK = 2048 }; /* values at a time: the sum and its activation stay in L1 */

typedef struct add_state {
    int input_count;
    long count; /* values of an image */
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

static wtl_status add_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                            wtl_error *err)
{
    (void)def;
    (void)err;
    *(add_state *)self = (add_state){
        .input_count = plan->input_count,
        .count = (long)wtl_shape_count(plan->out),
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

static void add_range(const add_state *state, const float *const *x, float *y, long begin,
                      long end)
{
    for (long at = begin; at < end; at += BLOCK) {
        long count = end - at < BLOCK ? end - at : BLOCK;
        add_two(x[0] + at, x[1] + at, y + at, count);
        for (int i = 2; i < state->input_count; i++) {
            add_one(x[i] + at, y + at, count);
        }
        wtl_activate(y + at, (size_t)count, state->fused);
    }
}

static void add_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                        float *y)
{
    const add_state *state = self;
    long count = run->n * state->count;
    int parts = wtl_parts(count, count, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(count, part, parts, &begin, &end);
        add_range(state, x, y, begin, end);
    }
}

static void add_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                         const float *y, const float *dy, float *const *dx)
{
    (void)x;
    (void)y;
    const add_state *state = self;
    long count = run->n * state->count;
    int parts = wtl_parts(count, count, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(count, part, parts, &begin, &end);
        for (int i = 0; i < state->input_count; i++) {
            if (dx[i]) {
                memcpy(dx[i] + begin, dy + begin, (size_t)(end - begin) * sizeof *dy);
            }
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
    .setup = add_setup,
    .forward = add_forward,
    .backward = add_backward,
};
