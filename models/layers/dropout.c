/* dropout.c - zeroes values at random in training (Srivastava et al. 2014).
 *
 *   training    y = x / (1 - rate) where kept, else 0      dx = dy / (1 - rate), or 0
 *   inference   y = x
 *
 * Value i of the batch is kept when word i % 4 of block i / 4 of the stream (seed, step,
 * layer) is at least floor(rate * 2^32): with probability 1 - floor(rate * 2^32) / 2^32,
 * which is 1 - rate exactly for every float rate from 2^-8 up. So the mask depends on
 * neither the threads nor the size of the batch, nor, since values are counted in NCHW, on the
 * engine.
 *
 * Shapes:  x, y [n,C,H,W]      forward saves one byte a value, in the order of y: 1 where kept
 */
#include "kernels/parts.h"
#include "kernels/planes.h"
#include "kernels/spans.h"
#include "layer_ops.h"
#include "wattle/memory.h"
#include "wattle/rng.h"
#include "wattle/threads.h"

#include <string.h>

typedef struct dropout_state {
    int c;
    size_t pixels;
    size_t count; /* values of an image, in blocks of channels with the empty lanes */
    bool blocked;
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

static bool dropout_blocks(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                           wtl_shape out)
{
    (void)def;
    (void)in;
    (void)input_count;
    (void)out;
    return true;
}

/* A thread's scratch in blocks: what a plane keeps, in NCHW, with a word cut off at each end. */
static size_t plane_bytes(const dropout_state *state)
{
    return (state->pixels * WTL_BLOCK_CHANNELS + 8 + 63) / 64 * 64;
}

static wtl_status dropout_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                                wtl_error *err)
{
    dropout_state *state = self;
    *state = (dropout_state){
        .c = plan->out.c,
        .pixels = (size_t)plan->out.h * (size_t)plan->out.w,
        .count = plan->blocked_in ? wtl_blocked_count(plan->out) : wtl_shape_count(plan->out),
        .blocked = plan->blocked_in,
        .threshold = (uint32_t)((double)def->as.dropout.rate * 0x1p32),
        .scale = (float)(1.0 / (1.0 - (double)def->as.dropout.rate)),
    };
    size_t all, scratch = 0;
    /* The blocks of four are numbered in 32 bits. */
    if (!wtl_mul(state->count, (size_t)plan->batch, &all) || all / 4 > UINT32_MAX ||
        (state->blocked && !wtl_mul(plane_bytes(state), (size_t)plan->threads, &scratch))) {
        return wtl_fail(err, WTL_E_RANGE, "a batch of %d has more than 2^34 values",
                        plan->batch);
    }
    if (plan->training) {
        plan->saved_bytes = all;
        plan->scratch_bytes = scratch;
    }
    return WTL_OK;
}

WTL_HOT static void compare(const uint32_t *words, uint32_t threshold, long count,
                            uint8_t *restrict kept)
{
    for (long i = 0; i < count; i++) {
        kept[i] = words[i] >= threshold;
    }
}

/* kept[i - begin] for the values [begin, end), begin a multiple of 4. */
static void draw(const wtl_rng *stream, uint32_t threshold, size_t begin, size_t end,
                 uint8_t *kept)
{
    enum { CHUNK = 512 };
    uint32_t words[CHUNK];
    for (size_t i = begin; i < end; i += CHUNK) {
        size_t count = end - i < CHUNK ? end - i : CHUNK;
        wtl_rng_blocks(stream, (uint32_t)(i / 4), (count + 3) / 4, words);
        compare(words, threshold, (long)count, kept + (i - begin));
    }
}

WTL_HOT static void apply(const float *from, const uint8_t *kept, float scale, size_t count,
                          float *restrict to)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = kept[i] ? from[i] * scale : 0.0f;
    }
}

/* Plane `index` of blocks; in_order: working memory. Lanes without a channel hold 0, whatever
 * is kept of them. */
static void draw_plane(const dropout_state *state, const wtl_rng *stream, long index,
                       uint8_t *in_order, uint8_t *kept)
{
    int blocks = wtl_blocks_of(state->c), channel = (int)(index % blocks) * WTL_BLOCK_CHANNELS;
    int left = state->c - channel,
        lanes = left < WTL_BLOCK_CHANNELS ? left : WTL_BLOCK_CHANNELS;
    size_t image = (size_t)(index / blocks) * (size_t)state->c;
    size_t first = (image + (size_t)channel) * state->pixels, begin = first / 4 * 4;
    draw(stream, state->threshold, begin, first + (size_t)lanes * state->pixels, in_order);
    in_order += first - begin;
    for (int j = 0; j < lanes; j++, in_order += state->pixels) {
        for (size_t i = 0; i < state->pixels; i++) {
            kept[i * WTL_BLOCK_CHANNELS + j] = in_order[i];
        }
    }
}

static void forward_planes(const dropout_state *state, const wtl_layer_run *run,
                           const wtl_rng *stream, int part, int parts, const float *x, float *y)
{
    int blocks = wtl_blocks_of(state->c);
    uint8_t *in_order = (uint8_t *)run->scratch + (size_t)part * plane_bytes(state);
    long begin, end;
    wtl_share((long)run->n * blocks, part, parts, &begin, &end);
    for (long i = begin; i < end; i++) {
        uint8_t *kept =
            (uint8_t *)run->saved + wtl_plane_at(i, blocks, state->count, state->pixels);
        draw_plane(state, stream, i, in_order, kept);
        apply(x + wtl_plane_at(i, blocks, run->x_image[0], state->pixels), kept, state->scale,
              state->pixels * WTL_BLOCK_CHANNELS,
              y + wtl_plane_at(i, blocks, run->y_image, state->pixels));
    }
}

/* Shares are cut between blocks of the stream. */
static void forward_values(const dropout_state *state, const wtl_layer_run *run,
                           const wtl_rng *stream, int part, int parts, const float *x, float *y)
{
    size_t count = (size_t)run->n * state->count;
    uint8_t *kept = run->saved;
    long begin, end;
    wtl_share((long)((count + 3) / 4), part, parts, &begin, &end);
    size_t first = 4 * (size_t)begin, last = 4 * (size_t)end < count ? 4 * (size_t)end : count;
    draw(stream, state->threshold, first, last, kept + first);
    apply(x + first, kept + first, state->scale, last - first, y + first);
}

static int parts_of(const dropout_state *state, const wtl_layer_run *run)
{
    long count = run->n * (long)state->count;
    long units = state->blocked ? (long)run->n * wtl_blocks_of(state->c) : count;
    return wtl_parts(units, count, run->threads);
}

static void pass_through(const dropout_state *state, const wtl_layer_run *run, const float *x,
                         float *y)
{
    size_t x_image = state->blocked ? run->x_image[0] : state->count;
    size_t y_image = state->blocked ? run->y_image : state->count;
    for (size_t i = 0; i < (size_t)run->n; i++) {
        memcpy(y + i * y_image, x + i * x_image, state->count * sizeof *y);
    }
}

static void dropout_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                            float *y)
{
    const dropout_state *state = self;
    if (!run->training) {
        pass_through(state, run, x[0], y);
        return;
    }
    wtl_rng stream = wtl_rng_make(run->seed, WTL_RNG_DROPOUT, run->step, (uint32_t)run->layer);
    int parts = parts_of(state, run);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        (state->blocked ? forward_planes : forward_values)(state, run, &stream, part, parts,
                                                           x[0], y);
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
    const uint8_t *kept = run->saved;
    size_t dy_image = state->blocked ? run->dy_image : state->count;
    size_t dx_image = state->blocked ? run->dx_image[0] : state->count;
    int parts = parts_of(state, run);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        wtl_span s = wtl_span_first(state->count, run->n, part, parts);
        for (; s.length > 0; wtl_span_next(&s)) {
            apply(dy + s.image * dy_image + s.at, kept + s.image * state->count + s.at,
                  state->scale, s.length, dx[0] + s.image * dx_image + s.at);
        }
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
    .blocks = dropout_blocks,
    .setup = dropout_setup,
    .forward = dropout_forward,
    .backward = dropout_backward,
};
