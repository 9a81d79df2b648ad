/* depthwise.c - convolution of every channel with its own filter.
 *
 *   y[n,c,p,q] = b[c] + sum over r,s of w[c,r,s] * x[n,c,h,v]
 *   with h = p*stride + r*dilation - top, v = q*stride + s*dilation - left
 *
 * Shapes:  x [n,C,H,W]   w [C,1,R,S]   b [C]   y [n,C,P,Q]
 */
#include "kernels/conv_kernels.h"
#include "layer_ops.h"

typedef struct depthwise_state {
    wtl_conv_geometry geometry; /* groups = C */
    bool bias;
    wtl_activation fused;
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

static wtl_status depthwise_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                                  wtl_error *err)
{
    depthwise_state *state = self;
    state->geometry = geometry_of(def, plan->in[0], plan->out);
    state->bias = def->as.conv.bias;
    state->fused = plan->fused;
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

static void depthwise_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                              float *y)
{
    const depthwise_state *l = self;
    const wtl_conv_geometry *g = &l->geometry;
    const float *w = run->value[0], *b = l->bias ? run->value[1] : NULL;
    if (run->engine == WTL_ENGINE_REFERENCE) {
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
    .macs = depthwise_macs,
    .setup = depthwise_setup,
    .forward = depthwise_forward,
    .backward = depthwise_backward,
};
