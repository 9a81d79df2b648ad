/* concat.c - the channels of all inputs, one after the other, then channels of zeros.
 *
 *   y[n, C0 + ... + C(i-1) + c, h, w] = x_i[n, c, h, w]     the last Z channels are 0
 *
 * Shapes:  x_i [n,Ci,H,W]   y [n,C,H,W]   C = sum of Ci, + Z
 *
 * In blocks of channels, every part must begin with a block. What a net has placed in y, or in
 * dy, already is not copied.
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
    size_t sum;                /* and of the output: behind them, zeros */
    bool blocked;
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

static bool concat_blocks(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                          wtl_shape out)
{
    (void)out;
    int whole = def->as.concat.zeros > 0 ? input_count : input_count - 1;
    for (int i = 0; i < whole; i++) {
        if (in[i].c % WTL_BLOCK_CHANNELS != 0) {
            return false;
        }
    }
    return true;
}

static wtl_status concat_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                               wtl_error *err)
{
    (void)def;
    concat_state *state = self;
    if (plan->input_count > MOST_INPUTS) {
        return wtl_fail(err, WTL_E_RANGE, "%d inputs, at most %d are possible",
                        plan->input_count, MOST_INPUTS);
    }
    state->input_count = plan->input_count;
    state->blocked = plan->blocked_in;
    size_t (*count)(wtl_shape) = plan->blocked_in ? wtl_blocked_count : wtl_shape_count;
    for (int i = 0; i < plan->input_count; i++) {
        state->count[i] = count(plan->in[i]);
    }
    state->sum = count(plan->out);
    return WTL_OK;
}

static void copy(const float *from, float *to, size_t count)
{
    if (from != to) {
        memcpy(to, from, count * sizeof *to);
    }
}

static void join(const concat_state *state, const wtl_layer_run *run, const float *const *x,
                 float *y, long image)
{
    float *to = y + (size_t)image * (state->blocked ? run->y_image : state->sum);
    float *end = to + state->sum;
    for (int i = 0; i < state->input_count; i++) {
        size_t count = state->count[i], apart = state->blocked ? run->x_image[i] : count;
        copy(x[i] + (size_t)image * apart, to, count);
        to += count;
    }
    memset(to, 0, (size_t)(end - to) * sizeof *to);
}

static void split(const concat_state *state, const wtl_layer_run *run, const float *dy,
                  float *const *dx, long image)
{
    const float *from = dy + (size_t)image * (state->blocked ? run->dy_image : state->sum);
    for (int i = 0; i < state->input_count; i++) {
        size_t count = state->count[i], apart = state->blocked ? run->dx_image[i] : count;
        if (dx[i]) {
            copy(from, dx[i] + (size_t)image * apart, count);
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
            join(state, run, x, y, image);
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
            split(state, run, dy, dx, image);
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
    .blocks = concat_blocks,
    .setup = concat_setup,
    .forward = concat_forward,
    .backward = concat_backward,
};
