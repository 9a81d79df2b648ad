/* depthwise.c - convolution of every channel with its own filter.
 *
 *   y[n,c,p,q] = b[c] + sum over r,s of w[c,r,s] * x[n,c,h,v]
 *   with h = p*stride + r*dilation - top, v = q*stride + s*dilation - left
 *
 * Shapes:  x [n,C,H,W]   w [C,1,R,S]   b [C]   y [n,C,P,Q]
 */
#include "kernels/native/depthwise.h"
#include "kernels/conv_kernels.h"
#include "kernels/native/reorder.h"
#include "kernels/parts.h"
#include "kernels/planes.h"
#include "layer_ops.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <string.h>

typedef struct depthwise_state {
    wtl_conv_geometry geometry; /* groups = C */
    bool bias;
    wtl_activation fused;
    const wtl_native *native; /* in blocks of channels; else NULL */
} depthwise_state;

static wtl_conv_geometry geometry_of(const wtl_layer_def *def, wtl_shape in, wtl_shape out)
{
    wtl_conv_geometry g = wtl_conv_geometry_of(&def->as.conv, in, out);
    g.groups = in.c; /* neither `groups` nor `out` is an option here */
    return g;
}

static wtl_status depthwise_shape(const wtl_layer_def *def, const wtl_shape *in,
                                  int input_count, wtl_shape *out, wtl_error *err)
{
    (void)input_count;
    *out = (wtl_shape){in->c, 0, 0};
    wtl_status status = wtl_conv_output(&def->as.conv, *in, &out->h, &out->w, err);
    wtl_conv_geometry g = geometry_of(def, *in, *out);
    return status == WTL_OK ? wtl_conv_check_range(&g, err) : status;
}

static int depthwise_params(const wtl_layer_def *def, const wtl_shape *in,
                            wtl_param_spec specs[WTL_MAX_LAYER_PARAMS])
{
    const wtl_conv_options *o = &def->as.conv;
    int taps = o->kernel[0] * o->kernel[1];
    specs[0] = (wtl_param_spec){.suffix = "weight",
                                .role = WTL_PARAM_WEIGHT,
                                .rank = 4,
                                .dims = {in->c, 1, o->kernel[0], o->kernel[1]},
                                .fan_in = taps,
                                .fan_out = taps,
                                .init = o->init};
    specs[1] = (wtl_param_spec){.suffix = "bias",
                                .role = WTL_PARAM_BIAS,
                                .rank = 1,
                                .dims = {in->c},
                                .fan_in = taps,
                                .fan_out = taps,
                                .init = o->bias_init};
    return o->bias ? 2 : 1;
}

static uint64_t depthwise_macs(const wtl_layer_def *def, wtl_shape in, wtl_shape out)
{
    (void)in;
    const wtl_conv_options *o = &def->as.conv;
    return (uint64_t)wtl_shape_count(out) * (uint64_t)o->kernel[0] * (uint64_t)o->kernel[1];
}

static bool depthwise_blocks(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                             wtl_shape out)
{
    (void)def;
    (void)in;
    (void)input_count;
    (void)out;
    return true;
}

enum { B = WTL_BLOCK_CHANNELS };

/* Floats of a block's filters and biases: [R,S,16], then [16]. */
static size_t filters_floats(const wtl_conv_geometry *g)
{
    return ((size_t)g->r * (size_t)g->s + 1) * B;
}

/* The gradients are summed up by groups of images and, where these are few, parts of the blocks,
 * so that there is work for threads; neither depends on the threads. */
typedef struct split {
    int groups, chunks; /* of images, of blocks */
} split;

static split split_of(const wtl_conv_geometry *g, int n)
{
    enum { UNITS = 16 };
    int groups = n < UNITS ? n : UNITS, blocks = wtl_blocks_of(g->c);
    int chunks = (UNITS + groups - 1) / groups;
    return (split){groups, chunks < blocks ? chunks : blocks};
}

/* All filters; in training also the gradients of every group. */
static wtl_status blocked_setup(depthwise_state *state, wtl_layer_plan *plan, wtl_error *err)
{
    const wtl_conv_geometry *g = &state->geometry;
    state->native = plan->native;
    plan->kernel = "in blocks";
    size_t copies = 1, floats;
    if (plan->training) {
        copies += (size_t)split_of(g, plan->batch).groups;
    }
    if (!wtl_mul(filters_floats(g), copies * (size_t)wtl_blocks_of(g->c), &floats) ||
        !wtl_mul(floats, sizeof(float), &plan->scratch_bytes)) {
        return wtl_fail(err, WTL_E_RANGE, "filters of %dx%dx%d do not fit in memory", g->c,
                        g->r, g->s);
    }
    return WTL_OK;
}

static wtl_status depthwise_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                                  wtl_error *err)
{
    depthwise_state *state = self;
    state->geometry = geometry_of(def, plan->in[0], plan->out);
    state->bias = def->as.conv.bias;
    state->fused = plan->fused;
    if (plan->blocked_in) {
        return blocked_setup(state, plan, err);
    }
    plan->kernel = "reference";
    if (plan->engine != WTL_ENGINE_REFERENCE) {
        plan->kernel = "direct";
        plan->scratch_bytes =
            wtl_depthwise_scratch(&state->geometry, plan->threads, plan->training);
    }
    if (plan->scratch_bytes == SIZE_MAX) {
        return wtl_fail(err, WTL_E_RANGE, "%d threads need more scratch than there can be",
                        plan->threads);
    }
    return WTL_OK;
}

/* ---- in blocks of channels ---- */

static int channels_of(const wtl_conv_geometry *g, int block)
{
    int left = g->c - block * B;
    return left < B ? left : B;
}

static void lay_out_filters(const depthwise_state *l, const wtl_layer_run *run, float *filters)
{
    const wtl_conv_geometry *g = &l->geometry;
    int taps = g->r * g->s;
    for (int block = 0; block < wtl_blocks_of(g->c); block++, filters += filters_floats(g)) {
        size_t first = (size_t)block * B, channels = (size_t)channels_of(g, block);
        float *b = filters + (size_t)taps * B;
        l->native->reorder->to_blocks(run->value[0] + first * (size_t)taps, taps, (int)channels,
                                      taps, false, filters);
        memset(b, 0, B * sizeof *b);
        if (l->bias) {
            memcpy(b, run->value[1] + first, channels * sizeof *b);
        }
    }
}

static void blocked_forward(const depthwise_state *l, const wtl_layer_run *run, const float *x,
                            float *y)
{
    const wtl_conv_geometry *g = &l->geometry;
    size_t in = (size_t)g->h * g->w, out = (size_t)g->p * g->q, taps = (size_t)g->r * g->s;
    int blocks = wtl_blocks_of(g->c);
    long planes = (long)run->n * blocks;
    int parts = wtl_parts(planes, planes * (long)out * B, run->threads);
    lay_out_filters(l, run, run->scratch);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(planes, part, parts, &begin, &end);
        for (long i = begin; i < end; i++) {
            const float *filters =
                (const float *)run->scratch + (size_t)(i % blocks) * filters_floats(g);
            l->native->depthwise->forward(g, x + wtl_plane_at(i, blocks, run->x_image[0], in),
                                          filters, filters + taps * B, l->fused,
                                          y + wtl_plane_at(i, blocks, run->y_image, out));
        }
    }
}

typedef struct backward_job {
    const depthwise_state *l;
    const wtl_layer_run *run;
    const float *x, *dy;
    float *dx;        /* or NULL */
    float *filters;   /* [blocks] as laid out */
    float *gradients; /* [groups,blocks] likewise */
} backward_job;

static void backward_plane(const backward_job *job, long plane, const float *filters,
                           float *gradients)
{
    const wtl_conv_geometry *g = &job->l->geometry;
    const wtl_depthwise_kernels *kernels = job->l->native->depthwise;
    size_t in = (size_t)g->h * g->w, out = (size_t)g->p * g->q, taps = (size_t)g->r * g->s;
    int blocks = wtl_blocks_of(g->c);
    const float *dy = job->dy + wtl_plane_at(plane, blocks, job->run->dy_image, out);
    kernels->weights(g, job->x + wtl_plane_at(plane, blocks, job->run->x_image[0], in), dy,
                     gradients, job->l->bias ? gradients + taps * B : NULL);
    if (job->dx) {
        kernels->data(g, dy, filters,
                      job->dx + wtl_plane_at(plane, blocks, job->run->dx_image[0], in));
    }
}

/* Unit group * chunks + chunk. */
static void backward_unit(const backward_job *job, split by, int unit)
{
    int blocks = wtl_blocks_of(job->l->geometry.c), group = unit / by.chunks;
    size_t count = filters_floats(&job->l->geometry);
    float *gradients = job->gradients + (size_t)group * blocks * count;
    long image, last_image, begin, end;
    wtl_share(job->run->n, group, by.groups, &image, &last_image);
    wtl_share(blocks, unit % by.chunks, by.chunks, &begin, &end);
    memset(gradients + (size_t)begin * count, 0, (size_t)(end - begin) * count * sizeof(float));
    for (; image < last_image; image++) {
        for (long block = begin; block < end; block++) {
            backward_plane(job, image * blocks + block, job->filters + (size_t)block * count,
                           gradients + (size_t)block * count);
        }
    }
}

/* The groups' gradients in order, into those of the parameters. */
static void add_gradients(const backward_job *job, int groups)
{
    const wtl_conv_geometry *g = &job->l->geometry;
    const wtl_layer_run *run = job->run;
    int blocks = wtl_blocks_of(g->c), taps = g->r * g->s;
    size_t count = filters_floats(g), all = (size_t)blocks * count;
    for (int group = 1; group < groups; group++) {
        wtl_accumulate(run->threads, job->gradients, job->gradients + group * all, all);
    }
    for (int block = 0; block < blocks; block++) {
        const float *gradients = job->gradients + (size_t)block * count;
        int channels = channels_of(g, block);
        job->l->native->reorder->to_plain(gradients, channels, taps, true,
                                          run->gradient[0] + (size_t)block * B * (size_t)taps,
                                          taps);
        for (int j = 0; job->l->bias && j < channels; j++) {
            run->gradient[1][block * B + j] += gradients[(size_t)taps * B + j];
        }
    }
}

static void blocked_backward(const depthwise_state *l, const wtl_layer_run *run, const float *x,
                             const float *dy, float *dx)
{
    const wtl_conv_geometry *g = &l->geometry;
    float *filters = run->scratch;
    int blocks = wtl_blocks_of(g->c);
    backward_job job = {
        l, run, x, dy, dx, filters, filters + (size_t)blocks * filters_floats(g)};
    split by = split_of(g, run->n);
    int units = by.groups * by.chunks;
    int parts = wtl_parts(units, (long)run->n * blocks * g->p * g->q * B, run->threads);
    lay_out_filters(l, run, filters);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(units, part, parts, &begin, &end);
        for (long i = begin; i < end; i++) {
            backward_unit(&job, by, (int)i);
        }
    }
    add_gradients(&job, by.groups);
}

/* ---- */

static void depthwise_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                              float *y)
{
    const depthwise_state *l = self;
    const wtl_conv_geometry *g = &l->geometry;
    const float *w = run->value[0], *b = l->bias ? run->value[1] : NULL;
    if (l->native) {
        blocked_forward(l, run, x[0], y);
    } else if (run->engine == WTL_ENGINE_REFERENCE) {
        wtl_conv_reference_forward(g, run->n, x[0], w, b, y);
        wtl_activate(y, (size_t)run->n * g->k * g->p * g->q, l->fused);
    } else {
        wtl_depthwise_forward(g, run->n, run->threads, x[0], w, b, l->fused, y, run->scratch);
    }
}

static void depthwise_backward(const void *self, const wtl_layer_run *run,
                               const float *const *x, const float *y, const float *dy,
                               float *const *dx)
{
    (void)y;
    const depthwise_state *l = self;
    const wtl_conv_geometry *g = &l->geometry;
    float *db = l->bias ? run->gradient[1] : NULL;
    if (l->native) {
        blocked_backward(l, run, x[0], dy, dx[0]);
        return;
    }
    if (run->engine != WTL_ENGINE_REFERENCE) {
        wtl_depthwise_backward(g, run->n, run->threads, x[0], run->value[0], dy,
                               run->gradient[0], db, dx[0], run->scratch);
        return;
    }
    wtl_conv_reference_weights(g, run->n, x[0], dy, run->gradient[0], db);
    if (dx[0]) {
        wtl_conv_reference_data(g, run->n, dy, run->value[0], dx[0]);
    }
}

#define AT(field) offsetof(wtl_layer_def, as.conv.field)
static const wtl_layer_option depthwise_option_table[] = {
    {"kernel", WTL_OPTION_PAIR, AT(kernel), 1, 1 << 12, NULL, NULL},
    {"stride", WTL_OPTION_PAIR, AT(stride), 1, 1 << 12, "1", NULL},
    {"pad", WTL_OPTION_PAD, AT(pad), 0, 1 << 12, "0", NULL},
    {"dilation", WTL_OPTION_PAIR, AT(dilation), 1, 1 << 12, "1", NULL},
    {"bias", WTL_OPTION_BOOL, AT(bias), 0, 1, "yes", NULL},
    {"init", WTL_OPTION_INIT, AT(init), 0, 0, "msra", NULL},
    {"bias_init", WTL_OPTION_INIT, AT(bias_init), 0, 0, "const:0", NULL},
    {0},
};
#undef AT

const wtl_layer_ops wtl_depthwise_ops = {
    .kind = WTL_LAYER_DEPTHWISE,
    .word = "depthwise",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = depthwise_option_table,
    .state_bytes = sizeof(depthwise_state),
    .fuses = true,
    .needs_x = true,
    .shape = depthwise_shape,
    .params = depthwise_params,
    .blocks = depthwise_blocks,
    .macs = depthwise_macs,
    .setup = depthwise_setup,
    .forward = depthwise_forward,
    .backward = depthwise_backward,
};
