/* dropout.c - zeroes values at random in training (Srivastava et al. 2014).
 *
 *   training    y = x / (1 - rate) where kept, else 0      dx = dy / (1 - rate), or 0
 *   inference   y = x
 *
 * Value i of the batch is kept when word i % 4 of block i / 4 of the stream (seed, step,
 * layer) is at least floor(rate * 2^32): with probability 1 - floor(rate * 2^32) / 2^32,
 * which is 1 - rate exactly for every float rate from 2^-8 up. So the mask depends on
 * neither the threads nor the size of the batch.
 *
 * Shapes:  x, y [n,C,H,W]      forward saves one byte a value: 1 where kept
 */
#include "kernels/parts.h"
#include "layer_ops.h"
#include "wattle/memory.h"
#include "wattle/rng.h"
#include "wattle/threads.h"

#include <string.h>

typedef struct dropout_state {
    long count; /* values of an image */
    uint32_t threshold;
    float scale;
} dropout_state;

static wtl_status dropout_check(wtl_layer_def *def, wtl_error *err)
{
    if (!(def->as.dropout.rate < 1.0f)) {
        return wtl_fail(err, WTL_E_RANGE, "rate is %g, must be below 1",
                        (double)def->as.dropout.rate);
    }
    return WTL_OK;
}

static wtl_status dropout_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                                wtl_shape *out, wtl_error *err)
{
    (void)def;
    (void)input_count;
    (void)err;
    *out = in[0];
    return WTL_OK;
}

static wtl_status dropout_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                                wtl_error *err)
{
    dropout_state *state = self;
    size_t count = wtl_shape_count(plan->out), all;
    /* The blocks of four are numbered in 32 bits. */
    if (!wtl_mul(count, (size_t)plan->batch, &all) || all / 4 > UINT32_MAX) {
        return wtl_fail(err, WTL_E_RANGE, "a batch of %d has more than 2^34 values",
                        plan->batch);
    }
    state->count = (long)count;
    state->threshold = (uint32_t)((double)def->as.dropout.rate * 0x1p32);
    state->scale = (float)(1.0 / (1.0 - (double)def->as.dropout.rate));
    if (plan->training) {
        plan->saved_bytes = all;
    }
    return WTL_OK;
}

/* kept[i] for the values [begin, end), begin a multiple of 4. */
static void draw(const wtl_rng *stream, uint32_t threshold, long begin, long end, uint8_t *kept)
{
    for (long i = begin; i < end; i += 4) {
        uint32_t words[4];
        wtl_rng_block(stream, (uint32_t)(i / 4), words);
        for (int j = 0; j < 4 && i + j < end; j++) {
            kept[i + j] = words[j] >= threshold;
        }
    }
}

WTL_HOT static void apply(const float *from, const uint8_t *kept, float scale, long begin,
                          long end, float *restrict to)
{
    for (long i = begin; i < end; i++) {
        to[i] = kept[i] ? from[i] * scale : 0.0f;
    }
}

/* Share of a part, cut between blocks of the stream. */
static void share(long count, int part, int parts, long *begin, long *end)
{
    wtl_share((count + 3) / 4, part, parts, begin, end);
    *begin *= 4;
    *end = *end * 4 < count ? *end * 4 : count;
}

static void dropout_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                            float *y)
{
    const dropout_state *state = self;
    long count = run->n * state->count;
    if (!run->training) {
        memcpy(y, x[0], (size_t)count * sizeof *y);
        return;
    }
    wtl_rng stream = wtl_rng_make(run->seed, WTL_RNG_DROPOUT, run->step, (uint32_t)run->layer);
    int parts = wtl_parts(count, count, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        share(count, part, parts, &begin, &end);
        draw(&stream, state->threshold, begin, end, run->saved);
        apply(x[0], run->saved, state->scale, begin, end, y);
    }
}

static void dropout_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                             const float *y, const float *dy, float *const *dx)
{
    (void)x;
    (void)y;
    const dropout_state *state = self;
    if (!dx[0]) {
        return;
    }
    long count = run->n * state->count;
    int parts = wtl_parts(count, count, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        share(count, part, parts, &begin, &end);
        apply(dy, run->saved, state->scale, begin, end, dx[0]);
    }
}

static const wtl_layer_option dropout_option_table[] = {
    {"rate", WTL_OPTION_FLOAT, offsetof(wtl_layer_def, as.dropout.rate), 0, 1, "0.5", NULL},
    {0},
};

const wtl_layer_ops wtl_dropout_ops = {
    .kind = WTL_LAYER_DROPOUT,
    .word = "dropout",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = dropout_option_table,
    .state_bytes = sizeof(dropout_state),
    .alias_at_inference = true,
    .check = dropout_check,
    .shape = dropout_shape,
    .setup = dropout_setup,
    .forward = dropout_forward,
    .backward = dropout_backward,
};
