/* lrn.c - local response normalisation across channels (Krizhevsky et al. 2012, 3.3).
 *
 *   s[c]  = k + alpha/size * sum over j, |j - c| <= size/2, of x[j]^2
 *   y[c]  = x[c] * s[c]^-beta
 *   dx[c] = dy[c] * s[c]^-beta
 *           - 2 * alpha/size * beta * x[c] * sum over the same j of dy[j] * y[j] / s[j]
 *
 * for each pixel of each image. Nothing is saved: backward is bound by memory, and s costs
 * less to compute again than to read.
 *
 * Shapes:  x, y [n,C,H,W]
 */
#include "kernels/native/lrn.h"
#include "kernels/parts.h"
#include "kernels/planes.h"
#include "layer_ops.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <assert.h>
#include <math.h>

enum { BLOCK = 64 }; /* pixels at a time: all their channels stay in L2 */

typedef struct lrn_state {
    int c;
    long pixels; /* H*W: the distance between channels */
    int half;    /* channels on either side */
    float coefficient, beta, k;
    const wtl_lrn_kernels *in_blocks; /* or NULL */
} lrn_state;

static wtl_status lrn_check(wtl_layer_def *def, wtl_error *err)
{
    if (def->as.lrn.size % 2 == 0) {
        return wtl_fail(err, WTL_E_RANGE, "size is %d, must be odd", def->as.lrn.size);
    }
    return WTL_OK;
}

static wtl_status lrn_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                            wtl_shape *out, wtl_error *err)
{
    (void)def;
    (void)input_count;
    (void)err;
    *out = in[0];
    return WTL_OK;
}

static bool lrn_blocks(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                       wtl_shape out)
{
    (void)def;
    (void)in;
    (void)input_count;
    (void)out;
    return true;
}

static wtl_lrn blocked_of(const lrn_state *l)
{
    return (wtl_lrn){.blocks = wtl_blocks_of(l->c),
                     .plane = l->pixels * WTL_BLOCK_CHANNELS,
                     .half = l->half,
                     .coefficient = l->coefficient,
                     .beta = l->beta,
                     .k = l->k};
}

/* A thread's scratch in blocks, in floats. */
static size_t lines_floats(const lrn_state *l, bool training)
{
    wtl_lrn blocked = blocked_of(l);
    return (training ? 2 : 1) * WTL_LRN_PIXELS * wtl_lrn_line(&blocked);
}

static wtl_status lrn_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                            wtl_error *err)
{
    lrn_state *state = self;
    const wtl_lrn_options *o = &def->as.lrn;
    *state = (lrn_state){
        .c = plan->out.c,
        .pixels = (long)plan->out.h * plan->out.w,
        .half = o->size / 2,
        .coefficient = o->alpha / (float)o->size,
        .beta = o->beta,
        .k = o->k,
    };
    if (plan->engine == WTL_ENGINE_REFERENCE) {
        return WTL_OK;
    }
    plan->kernel = o->beta == 0.75f ? "power by square roots" : "power by powf";
    size_t floats;
    if (plan->blocked_in) {
        state->in_blocks = plan->native->lrn;
        if (!wtl_mul(lines_floats(state, plan->training), (size_t)plan->threads, &floats) ||
            !wtl_mul(floats, sizeof(float), &plan->scratch_bytes)) {
            return wtl_fail(err, WTL_E_RANGE, "%d channels do not fit in memory", state->c);
        }
    } else if (plan->training &&
               (!wtl_mul((size_t)state->c, (size_t)plan->threads * BLOCK, &floats) ||
                !wtl_mul(floats, sizeof(float), &plan->scratch_bytes))) {
        return wtl_fail(err, WTL_E_RANGE, "%d channels do not fit in memory", state->c);
    }
    return WTL_OK;
}

static inline int lowest(const lrn_state *l, int c)
{
    return c > l->half ? c - l->half : 0;
}

static inline int highest(const lrn_state *l, int c)
{
    return c < l->c - 1 - l->half ? c + l->half : l->c - 1;
}

/* ---- reference: the formulas in double; one pixel, channels l->pixels apart ---- */

static double reference_scale(const lrn_state *l, const float *x, int c)
{
    double sum = 0.0;
    for (int j = lowest(l, c); j <= highest(l, c); j++) {
        double value = x[j * l->pixels];
        sum += value * value;
    }
    return l->k + l->coefficient * sum;
}

static void reference_forward(const lrn_state *l, const float *x, float *y)
{
    for (int c = 0; c < l->c; c++) {
        y[c * l->pixels] = (float)(x[c * l->pixels] * pow(reference_scale(l, x, c), -l->beta));
    }
}

static void reference_backward(const lrn_state *l, const float *x, const float *dy, float *dx)
{
    for (int c = 0; c < l->c; c++) {
        double sum = 0.0;
        for (int j = lowest(l, c); j <= highest(l, c); j++) {
            double upstream = dy[j * l->pixels], value = x[j * l->pixels];
            sum += upstream * value * pow(reference_scale(l, x, j), -l->beta - 1.0);
        }
        double direct = dy[c * l->pixels] * pow(reference_scale(l, x, c), -l->beta);
        dx[c * l->pixels] =
            (float)(direct - 2.0 * l->coefficient * l->beta * x[c * l->pixels] * sum);
    }
}

/* ---- fast: `count` <= BLOCK neighbouring pixels, all channels ---- */

/* sum[i] = sum of x^2 over the window of channel c; power[i] = s^-beta; sum becomes s. */
static inline void scales(const lrn_state *l, const float *x, int c, int count,
                          float *restrict sum, float *restrict power)
{
    for (int i = 0; i < count; i++) {
        sum[i] = 0.0f;
    }
    for (int j = lowest(l, c); j <= highest(l, c); j++) {
        const float *row = x + j * l->pixels;
        for (int i = 0; i < count; i++) {
            sum[i] += row[i] * row[i];
        }
    }
    for (int i = 0; i < count; i++) {
        sum[i] = l->k + l->coefficient * sum[i];
    }
    if (l->beta == 0.75f) {
        for (int i = 0; i < count; i++) {
            float root = sqrtf(sum[i]);
            power[i] = 1.0f / (root * sqrtf(root));
        }
    } else {
        for (int i = 0; i < count; i++) {
            power[i] = powf(sum[i], -l->beta);
        }
    }
}

WTL_HOT static void fast_forward(const lrn_state *l, const float *x, float *restrict y,
                                 int count)
{
    float sum[BLOCK], power[BLOCK];
    for (int c = 0; c < l->c; c++) {
        const float *from = x + c * l->pixels;
        float *to = y + c * l->pixels;
        scales(l, x, c, count, sum, power);
        for (int i = 0; i < count; i++) {
            to[i] = from[i] * power[i];
        }
    }
}

/* ratio [C,BLOCK]: dy * y / s */
WTL_HOT static void fast_backward(const lrn_state *l, const float *x, const float *dy,
                                  float *restrict dx, int count, float *restrict ratio)
{
    float sum[BLOCK], power[BLOCK], factor = 2.0f * l->coefficient * l->beta;
    assert(ratio);
    for (int c = 0; c < l->c; c++) {
        const float *from = x + c * l->pixels, *upstream = dy + c * l->pixels;
        float *to = dx + c * l->pixels, *row = ratio + (long)c * BLOCK;
        scales(l, x, c, count, sum, power);
        for (int i = 0; i < count; i++) {
            float direct = upstream[i] * power[i];
            to[i] = direct;
            row[i] = direct * from[i] / sum[i];
        }
    }
    for (int c = 0; c < l->c; c++) {
        const float *from = x + c * l->pixels;
        float *to = dx + c * l->pixels;
        for (int i = 0; i < count; i++) {
            sum[i] = 0.0f;
        }
        for (int j = lowest(l, c); j <= highest(l, c); j++) {
            for (int i = 0; i < count; i++) {
                sum[i] += ratio[(long)j * BLOCK + i];
            }
        }
        for (int i = 0; i < count; i++) {
            to[i] -= factor * from[i] * sum[i];
        }
    }
}

/* ---- threads share the blocks of all images ---- */

typedef struct lrn_job {
    const lrn_state *l;
    bool reference;
    const float *x, *dy; /* dy NULL: forward */
    float *out;          /* y or dx */
} lrn_job;

static void run_block(const lrn_job *job, size_t at, int count, float *ratio)
{
    for (int i = 0; job->reference && i < count; i++) {
        if (job->dy) {
            reference_backward(job->l, job->x + at + i, job->dy + at + i, job->out + at + i);
        } else {
            reference_forward(job->l, job->x + at + i, job->out + at + i);
        }
    }
    if (!job->reference && job->dy) {
        fast_backward(job->l, job->x + at, job->dy + at, job->out + at, count, ratio);
    } else if (!job->reference) {
        fast_forward(job->l, job->x + at, job->out + at, count);
    }
}

static void run_blocks(const lrn_job *job, const wtl_layer_run *run)
{
    long pixels = job->l->pixels, blocks = (pixels + BLOCK - 1) / BLOCK, all = run->n * blocks;
    int parts = wtl_parts(all, run->n * pixels * job->l->c, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(all, part, parts, &begin, &end);
        float *ratio = run->scratch && job->dy
                           ? (float *)run->scratch + (size_t)part * job->l->c * BLOCK
                           : NULL;
        for (long i = begin; i < end; i++) {
            long first = i % blocks * BLOCK;
            size_t image = (size_t)(i / blocks) * (size_t)job->l->c * (size_t)pixels;
            run_block(job, image + (size_t)first,
                      (int)(pixels - first < BLOCK ? pixels - first : BLOCK), ratio);
        }
    }
}

/* dy NULL: forward. A unit of work is some pixels of an image. */
static void run_in_blocks(const lrn_state *l, const wtl_layer_run *run, const float *x,
                          const float *dy, float *out)
{
    wtl_lrn blocked = blocked_of(l);
    long chunks = (l->pixels + WTL_LRN_PIXELS - 1) / WTL_LRN_PIXELS, all = run->n * chunks;
    int parts = wtl_parts(all, run->n * l->pixels * l->c, run->threads);
    size_t out_image = dy ? run->dx_image[0] : run->y_image;
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(all, part, parts, &begin, &end);
        float *lines = (float *)run->scratch + (size_t)part * lines_floats(l, dy != NULL);
        for (long i = begin; i < end; i++) {
            size_t image = (size_t)(i / chunks);
            long first = i % chunks * WTL_LRN_PIXELS, left = l->pixels - first;
            int pixels = left < WTL_LRN_PIXELS ? (int)left : WTL_LRN_PIXELS;
            const float *from = x + image * run->x_image[0] + first * WTL_BLOCK_CHANNELS;
            float *to = out + image * out_image + first * WTL_BLOCK_CHANNELS;
            if (dy) {
                l->in_blocks->backward(&blocked, pixels, from,
                                       dy + image * run->dy_image + first * WTL_BLOCK_CHANNELS,
                                       to, lines);
            } else {
                l->in_blocks->forward(&blocked, pixels, from, to, lines);
            }
        }
    }
}

static void lrn_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                        float *y)
{
    const lrn_state *l = self;
    if (l->in_blocks) {
        run_in_blocks(l, run, x[0], NULL, y);
        return;
    }
    lrn_job job = {l, run->engine == WTL_ENGINE_REFERENCE, x[0], NULL, y};
    run_blocks(&job, run);
}

static void lrn_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                         const float *y, const float *dy, float *const *dx)
{
    (void)y;
    const lrn_state *l = self;
    lrn_job job = {l, run->engine == WTL_ENGINE_REFERENCE, x[0], dy, dx[0]};
    if (dx[0] && l->in_blocks) {
        run_in_blocks(l, run, x[0], dy, dx[0]);
    } else if (dx[0]) {
        run_blocks(&job, run);
    }
}

#define AT(field) offsetof(wtl_layer_def, as.lrn.field)
static const wtl_layer_option lrn_option_table[] = {
    {"size", WTL_OPTION_INT, AT(size), 1, 1 << 12, "5", NULL},
    {"alpha", WTL_OPTION_FLOAT, AT(alpha), 0, 1e6, "1e-4", NULL},
    {"beta", WTL_OPTION_FLOAT, AT(beta), 0, 100, "0.75", NULL},
    {"k", WTL_OPTION_FLOAT, AT(k), 1e-6, 1e6, "1", NULL},
    {0},
};
#undef AT

const wtl_layer_ops wtl_lrn_ops = {
    .kind = WTL_LAYER_LRN,
    .word = "lrn",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = lrn_option_table,
    .state_bytes = sizeof(lrn_state),
    .needs_x = true,
    .check = lrn_check,
    .shape = lrn_shape,
    .blocks = lrn_blocks,
    .setup = lrn_setup,
    .forward = lrn_forward,
    .backward = lrn_backward,
};
