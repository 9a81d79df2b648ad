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
#include "kernels/native/batchnorm.h"
#include "kernels/conv_kernels.h"
#include "kernels/parts.h"
#include "kernels/planes.h"
#include "layer_ops.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <math.h>

typedef struct batchnorm_state {
    int c;
    long pixels; /* H*W */
    bool affine;
    float eps, momentum;
    wtl_activation fused;
    int blocks;                             /* of channels; 0: in NCHW */
    const wtl_batchnorm_kernels *in_blocks; /* or NULL */
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

static bool batchnorm_blocks(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                             wtl_shape out)
{
    (void)def;
    (void)in;
    (void)input_count;
    (void)out;
    return true;
}

enum {
    B = WTL_BLOCK_CHANNELS,
    PLANE_SUMS = 2 * B,   /* doubles of a plane: two sums a channel */
    BLOCK_FACTORS = 3 * B /* floats of a block: three factors a channel */
};

/* The sums of every plane, then the factors of every block. */
static wtl_status blocked_setup(batchnorm_state *state, wtl_layer_plan *plan, wtl_error *err)
{
    size_t planes, sums;
    state->blocks = wtl_blocks_of(state->c);
    state->in_blocks = plan->native->batchnorm;
    plan->kernel = "in blocks";
    plan->passes_gradient = true;
    if (!wtl_mul((size_t)state->blocks, (size_t)plan->batch, &planes) ||
        !wtl_mul(planes, PLANE_SUMS * sizeof(double), &sums) ||
        !wtl_add(sums, (size_t)state->blocks * BLOCK_FACTORS * sizeof(float),
                 &plan->scratch_bytes)) {
        return wtl_fail(err, WTL_E_RANGE, "a batch of %d does not fit in memory", plan->batch);
    }
    return WTL_OK;
}

static wtl_status batchnorm_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                                  wtl_error *err)
{
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
        plan->saved_bytes = 3 * (size_t)state->c * sizeof(float);
    }
    return plan->blocked_in ? blocked_setup(state, plan, err) : WTL_OK;
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

/* y = (x - mean) * factor + bias */
typedef struct line {
    float mean, factor, bias;
} line;

/* Of the batch, whose mean and d are saved and blended into the running ones. */
static line line_of_batch(const batchnorm_state *state, const wtl_layer_run *run, int c,
                          double sum, double square)
{
    double count = (double)run->n * (double)state->pixels;
    double centre = sum / count, variance = square / count - centre * centre;
    variance = variance < 0.0 ? 0.0 : variance; /* rounding */
    double inverse = 1.0 / sqrt(variance + state->eps);
    float *saved = run->saved;
    saved[c] = (float)centre;
    saved[state->c + c] = (float)inverse;
    double momentum = run->stat_momentum >= 0.0f ? run->stat_momentum : state->momentum;
    blend(running_mean(state, run) + c, momentum, centre);
    if (count > 1.0) {
        blend(running_var(state, run) + c, momentum, variance * count / (count - 1.0));
    }
    double weight = state->affine ? run->value[0][c] : 1.0;
    saved[2 * state->c + c] = (float)(weight * inverse);
    return (line){(float)centre, (float)(weight * inverse),
                  state->affine ? run->value[1][c] : 0.0f};
}

/* The same again, in the backward pass. */
static line line_of_saved(const batchnorm_state *state, const wtl_layer_run *run, int c)
{
    const float *saved = run->saved;
    return (line){saved[c], saved[2 * state->c + c], state->affine ? run->value[1][c] : 0.0f};
}

static line running_line(const batchnorm_state *state, const wtl_layer_run *run, int c)
{
    double inverse = 1.0 / sqrt((double)running_var(state, run)[c] + state->eps);
    double weight = state->affine ? run->value[0][c] : 1.0;
    return (line){running_mean(state, run)[c], (float)(weight * inverse),
                  state->affine ? run->value[1][c] : 0.0f};
}

/* dx = factor * (dy - dy_mean - slope * (x - mean)) */
typedef struct slope_line {
    float mean, dy_mean, slope, factor;
} slope_line;

/* From the sums of dy and of dy * (x - mean), which go into the parameters' gradients. */
static slope_line line_of_gradient(const batchnorm_state *state, const wtl_layer_run *run,
                                   int c, double sum, double product)
{
    const float *saved = run->saved;
    double count = (double)run->n * (double)state->pixels;
    double inverse = saved[state->c + c], weight = state->affine ? run->value[0][c] : 1.0;
    if (state->affine) {
        run->gradient[0][c] += (float)(product * inverse);
        run->gradient[1][c] += (float)sum;
    }
    return (slope_line){saved[c], (float)(sum / count),
                        (float)(inverse * inverse * product / count),
                        (float)(weight * inverse)};
}

static void forward_channel(const batchnorm_state *state, const wtl_layer_run *run, int c,
                            const float *x, float *y)
{
    rows r = {run->n, state->pixels, state->c * state->pixels};
    x += c * state->pixels;
    y += c * state->pixels;
    line by;
    if (run->training) {
        double sum, square;
        (run->engine == WTL_ENGINE_REFERENCE ? reference_moments : moments)(r, x, &sum,
                                                                            &square);
        by = line_of_batch(state, run, c, sum, square);
    } else {
        by = running_line(state, run, c);
    }
    normalise(r, x, y, by.mean, by.factor, by.bias, state->fused);
}

static void backward_channel(const batchnorm_state *state, const wtl_layer_run *run, int c,
                             const float *x, const float *dy, float *dx)
{
    rows r = {run->n, state->pixels, state->c * state->pixels};
    x += c * state->pixels;
    dy += c * state->pixels;
    float mean = ((const float *)run->saved)[c];
    double sum, product;
    (run->engine == WTL_ENGINE_REFERENCE ? reference_products : products)(r, x, dy, mean, &sum,
                                                                          &product);
    slope_line by = line_of_gradient(state, run, c, sum, product);
    if (dx) {
        combine(r, x, dy, dx + c * state->pixels, by.mean, by.dy_mean, by.slope, by.factor);
    }
}

/* ---- in blocks of channels: sums of every plane, factors of every block, then a sweep ---- */

typedef struct blocked_job {
    const batchnorm_state *state;
    const wtl_layer_run *run;
    const float *x, *dy;
    float *out;     /* y or dx; NULL: no sweep */
    double *sums;   /* [n,blocks,2,B]; in images' order, whatever the threads */
    float *factors; /* [blocks,3,B]; of lanes without a channel 0 */
} blocked_job;

typedef struct blocked_steps {
    void (*sum)(const blocked_job *job, long plane); /* NULL: nothing to sum up */
    void (*settle)(const blocked_job *job, int block);
    void (*sweep)(const blocked_job *job, long plane);
} blocked_steps;

static blocked_job job_of(const batchnorm_state *state, const wtl_layer_run *run,
                          const float *x, const float *dy, float *out)
{
    double *sums = run->scratch;
    return (blocked_job){.state = state,
                         .run = run,
                         .x = x,
                         .dy = dy,
                         .out = out,
                         .sums = sums,
                         .factors =
                             (float *)(sums + (size_t)run->n * state->blocks * PLANE_SUMS)};
}

static size_t plane_at(const blocked_job *job, long plane, size_t image)
{
    return wtl_plane_at(plane, job->state->blocks, image, (size_t)job->state->pixels);
}

static float *factors_of(const blocked_job *job, long plane)
{
    return job->factors + (size_t)(plane % job->state->blocks) * BLOCK_FACTORS;
}

/* Of channel `lane` of a block, over all images. */
static double total(const blocked_job *job, int block, int lane)
{
    double sum = 0.0;
    for (int i = 0; i < job->run->n; i++) {
        sum += job->sums[((size_t)i * job->state->blocks + block) * PLANE_SUMS + lane];
    }
    return sum;
}

static void forward_sum(const blocked_job *job, long plane)
{
    double *sums = job->sums + (size_t)plane * PLANE_SUMS;
    job->state->in_blocks->moments(job->state->pixels,
                                   job->x + plane_at(job, plane, job->run->x_image[0]), sums,
                                   sums + B);
}

static void forward_settle(const blocked_job *job, int block)
{
    float *factors = factors_of(job, block);
    for (int j = 0; j < B; j++) {
        int c = block * B + j;
        line by = {0};
        if (c < job->state->c && job->run->training) {
            by = line_of_batch(job->state, job->run, c, total(job, block, j),
                               total(job, block, B + j));
        } else if (c < job->state->c) {
            by = running_line(job->state, job->run, c);
        }
        factors[j] = by.mean;
        factors[B + j] = by.factor;
        factors[2 * B + j] = by.bias;
    }
}

static void forward_sweep(const blocked_job *job, long plane)
{
    const float *factors = factors_of(job, plane);
    job->state->in_blocks->normalise(job->state->pixels,
                                     job->x + plane_at(job, plane, job->run->x_image[0]),
                                     factors, factors + B, factors + 2 * B, job->state->fused,
                                     wtl_streams((size_t)job->run->n * job->run->y_image),
                                     job->out + plane_at(job, plane, job->run->y_image));
}

/* How y was made of x: mean, factor, bias. */
static wtl_batchnorm_forward forward_of(const blocked_job *job, float *made)
{
    return (wtl_batchnorm_forward){made, made + B, made + 2 * B, job->state->fused};
}

static void fill_forward(const blocked_job *job, long plane, float made[3 * B])
{
    int block = (int)(plane % job->state->blocks);
    for (int j = 0; j < B; j++) {
        int c = block * B + j;
        line by = c < job->state->c ? line_of_saved(job->state, job->run, c) : (line){0};
        made[j] = by.mean;
        made[B + j] = by.factor;
        made[2 * B + j] = by.bias;
    }
}

static void backward_sum(const blocked_job *job, long plane)
{
    float made[3 * B];
    fill_forward(job, plane, made);
    wtl_batchnorm_forward f = forward_of(job, made);
    double *sums = job->sums + (size_t)plane * PLANE_SUMS;
    job->state->in_blocks->products(
        job->state->pixels, job->x + plane_at(job, plane, job->run->x_image[0]),
        job->dy + plane_at(job, plane, job->run->dy_image), &f, sums, sums + B);
}

static void backward_settle(const blocked_job *job, int block)
{
    float *factors = factors_of(job, block);
    for (int j = 0; j < B; j++) {
        int c = block * B + j;
        slope_line by = {0};
        if (c < job->state->c) {
            by = line_of_gradient(job->state, job->run, c, total(job, block, j),
                                  total(job, block, B + j));
        }
        factors[j] = by.dy_mean;
        factors[B + j] = by.slope;
        factors[2 * B + j] = by.factor;
    }
}

static void backward_sweep(const blocked_job *job, long plane)
{
    const float *factors = factors_of(job, plane);
    size_t image = job->run->dx_image[0];
    float made[3 * B];
    fill_forward(job, plane, made);
    wtl_batchnorm_forward f = forward_of(job, made);
    job->state->in_blocks->combine(
        job->state->pixels, job->x + plane_at(job, plane, job->run->x_image[0]),
        job->dy + plane_at(job, plane, job->run->dy_image), &f, factors, factors + B,
        factors + 2 * B, wtl_streams((size_t)job->run->n * image),
        job->out + plane_at(job, plane, image));
}

/* A thread takes whole blocks: what is swept last was summed last, so it is swept first, from
 * the cache. */
static void run_by_blocks(const blocked_job *job, const blocked_steps *steps, int parts)
{
    int n = job->run->n, blocks = job->state->blocks;
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(blocks, part, parts, &begin, &end);
        for (long block = begin; block < end; block++) {
            for (long i = 0; steps->sum && i < n; i++) {
                steps->sum(job, i * blocks + block);
            }
            steps->settle(job, (int)block);
            for (long i = n - 1; job->out && i >= 0; i--) {
                steps->sweep(job, i * blocks + block);
            }
        }
    }
}

static void run_planes(const blocked_job *job, void (*step)(const blocked_job *job, long plane),
                       int parts)
{
    long planes = (long)job->run->n * job->state->blocks;
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(planes, part, parts, &begin, &end);
        for (long i = begin; i < end; i++) {
            step(job, i);
        }
    }
}

static void run_in_blocks(const blocked_job *job, const blocked_steps *steps)
{
    int blocks = job->state->blocks, threads = job->run->threads;
    long planes = (long)job->run->n * blocks;
    int parts = wtl_parts(planes, planes * job->state->pixels * B, threads);
    if (blocks % parts == 0 || blocks >= 8 * parts) { /* shares are (nearly) equal */
        run_by_blocks(job, steps, parts);
        return;
    }
    if (steps->sum) {
        run_planes(job, steps->sum, parts);
    }
    for (int block = 0; block < blocks; block++) {
        steps->settle(job, block);
    }
    if (job->out) {
        run_planes(job, steps->sweep, parts);
    }
}

/* ---- */

static int channel_parts(const batchnorm_state *state, const wtl_layer_run *run)
{
    return wtl_parts(state->c, run->n * state->pixels * state->c, run->threads);
}

static void batchnorm_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                              float *y)
{
    const batchnorm_state *state = self;
    if (state->in_blocks) {
        blocked_steps steps = {run->training ? forward_sum : NULL, forward_settle,
                               forward_sweep};
        blocked_job job = job_of(state, run, x[0], NULL, y);
        run_in_blocks(&job, &steps);
        return;
    }
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
    if (state->in_blocks) {
        static const blocked_steps steps = {backward_sum, backward_settle, backward_sweep};
        blocked_job job = job_of(state, run, x[0], dy, dx[0]);
        run_in_blocks(&job, &steps);
        return;
    }
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
    .blocks = batchnorm_blocks,
    .setup = batchnorm_setup,
    .forward = batchnorm_forward,
    .backward = batchnorm_backward,
};
