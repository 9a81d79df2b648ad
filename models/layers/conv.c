/* conv.c - two-dimensional convolution; the arithmetic is in kernels/.
 *
 *   y[n,k,p,q] = b[k] + sum over c,r,s of w[k,c,r,s] * x[n, g*C/G+c, h, v]
 *
 * Shapes:  x [n,C,H,W]   w [K,C/G,R,S]   b [K]   y [n,K,P,Q]
 */
#include "kernels/conv_native.h"
#include "layer_ops.h"

typedef struct conv_state {
    wtl_conv_geometry geometry;
    bool bias;
    wtl_activation fused;
    bool blocked; /* maps in blocks: by `native`; else in NCHW, by GEMM or the reference */
    wtl_conv_native native;
} conv_state;

static wtl_status conv_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                             wtl_shape *out, wtl_error *err)
{
    (void)input_count;
    const wtl_conv_options *o = &def->as.conv;
    *out = (wtl_shape){o->out, 0, 0};
    if (in->c % o->groups != 0 || o->out % o->groups != 0) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "%d groups do not divide %d input channels and %d filters", o->groups,
                        in->c, o->out);
    }
    wtl_status status = wtl_conv_output(o, *in, &out->h, &out->w, err);
    wtl_conv_geometry g = wtl_conv_geometry_of(o, *in, *out);
    return status == WTL_OK ? wtl_conv_check_range(&g, err) : status;
}

static int conv_params(const wtl_layer_def *def, const wtl_shape *in,
                       wtl_param_spec specs[WTL_MAX_LAYER_PARAMS])
{
    const wtl_conv_options *o = &def->as.conv;
    int per_group = in->c / o->groups, taps = o->kernel[0] * o->kernel[1];
    specs[0] = (wtl_param_spec){.suffix = "weight",
                                .role = WTL_PARAM_WEIGHT,
                                .rank = 4,
                                .dims = {o->out, per_group, o->kernel[0], o->kernel[1]},
                                .fan_in = per_group * taps,
                                .fan_out = o->out / o->groups * taps,
                                .init = o->init};
    specs[1] = (wtl_param_spec){.suffix = "bias",
                                .role = WTL_PARAM_BIAS,
                                .rank = 1,
                                .dims = {o->out},
                                .fan_in = per_group * taps,
                                .fan_out = o->out / o->groups * taps,
                                .init = o->bias_init};
    return o->bias ? 2 : 1;
}

static uint64_t conv_macs(const wtl_layer_def *def, wtl_shape in, wtl_shape out)
{
    const wtl_conv_options *o = &def->as.conv;
    return (uint64_t)wtl_shape_count(out) * (uint64_t)(in.c / o->groups) *
           (uint64_t)o->kernel[0] * (uint64_t)o->kernel[1];
}

static bool conv_blocks(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                        wtl_shape out)
{
    (void)input_count;
    wtl_conv_geometry g = wtl_conv_geometry_of(&def->as.conv, in[0], out);
    return wtl_direct_can(&g);
}

static bool conv_reads_plain(const wtl_layer_def *def, wtl_shape in)
{
    wtl_conv_geometry g = wtl_conv_geometry_of(&def->as.conv, in, (wtl_shape){0});
    return wtl_direct_wants_plain(&g);
}

static wtl_status conv_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                             wtl_error *err)
{
    conv_state *state = self;
    state->geometry = wtl_conv_geometry_of(&def->as.conv, plan->in[0], plan->out);
    state->bias = def->as.conv.bias;
    state->fused = plan->fused;
    plan->kernel = "reference";
    if (plan->blocked_out) {
        state->blocked = true;
        wtl_conv_native_setup(&state->native, &state->geometry, state->bias, plan);
    } else if (plan->engine != WTL_ENGINE_REFERENCE) {
        plan->kernel = wtl_conv_unrolls(&state->geometry) ? "im2col+gemm" : "gemm 1x1";
        plan->scratch_bytes =
            wtl_conv_gemm_scratch(&state->geometry, plan->batch, plan->threads, plan->training);
    }
    if (plan->scratch_bytes == SIZE_MAX) {
        return wtl_fail(err, WTL_E_RANGE, "a batch of %d needs more scratch than there can be",
                        plan->batch);
    }
    return WTL_OK;
}

static bool conv_can_skip(const void *self)
{
    const conv_state *state = self;
    return state->blocked && wtl_conv_native_can_skip(&state->native);
}

static void conv_plan_frozen(void *self, const wtl_layer_run *run,
                             const wtl_kernel_costs *costs, wtl_frozen_plan *plan)
{
    conv_state *state = self;
    if (state->blocked) {
        wtl_conv_native_plan_frozen(&state->native, run, costs, plan);
    }
}

static void conv_freeze(const void *self, const wtl_layer_run *run, void *frozen)
{
    const conv_state *state = self;
    wtl_conv_native_freeze(&state->native, run, frozen);
}

static void conv_plan_masked(void *self, const wtl_layer_run *run, const float *mask,
                             wtl_masked_plan *plan)
{
    conv_state *state = self;
    if (state->blocked) {
        wtl_conv_native_plan_masked(&state->native, run, mask, plan);
    }
}

static void conv_follow(const void *self, const float *mask, void *masked)
{
    const conv_state *state = self;
    wtl_conv_native_follow(&state->native, mask, masked);
}

static void conv_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                         float *y)
{
    const conv_state *state = self;
    const float *w = run->value[0], *b = state->bias ? run->value[1] : NULL;
    if (state->blocked) {
        wtl_conv_native_forward(&state->native, run, x, y);
    } else if (run->engine == WTL_ENGINE_REFERENCE) {
        wtl_conv_reference_forward(&state->geometry, run->n, x[0], w, b, y);
        wtl_activate(y,
                     (size_t)run->n * (size_t)state->geometry.k * (size_t)state->geometry.p *
                         (size_t)state->geometry.q,
                     state->fused);
    } else {
        wtl_conv_gemm_forward(&state->geometry, run->n, run->threads, x[0], w, b, state->fused,
                              y, run->scratch);
    }
}

static void conv_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                          const float *y, const float *dy, float *const *dx)
{
    (void)y;
    const conv_state *state = self;
    const wtl_conv_geometry *g = &state->geometry;
    float *db = state->bias ? run->gradient[1] : NULL;
    if (state->blocked) {
        wtl_conv_native_backward(&state->native, run, x[0], dy, dx[0]);
        return;
    }
    if (run->engine == WTL_ENGINE_REFERENCE) {
        wtl_conv_reference_weights(g, run->n, x[0], dy, run->gradient[0], db);
        if (dx[0]) {
            wtl_conv_reference_data(g, run->n, dy, run->value[0], dx[0]);
        }
        return;
    }
    wtl_conv_gemm_weights(g, run->n, run->threads, x[0], dy, run->gradient[0], db,
                          run->scratch);
    if (dx[0]) {
        wtl_conv_gemm_data(g, run->n, run->threads, dy, run->value[0], dx[0], run->scratch);
    }
}

#define AT(field) offsetof(wtl_layer_def, as.conv.field)
static const wtl_layer_option conv_option_table[] = {
    {"out", WTL_OPTION_CHANNELS, AT(out), 1, 1 << 20, NULL, NULL},
    {"kernel", WTL_OPTION_PAIR, AT(kernel), 1, 1 << 12, NULL, NULL},
    {"stride", WTL_OPTION_PAIR, AT(stride), 1, 1 << 12, "1", NULL},
    {"pad", WTL_OPTION_PAD, AT(pad), 0, 1 << 12, "0", NULL},
    {"dilation", WTL_OPTION_PAIR, AT(dilation), 1, 1 << 12, "1", NULL},
    {"groups", WTL_OPTION_INT, AT(groups), 1, 1 << 20, "1", NULL},
    {"bias", WTL_OPTION_BOOL, AT(bias), 0, 1, "yes", NULL},
    {"init", WTL_OPTION_INIT, AT(init), 0, 0, "msra", NULL},
    {"bias_init", WTL_OPTION_INIT, AT(bias_init), 0, 0, "const:0", NULL},
    {0},
};
#undef AT

const wtl_layer_ops wtl_conv_ops = {
    .kind = WTL_LAYER_CONV,
    .word = "conv",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = conv_option_table,
    .state_bytes = sizeof(conv_state),
    .fuses = true,
    .needs_x = true,
    .shape = conv_shape,
    .params = conv_params,
    .macs = conv_macs,
    .blocks = conv_blocks,
    .reads_plain = conv_reads_plain,
    .setup = conv_setup,
    .can_skip = conv_can_skip,
    .plan_frozen = conv_plan_frozen,
    .freeze = conv_freeze,
    .plan_masked = conv_plan_masked,
    .follow = conv_follow,
    .forward = conv_forward,
    .backward = conv_backward,
};
