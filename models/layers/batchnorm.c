/* batchnorm.c - batch normalisation (Ioffe and Szegedy 2015), per channel.
 *
 *   y = (x - mean) * d * weight + bias        d = 1 / sqrt(var + eps)
 *
 * Training: mean and var (biased) are the batch's, over its m = n*H*W values, and
 *   running = (1 - momentum) * running + momentum * batch
 * with the unbiased variance var * m/(m-1); one value alone says nothing about variance,
 * so m = 1 leaves running_var as it is. Inference: mean and var are the running ones.
 *
 * Backward, of training alone, with u = (x - mean) * d:
 *   dweight += sum of dy * u      dbias += sum of dy
 *   dx = weight * d * (dy - sum of dy / m - u * sum of (dy * u) / m)
 *
 * Shapes:  x, y [n,C,H,W]   weight, bias, running_mean, running_var [C]
 *
 * forward saves mean and d of the batch. A thread takes whole channels: what the second
 * sweep over a channel reads is still in the cache from the first, and no sum depends on
 * the number of threads. Sums are double: x^2 - mean^2 cancels in float.
 */
#include "kernels/conv_kernels.h"
#include "kernels/parts.h"
#include "layer_ops.h"
#include "wattle/threads.h"

#include <math.h>

typedef struct batchnorm_state {
    int c;
    long pixels; /* H*W */
    bool affine;
    float eps, momentum;
    wtl_activation fused;
} batchnorm_state;

static wtl_status batchnorm_shape(const wtl_layer_def *def, const wtl_shape *in,
                                  int input_count, wtl_shape *out, wtl_error *err)
{
    (void)def;
    (void)input_count;
    (void)err;
    *out = in[0];
    return WTL_OK;
}

static int batchnorm_params(const wtl_layer_def *def, const wtl_shape *in,
                            wtl_param_spec specs[WTL_MAX_LAYER_PARAMS])
{
    static const wtl_param_spec all[] = {
        {.suffix = "weight", .role = WTL_PARAM_SCALE},
        {.suffix = "bias", .role = WTL_PARAM_SHIFT},
        {.suffix = "running_mean", .role = WTL_PARAM_RUNNING_MEAN},
        {.suffix = "running_var", .role = WTL_PARAM_RUNNING_VAR, .init = {.value = 1.0f}},
    };
    int count = 0;
    for (int i = def->as.batchnorm.affine ? 0 : 2; i < 4; i++) {
        specs[count] = all[i];
        specs[count].rank = 1;
        specs[count].dims[0] = in->c;
        specs[count].fan_in = specs[count].fan_out = 1;
        if (all[i].role == WTL_PARAM_SCALE) {
            specs[count].init = def->as.batchnorm.init;
        }
        count++;
    }
    return count;
}

static wtl_status batchnorm_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                                  wtl_error *err)
{
    (void)err;
    batchnorm_state *state = self;
    *state = (batchnorm_state){
        .c = plan->out.c,
        .pixels = (long)plan->out.h * plan->out.w,
        .affine = def->as.batchnorm.affine,
        .eps = def->as.batchnorm.eps,
        .momentum = def->as.batchnorm.momentum,
        .fused = plan->fused,
    };
    if (plan->training) {
        plan->saved_bytes = 2 * (size_t)state->c * sizeof(float);
    }
    return WTL_OK;
}

static float *running_mean(const batchnorm_state *state, const wtl_layer_run *run)
{
    return run->value[state->affine ? 2 : 0];
}

static float *running_var(const batchnorm_state *state, const wtl_layer_run *run)
{
    return run->value[state->affine ? 3 : 1];
}

/* ---- one channel of all images: `n` rows of `pixels`, `stride` apart ---- */

typedef struct rows {
    long n, pixels, stride;
} rows;

enum { LANES = 16 }; /* running sums side by side: vectorises, and the order is fixed */

static inline double lane_sum(double *lanes)
{
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int j = 0; j < half; j++) {
            lanes[j] += lanes[j + half];
        }
    }
    return lanes[0];
}

/* Sums of x and of x^2. */
WTL_HOT static void moments(rows r, const float *x, double *sum, double *square)
{
    double sums[LANES] = {0}, squares[LANES] = {0};
    for (long i = 0; i < r.n; i++, x += r.stride) {
        long at = 0;
        for (; at + LANES <= r.pixels; at += LANES) {
            for (int j = 0; j < LANES; j++) {
                double value = x[at + j];
                sums[j] += value;
                squares[j] += value * value;
            }
        }
        for (int j = 0; at + j < r.pixels; j++) {
            double value = x[at + j];
            sums[j] += value;
            squares[j] += value * value;
        }
    }
    *sum = lane_sum(sums);
    *square = lane_sum(squares);
}

/* Sums of dy and of dy * (x - mean). */
WTL_HOT static void products(rows r, const float *x, const float *dy, float mean, double *sum,
                             double *product)
{
    double sums[LANES] = {0}, with_x[LANES] = {0};
    for (long i = 0; i < r.n; i++, x += r.stride, dy += r.stride) {
        long at = 0;
        for (; at + LANES <= r.pixels; at += LANES) {
            for (int j = 0; j < LANES; j++) {
                sums[j] += dy[at + j];
                with_x[j] += dy[at + j] * (x[at + j] - mean);
            }
        }
        for (int j = 0; at + j < r.pixels; j++) {
            sums[j] += dy[at + j];
            with_x[j] += dy[at + j] * (x[at + j] - mean);
        }
    }
    *sum = lane_sum(sums);
    *product = lane_sum(with_x);
}

static inline float active(float value, wtl_activation activation)
{
    if (activation != WTL_ACTIVATION_NONE) {
        value = value < 0.0f ? 0.0f : value; /* a NaN stays a NaN */
    }
    if (activation == WTL_ACTIVATION_RELU6) {
        value = value > 6.0f ? 6.0f : value;
    }
    return value;
}

static inline void normalise_row(const float *x, float *restrict y, long pixels, float mean,
                                 float factor, float bias, wtl_activation activation)
{
    for (long i = 0; i < pixels; i++) {
        y[i] = active((x[i] - mean) * factor + bias, activation);
    }
}

/* y = activation((x - mean) * factor + bias) */
WTL_HOT static void normalise(rows r, const float *x, float *y, float mean, float factor,
                              float bias, wtl_activation activation)
{
    for (long i = 0; i < r.n; i++, x += r.stride, y += r.stride) {
        switch (activation) { /* constants, so that each row is one plain loop */
        case WTL_ACTIVATION_RELU:
            normalise_row(x, y, r.pixels, mean, factor, bias, WTL_ACTIVATION_RELU);
            break;
        case WTL_ACTIVATION_RELU6:
            normalise_row(x, y, r.pixels, mean, factor, bias, WTL_ACTIVATION_RELU6);
            break;
        default:
            normalise_row(x, y, r.pixels, mean, factor, bias, WTL_ACTIVATION_NONE);
        }
    }
}

/* dx = factor * (dy - dy_mean - slope * (x - mean)) */
WTL_HOT static void combine(rows r, const float *x, const float *dy, float *restrict dx,
                            float mean, float dy_mean, float slope, float factor)
{
    for (long i = 0; i < r.n; i++, x += r.stride, dy += r.stride, dx += r.stride) {
        for (long j = 0; j < r.pixels; j++) {
            dx[j] = factor * (dy[j] - dy_mean - slope * (x[j] - mean));
        }
    }
}

/* ---- reference: sums of one channel by their definition ---- */

static void reference_moments(rows r, const float *x, double *sum, double *square)
{
    *sum = *square = 0.0;
    for (long i = 0; i < r.n * r.pixels; i++) {
        double value = x[i / r.pixels * r.stride + i % r.pixels];
        *sum += value;
        *square += value * value;
    }
}

static void reference_products(rows r, const float *x, const float *dy, float mean, double *sum,
                               double *product)
{
    *sum = *product = 0.0;
    for (long i = 0; i < r.n * r.pixels; i++) {
        long at = i / r.pixels * r.stride + i % r.pixels;
        *sum += dy[at];
        *product += dy[at] * ((double)x[at] - mean);
    }
}

/* ---- */

/* running = (1 - momentum) * running + momentum * batch; momentum 1 forgets even a NaN. */
static void blend(float *running, double momentum, double batch)
{
    double kept = momentum >= 1.0 ? 0.0 : (1.0 - momentum) * *running;
    *running = (float)(kept + momentum * batch);
}

/* Mean and d of channel c: the batch's, saved and blended into the running ones. */
static void batch_statistics(const batchnorm_state *state, const wtl_layer_run *run, int c,
                             rows r, const float *x, float *mean, double *inverse)
{
    double sum, square, count = (double)r.n * (double)r.pixels;
    (run->engine == WTL_ENGINE_REFERENCE ? reference_moments : moments)(r, x, &sum, &square);
    double centre = sum / count, variance = square / count - centre * centre;
    variance = variance < 0.0 ? 0.0 : variance; /* rounding */
    *mean = (float)centre;
    *inverse = 1.0 / sqrt(variance + state->eps);
    float *saved = run->saved;
    saved[c] = *mean;
    saved[state->c + c] = (float)*inverse;
    double momentum = run->stat_momentum >= 0.0f ? run->stat_momentum : state->momentum;
    blend(running_mean(state, run) + c, momentum, centre);
    if (count > 1.0) {
        blend(running_var(state, run) + c, momentum, variance * count / (count - 1.0));
    }
}

static void forward_channel(const batchnorm_state *state, const wtl_layer_run *run, int c,
                            const float *x, float *y)
{
    rows r = {run->n, state->pixels, state->c * state->pixels};
    x += c * state->pixels;
    y += c * state->pixels;
    float mean;
    double inverse;
    if (run->training) {
        batch_statistics(state, run, c, r, x, &mean, &inverse);
    } else {
        mean = running_mean(state, run)[c];
        inverse = 1.0 / sqrt((double)running_var(state, run)[c] + state->eps);
    }
    double weight = state->affine ? run->value[0][c] : 1.0;
    normalise(r, x, y, mean, (float)(weight * inverse), state->affine ? run->value[1][c] : 0.0f,
              state->fused);
}

static void backward_channel(const batchnorm_state *state, const wtl_layer_run *run, int c,
                             const float *x, const float *dy, float *dx)
{
    rows r = {run->n, state->pixels, state->c * state->pixels};
    x += c * state->pixels;
    dy += c * state->pixels;
    const float *saved = run->saved;
    float mean = saved[c];
    double inverse = saved[state->c + c], weight = state->affine ? run->value[0][c] : 1.0;
    double sum, product, count = (double)r.n * (double)r.pixels;
    (run->engine == WTL_ENGINE_REFERENCE ? reference_products : products)(r, x, dy, mean, &sum,
                                                                          &product);
    if (state->affine) {
        run->gradient[0][c] += (float)(product * inverse);
        run->gradient[1][c] += (float)sum;
    }
    if (dx) {
        combine(r, x, dy, dx + c * state->pixels, mean, (float)(sum / count),
                (float)(inverse * inverse * product / count), (float)(weight * inverse));
    }
}

static int channel_parts(const batchnorm_state *state, const wtl_layer_run *run)
{
    return wtl_parts(state->c, run->n * state->pixels * state->c, run->threads);
}

static void batchnorm_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                              float *y)
{
    const batchnorm_state *state = self;
    int parts = channel_parts(state, run);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(state->c, part, parts, &begin, &end);
        for (long c = begin; c < end; c++) {
            forward_channel(state, run, (int)c, x[0], y);
        }
    }
}

static void batchnorm_backward(const void *self, const wtl_layer_run *run,
                               const float *const *x, const float *y, const float *dy,
                               float *const *dx)
{
    (void)y;
    const batchnorm_state *state = self;
    int parts = channel_parts(state, run);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(state->c, part, parts, &begin, &end);
        for (long c = begin; c < end; c++) {
            backward_channel(state, run, (int)c, x[0], dy, dx[0]);
        }
    }
}

#define AT(field) offsetof(wtl_layer_def, as.batchnorm.field)
static const wtl_layer_option batchnorm_option_table[] = {
    {"eps", WTL_OPTION_FLOAT, AT(eps), 1e-12, 1, "1e-5", NULL},
    {"momentum", WTL_OPTION_FLOAT, AT(momentum), 0, 1, "0.1", NULL},
    {"affine", WTL_OPTION_BOOL, AT(affine), 0, 1, "yes", NULL},
    {"init", WTL_OPTION_INIT, AT(init), 0, 0, "const:1", NULL},
    {0},
};
#undef AT

const wtl_layer_ops wtl_batchnorm_ops = {
    .kind = WTL_LAYER_BATCHNORM,
    .word = "batchnorm",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = batchnorm_option_table,
    .state_bytes = sizeof(batchnorm_state),
    .fuses = true,
    .needs_x = true,
    .shape = batchnorm_shape,
    .params = batchnorm_params,
    .setup = batchnorm_setup,
    .forward = batchnorm_forward,
    .backward = batchnorm_backward,
};
