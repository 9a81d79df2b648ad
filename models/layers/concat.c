/* concat.c - the channels of all inputs, one after the other, then channels of zeros.
 *
 *   y[n, C0 + ... + C(i-1) + c, h, w] = x_i[n, c, h, w]     the last Z channels are 0
 *
 * Shapes:  x_i [n,Ci,H,W]   y [n,C,H,W]   C = sum of Ci, + Z
 */
#include "kernels/parts.h"
#include "layer_ops.h"
#include "wattle/threads.h"

#include <limits.h>
#include <string.h>

enum { MOST_INPUTS = 64 }; /* the state has a fixed size */

typedef struct concat_state {
    int input_count;
    size_t count[MOST_INPUTS]; /* values of an image of each input */
    size_t zeros;              /* values behind them */
    size_t sum;                /* and of the output */
} concat_state;

static wtl_status concat_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                               wtl_shape *out, wtl_error *err)
{
    int zeros = def->as.concat.zeros;
    *out = in[0];
    for (int i = 1; i < input_count; i++) {
        if (in[i].h != out->h || in[i].w != out->w) {
            return wtl_fail(err, WTL_E_SHAPE, "input %d is %dx%dx%d, must be %dx%d as input 1",
                            i + 1, in[i].c, in[i].h, in[i].w, out->h, out->w);
        }
        if (in[i].c > INT_MAX - out->c) {
            return wtl_fail(err, WTL_E_SHAPE, "more than %d channels together", INT_MAX);
        }
        out->c += in[i].c;
    }
    if (zeros > INT_MAX - out->c) {
        return wtl_fail(err, WTL_E_SHAPE, "more than %d channels together", INT_MAX);
    }
    out->c += zeros;
    return WTL_OK;
}

static wtl_status concat_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                               wtl_error *err)
{
    concat_state *state = self;
    if (plan->input_count > MOST_INPUTS) {
        return wtl_fail(err, WTL_E_RANGE, "%d inputs, at most %d are possible",
                        plan->input_count, MOST_INPUTS);
    }
    state->input_count = plan->input_count;
    for (int i = 0; i < plan->input_count; i++) {
        state->count[i] = wtl_shape_count(plan->in[i]);
    }
    state->sum = wtl_shape_count(plan->out);
    state->zeros = state->sum / (size_t)plan->out.c * (size_t)def->as.concat.zeros;
    return WTL_OK;
}

static void join(const concat_state *state, const float *const *x, float *y, long image)
{
    float *to = y + (size_t)image * state->sum;
    for (int i = 0; i < state->input_count; i++) {
        size_t count = state->count[i];
        memcpy(to, x[i] + (size_t)image * count, count * sizeof *to);
        to += count;
    }
    memset(to, 0, state->zeros * sizeof *to);
}

static void split(const concat_state *state, const float *dy, float *const *dx, long image)
{
    const float *from = dy + (size_t)image * state->sum;
    for (int i = 0; i < state->input_count; i++) {
        size_t count = state->count[i];
        if (dx[i]) {
            memcpy(dx[i] + (size_t)image * count, from, count * sizeof *from);
        }
        from += count;
    }
}

static void concat_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                           float *y)
{
    const concat_state *state = self;
    int parts = wtl_parts(run->n, run->n * (long)state->sum, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(run->n, part, parts, &begin, &end);
        for (long image = begin; image < end; image++) {
            join(state, x, y, image);
        }
    }
}

static void concat_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                            const float *y, const float *dy, float *const *dx)
{
    (void)x;
    (void)y;
    const concat_state *state = self;
    int parts = wtl_parts(run->n, run->n * (long)state->sum, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(run->n, part, parts, &begin, &end);
        for (long image = begin; image < end; image++) {
            split(state, dy, dx, image);
        }
    }
}

static const wtl_layer_option concat_option_table[] = {
    {"zeros", WTL_OPTION_INT, offsetof(wtl_layer_def, as.concat.zeros), 0, 1 << 20, "0", NULL},
    {0},
};

const wtl_layer_ops wtl_concat_ops = {
    .kind = WTL_LAYER_CONCAT,
    .word = "concat",
    .least_inputs = 1,
    .most_inputs = MOST_INPUTS,
    .options = concat_option_table,
    .state_bytes = sizeof(concat_state),
    .shape = concat_shape,
    .setup = concat_setup,
    .forward = concat_forward,
    .backward = concat_backward,
};
