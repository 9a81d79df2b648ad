/* deconv.c - transposed convolution, torch's ConvTranspose2d: the convolution whose gradient
 * by its input this is, run backwards; its kernels do all the work.
 *
 *   y[k,h,v] = b[k] + sum over the c,p,q,r,s that meet it of w[c,k,r,s] * x[c,p,q]
 *   with h = p*stride + r - top, v = q*stride + s - left
 *
 * Shapes:  x [n,C,H,W]   w [C,K,R,S]   b [K]   y [n,K,P,Q],  P = (H-1)*stride - top - bottom + R
 */
#include "kernels/conv_kernels.h"
#include "layer_ops.h"

#include <limits.h>

typedef struct deconv_state {
    wtl_conv_geometry conv; /* from y to x: its input is our output */
    bool bias;
    wtl_activation fused;
} deconv_state;

static wtl_conv_geometry conv_of(const wtl_layer_def *def, wtl_shape in, wtl_shape out)
{
    wtl_conv_options o = def->as.conv;
    o.dilation[0] = o.dilation[1] = o.groups = 1; /* not options here */
    return wtl_conv_geometry_of(&o, out, in);
}

static wtl_status deconv_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                               wtl_shape *out, wtl_error *err)
{
    (void)input_count;
    const wtl_conv_options *o = &def->as.conv;
    long long p = (long long)(in->h - 1) * o->stride[0] + o->kernel[0] - o->pad[0] - o->pad[1];
    long long q = (long long)(in->w - 1) * o->stride[1] + o->kernel[1] - o->pad[2] - o->pad[3];
    if (p < 1 || q < 1) {
        return wtl_fail(err, WTL_E_SHAPE, "padding leaves nothing of the output: %lldx%lld", p,
                        q);
    }
    if (p > INT_MAX / 2 || q > INT_MAX / 2) {
        return wtl_fail(err, WTL_E_RANGE, "an output of %lldx%lld is larger than 2^30", p, q);
    }
    *out = (wtl_shape){o->out, (int)p, (int)q};
    wtl_conv_geometry g = conv_of(def, *in, *out);
    return wtl_conv_check_range(&g, err);
}

static int deconv_params(const wtl_layer_def *def, const wtl_shape *in,
                         wtl_param_spec specs[WTL_MAX_LAYER_PARAMS])
{
    const wtl_conv_options *o = &def->as.conv;
    int taps = o->kernel[0] * o->kernel[1];
    /* Fans as torch counts them: dims[1] in, dims[0] out. */
    specs[0] = (wtl_param_spec){.suffix = "weight",
                                .role = WTL_PARAM_WEIGHT,
                                .rank = 4,
                                .dims = {in->c, o->out, o->kernel[0], o->kernel[1]},
                                .fan_in = o->out * taps,
                                .fan_out = in->c * taps,
                                .init = o->init};
    specs[1] = (wtl_param_spec){.suffix = "bias",
                                .role = WTL_PARAM_BIAS,
                                .rank = 1,
                                .dims = {o->out},
                                .fan_in = o->out * taps,
                                .fan_out = in->c * taps,
                                .init = o->bias_init};
    return o->bias ? 2 : 1;
}

/* Every input value meets every tap of every filter, those that fall into padding too. */
static uint64_t deconv_macs(const wtl_layer_def *def, wtl_shape in, wtl_shape out)
{
    const wtl_conv_options *o = &def->as.conv;
    return (uint64_t)wtl_shape_count(in) * (uint64_t)out.c * (uint64_t)o->kernel[0] *
           (uint64_t)o->kernel[1];
}

static wtl_status deconv_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                               wtl_error *err)
{
    deconv_state *state = self;
    state->conv = conv_of(def, plan->in[0], plan->out);
    state->bias = def->as.conv.bias;
    state->fused = plan->fused;
    plan->kernel = "reference";
    if (plan->engine != WTL_ENGINE_REFERENCE) {
        plan->kernel = "gemm+col2im";
        plan->scratch_bytes =
            wtl_conv_gemm_scratch(&state->conv, plan->batch, plan->threads, plan->training);
    }
    if (plan->scratch_bytes == SIZE_MAX) {
        return wtl_fail(err, WTL_E_RANGE, "a batch of %d needs more scratch than there can be",
                        plan->batch);
    }
    return WTL_OK;
}

static void deconv_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                           float *y)
{
    const deconv_state *l = self;
    if (run->engine == WTL_ENGINE_REFERENCE) {
        wtl_conv_reference_data(&l->conv, run->n, x[0], run->value[0], y);
    } else {
        wtl_conv_gemm_data(&l->conv, run->n, run->threads, x[0], run->value[0], y,
                           run->scratch);
    }
    wtl_finish_planes(y, run->n, l->conv.c, (size_t)l->conv.h * l->conv.w,
                      l->bias ? run->value[1] : NULL, l->fused, run->threads);
}

static void deconv_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                            const float *y, const float *dy, float *const *dx)
{
    (void)y;
    const deconv_state *l = self;
    const wtl_conv_geometry *g = &l->conv;
    const float *w = run->value[0];
    float *dw = run->gradient[0];
    if (l->bias) {
        wtl_sum_planes(dy, run->n, g->c, (size_t)g->h * g->w, run->gradient[1], run->threads);
    }
    if (run->engine == WTL_ENGINE_REFERENCE) {
        wtl_conv_reference_weights(g, run->n, dy, x[0], dw, NULL);
        if (dx[0]) {
            wtl_conv_reference_forward(g, run->n, dy, w, NULL, dx[0]);
        }
        return;
    }
    wtl_conv_gemm_weights(g, run->n, run->threads, dy, x[0], dw, NULL, run->scratch);
    if (dx[0]) {
        wtl_conv_gemm_forward(g, run->n, run->threads, dy, w, NULL, WTL_ACTIVATION_NONE, dx[0],
                              run->scratch);
    }
}

#define AT(field) offsetof(wtl_layer_def, as.conv.field)
static const wtl_layer_option deconv_option_table[] = {
    {"out", WTL_OPTION_CHANNELS, AT(out), 1, 1 << 20, NULL, NULL},
    {"kernel", WTL_OPTION_PAIR, AT(kernel), 1, 1 << 12, NULL, NULL},
    {"stride", WTL_OPTION_PAIR, AT(stride), 1, 1 << 12, "1", NULL},
    {"pad", WTL_OPTION_PAD, AT(pad), 0, 1 << 12, "0", NULL},
    {"bias", WTL_OPTION_BOOL, AT(bias), 0, 1, "yes", NULL},
    {"init", WTL_OPTION_INIT, AT(init), 0, 0, "msra", NULL},
    {"bias_init", WTL_OPTION_INIT, AT(bias_init), 0, 0, "const:0", NULL},
    {0},
};
#undef AT

const wtl_layer_ops wtl_deconv_ops = {
    .kind = WTL_LAYER_DECONV,
    .word = "deconv",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = deconv_option_table,
    .state_bytes = sizeof(deconv_state),
    .fuses = true,
    .needs_x = true,
    .shape = deconv_shape,
    .params = deconv_params,
    .macs = deconv_macs,
    .setup = deconv_setup,
    .forward = deconv_forward,
    .backward = deconv_backward,
};
