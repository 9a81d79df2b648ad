/* dense.c - fully connected layer.
 *
 *   y[n,k] = b[k] + sum over d of  w[k,d] * x[n,d]
 *
 * Shapes:  x [n,D]   w [K,D]   b [K]   y [n,K]     D = C*H*W of the input
 */
#include "kernels/conv_kernels.h"
#include "kernels/dense_masked.h"
#include "kernels/native_dense.h"
#include "kernels/sparse_dense.h"
#include "layer_ops.h"
#include "wattle/blas.h"
#include "wattle/threads.h"

#include <limits.h>

enum {
    FEW_IMAGES = 6,            /* up to here reading w, not arithmetic, takes the time */
    BLOCK_FLOATS = 128 * 1024, /* of w: stays in cache while the few images pass over it */
};

typedef struct dense_state {
    int k, d;
    bool bias;
    wtl_activation fused;
    const wtl_native *native;
    bool no_sparse;
    bool wants_data;
    wtl_dense_masked masked; /* chosen for the mask at hand */
    wtl_sparse_dense sparse; /* of frozen weights; bytes 0: they run dense */
} dense_state;

static wtl_status dense_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                              wtl_shape *out, wtl_error *err)
{
    (void)input_count;
    /* Three ints can exceed size_t as a product, hence double. */
    double d = (double)in->c * in->h * in->w;
    if (d > INT_MAX / 2) {
        return wtl_fail(err, WTL_E_RANGE, "an input of %dx%dx%d has more than 2^30 values",
                        in->c, in->h, in->w);
    }
    *out = (wtl_shape){def->as.dense.out, 1, 1};
    return WTL_OK;
}

static int dense_params(const wtl_layer_def *def, const wtl_shape *in,
                        wtl_param_spec specs[WTL_MAX_LAYER_PARAMS])
{
    const wtl_dense_options *o = &def->as.dense;
    int d = (int)wtl_shape_count(*in);
    specs[0] = (wtl_param_spec){.suffix = "weight",
                                .role = WTL_PARAM_WEIGHT,
                                .rank = 2,
                                .dims = {o->out, d},
                                .fan_in = d,
                                .fan_out = o->out,
                                .init = o->init};
    specs[1] = (wtl_param_spec){.suffix = "bias",
                                .role = WTL_PARAM_BIAS,
                                .rank = 1,
                                .dims = {o->out},
                                .fan_in = d,
                                .fan_out = o->out,
                                .init = o->bias_init};
    return o->bias ? 2 : 1;
}

static uint64_t dense_macs(const wtl_layer_def *def, wtl_shape in, wtl_shape out)
{
    (void)out;
    return (uint64_t)wtl_shape_count(in) * (uint64_t)def->as.dense.out;
}

static wtl_status dense_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                              wtl_error *err)
{
    (void)err;
    dense_state *state = self;
    state->k = def->as.dense.out;
    state->d = (int)wtl_shape_count(plan->in[0]);
    state->bias = def->as.dense.bias;
    state->fused = plan->fused;
    state->native = plan->native;
    state->no_sparse = plan->no_sparse;
    state->wants_data = plan->input_gradient;
    if (plan->engine == WTL_ENGINE_NATIVE) {
        plan->scratch_bytes = wtl_native_dense_scratch(plan->batch, state->d);
        plan->kernel = plan->batch <= WTL_DENSE_FEW ? "dot products" : "images side by side";
    } else if (plan->engine == WTL_ENGINE_REFERENCE) {
        plan->kernel = "reference";
    } else {
        plan->kernel = plan->batch == 1 ? "gemv" : "gemm";
    }
    return WTL_OK;
}

static bool dense_can_skip(const void *self)
{
    const dense_state *l = self;
    return l->native && !l->no_sparse;
}

static void dense_plan_masked(void *self, const wtl_layer_run *run, const float *mask,
                              wtl_masked_plan *plan)
{
    dense_state *l = self;
    wtl_dense_masked *m = &l->masked;
    if (run->engine != WTL_ENGINE_NATIVE ||
        !wtl_dense_masked_plan(m, l->native, l->k, l->d, run->n, l->wants_data, mask)) {
        return;
    }
    size_t sparse = wtl_dense_masked_scratch(m, run->threads);
    size_t dense = wtl_native_dense_scratch(run->n, l->d);
    plan->bytes = m->bytes;
    plan->scratch_bytes = sparse > dense ? sparse : dense;
    plan->sets_weights = m->weights;
    wtl_name_masked(plan, m->forward, m->weights, m->data || !l->wants_data,
                    "images side by side");
}

static void dense_follow(const void *self, const float *mask, void *masked)
{
    const dense_state *l = self;
    wtl_dense_masked_make(&l->masked, mask, masked);
}

/* Dense weights need no other layout. */
static void dense_plan_frozen(void *self, const wtl_layer_run *run,
                              const wtl_kernel_costs *costs, wtl_frozen_plan *plan)
{
    (void)costs;
    dense_state *l = self;
    l->sparse = (wtl_sparse_dense){0};
    if (!dense_can_skip(l)) {
        return;
    }
    wtl_sparse_dense sparse =
        wtl_sparse_dense_plan(l->native, l->k, l->d, run->n, run->value[0]);
    if (sparse.bytes > 0 &&
        sparse.cycles < wtl_sparse_dense_rival(l->native, l->k, l->d, run->n)) {
        l->sparse = sparse;
        plan->bytes = sparse.bytes;
        plan->scratch_bytes = wtl_sparse_dense_scratch(&sparse, run->n);
        plan->kernel = sparse.quads ? "sparse 4x1" : "sparse";
    }
}

static void dense_freeze(const void *self, const wtl_layer_run *run, void *frozen)
{
    const dense_state *l = self;
    wtl_sparse_dense_pack(&l->sparse, run->value[0], frozen);
}

/* ---- reference ---- */

static void reference_forward(const dense_state *l, int n, const float *x, const float *w,
                              float *y)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < l->k; k++) {
            double sum = 0.0;
            for (int d = 0; d < l->d; d++) {
                sum += (double)w[(size_t)k * l->d + d] * x[(size_t)i * l->d + d];
            }
            y[(size_t)i * l->k + k] = (float)sum;
        }
    }
}

static void reference_weights(const dense_state *l, int n, const float *x, const float *dy,
                              float *dw)
{
    for (int k = 0; k < l->k; k++) {
        for (int d = 0; d < l->d; d++) {
            double sum = 0.0;
            for (int i = 0; i < n; i++) {
                sum += (double)dy[(size_t)i * l->k + k] * x[(size_t)i * l->d + d];
            }
            dw[(size_t)k * l->d + d] += (float)sum;
        }
    }
}

static void reference_data(const dense_state *l, int n, const float *dy, const float *w,
                           float *dx)
{
    for (int i = 0; i < n; i++) {
        for (int d = 0; d < l->d; d++) {
            double sum = 0.0;
            for (int k = 0; k < l->k; k++) {
                sum += (double)dy[(size_t)i * l->k + k] * w[(size_t)k * l->d + d];
            }
            dx[(size_t)i * l->d + d] = (float)sum;
        }
    }
}

/* ---- native ---- */

static void native_forward(const dense_state *l, const wtl_layer_run *run, const float *x,
                           float *y)
{
    const wtl_dense t = {.n = run->n,
                         .k = l->k,
                         .d = l->d,
                         .x_step = (long)run->x_image[0],
                         .y_step = (long)run->y_image,
                         .activation = l->fused};
    const float *b = l->bias ? run->value[1] : NULL;
    if (run->frozen) {
        wtl_sparse_dense_forward(l->native, run->threads, run->frozen, &t, x, b, y,
                                 run->scratch);
    } else if (run->masked && l->masked.forward) {
        wtl_dense_masked_take(&l->masked, run->masked, run->threads, run->value[0]);
        wtl_dense_masked_forward(&l->masked, l->native, run->masked, run->threads, &t, x, b, y,
                                 run->scratch);
    } else {
        wtl_native_dense_forward(l->native, run->threads, &t, x, run->value[0], b, y,
                                 run->scratch);
    }
}

static void masked_data(const dense_state *l, const wtl_layer_run *run, const wtl_dense *t,
                        const float *dy, float *dx)
{
    if (!l->masked.forward) { /* else it has the values already */
        wtl_dense_masked_take(&l->masked, run->masked, run->threads, run->value[0]);
    }
    wtl_dense_masked_data(&l->masked, l->native, run->masked, run->threads, t, dy, dx,
                          run->scratch);
}

static void native_backward(const dense_state *l, const wtl_layer_run *run, const float *x,
                            const float *dy, float *dx)
{
    wtl_dense t = {.n = run->n,
                   .k = l->k,
                   .d = l->d,
                   .x_step = (long)run->x_image[0],
                   .y_step = (long)run->dy_image};
    if (run->masked && l->masked.weights) {
        if (l->bias) {
            l->native->dense->bias(&t, 0, l->k, true, dy, run->gradient[1]);
        }
        wtl_dense_masked_weights(&l->masked, l->native, run->masked, run->threads, &t, x, dy,
                                 run->gradient[0], run->scratch);
    } else {
        wtl_native_dense_weights(l->native, run->threads, &t, false, x, dy, run->gradient[0],
                                 l->bias ? run->gradient[1] : NULL, run->scratch);
    }
    t.x_step = dx ? (long)run->dx_image[0] : 0;
    if (dx && run->masked && l->masked.data) {
        masked_data(l, run, &t, dy, dx);
    } else if (dx) {
        wtl_native_dense_data(l->native, run->threads, &t, dy, run->value[0], dx);
    }
}

/* ---- BLAS ---- */

/* GEMM first copies w into its own layout, which for a few images costs more than the
 * products; matrix-vector products over blocks of rows read w once. */
static void few_forward(const dense_state *l, int n, int threads, const float *x,
                        const float *w, float *y)
{
    int parts = threads < l->k ? threads : l->k;
    int rows = BLOCK_FLOATS / l->d > 0 ? BLOCK_FLOATS / l->d : 1;
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(l->k, part, parts, &begin, &end);
        for (long k = begin; k < end; k += n == 1 ? end - begin : rows) {
            long k_end = n == 1 || k + rows > end ? end : k + rows;
            for (int i = 0; i < n; i++) {
                wtl_gemm('N', 'N', (int)(k_end - k), 1, l->d, w + (size_t)k * l->d, l->d,
                         x + (size_t)i * l->d, 1, 0.0f, y + (size_t)i * l->k + k, 1);
            }
        }
    }
}

WTL_HOT static void add_rows(float *y, int n, int k, const float *b)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < k; j++) {
            y[(size_t)i * k + j] += b[j];
        }
    }
}

WTL_HOT static void sum_rows(float *db, int n, int k, const float *dy)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < k; j++) {
            db[j] += dy[(size_t)i * k + j];
        }
    }
}

static void dense_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                          float *y)
{
    const dense_state *l = self;
    const float *w = run->value[0];
    if (run->engine == WTL_ENGINE_NATIVE) {
        native_forward(l, run, x[0], y);
        return;
    }
    if (run->engine == WTL_ENGINE_REFERENCE) {
        reference_forward(l, run->n, x[0], w, y);
    } else if (run->n <= FEW_IMAGES) {
        few_forward(l, run->n, run->threads, x[0], w, y);
    } else {
        wtl_gemm_threads(run->threads, 'N', 'T', run->n, l->k, l->d, x[0], l->d, w, l->d, 0.0f,
                         y, l->k); /* y = x * w^T */
    }
    if (l->bias) {
        add_rows(y, run->n, l->k, run->value[1]);
    }
    wtl_activate(y, (size_t)run->n * l->k, l->fused);
}

static void dense_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                           const float *y, const float *dy, float *const *dx)
{
    (void)y;
    const dense_state *l = self;
    const float *w = run->value[0];
    if (run->engine == WTL_ENGINE_NATIVE) {
        native_backward(l, run, x[0], dy, dx[0]);
        return;
    }
    if (l->bias) {
        sum_rows(run->gradient[1], run->n, l->k, dy);
    }
    if (run->engine == WTL_ENGINE_REFERENCE) {
        reference_weights(l, run->n, x[0], dy, run->gradient[0]);
        if (dx[0]) {
            reference_data(l, run->n, dy, w, dx[0]);
        }
        return;
    }
    wtl_gemm_threads(run->threads, 'T', 'N', l->k, l->d, run->n, dy, l->k, x[0], l->d, 1.0f,
                     run->gradient[0], l->d); /* dw += dy^T * x */
    if (dx[0] && run->n == 1) {
        wtl_gemm_threads(run->threads, 'T', 'N', l->d, 1, l->k, w, l->d, dy, 1, 0.0f, dx[0], 1);
    } else if (dx[0]) {
        wtl_gemm_threads(run->threads, 'N', 'N', run->n, l->d, l->k, dy, l->k, w, l->d, 0.0f,
                         dx[0], l->d); /* dx = dy * w */
    }
}

#define AT(field) offsetof(wtl_layer_def, as.dense.field)
static const wtl_layer_option dense_option_table[] = {
    {"out", WTL_OPTION_CHANNELS, AT(out), 1, 1 << 20, NULL, NULL},
    {"bias", WTL_OPTION_BOOL, AT(bias), 0, 1, "yes", NULL},
    {"init", WTL_OPTION_INIT, AT(init), 0, 0, "xavier", NULL},
    {"bias_init", WTL_OPTION_INIT, AT(bias_init), 0, 0, "const:0", NULL},
    {0},
};
#undef AT

const wtl_layer_ops wtl_dense_ops = {
    .kind = WTL_LAYER_DENSE,
    .word = "dense",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = dense_option_table,
    .state_bytes = sizeof(dense_state),
    .fuses = true,
    .needs_x = true,
    .shape = dense_shape,
    .params = dense_params,
    .macs = dense_macs,
    .setup = dense_setup,
    .can_skip = dense_can_skip,
    .plan_masked = dense_plan_masked,
    .follow = dense_follow,
    .plan_frozen = dense_plan_frozen,
    .freeze = dense_freeze,
    .forward = dense_forward,
    .backward = dense_backward,
};
