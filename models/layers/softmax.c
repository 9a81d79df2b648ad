/* softmax.c - class probabilities; always a head of the net.
 *
 *   y[n,k] = exp(x[n,k] - m) / sum over j of exp(x[n,j] - m)      m = max over j of x[n,j]
 *
 * The loss is computed from the logits x, so what comes down to a head is d loss / d x
 * already: backward passes dy through as it is, it is not the derivative of the formula.
 *
 * Shapes:  x, y [n,K,1,1]
 */
#include "kernels/parts.h"
#include "layer_ops.h"
#include "wattle/threads.h"

#include <math.h>
#include <string.h>

typedef struct softmax_state {
    int k;
} softmax_state;

static wtl_status softmax_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                                wtl_shape *out, wtl_error *err)
{
    (void)def;
    (void)input_count;
    if (in->h != 1 || in->w != 1) {
        return wtl_fail(err, WTL_E_SHAPE, "input is %dx%dx%d, must be a vector of Kx1x1", in->c,
                        in->h, in->w);
    }
    *out = in[0];
    return WTL_OK;
}

static wtl_status softmax_setup(void *self, const wtl_layer_def *def, wtl_layer_plan *plan,
                                wtl_error *err)
{
    (void)def;
    (void)err;
    ((softmax_state *)self)->k = plan->out.c;
    return WTL_OK;
}

/* A NaN or +inf among the logits makes the sum NaN, and with it every probability. */
static void softmax_row(const float *x, float *y, int k)
{
    float most = x[0];
    for (int i = 1; i < k; i++) {
        most = x[i] > most ? x[i] : most;
    }
    double sum = 0.0;
    for (int i = 0; i < k; i++) {
        y[i] = expf(x[i] - most);
        sum += y[i];
    }
    float scale = (float)(1.0 / sum);
    for (int i = 0; i < k; i++) {
        y[i] *= scale;
    }
}

static void softmax_forward(const void *self, const wtl_layer_run *run, const float *const *x,
                            float *y)
{
    int k = ((const softmax_state *)self)->k;
    int parts = wtl_parts(run->n, (long)run->n * k, run->threads);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(run->n, part, parts, &begin, &end);
        for (long i = begin; i < end; i++) {
            softmax_row(x[0] + i * k, y + i * k, k);
        }
    }
}

static void softmax_backward(const void *self, const wtl_layer_run *run, const float *const *x,
                             const float *y, const float *dy, float *const *dx)
{
    (void)x;
    (void)y;
    int k = ((const softmax_state *)self)->k;
    if (dx[0]) {
        memcpy(dx[0], dy, (size_t)run->n * (size_t)k * sizeof *dy);
    }
}

#define AT(field) offsetof(wtl_layer_def, as.softmax.field)
static const wtl_layer_option softmax_option_table[] = {
    {"weight", WTL_OPTION_FLOAT, AT(weight), 0, 1e6, "1", NULL},
    {"aux", WTL_OPTION_BOOL, AT(aux), 0, 1, "no", NULL},
    {0},
};
#undef AT

const wtl_layer_ops wtl_softmax_ops = {
    .kind = WTL_LAYER_SOFTMAX,
    .word = "softmax",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = softmax_option_table,
    .state_bytes = sizeof(softmax_state),
    .shape = softmax_shape,
    .setup = softmax_setup,
    .forward = softmax_forward,
    .backward = softmax_backward,
};
